//! What hyper mends in silence, seen below it: two lengths, a length beside `Transfer-Encoding`, lines ended by a bare LF,
//! a target with a fragment.
//!
//! hyper reads such a message in the one safe way, but whoever sent it expects that somebody on the way reads it in another.
//! So the connection is marked as doubtful, and nobody is served on it any more (RFC 9112, sections 2.2, 3.2 and 6.3).

use std::{io, sync::atomic::Ordering};

use memchr::memchr;

use crate::{Connection, Inspect};

/// A longer line is not followed any further; hyper refuses the head that it stands in.
const MAX_LINE: usize = 64 * 1024;
/// So much of a line is kept: the names that matter are far shorter. One that has not come to its colon by then makes the
/// connection doubtful; it is space that fills the rest, which hyper refuses.
const MAX_KEPT: usize = 64;

/// Follows the messages of one connection, from the client.
#[derive(Debug, Default)]
pub struct FramingWatch {
    state: State,
    /// A line whose end has not been read yet; of its bytes no more than matter, whoever sends them and never ends it.
    begun: Option<Box<Begun>>,
    head: Head,
}

/// What is known of a line that has begun.
#[derive(Debug)]
struct Begun {
    start: [u8; MAX_KEPT],
    length: usize,
    has_fragment: bool,
    ends_with_cr: bool,
    /// The number in the line, which is a length wherever anybody asks for it.
    number: Number,
    /// Past the colon of a field, or the semicolon behind a chunk's size.
    is_past: bool,
}

impl Default for Begun {
    fn default() -> Self {
        let (start, number) = ([0; MAX_KEPT], Number::default());
        Self { start, length: 0, has_fragment: false, ends_with_cr: false, number, is_past: false }
    }
}

impl Begun {
    fn take(&mut self, bytes: &[u8], is_chunk_size: bool) {
        let free = &mut self.start[self.length.min(MAX_KEPT)..];
        let kept = free.len().min(bytes.len());
        free[..kept].copy_from_slice(&bytes[..kept]);
        self.length += bytes.len();
        self.has_fragment |= has_fragment(bytes);
        self.ends_with_cr = bytes.last().map_or(self.ends_with_cr, |last| *last == b'\r');
        if is_chunk_size {
            let end = if self.is_past { Some(0) } else { memchr(b';', bytes) };
            self.is_past |= end.is_some();
            self.number.take(&bytes[..end.unwrap_or(bytes.len())], 16);
        } else {
            let colon = if self.is_past { Some(0) } else { memchr(b':', bytes).map(|colon| colon + 1) };
            self.is_past |= colon.is_some();
            self.number.take(&bytes[colon.unwrap_or(bytes.len())..], 10);
        }
    }
}

/// A number as Rust reads it from a text, with space around it, that may come in pieces.
#[derive(Debug, Default, Clone, Copy)]
struct Number {
    value: u64,
    part: Part,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Part {
    #[default]
    Before,
    Sign,
    Digits,
    After,
    NoNumber,
}

impl Number {
    fn of(text: &[u8], radix: u32) -> Option<u64> {
        let mut number = Self::default();
        number.take(text, radix);
        number.value()
    }

    fn take(&mut self, text: &[u8], radix: u32) {
        for byte in text {
            let digit = char::from(*byte).to_digit(radix);
            self.part = match (self.part, digit) {
                (Part::NoNumber, _) => return,
                (Part::Before | Part::Sign | Part::Digits, Some(digit)) => self.push(digit, radix),
                (part @ (Part::Before | Part::After), None) if byte.is_ascii_whitespace() => part,
                (Part::Digits, None) if byte.is_ascii_whitespace() => Part::After,
                (Part::Before, None) if *byte == b'+' => Part::Sign,
                _ => Part::NoNumber,
            };
        }
    }

    fn push(&mut self, digit: u32, radix: u32) -> Part {
        let pushed = self.value.checked_mul(radix.into()).and_then(|value| value.checked_add(digit.into()));
        self.value = pushed.unwrap_or_default();
        if pushed.is_some() { Part::Digits } else { Part::NoNumber }
    }

    fn value(self) -> Option<u64> {
        matches!(self.part, Part::Digits | Part::After).then_some(self.value)
    }
}

/// A line without its end.
#[derive(Clone, Copy)]
enum Line<'a> {
    /// It came in one piece.
    Whole(&'a [u8]),
    /// It came in pieces, and this is known of it.
    Pieces(&'a Begun),
}

impl<'a> Line<'a> {
    fn length(self) -> usize {
        match self {
            Self::Whole(line) => line.len(),
            // The CR before its end was taken too.
            Self::Pieces(begun) => begun.length - 1,
        }
    }

    fn start(self) -> &'a [u8] {
        let kept = self.length().min(MAX_KEPT);
        match self {
            Self::Whole(line) => &line[..kept],
            Self::Pieces(begun) => &begun.start[..kept],
        }
    }

    fn has_fragment(self) -> bool {
        match self {
            Self::Whole(line) => has_fragment(line),
            Self::Pieces(begun) => begun.has_fragment,
        }
    }

    /// The number behind the colon.
    fn content_length(self) -> Option<u64> {
        match self {
            Self::Whole(line) => Number::of(&line[memchr(b':', line)? + 1..], 10),
            Self::Pieces(begun) => begun.number.value(),
        }
    }

    /// The number before a semicolon.
    fn chunk_size(self) -> Option<u64> {
        match self {
            Self::Whole(line) => Number::of(&line[..memchr(b';', line).unwrap_or(line.len())], 16),
            Self::Pieces(begun) => begun.number.value(),
        }
    }

    /// Whether it is the field with this name, given in lower case; `None` where nobody can tell.
    fn is_field(self, name: &[u8]) -> Option<bool> {
        let Some((start, rest)) = self.start().split_at_checked(name.len()) else { return Some(false) };
        if !start.eq_ignore_ascii_case(name) {
            return Some(false);
        }
        match rest.trim_ascii_start().first() {
            None if self.length() > MAX_KEPT => None,
            after => Some(after == Some(&b':')),
        }
    }
}

fn has_fragment(bytes: &[u8]) -> bool {
    memchr(b'#', bytes).is_some()
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

impl FramingWatch {
    /// Bytes on the heap.
    #[cfg(test)]
    fn held(&self) -> usize {
        self.begun.as_ref().map_or(0, |begun| size_of_val(begun.as_ref()))
    }

    /// Takes the next bytes into account. True when they make the connection doubtful.
    pub fn is_doubtful(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            match self.state {
                State::Off => return false,
                State::Body(left) => bytes = self.pass_over(bytes, left, State::Body, State::Head),
                State::ChunkData(left) => bytes = self.pass_over(bytes, left, State::ChunkData, State::ChunkSize),
                State::Head | State::ChunkSize | State::Trailers => {
                    let Some(end) = memchr(b'\n', bytes) else {
                        let begun = self.begun.get_or_insert_default();
                        begun.take(bytes, self.state == State::ChunkSize);
                        if begun.length > MAX_LINE {
                            self.turn_off();
                        }
                        return false;
                    };
                    let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
                    bytes = rest;
                    if self.end_line(line).is_none() {
                        self.turn_off();
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

    fn turn_off(&mut self) {
        self.state = State::Off;
        self.begun = None;
    }

    /// Takes the last piece of a line, up to its LF, into account.
    fn end_line(&mut self, piece: &[u8]) -> Option<()> {
        let Some(mut begun) = self.begun.take() else {
            return self.take_line(Line::Whole(piece.strip_suffix(b"\r")?));
        };
        begun.take(piece, self.state == State::ChunkSize);
        if begun.ends_with_cr { self.take_line(Line::Pieces(&begun)) } else { None }
    }

    fn take_line(&mut self, line: Line<'_>) -> Option<()> {
        let is_empty = line.length() == 0;
        match self.state {
            State::Head if is_empty => self.end_head()?,
            State::Head if self.head.has_begun => self.take_field(line)?,
            State::Head => {
                self.head.has_begun = true;
                if line.has_fragment() {
                    return None;
                }
            }
            State::ChunkSize => {
                let size = line.chunk_size()?;
                self.state = if size == 0 { State::Trailers } else { State::ChunkData(size.checked_add(2)?) };
            }
            State::Trailers if is_empty => self.state = State::Head,
            State::Trailers | State::Body(_) | State::ChunkData(_) | State::Off => (),
        }
        Some(())
    }

    fn take_field(&mut self, line: Line<'_>) -> Option<()> {
        // The first letter decides for nearly all fields.
        match line.start().first()?.to_ascii_lowercase() {
            b'c' if line.is_field(b"content-length")? => {
                self.head.lengths += 1;
                self.head.length = line.content_length()?;
            }
            b't' => self.head.is_encoded |= line.is_field(b"transfer-encoding")?,
            b'u' => self.head.is_upgrade |= line.is_field(b"upgrade")?,
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

/// Marks a client's connection as soon as what was read makes it doubtful.
pub struct ClientWatch {
    watch: FramingWatch,
    connection: Connection,
}

impl ClientWatch {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { watch: FramingWatch::default(), connection }
    }
}

impl Inspect for ClientWatch {
    fn inspect(&mut self, read: &[u8]) -> io::Result<()> {
        if self.watch.is_doubtful(read) {
            self.connection.shared().is_doubtful.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn is_cut(&self) -> bool {
        self.connection.shared().is_cut.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests;
