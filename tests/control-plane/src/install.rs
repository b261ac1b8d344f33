//! A whole Kyros on a control plane, as processes: what a kubelet would start as pods, with the settings and the service
//! accounts that the controller made for them.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::{ControlPlane, PATIENCE, free_port};

/// The namespace of keys.
pub const SYSTEM_NAMESPACE: &str = "kyros-system";

/// Where things are.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The folder of Kyros's programs.
    pub programs: PathBuf,
    /// The repository: definitions, manifests, people.
    pub repository: PathBuf,
}

/// A running installation. Dropping it ends its processes.
pub struct Install {
    folder: TempDir,
    sources: Sources,
    processes: Vec<(String, Process)>,
    /// The gateway's port.
    pub port: u16,
    /// The API's port, as sidecars reach it.
    pub api_port: u16,
    gateway_admin: SocketAddr,
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Install {
    /// Installs the definitions, the demo's resources and everything that serves them.
    pub fn start(plane: &ControlPlane, sources: &Sources) -> anyhow::Result<Self> {
        let (port, api_port) = (free_port()?, free_port()?);
        let gateway_admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let folder = tempfile::Builder::new().prefix("kyros-install-").tempdir()?;
        let mut install =
            Self { folder, sources: sources.clone(), processes: Vec::new(), port, api_port, gateway_admin };
        let at = |relative: &str| sources.repository.join(relative).display().to_string();
        plane.kubectl_ok(&["apply", "-f", &at("charts/kyros/files/crds")], "")?;
        let definitions = ["crd/tenants.kyros.dev", "crd/dashboards.kyros.dev"];
        plane.kubectl_ok(&[&["wait", "--for=condition=Established"][..], &definitions[..]].concat(), "")?;
        plane.kubectl_ok(&["create", "namespace", SYSTEM_NAMESPACE], "")?;
        plane.kubectl_ok(&["-n", SYSTEM_NAMESPACE, "create", "serviceaccount", "kyros-gateway"], "")?;
        install.start_controller(plane)?;
        plane.kubectl_ok(&["apply", "-f", &at("data/manifests")], "")?;
        install.start_api(plane)?;
        let routes = ["clv", "risk"].map(|dashboard| install.start_dashboard(plane, dashboard));
        let routes = routes.into_iter().collect::<anyhow::Result<Vec<_>>>()?.join(",");
        install.start_gateway(&routes)?;
        Ok(install)
    }

    /// Where people reach the portal.
    pub fn public_url(&self) -> String {
        format!("http://kyros.localhost:{}", self.port)
    }

    /// Where the gateway says how it is.
    pub fn gateway_admin(&self) -> SocketAddr {
        self.gateway_admin
    }

    /// A token of a service account for Kyros's own use.
    pub fn workload_token(plane: &ControlPlane, namespace: &str, account: &str) -> anyhow::Result<String> {
        let arguments =
            ["-n", namespace, "create", "token", account, "--audience", "kyros-internal", "--duration", "1h"];
        Ok(plane.kubectl_ok(&arguments, "")?.trim().to_owned())
    }

    /// The process id of a part, such as `kyros-controller`.
    pub fn pid(&self, part: &str) -> Option<u32> {
        self.processes.iter().find(|(name, _)| name == part).map(|(_, process)| process.0.id())
    }

    /// What all parts have logged.
    pub fn log(&self) -> String {
        let logs = self.processes.iter().map(|(part, _)| self.path(&format!("{part}.log")));
        logs.map(|log| fs::read_to_string(log).unwrap_or_default()).collect()
    }

    /// A file of the installation's own folder.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// Starts one more part, whose log is `part.log`.
    pub fn spawn(
        &mut self,
        part: &str,
        program: &str,
        arguments: &[&str],
        environment: &[(String, String)],
    ) -> anyhow::Result<()> {
        let log = fs::File::create(self.path(&format!("{part}.log")))?;
        let child = Command::new(self.sources.programs.join(program))
            .args(arguments)
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{program}: build everything first: cargo build --workspace"))?;
        self.processes.push((part.to_owned(), Process(child)));
        Ok(())
    }

    /// Waits until a part says that it is ready.
    pub fn wait_until_ready(&self, part: &str, admin: SocketAddr) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let url = format!("http://{admin}/readyz");
            let asked =
                Command::new(self.sources.programs.join("kyros-sidecar")).args(["healthcheck", &url]).output()?;
            if asked.status.success() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let log = fs::read_to_string(self.path(&format!("{part}.log"))).unwrap_or_default();
                bail!("{part} is not ready: {}\n{log}", String::from_utf8_lossy(&asked.stderr));
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    fn start_controller(&mut self, plane: &ControlPlane) -> anyhow::Result<()> {
        let environment = variables(&[
            ("KUBECONFIG", &plane.kubeconfig().display()),
            ("KYROS_SYSTEM_NAMESPACE", &SYSTEM_NAMESPACE),
            ("KYROS_PUBLIC_URL", &self.public_url()),
            ("KYROS_API_URL", &format!("http://127.0.0.1:{}", self.api_port)),
        ]);
        self.spawn("kyros-controller", "kyros-controller", &["run"], &environment)
    }

    fn start_api(&mut self, plane: &ControlPlane) -> anyhow::Result<()> {
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let keys = self.path("cluster-keys.json");
        let database = self.path("metadata.db");
        let environment = variables(&[
            ("KUBECONFIG", &plane.kubeconfig().display()),
            ("KYROS_SOURCE", &"cluster:default"),
            ("KYROS_METADATA_DB", &database.display()),
            ("KYROS_CLUSTER_KEYS", &keys.display()),
            ("KYROS_ADMIN_LISTEN", &admin),
        ]);
        self.spawn("project", "kyros-controller", &["project"], &environment)?;
        self.wait_until_ready("project", admin)?;
        let data = self.path("data");
        let made = Command::new(self.sources.programs.join("kyros-demo-data")).arg("--data-dir").arg(&data).status()?;
        if !made.success() {
            bail!("no demo data");
        }
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let environment = variables(&[
            ("KYROS_LISTEN", &format!("127.0.0.1:{}", self.api_port)),
            ("KYROS_ADMIN_LISTEN", &admin),
            ("KYROS_PUBLIC_URL", &self.public_url()),
            ("KYROS_STATE_DIR", &self.path("state").display()),
            ("KYROS_METADATA_DB", &database.display()),
            ("KYROS_DATA_DIR", &data.display()),
            ("KYROS_MOCK_PEOPLE", &self.sources.repository.join("data/people.yaml").display()),
            ("KYROS_CLUSTER_KEYS", &keys.display()),
            ("KYROS_WORKLOAD_NAMESPACE", &"default"),
            ("KYROS_GATEWAY_ACCOUNT", &format!("{SYSTEM_NAMESPACE}:kyros-gateway")),
        ]);
        self.spawn("kyros-api", "kyros-api", &[], &environment)?;
        self.wait_until_ready("kyros-api", admin)
    }

    /// A dashboard and its sidecar, which is told what the controller wrote for it; only addresses are this machine's.
    fn start_dashboard(&mut self, plane: &ControlPlane, dashboard: &str) -> anyhow::Result<String> {
        let workload = format!("dash-{dashboard}");
        plane.kubectl_ok(&["wait", "--for=create", "--timeout=60s", &format!("configmap/{workload}")], "")?;
        let template = "go-template={{range $name, $value := .data}}{{$name}}={{$value}}\n{{end}}";
        let settings = plane.kubectl_ok(&["get", "configmap", &workload, "-o", template], "")?;
        let token = self.path(&format!("{workload}.token"));
        fs::write(&token, Self::workload_token(plane, "default", &workload)?)?;
        let address = || Ok::<_, anyhow::Error>(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?)));
        let (proxy, admin, egress) = (address()?, address()?, address()?);
        let upstream = format!("unix:{}", self.path(&format!("{dashboard}.sock")).display());
        let mut environment: Vec<(String, String)> = settings
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        environment.extend(variables(&[
            ("KYROS_LISTEN", &proxy),
            ("KYROS_ADMIN_LISTEN", &admin),
            ("KYROS_EGRESS_LISTEN", &egress),
            ("KYROS_UPSTREAM", &upstream),
            ("KYROS_WORKLOAD_TOKEN", &token.display()),
        ]));
        self.spawn(&workload, "kyros-sidecar", &["sidecar"], &environment)?;
        let environment =
            variables(&[("KYROS_DASHBOARD_LISTEN", &upstream), ("KYROS_API_URL", &format!("http://{egress}"))]);
        self.spawn(dashboard, &format!("kyros-{dashboard}"), &[], &environment)?;
        self.wait_until_ready(&workload, admin)?;
        Ok(format!("{dashboard}={proxy}"))
    }

    fn start_gateway(&mut self, routes: &str) -> anyhow::Result<()> {
        let environment = variables(&[
            ("KYROS_LISTEN", &format!("127.0.0.1:{}", self.port)),
            ("KYROS_ADMIN_LISTEN", &self.gateway_admin),
            ("KYROS_PUBLIC_URL", &self.public_url()),
            ("KYROS_API_UPSTREAM", &format!("127.0.0.1:{}", self.api_port)),
            ("KYROS_ROUTES", &routes),
        ]);
        self.spawn("gateway", "kyros-sidecar", &["gateway"], &environment)?;
        self.wait_until_ready("gateway", self.gateway_admin)
    }
}

/// Environment variables from anything that can be written.
fn variables(pairs: &[(&str, &dyn std::fmt::Display)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect()
}

/// The folder of the program that runs now: Cargo puts all of a workspace's there.
pub fn own_folder(program: &Path) -> PathBuf {
    program.parent().map(Path::to_owned).unwrap_or_default()
}
