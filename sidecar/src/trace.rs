//! Trace context (W3C Trace Context, section 3): continued where the client brings a good one, made where it does not.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use kyros_shared_config::headers;

/// Where a request stands in its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceContext {
    pub(crate) trace: [u8; 16],
    /// The caller's span; zero where there is none.
    pub(crate) parent: [u8; 8],
    /// The span of this sidecar.
    pub(crate) span: [u8; 8],
    /// With the span's id it names the request.
    pub(crate) nonce: [u8; 8],
    /// Whether the caller records its part; nothing where there is no caller.
    pub(crate) sampled: Option<bool>,
}

impl TraceContext {
    /// The context of a request.
    pub(crate) fn of(request: &HeaderMap) -> Self {
        // As numbers: a random byte costs as much as eight of them.
        let (trace, span, nonce): (u128, u64, u64) = rand::random();
        let (trace, span, nonce) = (trace.to_be_bytes(), span.to_be_bytes(), nonce.to_be_bytes());
        let mut context = Self { trace, parent: [0; 8], span, nonce, sampled: None };
        let mut lines = request.get_all(headers::TRACEPARENT).iter();
        if let (Some(line), None) = (lines.next(), lines.next())
            && let Some((trace, parent, flags)) = parse(line.as_bytes())
        {
            context = Self { trace, parent, sampled: Some(flags & 1 == 1), ..context };
        }
        context
    }

    /// The trace's id in the form that logs and headers use.
    pub(crate) fn trace_id(&self) -> Hex<32> {
        Hex::of(&self.trace)
    }

    /// The id under which the request is found in every log and in the answer: a random number of its own, which a caller's
    /// trace does not choose.
    pub(crate) fn request_id(&self) -> Hex<32> {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.span);
        bytes[8..].copy_from_slice(&self.nonce);
        Hex::of(&bytes)
    }

    /// The headers for the dashboard: `X-Request-Id` and `traceparent`.
    pub(crate) fn headers(&self, is_recorded: bool) -> (HeaderValue, Option<HeaderValue>) {
        const ID: usize = 32;
        let mut text = *b"................................00-................................-................-00";
        text[..ID].copy_from_slice(&self.request_id().0);
        text[ID + 3..ID + 35].copy_from_slice(&Hex::<32>::of(&self.trace).0);
        text[ID + 36..ID + 52].copy_from_slice(&Hex::<16>::of(&self.span).0);
        text[ID + 54] += u8::from(is_recorded);
        // One piece of memory for both, and for the copy that the answer gets.
        let both = Bytes::from_owner(text);
        let value = |bytes: Bytes| HeaderValue::from_maybe_shared(bytes).ok();
        (value(both.slice(..ID)).unwrap_or(HeaderValue::from_static("0")), value(both.slice(ID..)))
    }
}

/// Lower-case hexadecimal digits, without an allocation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hex<const DIGITS: usize>([u8; DIGITS]);

impl<const DIGITS: usize> Hex<DIGITS> {
    /// Of as many bytes as fit.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        // Computed rather than looked up, so that the compiler does many at once.
        let digit = |nibble: u8| nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
        let mut digits = [b'0'; DIGITS];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
            pair[0] = digit(byte >> 4);
            pair[1] = digit(byte & 15);
        }
        Self(digits)
    }

    pub(crate) fn as_str(&self) -> &str {
        // Digits are ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// `version-trace-parent-flags`; a later version may carry more, which is not read.
fn parse(line: &[u8]) -> Option<([u8; 16], [u8; 8], u8)> {
    let (head, rest) = line.split_at_checked(55)?;
    let version = unhex::<1>(&head[..2])?[0];
    let is_framed = [2, 35, 52].iter().all(|dash| head[*dash] == b'-');
    let ends_well = if version == 0 { rest.is_empty() } else { rest.first().is_none_or(|byte| *byte == b'-') };
    if !is_framed || !ends_well || version == 0xff {
        return None;
    }
    let (trace, parent, flags) = (unhex(&head[3..35])?, unhex(&head[36..52])?, unhex::<1>(&head[53..])?[0]);
    (trace != [0; 16] && parent != [0; 8]).then_some((trace, parent, flags))
}

fn unhex<const BYTES: usize>(digits: &[u8]) -> Option<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        *byte = (digit(pair[0])? << 4) | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn of(lines: &[&str]) -> TraceContext {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(headers::TRACEPARENT, line.parse().unwrap());
        }
        TraceContext::of(&headers)
    }

    #[test]
    fn a_good_context_is_continued_with_a_span_of_our_own() {
        let context = of(&[GOOD]);
        assert_eq!(context.trace_id().as_str(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((Hex::<16>::of(&context.parent).as_str(), context.sampled), ("00f067aa0ba902b7", Some(true)));
        let (request_id, header) = context.headers(true);
        assert_eq!(request_id, context.request_id().as_str());
        let header = header.unwrap();
        assert!(header.to_str().unwrap().starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{header:?}");
        assert!(header != GOOD && header.len() == GOOD.len());
        let later = of(&["01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-more"]);
        assert_eq!(later.sampled, Some(false));
    }

    #[test]
    fn anything_else_begins_a_new_trace() {
        let upper = GOOD.to_ascii_uppercase();
        let bad = [
            &[][..],
            &[GOOD, GOOD],
            &["00-00000000000000000000000000000000-00f067aa0ba902b7-01"],
            &["00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"],
            &["ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
            &["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"],
            &["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"],
            &[&upper],
            &[""],
        ];
        for lines in bad {
            let context = of(lines);
            assert_eq!((context.parent, context.sampled), ([0; 8], None), "{lines:?}");
            assert_ne!(context.trace, [0; 16]);
        }
        assert_ne!(of(&[]).trace, of(&[]).trace);
    }
}
