//! A read model that nobody confirms may grant what was taken back long ago: nobody gets a token from it.

mod common;

use std::time::Duration;

use kyros_api::Api;
use kyros_metadata::{CompleteList, Writer};
use kyros_shared_config::{
    Issuer, TenantId,
    crypto::{install_provider, random_id},
    issuer::Person,
};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use common::{acme, clv, settings};

#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_handed_out_from_a_read_model_that_nobody_confirms() {
    install_provider();
    let home = std::env::temp_dir().join(format!("kyros-api-{}", random_id()));
    std::fs::create_dir(&home).unwrap();
    let database = home.join("metadata.db");
    let mut writer = Writer::open(&database).await.unwrap();
    let list = CompleteList { tenants: Some(vec![acme(&[])].into()), dashboards: Some(vec![clv()].into()) };
    writer.relist(&list).await.unwrap();
    let issuer = Issuer::generate("https://people.example").unwrap();
    std::fs::write(home.join("keys.json"), issuer.jwks()).unwrap();
    let trusted = format!("- {{issuer: \"{}\", jwks: \"{}\"}}\n", issuer.name(), home.join("keys.json").display());
    std::fs::write(home.join("issuers.yaml"), trusted).unwrap();
    let api = Api::start(&settings(&home)).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(api.serve(listener, stop.clone()));
    let tenant: TenantId = "acme".parse().unwrap();
    let person = Person {
        subject: "ana",
        email: "ana@acme.example",
        name: "Ana",
        groups: &[],
        tenant_ids: std::slice::from_ref(&tenant),
    };
    let token = issuer.user_token(&person).unwrap();
    let exchange = async || {
        let request = reqwest::Client::new()
            .post(format!("http://{address}/api/token/exchange"))
            .bearer_auth(token.token.expose())
            .json(&serde_json::json!({"tenant_id": "acme", "dashboard": "clv"}));
        request.send().await.unwrap().status().as_u16()
    };
    let until = async |wanted: u16| {
        for _ in 0..200 {
            if exchange().await == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("never {wanted}: {}", exchange().await);
    };
    until(200).await;
    // As old as it would be had the projector been away for a quarter of an hour and a minute.
    let mut connection = sqlx::sqlite::SqliteConnectOptions::new().filename(&database).connect().await.unwrap();
    sqlx::query("UPDATE projection SET applied_at = applied_at - 960").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    until(503).await;
    writer.confirm().await.unwrap();
    until(200).await;
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(15), serving).await.unwrap().unwrap();
    std::fs::remove_dir_all(home).unwrap();
}
