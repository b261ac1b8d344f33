//! One request to the upstream and its answer back, streamed both ways, with errors sorted by whose they are.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, uri::PathAndQuery};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use kyros_http_server::BoxError;

use crate::answer::{Body, Refusal};

/// Below gunicorn's keep-alive of 2 s: a pooled connection must not be closed by the upstream as it is being reused.
const POOL_IDLE: Duration = Duration::from_millis(1500);
/// Loopback answers at once or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const POOL_SIZE: usize = 64;

/// A client of one upstream.
#[derive(Clone)]
pub(crate) struct Upstream {
    client: Client<HttpConnector, Body>,
    timeout: Duration,
}

impl Upstream {
    pub(crate) fn new(timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_SIZE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self { client, timeout }
    }

    /// Sends the request to `authority` (`host:port`); only the path and query of its target are kept.
    pub(crate) async fn send(
        &self,
        authority: &str,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, Refusal> {
        let target = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let uri = Uri::builder().scheme("http").authority(authority).path_and_query(target).build();
        *request.uri_mut() = uri.map_err(|_| Refusal::UPSTREAM_DOWN)?;
        *request.version_mut() = http::Version::HTTP_11;
        let answer = tokio::time::timeout(self.timeout, self.client.request(request)).await;
        match answer {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) if error.is_connect() => Err(Refusal::UPSTREAM_DOWN),
            Ok(Err(error)) if is_too_large(&error) => Err(Refusal::TOO_LARGE),
            Ok(Err(error)) => {
                tracing::warn!(%error, "upstream failed");
                Err(Refusal::UPSTREAM_BROKEN)
            }
            Err(_) => Err(Refusal::UPSTREAM_TIMEOUT),
        }
    }
}

fn is_too_large(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if current.is::<LengthLimitError>() {
            return true;
        }
        cause = current.source();
    }
    false
}

/// A request's body: at most `limit` bytes, without trailers.
pub(crate) fn request_body(incoming: Incoming, limit: u64) -> Body {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    Limited::new(WithoutTrailers(incoming), limit).boxed_unsync()
}

/// A response's body: without trailers, and cut off when `ended` resolves.
pub(crate) fn guarded_body(incoming: Incoming, ended: impl Future<Output = ()> + Send + 'static) -> Body {
    if incoming.is_end_stream() {
        return incoming.map_err(Into::into).boxed_unsync();
    }
    Guarded { inner: WithoutTrailers(incoming), ended: Box::pin(ended) }.boxed_unsync()
}

/// A body that passes as it is, without trailers.
pub(crate) fn plain_body(incoming: Incoming) -> Body {
    WithoutTrailers(incoming).boxed_unsync()
}

/// Whether an answer switches protocols.
pub(crate) fn is_switching(response: &Response<Incoming>) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS
}

/// Trailers could carry what the header rules removed.
struct WithoutTrailers(Incoming);

impl hyper::body::Body for WithoutTrailers {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            return match Pin::new(&mut self.0).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => continue,
                Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(frame))),
                Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            };
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// Ends with an error, and so the connection with it, when the authority behind it has ended.
struct Guarded {
    inner: WithoutTrailers,
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl hyper::body::Body for Guarded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err("the authority behind this answer has ended".into())));
        }
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
