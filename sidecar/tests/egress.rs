//! The way out: what a dashboard can ask its sidecar for without speaking for anybody, and that it is nothing else.

mod common;

use std::net::SocketAddr;

use common::{ISSUER, Sidecar, upstream};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// What the API answers, whatever it is asked.
const KEYS: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/jwk-set+json\r\nContent-Length: 11\r\n\r\n{\"keys\":[]}";
const DASHBOARD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A sidecar with an egress, and what its API has been asked.
async fn start(extra: &[(&str, &str)]) -> (Sidecar, SocketAddr, impl Fn() -> String) {
    let (dashboard, _) = upstream(DASHBOARD).await;
    let (api, asked) = upstream(KEYS).await;
    // A port that was free a moment ago.
    let egress = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (url, listen) = (format!("http://{api}/"), egress.to_string());
    let settings = [&[("KYROS_API_URL", url.as_str()), ("KYROS_EGRESS_LISTEN", &listen)], extra].concat();
    let sidecar = Sidecar::start(dashboard, &settings).await;
    (sidecar, egress, move || asked.lock().unwrap().concat().to_ascii_lowercase())
}

async fn ask(egress: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(egress).await.unwrap();
    stream.write_all(format!("{request}Host: egress\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_dashboard_gets_the_keys_and_no_credential_goes_along() {
    let (_sidecar, egress, asked) = start(&[]).await;
    let own = "Authorization: Bearer own-secret\r\nX-Kyros-Session: own-secret\r\nCookie: own-secret=1\r\n";
    let answer = ask(egress, &format!("GET /.well-known/jwks.json HTTP/1.1\r\n{own}")).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("{\"keys\":[]}"), "{answer}");
    assert!(asked().contains("get /.well-known/jwks.json http/1.1"), "{}", asked());
    assert!(!asked().contains("own-secret"), "{}", asked());
}

#[tokio::test]
async fn a_dashboard_is_told_whose_tokens_are_for_it() {
    for (pinned, tenant) in [(&[][..], serde_json::Value::Null), (&[("KYROS_TENANT", "acme")][..], "acme".into())] {
        let (_sidecar, egress, _) = start(pinned).await;
        let answer = ask(egress, "GET /.well-known/kyros-dashboard HTTP/1.1\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let told: serde_json::Value = serde_json::from_str(body).unwrap();
        let expected = serde_json::json!({
            "issuer": ISSUER, "dashboard": "clv", "audience": "dashboard:clv", "tenant": tenant,
        });
        assert_eq!(told, expected);
    }
}

#[tokio::test]
async fn nothing_else_is_there_without_a_token() {
    let (sidecar, egress, asked) = start(&[]).await;
    for (request, status) in [
        ("GET /api/data", 401),
        ("GET /api/tenant", 401),
        ("POST /.well-known/jwks.json", 404),
        ("POST /.well-known/kyros-dashboard", 404),
        ("GET /.well-known/jwks.json/", 404),
        ("GET /.well-known/oauth-authorization-server", 404),
        ("GET /internal/sealing-key", 404),
        ("POST /oauth/token", 404),
    ] {
        let answer = ask(egress, &format!("{request} HTTP/1.1\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
    }
    for path in ["/api/", "/oauth/"] {
        assert!(!asked().contains(path), "{path} was asked of the API: {}", asked());
    }
    // Browsers reach the dashboard there, and no word of the sidecar's own.
    let answer = sidecar.ask("GET /.well-known/kyros-dashboard HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}
