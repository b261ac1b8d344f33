//! Whose pages may frame a dashboard: told to its sidecar with every token, as the tenant says now, and to nobody else.

mod common;

use std::{net::SocketAddr, path::Path, time::Duration};

use kyros_api::{Api, ApiSettings};
use kyros_metadata::{Change, CompleteList, Writer};
use kyros_shared_config::crypto::{install_provider, random_id, sha256_base64url};
use reqwest::{RequestBuilder, Response, header, redirect};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use common::{acme, clv, settings};

const PORTAL: &str = "http://kyros.localhost:8080";
const CALLBACK: &str = "http://clv--acme.kyros.localhost:8080/.kyros/callback";
const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters";

/// A browser and a sidecar, as far as the API sees them.
struct Clients {
    address: SocketAddr,
    client: reqwest::Client,
    assertion: String,
}

impl Clients {
    fn new(address: SocketAddr, home: &Path) -> Self {
        let client = reqwest::Client::builder().redirect(redirect::Policy::none()).build().unwrap();
        let assertion = std::fs::read_to_string(home.join("workloads/clv/token")).unwrap();
        Self { address, client, assertion }
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("http://{}{path}", self.address))
    }

    fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("http://{}{path}", self.address))
    }

    /// Signs Ana in and takes the code that her browser would bring to the dashboard.
    async fn code(&self) -> String {
        let page = self.get("/login").send().await.unwrap();
        let csrf = cookie(&page);
        let token = csrf.split_once('=').unwrap().1;
        let login = self
            .post("/login")
            .header(header::ORIGIN, PORTAL)
            .header(header::COOKIE, &csrf)
            .form(&[("sub", "ana"), ("csrf", token)])
            .send()
            .await
            .unwrap();
        assert_eq!(login.status().as_u16(), 303);
        let challenge = sha256_base64url(VERIFIER.as_bytes());
        let authorize = self
            .get("/oauth/authorize")
            .query(&[
                ("response_type", "code"),
                ("client_id", "dashboard:clv"),
                ("redirect_uri", CALLBACK),
                ("state", "s"),
                ("code_challenge", &challenge),
                ("code_challenge_method", "S256"),
            ])
            .header(header::COOKIE, cookie(&login));
        let answer = authorize.send().await.unwrap();
        let location = answer.headers()[header::LOCATION].to_str().unwrap();
        let query = location.strip_prefix(CALLBACK).unwrap().trim_start_matches('?');
        query.split('&').find_map(|pair| pair.strip_prefix("code=")).unwrap().to_owned()
    }

    async fn token(&self, grant: &[(&str, &str)]) -> Value {
        let mut form = grant.to_vec();
        form.push(("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
        form.push(("client_assertion", self.assertion.trim()));
        let answer = self.post("/oauth/token").form(&form).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{}", answer.text().await.unwrap());
        answer.json().await.unwrap()
    }

    async fn exchange(&self) -> Value {
        let people: Value = self.get("/mock/people").send().await.unwrap().json().await.unwrap();
        let request = self.post("/api/token/exchange").bearer_auth(people[0]["token"].as_str().unwrap());
        let answer = request.json(&json!({"tenant_id": "acme", "dashboard": "clv"})).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        answer.json().await.unwrap()
    }
}

/// The first cookie that an answer sets, as the next request sends it.
fn cookie(answer: &Response) -> String {
    let line = answer.headers()[header::SET_COOKIE].to_str().unwrap();
    line.split(';').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_learns_with_each_token_who_may_frame_its_dashboard_and_a_program_does_not() {
    install_provider();
    let home = std::env::temp_dir().join(format!("kyros-api-{}", random_id()));
    std::fs::create_dir(&home).unwrap();
    let people = "- {sub: ana, name: Ana, email: ana@acme.example, tenant_ids: [acme]}\n";
    std::fs::write(home.join("people.yaml"), people).unwrap();
    let mut writer = Writer::open(&home.join("metadata.db")).await.unwrap();
    let tenant = acme(&["https://intranet.acme.example", "http://localhost:3000"]);
    let list = CompleteList { tenants: Some(vec![tenant].into()), dashboards: Some(vec![clv()].into()) };
    writer.relist(&list).await.unwrap();
    let settings = ApiSettings {
        public_url: PORTAL.parse().unwrap(),
        mock_people: Some(home.join("people.yaml")),
        trusted_issuers: None,
        workload_dir: Some(home.join("workloads")),
        ..settings(&home)
    };
    let api = Api::start(&settings).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let clients = Clients::new(listener.local_addr().unwrap(), &home);
    let stop = CancellationToken::new();
    let serving = tokio::spawn(api.serve(listener, stop.clone()));

    let code = clients.code().await;
    let redeem = [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", CALLBACK)];
    let redeemed = clients.token(&[&redeem[..], &[("code_verifier", VERIFIER)]].concat()).await;
    let both = json!(["https://intranet.acme.example", "http://localhost:3000"]);
    assert_eq!(redeemed["frame_ancestors"], both);
    let handle = redeemed["refresh_token"].as_str().unwrap();
    let renew = async || clients.token(&[("grant_type", "refresh_token"), ("refresh_token", handle)]).await;
    assert_eq!(renew().await["frame_ancestors"], both);
    assert!(clients.exchange().await.get("frame_ancestors").is_none(), "a program shows nothing in a frame");

    let document: Value = clients.get("/openapi.json").send().await.unwrap().json().await.unwrap();
    let answer =
        &document["paths"]["/oauth/token"]["post"]["responses"]["200"]["content"]["application/json"]["schema"];
    let answer = document.pointer(answer["$ref"].as_str().unwrap().trim_start_matches('#')).unwrap();
    assert_eq!(answer["properties"]["frame_ancestors"]["items"]["type"], "string");
    let optional = |name: &str| !answer["required"].as_array().unwrap().contains(&json!(name));
    assert!(optional("frame_ancestors") && optional("refresh_token") && !optional("access_token"), "{answer:#}");

    writer.apply(&[Change::PutTenant(acme(&[]))]).await.unwrap();
    for attempt in 0.. {
        if renew().await.get("frame_ancestors").is_none() {
            break;
        }
        assert!(attempt < 100, "what the tenant took back is still told");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    stop.cancel();
    tokio::time::timeout(Duration::from_secs(15), serving).await.unwrap().unwrap();
    std::fs::remove_dir_all(home).unwrap();
}
