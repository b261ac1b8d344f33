//! What `curl` gets: the shapes and error codes that programs are written against.

use std::{
    fs::File,
    process::{Command, Output, Stdio},
};

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use kyros_tests::{Answer, Client};
use serde_json::json;

use crate::{import, up};

#[tokio::test(flavor = "multi_thread")]
async fn people_tokens_and_metadata_have_the_documented_shapes() {
    let up = up();
    let client = Client::new(&up.portal()).unwrap();
    let people = client.get("/mock/people", None).await.unwrap().json();
    let members: Vec<&str> = people[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["email", "name", "sub", "tenant_ids", "token"]);
    let count = |wanted: fn(usize) -> bool| {
        people.as_array().unwrap().iter().filter(|p| wanted(p["tenant_ids"].as_array().unwrap().len())).count()
    };
    assert!(count(|n| n == 0) > 0 && count(|n| n == 1) > 0 && count(|n| n >= 2) > 0);

    let request = client.request(Method::POST, "/mock/token").header(header::CONTENT_TYPE, "application/json");
    let minted = client.send(request.body(r#"{"sub":"bob"}"#)).await.unwrap().json();
    let bob = minted["access_token"].as_str().unwrap();
    let me = client.get("/api/me", Some(bob)).await.unwrap().json();
    assert_eq!((&me["sub"], &me["tenant_ids"]), (&json!("bob"), &json!(["globex"])));
    assert_eq!((&me["email"], &me["name"]), (&json!("bob@globex.example"), &json!("Bob Okafor")));

    let token = client.tenant_token("bob", "globex", "clv").await.unwrap();
    let tenant = client.get("/api/tenant", Some(&token)).await.unwrap().json();
    assert_eq!((&tenant["id"], &tenant["display_name"]), (&json!("globex"), &json!("Globex Subscriptions")));
    let dashboards = client.get("/api/dashboards", Some(&token)).await.unwrap().json();
    assert_eq!(dashboards.as_array().unwrap().len(), 1);
    assert_eq!(dashboards[0]["url"], json!(up.dashboard("clv", "globex")));
    let one = client.get("/api/dashboards/clv", Some(&token)).await.unwrap();
    assert_eq!(one.json()["title"], "Customer Lifetime Value");
    let other = client.get("/api/dashboards/risk", Some(&token)).await.unwrap();
    let none = client.get("/api/dashboards/nothing", Some(&token)).await.unwrap();
    assert_eq!((other.status, none.status), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND));
}

#[tokio::test(flavor = "multi_thread")]
async fn both_forms_of_exchange_give_the_rfc8693_answer_and_its_exact_errors() {
    let up = up();
    let client = Client::new(&up.portal()).unwrap();
    let ana = client.user_token("ana").await.unwrap();
    let form = |pairs: Vec<(&str, String)>| {
        let body = url_form(&pairs);
        let request = client.request(Method::POST, "/api/token/exchange");
        client.send(request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body))
    };
    let right = || {
        vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange".to_owned()),
            ("subject_token", ana.clone()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token".to_owned()),
            ("audience", "dashboard:clv".to_owned()),
            ("tenant_id", "acme".to_owned()),
        ]
    };
    let with = |name: &'static str, value: &str| {
        let mut pairs = right();
        pairs.retain(|(known, _)| *known != name);
        if !value.is_empty() {
            pairs.push((name, value.to_owned()));
        }
        pairs
    };
    for answer in [form(right()).await.unwrap(), client.exchange(&ana, "acme", "clv").await.unwrap()] {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let body = answer.json();
        assert_eq!(body["token_type"], "Bearer");
        assert_eq!(body["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
        assert_eq!(body["expires_in"], 300);
        assert!(body.get("refresh_token").is_none());
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    let cases = [
        (with("grant_type", "client_credentials"), "unsupported_grant_type"),
        (with("grant_type", ""), "invalid_request"),
        (with("subject_token", "nonsense"), "invalid_request"),
        (with("subject_token", ""), "invalid_request"),
        (with("subject_token_type", "urn:ietf:params:oauth:token-type:refresh_token"), "invalid_request"),
        (with("audience", "kyros"), "invalid_target"),
        (with("audience", "dashboard:nothing"), "invalid_target"),
        (with("audience", "dashboard:risk dashboard:clv"), "invalid_target"),
        (with("audience", ""), "invalid_request"),
        (with("tenant_id", "initech"), "invalid_target"),
        (with("tenant_id", "no-such-tenant"), "invalid_target"),
        (with("tenant_id", "../acme"), "invalid_target"),
        (with("tenant_id", ""), "invalid_request"),
        ([right(), right()].concat(), "invalid_request"),
    ];
    for (pairs, expected) in cases {
        let answer = form(pairs.clone()).await.unwrap();
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{pairs:?}");
        assert_eq!(answer.json()["error"], expected, "{pairs:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_and_forbidden_targets_get_the_same_bytes() {
    let up = up();
    let client = Client::new(&up.portal()).unwrap();
    let bob = client.user_token("bob").await.unwrap();
    let bare = |answer: &Answer| (answer.status, answer.text());
    let forbidden = client.exchange(&bob, "acme", "clv").await.unwrap();
    for (tenant, dashboard) in [("nobody", "clv"), ("globex", "risk"), ("globex", "nothing"), ("initech", "risk")] {
        let answer = client.exchange(&bob, tenant, dashboard).await.unwrap();
        assert_eq!(bare(&answer), bare(&forbidden), "{tenant} {dashboard}");
    }
    let token = client.tenant_token("bob", "globex", "clv").await.unwrap();
    let without_id = |answer: &Answer| {
        let mut body = answer.json();
        body["instance"] = json!(null);
        (answer.status, body)
    };
    let other_dashboards = client.get("/api/data/pnl", Some(&token)).await.unwrap();
    assert_eq!(other_dashboards.status, StatusCode::NOT_FOUND);
    for dataset in ["nothing", "exposures", "transactions.parquet", "TRANSACTIONS"] {
        let answer = client.get(&format!("/api/data/{dataset}"), Some(&token)).await.unwrap();
        assert_eq!(without_id(&answer), without_id(&other_dashboards), "{dataset}");
    }
    let upwards = client.get("/api/data/..%2Ftransactions", Some(&token)).await.unwrap();
    assert_eq!(upwards.status, StatusCode::BAD_REQUEST, "the gateway lets no way up through, however it is written");
}

#[tokio::test(flavor = "multi_thread")]
async fn data_comes_in_every_format_and_bad_queries_say_what_is_allowed() {
    let up = up();
    let client = Client::new(&up.portal()).unwrap();
    let token = client.tenant_token("ana", "acme", "clv").await.unwrap();
    let get = |query: &str| {
        let (client, token, path) = (client.clone(), token.clone(), format!("/api/data/transactions?{query}"));
        async move { client.get(&path, Some(&token)).await.unwrap() }
    };
    let csv = get("select=customer_id,revenue&limit=2&format=csv").await;
    assert_eq!(csv.text().lines().next(), Some("customer_id,revenue"));
    assert_eq!(csv.text().lines().count(), 3);
    let json = get("group_by=channel&agg=revenue:sum,*:count&sort=-revenue_sum").await;
    let rows = json.json()["data"].as_array().unwrap().clone();
    assert!(rows.len() > 1 && rows[0]["revenue_sum"].as_f64() > rows[1]["revenue_sum"].as_f64());
    let arrow = get("limit=1&format=arrow").await;
    assert_eq!(arrow.header("content-type"), "application/vnd.apache.arrow.stream");
    assert_eq!(&arrow.body[..4], &[0xff; 4], "an Arrow stream begins with a continuation marker");
    assert_eq!(&get("limit=1&format=parquet").await.body[..4], b"PAR1");

    let first = get("select=customer_id,revenue&limit=2&total=true").await.json();
    let cursor = first["meta"]["next_cursor"].as_str().unwrap();
    assert!(first["meta"]["total"].as_u64() > Some(2));
    let second = get(&format!("select=customer_id,revenue&limit=2&cursor={cursor}")).await;
    assert_eq!(second.json()["data"], get("select=customer_id,revenue&limit=2&offset=2").await.json()["data"]);
    assert!(!second.header("kyros-next-cursor").is_empty());
    assert_eq!(get(&format!("select=revenue&cursor={cursor}")).await.status, StatusCode::UNPROCESSABLE_ENTITY);

    for (accepted, given) in [("br", "br"), ("zstd", "zstd"), ("gzip", "gzip"), ("identity", "")] {
        let request = client.request(Method::GET, "/api/data/transactions?limit=2000&format=csv").bearer_auth(&token);
        let answer = client.send(request.header(header::ACCEPT_ENCODING, accepted)).await.unwrap();
        assert_eq!(answer.header("content-encoding"), given);
        assert_eq!(answer.body.starts_with(b"customer_id"), given.is_empty());
    }

    let etag = csv.header("etag").to_owned();
    let again = client
        .request(Method::GET, "/api/data/transactions?select=customer_id,revenue&limit=2&format=csv")
        .bearer_auth(&token)
        .header(header::IF_NONE_MATCH, &etag);
    assert_eq!(client.send(again).await.unwrap().status, StatusCode::NOT_MODIFIED);

    for (query, status, code) in [
        ("format=xml", 406, "not-acceptable"),
        ("nonsense=1", 400, "malformed-query"),
        ("limit=1&limit=2", 400, "malformed-query"),
        ("select=%ff", 400, "malformed-query"),
        ("cursor=nonsense", 400, "malformed-query"),
        ("select=nothing", 422, "invalid-query"),
        ("agg=customer_id:sum", 422, "invalid-query"),
        ("filter=revenue:gt:many", 422, "invalid-query"),
        ("tenant=globex", 400, "tenant-not-selectable"),
        ("tenant_id=acme", 400, "tenant-not-selectable"),
    ] {
        let answer = get(query).await;
        assert_eq!(answer.status.as_u16(), status, "{query}: {}", answer.text());
        assert_eq!(answer.json()["type"], format!("urn:kyros:problem:{code}"), "{query}");
    }
    let problem = get("select=nothing&agg=x:y").await.json();
    assert!(problem["errors"].as_array().is_some_and(|errors| !errors.is_empty()), "{problem}");
    let by_header = client.request(Method::GET, "/api/data/transactions").bearer_auth(&token);
    let by_header = client.send(by_header.header("x-tenant-id", "globex")).await.unwrap();
    assert_eq!(by_header.json()["type"], "urn:kyros:problem:tenant-not-selectable");
    let by_body = client.request(Method::POST, "/api/data/transactions/query").bearer_auth(&token);
    let json = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    let json: HeaderMap = json.into_iter().collect();
    let by_body = by_body.headers(json.clone()).body(r#"{"tenant":"globex","limit":1}"#);
    let by_body = client.send(by_body).await.unwrap();
    assert_eq!(by_body.json()["type"], "urn:kyros:problem:tenant-not-selectable");
    let body = r#"{"select":["customer_id"],"filter":{"column":"revenue","op":"gt","value":10},"limit":1}"#;
    let posted = client.request(Method::POST, "/api/data/transactions/query").bearer_auth(&token).body(body);
    let unnamed = client.send(posted.try_clone().unwrap()).await.unwrap();
    assert_eq!(unnamed.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let posted = posted.headers(json);
    assert_eq!(client.send(posted).await.unwrap().json()["data"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_metadata_and_document_describe_what_is_there() {
    let up = up();
    let client = Client::new(&up.portal()).unwrap();
    let metadata = client.get("/.well-known/oauth-authorization-server", None).await.unwrap().json();
    assert_eq!(metadata["issuer"], json!(up.portal()));
    assert_eq!(metadata["code_challenge_methods_supported"], json!(["S256"]));
    let keys = client.get("/.well-known/jwks.json", None).await.unwrap();
    assert_eq!(keys.header("content-type"), "application/jwk-set+json");
    let key = &keys.json()["keys"][0];
    assert!(key["kid"].is_string() && key["alg"] == "ES256" && key["use"] == "sig" && key.get("d").is_none());
    let document = client.get("/openapi.json", None).await.unwrap().json();
    for path in document["paths"].as_object().unwrap().keys() {
        let path = path.replace("{dataset}", "transactions").replace("{slug}", "clv");
        for method in [Method::GET, Method::POST] {
            let answer = client.send(client.request(method, &path)).await.unwrap();
            assert!(answer.status.as_u16() < 500, "{path}: {}", answer.status);
            assert_ne!(answer.status, StatusCode::NOT_FOUND, "{path} is described and served");
        }
    }
    assert_eq!(client.get("/docs", None).await.unwrap().status, StatusCode::OK);
    assert_eq!(client.get("/internal/revocations", None).await.unwrap().status, StatusCode::NOT_FOUND);
}

fn url_form(pairs: &[(&str, String)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn workloads_introspect_their_own_tokens_and_revoke_their_own_sessions() {
    let up = up();
    let client = Client::new(&up.portal()).unwrap();
    let assertion = |slug: &str| std::fs::read_to_string(up.path(&format!("state/workloads/{slug}/token"))).unwrap();
    let post = |path: &'static str, slug: Option<&str>, extra: Vec<(&'static str, String)>| {
        let mut pairs = extra;
        if let Some(slug) = slug {
            let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
            pairs.push(("client_assertion_type", kind.to_owned()));
            pairs.push(("client_assertion", assertion(slug).trim().to_owned()));
        }
        let request = client.request(Method::POST, path);
        client.send(request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(url_form(&pairs)))
    };
    let token = client.tenant_token("ana", "acme", "clv").await.unwrap();
    let introspect = |slug, token: &str| post("/oauth/introspect", slug, vec![("token", token.to_owned())]);
    let own = introspect(Some("clv"), &token).await.unwrap().json();
    assert_eq!((&own["active"], &own["tenant_id"], &own["sub"]), (&json!(true), &json!("acme"), &json!("ana")));
    for (slug, token) in [("risk", token.as_str()), ("clv", "nonsense"), ("clv", "")] {
        let answer = introspect(Some(slug), token).await.unwrap();
        if token.is_empty() {
            assert_eq!(answer.json()["error"], "invalid_request");
        } else {
            assert_eq!(answer.json(), json!({"active": false}), "{slug}");
        }
    }
    let nobody = introspect(None, &token).await.unwrap();
    assert_eq!((nobody.status, &nobody.json()["error"]), (StatusCode::UNAUTHORIZED, &json!("invalid_client")));
    let unknown = post("/oauth/revoke", Some("clv"), vec![("token", "unknown".to_owned())]).await.unwrap();
    assert_eq!(unknown.status, StatusCode::OK, "unknown tokens are answered like known ones (RFC 7009)");

    let mut ana = kyros_tests::BrowserLike::new(client.clone());
    ana.sign_in("ana").await.unwrap();
    let origin = up.dashboard("clv", "acme");
    ana.navigate(&format!("{origin}/")).await.unwrap();
    let cookie = ana.cookie_header(&origin).unwrap();
    let handle = cookie.split_once("kyros-app=").unwrap().1.to_owned();
    let renew = |slug: &'static str| {
        let pairs = vec![("grant_type", "refresh_token".to_owned()), ("refresh_token", handle.clone())];
        post("/oauth/token", Some(slug), pairs)
    };
    assert_eq!(renew("clv").await.unwrap().status, StatusCode::OK);
    assert_eq!(renew("risk").await.unwrap().json()["error"], "invalid_grant", "another dashboard's handle");
    post("/oauth/revoke", Some("risk"), vec![("token", handle.clone())]).await.unwrap();
    assert_eq!(renew("clv").await.unwrap().status, StatusCode::OK, "only its own sidecar can end it");
    post("/oauth/revoke", Some("clv"), vec![("token", handle.clone())]).await.unwrap();
    assert_eq!(renew("clv").await.unwrap().json()["error"], "invalid_grant");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_the_published_parameters_for_the_published_data() {
    let Some(path) = std::env::var_os("KYROS_CDNOW") else {
        eprintln!("skipped: KYROS_CDNOW does not name CDNOW_sample.txt");
        return;
    };
    let mut csv = String::from("customer_id,order_date,revenue\n");
    for line in std::fs::read_to_string(path).unwrap().lines() {
        // Master id, sample id, yyyymmdd, CDs, dollars.
        let [_, customer, date, _, dollars] = line.split_whitespace().collect::<Vec<_>>()[..] else { continue };
        csv.push_str(&format!("C{customer},{}-{}-{},{dollars}\n", &date[..4], &date[4..6], &date[6..8]));
    }
    let up = up();
    std::fs::write(up.path("cdnow.csv"), csv).unwrap();
    let imported = import(&up, &up.path("cdnow.csv"), "globex", "clv", "transactions");
    assert!(imported.status.success(), "{imported:?}");
    let client = Client::new(&up.portal()).unwrap();
    let token = client.tenant_token("bob", "globex", "clv").await.unwrap();
    let url = format!("{}/?until=1997-09-30", up.dashboard("clv", "globex"));
    let page = client.get(&url, Some(&token)).await.unwrap().text();
    for (name, value) in [
        ("BG/NBD r", "0.243"),
        ("BG/NBD α", "4.414"),
        ("BG/NBD a", "0.793"),
        ("BG/NBD b", "2.426"),
        ("Log-likelihood", "-9582.4"),
    ] {
        assert!(page.contains(&format!("<dt>{name}</dt><dd>{value}</dd>")), "{name} is {value}");
    }
}

fn kyros(arguments: &[&str], stdout: impl Into<Stdio>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kyros")).args(arguments).stdout(stdout).output().unwrap()
}

#[test]
fn a_tool_that_nobody_reads_ends_in_silence_and_one_on_a_full_disk_says_so() {
    let manifests = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/manifests");
    for arguments in [&["openapi"][..], &["crds"], &["validate", manifests]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let unread = kyros(arguments, writer);
        assert_eq!((unread.status.code(), unread.stderr.as_slice()), (Some(0), &b""[..]), "{arguments:?}");
        let Ok(full) = File::options().write(true).open("/dev/full") else { continue };
        let full = kyros(arguments, full);
        let said = String::from_utf8_lossy(&full.stderr);
        assert_eq!(full.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.starts_with("kyros: standard output cannot be written: "), "{arguments:?}: {said}");
    }
}

#[test]
fn wrong_arguments_end_with_two_and_say_what_is_wanted() {
    for (arguments, said) in [
        (&["--log", "kyros=loud", "crds"][..], "--log: log filter \"kyros=loud\""),
        (&["up", "--listen", "8080"], "such as 127.0.0.1:8080"),
        (&["dev", "--listen", "8080", "--", "true"], "such as 127.0.0.1:8080"),
    ] {
        let refused = kyros(arguments, Stdio::piped());
        let error = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
    let help = kyros(&["new", "dashboard", "--help"], Stdio::piped());
    assert!(!String::from_utf8_lossy(&help.stdout).contains('\\'), "{help:?}");
}

#[test]
fn definitions_that_cannot_be_written_name_their_folder() {
    let refused = kyros(&["crds", "--output", "/dev/null/definitions"], Stdio::piped());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("cannot be written into /dev/null/definitions: "), "{said}");
}
