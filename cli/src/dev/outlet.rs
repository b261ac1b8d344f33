//! What the command writes, made fit to be shown: whole lines, nothing that a terminal would obey, no whole token.

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

use crate::output::visible;

/// A longer line is shown in pieces, so that a program without line ends costs no memory.
const MAX_LINE: usize = 8 * 1024;
/// How a signed token begins: `{"` in base64url.
const TOKEN: &str = "eyJ";
/// What is kept of a secret, to tell one from another.
const KEPT: usize = 6;

/// Calls `show` with every line of the stream until it ends.
pub(super) async fn lines(stream: impl AsyncRead + Unpin, mut show: impl FnMut(&str)) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while let Ok(bytes) = reader.fill_buf().await {
        if bytes.is_empty() {
            break;
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let room = MAX_LINE - line.len();
        let taken = end.unwrap_or(bytes.len()).min(room);
        line.extend_from_slice(&bytes[..taken]);
        let is_whole = end == Some(taken);
        reader.consume(taken + usize::from(is_whole));
        if is_whole || line.len() == MAX_LINE {
            show(&clean(&line));
            line.clear();
        }
    }
    if !line.is_empty() {
        show(&clean(&line));
    }
}

fn clean(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches('\r');
    // A progress bar writes over itself; its last state is the line.
    let text = text.rsplit('\r').next().unwrap_or_default();
    masked(&without_colours(text).split('\t').map(visible).collect::<Vec<_>>().join("\t"))
}

/// Without the sequences that only change how text looks (ECMA-48, SGR): everything else stays, to be made visible.
fn without_colours(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\u{1b}[") {
        let after = &rest[at + 2..];
        let length = after.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b';').count();
        out.push_str(&rest[..at]);
        if after.as_bytes().get(length) == Some(&b'm') {
            rest = &after[length + 1..];
        } else {
            out.push_str("\u{1b}[");
            rest = after;
        }
    }
    out + rest
}

/// A secret's beginning and how long it is: enough to see whether it changed.
pub(super) fn shortened(secret: &str) -> String {
    let kept: String = secret.chars().take(KEPT.min(secret.chars().count() / 2)).collect();
    format!("{kept}… ({} characters)", secret.chars().count())
}

/// The text with every signed token in it shortened: people paste what a terminal shows.
pub(super) fn masked(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(TOKEN) {
        let (before, from) = rest.split_at(at);
        let end = from.find(|c| !is_part(c)).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        out.push_str(before);
        if word.matches('.').count() >= 2 {
            out.push_str(&shortened(word));
        } else {
            out.push_str(word);
        }
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shown(bytes: &[u8]) -> Vec<String> {
        let mut seen = Vec::new();
        lines(bytes, |line| seen.push(line.to_owned())).await;
        seen
    }

    #[tokio::test]
    async fn every_line_arrives_also_the_last_one_and_endless_ones_in_pieces() {
        assert_eq!(shown(b"one\r\ntwo\n\nthree").await, ["one", "two", "", "three"]);
        let long = vec![b'x'; 3 * MAX_LINE + 1];
        assert_eq!(shown(&long).await.iter().map(String::len).collect::<Vec<_>>(), [MAX_LINE, MAX_LINE, MAX_LINE, 1]);
    }

    #[tokio::test]
    async fn colours_go_and_what_a_terminal_would_obey_is_made_visible() {
        assert_eq!(shown(b"\x1b[1;31mred\x1b[0m\tx\x1b[2J\xff").await, ["red\tx\\u{1b}[2J\u{fffd}"]);
        assert_eq!(shown(b" 10%\r 50%\r100%\n").await, ["100%"]);
    }

    #[test]
    fn no_token_is_shown_whole() {
        let token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbmEifQ.c2lnbmF0dXJl";
        let text = masked(&format!("got 'Bearer {token}' and {token}, eyJ and eyJub3RoaW5n"));
        assert!(!text.contains("c2lnbmF0dXJl") && !text.contains("eyJzdWIi"), "{text}");
        assert_eq!(text.matches("eyJhbG… (52 characters)").count(), 2, "{text}");
        assert!(text.ends_with("eyJ and eyJub3RoaW5n"), "{text}");
        assert_eq!(shortened("abcd"), "ab… (4 characters)");
    }
}
