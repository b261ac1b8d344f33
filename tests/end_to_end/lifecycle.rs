//! Starts, stops, changes and failures while people are at work.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use http::{StatusCode, header};
use kyros_tests::{BrowserLike, Client, Up};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _};

use crate::{import, up};

/// Promise 3 of the design: from the change to the last socket.
pub(crate) const ONE_SECOND: Duration = Duration::from_secs(1);

pub(crate) type Socket = tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>;

/// A dashboard's live socket, opened as a page of its own would.
async fn open_socket(up: &Up, profile: &BrowserLike, dashboard: &str, tenant: &str) -> Socket {
    open_socket_at(&up.dashboard(dashboard, tenant), up.port, profile).await
}

/// The same on any origin that this machine serves on `port`.
pub(crate) async fn open_socket_at(origin: &str, port: u16, profile: &BrowserLike) -> Socket {
    let mut request = origin.replace("http://", "ws://").into_client_request().unwrap();
    *request.uri_mut() = format!("{}/live", origin.replace("http://", "ws://")).parse().unwrap();
    let headers = request.headers_mut();
    headers.insert(header::COOKIE, profile.cookie_header(origin).unwrap().parse().unwrap());
    headers.insert(header::ORIGIN, origin.parse().unwrap());
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let hello = socket.next().await.unwrap().unwrap().into_text().unwrap();
    let tenant = origin.split_once("--").unwrap().1.split('.').next().unwrap();
    assert!(hello.contains(tenant), "{hello}");
    socket
}

/// The code with which the socket is closed.
pub(crate) async fn closed(socket: &mut Socket, patience: Duration) -> Option<u16> {
    let code = tokio::time::timeout(patience, async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| u16::from(frame.code)),
                Some(Ok(_)) => (),
                Some(Err(_)) | None => return None,
            }
        }
    });
    code.await.expect("the socket closes in time")
}

/// A profile that is signed in and has opened a dashboard.
async fn at_work(up: &Up, sub: &str, dashboard: &str, tenant: &str) -> BrowserLike {
    let mut profile = BrowserLike::new(Client::new(&up.portal()).unwrap());
    profile.sign_in(sub).await.unwrap();
    let (_, page) = profile.navigate(&format!("{}/", up.dashboard(dashboard, tenant))).await.unwrap();
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    profile
}

pub(crate) fn edit_manifest(up: &Up, file: &str, from: &str, to: &str) {
    let path = up.path("manifests").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from:?} in {file}");
    std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn logout_ends_every_socket_with_4001_within_a_second() {
    let up = up();
    let mut aud = at_work(&up, "aud", "clv", "acme").await;
    aud.navigate(&format!("{}/", up.dashboard("clv", "globex"))).await.unwrap();
    let mut bob = at_work(&up, "bob", "clv", "globex").await;
    let mut first = open_socket(&up, &aud, "clv", "acme").await;
    let mut second = open_socket(&up, &aud, "clv", "globex").await;
    let mut other = open_socket(&up, &bob, "clv", "globex").await;
    let began = Instant::now();
    aud.sign_out().await.unwrap();
    for socket in [&mut first, &mut second] {
        assert_eq!(closed(socket, Duration::from_secs(5)).await, Some(4001));
    }
    assert!(began.elapsed() < ONE_SECOND, "{:?}", began.elapsed());
    let stays = tokio::time::timeout(Duration::from_millis(500), other.next()).await;
    assert!(stays.is_err(), "somebody else's socket stays open: {stays:?}");
    let handles = aud.cookie_header(&up.dashboard("clv", "acme")).unwrap();
    for handle in handles.split("; ").filter_map(|cookie| cookie.split_once('=').map(|(_, value)| value)) {
        assert!(!up.log().contains(handle), "a session's handle in the log");
    }
    let (url, _) = aud.navigate(&format!("{}/", up.dashboard("clv", "acme"))).await.unwrap();
    assert!(url.contains("/login"), "{url}");
    let (_, page) = bob.navigate(&format!("{}/", up.dashboard("clv", "globex"))).await.unwrap();
    assert_eq!(page.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn suspension_and_lost_grants_end_sockets_and_tokens_within_a_second() {
    let up = up();
    let client = Client::new(&up.portal()).unwrap();
    let mut ana = at_work(&up, "ana", "clv", "acme").await;
    ana.navigate(&format!("{}/", up.dashboard("clv", "globex"))).await.unwrap();
    let exchanged = client.tenant_token("ana", "acme", "clv").await.unwrap();
    let mut acme = open_socket(&up, &ana, "clv", "acme").await;
    let mut globex = open_socket(&up, &ana, "clv", "globex").await;

    let began = Instant::now();
    edit_manifest(&up, "tenants.yaml", "displayName: Acme Retail\n", "displayName: Acme Retail\n  suspended: true\n");
    assert_eq!(closed(&mut acme, Duration::from_secs(5)).await, Some(4001));
    assert!(began.elapsed() < ONE_SECOND, "{:?}", began.elapsed());
    assert_eq!(client.get("/api/data", Some(&exchanged)).await.unwrap().status, StatusCode::UNAUTHORIZED);
    let page = client.get(&format!("{}/", up.dashboard("clv", "acme")), Some(&exchanged)).await.unwrap();
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    assert_eq!(client.exchange(&client.user_token("ana").await.unwrap(), "acme", "clv").await.unwrap().status, 400);

    let (_, closed_tenant) = ana.navigate("/t/acme").await.unwrap();
    assert!(closed_tenant.text().contains("Acme Retail is suspended"));
    let (_, closed_dashboard) = ana.navigate(&format!("{}/", up.dashboard("clv", "acme"))).await.unwrap();
    assert_eq!(closed_dashboard.status, StatusCode::FORBIDDEN);
    assert!(closed_dashboard.text().contains("Acme Retail is suspended"), "a member is told why");
    let mut bob = at_work(&up, "bob", "clv", "globex").await;
    let (_, nothing) = bob.navigate(&format!("{}/", up.dashboard("clv", "acme"))).await.unwrap();
    assert_eq!(nothing.status, StatusCode::NOT_FOUND, "to others it is not there");

    let began = Instant::now();
    edit_manifest(&up, "tenants.yaml", "    - {user: ana@acme.example, roles: [viewer]}\n", "");
    assert_eq!(closed(&mut globex, Duration::from_secs(5)).await, Some(4001));
    assert!(began.elapsed() < ONE_SECOND, "{:?}", began.elapsed());

    edit_manifest(&up, "tenants.yaml", "  suspended: true\n", "");
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let (_, page) = ana.navigate(&format!("{}/", up.dashboard("clv", "acme"))).await.unwrap();
    assert_eq!(page.status, StatusCode::OK, "the tenant is back, and so is its session");
    let (_, page) = ana.navigate(&format!("{}/", up.dashboard("clv", "globex"))).await.unwrap();
    assert_eq!(page.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_keys_survive_kill_nine_and_a_restart() {
    let up = up();
    let mut ana = at_work(&up, "ana", "clv", "acme").await;
    let client = Client::new(&up.portal()).unwrap();
    let token = client.tenant_token("ana", "acme", "clv").await.unwrap();
    let keys = client.get("/.well-known/jwks.json", None).await.unwrap().text();
    let up = up.restart().unwrap();
    let client = Client::new(&up.portal()).unwrap();
    assert_eq!(client.get("/.well-known/jwks.json", None).await.unwrap().text(), keys);
    assert_eq!(client.get("/api/tenant", Some(&token)).await.unwrap().status, StatusCode::OK);
    let (url, page) = ana.navigate(&format!("{}/", up.dashboard("clv", "acme"))).await.unwrap();
    assert_eq!((page.status, url), (StatusCode::OK, format!("{}/", up.dashboard("clv", "acme"))));
    let (_, tenants) = ana.navigate("/tenants").await.unwrap();
    assert!(tenants.text().contains("Globex Subscriptions"));
    ana.sign_out().await.unwrap();
    let up = up.restart().unwrap();
    let (url, _) = ana.navigate(&format!("{}/", up.dashboard("clv", "acme"))).await.unwrap();
    assert!(url.contains("/login"), "a logout survives too: {url}");
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_lost_while_everything_was_down_are_enforced_at_the_start() {
    let mut up = up();
    let client = Client::new(&up.portal()).unwrap();
    let ivy = client.tenant_token("ivy", "initech", "risk").await.unwrap();
    let aud = client.tenant_token("aud", "initech", "risk").await.unwrap();
    let bob = client.tenant_token("bob", "globex", "clv").await.unwrap();
    up.kill();
    edit_manifest(&up, "tenants.yaml", "    - {user: ivy@initech.example, roles: [viewer, editor]}\n", "");
    let suspended = "displayName: Globex Subscriptions\n  suspended: true\n";
    edit_manifest(&up, "tenants.yaml", "displayName: Globex Subscriptions\n", suspended);
    let up = up.restart().unwrap();
    let client = Client::new(&up.portal()).unwrap();
    let dashboard = |dashboard, tenant| format!("{}/", up.dashboard(dashboard, tenant));
    for (token, page, data, expected) in [
        (&ivy, dashboard("risk", "initech"), "exposures", StatusCode::UNAUTHORIZED),
        (&bob, dashboard("clv", "globex"), "transactions", StatusCode::UNAUTHORIZED),
        (&aud, dashboard("risk", "initech"), "exposures", StatusCode::OK),
    ] {
        assert_eq!(client.get(&format!("/api/data/{data}?limit=1"), Some(token)).await.unwrap().status, expected);
        assert_eq!(client.get(&page, Some(token)).await.unwrap().status, expected, "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_exchange_that_was_answered_before_kill_nine_is_reached_by_a_grant_lost_after_it() {
    let mut up = up();
    let client = Client::new(&up.portal()).unwrap();
    let ivy = client.user_token("ivy").await.unwrap();
    let exchange = async || -> Vec<String> {
        let mut answered = Vec::new();
        while let Ok(answer) = client.exchange(&ivy, "initech", "risk").await {
            answered.extend(answer.json()["access_token"].as_str().map(str::to_owned));
        }
        answered
    };
    let kill = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        up.kill();
    };
    let (tokens, ()) = tokio::join!(futures_util::future::join_all((0..16).map(|_| exchange())), kill);
    let tokens = tokens.concat();
    assert!(tokens.len() > 16, "{} exchanges", tokens.len());

    let up = up.restart().unwrap();
    let client = Client::new(&up.portal()).unwrap();
    let status = async |token: &String| client.get("/api/tenant", Some(token)).await.unwrap().status;
    for token in &tokens {
        assert_eq!(status(token).await, StatusCode::OK);
    }
    edit_manifest(&up, "tenants.yaml", "    - {user: ivy@initech.example, roles: [viewer, editor]}\n", "");
    let deadline = Instant::now() + Duration::from_secs(5);
    while status(&tokens[0]).await == StatusCode::OK {
        assert!(Instant::now() < deadline, "the grant is lost");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for token in &tokens {
        assert_eq!(status(token).await, StatusCode::UNAUTHORIZED, "used before, and verified then");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_it_cleanly_with_sockets_told_to_come_back() {
    let up = up();
    let ana = at_work(&up, "ana", "clv", "acme").await;
    let mut socket = open_socket(&up, &ana, "clv", "acme").await;
    let stopping = tokio::task::spawn_blocking(move || up.interrupt());
    assert_eq!(closed(&mut socket, Duration::from_secs(5)).await, Some(1012));
    assert!(stopping.await.unwrap().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_and_a_used_state_folder_are_clear_sentences() {
    let up = up();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_kyros"));
    let taken = Up::command(program, up.home.path(), up.port).output().unwrap();
    let said = String::from_utf8_lossy(&taken.stderr);
    assert!(!taken.status.success());
    assert!(said.contains(&format!("port {} of 127.0.0.1 is taken", up.port)), "{said}");
    assert!(said.contains("kyros up --listen 127.0.0.1:0 --state OTHER_FOLDER"), "{said}");
    let used = Up::command(program, up.home.path(), 0).output().unwrap();
    let said = String::from_utf8_lossy(&used.stderr);
    assert!(!used.status.success() && said.contains("another kyros up uses the state folder"), "{said}");
    let public = Command::new(program).args(["up", "--listen", "0.0.0.0:0"]).output().unwrap();
    assert!(String::from_utf8_lossy(&public.stderr).contains("not loopback"));
    let elsewhere = tempfile::TempDir::new().unwrap();
    let arguments = ["up", "--listen", "127.0.0.1:0"];
    let lost = Command::new(program).args(arguments).current_dir(elsewhere.path()).output().unwrap();
    assert!(String::from_utf8_lossy(&lost.stderr).contains("give that of your manifests with --manifests"), "{lost:?}");
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0, "nothing is made where it was not meant");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_whether_anybody_reads_what_it_prints_or_not() {
    let up = up();
    let (home, port) = (up.home.clone(), up.port);
    assert!(up.interrupt().unwrap().success());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_kyros"));
    let mut again = Up::command(program, home.path(), port).stdout(writer).stderr(Stdio::null()).spawn().unwrap();
    let client = Client::new(&format!("http://kyros.localhost:{port}")).unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    while client.get("/mock/people", None).await.is_err() {
        assert!(again.try_wait().unwrap().is_none() && Instant::now() < deadline, "it is reachable");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // It prints once it is.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(again.try_wait().unwrap().is_none(), "it goes on");
    assert!(Command::new("kill").args(["-INT", &again.id().to_string()]).status().unwrap().success());
    assert!(again.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_manifest_leaves_the_last_good_set_and_says_where() {
    let up = up();
    let client = Client::new(&up.portal()).unwrap();
    edit_manifest(&up, "tenants.yaml", "displayName: Globex Subscriptions", "displayNam: Globex");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !up.log().contains("displayNam") {
        assert!(Instant::now() < deadline, "the mistake is reported");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(up.log().contains("tenants.yaml:23: unknown field"), "{}", up.log());
    assert!(client.tenant_token("bob", "globex", "clv").await.is_ok());
    edit_manifest(&up, "tenants.yaml", "displayNam: Globex", "displayName: Globex Renamed");
    let token = client.tenant_token("bob", "globex", "clv").await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while client.get("/api/tenant", Some(&token)).await.unwrap().json()["display_name"] != "Globex Renamed" {
        assert!(Instant::now() < deadline, "the mended set takes effect");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    while !up.log().contains("the manifests are right again") {
        assert!(Instant::now() < deadline, "the end of it is told too");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let validate = |folder: &std::path::Path| {
        Command::new(env!("CARGO_BIN_EXE_kyros")).arg("validate").arg(folder).output().unwrap()
    };
    assert!(validate(&up.path("manifests")).status.success());
    edit_manifest(&up, "dashboards.yaml", "transport: Unix", "transport: Pipe");
    let bad = validate(&up.path("manifests"));
    assert!(!bad.status.success());
    assert!(String::from_utf8_lossy(&bad.stderr).contains("dashboards.yaml:10"), "{bad:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_file_takes_down_its_own_dataset_alone_and_an_import_heals_it() {
    let up = up();
    let client = Client::new(&up.portal()).unwrap();
    let token = client.tenant_token("aud", "acme", "risk").await.unwrap();
    let pnl = up.path("data/tenants/acme/risk/pnl.parquet");
    let whole = std::fs::read(&pnl).unwrap();
    std::fs::write(&pnl, &whole[..whole.len() / 2]).unwrap();
    let broken = client.get("/api/data/pnl", Some(&token)).await.unwrap();
    assert_eq!(broken.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(broken.json()["type"], "urn:kyros:problem:dataset-unavailable");
    assert!(!broken.text().contains("parquet"), "nothing of the file system is echoed: {}", broken.text());
    assert_eq!(client.get("/api/data/exposures?limit=1", Some(&token)).await.unwrap().status, StatusCode::OK);

    let csv = up.path("new.csv");
    std::fs::write(&csv, "date,desk,pnl\n2026-01-01,Rates,1.5\n2026-01-02,Rates,-2.5\n").unwrap();
    let imported = import(&up, &csv, "acme", "risk", "pnl");
    let said = String::from_utf8_lossy(&imported.stdout);
    assert!(imported.status.success() && said.contains("2 rows") && said.contains("date"), "{imported:?}");
    // A changed file counts once it has been left alone for a moment.
    let mut healed = client.get("/api/data/pnl?format=csv", Some(&token)).await.unwrap();
    for _ in 0..100 {
        if healed.status == StatusCode::OK {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        healed = client.get("/api/data/pnl?format=csv", Some(&token)).await.unwrap();
    }
    assert_eq!(healed.text().lines().nth(1), Some("2026-01-01,Rates,1.5"));
    std::fs::write(up.path("bad.parquet"), "PAR1").unwrap();
    let refused = import(&up, &up.path("bad.parquet"), "acme", "risk", "pnl");
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("nothing changed"), "{refused:?}");
    assert_eq!(client.get("/api/data/pnl?format=csv", Some(&token)).await.unwrap().text(), healed.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_has_every_row_of_a_dataset_larger_than_a_page() {
    let up = up();
    let mut csv = String::from("customer_id,order_date,revenue\n");
    for row in 0..120_001 {
        csv.push_str(&format!("C{row},2026-01-01,1.5\n"));
    }
    std::fs::write(up.path("large.csv"), csv).unwrap();
    let imported = import(&up, &up.path("large.csv"), "globex", "clv", "transactions");
    assert!(imported.status.success(), "{imported:?}");
    let client = Client::new(&up.portal()).unwrap();
    let token = client.tenant_token("bob", "globex", "clv").await.unwrap();
    let export = format!("{}/export/transactions.csv", up.dashboard("clv", "globex"));
    let text = client.get(&export, Some(&token)).await.unwrap().text();
    assert_eq!(text.lines().count(), 120_002);
    assert_eq!(text.lines().last().map(|line| line.split(',').next().unwrap()), Some("C120000"));
    assert_eq!(text.matches("customer_id").count(), 1, "one header");
}
