//! The whole way on a cluster: `kubectl` on one side, people and sockets on the other, a real API server between.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use http::StatusCode;
use kyros_control_plane::{
    Assets, ControlPlane, Options,
    install::{Install, SYSTEM_NAMESPACE, Sources, own_folder},
};
use kyros_tests::{BrowserLike, Client};

use crate::lifecycle::{ONE_SECOND, closed, open_socket_at};

fn install() -> Option<(ControlPlane, Install)> {
    let plane = ControlPlane::start(&Assets::find()?, Options::default()).expect("a control plane");
    let sources = Sources {
        programs: own_folder(Path::new(env!("CARGO_BIN_EXE_kyros"))),
        repository: Path::new(env!("CARGO_MANIFEST_DIR")).join(".."),
    };
    let install = Install::start(&plane, &sources).expect("Kyros starts");
    Some((plane, install))
}

async fn status(url: &str, token: &str, form: Option<&str>) -> StatusCode {
    let client = reqwest_client();
    let request = match form {
        Some(form) => client
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.replace("TOKEN", token)),
        None => client.get(url).bearer_auth(token),
    };
    request.send().await.unwrap().status()
}

/// The first token that is given once a tenant is there.
async fn first_token(client: &Client, person: &str, tenant: &str, dashboard: &str) -> String {
    let user = client.user_token(person).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = client.exchange(&user, tenant, dashboard).await.unwrap();
        if let Some(token) = answer.json()["access_token"].as_str() {
            return token.to_owned();
        }
        assert!(Instant::now() < deadline, "{}", answer.text());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn reqwest_client() -> reqwest::Client {
    reqwest::Client::builder().timeout(Duration::from_secs(5)).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_opens_and_shuts_a_tenant_for_people_at_work() {
    let Some((plane, mut install)) = tokio::task::spawn_blocking(install).await.unwrap() else { return };
    let origin =
        |dashboard: &str, tenant: &str| format!("http://{dashboard}--{tenant}.kyros.localhost:{}", install.port);
    let client = Client::new(&install.public_url()).unwrap();
    let mut ana = BrowserLike::new(Client::new(&install.public_url()).unwrap());
    ana.sign_in("ana").await.unwrap();
    for tenant in ["acme", "globex"] {
        let (_, page) = ana.navigate(&format!("{}/", origin("clv", tenant))).await.unwrap();
        assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    }
    let exchanged = client.tenant_token("ana", "acme", "clv").await.unwrap();
    let mut acme = open_socket_at(&origin("clv", "acme"), install.port, &ana).await;
    let mut globex = open_socket_at(&origin("clv", "globex"), install.port, &ana).await;

    let suspend = ["patch", "tenant.kyros.dev", "acme", "--type", "merge", "-p", r#"{"spec":{"suspended":true}}"#];
    plane.kubectl_ok(&suspend, "").unwrap();
    let began = Instant::now();
    assert_eq!(closed(&mut acme, Duration::from_secs(5)).await, Some(4001));
    assert!(began.elapsed() < ONE_SECOND, "{:?}", began.elapsed());
    assert_eq!(client.get("/api/data", Some(&exchanged)).await.unwrap().status, StatusCode::UNAUTHORIZED);
    let stays = tokio::time::timeout(Duration::from_millis(500), futures_util::StreamExt::next(&mut globex)).await;
    assert!(stays.is_err(), "another tenant's socket stays open: {stays:?}");

    // A tenant that is deleted and made anew has granted nothing to anybody.
    let former = client.tenant_token("ana", "globex", "clv").await.unwrap();
    let manifest = plane.kubectl_ok(&["get", "tenant.kyros.dev", "globex", "-o", "jsonpath={.spec}"], "").unwrap();
    plane.kubectl_ok(&["delete", "tenant.kyros.dev", "globex", "--wait=false"], "").unwrap();
    let began = Instant::now();
    assert_eq!(closed(&mut globex, Duration::from_secs(5)).await, Some(4001));
    assert!(began.elapsed() < ONE_SECOND, "{:?}", began.elapsed());
    let (_, gone) = ana.navigate(&format!("{}/", origin("clv", "globex"))).await.unwrap();
    assert!(gone.status.is_client_error(), "{}", gone.status);
    // Taken back is what was issued until then, in whole seconds.
    tokio::time::sleep(ONE_SECOND).await;
    let anew = format!(
        r#"{{"apiVersion":"kyros.dev/v1alpha1","kind":"Tenant","metadata":{{"name":"globex"}},"spec":{manifest}}}"#
    );
    plane.kubectl_ok(&["apply", "-f", "-"], &anew).unwrap();
    let current = first_token(&client, "ana", "globex", "clv").await;
    let page = format!("{}/", origin("clv", "globex"));
    for address in ["/api/data", &page] {
        let status = async |token| client.get(address, Some(token)).await.unwrap().status;
        assert_eq!(status(&former).await, StatusCode::UNAUTHORIZED, "{address}: granted by the tenant that was");
        assert_eq!(status(&current).await, StatusCode::OK, "{address}");
    }

    only_the_right_accounts_are_heard(&plane, &install).await;
    the_gateway_learns_where_sidecars_are(&plane, &mut install).await;
    assert!(!install.log().contains(&exchanged), "a token in the log");
}

/// The cluster's own tokens: of the dashboards' accounts for their dashboards, of all others for nothing.
async fn only_the_right_accounts_are_heard(plane: &ControlPlane, install: &Install) {
    plane.kubectl_ok(&["create", "serviceaccount", "stranger"], "").unwrap();
    plane.kubectl_ok(&["create", "serviceaccount", "dash-nothing"], "").unwrap();
    plane.kubectl_ok(&["-n", SYSTEM_NAMESPACE, "create", "serviceaccount", "dash-clv"], "").unwrap();
    let token = |namespace: &str, account: &str| Install::workload_token(plane, namespace, account).unwrap();
    let at = |path: &str| format!("http://127.0.0.1:{}{path}", install.api_port);
    let form = "token=x&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer\
                &client_assertion=TOKEN";
    let clv = token("default", "dash-clv");
    assert_eq!(status(&at("/oauth/introspect"), &clv, Some(form)).await, StatusCode::OK);
    assert_eq!(status(&at("/internal/sealing-key"), &clv, None).await, StatusCode::OK);
    assert_eq!(status(&at("/internal/routes"), &clv, None).await, StatusCode::UNAUTHORIZED, "the gateway's alone");
    let gateway = token(SYSTEM_NAMESPACE, "kyros-gateway");
    assert_eq!(status(&at("/internal/routes"), &gateway, None).await, StatusCode::OK);
    assert_eq!(status(&at("/internal/sealing-key"), &gateway, None).await, StatusCode::UNAUTHORIZED);
    // Without the audience it is a token for the API server, not for Kyros.
    let other_audience = plane.kubectl_ok(&["create", "token", "dash-clv"], "").unwrap().trim().to_owned();
    // A workload that nothing asks for hears what is taken back, and nothing else.
    let former = token("default", "dash-nothing");
    assert_eq!(status(&at("/internal/revocations"), &former, None).await, StatusCode::OK);
    assert_eq!(status(&at("/internal/sealing-key"), &former, None).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&at("/oauth/introspect"), &former, Some(form)).await, StatusCode::UNAUTHORIZED);
    for nobody in [
        token("default", "stranger"),
        token(SYSTEM_NAMESPACE, "dash-clv"),
        other_audience,
        gateway.clone(),
        String::from("x"),
    ] {
        assert_eq!(status(&at("/oauth/introspect"), &nobody, Some(form)).await, StatusCode::UNAUTHORIZED);
        assert_eq!(status(&at("/internal/sealing-key"), &nobody, None).await, StatusCode::UNAUTHORIZED);
        assert_eq!(status(&at("/internal/revocations"), &nobody, None).await, StatusCode::UNAUTHORIZED);
    }
    // From outside none of these paths exists.
    let outside = reqwest_client().get(format!("http://127.0.0.1:{}/internal/routes", install.port));
    let outside = outside.header("host", format!("kyros.localhost:{}", install.port)).bearer_auth(&gateway);
    assert_eq!(outside.send().await.unwrap().status(), StatusCode::NOT_FOUND);
}

/// A second gateway, which is told nothing and asks the API.
async fn the_gateway_learns_where_sidecars_are(plane: &ControlPlane, install: &mut Install) {
    let token = install.path("gateway.token");
    std::fs::write(&token, Install::workload_token(plane, SYSTEM_NAMESPACE, "kyros-gateway").unwrap()).unwrap();
    let port = || kyros_control_plane::free_port().unwrap();
    let (listen, admin) = (format!("127.0.0.1:{}", port()), format!("127.0.0.1:{}", port()));
    let arguments = [
        "gateway",
        "--listen",
        &listen,
        "--admin-listen",
        &admin,
        "--public-url",
        &install.public_url(),
        "--api-upstream",
        &format!("127.0.0.1:{}", install.api_port),
        "--workload-token",
        &token.display().to_string(),
    ];
    install.spawn("gateway-live", "kyros-sidecar", &arguments, &[]).unwrap();
    install.wait_until_ready("gateway-live", admin.parse().unwrap()).unwrap();
    let workloads = async || {
        let metrics = reqwest_client().get(format!("http://{admin}/metrics")).send().await.unwrap();
        let text = metrics.text().await.unwrap();
        text.lines().find_map(|line| line.strip_prefix("kyros_gateway_workloads ")).unwrap().to_owned()
    };
    assert_eq!(workloads().await, "2");
    let spec = r#"{"apiVersion":"kyros.dev/v1alpha1","kind":"Dashboard","metadata":{"name":"new"},
                   "spec":{"title":"New","image":"localhost/new:1"}}"#;
    plane.kubectl_ok(&["apply", "-f", "-"], spec).unwrap();
    let begun = Instant::now();
    while workloads().await != "3" {
        assert!(begun.elapsed() < Duration::from_secs(20), "the new dashboard is never routed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // A host that names nothing is answered by the decoy, as one that is not signed in.
    let host = format!("none--acme.kyros.localhost:{}", install.port);
    let answer = reqwest_client().get(format!("http://{listen}/")).header("host", &host).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
}
