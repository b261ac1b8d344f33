//! The sidecar as a program of its own, with no API: a key file, a raw upstream, and what the upstream gets to see.

mod common;

use std::time::Duration;

use common::{ISSUER, Sidecar, upstream};
use kyros_shared_config::Issuer;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: gunicorn\r\nSet-Cookie: own=1; Path=/\r\n\
                  Set-Cookie: kyros-app=stolen\r\nSet-Cookie: wide=1; Domain=localhost\r\nX-Kyros-Tenant: globex\r\n\r\nok";

#[tokio::test]
async fn without_an_api_five_settings_are_enough_for_bearer_requests() {
    let (address, seen) = upstream(OK).await;
    let sidecar = Sidecar::start(address, &[]).await;
    let token = sidecar.token("acme", "clv");
    let request = format!(
        "GET /a?b=c HTTP/1.1\r\nHost: anything\r\nAuthorization: Bearer {token}\r\nX-Kyros-Tenant: globex\r\n\
         X-Forwarded-For: 6.6.6.6\r\nCookie: own=1; kyros-app=x\r\nTE: trailers\r\nConnection: close\r\n\r\n"
    );
    let answer = sidecar.ask(&request).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let forwarded = seen.lock().unwrap()[0].to_ascii_lowercase();
    for expected in [
        "get /a?b=c http/1.1",
        "x-kyros-tenant: acme",
        "x-kyros-dashboard: clv",
        "x-kyros-user: ana",
        "x-kyros-email: ana@acme.example",
        "x-kyros-roles: viewer",
        "x-kyros-session: s1",
        "x-forwarded-for: 127.0.0.1",
        "host: anything",
        "cookie: own=1\r\n",
    ] {
        assert!(forwarded.contains(expected), "{expected}\n{forwarded}");
    }
    for banned in ["globex", "6.6.6.6", "kyros-app", "te: trailers"] {
        assert!(!forwarded.contains(banned), "{banned}\n{forwarded}");
    }
    let answer = answer.to_ascii_lowercase();
    assert!(answer.contains("set-cookie: own=1") && answer.contains("cache-control: private"));
    for banned in ["gunicorn", "kyros-app", "domain=", "x-kyros-tenant"] {
        assert!(!answer.contains(banned), "{banned}\n{answer}");
    }
}

#[tokio::test]
async fn every_other_token_is_401_and_reaches_nobody() {
    let (address, seen) = upstream(OK).await;
    let sidecar = Sidecar::start(address, &[("KYROS_TENANT", "acme")]).await;
    let foreign = Issuer::generate(ISSUER).unwrap().workload_token("dashboard:clv").unwrap();
    let other_tenant = sidecar.token("globex", "clv");
    let other_dashboard = sidecar.token("acme", "risk");
    for authorization in [
        String::new(),
        "Authorization: Bearer nonsense\r\n".to_owned(),
        "Authorization: Basic YTpi\r\n".to_owned(),
        format!("Authorization: Bearer {}\r\n", foreign.token.expose()),
        format!("Authorization: Bearer {other_tenant}\r\n"),
        format!("Authorization: Bearer {other_dashboard}\r\n"),
        format!("Cookie: kyros-app={}\r\n", sidecar.token("acme", "clv")),
    ] {
        let answer = sidecar.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\n{authorization}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{authorization}\n{answer}");
        assert!(answer.contains("connection: close") && answer.contains("WWW-Authenticate".to_lowercase().as_str()));
    }
    assert!(seen.lock().unwrap().is_empty(), "{:?}", seen.lock().unwrap());
    let right = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n", sidecar.token("acme", "clv"));
    assert!(sidecar.ask(&right).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_and_a_dead_dashboard_503() {
    let (address, seen) = upstream(OK).await;
    let sidecar = Sidecar::start(address, &[("KYROS_MAX_BODY_BYTES", "10")]).await;
    let head = format!("Host: a\r\nAuthorization: Bearer {}\r\n", sidecar.token("acme", "clv"));
    let answer = sidecar.ask(&format!("POST / HTTP/1.1\r\n{head}Content-Length: 11\r\n\r\nhello world")).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(seen.lock().unwrap().is_empty(), "refused before the dashboard is asked");
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let sidecar = Sidecar::start(dead, &[]).await;
    let token = sidecar.token("acme", "clv");
    let answer = sidecar.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1"), "{answer}");
}

#[tokio::test]
async fn a_dashboard_cannot_switch_protocols_unasked() {
    let (address, _) = upstream("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n").await;
    let sidecar = Sidecar::start(address, &[]).await;
    let token = sidecar.token("acme", "clv");
    let answer = sidecar.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
}

#[tokio::test]
async fn a_large_answer_that_comes_in_one_piece_is_taken_whole() {
    let body = "k".repeat(1024 * 1024);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let (address, _) = upstream(answer.leak()).await;
    let sidecar = Sidecar::start(address, &[]).await;
    let token = sidecar.token("acme", "clv");
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n");
    for _ in 0..200 {
        let answer = sidecar.ask(&format!("{head}Connection: close\r\n\r\n")).await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with(&body[..1000]),
            "{}",
            &answer[..300.min(answer.len())]
        );
        assert!(answer.len() > body.len());
    }
}

#[tokio::test]
async fn an_upload_takes_as_long_as_it_takes_and_only_then_the_dashboards_time_begins() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    read.extend_from_slice(&buffer[..count]);
                    // A dashboard that has read the upload "deaf" does not answer it.
                    if read.ends_with(b"0\r\n\r\n") && !read.windows(4).any(|window| window == b"deaf") {
                        stream.write_all(OK.as_bytes()).await.unwrap();
                    }
                }
            });
        }
    });
    let sidecar = Sidecar::start(address, &[("KYROS_UPSTREAM_TIMEOUT", "1")]).await;
    let token = sidecar.token("acme", "clv");
    for (last, expected) in [("good", "HTTP/1.1 200"), ("deaf", "HTTP/1.1 504")] {
        let mut stream = TcpStream::connect(sidecar.address).await.unwrap();
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n");
        stream
            .write_all(format!("{head}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n").as_bytes())
            .await
            .unwrap();
        for _ in 0..5 {
            stream.write_all(b"4\r\nmore\r\n").await.unwrap();
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        stream.write_all(format!("4\r\n{last}\r\n0\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(expected), "{last}: {answer}");
    }
}
