//! Every tenant × dashboard × route with every kind of token: only the diagonal answers, and no other tenant's canary is in
//! any byte of an answer, a header or the log.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::StreamExt as _;
use http::{Method, StatusCode, header};
use kyros_demo_data::canary;
use kyros_shared_config::{DashboardSlug, Issuer, TenantId, clock::unix_now, crypto::random_id, issuer::TenantGrant};
use kyros_tests::{Answer, Client, Up};
use tokio_tungstenite::tungstenite::{self, client::IntoClientRequest as _};

use crate::up;

const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
const DASHBOARDS: [&str; 2] = ["clv", "risk"];
/// What the demo manifests do not grant.
const NOT_GRANTED: (&str, &str) = ("globex", "risk");

/// What a client can ask of one tenant's dashboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Data,
    Page,
    Export,
    Socket,
}
const ROUTES: [Route; 4] = [Route::Data, Route::Page, Route::Export, Route::Socket];

fn sites() -> impl Iterator<Item = (&'static str, &'static str)> {
    TENANTS.into_iter().flat_map(|tenant| DASHBOARDS.map(|dashboard| (tenant, dashboard)))
}

fn dataset(dashboard: &str) -> &'static str {
    if dashboard == "clv" { "transactions" } else { "exposures" }
}

/// Asks a route of `site` with a token of whatever kind. A socket is read up to its first message.
async fn ask(up: &Up, client: &Client, site: (&str, &str), route: Route, token: Option<&str>) -> Answer {
    let (tenant, dashboard) = site;
    let origin = up.dashboard(dashboard, tenant);
    let url = match route {
        Route::Data => format!("/api/data/{}?format=csv&limit=50000", dataset(dashboard)),
        Route::Page => format!("{origin}/"),
        Route::Export => format!("{origin}/export/{}.csv", dataset(dashboard)),
        Route::Socket => return ask_socket(up, &origin, token).await,
    };
    client.get(&url, token).await.unwrap()
}

async fn ask_socket(up: &Up, origin: &str, token: Option<&str>) -> Answer {
    let mut request = format!("{}/live", origin.replace("http://", "ws://")).into_client_request().unwrap();
    if let Some(token) = token {
        request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    }
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", up.port)).await.unwrap();
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((mut socket, response)) => {
            let first = socket.next().await.unwrap().unwrap().into_text().unwrap();
            Answer { status: response.status(), headers: response.headers().clone(), body: first.as_bytes().to_vec() }
        }
        Err(tungstenite::Error::Http(response)) => Answer {
            status: response.status(),
            headers: response.headers().clone(),
            body: response.body().clone().unwrap_or_default(),
        },
        Err(error) => panic!("{error}"),
    }
}

fn assert_no_foreign_canary(tenant: &str, text: &str, what: &str) {
    for other in TENANTS.iter().filter(|other| **other != tenant) {
        assert!(!text.contains(&canary(other)), "{other}'s canary in {what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_diagonal_answers_and_no_byte_is_anybody_elses() {
    let up = up();
    let client = Client::new(&up.portal()).unwrap();
    let mut tokens = Vec::new();
    let user = client.user_token("aud").await.unwrap();
    for site in sites() {
        let answer = client.exchange(&user, site.0, site.1).await.unwrap();
        match answer.json()["access_token"].as_str() {
            Some(token) => tokens.push((site, token.to_owned())),
            None => assert_eq!((site, answer.status), (NOT_GRANTED, StatusCode::BAD_REQUEST)),
        }
    }
    assert_eq!(tokens.len(), 5);
    let mut found = [0; ROUTES.len()];
    for (of, token) in &tokens {
        for site in sites() {
            for (index, route) in ROUTES.into_iter().enumerate() {
                let answer = ask(&up, &client, site, route, Some(token)).await;
                let what = format!("{route:?} of {site:?} with a token for {of:?}");
                assert_no_foreign_canary(of.0, &answer.everything(), &what);
                // The data API has no tenant in its path: a token reads its own dashboard's data, whoever asks.
                let is_diagonal = if route == Route::Data { dataset(of.1) == dataset(site.1) } else { *of == site };
                if is_diagonal {
                    let expected =
                        if route == Route::Socket { StatusCode::SWITCHING_PROTOCOLS } else { StatusCode::OK };
                    assert_eq!(answer.status, expected, "{what}: {}", answer.text());
                } else {
                    assert!([401, 404].contains(&answer.status.as_u16()), "{what}: {}", answer.status);
                }
                found[index] += usize::from(answer.everything().contains(&canary(of.0)));
            }
        }
    }
    let [data, _, export, _] = found;
    assert!(data >= tokens.len() && export == tokens.len(), "the hunt must be able to find something: {found:?}");

    for (kind, token) in bad_tokens(&up, &client, &user, &tokens[0].1).await {
        for site in sites() {
            for route in ROUTES {
                let answer = ask(&up, &client, site, route, token.as_deref()).await;
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{kind}: {route:?} of {site:?}");
                let seen = answer.everything();
                assert!(!TENANTS.iter().any(|tenant| seen.contains(&canary(tenant))), "{kind}: {route:?} of {site:?}");
            }
        }
    }
    let log = up.log();
    assert!(!TENANTS.iter().any(|tenant| log.contains(&canary(tenant))), "a canary in the log");
    assert!(!log.contains("eyJ"), "a token in the log: {:?}", log.lines().find(|line| line.contains("eyJ")));
}

/// One token of every kind that must open nothing.
async fn bad_tokens(up: &Up, client: &Client, user: &str, good: &str) -> Vec<(&'static str, Option<String>)> {
    let (tenant, dashboard): (TenantId, DashboardSlug) = ("acme".parse().unwrap(), "clv".parse().unwrap());
    let sign = |issuer: &Issuer, tenant_uid: &str, not_after: i64| {
        let grant = TenantGrant {
            subject: "aud",
            email: None,
            tenant: &tenant,
            tenant_uid,
            dashboard: &dashboard,
            roles: &[],
            session: &random_id(),
            client_id: "test",
            actor: None,
            not_after,
        };
        Some(issuer.tenant_token(&grant).unwrap().token.expose().clone())
    };
    let [head, claims, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let read: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    // That of the tenant there is, or its being wrong would hide what else is.
    let uid = read["tenant_uid"].as_str().unwrap();
    // The installation's own key: what is wrong with these is never the signature.
    let own = Issuer::load_or_generate(&up.portal(), &up.path("state/signing-key.pem")).unwrap();
    let renamed = Issuer::load_or_generate("http://elsewhere.localhost", &up.path("state/signing-key.pem")).unwrap();
    let foreign = Issuer::generate(&up.portal()).unwrap();
    let sound = sign(&own, uid, i64::MAX);
    for route in ROUTES {
        let status = ask(up, client, ("acme", "clv"), route, sound.as_deref()).await.status;
        assert!(
            status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS,
            "signed by hand, but sound: {status}"
        );
    }
    let middle = signature.len() / 2;
    let other = if &signature[middle..=middle] == "A" { "B" } else { "A" };
    let forged = format!("{head}.{claims}.{}{other}{}", &signature[..middle], &signature[middle + 1..]);
    let revoked = client.tenant_token("ana", "acme", "clv").await.unwrap();
    let mut kinds = vec![
        ("none", None),
        ("nonsense", Some("nonsense".to_owned())),
        ("user token", Some(user.to_owned())),
        ("workload token", Some(std::fs::read_to_string(up.path("state/workloads/clv/token")).unwrap())),
        ("forged signature", Some(forged)),
        ("no signature", Some(format!("eyJhbGciOiJub25lIiwia2lkIjoieCJ9.{claims}."))),
        ("expired", sign(&own, uid, unix_now() - 6)),
        ("another issuer's name", sign(&renamed, uid, i64::MAX)),
        ("another issuer's key", sign(&foreign, uid, i64::MAX)),
        ("revoked", Some(revoked)),
    ];
    // Ana leaves acme: what she exchanged before must end within a second.
    let path = up.path("manifests/tenants.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("    - {user: ana@acme.example, roles: [viewer, editor]}\n", "", 1)).unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let me = client.send(client.request(Method::GET, "/api/me").bearer_auth(user)).await.unwrap();
    assert_eq!(me.status, StatusCode::OK, "everybody else goes on");
    for (_, token) in &mut kinds {
        *token = token.take().map(|token| token.trim().to_owned());
    }
    kinds
}
