//! What makes a connection doubtful, and what a line that does not end costs.

use super::*;

/// The same verdict however the bytes are cut.
fn is_doubtful(text: &str) -> bool {
    let verdicts: Vec<bool> = [1, 2, 3, 7, text.len()]
        .into_iter()
        .map(|step| {
            let mut watch = FramingWatch::default();
            text.as_bytes().chunks(step).any(|piece| watch.is_doubtful(piece))
        })
        .collect();
    assert!(verdicts.windows(2).all(|pair| pair[0] == pair[1]), "{verdicts:?} {text:?}");
    verdicts[0]
}

#[test]
fn ordinary_messages_follow_one_another() {
    for text in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\nPOST / HTTP/1.1\r\nContent-Length: 3\r\n\r\na\nbGET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na\nb\r\n0\r\nX: y\r\n\r\nGET /#\r\n",
        "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n\nanything\n",
        "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    ] {
        assert_eq!(is_doubtful(text), text.contains('#'), "{text:?}");
    }
}

#[test]
fn two_ways_to_read_a_message_make_its_connection_doubtful() {
    for text in [
        "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length : 3\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET /a#b HTTP/1.1\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nabGET / HTTP/1.1\r\nContent-Length: 1\r\ncontent-length: 1\r\n\r\n",
    ] {
        assert!(is_doubtful(text), "{text:?}");
    }
}

#[test]
fn a_line_that_does_not_end_costs_next_to_nothing() {
    for begin in ["GET /", "GET / HTTP/1.1\r\nX: ", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;"] {
        let mut watch = FramingWatch::default();
        watch.is_doubtful(begin.as_bytes());
        for _ in 0..31 {
            assert!(!watch.is_doubtful(&[b'a'; 1024]));
        }
        assert!(watch.held() <= 128, "{} bytes", watch.held());
    }
    // Nothing is held between two lines, nor once nothing is looked at any more.
    let mut watch = FramingWatch::default();
    watch.is_doubtful(b"GET / HT");
    watch.is_doubtful(b"TP/1.1\r\n");
    assert_eq!(watch.held(), 0);
    watch.is_doubtful(&vec![b'a'; MAX_LINE + 1]);
    assert_eq!((watch.state, watch.held()), (State::Off, 0));
}

#[test]
fn long_lines_are_judged_by_their_beginnings() {
    let long = "a".repeat(300);
    for (text, expected) in [
        (format!("GET /{long} HTTP/1.1\r\nCookie: {long}\r\n\r\nGET / HTTP/1.1\r\n\r\n"), false),
        (format!("GET /{long}#{long} HTTP/1.1\r\n"), true),
        (format!("GET / HTTP/1.1\r\nX: {long}#{long}\r\n\r\n"), false),
        (format!("GET / HTTP/1.1\r\nX: {long}\n\r\n"), true),
        (format!("GET / HTTP/1.1\r\nContent-Length-Of-{long}: {long}\r\n\r\n"), false),
        (format!("GET / HTTP/1.1\r\nUpgrade: websocket, {long}\r\n\r\n\nanything"), false),
        (format!("POST / HTTP/1.1\r\nTransfer-Encoding: {long}\r\nContent-Length: 3\r\n\r\n"), true),
        (
            format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;{long}\r\nabc\r\n0\r\n{long}: a\r\n\r\n"),
            false,
        ),
        // Numbers are read to their ends.
        (format!("POST / HTTP/1.1\r\nContent-Length: {}3\r\n\r\na\nbGET /# HTTP/1.1\r\n", "0".repeat(100)), true),
        (format!("POST / HTTP/1.1\r\nContent-Length: {}3\r\n\r\n#\n#", "0".repeat(100)), false),
        (format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", "9".repeat(100)), true),
        (format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{}3\r\na\nb\r\n", "0".repeat(100)), false),
        (format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{}\r\n", "f".repeat(100)), true),
        // A name must come to its colon.
        (format!("POST / HTTP/1.1\r\nContent-Length{}: 3\r\n\r\n", " ".repeat(100)), true),
        (format!("POST / HTTP/1.1\r\nTransfer-Encoding{}: a\r\n\r\n", " ".repeat(100)), true),
    ] {
        assert_eq!(is_doubtful(&text), expected, "{text:?}");
    }
}

/// The words that messages are made of, right ones and wrong ones.
const WORDS: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "POST /a HTTP/1.1\r\n",
    "Content-Length: ",
    "content-length",
    "Transfer-Encoding: chunked\r\n",
    "TRANSFER-ENCODING",
    "Upgrade: websocket\r\n",
    "Host: a\r\n",
    "X: y",
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    ":",
    " ",
    "\t",
    "#",
    ";",
    "0",
    "3",
    "a",
    "+5",
    "ff",
    "0\r\n\r\n",
    "5\r\nabcde\r\n",
    "\u{e9}",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "                                               ",
];

/// Numbers that look random and are the same every time.
fn numbers(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below
    }
}

#[test]
fn the_verdict_does_not_depend_on_how_the_bytes_are_cut() {
    let mut doubtful = 0;
    for seed in 0..200_000 {
        let mut number = numbers(seed);
        let text: String = (0..=number(24)).map(|_| WORDS[number(WORDS.len())]).collect();
        let whole = FramingWatch::default().is_doubtful(text.as_bytes());
        let (mut watch, mut rest, mut in_pieces) = (FramingWatch::default(), text.as_bytes(), false);
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(1 + number(rest.len()));
            in_pieces |= watch.is_doubtful(piece);
            rest = after;
        }
        assert_eq!(in_pieces, whole, "{text:?}");
        doubtful += u32::from(whole);
    }
    assert!((20_000..180_000).contains(&doubtful), "{doubtful} of the texts are doubtful: most words mean something");
}

#[test]
fn a_number_is_read_as_rust_reads_it_from_a_text() {
    const PARTS: [&str; 12] = ["0", "7", "18446744073709551615", "f", "F", "g", "+", "-", " ", "\t", "", "\u{e9}"];
    let mut read = 0;
    for seed in 0..50_000 {
        let mut number = numbers(seed);
        let text: String = (0..number(5)).map(|_| PARTS[number(PARTS.len())]).collect();
        for radix in [10, 16] {
            let expected = u64::from_str_radix(text.trim_ascii(), radix).ok();
            assert_eq!(Number::of(text.as_bytes(), radix), expected, "{text:?} to the base {radix}");
            read += u32::from(expected.is_some());
        }
    }
    assert!(read > 5_000, "{read} of the texts are numbers");
}
