//! Where WebSocket frames begin and end (RFC 6455, section 5.2). Payloads are not looked at; the tunnel only needs to know
//! whether a Close frame of its own would stand between two frames or inside one.

/// The longest header: 2 bytes, 8 of length, 4 of mask.
const MAX_HEADER: usize = 14;

/// Follows one direction of a socket.
#[derive(Debug, Default, Clone)]
pub(crate) struct FrameTracker {
    header: [u8; MAX_HEADER],
    header_length: usize,
    payload_left: u64,
}

impl FrameTracker {
    /// Takes the next bytes of the stream into account.
    pub(crate) fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let skipped = self.payload_left.min(bytes.len() as u64);
                self.payload_left -= skipped;
                bytes = &bytes[usize::try_from(skipped).unwrap_or(bytes.len())..];
                continue;
            }
            self.header[self.header_length] = bytes[0];
            self.header_length += 1;
            bytes = &bytes[1..];
            if let Some(payload) = payload_length(&self.header[..self.header_length]) {
                self.payload_left = payload;
                self.header_length = 0;
            }
        }
    }

    /// How many bytes may be read without passing the end of the frame that has begun; 0 between two frames. Within a header,
    /// whose length is not known yet, it is one.
    pub(crate) fn missing(&self) -> usize {
        match self.payload_left {
            0 => usize::from(self.header_length > 0),
            left => usize::try_from(left).unwrap_or(usize::MAX),
        }
    }
}

/// Reads the code of one direction's Close frame. Only an observer wants it, so it is apart from [`FrameTracker`], which runs on
/// every socket.
#[derive(Debug, Default)]
pub(crate) struct CloseReader {
    tracker: FrameTracker,
    /// The Close frame's mask, and how much of its payload was seen.
    close: Option<([u8; 4], usize)>,
    code: [u8; 2],
}

/// The operation code of a Close frame.
const CLOSE: u8 = 0x8;
/// A Close frame without a code (RFC 6455, section 7.4.1: never sent, only said).
const NO_CODE: u16 = 1005;

impl CloseReader {
    /// Takes the next bytes of the stream into account.
    pub(crate) fn read(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let is_payload = self.tracker.payload_left > 0;
            if let (true, Some((mask, seen))) = (is_payload, &mut self.close) {
                if let Some(place) = self.code.get_mut(*seen) {
                    *place = byte ^ mask[*seen];
                }
                *seen += 1;
            }
            if !is_payload {
                self.begin_frame(*byte);
            }
            self.tracker.advance(&[*byte]);
        }
    }

    /// A byte of a header: its last one tells what kind of frame follows.
    fn begin_frame(&mut self, byte: u8) {
        let length = self.tracker.header_length;
        let mut header = self.tracker.header;
        header[length] = byte;
        let header = &header[..=length];
        let is_whole = payload_length(header).is_some();
        if is_whole && header[0] & 0x0f == CLOSE && self.close.is_none() {
            let is_masked = header[1] & 0x80 != 0;
            let mask = header.last_chunk::<4>().filter(|_| is_masked).copied().unwrap_or_default();
            self.close = Some((mask, 0));
        }
    }

    /// What the side said when it closed; `None` when it has not.
    pub(crate) fn code(&self) -> Option<u16> {
        let (_, seen) = self.close?;
        Some(if seen < self.code.len() { NO_CODE } else { u16::from_be_bytes(self.code) })
    }
}

/// The payload's length once the header is complete.
fn payload_length(header: &[u8]) -> Option<u64> {
    let second = *header.get(1)?;
    let (length_bytes, short) = match second & 0x7f {
        126 => (2, 0),
        127 => (8, 0),
        short => (0, u64::from(short)),
    };
    let mask_bytes = if second & 0x80 == 0 { 0 } else { 4 };
    if header.len() < 2 + length_bytes + mask_bytes {
        return None;
    }
    let long = header[2..2 + length_bytes].iter().fold(0, |length, byte| (length << 8) | u64::from(*byte));
    Some(short + long)
}

/// An unmasked Close frame from the server's side.
pub(crate) fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    // A control frame's payload is at most 125 bytes; our reasons are short literals.
    let reason = &reason.as_bytes()[..reason.len().min(123)];
    let length = u8::try_from(reason.len() + 2).unwrap_or(125);
    let mut frame = vec![0x88, length];
    frame.extend_from_slice(&code.to_be_bytes());
    frame.extend_from_slice(reason);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(masked: bool, payload: usize) -> Vec<u8> {
        let mask_bit = if masked { 0x80 } else { 0 };
        let mut bytes = vec![0x82];
        match payload {
            0..=125 => bytes.push(mask_bit + u8::try_from(payload).unwrap()),
            126..=65535 => {
                bytes.push(mask_bit + 126);
                bytes.extend_from_slice(&u16::try_from(payload).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(mask_bit + 127);
                bytes.extend_from_slice(&(payload as u64).to_be_bytes());
            }
        }
        bytes.extend(vec![0x81; payload + if masked { 4 } else { 0 }]);
        bytes
    }

    #[test]
    fn boundaries_are_found_however_the_bytes_are_cut() {
        for payload in [0, 1, 125, 126, 65_535, 65_536] {
            for masked in [false, true] {
                let stream = [frame(masked, payload), frame(!masked, 3)].concat();
                let first = frame(masked, payload).len();
                for step in [1, 2, 3, 7, 1000, stream.len()] {
                    let mut tracker = FrameTracker::default();
                    let mut position = 0;
                    for piece in stream.chunks(step) {
                        tracker.advance(piece);
                        position += piece.len();
                        let expected = position == first || position == stream.len();
                        assert_eq!(tracker.missing() == 0, expected, "{payload} {masked} {step} {position}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_code_of_a_close_frame_is_read_however_the_bytes_are_cut() {
        let masked = [0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xe9 ^ 2];
        for (close, code) in [(close_frame(4001, "bye"), 4001), (masked.to_vec(), 1001), (vec![0x88, 0], NO_CODE)] {
            // A payload that looks like a Close frame is none.
            let mut data = frame(false, 300);
            data[10..12].copy_from_slice(&[0x88, 2]);
            let stream = [data, close].concat();
            for step in [1, 2, 7, stream.len()] {
                let mut reader = CloseReader::default();
                assert_eq!(reader.code(), None);
                stream.chunks(step).for_each(|piece| reader.read(piece));
                assert_eq!(reader.code(), Some(code), "{step}");
            }
        }
    }

    #[test]
    fn a_close_frame_carries_code_and_reason() {
        assert_eq!(close_frame(4001, "bye"), [0x88, 5, 0x0f, 0xa1, b'b', b'y', b'e']);
        assert_eq!(close_frame(1012, &"x".repeat(500)).len(), 127);
    }
}
