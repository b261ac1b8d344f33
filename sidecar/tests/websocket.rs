//! Sockets (RFC 6455) through the sidecar. Every case is played twice, straight to the server and through the sidecar, and both
//! ends must see the same bytes and the same end: what the sidecar does not understand it does not touch.

mod common;
#[path = "common/frames.rs"]
mod frames;
#[path = "common/sockets.rs"]
mod sockets;

use std::{
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::Sidecar;
use frames::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, close_payload, final_close, frame, parse};
use futures_util::{SinkExt as _, StreamExt as _};
use kyros_shared_config::{Issuer, clock::unix_now};
use sockets::{Bench, Case, MASK, Step, both_ways, handshake, read_head, switching};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
};
use tokio_tungstenite::tungstenite::{
    self, Message, client::IntoClientRequest as _, handshake::server, protocol::CloseFrame,
};

const MIB: usize = 1024 * 1024;

/// Plays cases one after the other; all differences are reported, not the first alone.
async fn no_difference_in(cases: Vec<Case>) {
    let bench = Bench::start().await;
    let mut found = Vec::new();
    for case in &cases {
        found.extend(bench.differences(case).await);
    }
    assert!(found.is_empty(), "{} of {} cases:\n{}", found.len(), cases.len(), found.join("\n"));
}

fn text(payload: &str) -> Vec<u8> {
    frame(FIN | TEXT, None, payload.as_bytes())
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, Some(MASK), payload)
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

// === frames ===

#[tokio::test]
async fn every_opcode_passes_also_those_that_are_reserved() {
    let whole = (0..16).map(|opcode| both_ways(format!("opcode {opcode:#x}"), FIN | opcode, b"payload"));
    let begun = (0..16).map(|opcode| both_ways(format!("opcode {opcode:#x} without FIN"), opcode, b"payload"));
    no_difference_in(whole.chain(begun).collect()).await;
}

#[tokio::test]
async fn payloads_of_every_length_form_pass() {
    let mut cases: Vec<Case> = [0, 1, 125, 126, 127, 65_535, 65_536]
        .iter()
        .map(|length| both_ways(format!("{length} bytes"), FIN | BINARY, &vec![0xa5; *length]))
        .collect();
    let big: Vec<u8> = (0..16 * MIB).map(|n| n.to_le_bytes()[n % 3]).collect();
    cases.push(both_ways("16 MiB at once both ways", FIN | BINARY, &big));
    let pieces = |mask| {
        let first = frame(BINARY, mask, &big[..MIB]);
        let middle = big[MIB..15 * MIB].chunks(MIB).map(|piece| frame(CONTINUATION, mask, piece));
        std::iter::once(first).chain(middle).chain([frame(FIN | CONTINUATION, mask, &big[15 * MIB..])]).collect()
    };
    let (from_client, from_server): (Vec<_>, Vec<_>) = (pieces(Some(MASK)), pieces(None));
    cases.push(Case::exchange("16 MiB in pieces both ways", from_client.concat(), from_server.concat()));
    no_difference_in(cases).await;
}

#[tokio::test]
async fn fragments_pass_with_control_frames_between_them() {
    let fragments = |mask, between: &[(u8, &[u8])]| {
        let mut bytes = frame(TEXT, mask, b"one ");
        for (first, payload) in between {
            bytes.extend(frame(*first, mask, payload));
        }
        bytes.extend(frame(CONTINUATION, mask, b""));
        bytes.extend(frame(FIN | CONTINUATION, mask, b"two"));
        bytes
    };
    let case = |name: &str, between: &[(u8, &[u8])]| {
        Case::exchange(name, fragments(Some(MASK), between), fragments(None, between))
    };
    no_difference_in(vec![
        case("fragments alone", &[]),
        case("a ping between fragments", &[(FIN | PING, b"p")]),
        case("pings and pongs between fragments", &[(FIN | PING, b""), (FIN | PONG, b"x"), (FIN | PING, b"y")]),
        case("a Close between fragments", &[(FIN | CLOSE, &[0x03, 0xe8])]),
        case("a message within a message", &[(FIN | TEXT, b"not allowed")]),
        both_ways("a continuation of nothing", FIN | CONTINUATION, b"?"),
        both_ways("a fragmented ping", PING, b"?"),
    ])
    .await;
}

#[tokio::test]
async fn pings_and_pongs_pass_unanswered() {
    no_difference_in(vec![
        both_ways("an empty ping", FIN | PING, b""),
        both_ways("a ping with all that may be in it", FIN | PING, &[7; 125]),
        both_ways("a ping that is too long", FIN | PING, &[7; 126]),
        both_ways("a pong that nobody asked for", FIN | PONG, b"beat"),
        Case::new(
            "a ping and its pong",
            vec![Step::Await(6), Step::Send(masked(FIN | PONG, b"time").into()), Step::Await(12), Step::Fin],
            vec![
                Step::Send(frame(FIN | PING, None, b"time").into()),
                Step::Await(10),
                Step::Send(frame(FIN | PING, None, b"next").into()),
                Step::AwaitEnd,
            ],
        ),
    ])
    .await;
}

#[tokio::test]
async fn what_breaks_the_rules_passes_as_it_is_for_the_ends_to_judge() {
    let mut cases: Vec<Case> = [0x40, 0x20, 0x10, 0x70]
        .iter()
        .map(|bits| both_ways(format!("reserved bits {bits:#x}"), FIN | bits | TEXT, b"payload"))
        .collect();
    let long = |length: u64| [&[FIN | BINARY, 127][..], &length.to_be_bytes(), b"abc"].concat();
    for (name, bytes) in [
        ("a length that is longer than it need be", long(3)),
        ("a length with the highest bit set", long(1 << 63)),
        ("a length that never comes", long(1 << 40)),
        ("half a header", vec![FIN | TEXT]),
        ("half a length", vec![FIN | TEXT, 126, 1]),
        ("half a payload", vec![FIN | TEXT, 5, b'a', b'b']),
        ("no WebSocket at all", b"GET /a HTTP/1.1\r\nHost: b\r\n\r\n".to_vec()),
        ("every byte there is", (0..=255).collect()),
    ] {
        cases.push(Case::exchange(name, bytes.clone(), bytes));
    }
    cases.extend([
        Case::exchange("an unmasked client and a masked server", text("a"), masked(FIN | TEXT, b"a")),
        Case::exchange("a mask of zeros", frame(FIN | TEXT, Some([0; 4]), b"abc"), text("abc")),
        both_ways("invalid UTF-8", FIN | TEXT, &[0xff, 0xfe, 0xc0, 0x80]),
        both_ways("a surrogate", FIN | TEXT, &[0xed, 0xa0, 0x80]),
        both_ways("half a character", FIN | TEXT, &"é".as_bytes()[..1]),
    ]);
    no_difference_in(cases).await;
}

#[tokio::test]
async fn frames_cut_into_single_bytes_arrive_whole() {
    let stream = |mask| [frame(FIN | TEXT, mask, &[b'a'; 130]), frame(FIN | PING, mask, b"p")].concat();
    let (from_client, from_server) = (stream(Some(MASK)), stream(None));
    let (to_server, to_client) = (from_client.len(), from_server.len());
    no_difference_in(vec![Case::new(
        "byte by byte both ways",
        vec![Step::Dribble(from_client.into()), Step::Await(to_client), Step::Fin],
        vec![Step::Dribble(from_server.into()), Step::Await(to_server), Step::AwaitEnd],
    )])
    .await;
}

// === ends ===

/// The side that begins sends its Close and waits for the other's; the server hangs up first, as it should.
fn closing(name: &str, payload: &[u8], by_client: bool) -> Case {
    let (from_client, from_server) = (masked(FIN | CLOSE, payload), frame(FIN | CLOSE, None, payload));
    let (to_server, to_client) = (from_client.len(), from_server.len());
    let (client, server) = (Step::Send(from_client.into()), Step::Send(from_server.into()));
    if by_client {
        Case::new(
            format!("{name}, by the client"),
            vec![client, Step::Await(to_client), Step::AwaitEnd],
            vec![Step::Await(to_server), server, Step::Fin],
        )
    } else {
        Case::new(
            format!("{name}, by the server"),
            vec![Step::Await(to_client), client, Step::AwaitEnd],
            vec![server, Step::Await(to_server), Step::Fin],
        )
    }
}

#[tokio::test]
async fn every_close_code_passes_whoever_begins() {
    let allowed = (1000..=1015).chain([3000, 4000, 4001, 4999]);
    let out_of_range = [0, 999, 1016, 2999, 5000, 65_535];
    let mut cases = Vec::new();
    for code in allowed.chain(out_of_range) {
        for by_client in [true, false] {
            cases.push(closing(&format!("code {code}"), &close_payload(code, b"reason"), by_client));
        }
    }
    for by_client in [true, false] {
        cases.push(closing("no code", b"", by_client));
        cases.push(closing("half a code", &[3], by_client));
        cases.push(closing("no reason", &close_payload(1000, b""), by_client));
        cases.push(closing("the longest reason", &close_payload(1000, &[b'x'; 123]), by_client));
        cases.push(closing("a reason that is too long", &close_payload(1000, &[b'x'; 124]), by_client));
        cases.push(closing("a reason in invalid UTF-8", &close_payload(1000, &[0xff, 0xc0]), by_client));
    }
    let after = |mask| [frame(FIN | CLOSE, mask, &[3, 0xe8]), frame(FIN | TEXT, mask, b"late")].concat();
    cases.push(Case::exchange("a message after the Close", after(Some(MASK)), after(None)));
    no_difference_in(cases).await;
}

#[tokio::test]
async fn a_half_closed_socket_still_carries_the_other_half() {
    let tail = frame(FIN | BINARY, None, &vec![1; 8 * MIB]);
    let answer = |text: &[u8]| Step::Send(masked(FIN | TEXT, text).into());
    no_difference_in(vec![
        Case::new(
            "the client has said all and gets a long tail",
            vec![Step::Send(masked(FIN | TEXT, b"all").into()), Step::Fin, Step::AwaitEnd],
            vec![Step::AwaitEnd, Step::Pause(ms(300)), Step::Send(tail.into()), Step::Fin],
        ),
        Case::new(
            "the client has said all and the server answers in its own time",
            vec![Step::Fin, Step::AwaitEnd],
            vec![
                Step::AwaitEnd,
                Step::Pause(ms(800)),
                Step::Send(text("one").into()),
                Step::Pause(ms(1500)),
                Step::Send(text("two").into()),
                Step::Fin,
            ],
        ),
        Case::new(
            "the server has said all and hears the client for a while",
            vec![
                Step::AwaitEnd,
                answer(b"one"),
                Step::Pause(ms(500)),
                answer(b"two"),
                Step::Pause(ms(900)),
                answer(b"three"),
                Step::Fin,
            ],
            vec![Step::Send(text("bye").into()), Step::Fin, Step::AwaitEnd],
        ),
        Case::new(
            "the server has said all and hears a long answer",
            vec![Step::AwaitEnd, Step::Send(masked(FIN | BINARY, &vec![2; 4 * MIB]).into()), Step::Fin],
            vec![Step::Send(text("bye").into()), Step::Fin, Step::AwaitEnd],
        ),
        Case::new("both have nothing to say", vec![Step::Fin], vec![Step::Fin]),
    ])
    .await;
}

#[tokio::test]
async fn whoever_breaks_off_takes_the_other_end_along() {
    let hello = || Step::Send(text("hello").into());
    let here = || Step::Send(masked(FIN | TEXT, b"here").into());
    no_difference_in(vec![
        Case::new("the server resets", vec![Step::Await(7), here()], vec![hello(), Step::Await(10), Step::Reset])
            .abrupt(),
        Case::new(
            "the client resets",
            vec![Step::Await(7), here(), Step::Await(14), Step::Reset],
            vec![hello(), Step::Await(10), hello()],
        )
        .abrupt(),
        Case::new(
            "the server resets inside a frame",
            vec![Step::Await(12)],
            vec![
                Step::Send(Bytes::from_static(&[FIN | BINARY, 100, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9])),
                Step::Pause(ms(50)),
                Step::Reset,
            ],
        )
        .abrupt(),
        Case::new(
            "the client resets inside a frame",
            vec![
                Step::Send(Bytes::from_static(&[FIN | BINARY, 0x80 + 100, 0, 0, 0, 0, 1])),
                Step::Pause(ms(50)),
                Step::Reset,
            ],
            vec![],
        )
        .abrupt(),
        Case::new("the server hangs up without a Close", vec![Step::AwaitEnd], vec![hello(), Step::Fin]),
        Case::new("the client hangs up without a Close", vec![here(), Step::Fin], vec![Step::AwaitEnd]),
    ])
    .await;
}

// === handshakes ===

#[tokio::test]
async fn what_the_two_ends_agree_on_reaches_both() {
    let talk = |name, offer, answer| Case { offer, answer, ..both_ways(name, FIN | TEXT, b"hi") };
    // "Hello" compressed, RFC 7692, section 7.2.3.1: RSV1 is set, and only who agreed on it can read it.
    let compressed: &[u8] = &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    no_difference_in(vec![
        talk("a subprotocol", "Sec-WebSocket-Protocol: bokeh, token.abc\r\n", "Sec-WebSocket-Protocol: bokeh\r\n"),
        talk(
            "subprotocols in two lines",
            "Sec-WebSocket-Protocol: streamlit\r\nSec-WebSocket-Protocol: xsrf\r\n",
            "Sec-WebSocket-Protocol: streamlit\r\n",
        ),
        talk("a subprotocol that the server does not take", "Sec-WebSocket-Protocol: other\r\n", ""),
        talk("an extension that the server does not take", "Sec-WebSocket-Extensions: permessage-deflate\r\n", ""),
        talk("an origin", "Origin: https://elsewhere.example\r\n", ""),
        Case {
            offer: "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
            answer: "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n",
            ..both_ways("compressed frames, as agreed", FIN | 0x40 | TEXT, compressed)
        },
        Case {
            offer: "Sec-WebSocket-Extensions: permessage-deflate, x-other\r\nSec-WebSocket-Extensions: x-third; a=1\r\n",
            answer: "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Extensions: x-third; a=2\r\n\
                     Sec-WebSocket-Protocol: b\r\n",
            ..both_ways("extensions in two lines", FIN | 0x40 | TEXT, compressed)
        },
    ])
    .await;
}

#[tokio::test]
async fn bytes_beside_the_handshake_are_not_lost() {
    let exchange = || Case::exchange("", masked(FIN | TEXT, b"later"), text("later"));
    let early: Bytes = masked(FIN | TEXT, b"early").into();
    let with_answer: Bytes = text("welcome").into();
    let long: Bytes = masked(FIN | BINARY, &vec![3; 200 * 1024]).into();
    let greeting: Bytes = frame(FIN | BINARY, None, &vec![4; 200 * 1024]).into();
    let whole = |bytes: &Bytes, then: usize| vec![Step::Await(bytes.len() + then), Step::Fin];
    no_difference_in(vec![
        Case {
            name: "a message with the 101".into(),
            with_answer: with_answer.clone(),
            client: whole(&with_answer, 0),
            server: vec![Step::AwaitEnd],
            ..exchange()
        },
        Case {
            name: "a long message with the 101".into(),
            with_answer: greeting.clone(),
            client: whole(&greeting, 0),
            server: vec![Step::AwaitEnd],
            ..exchange()
        },
        Case {
            name: "a message before the 101".into(),
            early: early.clone(),
            answer_after: ms(150),
            client: vec![Step::Await(7), Step::Fin],
            ..exchange()
        },
        Case {
            name: "a long message before the 101".into(),
            early: long,
            answer_after: ms(150),
            client: vec![Step::Await(7), Step::Fin],
            ..exchange()
        },
        Case {
            name: "messages on both sides of the 101".into(),
            early,
            with_answer,
            answer_after: ms(50),
            ..exchange()
        },
    ])
    .await;
}

#[tokio::test]
async fn a_refused_handshake_is_an_ordinary_answer_and_opens_no_tunnel() {
    let (upstream, seen) = common::upstream("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await;
    let sidecar = Sidecar::start(upstream, &[]).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\nX-Kyros-Tenant: globex\r\n\r\n";
    let answer = sidecar.ask(&(handshake("/", &sidecar.token("acme", "clv"), "") + smuggled)).await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("\r\n\r\nno"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "the two ends may disagree on what follows: {answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    let seen = seen.lock().unwrap().concat();
    assert!(seen.contains("GET / ") && !seen.contains("smuggled") && !seen.contains("globex"), "{seen}");
}

// === a library at both ends ===

/// What a client of a library gets to see of a server of the same library: subprotocol, messages, Close.
async fn conversation(address: SocketAddr, token: &str) -> (Option<String>, Vec<Message>) {
    let mut request = format!("ws://{address}/").into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request.headers_mut().insert("sec-websocket-protocol", "a, b".parse().unwrap());
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut socket, answer) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let protocol = answer.headers().get("sec-websocket-protocol").map(|value| value.to_str().unwrap().to_owned());
    let mut heard = Vec::new();
    for message in [
        Message::text("é"),
        Message::text(""),
        Message::binary(vec![5; 70_000]),
        Message::binary(vec![6; 3 * MIB]),
        Message::Ping(Bytes::from_static(b"ping")),
    ] {
        socket.send(message).await.unwrap();
        heard.push(socket.next().await.unwrap().unwrap());
    }
    let code = tungstenite::protocol::frame::coding::CloseCode::Library(4321);
    socket.close(Some(CloseFrame { code, reason: "enough".into() })).await.unwrap();
    while let Some(Ok(message)) = socket.next().await {
        heard.push(message);
    }
    (protocol, heard)
}

#[tokio::test]
async fn a_librarys_client_and_server_understand_each_other() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                #[expect(clippy::unnecessary_wraps, reason = "the library asks for it")]
                #[expect(clippy::result_large_err, reason = "the library asks for it")]
                fn choose(
                    _: &server::Request,
                    mut answer: server::Response,
                ) -> Result<server::Response, server::ErrorResponse> {
                    answer.headers_mut().insert("sec-websocket-protocol", "b".parse().unwrap());
                    Ok(answer)
                }
                let mut socket = tokio_tungstenite::accept_hdr_async(stream, choose).await.unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    // Pings and the Close are answered by the library itself.
                    if message.is_text() || message.is_binary() {
                        socket.send(message).await.unwrap();
                    }
                }
            });
        }
    });
    let sidecar = Sidecar::start(address, &[]).await;
    let token = sidecar.token("acme", "clv");
    let (protocol, heard) = conversation(address, &token).await;
    assert_eq!((protocol.as_deref(), heard.len()), (Some("b"), 6));
    assert!(conversation(sidecar.address, &token).await == (protocol, heard), "the sidecar changes nothing");
}

// === back-pressure ===

/// A server that hands its sockets over after the 101.
fn handing_over(listener: TcpListener) -> tokio::sync::mpsc::UnboundedReceiver<TcpStream> {
    let (hand, handed) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let hand = hand.clone();
            tokio::spawn(async move {
                let Some((head, _)) = read_head(&mut stream).await else { return };
                if head.starts_with("GET /slow") {
                    tokio::time::sleep(ms(600)).await;
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").await;
                    return;
                }
                if head.starts_with("GET /endless") {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
                    while stream.write_all(b"5\r\ntick\n\r\n").await.is_ok() {
                        tokio::time::sleep(ms(50)).await;
                    }
                    return;
                }
                stream.write_all(switching(&head, "").as_bytes()).await.unwrap();
                let _ = hand.send(stream);
            });
        }
    });
    handed
}

/// A sidecar, and the server's end of every socket through it.
struct Open {
    sidecar: Sidecar,
    handed: tokio::sync::mpsc::UnboundedReceiver<TcpStream>,
}

impl Open {
    async fn start(extra: &[(&str, &str)]) -> Self {
        // Small buffers at the ends: what is measured is what the sidecar takes in.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(64 * 1024).unwrap();
        socket.set_recv_buffer_size(64 * 1024).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(64).unwrap();
        let sidecar = Sidecar::start(listener.local_addr().unwrap(), extra).await;
        Self { sidecar, handed: handing_over(listener) }
    }

    /// Both ends of a socket that is open.
    async fn socket(&mut self, token: &str) -> (TcpStream, TcpStream) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(64 * 1024).unwrap();
        socket.set_recv_buffer_size(64 * 1024).unwrap();
        let mut client = socket.connect(self.sidecar.address).await.unwrap();
        client.write_all(handshake("/", token, "").as_bytes()).await.unwrap();
        let (head, rest) = read_head(&mut client).await.unwrap();
        assert!(head.starts_with("HTTP/1.1 101") && rest.is_empty(), "{head}");
        (client, self.handed.recv().await.unwrap())
    }
}

/// Writes until nothing more is taken for a moment, a second at most; how much was.
async fn fill(stream: &mut TcpStream, bytes: &[u8]) -> usize {
    let until = Instant::now() + Duration::from_secs(1);
    let mut written = 0;
    while Instant::now() < until && written < bytes.len() {
        if let Ok(Ok(more)) = tokio::time::timeout(ms(250), stream.write(&bytes[written..])).await {
            written += more;
        }
    }
    written
}

async fn stalls_and_loses_nothing(sender: &mut TcpStream, reader: &mut TcpStream, stream: &[u8]) {
    let taken = fill(sender, stream).await;
    // Most of it lies in the kernel, which lets the sidecar's receive buffer grow as far as the machine allows.
    assert!(taken <= 16 * MIB, "{taken} bytes are under way to somebody who does not read");
    let mut arrived = Vec::new();
    let (sent, ended) = tokio::join!(
        async {
            sender.write_all(&stream[taken..]).await.unwrap();
            sender.shutdown().await
        },
        reader.read_to_end(&mut arrived)
    );
    assert!(sent.is_ok() && ended.is_ok());
    assert!(arrived == stream, "{} of {} bytes arrived", arrived.len(), stream.len());
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_server_and_loses_nothing() {
    let mut open = Open::start(&[]).await;
    let (mut client, mut server) = open.socket(&open.sidecar.token("acme", "clv")).await;
    let stream = frame(FIN | BINARY, None, &(0..32 * MIB).map(|n| n.to_le_bytes()[n % 3]).collect::<Vec<u8>>());
    stalls_and_loses_nothing(&mut server, &mut client, &stream).await;
}

#[tokio::test]
async fn a_server_that_does_not_read_stops_the_client_and_loses_nothing() {
    let mut open = Open::start(&[]).await;
    let (mut client, mut server) = open.socket(&open.sidecar.token("acme", "clv")).await;
    let stream = masked(FIN | BINARY, &(0..32 * MIB).map(|n| n.to_le_bytes()[n % 3]).collect::<Vec<u8>>());
    stalls_and_loses_nothing(&mut client, &mut server, &stream).await;
}

// === a token that ends ===

/// A token that ends after so many seconds.
fn token_for(issuer: &Issuer, seconds: i64) -> String {
    common::tenant_token(issuer, "s1", ("acme", "clv"), unix_now() + seconds)
}

/// All that still comes, and whether it comes to an end in this time.
async fn rest_of(stream: &mut TcpStream, limit: Duration) -> (Vec<u8>, bool) {
    let mut received = Vec::new();
    let ended = tokio::time::timeout(limit, stream.read_to_end(&mut received)).await.is_ok();
    (received, ended)
}

/// When a token of two seconds is over at the latest, with a second for the goodbye.
const OVER: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_socket_ends_with_its_token() {
    let mut open = Open::start(&[]).await;
    let token = token_for(&open.sidecar.issuer, 2);
    let began = Instant::now();
    let (mut client, mut server) = open.socket(&token).await;
    server.write_all(&text("hello")).await.unwrap();
    let (received, ended) = rest_of(&mut client, OVER).await;
    assert!(ended && began.elapsed() > ms(900), "it lives as long as its token: {:?}", began.elapsed());
    assert_eq!(final_close(&received), Some(4001), "{received:?}");
    assert_eq!(parse(&received).0.len(), 2);
    assert!(rest_of(&mut server, ms(500)).await.1, "the server's end is over too");
    let again = open.sidecar.ask(&handshake("/", &token, "")).await;
    assert!(again.starts_with("HTTP/1.1 401"), "{again}");
}

#[tokio::test]
async fn a_client_that_never_reads_is_cut_off_with_its_token() {
    let mut open = Open::start(&[]).await;
    let token = token_for(&open.sidecar.issuer, 2);
    let (_client, mut server) = open.socket(&token).await;
    let flood = frame(FIN | BINARY, None, &vec![0; 64 * 1024]);
    let flooding = async { while server.write_all(&flood).await.is_ok() {} };
    assert!(tokio::time::timeout(OVER, flooding).await.is_ok(), "the server may still write");
}

#[tokio::test]
async fn a_client_that_keeps_sending_is_told_when_its_token_ends() {
    let mut open = Open::start(&[]).await;
    let token = token_for(&open.sidecar.issuer, 2);
    let (client, mut server) = open.socket(&token).await;
    let (mut read, mut write) = client.into_split();
    // The server reads nothing: what the client sends piles up on the way.
    let sending = tokio::spawn(async move {
        let piece = masked(FIN | BINARY, &[0; 1000]);
        while write.write_all(&piece).await.is_ok() {}
    });
    server.write_all(&text("hello")).await.unwrap();
    let mut received = Vec::new();
    let ended = tokio::time::timeout(OVER, read.read_to_end(&mut received)).await.is_ok();
    assert_eq!((ended, final_close(&received)), (true, Some(4001)), "{received:?}");
    assert!(tokio::time::timeout(ms(500), sending).await.is_ok(), "nothing more is taken from the client");
}

// === a program that stops ===

impl Open {
    /// Asks the program to stop.
    fn terminate(&self) {
        let killed = Command::new("kill").args(["-TERM", &self.sidecar.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
    }

    /// The program's exit code, if it ends in this time.
    async fn exit_code(&mut self, limit: Duration) -> Option<i32> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.sidecar.child.try_wait().unwrap() {
                return status.code();
            }
            tokio::time::sleep(ms(10)).await;
        }
        None
    }
}

#[tokio::test]
async fn a_program_that_stops_says_so_on_every_socket_and_answers_what_is_in_flight() {
    let mut open = Open::start(&[("KYROS_DRAIN", "4")]).await;
    let token = open.sidecar.token("acme", "clv");
    let mut sockets = Vec::new();
    for _ in 0..20 {
        let (client, mut server) = open.socket(&token).await;
        server.write_all(&text("hello")).await.unwrap();
        sockets.push((client, server));
    }
    let address = open.sidecar.address;
    let mut asking = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /slow HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
    asking.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(ms(200)).await;
    open.terminate();
    for (client, server) in &mut sockets {
        let (received, ended) = rest_of(client, Duration::from_secs(1)).await;
        assert_eq!((ended, final_close(&received)), (true, Some(1012)), "{received:?}");
        assert!(rest_of(server, Duration::from_secs(1)).await.1, "the server's end is over too");
    }
    assert!(TcpStream::connect(address).await.is_err(), "nobody new is let in");
    let (answer, _) = rest_of(&mut asking, Duration::from_secs(2)).await;
    assert!(answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"done"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(open.exit_code(Duration::from_secs(4)).await, Some(0));
}

#[tokio::test]
async fn a_program_that_stops_waits_no_longer_than_it_was_told() {
    let mut open = Open::start(&[("KYROS_DRAIN", "1")]).await;
    let token = open.sidecar.token("acme", "clv");
    let mut endless = TcpStream::connect(open.sidecar.address).await.unwrap();
    let request = format!("GET /endless HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
    endless.write_all(request.as_bytes()).await.unwrap();
    let (_unread, mut server) = open.socket(&token).await;
    fill(&mut server, &frame(FIN | BINARY, None, &vec![0; 8 * MIB])).await;
    open.terminate();
    assert_eq!(
        open.exit_code(ms(1800)).await,
        Some(0),
        "neither an endless answer nor a client that never reads holds it"
    );
    let (answer, ended) = rest_of(&mut endless, ms(200)).await;
    assert!(ended && answer.ends_with(b"tick\n\r\n"), "cut, and not as if it had come to its end");
}

/// How a socket ends when the program stops inside a frame of which the server still has `left` bytes to send.
async fn stopped_inside_a_frame(left: usize) -> (Vec<u8>, Vec<u8>, Option<i32>) {
    let mut open = Open::start(&[("KYROS_DRAIN", "4")]).await;
    let token = open.sidecar.token("acme", "clv");
    let (mut client, mut server) = open.socket(&token).await;
    let whole = frame(FIN | BINARY, None, &vec![7; 64 * 1024 + left]);
    let (begun, rest) = whole.split_at(whole.len() - left);
    server.write_all(begun).await.unwrap();
    let mut received = vec![0; begun.len()];
    client.read_exact(&mut received).await.unwrap();
    open.terminate();
    // The dashboard knows nothing of it and goes on, with the next message too.
    let next = text("next");
    let ((), (more, ended)) = tokio::join!(
        async {
            let _ = server.write_all(rest).await;
            let _ = server.write_all(&next).await;
        },
        rest_of(&mut client, Duration::from_secs(2)),
    );
    assert!(ended, "the client is cut off");
    received.extend(more);
    let code = open.exit_code(Duration::from_secs(4)).await;
    (whole, received, code)
}

#[tokio::test]
async fn a_program_that_stops_inside_a_frame_lets_it_end_first() {
    for left in [1, 100, 10_000] {
        let (whole, received, code) = stopped_inside_a_frame(left).await;
        let (frames, cut) = parse(&received);
        assert!(received.starts_with(&whole), "{left}: the frame came whole, {} of {}", received.len(), whole.len());
        assert_eq!((final_close(&received), cut, code), (Some(1012), 0, Some(0)), "{left}: {} frames", frames.len());
    }
}

#[tokio::test]
async fn a_program_that_stops_inside_a_large_frame_lets_it_end_first() {
    let (whole, received, code) = stopped_inside_a_frame(8 * MIB).await;
    assert!(received.starts_with(&whole), "the frame came whole: {} of {} bytes", received.len(), whole.len());
    assert_eq!((final_close(&received), code), (Some(1012), Some(0)));
}
