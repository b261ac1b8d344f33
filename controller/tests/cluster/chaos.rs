//! A layer under the client that counts what is written and, when told to, fails writes before or after they took effect:
//! both happen in the field, and a controller must not be able to tell which.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use http::{Method, Request, Response, StatusCode};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
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
            writes: AtomicU64::new(0),
            log: Mutex::default(),
            forbidden: Mutex::default(),
        }))
    }

    /// Fails so many of a thousand writes from now on.
    pub(crate) fn fail(&self, of_a_thousand: u64) {
        self.0.failing.store(of_a_thousand, Ordering::Relaxed);
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

impl<S, B, C> Service<Request<B>> for ChaosService<S>
where
    S: Service<Request<B>, Response = Response<C>>,
    S::Future: Send + 'static,
    C: Send + 'static,
    S::Error: Into<BoxError> + Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let what = format!("{} {}", request.method(), request.uri().path());
        let verdict = if request.method() == Method::GET {
            Verdict::Pass
        } else {
            self.chaos.0.log.lock().unwrap().push(what.clone());
            self.chaos.verdict()
        };
        if matches!(verdict, Verdict::FailBefore) {
            return Box::pin(async { Err("chaos: not sent".into()) });
        }
        let (call, chaos) = (self.inner.call(request), self.chaos.clone());
        Box::pin(async move {
            let done = call.await.map_err(Into::into)?;
            if done.status() == StatusCode::FORBIDDEN {
                chaos.0.forbidden.lock().unwrap().push(what);
            }
            if matches!(verdict, Verdict::FailAfter) { Err("chaos: answer lost".into()) } else { Ok(done) }
        })
    }
}
