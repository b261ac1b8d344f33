//! What an outsider and a hostile neighbour try, and the answer each gets.

use std::time::Duration;

use http::{Method, StatusCode, header};
use kyros_tests::{Answer, BrowserLike, Client};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::up;

/// An answer without what differs from one answer to the next.
fn shape(answer: &Answer) -> (StatusCode, Vec<String>, String) {
    let strip = |text: &str| {
        let mut out = text.to_owned();
        for marker in ["state=", "code_challenge=", "kyros-tx-", "urn:kyros:decision:", "<code>"] {
            while let Some(start) = out.find(marker).filter(|start| !out[start + marker.len()..].starts_with('*')) {
                let begin = start + marker.len();
                let end = out[begin..].find(['&', ';', '"', '<']).map_or(out.len(), |end| begin + end);
                out.replace_range(begin..end, "*");
            }
        }
        out
    };
    let mut headers: Vec<String> = answer
        .headers
        .iter()
        .filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {}", strip(value.to_str().unwrap_or_default())))
        .collect();
    headers.sort();
    (answer.status, headers, strip(&answer.text()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_names_nothing_answers_as_a_real_one_until_sign_in() {
    let up = up();
    let client = Client::new(&up.portal()).unwrap();
    let hosts = [("clv", "acme"), ("clv", "nobody"), ("xyz", "acme"), ("xyz", "abcd")];
    for navigation in [true, false] {
        for (cookie, bearer, path) in [
            (None, None, "/?x=1"),
            (Some("kyros-app=forged-handle"), None, "/"),
            (Some("kyros-app=a; kyros-app=b"), None, "/"),
            (None, Some("a.b.c"), "/"),
            (None, None, "/.kyros/callback?code=c&state=s"),
            (None, None, "/.kyros/embed.js"),
            (None, None, "/.kyros/anything"),
        ] {
            let mut answers = Vec::new();
            for (dashboard, tenant) in hosts {
                let mut request = client.request(Method::GET, &format!("{}{path}", up.dashboard(dashboard, tenant)));
                if navigation {
                    request = request.header("sec-fetch-mode", "navigate").header("sec-fetch-dest", "document");
                }
                if let Some(cookie) = cookie {
                    request = request.header(header::COOKIE, cookie);
                }
                if let Some(bearer) = bearer {
                    request = request.bearer_auth(bearer);
                }
                if !navigation {
                    request = request.header("sec-fetch-site", "same-site").header("sec-fetch-mode", "cors");
                }
                let (status, headers, body) = shape(&client.send(request).await.unwrap());
                // The redirect names the host that was asked for; nothing else may differ.
                let neutral = |text: &str| {
                    text.replace(&format!("{dashboard}--{tenant}"), "HOST")
                        .replace(&format!("dashboard%3A{dashboard}"), "D")
                };
                answers.push((status, headers.iter().map(|line| neutral(line)).collect::<Vec<_>>(), neutral(&body)));
            }
            for answer in &answers[1..] {
                assert_eq!(*answer, answers[0], "{path} cookie {cookie:?} bearer {bearer:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_in_person_cannot_tell_what_exists_beyond_their_grants() {
    let up = up();
    let client = Client::new(&up.portal()).unwrap();
    let mut bob = BrowserLike::new(client.clone());
    bob.sign_in("bob").await.unwrap();
    let mut shapes = Vec::new();
    for (dashboard, tenant) in [("clv", "acme"), ("clv", "nobody"), ("nothing", "globex"), ("risk", "initech")] {
        let (url, answer) = bob.navigate(&format!("{}/", up.dashboard(dashboard, tenant))).await.unwrap();
        assert!(url.starts_with(&up.portal()), "{url}");
        shapes.push(shape(&answer));
        let (_, page) = bob.navigate(&format!("/t/{tenant}/d/{dashboard}")).await.unwrap();
        assert_eq!(page.status, StatusCode::NOT_FOUND);
        let (_, standing) = bob.navigate(&format!("/session?tenant={tenant}&dashboard={dashboard}")).await.unwrap();
        assert_eq!(standing.json()["state"], "not-granted", "{tenant} {dashboard}");
    }
    assert!(shapes.iter().all(|shape| *shape == shapes[0] && shape.0 == StatusCode::NOT_FOUND));
    let (_, own) = bob.navigate(&format!("{}/", up.dashboard("clv", "globex"))).await.unwrap();
    assert_eq!(own.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_opens_its_own_host_and_only_from_its_own_pages() {
    let up = up();
    let client = Client::new(&up.portal()).unwrap();
    let mut aud = BrowserLike::new(client.clone());
    aud.sign_in("aud").await.unwrap();
    let (clv, risk) = (up.dashboard("clv", "acme"), up.dashboard("clv", "globex"));
    aud.navigate(&format!("{clv}/")).await.unwrap();
    let cookie = aud.cookie_header(&clv).unwrap();
    let ask = |method: Method, url: String, extra: Vec<(&'static str, String)>| {
        let mut request = client.request(method, &url).header(header::COOKIE, cookie.clone());
        for (name, value) in extra {
            request = request.header(name, value);
        }
        client.send(request)
    };
    assert_eq!(ask(Method::GET, format!("{clv}/"), vec![]).await.unwrap().status, StatusCode::OK);
    assert_eq!(ask(Method::GET, format!("{risk}/"), vec![]).await.unwrap().status, StatusCode::UNAUTHORIZED);
    let cross = vec![("sec-fetch-site", "same-site".to_owned()), ("sec-fetch-mode", "no-cors".to_owned())];
    assert_eq!(ask(Method::GET, format!("{clv}/"), cross).await.unwrap().status, StatusCode::FORBIDDEN);
    for origin in [None, Some(up.portal()), Some(risk.clone()), Some("null".to_owned())] {
        let headers: Vec<_> = origin.iter().map(|origin| ("origin", origin.clone())).collect();
        let posted = ask(Method::POST, format!("{clv}/"), headers.clone()).await.unwrap();
        assert_eq!(posted.status, StatusCode::FORBIDDEN, "POST from {origin:?}");
        let mut upgrade = headers;
        upgrade.extend([
            ("connection", "Upgrade".to_owned()),
            ("upgrade", "websocket".to_owned()),
            ("sec-websocket-version", "13".to_owned()),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==".to_owned()),
        ]);
        let socket = ask(Method::GET, format!("{clv}/live"), upgrade).await.unwrap();
        assert_eq!(socket.status, StatusCode::FORBIDDEN, "socket from {origin:?}");
    }
    let own = ask(Method::POST, format!("{clv}/"), vec![("origin", clv.clone())]).await.unwrap();
    assert_eq!(own.status, StatusCode::METHOD_NOT_ALLOWED, "the dashboard itself answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_from_elsewhere_sign_nobody_in_or_out_and_change_nothing() {
    let up = up();
    let client = Client::new(&up.portal()).unwrap();
    let mut ana = BrowserLike::new(client.clone());
    let without_csrf = ana.post("/login", &[("sub", "ana"), ("csrf", "guess")]).await.unwrap();
    assert_eq!(without_csrf.status, StatusCode::FORBIDDEN);
    ana.sign_in("ana").await.unwrap();
    let logout = ana.post("/logout", &[("csrf", "guess")]).await.unwrap();
    assert_eq!(logout.status, StatusCode::FORBIDDEN);
    let theme =
        ana.post("/theme", &[("csrf", "guess"), ("theme", "dark"), ("return_to", "//evil.example")]).await.unwrap();
    assert_eq!(theme.status, StatusCode::FORBIDDEN);
    let (_, tenants) = ana.navigate("/tenants").await.unwrap();
    assert!(tenants.text().contains("Acme Retail"));
}

/// Sends raw bytes to the gateway and reads until it closes or falls silent.
async fn raw(port: u16, bytes: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(3), stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_two_parsers_read_differently_are_refused_and_the_connection_closed() {
    let up = up();
    let client = Client::new(&up.portal()).unwrap();
    let token = client.tenant_token("ana", "acme", "clv").await.unwrap();
    let host = format!("clv--acme.kyros.localhost:{}", up.port);
    let head = format!("Host: {host}\r\nAuthorization: Bearer {token}\r\n");
    let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    for (request, status) in [
        (format!("POST / HTTP/1.1\r\n{head}Transfer-Encoding: gzip, chunked\r\n\r\n{smuggled}"), "400"),
        (format!("POST / HTTP/1.1\r\n{head}Content-Length: 5\r\nContent-Length: 6\r\n\r\n{smuggled}"), "400"),
        (format!("POST / HTTP/1.1\r\n{head}Content-Length: +5\r\n\r\n{smuggled}"), "400"),
        (format!("GET / HTTP/1.1\r\n{head}Host: {host}\r\n\r\n"), "400"),
        (format!("GET / HTTP/1.1\r\nAuthorization: Bearer {token}\r\n\r\n"), "400"),
        (format!("GET http://evil/ HTTP/1.1\r\n{head}\r\n"), "400"),
        (format!("GET /../x HTTP/1.1\r\n{head}\r\n"), "400"),
        (format!("GET / HTTP/1.1\r\n{head}X_Kyros_Tenant: globex\r\n\r\n"), "400"),
        (format!("GET / HTTP/1.1\r\n{head}Connection: close, authorization\r\n\r\n"), "400"),
        (format!("TRACE / HTTP/1.1\r\n{head}\r\n"), "405"),
        (format!("GET / HTTP/1.1\r\n{head}Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"), "400"),
    ] {
        let answer = raw(up.port, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}\n{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "one answer only: {answer}");
    }
}
