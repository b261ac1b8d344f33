//! User tokens of several issuers: each believed for itself, none for another, and nobody without being configured.

mod common;

use std::time::Duration;

use kyros_api::{Api, ApiError, ApiSettings};
use kyros_metadata::{CompleteList, Writer};
use kyros_shared_config::{
    Issuer, TenantId,
    crypto::{install_provider, random_id},
    issuer::Person,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use common::settings;

fn token(issuer: &Issuer) -> String {
    let tenant: TenantId = "acme".parse().unwrap();
    let person = Person {
        subject: "ana",
        email: "ana@acme.example",
        name: "Ana",
        groups: &[],
        tenant_ids: std::slice::from_ref(&tenant),
    };
    issuer.user_token(&person).unwrap().token.expose().clone()
}

async fn home() -> std::path::PathBuf {
    install_provider();
    let home = std::env::temp_dir().join(format!("kyros-api-{}", random_id()));
    std::fs::create_dir(&home).unwrap();
    let nothing = CompleteList { tenants: Some(Vec::new().into()), dashboards: Some(Vec::new().into()) };
    Writer::open(&home.join("metadata.db")).await.unwrap().relist(&nothing).await.unwrap();
    home
}

#[tokio::test(flavor = "multi_thread")]
async fn each_issuer_speaks_for_itself_alone() {
    let home = home().await;
    let (one, two) =
        (Issuer::generate("https://one.example").unwrap(), Issuer::generate("https://two.example").unwrap());
    let mut list = String::new();
    for (name, issuer) in [("one", &one), ("two", &two)] {
        let keys = home.join(format!("{name}.json"));
        std::fs::write(&keys, issuer.jwks()).unwrap();
        list.push_str(&format!("- {{issuer: \"{}\", jwks: \"{}\"}}\n", issuer.name(), keys.display()));
    }
    std::fs::write(home.join("issuers.yaml"), list).unwrap();
    let api = Api::start(&settings(&home)).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(api.serve(listener, stop.clone()));
    let client = reqwest::Client::new();
    let me = |token: String| {
        let request = client.get(format!("http://{address}/api/me")).bearer_auth(token);
        async move { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!(me(token(&one)).await, 200);
    assert_eq!(me(token(&two)).await, 200);
    // A key of one issuer must not vouch for another's name (RFC 8725bis, section 3.8).
    let impostor = home.join("impostor.pem");
    let claims_to_be_one = Issuer::load_or_generate("https://one.example", &impostor).unwrap();
    assert_eq!(me(token(&claims_to_be_one)).await, 401);
    let unknown = Issuer::generate("https://three.example").unwrap();
    assert_eq!(me(token(&unknown)).await, 401);
    let mock = client.get(format!("http://{address}/mock/people")).send().await.unwrap();
    assert_eq!(mock.status().as_u16(), 404, "there is no mock identity provider here");
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(15), serving).await.unwrap().unwrap();
    std::fs::remove_dir_all(home).unwrap();
}

#[tokio::test]
async fn mock_people_off_localhost_and_nobody_trusted_are_refused() {
    let home = home().await;
    std::fs::write(home.join("people.yaml"), "[]").unwrap();
    let mock = ApiSettings { mock_people: Some(home.join("people.yaml")), trusted_issuers: None, ..settings(&home) };
    let refused = Api::start(&mock).await.err().unwrap();
    assert!(refused.to_string().contains("only allowed with a public URL on localhost"), "{refused}");
    let nobody = ApiSettings { trusted_issuers: None, ..settings(&home) };
    assert!(matches!(Api::start(&nobody).await.err(), Some(ApiError::NobodyTrusted)));
    std::fs::write(home.join("issuers.yaml"), "- {issuer: x, jwks: y, audiense: z}").unwrap();
    let typo = Api::start(&settings(&home)).await.err().unwrap();
    assert!(matches!(typo, ApiError::IssuerList { .. }), "{typo}");
    std::fs::remove_dir_all(home).unwrap();
}
