//! A connection whose bytes are looked at as they come, and whose other end must go on reading.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{Alarm, Stream};

/// Looks at what is read from a connection, before anybody else does.
pub trait Inspect {
    /// Takes the bytes just read; an error ends the connection.
    fn inspect(&mut self, read: &[u8]) -> io::Result<()>;

    /// Whether the connection is closed with a reset, so that nothing of what waits to be sent arrives.
    fn is_cut(&self) -> bool {
        false
    }
}

/// A connection of which every byte read is looked at first.
#[derive(Debug)]
pub struct Inspected<I: Inspect> {
    /// Taken by `into_stream` alone.
    stream: Option<Stream>,
    inspector: I,
    write_timeout: Option<Duration>,
    /// There as long as a write waits: a connection that is quiet, or whose peer reads, holds none.
    blocked: Option<Box<Blocked>>,
}

/// A write that waits for the other end to read.
#[derive(Debug)]
struct Blocked {
    deadline: Instant,
    alarm: Alarm,
}

impl<I: Inspect> Inspected<I> {
    /// Puts an inspector in front of a connection.
    pub fn new(stream: Stream, inspector: I) -> Self {
        Self { stream: Some(stream), inspector, write_timeout: None, blocked: None }
    }

    /// Resets the connection when its other end takes nothing for so long, though there is something to take.
    #[must_use]
    pub fn with_write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = Some(timeout);
        self
    }

    /// The socket alone, for what comes after HTTP.
    pub fn into_stream(mut self) -> Option<Stream> {
        self.stream.take()
    }

    fn stream(&mut self) -> io::Result<Pin<&mut Stream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// What a write came to. What is taken begins the time anew, so whoever reads slowly reads on; the kernel tells
    /// of it when a third of its queue is free.
    fn in_time(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_pending() {
            return self.wait(cx);
        }
        if self.blocked.is_some() {
            self.blocked = None;
        }
        written
    }

    #[cold]
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(timeout) = self.write_timeout else { return Poll::Pending };
        let blocked = self
            .blocked
            .get_or_insert_with(|| Box::new(Blocked { deadline: Instant::now() + timeout, alarm: Alarm::default() }));
        ready!(blocked.alarm.poll_until(cx, blocked.deadline));
        if let Some(stream) = &self.stream {
            stream.reset_on_close();
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<I: Inspect> Drop for Inspected<I> {
    fn drop(&mut self) {
        if let Some(stream) = &self.stream
            && self.inspector.is_cut()
        {
            stream.reset_on_close();
        }
    }
}

impl<I: Inspect + Unpin> AsyncRead for Inspected<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(this.stream()?.poll_read(cx, buffer))?;
        Poll::Ready(this.inspector.inspect(&buffer.filled()[before..]))
    }
}

impl<I: Inspect + Unpin> AsyncWrite for Inspected<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = this.stream()?.poll_write(cx, bytes);
        this.in_time(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = this.stream()?.poll_write_vectored(cx, slices);
        this.in_time(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream()?.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::UnixStream,
    };

    use super::*;

    struct Nothing;

    impl Inspect for Nothing {
        fn inspect(&mut self, _: &[u8]) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_timer_is_held_only_while_a_write_waits() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let timeout = Duration::from_secs(2);
        let mut inspected = Inspected::new(Stream::Unix(ours), Nothing).with_write_timeout(timeout);
        let piece = vec![0; 64 * 1024];
        inspected.write_all(&piece).await.unwrap();
        assert!(inspected.blocked.is_none(), "nobody waited");
        let fill = async { while inspected.write_all(&piece).await.is_ok() {} };
        assert!(tokio::time::timeout(timeout / 20, fill).await.is_err());
        assert!(inspected.blocked.is_some());
        let mut read = vec![0; 256 * 1024];
        let (written, count) = tokio::join!(inspected.write(&piece), theirs.read(&mut read));
        assert!(written.unwrap() > 0 && count.unwrap() > 0);
        assert!(inspected.blocked.is_none(), "the other end has read");
        let mut written = Ok(());
        while written.is_ok() {
            written = inspected.write_all(&piece).await;
        }
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
