//! The yardstick: the least that a proxy on hyper can do. One thread, no tokens, no rules, no log, no timer, no metrics.
//!
//! It keeps connections to the upstream and gives the one used last to the next request, since that one's memory is warm.

use std::{cell::RefCell, net::SocketAddr, sync::Arc};

use clap::Args;
use http::{Request, Response, header::CONNECTION};
use hyper::{
    body::Incoming,
    client::conn::http1::{self as client, SendRequest},
    server::conn::http1 as server,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use kyros_sidecar::UpstreamAddress;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixStream},
};

/// Where the pass-through listens and whom it asks.
#[derive(Debug, Clone, Args)]
pub struct PassThroughArgs {
    /// Where requests arrive.
    #[arg(long)]
    pub listen: SocketAddr,
    /// Who answers them: host:port or unix:PATH.
    #[arg(long)]
    pub upstream: UpstreamAddress,
}

thread_local! {
    /// As many as there ever were requests at once; the load bounds that.
    static POOL: RefCell<Vec<SendRequest<Incoming>>> = const { RefCell::new(Vec::new()) };
}

/// Serves for as long as the process lives.
pub(crate) async fn serve(arguments: PassThroughArgs) -> anyhow::Result<()> {
    let listener = TcpListener::bind(arguments.listen).await?;
    let upstream = Arc::new(arguments.upstream);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let upstream = upstream.clone();
        let service = service_fn(move |request| pass(request, upstream.clone()));
        tokio::spawn(server::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// An error ends the client's connection, and with it the measurement.
async fn pass(mut request: Request<Incoming>, upstream: Arc<UpstreamAddress>) -> anyhow::Result<Response<Incoming>> {
    request.headers_mut().remove(CONNECTION);
    let mut sender = match pooled() {
        Some(sender) => sender,
        None => connect(&upstream).await?,
    };
    let mut response = sender.send_request(request).await?;
    // It may be busy with the answer's body still; it is not taken before it is ready.
    POOL.with_borrow_mut(|pool| pool.push(sender));
    response.headers_mut().remove(CONNECTION);
    Ok(response)
}

/// The connection used last among those that are ready, which none is that has been closed.
fn pooled() -> Option<SendRequest<Incoming>> {
    POOL.with_borrow_mut(|pool| {
        let last_ready = pool.iter().rposition(SendRequest::is_ready);
        if last_ready.is_none() {
            pool.retain(|sender| !sender.is_closed());
        }
        last_ready.map(|index| pool.remove(index))
    })
}

async fn connect(upstream: &UpstreamAddress) -> anyhow::Result<SendRequest<Incoming>> {
    match upstream {
        UpstreamAddress::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            talk_over(stream).await
        }
        UpstreamAddress::Unix(path) => talk_over(UnixStream::connect(path).await?).await,
    }
}

async fn talk_over(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> anyhow::Result<SendRequest<Incoming>> {
    let (sender, connection) = client::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}
