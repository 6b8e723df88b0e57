use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::activity::Activity;
use super::limits::Limits;

/// A connection that fails when its client is too slow.
///
/// hyper has one limit for the time from one request to the end of the next request's head. That limit would have to be longer
/// than the API server's idle time, so a client could send a head one byte at a time. This type has two limits: a short one for
/// a head that has begun, and a long one for an idle connection.
pub(super) struct Watched<I> {
    inner: I,
    activity: Arc<Activity>,
    limits: Limits,
    /// True if bytes that are read between requests are the head of the next one, as in HTTP/1.1.
    reads_heads: bool,
    /// Time at which the current head began, and the number of requests that had begun by then.
    head: Option<(Instant, u64)>,
    /// Start of the current wait for the client to accept bytes.
    stalled: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
}

impl<I> Watched<I> {
    pub(super) fn new(inner: I, activity: Arc<Activity>, limits: Limits, reads_heads: bool) -> Self {
        let alarm = Box::pin(tokio::time::sleep(limits.idle));
        Self { inner, activity, limits, reads_heads, head: None, stalled: None, alarm }
    }

    /// Returns the time by which the client must act, and the action.
    fn deadline(&mut self) -> Option<(Instant, &'static str)> {
        let stalled = self.stalled.map(|since| (since + self.limits.write, "the client takes no answer"));
        if !self.reads_heads {
            return stalled;
        }
        let begun = self.activity.begun();
        let idle = self.activity.idle_since().map(|idle_since| match self.head {
            Some((since, before)) if before == begun => {
                (since + self.limits.head, "a request's head did not come in time")
            }
            _ => (idle_since + self.limits.idle, "no request came in time"),
        });
        stalled.into_iter().chain(idle).min_by_key(|(deadline, _)| *deadline)
    }

    /// Fails if the client has exceeded its time; otherwise sets the alarm for the next check.
    fn overdue(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while let Some((deadline, what)) = self.deadline() {
            if deadline <= Instant::now() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, what));
            }
            // An alarm that fires too early is reset when it fires: this is far rarer than requests.
            if self.alarm.deadline() > deadline || self.alarm.is_elapsed() {
                self.alarm.as_mut().reset(deadline);
            }
            if self.alarm.as_mut().poll(cx).is_pending() {
                break;
            }
        }
        Ok(())
    }

    fn written<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.stalled = None;
            return poll;
        }
        self.stalled.get_or_insert_with(Instant::now);
        self.overdue(cx)?;
        Poll::Pending
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, buffer) {
            Poll::Ready(done) => done?,
            Poll::Pending => {
                this.overdue(cx)?;
                return Poll::Pending;
            }
        }
        if this.reads_heads && buffer.filled().len() > before && this.activity.idle_since().is_some() {
            let begun = this.activity.begun();
            if this.head.is_none_or(|(_, before)| before != begun) {
                this.head = Some((Instant::now(), begun));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.written(cx, poll)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.inner).poll_flush(cx);
        this.written(cx, poll)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.inner).poll_shutdown(cx);
        this.written(cx, poll)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.inner).poll_write_vectored(cx, bytes);
        this.written(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
