//! Every tenant × dashboard × route with every kind of token: only the diagonal answers, and no other tenant's canary is in
//! any byte of an answer, a header or the log.

use http::{Method, StatusCode};
use kyros_demo_data::canary;
use kyros_tests::{Answer, Client, Up};

use crate::up;

const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
const SITES: [(&str, &str); 5] =
    [("acme", "clv"), ("acme", "risk"), ("globex", "clv"), ("initech", "clv"), ("initech", "risk")];

/// What a client can ask of one tenant's dashboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Data,
    Page,
    Export,
    Socket,
}
const ROUTES: [Route; 4] = [Route::Data, Route::Page, Route::Export, Route::Socket];

fn dataset(dashboard: &str) -> &'static str {
    if dashboard == "clv" { "transactions" } else { "exposures" }
}

/// Asks a route of `site` with a token of whatever kind.
async fn ask(up: &Up, client: &Client, site: (&str, &str), route: Route, token: Option<&str>) -> Answer {
    let (tenant, dashboard) = site;
    let origin = up.dashboard(dashboard, tenant);
    let url = match route {
        Route::Data => format!("/api/data/{}?format=csv&limit=50000", dataset(dashboard)),
        Route::Page => format!("{origin}/"),
        Route::Export => format!("{origin}/export/{}.csv", dataset(dashboard)),
        Route::Socket => format!("{origin}/live"),
    };
    let mut request = client.request(Method::GET, &url);
    if route == Route::Socket {
        request = request
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    }
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if route == Route::Socket {
        // A socket's body never ends; its first bytes are read by the browser tests.
        let response = request.send().await.unwrap();
        return Answer { status: response.status(), headers: response.headers().clone(), body: Vec::new() };
    }
    client.send(request).await.unwrap()
}

fn assert_no_foreign_canary(tenant: &str, text: &str, what: &str) {
    for other in TENANTS.iter().filter(|other| **other != tenant) {
        assert!(!text.contains(&canary(other)), "{other}'s canary in {what} of {tenant}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_diagonal_answers_and_no_byte_is_anybody_elses() {
    let up = up();
    let client = Client::new(&up.portal()).unwrap();
    let mut tokens = Vec::new();
    for (tenant, dashboard) in SITES {
        tokens.push(((tenant, dashboard), client.tenant_token("aud", tenant, dashboard).await.unwrap()));
    }
    let mut own_canaries = 0;
    for (of, token) in &tokens {
        for site in SITES {
            for route in ROUTES {
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
                own_canaries += usize::from(answer.everything().contains(&canary(of.0)));
            }
        }
    }
    assert!(own_canaries >= SITES.len() * 2, "the hunt must be able to find something: {own_canaries}");

    let user = client.user_token("aud").await.unwrap();
    let workload = std::fs::read_to_string(up.path("state/workloads/clv.jwt")).unwrap();
    let good = &tokens[0].1;
    let forged = format!("{}x", &good[..good.len() - 1]);
    let unsigned = format!("eyJhbGciOiJub25lIiwia2lkIjoieCJ9.{}.", good.split('.').nth(1).unwrap());
    let kinds = [None, Some(user.as_str()), Some(workload.trim()), Some(&forged), Some(&unsigned), Some("nonsense")];
    for token in kinds {
        for site in SITES {
            for route in ROUTES {
                let answer = ask(&up, &client, site, route, token).await;
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{route:?} of {site:?}");
                let seen = answer.everything();
                assert!(!TENANTS.iter().any(|tenant| seen.contains(&canary(tenant))), "{route:?} of {site:?}");
            }
        }
    }
    let log = up.log();
    assert!(!TENANTS.iter().any(|tenant| log.contains(&canary(tenant))), "a canary in the log");
    assert!(!log.contains("eyJ"), "a token in the log: {:?}", log.lines().find(|line| line.contains("eyJ")));
}
