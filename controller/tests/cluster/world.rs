//! One namespace with a controller in it, and what the tests ask of both.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    path::Path,
    sync::LazyLock,
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Namespace, Pod, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{
    Api, Client, Config, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
    client::ClientBuilder,
    config::{KubeConfigOptions, Kubeconfig},
    core::{NamespaceResourceScope, PartialObjectMeta},
};
use kyros_control_plane::{Assets, ControlPlane, Options};
use kyros_controller::{
    lease::Fence,
    resources::{Dashboard, Tenant, crds},
    run::{self, dashboard::build::Platform},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::chaos::Chaos;

/// How long anything may take to come about on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// The one control plane of this program, with the definitions installed; `None` where there is none to be had.
static PLANE: LazyLock<Option<ControlPlane>> = LazyLock::new(|| start(&crds().iter().map(json_of).collect::<Vec<_>>()));

/// A control plane with some definitions; `None` where there is none to be had.
pub(crate) fn start(definitions: &[Value]) -> Option<ControlPlane> {
    kyros_shared_config::crypto::install_provider();
    let plane = ControlPlane::start(&Assets::find()?, Options { controllers: true }).expect("a control plane");
    for definition in definitions {
        let output = plane.kubectl(&["apply", "-f", "-"], &definition.to_string()).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let established = ["wait", "--for=condition=Established", "crd/tenants.kyros.dev", "crd/dashboards.kyros.dev"];
    plane.kubectl_ok(&established, "").unwrap();
    Some(plane)
}

pub(crate) fn plane() -> Option<&'static ControlPlane> {
    PLANE.as_ref()
}

/// A client, through a layer that counts and fails.
pub(crate) async fn client(kubeconfig: &Path, chaos: &Chaos) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    config.default_retry = false;
    ClientBuilder::try_from(config).unwrap().with_layer(chaos).build()
}

/// A namespace of a test's own.
pub(crate) struct World {
    pub(crate) plane: &'static ControlPlane,
    pub(crate) client: Client,
    pub(crate) namespace: String,
    running: Option<(CancellationToken, tokio::task::JoinHandle<()>)>,
}

impl World {
    /// `None` where there is no control plane.
    pub(crate) async fn new(name: &str) -> Option<Self> {
        Self::on(&PLANE, name).await
    }

    /// On another control plane than the tests' own.
    pub(crate) async fn on(plane: &'static LazyLock<Option<ControlPlane>>, name: &str) -> Option<Self> {
        let plane = tokio::task::spawn_blocking(|| plane.as_ref()).await.unwrap()?;
        let client = client(plane.kubeconfig(), &Chaos::none()).await;
        let namespace = format!("{name}-{:08x}", rand::random::<u32>());
        let metadata = kube::core::ObjectMeta { name: Some(namespace.clone()), ..Default::default() };
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let object = Namespace { metadata, ..Namespace::default() };
        namespaces.create(&PostParams::default(), &object).await.unwrap();
        Some(Self { plane, client, namespace, running: None })
    }

    pub(crate) fn platform(&self) -> Platform {
        Platform {
            namespace: self.namespace.clone(),
            system_namespace: "kyros-system".into(),
            public_url: "http://kyros.localhost:8080".parse().unwrap(),
            api_url: "http://kyros-api.kyros-system.svc:8080".parse().unwrap(),
            sidecar_image: "localhost/sidecar:1".into(),
            image_pull_policy: "Never".into(),
            monitoring_namespace: None,
        }
    }

    /// Starts the controller, with all rights, through the layer.
    pub(crate) async fn run(&mut self, chaos: &Chaos) {
        let client = client(self.plane.kubeconfig(), chaos).await;
        self.run_as(client);
    }

    pub(crate) fn run_as(&mut self, client: Client) {
        let stop = CancellationToken::new();
        let lead =
            run::lead(client, self.platform(), Fence::open(), "test".into(), std::sync::Arc::default(), stop.clone());
        self.running = Some((stop, tokio::spawn(lead)));
    }

    /// Ends the controller at once, as a kill would.
    pub(crate) async fn kill(&mut self) {
        if let Some((stop, task)) = self.running.take() {
            stop.cancel();
            task.abort();
            let _ = task.await;
        }
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) async fn apply<K>(&self, name: &str, spec: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let body = json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": {"name": name}, "spec": spec,
        });
        let params = PatchParams::apply("person").force();
        self.api::<K>().patch(name, &params, &Patch::Apply(&body)).await.unwrap()
    }

    pub(crate) async fn dashboard(&self, name: &str, more: Value) -> Dashboard {
        let mut spec = json!({"title": name, "image": "localhost/dashboard:1"});
        merge(&mut spec, more);
        self.apply(name, spec).await
    }

    pub(crate) async fn tenant(&self, name: &str, dashboards: &[&str], suspended: bool) -> Tenant {
        self.apply(name, json!({"displayName": name, "dashboards": dashboards, "suspended": suspended})).await
    }

    /// Merges something into a resource.
    pub(crate) async fn patch<K>(&self, name: &str, patch: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        self.api::<K>().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap()
    }

    pub(crate) async fn names<K>(&self) -> Vec<String>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let ours = ListParams::default().labels("app.kubernetes.io/managed-by=kyros-controller");
        let listed = self.api::<K>().list_metadata(&ours).await.unwrap();
        let mut names: Vec<String> = listed.items.iter().map(ResourceExt::name_any).collect();
        names.sort();
        names
    }

    /// Every child that there is: kind, name, uid and version.
    pub(crate) async fn children(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        self.collect::<ServiceAccount>(&mut all).await;
        self.collect::<ConfigMap>(&mut all).await;
        self.collect::<NetworkPolicy>(&mut all).await;
        self.collect::<Service>(&mut all).await;
        self.collect::<PodDisruptionBudget>(&mut all).await;
        self.collect::<Deployment>(&mut all).await;
        all
    }

    async fn collect<K>(&self, all: &mut BTreeMap<String, String>)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let ours = ListParams::default().labels("app.kubernetes.io/managed-by=kyros-controller");
        for object in self.api::<K>().list_metadata(&ours).await.unwrap().items {
            let object: PartialObjectMeta<K> = object;
            let version = object.metadata.generation.map_or_else(
                || object.resource_version().unwrap_or_default(),
                |generation| format!("generation {generation}"),
            );
            all.insert(
                format!("{} {}", K::kind(&()), object.name_any()),
                format!("{} {version}", object.uid().unwrap()),
            );
        }
    }

    /// Waits until a question is answered with yes.
    pub(crate) async fn until<F: Future<Output = bool>>(&self, what: &str, ask: impl Fn() -> F) {
        let begun = Instant::now();
        while !ask().await {
            if begun.elapsed() > PATIENCE {
                let children = self.children().await;
                panic!("never: {what}; children: {children:#?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits for the reason of a dashboard's condition.
    pub(crate) async fn until_dashboard(&self, name: &str, condition: &str, reason: &str) {
        self.until(&format!("{name}: {condition} is {reason}"), async || {
            let found = self.api::<Dashboard>().get(name).await.unwrap();
            let status = found.status.unwrap_or_default();
            status.observed_generation == found.metadata.generation && has(&status.conditions, condition, reason)
        })
        .await;
    }

    /// Waits for the reason of a tenant's condition.
    pub(crate) async fn until_tenant(&self, name: &str, condition: &str, reason: &str) {
        self.until(&format!("{name}: {condition} is {reason}"), async || {
            let found = self.api::<Tenant>().get(name).await.unwrap();
            let status = found.status.unwrap_or_default();
            status.observed_generation == found.metadata.generation && has(&status.conditions, condition, reason)
        })
        .await;
    }

    /// Waits until nothing has been written for a while.
    pub(crate) async fn until_quiet(&self, chaos: &Chaos) {
        let mut last = (chaos.writes(), Instant::now());
        let begun = Instant::now();
        while last.1.elapsed() < Duration::from_secs(2) {
            assert!(
                begun.elapsed() < PATIENCE,
                "never quiet: {:#?}",
                chaos.log().iter().rev().take(20).collect::<Vec<_>>()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
            if chaos.writes() != last.0 {
                last = (chaos.writes(), Instant::now());
            }
        }
    }

    /// Does a kubelet's work: every pod there is runs and is ready.
    pub(crate) async fn make_pods_ready(&self) {
        let pods: Api<Pod> = self.api();
        for pod in pods.list(&ListParams::default()).await.unwrap() {
            let now = k8s_openapi::jiff::Timestamp::now().to_string();
            let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now});
            let status = json!({"status": {
                "phase": "Running", "startTime": now,
                "conditions": [condition("Ready"), condition("ContainersReady"), condition("PodScheduled")],
            }});
            let _ = pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&status)).await;
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some((stop, task)) = self.running.take() {
            stop.cancel();
            task.abort();
        }
    }
}

pub(crate) fn has(conditions: &[Condition], kind: &str, reason: &str) -> bool {
    conditions.iter().any(|condition| condition.type_ == kind && condition.reason == reason)
}

pub(crate) fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

/// An object as it is sent, whatever it is.
pub(crate) fn json_of(object: &impl Serialize) -> Value {
    serde_json::to_value(object).unwrap()
}
