//! What an upstream may send when: nothing unasked, and not too much before its answer.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use kyros_http_server::Inspect;
use memchr::memchr;

/// Bytes that an upstream may send until an answer's head has been taken: the head, and the part of the body that is read along
/// with it. hyper's buffer grows beyond what it is told, and it reads no more of a body than once before it is asked to.
const MAX_BEFORE_ANSWER: usize = 1024 * 1024;
/// Interim answers (1xx) to one request.
const MAX_INTERIM: usize = 10;
/// So many bytes of a line tell an interim answer from the answer itself: `HTTP/1.1 1`.
const TELLING: usize = 10;

/// How many bytes an upstream may still send.
#[derive(Clone, Default)]
pub(super) struct Allowance(Arc<AtomicUsize>);

impl Allowance {
    /// A request leaves: its answer may begin.
    pub(super) fn begin(&self) {
        self.0.store(MAX_BEFORE_ANSWER, Ordering::Relaxed);
    }

    /// An answer's body is under way, and as long as it is.
    pub(super) fn lift(&self) {
        self.0.store(usize::MAX, Ordering::Relaxed);
    }

    /// Nothing is asked, so nothing may come: one byte ends the connection.
    pub(super) fn end(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Whether nothing came since the request left.
    pub(super) fn is_untouched(&self) -> bool {
        self.left() == MAX_BEFORE_ANSWER
    }

    fn left(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes what was read off the allowance; false when it was more.
    fn spend(&self, bytes: usize) -> bool {
        let left = self.left();
        if left != usize::MAX {
            // Where it was lifted meanwhile, it stays so.
            let _ = self.0.compare_exchange(left, left.saturating_sub(bytes), Ordering::Relaxed, Ordering::Relaxed);
        }
        bytes <= left
    }
}

/// Lets an upstream send no more than it may.
pub(crate) struct UpstreamLimit {
    allowance: Allowance,
    interim: usize,
    /// The answer itself has begun.
    is_answered: bool,
    /// How the line begins that is being read, however it is cut into reads.
    line: [u8; TELLING],
    line_length: usize,
}

impl UpstreamLimit {
    pub(super) fn new(allowance: Allowance) -> Self {
        Self { allowance, interim: 0, is_answered: false, line: [0; TELLING], line_length: 0 }
    }

    /// Counts interim answers up to the answer itself; false when there are too many. A line that begins like the head of an
    /// answer is one, or hyper refuses it: no header's name holds a slash.
    fn tolerates(&mut self, mut read: &[u8]) -> bool {
        while !self.is_answered && !read.is_empty() {
            let searched =
                if self.line_length < TELLING { &read[..read.len().min(TELLING - self.line_length)] } else { read };
            if let Some(end) = memchr(b'\n', searched) {
                self.line_length = 0;
                read = &read[end + 1..];
                continue;
            }
            read = &read[searched.len()..];
            if self.line_length < TELLING {
                self.line[self.line_length..][..searched.len()].copy_from_slice(searched);
                self.line_length += searched.len();
                if self.line_length == TELLING && self.line.starts_with(b"HTTP/1.") {
                    let is_interim = self.line.ends_with(b" 1");
                    self.interim += usize::from(is_interim);
                    self.is_answered = !is_interim;
                }
            }
        }
        self.interim <= MAX_INTERIM
    }
}

impl Inspect for UpstreamLimit {
    fn inspect(&mut self, read: &[u8]) -> io::Result<()> {
        if self.allowance.is_untouched() {
            (self.interim, self.is_answered, self.line_length) = (0, false, 0);
        }
        if self.allowance.spend(read.len()) && self.tolerates(read) {
            Ok(())
        } else {
            Err(io::Error::other("the upstream sends without answering"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERIM: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

    /// Whether all of a text is let through, read in pieces of so many bytes.
    fn passes(limit: &mut UpstreamLimit, text: &str, piece: usize) -> bool {
        limit.allowance.begin();
        text.as_bytes().chunks(piece).all(|read| limit.inspect(read).is_ok())
    }

    #[test]
    fn interim_answers_are_counted_however_they_are_cut_into_reads() {
        let mut limit = UpstreamLimit::new(Allowance::default());
        for interim in [INTERIM, "\r\nHTTP/1.0 100 Continue\n\n", "HTTP/1.1 199 \r\n\r\n"] {
            for piece in 1..=interim.len() + 1 {
                // On one connection, so that what was counted for one answer is not held against the next.
                assert!(passes(&mut limit, &(interim.repeat(MAX_INTERIM) + ANSWER), piece), "{piece}");
                assert!(!passes(&mut limit, &interim.repeat(MAX_INTERIM + 1), piece), "{piece}");
            }
        }
    }

    #[test]
    fn what_an_answer_says_is_not_taken_for_interim_answers() {
        let mut limit = UpstreamLimit::new(Allowance::default());
        let body = INTERIM.repeat(100);
        for before in ["", INTERIM] {
            for piece in [1, 7, 40, 1000, 100_000] {
                assert!(passes(&mut limit, &format!("{before}{ANSWER}{body}"), piece), "{piece}");
            }
        }
    }

    #[test]
    fn nothing_may_come_unasked_and_not_too_much_before_an_answer() {
        let mut limit = UpstreamLimit::new(Allowance::default());
        assert!(limit.inspect(b"220 ready").is_err(), "before the first request");
        assert!(passes(&mut limit, ANSWER, 1000));
        limit.allowance.lift();
        let much = vec![b'.'; 2 * MAX_BEFORE_ANSWER];
        assert!(limit.inspect(&much).is_ok() && limit.inspect(&much).is_ok(), "a body");
        limit.allowance.end();
        assert!(limit.inspect(b"").is_ok(), "its end is no byte");
        assert!(limit.inspect(b"\n").is_err(), "between two requests");
        limit.allowance.begin();
        assert!(limit.inspect(&much[..MAX_BEFORE_ANSWER]).is_ok() && limit.inspect(b".").is_err(), "before an answer");
    }
}
