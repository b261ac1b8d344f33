//! What a hostile dashboard does, and what the browser gets for it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kyros_shared_config::crypto::sha256;

use crate::rig::{
    Ask,
    Check::{self, Any, Code, Cut, HasNot, Lacks, Lines, Never, Nothing, Status, Within},
    Step::{self, Close, Flood, Hang, Pause, ReadBody, Reset},
    WEBSOCKET_ACCEPT, body, has, ok, send,
};

/// One behaviour.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) request: Ask,
    pub(crate) script: Vec<Step>,
    pub(crate) expect: Vec<Check>,
}

impl Case {
    fn asked(self, request: Ask) -> Self {
        Self { request, ..self }
    }
}

fn case(name: &'static str, script: impl IntoIterator<Item = Step>, expect: impl IntoIterator<Item = Check>) -> Case {
    Case { name, request: Ask::Get, script: script.into_iter().collect(), expect: expect.into_iter().collect() }
}

/// An answer that is refused for what it is: 502, at once.
fn broken(name: &'static str, bytes: impl AsRef<[u8]>) -> Case {
    case(name, [send(bytes), Close], is_broken())
}

fn is_broken() -> Vec<Check> {
    vec![Status(502), Code("dashboard-broken"), has("connection", "close"), Within(4000)]
}

/// A head that passes, whose body breaks off.
fn cut(name: &'static str, bytes: impl AsRef<[u8]>) -> Case {
    case(name, [send(bytes), Close], is_cut())
}

/// The break may come before anything has left the sidecar; what counts is that the answer never looks whole.
fn is_cut() -> Vec<Check> {
    vec![Any(vec![vec![Status(200), Cut], vec![Nothing], is_broken()]), Within(4000)]
}

/// What a page of the sidecar's own lets in: its style, named by its hash, and nothing else.
fn page_policy() -> String {
    let hash = STANDARD.encode(sha256(include_str!("../../assets/page.css").as_bytes()));
    format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'")
}

/// An answer of two bytes with these header lines, and what becomes of them.
fn headers(name: &'static str, lines: &str, expect: impl IntoIterator<Item = Check>) -> Case {
    let mut all = vec![Status(200), body("ok")];
    all.extend(expect);
    case(name, [ok(lines)], all)
}

/// Header lines that make the whole answer unacceptable.
fn bad_headers(name: &'static str, lines: impl AsRef<[u8]>) -> Case {
    let answer = [b"HTTP/1.1 200 OK\r\n", lines.as_ref(), b"Content-Length: 2\r\n\r\nok"].concat();
    broken(name, answer)
}

/// An answer that may be refused or mended, but not passed on as it is.
fn refused_or(mended: impl IntoIterator<Item = Check>) -> Vec<Check> {
    vec![Any(vec![is_broken(), mended.into_iter().collect()])]
}

/// All behaviours that need no patience. `port` is the dashboard's own, `trap` that of a listener nobody may ask.
pub(crate) fn at_once(port: u16, trap: u16) -> Vec<Case> {
    [
        lengths(),
        codings(),
        bodiless(),
        beginnings(),
        interim(),
        heads(),
        upgrades(),
        redirects(port, trap),
        cookies(),
        promises_about_the_host(),
        connections(),
        caching(),
        policies(),
        bodies(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn lengths() -> Vec<Case> {
    vec![
        broken("two different lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!"),
        broken("two different lengths in a list", "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok!"),
        case(
            "the same length twice",
            [send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok")],
            refused_or([Status(200), body("ok")]),
        ),
        case(
            "the same length twice in a list",
            [send("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok")],
            refused_or([Status(200), body("ok")]),
        ),
        broken("a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok"),
        broken("a signed length", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok"),
        broken("a hexadecimal length", "HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok"),
        broken("an empty length", "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nok"),
        broken("a length of words", "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok"),
        broken("a length beyond 64 bits", "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551617\r\n\r\nok"),
        broken("a length of all 64 bits", "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\nok"),
        cut("a length of 63 bits and two bytes", "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\nok"),
        cut("a body shorter than its length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok"),
        case(
            "a body shorter than its length, then a reset",
            [send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok"), Pause(50), Reset],
            [Status(200), Cut],
        ),
        case(
            "a body longer than its length",
            [send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\nsmuggled")],
            [Status(200), body("ok"), Never("smuggled")],
        ),
        case(
            "a body where none is promised",
            [send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nsmuggled")],
            [Status(200), body(""), Never("smuggled")],
        ),
        case(
            "no framing at all",
            [send("HTTP/1.1 200 OK\r\n\r\nuntil the end"), Close],
            [Status(200), body("until the end")],
        ),
        case(
            "no framing at all, then a reset",
            [send("HTTP/1.1 200 OK\r\n\r\nuntil the end"), Pause(50), Reset],
            [Status(200), Cut],
        ),
    ]
}

fn codings() -> Vec<Case> {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n";
    vec![
        case(
            "a length too large and chunks",
            [send(format!("{chunked}Content-Length: 100\r\n\r\n2\r\nok\r\n0\r\n\r\n"))],
            refused_or([Status(200), body("ok"), Lacks("content-length")]),
        ),
        case(
            "a length too small and chunks",
            [send(format!("{chunked}Content-Length: 1\r\n\r\n2\r\nok\r\n0\r\n\r\n"))],
            refused_or([Status(200), body("ok"), Lacks("content-length")]),
        ),
        case(
            "chunks that the Connection header takes back",
            [send(format!("{chunked}Connection: transfer-encoding\r\n\r\n2\r\nok\r\n0\r\n\r\n"))],
            [Status(200), body("ok")],
        ),
        case(
            "a coding nobody knows",
            [send("HTTP/1.1 200 OK\r\nTransfer-Encoding: cow\r\n\r\nmoo"), Close],
            refused_or([Status(200), body("moo"), Lacks("content-length")]),
        ),
        case(
            "identity and a length",
            [send("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok, and more"), Close],
            refused_or([Status(200), body("ok, and more"), Lacks("content-length")]),
        ),
        case(
            "chunks inside of something else",
            [send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n2\r\nok\r\n0\r\n\r\n"), Close],
            refused_or([Status(200)]),
        ),
        case(
            "chunks twice",
            [
                send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"),
                send("Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
            ],
            refused_or([Status(200), body("ok")]),
        ),
        broken("chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        cut("a chunk size of words", format!("{chunked}\r\nten\r\nok\r\n0\r\n\r\n")),
        cut("a negative chunk size", format!("{chunked}\r\n-2\r\nok\r\n0\r\n\r\n")),
        cut("an empty chunk size", format!("{chunked}\r\n\r\nok\r\n0\r\n\r\n")),
        cut("a chunk size beyond 64 bits", format!("{chunked}\r\nfffffffffffffffff\r\nok\r\n0\r\n\r\n")),
        cut("a chunk size that wraps to two", format!("{chunked}\r\n10000000000000002\r\nok\r\n0\r\n\r\n")),
        cut("a chunk longer than its size", format!("{chunked}\r\n2\r\nok, and more\r\n0\r\n\r\n")),
        cut("a chunk shorter than its size", format!("{chunked}\r\na\r\nok")),
        cut("chunks without an end", format!("{chunked}\r\n2\r\nok\r\n")),
        case(
            "a chunk extension without end",
            [send(format!("{chunked}\r\n2;")), Flood(b"extension".to_vec(), 1 << 20), Close],
            is_cut(),
        ),
        case(
            "trailers",
            [send(format!(
                "{chunked}Trailer: Set-Cookie, X-Kyros-Tenant\r\n\r\n2\r\nok\r\n0\r\nSet-Cookie: in-a-trailer=1\r\n\
                 X-Kyros-Tenant: globex\r\n\r\n"
            ))],
            [Status(200), body("ok"), Never("in-a-trailer"), Never("globex")],
        ),
        case(
            "trailers without end",
            [send(format!("{chunked}\r\n2\r\nok\r\n0\r\n")), Flood(b"X-Trailer: 1\r\n".to_vec(), 1 << 20), Close],
            is_cut().into_iter().chain([Never("x-trailer")]),
        ),
        case(
            "more after the last chunk",
            [send(format!("{chunked}\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\nsmuggled"))],
            [Status(200), body("ok"), Never("smuggled")],
        ),
    ]
}

fn bodiless() -> Vec<Case> {
    vec![
        case(
            "a body after HEAD",
            [send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled")],
            [Status(200), has("content-length", "8"), Never("smuggled")],
        )
        .asked(Ask::Head),
        case(
            "chunks after HEAD",
            [send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nsmuggled\r\n0\r\n\r\n")],
            [Status(200), Never("smuggled")],
        )
        .asked(Ask::Head),
        case(
            "two different lengths after HEAD",
            [send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n")],
            refused_or([Status(200)]),
        )
        .asked(Ask::Head),
        case(
            "a length of words after HEAD",
            [send("HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n")],
            refused_or([Status(200)]),
        )
        .asked(Ask::Head),
        case(
            "a 204 with a body",
            [send("HTTP/1.1 204 No Content\r\nContent-Length: 8\r\n\r\nsmuggled")],
            [Status(204), Lacks("content-length"), Never("smuggled")],
        ),
        case(
            "a 204 with chunks",
            [send("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nsmuggled\r\n0\r\n\r\n")],
            [Status(204), Lacks("transfer-encoding"), Never("smuggled")],
        ),
        case(
            "a 304 with a body",
            [send("HTTP/1.1 304 Not Modified\r\nContent-Length: 8\r\n\r\nsmuggled")],
            [Status(304), Never("smuggled")],
        ),
        case(
            "a 304 with a length of words",
            [send("HTTP/1.1 304 Not Modified\r\nContent-Length: two\r\n\r\n")],
            refused_or([Status(304)]),
        ),
    ]
}

fn beginnings() -> Vec<Case> {
    vec![
        broken("no status line", "Content-Type: text/html\r\n\r\n<p>hello"),
        broken("HTTP/0.9", "<html>hello</html>"),
        broken("HTTP/2.0", "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        broken("HTTP/1.2", "HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        broken("HTTP in small letters", "http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        broken("a frame of HTTP/2", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"),
        broken("a TLS alert", b"\x15\x03\x03\x00\x02\x02\x28"),
        broken("another protocol", "SSH-2.0-OpenSSH_9.9\r\n"),
        broken("garbage", [0, 255, 13, 10, 13, 10, 7, 127, 0, 0, 200, 10, 10]),
        case("garbage without end", [Flood(vec![0xAA], 8 << 20), Close], is_broken()),
        case("line breaks without end", [Flood(b"\r\n".to_vec(), 8 << 20), Close], is_broken()),
        case("closed before any byte", [Close], is_broken()),
        case(
            "closed before any byte of a page",
            [Close],
            [
                Status(502),
                has("content-type", "text/html; charset=utf-8"),
                has("content-security-policy", page_policy()),
                Lacks("set-cookie"),
            ],
        )
        .asked(Ask::Navigate),
        case("closed before any byte of a HEAD", [Close], [Status(502)]).asked(Ask::Head),
        case("reset before any byte", [Reset], is_broken()),
        broken("closed within the status line", "HTTP/1.1 20"),
        broken("closed within the head", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Coo"),
        case("reset within the head", [send("HTTP/1.1 200 OK\r\nContent-"), Pause(50), Reset], is_broken()),
        broken("status 99", "HTTP/1.1 099 Low\r\nContent-Length: 2\r\n\r\nok"),
        broken("status 1000", "HTTP/1.1 1000 High\r\nContent-Length: 2\r\n\r\nok"),
        broken("a status of words", "HTTP/1.1 two OK\r\nContent-Length: 2\r\n\r\nok"),
        broken("a negative status", "HTTP/1.1 -200 OK\r\nContent-Length: 2\r\n\r\nok"),
        broken("an empty status", "HTTP/1.1  OK\r\nContent-Length: 2\r\n\r\nok"),
        case(
            "status 999",
            [send("HTTP/1.1 999 Odd\r\nContent-Length: 2\r\n\r\nok")],
            refused_or([Status(999), body("ok")]),
        ),
        case("no reason phrase", [send("HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok")], [Status(200), body("ok")]),
        case(
            "a reason phrase of any bytes",
            [send(b"HTTP/1.1 200 \xff\xfe <script>\r\nContent-Length: 2\r\n\r\nok")],
            refused_or([Status(200), body("ok")]),
        ),
        broken("a reason phrase with a control character", b"HTTP/1.1 200 a\x01b\r\nContent-Length: 2\r\n\r\nok"),
        broken("a reason phrase that breaks the line", "HTTP/1.1 200 OK\rSet-Cookie: kyros-app=x\r\n\r\n"),
        case(
            "bare line feeds",
            [send("HTTP/1.1 200 OK\nContent-Length: 2\n\nok")],
            refused_or([Status(200), body("ok")]),
        ),
    ]
}

fn interim() -> Vec<Case> {
    let early = b"HTTP/1.1 103 Early Hints\r\nLink: </early.css>; rel=preload\r\nSet-Cookie: kyros-app=x\r\n\r\n";
    let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
    let end = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    vec![
        case(
            "a few interim answers",
            [send(go_on), send(early), send("HTTP/1.1 102 Processing\r\n\r\n"), send(end)],
            [Status(200), body("ok"), Never("early.css"), Never("kyros-app")],
        ),
        case("ten interim answers", [Flood(go_on.to_vec(), 10), send(end)], [Status(200), body("ok")]),
        case("eleven interim answers", [Flood(go_on.to_vec(), 11), send(end)], is_broken()),
        case("10,000 times 100", [Flood(go_on.to_vec(), 10_000), send(end)], is_broken()),
        case("10,000 times 103", [Flood(early.to_vec(), 10_000), send(end)], is_broken()),
        case(
            "10,000 times 103 for an upload",
            [ReadBody, Flood(early.to_vec(), 10_000), send(end), Close],
            is_broken(),
        )
        .asked(Ask::Post),
        case(
            "interim answers in two reads each",
            (0..30)
                .flat_map(|_| [send("HTT"), Pause(3), send("P/1.1 103 Early Hints\r\nX-A: b\r\n\r\n"), Pause(3)])
                .chain([send(end)])
                .collect::<Vec<_>>(),
            is_broken(),
        ),
        case(
            "an answer that speaks of interim answers",
            [
                send(go_on),
                send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", early.len() * 20)),
                Flood(early.to_vec(), 20),
            ],
            [Status(200), body(early.repeat(20))],
        ),
        case("interim answers without end", [Flood(early.to_vec(), 1 << 20), Close], is_broken()),
        case("interim answers and no other", [send(go_on), send(early), Close], is_broken()),
        broken(
            "an interim answer with a body",
            "HTTP/1.1 103 Early Hints\r\nContent-Length: 8\r\n\r\nsmuggledHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ),
        broken("an interim answer with a broken header", "HTTP/1.1 103 Early Hints\r\nLink: a\0b\r\n\r\n"),
    ]
}

fn heads() -> Vec<Case> {
    let head = "HTTP/1.1 200 OK\r\n";
    vec![
        case("header lines without end", [send(head), Flood(b"X-Line: 1\r\n".to_vec(), 1 << 20), Close], is_broken()),
        case("a header without end", [send(head), send("X-Long: "), Flood(vec![b'a'], 8 << 20), Close], is_broken()),
        case("a header's name without end", [send(head), Flood(vec![b'a'], 8 << 20), Close], is_broken()),
        case("a reason phrase without end", [send("HTTP/1.1 200 "), Flood(vec![b'a'], 8 << 20), Close], is_broken()),
        bad_headers("a header of 65 KiB", format!("X-Long: {}\r\n", "a".repeat(65 * 1024))),
        bad_headers("90 headers of 1 KiB", format!("X-Long: {}\r\n", "a".repeat(1024)).repeat(90)),
        bad_headers("10,000 headers", "X-Line: 1\r\n".repeat(10_000)),
        headers("a header of 8 KiB", &format!("X-Long: {}\r\n", "a".repeat(8 * 1024)), []),
        bad_headers("NUL in a header", "X-A: a\0b\r\n"),
        bad_headers("a carriage return in a header", "X-A: a\rSet-Cookie: kyros-app=x\r\n"),
        bad_headers("a control character in a header", "X-A: a\x07b\r\n"),
        bad_headers("a folded header", "X-A: a\r\n Set-Cookie: kyros-app=x\r\n"),
        bad_headers("a space before the colon", "Set-Cookie : kyros-app=x\r\n"),
        bad_headers("a header without a colon", "Set-Cookie kyros-app=x\r\n"),
        bad_headers("a header without a name", ": kyros-app=x\r\n"),
        bad_headers("odd bytes in a header's name", b"X-\xc3\xa9: 1\r\n"),
        bad_headers("a space in a header's name", "X A: 1\r\n"),
        headers("a split that is only text", "X-Echo: a%0d%0aSet-Cookie:%20kyros-app=x\r\n", [Lacks("set-cookie")]),
        case(
            "a head in single bytes",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                .bytes()
                .flat_map(|byte| [send([byte]), Pause(1)])
                .collect::<Vec<_>>(),
            [Status(200), body("ok")],
        ),
    ]
}

fn upgrades() -> Vec<Case> {
    let switch = |lines: &str| format!("HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n\x01\x02hello");
    let socket = |name, lines: String, expect| case(name, [send(switch(&lines)), Close], expect).asked(Ask::WebSocket);
    let asked_for =
        format!("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {WEBSOCKET_ACCEPT}\r\n");
    let accept =
        |value: &str| format!("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {value}\r\n");
    vec![
        case("101 not asked for", [send(switch(&asked_for)), Close], is_broken()),
        case("101 not asked for, to a POST", [ReadBody, send(switch(&asked_for)), Close], is_broken()).asked(Ask::Post),
        case(
            "101 not asked for, to h2c",
            [send(switch("Connection: Upgrade\r\nUpgrade: h2c\r\n")), Close],
            is_broken(),
        ),
        socket(
            "101 as asked for, with more than a socket needs",
            format!(
                "{asked_for}Set-Cookie: kyros-app=x\r\nX-Kyros-Tenant: globex\r\nServer: gunicorn\r\n\
                 Clear-Site-Data: \"*\"\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"
            ),
            vec![
                Status(101),
                has("sec-websocket-accept", WEBSOCKET_ACCEPT),
                has("upgrade", "websocket"),
                body("\x01\x02hello"),
                Lacks("set-cookie"),
                Lacks("clear-site-data"),
                Lacks("server"),
                Lacks("content-length"),
                Lacks("transfer-encoding"),
                Never("globex"),
            ],
        ),
        socket("101 with a wrong Accept", accept("AAAAAAAAAAAAAAAAAAAAAAAAAAA="), is_broken()),
        socket("101 with an Accept in small letters", accept(&WEBSOCKET_ACCEPT.to_lowercase()), is_broken()),
        socket("101 with the key as Accept", accept(crate::rig::WEBSOCKET_KEY), is_broken()),
        socket("101 with an empty Accept", accept(""), is_broken()),
        socket("101 without Accept", "Connection: Upgrade\r\nUpgrade: websocket\r\n".to_owned(), is_broken()),
        socket("101 to h2c", asked_for.replace("websocket\r\n", "h2c\r\n"), is_broken()),
        socket("101 to nothing", asked_for.replace("Upgrade: websocket\r\n", ""), is_broken()),
        case(
            "101 without an end",
            [send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"), Close],
            is_broken(),
        )
        .asked(Ask::WebSocket),
        case(
            "no socket but an ordinary answer",
            [ok("Server: gunicorn\r\nConnection: close\r\n"), Close],
            [Status(200), body("ok"), Lacks("server"), has("cache-control", "private, no-store")],
        )
        .asked(Ask::WebSocket),
        case(
            "no socket but a refusal",
            [send("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"), Close],
            [Status(403), body("no")],
        )
        .asked(Ask::WebSocket),
    ]
}

fn redirects(port: u16, trap: u16) -> Vec<Case> {
    let to = |name, status: u16, location: String, expect: Vec<Check>| {
        let answer = format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        case(name, [ReadBody, send(answer)], [Status(status)].into_iter().chain(expect))
    };
    let untouched =
        |name, status, location: String| to(name, status, location.clone(), vec![has("location", location)]);
    let own = format!("http://127.0.0.1:{port}");
    vec![
        untouched("a redirect to another server here", 302, format!("http://127.0.0.1:{trap}/latest/meta-data")),
        untouched("a redirect of a POST", 307, format!("http://127.0.0.1:{trap}/")).asked(Ask::Post),
        untouched("a redirect to somewhere else", 301, "https://elsewhere.example/a?b=c#d".to_owned()),
        untouched("a redirect to another scheme", 302, "gopher://127.0.0.1:70/".to_owned()),
        untouched("a redirect within", 303, "/login?next=%2F".to_owned()),
        untouched("a name that only begins like ours", 302, format!("{own}.elsewhere.example/x")),
        untouched("a user that looks like ours", 302, format!("{own}@elsewhere.example/x")),
        untouched("a port that only begins like ours", 302, format!("{own}0/x")),
        to("a redirect to our loopback address", 302, format!("{own}/x?y=1"), vec![Lines("location", vec!["/x?y=1"])]),
        to(
            "a redirect to a part of a page",
            302,
            format!("{own}/x?y=1#part"),
            vec![Lines("location", vec!["/x?y=1#part"])],
        ),
        to("a permanent one", 308, format!("{own}/x"), vec![Lines("location", vec!["/x"])]),
        to(
            "a redirect to our loopback name",
            302,
            format!("http://localhost:{port}/x"),
            vec![Lines("location", vec!["/x"])],
        ),
        to("a redirect to our loopback address alone", 302, own.clone(), vec![Lines("location", vec!["/"])]),
        to(
            "a loopback redirect that would lead elsewhere",
            302,
            format!("{own}//elsewhere.example/x"),
            vec![HasNot("location", "//elsewhere.example/x".to_owned())],
        ),
        to(
            "a loopback redirect with a backslash",
            302,
            format!("{own}/\\elsewhere.example/x"),
            vec![HasNot("location", "/\\elsewhere.example/x".to_owned())],
        ),
        headers(
            "links to fetch",
            &format!(
                "Refresh: 0; url=http://127.0.0.1:{trap}/\r\nLink: <http://127.0.0.1:{trap}/a.css>; rel=preload\r\n\
                 Content-Location: http://127.0.0.1:{trap}/\r\n"
            ),
            [has("refresh", format!("0; url=http://127.0.0.1:{trap}/"))],
        ),
        headers(
            "orders to a proxy in front",
            "X-Accel-Redirect: /internal/\r\nX-Accel-Expires: 3600\r\nX-Sendfile: /etc/passwd\r\n\
             X-Lighttpd-Send-File: /etc/passwd\r\n",
            [Lacks("x-accel-redirect"), Lacks("x-accel-expires"), Lacks("x-sendfile"), Lacks("x-lighttpd-send-file")],
        ),
    ]
}

/// Every one is dropped; a cookie of the dashboard's own beside it shows that the others pass.
const COOKIES_REFUSED: [(&str, &[u8]); 30] = [
    ("our cookie", b"kyros-app=x"),
    ("our session", b"kyros-session=x; Path=/; HttpOnly"),
    ("our transaction", b"kyros-tx-abc=x"),
    ("our cookie in capitals", b"KYROS-APP=x"),
    ("our cookie in mixed letters", b"Kyros-App=x"),
    ("our cookie with __Host-", b"__Host-kyros-app=x; Secure; Path=/"),
    ("our cookie with __Secure-", b"__Secure-kyros-app=x; Secure"),
    ("our cookie with __host-", b"__host-kyros-app=x; Secure; Path=/"),
    ("our cookie with __SECURE- in capitals", b"__SECURE-KYROS-APP=x; Secure"),
    ("our cookie after spaces", b"   kyros-app=x"),
    ("our cookie after a tab", b"\tkyros-app=x"),
    ("our cookie before spaces", b"kyros-app  =x"),
    ("our cookie before a tab", b"kyros-app\t=x"),
    ("our cookie without a value", b"kyros-app="),
    ("our cookie without a sign", b"kyros-app"),
    ("our cookie with a quoted value", b"kyros-app=\"x\""),
    ("our cookie in quotes", b"\"kyros-app\"=x"),
    ("our cookie as the value of none", b"=kyros-app=x"),
    ("our cookie as the value of spaces", b"  =kyros-app=x"),
    ("our cookie as a value without a name", b"=__Host-kyros-app=x; Secure; Path=/"),
    ("our name with odd bytes", b"kyros-app\xff=x"),
    ("a domain", b"wide=1; Domain=localhost"),
    ("a domain with a dot", b"wide=1; Path=/; domain=.kyros.example"),
    ("a domain in capitals", b"wide=1;DOMAIN=localhost;Secure"),
    ("a domain with spaces", b"wide=1; Path=/;   Domain  =  localhost"),
    ("a domain with tabs", b"wide=1;\tDomain\t=\tlocalhost; Max-Age=60"),
    ("an empty domain", b"wide=1; Domain=; Path=/"),
    ("a domain without a sign", b"wide=1; Domain"),
    ("a domain in what looks quoted", b"wide=\"a; Domain=localhost\""),
    ("a domain after another", b"wide=1; Domain=a.example; Domain=localhost"),
];

fn cookies() -> Vec<Case> {
    let refused = COOKIES_REFUSED.into_iter().map(|(name, cookie)| {
        let answer = [
            b"HTTP/1.1 200 OK\r\nSet-Cookie: own=1\r\nSet-Cookie: ",
            cookie,
            b"\r\nContent-Length: 2\r\nSet-Cookie: own2=2\r\n\r\nok",
        ]
        .concat();
        case(name, [send(answer)], [Status(200), body("ok"), Lines("set-cookie", vec!["own=1", "own2=2"])])
    });
    let own = vec![
        "__Host-own=1; Secure; Path=/",
        "__Secure-own=1; Secure; SameSite=None; Partitioned",
        "theme=dark; Path=/kyros-app; Max-Age=60",
        "value=kyros-app=x",
        "mykyros-app=x",
        "empty=",
    ];
    let lines: String = own.iter().map(|cookie| format!("Set-Cookie: {cookie}\r\n")).collect();
    refused.chain([headers("cookies of its own", &lines, [Lines("set-cookie", own)])]).collect()
}

fn promises_about_the_host() -> Vec<Case> {
    vec![
        headers(
            "words about the whole host",
            "Clear-Site-Data: \"*\"\r\nService-Worker-Allowed: /\r\nAlt-Svc: h3=\":443\"\r\n\
             Strict-Transport-Security: max-age=63072000; includeSubDomains; preload\r\n",
            [
                Lacks("clear-site-data"),
                Lacks("service-worker-allowed"),
                Lacks("alt-svc"),
                Lacks("strict-transport-security"),
            ],
        ),
        headers(
            "what it is made of",
            "Server: gunicorn/19\r\nX-Powered-By: Express\r\nServer: again\r\n",
            [Lacks("server"), Lacks("x-powered-by")],
        ),
        headers(
            "leave for other origins to read",
            "Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\n\
             Access-Control-Allow-Methods: *\r\nAccess-Control-Allow-Headers: authorization\r\n\
             Access-Control-Expose-Headers: *\r\nAccess-Control-Max-Age: 86400\r\n\
             Access-Control-Allow-Private-Network: true\r\n",
            [Never("access-control-")],
        ),
        case(
            "leave for other origins to ask",
            [send(
                "HTTP/1.1 204 No Content\r\nACCESS-CONTROL-ALLOW-ORIGIN: https://evil.example\r\n\
                 access-control-allow-credentials: true\r\n\r\n",
            )],
            [Status(204), Never("access-control-")],
        ),
        headers(
            "our own headers",
            "X-Kyros-Tenant: globex\r\nx-kyros-roles: admin\r\nX-KYROS-ANYTHING: globex\r\n",
            [Never("globex"), Never("x-kyros-")],
        ),
        headers(
            "our request id",
            "X-Request-Id: spoofed\r\nX-Request-ID: spoofed-too\r\nx-request-id: spoofed\r\n",
            [Never("spoofed")],
        ),
    ]
}

fn connections() -> Vec<Case> {
    vec![
        headers(
            "headers that the connection nominates",
            "Connection: X-First, x-second\r\nX-First: 1\r\nX-Second: 2\r\nConnection: X-Third\r\nX-Third: 3\r\n",
            [Lacks("x-first"), Lacks("x-second"), Lacks("x-third")],
        ),
        headers(
            "our headers nominated",
            "Connection: content-security-policy, cache-control, x-request-id, vary, content-length\r\n\
             Cache-Control: public\r\n",
            [has("content-security-policy", "frame-ancestors 'none'"), has("cache-control", "private, no-store")],
        ),
        headers(
            "headers of one connection",
            "Keep-Alive: timeout=600\r\nProxy-Authenticate: Basic\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\n\
             Trailer: Set-Cookie\r\nUpgrade: h2c\r\nConnection: Upgrade, keep-alive\r\n",
            [Lacks("keep-alive"), Lacks("upgrade")],
        ),
    ]
}

fn caching() -> Vec<Case> {
    vec![
        headers(
            "public",
            "Cache-Control: public, max-age=60, s-maxage=600\r\n",
            [Lines("cache-control", vec!["private, max-age=60"])],
        ),
        headers(
            "PUBLIC with spaces",
            "Cache-Control:  PUBLIC ,S-MaxAge = 600 , max-age=60\r\n",
            [Lines("cache-control", vec!["private, max-age=60"])],
        ),
        headers("no word on caching", "", [Lines("cache-control", vec!["private, no-store"])]),
        headers(
            "no-store on a second line",
            "Cache-Control: max-age=60\r\nCache-Control: no-store\r\n",
            [Any(vec![
                vec![has("cache-control", "private, max-age=60, no-store")],
                vec![has("cache-control", "private, no-store")],
            ])],
        ),
        headers(
            "public on a second line",
            "Cache-Control: max-age=60\r\nCache-Control: public, s-maxage=9\r\n",
            [Never("public"), Never("s-maxage")],
        ),
        headers("odd bytes", "Cache-Control: public, \u{e9}\r\n", [Lines("cache-control", vec!["private, no-store"])]),
        headers(
            "words to one kind of cache",
            "CDN-Cache-Control: max-age=600\r\nSurrogate-Control: max-age=600\r\n\
             Cloudflare-CDN-Cache-Control: max-age=600\r\nVercel-CDN-Cache-Control: max-age=600\r\n",
            [Never("cdn-cache-control"), Lacks("surrogate-control")],
        ),
        headers("a Vary of its own", "Vary: Accept\r\n", [has("vary", "Accept"), has("vary", "Cookie, Authorization")]),
    ]
}

fn policies() -> Vec<Case> {
    let ours = "frame-ancestors 'none'";
    vec![
        headers(
            "a policy of its own",
            "Content-Security-Policy: default-src 'self'\r\n",
            [Lines("content-security-policy", vec!["default-src 'self'", ours])],
        ),
        headers(
            "a frame for everybody",
            "Content-Security-Policy: frame-ancestors *\r\n",
            [Lines("content-security-policy", vec![ours])],
        ),
        // As Jupyter and Voilà say it: the portal's frame would stay empty.
        headers(
            "a frame for its own pages alone",
            "Content-Security-Policy: frame-ancestors 'self'; report-uri /report\r\n",
            [Lines("content-security-policy", vec!["report-uri /report", ours])],
        ),
        headers(
            "no frame at all",
            "X-Frame-Options: DENY\r\nX-Frame-Options: ALLOWALL\r\n",
            [Lacks("x-frame-options"), has("content-security-policy", ours)],
        ),
        headers(
            "no word on sniffing and embedding",
            "",
            [
                Lines("x-content-type-options", vec!["nosniff"]),
                Lines("cross-origin-resource-policy", vec!["same-origin"]),
            ],
        ),
        // Pages of other tenants' hosts are of the same site, so the sidecar may say it more strictly, but only once.
        headers(
            "a word of its own on embedding",
            "Cross-Origin-Resource-Policy: same-site\r\n",
            [Any(vec![
                vec![Lines("cross-origin-resource-policy", vec!["same-site"])],
                vec![Lines("cross-origin-resource-policy", vec!["same-origin"])],
            ])],
        ),
    ]
}

fn bodies() -> Vec<Case> {
    let bomb = gzip_bomb(256 * 1024);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", bomb.len());
    vec![
        case(
            "a gzip bomb",
            [send([head.as_bytes(), &bomb].concat())],
            [Status(200), has("content-encoding", "gzip"), body(&bomb)],
        ),
        case(
            "more than a gigabyte promised in one chunk",
            [send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffff\r\n"), Flood(vec![0], 4 << 20), Close],
            [Status(200), Cut],
        ),
    ]
}

/// A gzip file of about so many bytes, which holds 159 times as many zeros: a block of fixed codes (RFC 1951, section
/// 3.2.6) in which 13 bits repeat the last byte 258 times.
fn gzip_bomb(bytes: usize) -> Vec<u8> {
    let repeat = [true, true, false, false, false, true, false, true, false, false, false, false, false];
    let begin = [true, true, false, false, false, true, true, false, false, false, false];
    let bits: Vec<bool> = begin.into_iter().chain(repeat.into_iter().cycle().take(bytes * 8)).collect();
    let packed = bits.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| (byte << 1) | u8::from(*bit)));
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff".iter().copied().chain(packed).collect()
}

/// What a dashboard does with time, behind a sidecar that waits one second for an answer, and one for a body to go on.
pub(crate) fn in_time() -> Vec<Case> {
    let timed_out = || vec![Status(504), Code("dashboard-timeout"), Within(4000)];
    let drip = |text: &str, pause: u64| -> Vec<Step> {
        text.bytes().flat_map(|byte| [send([byte]), Pause(pause)]).chain([Hang]).collect()
    };
    let stops = |name, bytes: &str| case(name, [send(bytes), Hang], [Status(200), Cut, Within(5000)]);
    vec![
        case("no answer", [Hang], timed_out()),
        case("no answer to an upload", [ReadBody, Hang], timed_out()).asked(Ask::Post),
        case("no answer to a socket", [Hang], timed_out()).asked(Ask::WebSocket),
        case("half a status line", [send("HTTP/1.1 20"), Hang], timed_out()),
        case("half a head", [send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"), Hang], timed_out()),
        case("half a 101", [send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"), Hang], timed_out())
            .asked(Ask::WebSocket),
        case("a dripping status line", drip("HTTP/1.1 200 OK\r\nX: y", 150), timed_out()),
        case(
            "dripping headers",
            [send("HTTP/1.1 200 OK\r\n")]
                .into_iter()
                .chain((0..20).flat_map(|_| [send("X-Line: 1\r\n"), Pause(150)]))
                .chain([Hang])
                .collect::<Vec<_>>(),
            timed_out(),
        ),
        case(
            "dripping interim answers",
            (0..8)
                .flat_map(|_| [send("HTTP/1.1 102 Processing\r\n\r\n"), Pause(300)])
                .chain([Hang])
                .collect::<Vec<_>>(),
            timed_out(),
        ),
        stops("a body that stops", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok"),
        stops("a body that never begins", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"),
        stops("chunks that stop", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"),
        stops("half a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nok"),
        stops("half a chunk size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1"),
        stops("a body without framing that stops", "HTTP/1.1 200 OK\r\n\r\nok"),
        case(
            "trailers that stop",
            [send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Trailer: "), Hang],
            [Status(200), Cut, Never("x-trailer"), Within(5000)],
        ),
        case(
            "a slow body that goes on",
            [send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 8\r\n\r\n")]
                .into_iter()
                .chain((0..8).flat_map(|_| [Pause(300), send(".")]))
                .collect::<Vec<_>>(),
            [Status(200), body("........")],
        ),
        case(
            "a quiet socket",
            [
                send(format!(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Accept: {WEBSOCKET_ACCEPT}\r\n\r\n"
                )),
                Pause(2500),
                send("late"),
                Close,
            ],
            [Status(101), body("late")],
        )
        .asked(Ask::WebSocket),
        case(
            "a body that HEAD does not wait for",
            [send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"), Hang],
            [Status(200), Within(900)],
        )
        .asked(Ask::Head),
    ]
}
