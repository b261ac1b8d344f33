//! Where a verifier's keys come from, and how they stay fresh: last good set kept, fetches rate-limited and single-flight.

use std::{
    path::PathBuf,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use thiserror::Error;
use tokio::sync::watch;
use url::Url;

use crate::{KeySet, jwks::KeySetError};

/// At most one fetch in this time, whatever key ids an attacker invents.
pub const MIN_REFRESH_INTERVAL: Duration = Duration::from_secs(10);
/// The same until there are any keys: then every caller waits for some, and the limit would only lengthen the outage.
const FIRST_REFRESH_INTERVAL: Duration = Duration::from_millis(200);
/// How often the keys are looked at when nothing asks for it.
pub const REFRESH_INTERVAL: Duration = Duration::from_mins(5);
/// How long a key server may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a key set is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// An `http` or `https` address.
    Url(Url),
    /// A file, e.g. a mounted `ConfigMap`.
    File(PathBuf),
    /// The document itself.
    Fixed(String),
}

impl FromStr for KeySource {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        Ok(url.map_or_else(|| Self::File(text.strip_prefix("file:").unwrap_or(text).into()), Self::Url))
    }
}

/// Why keys could not be read.
#[derive(Debug, Error)]
pub enum KeyRingError {
    /// The file cannot be read.
    #[error("key file {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The key server did not answer as it should.
    #[error("key server {url}: {reason}")]
    Fetch {
        /// Its address.
        url: Url,
        /// What went wrong.
        reason: String,
    },
    /// No HTTP client could be made.
    #[error("http client: {0}")]
    Client(#[from] reqwest::Error),
    /// It answered with something that is not believed.
    #[error(transparent)]
    Set(#[from] KeySetError),
}

/// What a call of [`KeyRing::refresh`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// Keys were read just now, by this call or by one it waited for.
    Refreshed,
    /// The last attempt is too recent for another one.
    TooSoon,
    /// The attempt failed; the last good keys stay.
    Failed,
}

/// The current keys of one issuer.
pub struct KeyRing {
    /// Shared with a fetch under way, which nobody who waits for it can end.
    shared: Arc<Shared>,
}

struct Shared {
    source: KeySource,
    current: ArcSwapOption<KeySet>,
    /// When keys were last read: at the start for a file.
    read_at: ArcSwapOption<Instant>,
    attempts: Mutex<Attempts>,
}

#[derive(Default)]
struct Attempts {
    last: Option<Instant>,
    /// What the last attempt came to. Nobody sends any more once it is over.
    outcome: Option<watch::Receiver<Option<RefreshOutcome>>>,
}

impl KeyRing {
    /// A ring over a source. A file or a fixed set is read at once; a URL at the first [`refresh`](Self::refresh), so that
    /// a verifier can start before its key server does (and refuses every token until then).
    pub fn new(source: KeySource) -> Result<Self, KeyRingError> {
        let initial = match &source {
            KeySource::Url(_) => None,
            KeySource::File(path) => Some(read_file(path)?),
            KeySource::Fixed(document) => Some(KeySet::parse(document.as_bytes())?),
        };
        let read_at = ArcSwapOption::new(initial.is_some().then(|| Arc::new(Instant::now())));
        let current = ArcSwapOption::new(initial.map(Arc::new));
        Ok(Self { shared: Arc::new(Shared { source, current, read_at, attempts: Mutex::default() }) })
    }

    /// The last good keys, if there ever were any.
    pub fn current(&self) -> Option<Arc<KeySet>> {
        self.shared.current.load_full()
    }

    /// Whether this very set is the one in use. A set read anew is another one, whatever it holds.
    pub fn is_current(&self, set: &Arc<KeySet>) -> bool {
        self.shared.current.load().as_ref().is_some_and(|current| Arc::ptr_eq(current, set))
    }

    /// Whether any keys are known: until then nothing can be verified.
    pub fn is_ready(&self) -> bool {
        self.shared.is_ready()
    }

    /// How long ago keys were last read, if they were read since the start.
    pub fn last_read_ago(&self) -> Option<Duration> {
        self.shared.read_at.load().as_ref().map(|instant| instant.elapsed())
    }

    /// Reads the keys again, at most once per [`MIN_REFRESH_INTERVAL`]. Concurrent callers share one attempt, which goes on
    /// when they do not wait for it: a client that hangs up must not take the attempt of everybody else along.
    pub async fn refresh(&self) -> RefreshOutcome {
        let Some(mut outcome) = Shared::attempt(&self.shared) else { return RefreshOutcome::TooSoon };
        let told = outcome.wait_for(Option::is_some).await;
        told.ok().and_then(|outcome| *outcome).unwrap_or(RefreshOutcome::Failed)
    }

    /// Keeps the keys fresh until the task is dropped: often until there are some, then every [`REFRESH_INTERVAL`], and
    /// sooner where the last attempt was not its own or failed.
    pub async fn keep_fresh(self: Arc<Self>) {
        loop {
            let outcome = self.refresh().await;
            tokio::time::sleep(pause_after(outcome, self.is_ready())).await;
        }
    }
}

fn pause_after(outcome: RefreshOutcome, is_ready: bool) -> Duration {
    match outcome {
        _ if !is_ready => Duration::from_millis(500),
        RefreshOutcome::Refreshed => REFRESH_INTERVAL,
        RefreshOutcome::TooSoon | RefreshOutcome::Failed => MIN_REFRESH_INTERVAL,
    }
}

impl Shared {
    fn is_ready(&self) -> bool {
        self.current.load().is_some()
    }

    /// The attempt under way, or a new one; nothing when the last one is too recent.
    fn attempt(shared: &Arc<Self>) -> Option<watch::Receiver<Option<RefreshOutcome>>> {
        let mut attempts = shared.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outcome) = attempts.outcome.as_ref().filter(|outcome| outcome.has_changed().is_ok()) {
            return Some(outcome.clone());
        }
        let pause = if shared.is_ready() { MIN_REFRESH_INTERVAL } else { FIRST_REFRESH_INTERVAL };
        if attempts.last.is_some_and(|instant| instant.elapsed() < pause) {
            return None;
        }
        attempts.last = Some(Instant::now());
        let (tell, outcome) = watch::channel(None);
        attempts.outcome = Some(outcome.clone());
        let shared = shared.clone();
        tokio::spawn(async move { tell.send_replace(Some(shared.read_anew().await)) });
        Some(outcome)
    }

    async fn read_anew(&self) -> RefreshOutcome {
        match self.read().await {
            Ok(set) => {
                self.current.store(Some(Arc::new(set)));
                self.read_at.store(Some(Arc::new(Instant::now())));
                RefreshOutcome::Refreshed
            }
            Err(error) => {
                tracing::warn!(%error, "keys not refreshed, the last good ones stay");
                RefreshOutcome::Failed
            }
        }
    }

    async fn read(&self) -> Result<KeySet, KeyRingError> {
        match &self.source {
            KeySource::Fixed(document) => Ok(KeySet::parse(document.as_bytes())?),
            KeySource::File(path) => read_file(path),
            KeySource::Url(url) => {
                let fail = |reason: String| KeyRingError::Fetch { url: url.clone(), reason };
                // Made for each of the rare fetches, so that a verifier which reads a file holds none.
                let client = crate::http_client(url).timeout(FETCH_TIMEOUT).build()?;
                let mut response =
                    client.get(url.clone()).send().await.map_err(|error| fail(error.without_url().to_string()))?;
                if response.status() != http::StatusCode::OK {
                    return Err(fail(format!("status {}", response.status().as_u16())));
                }
                let mut document = Vec::new();
                while let Some(chunk) = response.chunk().await.map_err(|error| fail(error.without_url().to_string()))? {
                    if document.len() + chunk.len() > crate::jwks::MAX_DOCUMENT_BYTES {
                        return Err(KeySetError::TooLarge.into());
                    }
                    document.extend_from_slice(&chunk);
                }
                Ok(KeySet::parse(&document)?)
            }
        }
    }
}

fn read_file(path: &std::path::Path) -> Result<KeySet, KeyRingError> {
    let document = std::fs::read(path).map_err(|source| KeyRingError::File { path: path.to_owned(), source })?;
    Ok(KeySet::parse(&document)?)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::Issuer;

    #[test]
    fn a_source_is_a_url_or_a_file() {
        assert!(matches!("https://a.example/jwks".parse(), Ok(KeySource::Url(_))));
        assert_eq!("file:/etc/jwks.json".parse(), Ok(KeySource::File("/etc/jwks.json".into())));
        assert_eq!("jwks.json".parse(), Ok(KeySource::File("jwks.json".into())));
    }

    #[tokio::test]
    async fn a_broken_file_leaves_the_last_good_keys_and_a_flood_reads_it_once() {
        let path = std::env::temp_dir().join(format!("kyros-{}.json", crate::crypto::random_id()));
        std::fs::write(&path, Issuer::generate("https://a.example").unwrap().jwks()).unwrap();
        let ring = KeyRing::new(KeySource::File(path.clone())).unwrap();
        std::fs::write(&path, "<html>").unwrap();
        assert_eq!(ring.refresh().await, RefreshOutcome::Failed);
        for _ in 0..1000 {
            assert_eq!(ring.refresh().await, RefreshOutcome::TooSoon);
        }
        assert!(ring.is_ready());
        std::fs::remove_file(&path).unwrap();
    }

    /// A key server that answers slowly with the document of the moment, and how often it was asked.
    async fn slow_server(document: Arc<Mutex<String>>) -> (KeySource, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (document, count) = (document.clone(), count.clone());
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    let _ = stream.read(&mut request).await;
                    count.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    let body = document.lock().unwrap().clone();
                    let head =
                        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
                    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
                });
            }
        });
        (KeySource::Url(url), asked)
    }

    fn document() -> String {
        Issuer::generate("https://a.example").unwrap().jwks()
    }

    /// Asks and hangs up at once.
    async fn hang_up(ring: &KeyRing) {
        let _ = tokio::time::timeout(Duration::from_millis(1), ring.refresh()).await;
    }

    async fn eventually(what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_so() {
            assert!(Instant::now() < deadline, "{what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn keys_arrive_although_nobody_who_asked_for_them_waits() {
        let published = Arc::new(Mutex::new(document()));
        let (source, asked) = slow_server(published.clone()).await;
        let ring = KeyRing::new(source).unwrap();
        hang_up(&ring).await;
        eventually("the first keys arrive", || ring.is_ready()).await;
        let before = ring.current().unwrap();
        *published.lock().unwrap() = document();
        // Ten seconds later.
        ring.shared.attempts.lock().unwrap().last = None;
        hang_up(&ring).await;
        eventually("the next keys arrive", || !ring.is_current(&before)).await;
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        assert_eq!(ring.refresh().await, RefreshOutcome::TooSoon, "however it ended for the one who asked");
    }

    #[tokio::test]
    async fn many_who_hang_up_starve_nobody_and_cause_one_fetch() {
        let (source, asked) = slow_server(Arc::new(Mutex::new(document()))).await;
        let ring = Arc::new(KeyRing::new(source).unwrap());
        hang_up(&ring).await;
        let patient = ring.clone();
        let patient = tokio::spawn(async move { patient.refresh().await });
        while !patient.is_finished() {
            hang_up(&ring).await;
        }
        assert_eq!(patient.await.unwrap(), RefreshOutcome::Refreshed);
        assert!(ring.is_ready());
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn keys_are_looked_at_again_soon_after_an_attempt_that_brought_none() {
        assert_eq!(pause_after(RefreshOutcome::Refreshed, true), REFRESH_INTERVAL);
        assert_eq!(pause_after(RefreshOutcome::TooSoon, true), MIN_REFRESH_INTERVAL);
        assert_eq!(pause_after(RefreshOutcome::Failed, true), MIN_REFRESH_INTERVAL);
        assert!(pause_after(RefreshOutcome::Failed, false) < MIN_REFRESH_INTERVAL);
    }

    #[test]
    fn a_missing_file_is_an_error_at_the_start() {
        assert!(matches!(KeyRing::new(KeySource::File("/nonexistent".into())), Err(KeyRingError::File { .. })));
    }
}
