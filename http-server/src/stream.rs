//! Sockets that Kyros serves and asks: TCP, or Unix where both ends are on one machine.

use std::{
    fmt,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready},
    net::{
        TcpListener, TcpStream, UnixListener, UnixStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// A peer that vanished without a word is noticed after this much silence and three probes more.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_PROBES: u32 = 3;
/// What the kernel of a gateway keeps for one connection, unsent or unread; it doubles the number for its own bookkeeping. Enough
/// for 80 Mbit/s over 100 ms, and little enough that a slow reader is seen to make progress every few seconds. Where
/// `net.core.wmem_max` or `rmem_max` is less, it is that.
pub const KERNEL_QUEUE: usize = 512 * 1024;

/// Where a server listens.
#[derive(Debug)]
pub enum Listener {
    /// On an address.
    Tcp(TcpListener),
    /// On a file.
    Unix(UnixListener),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self::Unix(listener)
    }
}

impl Listener {
    /// Bounds what the kernel keeps unsent of every connection that is accepted from now on.
    pub(crate) fn bound_queues(&self, bytes: usize) {
        // Inherited from the listener. A Unix socket's is small by itself.
        if let Self::Tcp(listener) = self {
            let _ = SockRef::from(listener).set_send_buffer_size(bytes);
        }
    }

    /// The next connection, and whose it is where that is an address.
    pub async fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Stream::of_tcp(stream), Some(peer)))
            }
            Self::Unix(listener) => Ok((Stream::Unix(listener.accept().await?.0), None)),
        }
    }
}

/// One connection.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over TCP, with a [`ResetWatch`] on it.
    Watched(OwnedReadHalf, Arc<OwnedWriteHalf>),
    /// Over a Unix socket.
    Unix(UnixStream),
}

/// Tells when the other end breaks a connection off, also while nobody reads it. It does not keep the socket open.
#[derive(Debug, Clone)]
pub struct ResetWatch(Weak<OwnedWriteHalf>);

impl ResetWatch {
    /// Resolves when the connection has been reset, and not when it has come to its ordinary end.
    pub async fn reset(&self) {
        match self.0.upgrade() {
            Some(socket) => drop(socket.ready(Interest::ERROR).await),
            None => std::future::pending().await,
        }
    }
}

impl Stream {
    /// A TCP connection that sends at once and notices a peer that is gone.
    pub fn of_tcp(stream: TcpStream) -> Self {
        let keepalive =
            TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3).with_retries(KEEPALIVE_PROBES);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
        let _ = stream.set_nodelay(true);
        Self::Tcp(stream)
    }

    /// The same connection with a watch on it, where it is one that can be reset. The kernel keeps little of what has not been
    /// read: it would be passed on after a reset.
    pub fn watched(self) -> (Self, Option<ResetWatch>) {
        let Self::Tcp(stream) = self else { return (self, None) };
        let _ = SockRef::from(&stream).set_recv_buffer_size(KERNEL_QUEUE);
        let (read, write) = stream.into_split();
        let write = Arc::new(write);
        let watch = ResetWatch(Arc::downgrade(&write));
        (Self::Watched(read, write), Some(watch))
    }

    /// Closes with a reset: nothing of what waits to be sent is sent any more.
    pub fn reset_on_close(&self) {
        let stream = match self {
            Self::Tcp(stream) => stream,
            Self::Watched(_, write) => write.as_ref().as_ref(),
            // What was written is with the other end already.
            Self::Unix(_) => return,
        };
        let _ = stream.set_zero_linger();
    }

    /// Waits until the socket may be read or written.
    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self {
            Self::Tcp(stream) => stream.ready(interest).await,
            Self::Watched(_, write) => write.ready(interest).await,
            Self::Unix(stream) => stream.ready(interest).await,
        }
    }

    /// Reads what is there; `WouldBlock` when that is nothing.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(buffer),
            Self::Watched(read, _) => read.try_read(buffer),
            Self::Unix(stream) => stream.try_read(buffer),
        }
    }

    /// Writes what fits; `WouldBlock` when that is nothing.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Watched(_, write) => write.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
        }
    }

    /// Ends the writing side; the peer reads an end of file.
    pub fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream).shutdown(std::net::Shutdown::Write),
            Self::Watched(_, write) => shutdown_write(write),
            Self::Unix(stream) => SockRef::from(stream).shutdown(std::net::Shutdown::Write),
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => address.fmt(f),
                Err(error) => error.fmt(f),
            },
            Self::Unix(listener) => {
                let path = listener.local_addr().ok().and_then(|address| address.as_pathname().map(ToOwned::to_owned));
                write!(f, "unix:{}", path.unwrap_or_default().display())
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Watched(read, _) => Pin::new(read).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Watched(_, write) => poll_shared(write, cx, |stream| stream.try_write(bytes)),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Most messages are one part, and handing over a list of one costs more than handing it over alone.
        if let [whole] = slices {
            return self.poll_write(cx, whole);
        }
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Watched(_, write) => poll_shared(write, cx, |stream| stream.try_write_vectored(slices)),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            // What is written is the kernel's already.
            Self::Watched(..) => Poll::Ready(Ok(())),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Watched(_, write) => Poll::Ready(shutdown_write(write)),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

fn shutdown_write(half: &OwnedWriteHalf) -> io::Result<()> {
    let stream: &TcpStream = half.as_ref();
    SockRef::from(stream).shutdown(std::net::Shutdown::Write)
}

/// Writes to a socket that is not ours alone.
fn poll_shared(
    half: &OwnedWriteHalf,
    cx: &mut Context<'_>,
    write: impl Fn(&OwnedWriteHalf) -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(AsRef::<TcpStream>::as_ref(half).poll_write_ready(cx))?;
        match write(half) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
            written => return Poll::Ready(written),
        }
    }
}
