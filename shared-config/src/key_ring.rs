//! Where a verifier's keys come from, and how they stay fresh: last good set kept, fetches rate-limited and single-flight.

use std::{
    path::PathBuf,
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use thiserror::Error;
use tokio::sync::Mutex;
use url::Url;

use crate::{KeySet, jwks::KeySetError};

/// At most one fetch in this time, whatever key ids an attacker invents.
pub const MIN_REFRESH_INTERVAL: Duration = Duration::from_secs(10);
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
    source: KeySource,
    current: ArcSwapOption<KeySet>,
    attempts: Mutex<Attempts>,
    /// When keys were last read: at the start for a file.
    read_at: ArcSwapOption<Instant>,
}

#[derive(Default)]
struct Attempts {
    last: Option<Instant>,
    last_good: Option<Instant>,
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
        Ok(Self { source, current, attempts: Mutex::default(), read_at })
    }

    /// The last good keys, if there ever were any.
    pub fn current(&self) -> Option<Arc<KeySet>> {
        self.current.load_full()
    }

    /// Whether this very set is the one in use. A set read anew is another one, whatever it holds.
    pub fn is_current(&self, set: &Arc<KeySet>) -> bool {
        self.current.load().as_ref().is_some_and(|current| Arc::ptr_eq(current, set))
    }

    /// Whether any keys are known: until then nothing can be verified.
    pub fn is_ready(&self) -> bool {
        self.current.load().is_some()
    }

    /// How long ago keys were last read, if they were read since the start.
    pub fn last_read_ago(&self) -> Option<Duration> {
        self.read_at.load().as_ref().map(|instant| instant.elapsed())
    }

    /// Reads the keys again, at most once per [`MIN_REFRESH_INTERVAL`]. Concurrent callers share one attempt.
    pub async fn refresh(&self) -> RefreshOutcome {
        let asked = Instant::now();
        let mut attempts = self.attempts.lock().await;
        if attempts.last_good.is_some_and(|instant| instant >= asked) {
            return RefreshOutcome::Refreshed;
        }
        // Before the first success every caller waits for keys, so the limit would only lengthen the outage.
        let pause = if self.is_ready() { MIN_REFRESH_INTERVAL } else { Duration::from_millis(200) };
        if attempts.last.is_some_and(|instant| instant.elapsed() < pause) {
            return RefreshOutcome::TooSoon;
        }
        attempts.last = Some(asked);
        match self.read().await {
            Ok(set) => {
                self.current.store(Some(Arc::new(set)));
                attempts.last_good = Some(Instant::now());
                self.read_at.store(Some(Arc::new(Instant::now())));
                RefreshOutcome::Refreshed
            }
            Err(error) => {
                tracing::warn!(%error, "keys not refreshed, the last good ones stay");
                RefreshOutcome::Failed
            }
        }
    }

    /// Keeps the keys fresh until the task is dropped: often until there are some, then every [`REFRESH_INTERVAL`].
    pub async fn keep_fresh(self: Arc<Self>) {
        loop {
            self.refresh().await;
            let pause = if self.is_ready() { REFRESH_INTERVAL } else { Duration::from_millis(500) };
            tokio::time::sleep(pause).await;
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

    #[test]
    fn a_missing_file_is_an_error_at_the_start() {
        assert!(matches!(KeyRing::new(KeySource::File("/nonexistent".into())), Err(KeyRingError::File { .. })));
    }
}
