//! Clients that read slowly, or not at all, at a sidecar and at a gateway before it: what they hold, and what they still get.

mod common;
#[path = "common/frames.rs"]
mod frames;
#[path = "common/sockets.rs"]
mod sockets;
#[path = "common/world.rs"]
mod world;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use frames::final_close;
use kyros_sidecar::{Gateway, GatewaySettings, settings::Routes};
use sockets::read_head;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use world::{Kind, Who, World, head_of};

/// Far longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// A session's end is felt within a second; a goodbye takes half of one.
const FELT: Duration = Duration::from_secs(3);
/// What a client may still get after that: its own kernel has it already.
const OWN_KERNELS: usize = 384 * 1024;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A gateway before the world's sidecar.
struct Front {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Front {
    async fn of(world: &World, write_timeout: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let settings = GatewaySettings {
            listen: address,
            public_url: "http://kyros.localhost:8080".parse().unwrap(),
            api_upstream: "127.0.0.1:1".to_owned(),
            routes: Some(Routes(vec![("clv".parse().unwrap(), world.sidecar.address.to_string())])),
            service_template: "{service}:80".parse().unwrap(),
            workload_token: None,
            admin_listen: None,
            drain: Duration::from_secs(1),
            write_timeout,
        };
        let stop = CancellationToken::new();
        let shutdown = stop.clone();
        let task = tokio::spawn(async move { Gateway::serve(settings, listener, shutdown).await.unwrap() });
        Self { address, stop, task }
    }
}

/// A client whose kernel takes in little that it does not read.
async fn begin(address: SocketAddr, head: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(128 * 1024).unwrap();
    let mut client = socket.connect(address).await.unwrap();
    client.write_all(head.as_bytes()).await.unwrap();
    client
}

async fn is_reset_within(client: &TcpStream, limit: Duration) -> bool {
    tokio::time::timeout(limit, client.ready(Interest::ERROR)).await.is_ok()
}

/// Reads a little now and then; how much came in this time, and whether more can come.
async fn read_slowly(client: &mut TcpStream, time: Duration) -> (usize, bool) {
    let (began, mut count, mut buffer) = (Instant::now(), 0, vec![0; 64 * 1024]);
    while began.elapsed() < time {
        match client.read(&mut buffer).await {
            Ok(read @ 1..) => count += read,
            _ => return (count, false),
        }
        tokio::time::sleep(ms(20)).await;
    }
    (count, true)
}

/// All that still comes, and whether it ends with a reset.
async fn rest_of(client: &mut TcpStream) -> (usize, bool) {
    let (mut count, mut buffer) = (0, vec![0; 64 * 1024]);
    loop {
        match tokio::time::timeout(PATIENCE, client.read(&mut buffer)).await {
            Ok(Ok(read @ 1..)) => count += read,
            Ok(Err(_)) => return (count, true),
            _ => return (count, false),
        }
    }
}

/// A client whose session has just ended: it is told, and hardly anything more arrives.
async fn assert_cut(name: &str, mut client: TcpStream) {
    assert!(is_reset_within(&client, FELT).await, "{name}: it is not told");
    let (count, was_reset) = rest_of(&mut client).await;
    assert!(was_reset && count < OWN_KERNELS, "{name}: {count} more bytes");
}

// === the authority ends ===

#[tokio::test]
async fn after_a_sessions_end_hardly_anything_of_a_download_that_is_read_slowly_arrives() {
    let world = World::start().await;
    let front = Front::of(&world, PATIENCE).await;
    for (name, address) in [("sidecar", world.sidecar.address), ("gateway", front.address)] {
        let who = world.api.session(name, "acme", &[300]);
        let mut client = begin(address, &head_of(Kind::Download, &who)).await;
        let (read, goes_on) = read_slowly(&mut client, ms(1500)).await;
        assert!(goes_on && read > 0, "{name}: {read} bytes");
        world.api.end(name);
        assert_cut(name, client).await;
    }
}

#[tokio::test]
async fn after_a_sessions_end_a_socket_that_nobody_reads_is_gone() {
    let world = World::start().await;
    let front = Front::of(&world, PATIENCE).await;
    for (name, address) in [("sidecar", world.sidecar.address), ("gateway", front.address)] {
        let who = world.api.session(name, "acme", &[300]);
        let client = begin(address, &head_of(Kind::Flood, &who)).await;
        // Long enough for every queue on the way to fill.
        tokio::time::sleep(ms(1500)).await;
        world.api.end(name);
        assert_cut(name, client).await;
    }
}

// === nothing is read ===

/// Asks, and reads nothing, until the connection is gone; whether that was soon.
async fn is_cut_while_it_asks(client: &mut TcpStream, head: &str) -> bool {
    let many = head.repeat(100);
    let asking = async { while client.write_all(many.as_bytes()).await.is_ok() {} };
    // Every queue on the way fills first, and kernels make them larger for whoever fills them.
    tokio::time::timeout(3 * PATIENCE, asking).await.is_ok()
}

#[tokio::test]
async fn nobody_holds_a_connection_by_asking_and_never_reading() {
    let world = World::start_with(&[("KYROS_WRITE_TIMEOUT", "1")], |_| ()).await;
    let front = Front::of(&world, Duration::from_secs(1)).await;
    let stranger = |dashboard: &str| {
        let target = "a".repeat(900);
        format!("GET /{target} HTTP/1.1\r\nHost: {dashboard}--acme.kyros.localhost:8080\r\nAccept: text/html\r\n\r\n")
    };
    let Who::Bearer { token, .. } = world.api.bearer("s", "acme") else { panic!("a token") };
    let known = stranger("clv").replace("Accept: text/html", &format!("Authorization: Bearer {token}"));
    for (name, address, head) in [
        ("a stranger at the sidecar", world.sidecar.address, stranger("clv")),
        ("a person at the sidecar", world.sidecar.address, known),
        ("a stranger at the gateway", front.address, stranger("clv")),
        ("a stranger at a host that names nothing", front.address, stranger("none")),
    ] {
        let mut client = begin(address, &head).await;
        assert!(is_cut_while_it_asks(&mut client, &head).await, "{name} holds a connection");
    }
}

#[tokio::test]
async fn a_socket_that_nobody_reads_ends_in_time_and_one_that_is_read_slowly_goes_on() {
    let world = World::start_with(&[("KYROS_WRITE_TIMEOUT", "1")], |_| ()).await;
    let alone = World::start().await;
    let front = Front::of(&alone, Duration::from_secs(1)).await;
    for (name, world, address) in [("sidecar", &world, world.sidecar.address), ("gateway", &alone, front.address)] {
        let head = head_of(Kind::Flood, &world.api.session("s", "acme", &[300]));
        let (unread, mut slow) = (begin(address, &head).await, begin(address, &head).await);
        let (is_gone, (read, goes_on)) =
            tokio::join!(is_reset_within(&unread, PATIENCE), read_slowly(&mut slow, ms(4000)));
        assert!(is_gone, "{name}: a socket that nobody reads is held");
        assert!(goes_on, "{name}: a socket is cut after {read} bytes that were read");
    }
}

#[tokio::test]
async fn a_download_that_is_read_slowly_goes_on() {
    let world = World::start_with(&[("KYROS_WRITE_TIMEOUT", "1")], |_| ()).await;
    let front = Front::of(&world, Duration::from_secs(1)).await;
    let head = head_of(Kind::Download, &world.api.session("s", "acme", &[300]));
    let mut clients = [begin(world.sidecar.address, &head).await, begin(front.address, &head).await];
    let [direct, through] = &mut clients;
    let (direct, through) = tokio::join!(read_slowly(direct, ms(4000)), read_slowly(through, ms(4000)));
    assert!(direct.1 && through.1, "cut after {} and {} bytes that were read", direct.0, through.0);
}

// === a gateway that stops ===

#[tokio::test]
async fn a_gateway_that_stops_says_so_on_every_socket() {
    let world = World::start().await;
    let front = Front::of(&world, PATIENCE).await;
    let mut open = Vec::new();
    for sid in ["one", "two", "three"] {
        let who = world.api.session(sid, "acme", &[300]);
        let mut client = begin(front.address, &head_of(Kind::Socket, &who)).await;
        let (head, rest) = read_head(&mut client).await.unwrap();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        open.push((client, rest));
    }
    tokio::time::sleep(ms(200)).await;
    front.stop.cancel();
    for (client, received) in &mut open {
        let ended = tokio::time::timeout(PATIENCE, client.read_to_end(received)).await;
        assert!(ended.is_ok(), "it is open still");
        assert_eq!(final_close(received), Some(1012), "{received:?}");
    }
    assert!(tokio::time::timeout(PATIENCE, front.task).await.is_ok(), "the gateway has ended");
    let deadline = Instant::now() + PATIENCE;
    while ["one", "two", "three"].iter().any(|sid| world.served(sid).ended == 0) {
        assert!(Instant::now() < deadline, "the dashboard's ends are over too");
        tokio::time::sleep(ms(10)).await;
    }
}
