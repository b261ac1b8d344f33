//! A layer under the client that counts what is written and, when told to, fails writes before or after they took effect:
//! both happen in the field, and a controller must not be able to tell which.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, BodyStream, StreamBody, combinators::UnsyncBoxBody};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::sync::watch;
use tower::{BoxError, Layer, Service};

/// How the client is treated.
#[derive(Clone)]
pub(crate) struct Chaos(Arc<State>);

struct State {
    random: Mutex<ChaCha8Rng>,
    /// Of a thousand writes, how many fail; half of them after they took effect.
    failing: AtomicU64,
    /// Writes that are still let through before everything fails, as if the process had been killed.
    allowed: AtomicU64,
    /// Of a thousand events of a watch, how many are lost, told twice, or make the watch begin anew (410).
    losing: AtomicU64,
    /// Every event makes its watch begin anew.
    expiring: AtomicBool,
    /// No event is told, and nothing says so.
    mute: AtomicBool,
    /// The way to the API server is cut: nothing is sent, and open watches break.
    is_cut: watch::Sender<bool>,
    writes: AtomicU64,
    log: Mutex<Vec<String>>,
    forbidden: Mutex<Vec<String>>,
}

impl Chaos {
    pub(crate) fn none() -> Self {
        Self(Arc::new(State {
            random: Mutex::new(ChaCha8Rng::seed_from_u64(11)),
            failing: AtomicU64::new(0),
            allowed: AtomicU64::new(u64::MAX),
            losing: AtomicU64::new(0),
            expiring: AtomicBool::new(false),
            mute: AtomicBool::new(false),
            is_cut: watch::channel(false).0,
            writes: AtomicU64::new(0),
            log: Mutex::default(),
            forbidden: Mutex::default(),
        }))
    }

    /// Fails so many of a thousand writes from now on.
    pub(crate) fn fail(&self, of_a_thousand: u64) {
        self.0.failing.store(of_a_thousand, Ordering::Relaxed);
    }

    /// Loses, repeats and breaks off so many of a thousand watched events from now on, a third each.
    pub(crate) fn lose(&self, of_a_thousand: u64) {
        self.0.losing.store(of_a_thousand, Ordering::Relaxed);
    }

    /// Tells every watch that hears anything that it has to begin anew (410), or no longer.
    pub(crate) fn expire(&self, is_expiring: bool) {
        self.0.expiring.store(is_expiring, Ordering::Relaxed);
    }

    /// Loses everything that watches hear, without a word, or no longer.
    pub(crate) fn mute(&self, is_mute: bool) {
        self.0.mute.store(is_mute, Ordering::Relaxed);
    }

    /// Cuts the way to the API server, or mends it.
    pub(crate) fn cut(&self, is_cut: bool) {
        self.0.is_cut.send_replace(is_cut);
    }

    /// Lets so many writes through and nothing after them.
    pub(crate) fn crash_after(&self, writes: u64) {
        self.0.allowed.store(writes, Ordering::Relaxed);
    }

    /// Writes asked for so far.
    pub(crate) fn writes(&self) -> u64 {
        self.0.writes.load(Ordering::Relaxed)
    }

    /// What was written, for the message of a test that failed.
    pub(crate) fn log(&self) -> Vec<String> {
        self.0.log.lock().unwrap().clone()
    }

    /// What the API server did not allow.
    pub(crate) fn forbidden(&self) -> Vec<String> {
        self.0.forbidden.lock().unwrap().clone()
    }

    /// What becomes of one line of a watch.
    fn heard(&self, line: &[u8]) -> Vec<u8> {
        const EXPIRED: &[u8] =
            b"{\"type\":\"ERROR\",\"object\":{\"code\":410,\"reason\":\"Expired\",\"message\":\"too old\"}}\n";
        if self.0.mute.load(Ordering::Relaxed) {
            return Vec::new();
        }
        if self.0.expiring.load(Ordering::Relaxed) {
            return EXPIRED.to_vec();
        }
        let mut random = self.0.random.lock().unwrap();
        if random.random_range(0..1000) >= self.0.losing.load(Ordering::Relaxed) {
            return line.to_vec();
        }
        match random.random_range(0..3) {
            0 => Vec::new(),
            1 => [line, line].concat(),
            _ => EXPIRED.to_vec(),
        }
    }

    fn verdict(&self) -> Verdict {
        self.0.writes.fetch_add(1, Ordering::Relaxed);
        let spent = |left: u64| (left != u64::MAX).then(|| left.saturating_sub(1));
        let left = self.0.allowed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spent).unwrap_or(u64::MAX);
        if left == 0 {
            return Verdict::FailBefore;
        }
        let mut random = self.0.random.lock().unwrap();
        if random.random_range(0..1000) >= self.0.failing.load(Ordering::Relaxed) {
            return Verdict::Pass;
        }
        if random.random_bool(0.5) { Verdict::FailBefore } else { Verdict::FailAfter }
    }
}

enum Verdict {
    Pass,
    FailBefore,
    FailAfter,
}

impl<S> Layer<S> for Chaos {
    type Service = ChaosService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ChaosService { inner, chaos: self.clone() }
    }
}

#[derive(Clone)]
pub(crate) struct ChaosService<S> {
    inner: S,
    chaos: Chaos,
}

type Body = UnsyncBoxBody<Bytes, BoxError>;

impl<S, B, C> Service<Request<B>> for ChaosService<S>
where
    S: Service<Request<B>, Response = Response<C>>,
    S::Future: Send + 'static,
    C: http_body::Body<Data = Bytes> + Send + 'static,
    C::Error: Into<BoxError>,
    S::Error: Into<BoxError> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let what = format!("{} {}", request.method(), request.uri().path());
        let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let verdict = if request.method() == Method::GET {
            Verdict::Pass
        } else {
            self.chaos.0.log.lock().unwrap().push(what.clone());
            self.chaos.verdict()
        };
        if *self.chaos.0.is_cut.borrow() {
            return Box::pin(async { Err("chaos: cut".into()) });
        }
        if matches!(verdict, Verdict::FailBefore) {
            return Box::pin(async { Err("chaos: not sent".into()) });
        }
        let (call, chaos) = (self.inner.call(request), self.chaos.clone());
        Box::pin(async move {
            let done = call.await.map_err(Into::into)?;
            if done.status() == StatusCode::FORBIDDEN {
                chaos.0.forbidden.lock().unwrap().push(what);
            }
            if matches!(verdict, Verdict::FailAfter) {
                Err("chaos: answer lost".into())
            } else {
                Ok(done
                    .map(|body| if is_watch { watched(body, chaos) } else { body.map_err(Into::into).boxed_unsync() }))
            }
        })
    }
}

/// A watch's body, line by line: each event is one.
fn watched<C>(body: C, chaos: Chaos) -> Body
where
    C: http_body::Body<Data = Bytes> + Send + 'static,
    C::Error: Into<BoxError>,
{
    let cut = chaos.0.is_cut.subscribe();
    let state = (Box::pin(BodyStream::new(body)), Vec::new(), chaos, cut);
    let lines = stream::unfold(state, |(mut body, mut rest, chaos, mut cut)| async {
        let heard = tokio::select! {
            frame = body.next() => Some(frame?),
            _ = cut.wait_for(|is_cut| *is_cut) => None,
        };
        let Some(frame) = heard else {
            let broken: Result<_, BoxError> = Err("chaos: cut".into());
            return Some((broken, (body, rest, chaos, cut)));
        };
        let told = frame.map_err(Into::into).map(|frame| {
            rest.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
            let mut told = Vec::new();
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                told.extend(chaos.heard(&line));
            }
            http_body::Frame::data(Bytes::from(told))
        });
        Some((told, (body, rest, chaos, cut)))
    });
    StreamBody::new(lines).boxed_unsync()
}
