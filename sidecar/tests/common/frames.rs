//! WebSocket frames for tests, right ones and wrong ones (RFC 6455, section 5.2).

#![allow(dead_code, reason = "each test binary uses its own part of this")]

pub(crate) const FIN: u8 = 0x80;
pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// One frame: its first byte as it is, the length in its shortest form, and the payload masked where there is a mask.
pub(crate) fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mask_bit = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match u16::try_from(payload.len()) {
        Ok(short @ 0..=125) => bytes.push(mask_bit | short.to_be_bytes()[1]),
        Ok(medium) => {
            bytes.push(mask_bit | 0x7e);
            bytes.extend_from_slice(&medium.to_be_bytes());
        }
        Err(_) => {
            bytes.push(mask_bit | 0x7f);
            bytes.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    match mask {
        Some(mask) => {
            bytes.extend_from_slice(&mask);
            bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        }
        None => bytes.extend_from_slice(payload),
    }
    bytes
}

/// The payload of a Close frame.
pub(crate) fn close_payload(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason].concat()
}

/// The whole frames at the start of a stream, each with its first byte and payload, and how many bytes are left after them.
pub(crate) fn parse(mut bytes: &[u8]) -> (Vec<(u8, Vec<u8>)>, usize) {
    let mut frames = Vec::new();
    while let Some((frame, rest)) = split_frame(bytes) {
        frames.push(frame);
        bytes = rest;
    }
    (frames, bytes.len())
}

/// The code of the Close frame with which a server's stream ends, if it ends with one, between two frames and with nothing
/// after it.
pub(crate) fn final_close(stream: &[u8]) -> Option<u16> {
    let (frames, left) = parse(stream);
    let (first, payload) = frames.last()?;
    let is_close = *first == FIN | CLOSE && left == 0;
    let code = payload.get(..2).filter(|_| is_close)?;
    Some(u16::from_be_bytes([code[0], code[1]]))
}

type Frame = (u8, Vec<u8>);

fn split_frame(bytes: &[u8]) -> Option<(Frame, &[u8])> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let length_bytes = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let length = match length_bytes {
        0 => u64::from(second & 0x7f),
        _ => bytes.get(2..2 + length_bytes)?.iter().fold(0, |length, byte| (length << 8) | u64::from(*byte)),
    };
    let mask_bytes = if second & 0x80 == 0 { 0 } else { 4 };
    let mask = bytes.get(2 + length_bytes..2 + length_bytes + mask_bytes)?;
    let start = 2 + length_bytes + mask_bytes;
    let end = start.checked_add(usize::try_from(length).ok()?)?;
    let payload = bytes.get(start..end)?;
    let plain = match mask {
        [] => payload.to_vec(),
        mask => payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect(),
    };
    Some(((first, plain), &bytes[end..]))
}
