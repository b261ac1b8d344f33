//! Deadlines that move with every request and hardly ever pass.
//!
//! Setting one of the runtime's timers for every request, and taking it back, costs as much as many of the checks. So the timer
//! stays where it is, and is set anew only when it fires before the deadline has come.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::time::{Sleep, sleep_until};

/// A timer that may fire too early and never too late. Whoever was woken too early looks, and waits on.
#[derive(Debug, Default)]
pub struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready when the deadline has passed; until then the task is woken in time to look again.
    pub fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let deadline = deadline.into();
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= deadline {
                // Whoever comes next finds one that has not fired yet.
                self.0 = None;
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

/// The one alarm of a connection, as hyper wants its timers: it has no more than one at a time, for the head of a request.
#[derive(Debug, Default)]
pub(crate) struct HeadTimer(Arc<Mutex<Alarm>>);

struct HeadDeadline {
    alarm: Arc<Mutex<Alarm>>,
    deadline: Instant,
}

impl hyper::rt::Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(HeadDeadline { alarm: self.0.clone(), deadline })
    }
}

impl Future for HeadDeadline {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.alarm.lock().unwrap_or_else(PoisonError::into_inner).poll_until(cx, self.deadline)
    }
}

impl hyper::rt::Sleep for HeadDeadline {}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn until(alarm: &mut Alarm, deadline: Instant) {
        poll_fn(|cx| alarm.poll_until(cx, deadline)).await;
    }

    #[tokio::test]
    async fn an_alarm_rings_in_time_whatever_it_was_set_to_before() {
        let (mut alarm, begun) = (Alarm::default(), Instant::now());
        let at = |millis| begun + Duration::from_millis(millis);
        // Set, left, set later: it fires early and waits on.
        let early = tokio::time::timeout(Duration::from_millis(5), until(&mut alarm, at(20)));
        assert!(early.await.is_err());
        until(&mut alarm, at(60)).await;
        assert!(Instant::now() >= at(60));
        // Set far away, left, set near.
        let far = tokio::time::timeout(Duration::from_millis(5), until(&mut alarm, at(60_000)));
        assert!(far.await.is_err());
        until(&mut alarm, at(90)).await;
        assert!((at(90)..at(1_000)).contains(&Instant::now()));
        // What has passed already has passed.
        until(&mut alarm, begun).await;
    }
}
