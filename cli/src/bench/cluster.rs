//! What the benchmark asks of a cluster and of a process: objects made in bulk, metrics read, memory looked up.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use futures_util::{StreamExt as _, TryStreamExt as _};
use kube::{
    Api, Client, Config, Resource,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};

/// Requests at once while objects are made.
const AT_ONCE: usize = 16;

/// A client that never retries.
pub(crate) async fn client(kubeconfig: &Path) -> anyhow::Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(kyros_controller::cluster::client_of(config)?)
}

/// Makes many objects.
pub(crate) async fn create<K>(client: &Client, namespace: &str, objects: impl Iterator<Item = K>) -> anyhow::Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    futures_util::stream::iter(objects)
        .map(|object| {
            let api = api.clone();
            async move { api.create(&PostParams::default(), &object).await.map(drop) }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await
        .context("making objects")
}

/// A process that ends with its owner.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn start(program: &Path, arguments: &[&str], kubeconfig: &Path) -> anyhow::Result<Self> {
        let child = Command::new(program)
            .args(arguments)
            .env("KUBECONFIG", kubeconfig)
            .env("KYROS_LOG", "warn")
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("{}: build it first: cargo build --release --bins", program.display()))?;
        Ok(Self(child))
    }

    pub(crate) fn signal(&self, name: &str) -> anyhow::Result<()> {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.0.id().to_string()]).status()?;
        if sent.success() { Ok(()) } else { bail!("kill -{name} failed") }
    }

    /// Memory in MiB: resident now, and the most there ever was.
    pub(crate) fn memory(&self) -> anyhow::Result<(f64, f64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let field = |name: &str| -> Option<f64> {
            let line = status.lines().find(|line| line.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kib| kib / 1024.0)
        };
        field("VmRSS:").zip(field("VmHWM:")).context("no memory figures: this needs Linux")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until a part says that it is ready.
pub(crate) async fn until_ready(admin: SocketAddr) {
    let http = reqwest::Client::new();
    loop {
        match http.get(format!("http://{admin}/readyz")).send().await {
            Ok(answer) if answer.status().is_success() => return,
            Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// The sum of a counter over its labels.
pub(crate) async fn counter(admin: SocketAddr, name: &str) -> anyhow::Result<u64> {
    let text = reqwest::get(format!("http://{admin}/metrics")).await?.text().await?;
    let values = text.lines().filter(|line| line.starts_with(name)).filter_map(|line| line.rsplit_once(' '));
    Ok(values.filter_map(|(_, value)| value.parse::<u64>().ok()).sum())
}
