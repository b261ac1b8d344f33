//! One file means the same in a folder and in a cluster: what the API server accepts is what `kyros validate` accepts.

use kube::Client;
use kyros_controller::{
    directory,
    resources::Dashboard,
    run::dashboard::{build, validate, validate::Surroundings},
};
use rand::{RngExt as _, SeedableRng as _, seq::IndexedRandom as _};
use serde_json::{Value, json};

use crate::world::World;

/// What a data source may and may not be called.
fn source_names() -> Vec<Value> {
    let text = |length: usize| Value::String("a".repeat(length));
    let address = json!("https://10.0.0.1");
    vec![json!("lake"), json!("local"), json!("a-1"), json!("a--b"), json!("A"), address, json!(""), text(30), text(31)]
}

/// Whole numbers that no field of 32 bits holds, or none below zero.
fn odd_numbers() -> Vec<Value> {
    let wide = [i64::from(i32::MAX) + 1, i64::from(i32::MIN) - 1, 99_999_999_999, i64::MAX, i64::MIN, -1];
    wide.into_iter().map(Value::from).collect()
}

/// Probes of ports that are and are none.
fn ports() -> impl Iterator<Item = Value> {
    let numbers =
        [odd_numbers(), vec![json!(0), json!(1), json!(65_535), json!(65_536), json!("99999999999")]].concat();
    ["httpGet", "tcpSocket", "grpc"]
        .into_iter()
        .flat_map(move |handler| numbers.clone().into_iter().map(move |port| json!({handler: {"port": port}})))
}

/// Probes whose other numbers are odd.
fn periods() -> impl Iterator<Item = Value> {
    let fields = [
        "failureThreshold",
        "initialDelaySeconds",
        "periodSeconds",
        "successThreshold",
        "terminationGracePeriodSeconds",
        "timeoutSeconds",
    ];
    let with = |field: &'static str| {
        odd_numbers().into_iter().map(move |number| json!({"exec": {"command": ["true"]}, field: number}))
    };
    fields.into_iter().flat_map(with)
}

/// Places in a resource, and what may be written there.
#[expect(clippy::too_many_lines, reason = "a table")]
fn mutations(kind: &str) -> Vec<(&'static str, Vec<Value>)> {
    let text = |length: usize| Value::String("a".repeat(length));
    let mut all = vec![(
        "/metadata/name",
        vec![
            json!("a--b"),
            json!("A"),
            json!("-a"),
            json!("a-"),
            json!("1a"),
            json!("a.b"),
            text(30),
            text(31),
            json!(""),
        ],
    )];
    if kind == "Tenant" {
        all.extend([
            ("/spec/displayName", vec![text(80), text(81), json!(""), json!(7), Value::Null]),
            ("/spec/suspended", vec![json!(true), json!("yes"), json!(1), Value::Null]),
            (
                "/spec/members",
                vec![
                    json!([]),
                    json!([{"user": "a@b"}]),
                    json!([{"user": "a", "group": "b"}]),
                    json!([{}]),
                    json!([{"user": "a b"}]),
                    json!([{"group": ""}]),
                    json!([{"user": "a", "roles": ["x", "x"]}]),
                    json!([{"user": "a", "roles": ["X"]}]),
                    json!([{"user": "a", "rolls": ["x"]}]),
                    json!({"user": "a"}),
                ],
            ),
            (
                "/spec/dashboards",
                vec![json!(["clv", "clv"]), json!(["a--b"]), json!([""]), json!("clv"), json!(["clv", "risk"])],
            ),
            (
                "/spec/branding",
                vec![
                    json!({"accentColor": "#12345g"}),
                    json!({"accentColor": "#ABCDEF"}),
                    json!({"accentColor": "red"}),
                    json!({"logoUrl": "//evil"}),
                    json!({"logoUrl": "/logo.svg"}),
                    json!({"logoUrl": "http://x"}),
                    json!({}),
                ],
            ),
            (
                "/spec/limits",
                vec![
                    json!({"concurrentQueries": 0}),
                    json!({"concurrentQueries": 65}),
                    json!({"requestsPerSecond": 1.5}),
                    json!({"requestsPerSecond": 10_000}),
                    json!({"concurrentQueries": 99_999_999_999_i64}),
                    json!({"requestsPerSecond": -1}),
                    json!({"other": 1}),
                ],
            ),
            ("/spec/source", source_names()),
            (
                "/spec/embedding",
                vec![
                    json!({}),
                    json!({"allowedOrigins": []}),
                    json!({"allowedOrigins": ["https://intranet.acme.example", "http://localhost:3000"]}),
                    json!({"allowedOrigins": ["https://a.example:65535", "https://a.example"]}),
                    json!({"allowedOrigins": ["https://a.example", "https://a.example"]}),
                    json!({"allowedOrigins": ["https://a.example:65536"]}),
                    json!({"allowedOrigins": ["https://a.example/"]}),
                    json!({"allowedOrigins": ["https://*.example"]}),
                    json!({"allowedOrigins": ["https://A.example"]}),
                    json!({"allowedOrigins": ["https://192.0.2.1"]}),
                    json!({"allowedOrigins": ["http://a.example"]}),
                    json!({"allowedOrigins": ["https://a.example\n"]}),
                    json!({"allowedOrigins": [""]}),
                    json!({"allowedOrigins": [format!("https://{}a:65535", "a.".repeat(126))]}),
                    json!({"allowedOrigins": [format!("https://{}a:65535", "a.".repeat(127))]}),
                    json!({"allowedOrigins": (0..17).map(|index| format!("https://a{index}")).collect::<Vec<_>>()}),
                    json!({"allowedOrigins": "https://a.example"}),
                ],
            ),
        ]);
    } else {
        all.extend([
            ("/spec/title", vec![text(80), text(81), json!(""), Value::Null]),
            ("/spec/image", vec![json!(""), json!("-x"), json!("a b"), json!("a:1"), Value::Null]),
            ("/spec/serviceRef", vec![json!({"name": "x"}), json!({"name": "X"}), json!({}), json!({"name": "1x"})]),
            ("/spec/isolation", vec![json!("PerTenant"), json!("Shared"), json!("Other"), json!("shared")]),
            ("/spec/transport", vec![json!("TCP"), json!("Unix"), json!("tcp"), json!(1), Value::Null]),
            (
                "/spec/port",
                vec![
                    json!(0),
                    json!(1),
                    json!(65_535),
                    json!(65_536),
                    json!(15_001),
                    json!(9091),
                    json!("8050"),
                    json!(80.5),
                    json!(99_999_999_999_i64),
                    json!(-1),
                ],
            ),
            (
                "/spec",
                ["TCP", "Unix"]
                    .map(|transport| json!({"title": "Old", "serviceRef": {"name": "old"}, "transport": transport}))
                    .to_vec(),
            ),
            ("/spec/replicas", [vec![json!(0), json!(100), json!(101)], odd_numbers()].concat()),
            ("/spec/source", source_names()),
            ("/spec/datasets", vec![json!(["a", "a"]), json!(["a_b"]), json!(["_a"]), json!(["A"]), json!([])]),
            (
                "/spec/env",
                vec![
                    json!([{"name": "A", "value": "1"}]),
                    json!([{"name": "A"}, {"name": "A"}]),
                    json!([{"name": "KYROS_X", "value": "1"}]),
                    json!([{"name": "1A"}]),
                    json!([{"value": "1"}]),
                    json!([{"name": "A", "value": 1}]),
                    json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]),
                    json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}]),
                ],
            ),
            (
                "/spec/resources",
                vec![
                    json!({"limits": {"cpu": "1"}}),
                    json!({"limits": {"cpu": 1}}),
                    json!({"limits": {"cpu": "many"}}),
                    json!({"requests": {"memory": "1Gi"}}),
                    json!({"requests": {"memory": ""}}),
                    json!({"limits": {"cpu": 99_999_999_999_i64}}),
                    json!({"limits": {"cpu": -1}}),
                    json!({"claims": []}),
                ],
            ),
            (
                "/spec/readinessProbe",
                vec![
                    json!({"httpGet": {"port": 8050, "path": "/"}}),
                    json!({"httpGet": {"port": "web"}}),
                    json!({"httpGet": {}}),
                    json!({"exec": {"command": ["true"]}}),
                    json!({"tcpSocket": {"port": 1}}),
                    json!({"grpc": {"port": 1}}),
                    json!({"periodSeconds": "1"}),
                    json!({}),
                ],
            ),
            ("/spec/livenessProbe", ports().chain(periods()).collect()),
        ]);
    }
    all.push(("/spec/nonsense", vec![json!(1)]));
    all.push(("/spec", vec![json!({}), Value::Null]));
    all
}

fn base(kind: &str) -> Value {
    let spec = if kind == "Tenant" {
        json!({"displayName": "Acme", "members": [{"user": "ana@acme.example", "roles": ["viewer"]}], "dashboards": ["clv"]})
    } else {
        json!({"title": "CLV", "image": "localhost/clv:1", "datasets": ["transactions"]})
    };
    json!({"apiVersion": "kyros.dev/v1alpha1", "kind": kind, "metadata": {"name": "acme"}, "spec": spec})
}

fn set(object: &mut Value, pointer: &str, value: &Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    if let Some(Value::Object(parent)) = object.pointer_mut(parent) {
        parent.insert(key.to_owned(), value.clone());
    }
}

/// Whether the API server would take it, and what it says otherwise.
async fn server(client: &Client, namespace: &str, object: &Value) -> Result<(), String> {
    let plural = if object["kind"] == "Tenant" { "tenants" } else { "dashboards" };
    let path = format!(
        "/apis/kyros.dev/v1alpha1/namespaces/{namespace}/{plural}?dryRun=All&fieldValidation=Strict&fieldManager=test"
    );
    let request = http::Request::post(path)
        .header("content-type", "application/json")
        .body(serde_json::to_vec(object).unwrap())
        .unwrap();
    client.request::<Value>(request).await.map(|_| ()).map_err(|error| error.to_string())
}

/// Whether a folder with it would be taken, and the resource where it is a dashboard.
fn folder(object: &Value) -> Result<Option<Dashboard>, String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.yaml"), serde_json::to_string(object).unwrap()).unwrap();
    match directory::load(folder.path()) {
        Ok(set) => Ok(set.dashboards.into_iter().next()),
        Err(problems) => Err(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_accepts_exactly_what_validate_accepts_and_what_is_accepted_builds() {
    let Some(world) = World::new("schema").await else { return };
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(5);
    let (mut accepted, mut refused) = (0, 0);
    for kind in ["Tenant", "Dashboard"] {
        let mutations = mutations(kind);
        let mut objects = vec![base(kind)];
        for (pointer, values) in &mutations {
            for value in values {
                let mut object = base(kind);
                set(&mut object, pointer, value);
                objects.push(object);
            }
        }
        for _ in 0..120 {
            let mut object = base(kind);
            for _ in 0..random.random_range(2..4) {
                let (pointer, values) = mutations.choose(&mut random).unwrap();
                set(&mut object, pointer, values.choose(&mut random).unwrap());
            }
            objects.push(object);
        }
        for object in objects {
            let (there, here) = (server(&world.client, &world.namespace, &object).await, folder(&object));
            assert_eq!(there.is_ok(), here.is_ok(), "{object}\ncluster: {there:?}\nfolder: {:?}", here.as_ref().err());
            match here {
                Ok(dashboard) => {
                    accepted += 1;
                    let plan = dashboard.map(|dashboard| validate(&dashboard, &Surroundings::default()));
                    if let Some(Ok(plan)) = plan {
                        let _ = build(&plan, &world.platform());
                    }
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(accepted > 40 && refused > 150, "{accepted} accepted, {refused} refused: the test tests too little");
}
