//! The client of a case: it sends the bytes as they are written, and says whether the answers are those expected.

use super::*;

/// What a client got.
#[derive(Default)]
pub(super) struct Exchange {
    pub(super) answers: Vec<Answer>,
    /// The sidecar ended the connection, not the client.
    pub(super) is_closed_by_sidecar: bool,
    /// What is no answer at all.
    pub(super) garbage: Vec<u8>,
}

pub(super) struct Answer {
    pub(super) status: u16,
    /// Of the problem document.
    pub(super) code: Option<String>,
    pub(super) says_close: bool,
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for answer in &self.answers {
            write!(f, "{}", answer.status)?;
            answer.code.iter().try_for_each(|code| write!(f, ":{code}"))?;
            f.write_str(if answer.status >= 400 && !answer.says_close { " (without close) " } else { " " })?;
        }
        if !self.garbage.is_empty() {
            write!(f, "{} ", self.garbage.escape_ascii())?;
        }
        f.write_str(if self.is_closed_by_sidecar { "then closed" } else { "and left open" })
    }
}

/// Sends the pieces and reads on until the sidecar closes, until all answers are there and nothing follows, or until
/// patience ends.
pub(super) async fn ask(address: SocketAddr, pieces: Vec<Piece>, wanted: usize) -> Exchange {
    let (mut reader, writer) = TcpStream::connect(address).await.unwrap().into_split();
    let news = Arc::new(Semaphore::new(0));
    let sending = tokio::spawn(send(writer, pieces, news.clone()));
    let (mut received, mut buffer) = (Vec::new(), vec![0; 16 * 1024]);
    let mut exchange = Exchange::default();
    let given_up = Instant::now() + PATIENCE;
    loop {
        let is_served = exchange.answers.len() >= wanted && exchange.answers.last().is_some_and(|a| a.status < 400);
        let deadline = if is_served { Instant::now() + SETTLE } else { given_up };
        match tokio::time::timeout_at(deadline.into(), reader.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => {
                exchange.is_closed_by_sidecar = true;
                break;
            }
            Ok(Ok(read)) => {
                received.extend_from_slice(&buffer[..read]);
                let before = exchange.answers.len();
                exchange.take(&received, false);
                news.add_permits(exchange.answers.len() - before);
            }
            Err(_) if sending.is_finished() || Instant::now() >= given_up => break,
            Err(_) => (),
        }
    }
    sending.abort();
    if !exchange.is_closed_by_sidecar {
        // Dropping the writer ends this side alone.
        drop(sending.await);
        let _ = tokio::time::timeout(PATIENCE, reader.read_to_end(&mut received)).await;
    }
    exchange.take(&received, true);
    exchange
}

/// Gives the writer back, so that the connection stays open until the reader has seen enough.
pub(super) async fn send(mut writer: OwnedWriteHalf, pieces: Vec<Piece>, news: Arc<Semaphore>) -> OwnedWriteHalf {
    for piece in pieces {
        match piece.after {
            Gap::Nothing => (),
            Gap::Pause => tokio::time::sleep(PAUSE).await,
            Gap::Answer => news.acquire().await.unwrap().forget(),
            Gap::End => {
                let _ = writer.shutdown().await;
            }
        }
        // A sidecar that has refused already does not read on.
        if writer.write_all(&piece.bytes).await.is_err() {
            break;
        }
    }
    writer
}

impl Exchange {
    /// Reads all answers in `received` anew.
    pub(super) fn take(&mut self, received: &[u8], is_all: bool) {
        (self.answers, self.garbage) = (Vec::new(), Vec::new());
        let mut rest = received;
        while let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&rest[..end]).to_ascii_lowercase();
            let status =
                head.strip_prefix("http/1.").and_then(|line| line.get(2..5)).and_then(|code| code.parse().ok());
            let Some(status) = status else { break };
            rest = &rest[end + 4..];
            if status == 100 {
                continue;
            }
            let field = |name: &str| {
                head.lines()
                    .filter_map(|line| line.split_once(':'))
                    .find(|(n, _)| *n == name)
                    .map(|(_, value)| value.trim())
            };
            let length = field("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            if length > rest.len() && !is_all {
                return;
            }
            // An answer to HEAD has a length and no body.
            let (body, behind) = rest.split_at(length.min(rest.len()));
            rest = behind;
            let document: Option<serde_json::Value> = serde_json::from_slice(body).ok();
            let code =
                document.as_ref().and_then(|problem| problem["type"].as_str()?.strip_prefix("urn:kyros:problem:"));
            let says_close = field("connection") == Some("close");
            self.answers.push(Answer { status, code: code.map(str::to_owned), says_close });
            if status == 101 {
                return;
            }
        }
        if is_all {
            self.garbage = rest.to_vec();
        }
    }
}

pub(super) fn verdict_is(verdict: &[Expected], exchange: &Exchange, record: &Record) -> bool {
    let whole = verdict.iter().filter(|expected| expected.reaches_the_dashboard()).count();
    if record.requests.len() != whole || !exchange.garbage.is_empty() {
        return false;
    }
    let mut answers = exchange.answers.iter();
    let all_as_expected = verdict.iter().all(|expected| {
        let answer = answers.next();
        let is_error = |status: u16, code: &Option<String>| {
            answer.is_some_and(|answer| answer.status == status && answer.code == *code && answer.says_close)
        };
        match expected {
            Expected::Forward => answer.is_some_and(|answer| answer.status == 200),
            Expected::Upgrade => answer.is_some_and(|answer| answer.status == 101),
            Expected::Refused(status, code) | Expected::Broken(Some((status, code))) => {
                is_error(*status, code) && exchange.is_closed_by_sidecar
            }
            Expected::Broken(None) => answer.is_none_or(|answer| answer.status >= 400),
            Expected::Closed => answer.is_none(),
        }
    });
    // A body that turns out to be broken was on its way already; of anything else not one byte may be.
    let may_have_begun = matches!(verdict.last(), Some(Expected::Broken(_)));
    all_as_expected && answers.next().is_none() && (may_have_begun || record.is_whole())
}
