//! The watch that keeps every line whole until it ends: the measure of the one that does not.

use memchr::memchr;

/// A longer line is not followed any further; hyper refuses the head that it stands in.
const MAX_LINE: usize = 64 * 1024;

/// The same that keeps whole lines, as it was before: simple, and open to whoever sends a line that does not end.
#[derive(Debug, Default)]
pub(super) struct KeepingWatch {
    state: State,
    /// A line whose end has not been read yet.
    line: Vec<u8>,
    head: Head,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the lines of a request's head.
    #[default]
    Head,
    /// Bytes of a body to pass over.
    Body(u64),
    /// Before a chunk's size.
    ChunkSize,
    /// In a chunk's data and the line end after it.
    ChunkData(u64),
    /// In the trailers after the last chunk.
    Trailers,
    /// Nothing more is looked at: the connection is doubtful, or no longer speaks HTTP.
    Off,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Head {
    has_begun: bool,
    lengths: u32,
    length: u64,
    is_encoded: bool,
    is_upgrade: bool,
}

impl KeepingWatch {
    /// Takes the next bytes into account. True when they make the connection doubtful.
    pub(super) fn is_doubtful(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            match self.state {
                State::Off => return false,
                State::Body(left) => bytes = self.pass_over(bytes, left, State::Body, State::Head),
                State::ChunkData(left) => bytes = self.pass_over(bytes, left, State::ChunkData, State::ChunkSize),
                State::Head | State::ChunkSize | State::Trailers => {
                    let Some(end) = memchr(b'\n', bytes) else {
                        self.line.extend_from_slice(bytes);
                        if self.line.len() > MAX_LINE {
                            self.state = State::Off;
                        }
                        return false;
                    };
                    let (line, rest) = bytes.split_at(end + 1);
                    bytes = rest;
                    let is_good = if self.line.is_empty() {
                        self.take_line(line)
                    } else {
                        let mut whole = std::mem::take(&mut self.line);
                        whole.extend_from_slice(line);
                        self.take_line(&whole)
                    };
                    if is_good.is_none() {
                        self.state = State::Off;
                        return true;
                    }
                }
            }
        }
        false
    }

    fn pass_over<'a>(&mut self, bytes: &'a [u8], left: u64, same: fn(u64) -> State, next: State) -> &'a [u8] {
        let passed = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left - passed as u64;
        self.state = if left == 0 { next } else { same(left) };
        &bytes[passed..]
    }

    fn take_line(&mut self, line: &[u8]) -> Option<()> {
        let line = line.strip_suffix(b"\r\n")?;
        match self.state {
            State::Head if line.is_empty() => self.end_head()?,
            State::Head if self.head.has_begun => self.take_field(line)?,
            State::Head => {
                self.head.has_begun = true;
                if line.contains(&b'#') {
                    return None;
                }
            }
            State::ChunkSize => {
                let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
                let size = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
                self.state = if size == 0 { State::Trailers } else { State::ChunkData(size.checked_add(2)?) };
            }
            State::Trailers if line.is_empty() => self.state = State::Head,
            State::Trailers | State::Body(_) | State::ChunkData(_) | State::Off => (),
        }
        Some(())
    }

    fn take_field(&mut self, line: &[u8]) -> Option<()> {
        // The first letter decides for nearly all fields.
        match line.first()?.to_ascii_lowercase() {
            b'c' => {
                if let Some(value) = value_of(line, b"content-length") {
                    self.head.lengths += 1;
                    self.head.length = std::str::from_utf8(value).ok()?.parse().ok()?;
                }
            }
            b't' => self.head.is_encoded |= value_of(line, b"transfer-encoding").is_some(),
            b'u' => self.head.is_upgrade |= value_of(line, b"upgrade").is_some(),
            _ => (),
        }
        Some(())
    }

    fn end_head(&mut self) -> Option<()> {
        let head = std::mem::take(&mut self.head);
        // Empty lines before a request are nothing (RFC 9112, section 2.2).
        if !head.has_begun {
            return Some(());
        }
        if head.lengths > 1 || (head.lengths == 1 && head.is_encoded) {
            return None;
        }
        self.state = match head {
            // Either it becomes a socket, or the connection is closed with the answer.
            Head { is_upgrade: true, .. } => State::Off,
            Head { is_encoded: true, .. } => State::ChunkSize,
            Head { length: 0, .. } => State::Head,
            Head { length, .. } => State::Body(length),
        };
        Some(())
    }
}

/// The value of a field with this name, given in lower case.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = line.split_at_checked(name.len())?;
    let value = rest.trim_ascii_start().strip_prefix(b":")?;
    start.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}
