//! Clients that read slowly, or not at all: who lives goes on, who takes nothing is cut off, and a cut is a cut.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use kyros_http_server::{Connection, Limits, serve};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest},
    net::{TcpListener, TcpSocket, TcpStream},
};
use tokio_util::sync::CancellationToken;

const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(10);

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A server whose answers have so many bytes, and the connection that asked last.
async fn start(write_timeout: Duration, size: usize) -> (SocketAddr, Arc<Mutex<Option<Connection>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (body, last) = (Bytes::from(vec![b'x'; size]), Arc::new(Mutex::new(None)));
    let told = last.clone();
    let service = move |_: Request<Incoming>, connection: Connection| {
        *told.lock().unwrap() = Some(connection);
        let answer = Response::new(Full::new(body.clone()));
        async move { answer }
    };
    let limits = Limits { write_timeout, ..Limits::default() };
    tokio::spawn(serve(listener, limits, service, CancellationToken::new()));
    (address, last)
}

/// A client whose kernel takes in little that it does not read.
async fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(128 * 1024).unwrap();
    socket.connect(address).await.unwrap()
}

async fn is_reset(client: &TcpStream) -> bool {
    tokio::time::timeout(PATIENCE, client.ready(Interest::ERROR)).await.is_ok()
}

/// Reads to the end, whatever that is: how much came, and whether it was a reset.
async fn rest_of(client: &mut TcpStream) -> (usize, bool) {
    let (mut count, mut buffer) = (0, vec![0; 64 * 1024]);
    loop {
        match client.read(&mut buffer).await {
            Ok(0) => return (count, false),
            Ok(read) => count += read,
            Err(_) => return (count, true),
        }
    }
}

#[tokio::test]
async fn a_client_that_asks_on_and_on_and_never_reads_is_cut_off() {
    let (address, _) = start(ms(300), 20_000).await;
    let mut client = connect(address).await;
    let many = ASK.repeat(1000);
    // Until nothing more is taken.
    while let Ok(Ok(())) = tokio::time::timeout(ms(200), client.write_all(&many)).await {}
    assert!(is_reset(&client).await, "it holds its place for ever");
    assert!(rest_of(&mut client).await.0 < 1024 * 1024);
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_all_of_its_answer() {
    const SIZE: usize = 12 * 1024 * 1024;
    let (address, _) = start(ms(700), SIZE).await;
    let mut client = connect(address).await;
    client.write_all(ASK).await.unwrap();
    let (began, mut count, mut buffer) = (Instant::now(), 0, vec![0; 64 * 1024]);
    while count < SIZE {
        match client.read(&mut buffer).await {
            Ok(read @ 1..) => count += read,
            end => panic!("{end:?} after {count} bytes and {:?}", began.elapsed()),
        }
        tokio::time::sleep(ms(8)).await;
    }
    assert!(began.elapsed() > ms(1000), "it took longer than a client may take nothing: {:?}", began.elapsed());
}

#[tokio::test]
async fn of_an_answer_that_is_cut_nothing_more_is_sent() {
    let (address, last) = start(PATIENCE, 64 * 1024 * 1024).await;
    let mut client = connect(address).await;
    client.write_all(ASK).await.unwrap();
    // Long enough for every queue on the way to fill.
    tokio::time::sleep(ms(300)).await;
    last.lock().unwrap().take().unwrap().cut();
    assert!(is_reset(&client).await);
    let (count, was_reset) = rest_of(&mut client).await;
    assert!(was_reset && count < 384 * 1024, "{count} more bytes");
}
