//! One line per request, as JSON: who, what, how long, how much. Never a token, a cookie or a query.
//!
//! Lines are gathered in memory and written by a thread of their own, so that whoever reads them slowly never holds up a
//! request; when too many wait, lines are dropped and counted.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
    str::FromStr,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::Thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How long a line may wait.
const EVERY: Duration = Duration::from_millis(200);
/// So many bytes are written at once, whenever they have come together.
const BATCH: usize = 64 * 1024;
/// Bytes that may wait; at most this much memory is held by a reader that has stopped.
const MAX_WAITING: usize = 1024 * 1024;
/// Enough for a loop that writes.
const STACK: usize = 64 * 1024;
/// Longest path written.
const MAX_PATH: usize = 256;

/// Where access lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// Nowhere.
    Off,
    /// Standard output; logs of the program itself go to standard error.
    Stdout,
    /// The end of a file.
    File(PathBuf),
}

impl FromStr for AccessLogTarget {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "off" => Self::Off,
            "stdout" => Self::Stdout,
            path => Self::File(path.into()),
        })
    }
}

/// The lines that wait, and how many found no room.
#[derive(Default)]
struct Waiting {
    lines: Mutex<Vec<u8>>,
    dropped: AtomicU64,
    writer: OnceLock<Thread>,
}

/// Writes access lines; nothing when it is off.
#[derive(Clone, Default)]
pub(crate) struct AccessLog(Option<Arc<Waiting>>);

/// What is known of a request at its end.
pub(crate) struct Line<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) trace_id: &'a str,
    pub(crate) tenant: &'a str,
    pub(crate) dashboard: &'a str,
    /// A digest of the person, the same for all requests of one.
    pub(crate) user: &'a str,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) status: u16,
    /// Why it was not forwarded; empty when it was.
    pub(crate) refused: &'a str,
    pub(crate) bytes: u64,
    /// Microseconds until the end of the answer.
    pub(crate) micros: u64,
    /// Of which the dashboard took until its answer began.
    pub(crate) upstream_micros: u64,
}

impl AccessLog {
    /// Opens the target.
    pub(crate) fn open(target: &AccessLogTarget) -> io::Result<Self> {
        match target {
            AccessLogTarget::Off => Ok(Self(None)),
            AccessLogTarget::Stdout => Self::to(io::stdout()),
            AccessLogTarget::File(path) => Self::to(open_file(path)?),
        }
    }

    fn to(mut target: impl Write + Send + 'static) -> io::Result<Self> {
        let waiting = Arc::new(Waiting::default());
        let source = Arc::downgrade(&waiting);
        let write = move || {
            let mut lines = Vec::new();
            // Ends, after a last look, when the sidecar does.
            while let Some(waiting) = source.upgrade() {
                lines.clear();
                // The two buffers take turns, so that neither grows anew.
                std::mem::swap(&mut lines, &mut *waiting.lines.lock().unwrap_or_else(PoisonError::into_inner));
                drop(waiting);
                if target.write_all(&lines).and_then(|()| target.flush()).is_err() {
                    return;
                }
                std::thread::park_timeout(EVERY);
            }
        };
        let writer = std::thread::Builder::new().name("access-log".to_owned()).stack_size(STACK).spawn(write)?;
        let _ = waiting.writer.set(writer.thread().clone());
        Ok(Self(Some(waiting)))
    }

    /// Whether lines go anywhere.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Lines that found no room so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, |waiting| waiting.dropped.load(Ordering::Relaxed))
    }

    pub(crate) fn write(&self, line: &Line<'_>) {
        let Some(waiting) = &self.0 else { return };
        let mut lines = waiting.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() > MAX_WAITING {
            waiting.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let before = lines.len();
        line.append_to(&mut lines, now);
        if before < BATCH && lines.len() >= BATCH {
            drop(lines);
            if let Some(writer) = waiting.writer.get() {
                writer.unpark();
            }
        }
    }

    /// Waits until every line is with the writing thread, and it has had the time to write them.
    pub(crate) async fn settle(&self) {
        if self.is_on() {
            tokio::time::sleep(EVERY * 2).await;
        }
    }
}

fn open_file(path: &PathBuf) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// As it stands in a line.
pub(crate) fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

impl Line<'_> {
    fn append_to(&self, lines: &mut Vec<u8>, now: Duration) {
        let mut path = self.path.split('?').next().unwrap_or_default();
        path = path.get(..MAX_PATH).unwrap_or(path);
        // Put together by hand: formatting would cost as much as all checks of the request.
        let mut number = itoa::Buffer::new();
        let mut add = |parts: &[&str]| parts.iter().for_each(|part| lines.extend_from_slice(part.as_bytes()));
        add(&["{\"ts\":", number.format(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))]);
        add(&["e-3,\"request_id\":\"", self.request_id, "\",\"trace_id\":\"", self.trace_id, "\",\"tenant\":\""]);
        add(&[self.tenant, "\",\"dashboard\":\"", self.dashboard, "\",\"user\":\"", self.user]);
        add(&["\",\"method\":\"", self.method, "\",\"path\":\""]);
        // The gate lets visible ASCII without a backslash through; of a refused request anything may stand here.
        lines.extend(path.bytes().map(|byte| match byte {
            b'"' | b'\\' => b'\'',
            byte if byte.is_ascii_graphic() => byte,
            _ => b'?',
        }));
        let mut add = |parts: &[&str]| parts.iter().for_each(|part| lines.extend_from_slice(part.as_bytes()));
        add(&["\",\"status\":", number.format(self.status)]);
        if !self.refused.is_empty() {
            add(&[",\"refused\":\"", self.refused, "\""]);
        }
        add(&[",\"bytes\":", number.format(self.bytes)]);
        add(&[",\"us\":", number.format(self.micros)]);
        add(&[",\"upstream_us\":", number.format(self.upstream_micros), "}\n"]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &str) -> Line<'_> {
        Line {
            request_id: "r",
            trace_id: "t",
            tenant: "acme",
            dashboard: "clv",
            user: "u",
            method: "GET",
            path,
            status: 200,
            refused: "",
            bytes: 12,
            micros: 345,
            upstream_micros: 300,
        }
    }

    #[test]
    fn a_line_is_json_whatever_the_path_holds_and_never_has_the_query() {
        for path in ["/", "/a\"b\\c", "/a?token=secret", "/a\u{1}b", &format!("/{}", "x".repeat(5000))] {
            let mut bytes = Vec::new();
            line(path).append_to(&mut bytes, Duration::from_millis(1_500));
            let text = String::from_utf8(bytes).unwrap();
            let read: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!((read["ts"].as_f64(), read["us"].as_u64()), (Some(1.5), Some(345)));
            assert!(!text.contains("secret") && text.len() < 600, "{text}");
        }
    }

    #[test]
    fn a_reader_that_stops_costs_lines_and_nothing_else() {
        let log = AccessLog(Some(Arc::default()));
        for _ in 0..20_000 {
            log.write(&line("/"));
        }
        assert!(log.dropped() > 0);
        assert!(log.0.unwrap().lines.lock().unwrap().len() < MAX_WAITING + 1000);
    }

    #[tokio::test]
    async fn lines_reach_the_file() {
        let folder = std::env::temp_dir().join(format!("kyros-access-{}", std::process::id()));
        let log = AccessLog::open(&AccessLogTarget::File(folder.clone())).unwrap();
        log.write(&line("/x"));
        log.settle().await;
        let text = std::fs::read_to_string(&folder).unwrap();
        std::fs::remove_file(&folder).unwrap();
        assert!(text.contains("\"path\":\"/x\"") && text.ends_with("}\n"), "{text}");
    }
}
