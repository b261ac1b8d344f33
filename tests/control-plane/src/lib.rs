//! A real Kubernetes control plane on loopback: etcd, kube-apiserver and, where asked for, the controllers that matter.
//!
//! ```text
//!  tests, benchmarks ──► ControlPlane ──► etcd ◄── kube-apiserver ◄── kube-controller-manager
//! ```
//!
//! The programs come from `tests/control-plane/build`, or from `KUBEBUILDER_ASSETS`; a cluster that exists is used where
//! `KUBECONFIG` is set. It promises that nothing stays behind: every process ends with the one that started it, however that
//! one ends. There is no kubelet, so no pod ever runs.

pub mod install;

use std::{
    fs,
    io::Write as _,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

/// How long the API server may take to be ready. A busy machine needs a few times the usual five seconds.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// The token of an administrator.
const ADMIN_TOKEN: &str = "admin";
/// Runs a program until it ends or standard input does, which it does when whoever holds the other end is gone.
const GUARD: &str = r#"folder=$1; shift
"$@" </dev/null & pid=$!
trap '' INT TERM
while read -r _; do :; done
kill -KILL $pid 2>/dev/null; wait $pid 2>/dev/null
[ -z "$folder" ] || { sleep 0.5; rm -rf "$folder"; }"#;
/// The controllers that a Dashboard's children meet.
const CONTROLLERS: &str = "deployment-controller,replicaset-controller,garbage-collector-controller,\
                           serviceaccount-controller,root-ca-certificate-publisher-controller,namespace-controller";

/// Where the programs of a control plane are, or a cluster that exists.
#[derive(Debug, Clone)]
pub enum Assets {
    /// A folder with etcd, kube-apiserver, kube-controller-manager and kubectl.
    Folder(PathBuf),
    /// The kubeconfig of a cluster.
    Cluster(PathBuf),
}

impl Assets {
    /// What this machine has: `KYROS_TEST_ASSETS`, `KUBEBUILDER_ASSETS`, `KUBECONFIG`, in this order. Without any of them a
    /// line says that Kubernetes tests are skipped; where `KYROS_TEST_REQUIRE_CLUSTER` is set that is an error instead.
    ///
    /// # Panics
    /// Where a cluster is required and there is none.
    pub fn find() -> Option<Self> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = ["KYROS_TEST_ASSETS", "KUBEBUILDER_ASSETS"].iter().find_map(|name| set(name)).map(Self::Folder);
        let found = folder.or_else(|| set("KUBECONFIG").map(Self::Cluster));
        if found.is_none() {
            let hint =
                "no Kubernetes: set KYROS_TEST_ASSETS=$(tests/control-plane/build), KUBEBUILDER_ASSETS or KUBECONFIG";
            assert!(set("KYROS_TEST_REQUIRE_CLUSTER").is_none(), "{hint}");
            eprintln!("skipped: {hint}");
        }
        found
    }
}

/// What to start beside etcd and the API server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Deployments get replica sets, and what has no owner any more is deleted.
    pub controllers: bool,
}

/// A running control plane. Dropping it ends everything.
pub struct ControlPlane {
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    helm: Option<PathBuf>,
    server: Option<Server>,
}

/// What we started ourselves; the folder goes last.
struct Server {
    address: String,
    _processes: Vec<Guarded>,
    folder: TempDir,
}

/// A process that ends with this one.
struct Guarded(Child);

impl Guarded {
    /// Starts a program in a folder; its output goes to a log there. The folder of the last one is deleted after its end.
    fn start(program: &Path, arguments: &[String], folder: &Path, is_last: bool) -> anyhow::Result<Self> {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let output = fs::File::create(folder.join(format!("{name}.log")))?;
        let child = Command::new("bash")
            .args(["-c", GUARD, "guard"])
            .arg(if is_last { folder } else { Path::new("") })
            .arg(program)
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| program.display().to_string())?;
        Ok(Self(child))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

impl ControlPlane {
    /// Starts one from a folder of programs, or takes the cluster that is there.
    pub fn start(assets: &Assets, options: Options) -> anyhow::Result<Self> {
        match assets {
            Assets::Cluster(kubeconfig) => Ok(Self {
                kubeconfig: kubeconfig.clone(),
                kubectl: "kubectl".into(),
                helm: Some("helm".into()),
                server: None,
            }),
            // Between finding a free port and using it, somebody else may take it.
            Assets::Folder(programs) => start(programs, options).or_else(|_| start(programs, options)),
        }
    }

    /// A kubeconfig with every right.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A kubeconfig for the holder of another token.
    pub fn kubeconfig_for(&self, token: &str, path: &Path) -> anyhow::Result<()> {
        let own = fs::read_to_string(&self.kubeconfig)?;
        let server = self.server.as_ref().context("only for a control plane of our own")?;
        debug_assert!(own.contains(&server.address));
        Ok(fs::write(path, kubeconfig(&server.address, &server.folder.path().join("certs/apiserver.crt"), token))?)
    }

    /// helm, if it is there; otherwise a line says that something is skipped.
    ///
    /// # Panics
    /// Where a cluster is required (see [`Assets::find`]) and there is no helm.
    pub fn helm(&self) -> Option<&Path> {
        if self.helm.is_none() {
            let required = std::env::var_os("KYROS_TEST_REQUIRE_CLUSTER").is_some_and(|value| !value.is_empty());
            assert!(!required, "no helm beside the API server: run tests/control-plane/build");
            eprintln!("skipped: no helm");
        }
        self.helm.as_deref()
    }

    /// Runs `kubectl` as administrator, with some standard input.
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> anyhow::Result<Output> {
        let mut child = Command::new(&self.kubectl)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("kubectl")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        Ok(child.wait_with_output()?)
    }

    /// Like [`kubectl`](Self::kubectl); anything but success is an error with what it printed.
    pub fn kubectl_ok(&self, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        let output = self.kubectl(arguments, input)?;
        if !output.status.success() {
            bail!("kubectl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn start(programs: &Path, options: Options) -> anyhow::Result<ControlPlane> {
    let folder = tempfile::Builder::new().prefix("kyros-control-plane-").tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let argument = |name: &str, value: &dyn std::fmt::Display| format!("--{name}={value}");
    let key = run(Command::new("openssl").args(["genrsa", "2048"]))?;
    fs::write(at("sa.key"), key)?;
    fs::write(at("tokens.csv"), format!("{ADMIN_TOKEN},admin,admin,system:masters\n"))?;
    // Sockets in the folder, which both programs have as their own: no port that somebody else could take.
    let (etcd_url, peer_url) = ("unix://etcd.sock:1", "unix://peer.sock:1");
    let mut processes = vec![Guarded::start(
        &programs.join("etcd"),
        &[
            argument("name", &"test"),
            argument("data-dir", &at("etcd").display()),
            argument("listen-client-urls", &etcd_url),
            argument("advertise-client-urls", &etcd_url),
            argument("listen-peer-urls", &peer_url),
            argument("initial-advertise-peer-urls", &peer_url),
            argument("initial-cluster", &format!("test={peer_url}")),
            // What a test writes need not survive a power cut.
            "--unsafe-no-fsync".to_owned(),
            "--log-level=error".to_owned(),
        ],
        folder.path(),
        true,
    )?];
    let port = free_port()?;
    let address = format!("https://127.0.0.1:{port}");
    let issuer = "https://kubernetes.default.svc.cluster.local";
    processes.push(Guarded::start(
        &programs.join("kube-apiserver"),
        &[
            argument("etcd-servers", &etcd_url),
            argument("bind-address", &Ipv4Addr::LOCALHOST),
            argument("advertise-address", &Ipv4Addr::LOCALHOST),
            argument("secure-port", &port),
            argument("cert-dir", &at("certs").display()),
            argument("token-auth-file", &at("tokens.csv").display()),
            argument("authorization-mode", &"RBAC"),
            argument("service-account-issuer", &issuer),
            argument("api-audiences", &issuer),
            argument("service-account-signing-key-file", &at("sa.key").display()),
            argument("service-account-key-file", &at("sa.key").display()),
            argument("service-cluster-ip-range", &"10.96.0.0/16"),
            argument("endpoint-reconciler-type", &"none"),
            // Nobody makes the accounts' tokens and root certificates that it would wait for.
            argument("disable-admission-plugins", &"ServiceAccount"),
        ],
        folder.path(),
        false,
    )?);
    let kubeconfig_path = at("kubeconfig");
    fs::write(&kubeconfig_path, kubeconfig(&address, &at("certs/apiserver.crt"), ADMIN_TOKEN))?;
    let helm = Some(programs.join("helm")).filter(|helm| helm.exists());
    let mut plane = ControlPlane { kubeconfig: kubeconfig_path, kubectl: programs.join("kubectl"), helm, server: None };
    wait_until_ready(&plane, &at("kube-apiserver.log"))?;
    if options.controllers {
        let arguments = [
            argument("kubeconfig", &plane.kubeconfig.display()),
            argument("controllers", &CONTROLLERS),
            argument("leader-elect", &false),
            argument("secure-port", &0),
            argument("root-ca-file", &at("certs/apiserver.crt").display()),
        ];
        let program = programs.join("kube-controller-manager");
        processes.push(Guarded::start(&program, &arguments, folder.path(), false)?);
    }
    // Last started, first ended.
    processes.reverse();
    plane.server = Some(Server { address, _processes: processes, folder });
    Ok(plane)
}

fn wait_until_ready(plane: &ControlPlane, log: &Path) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let ready = plane.kubectl(&["get", "--raw", "/readyz"], "")?;
        if ready.status.success() {
            return Ok(());
        }
        if Instant::now() > deadline {
            let log = fs::read_to_string(log).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            bail!("kube-apiserver is not ready: {}\n{}", String::from_utf8_lossy(&ready.stderr), tail.join("\n"));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn kubeconfig(server: &str, certificate: &Path, token: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
         clusters:\n- name: test\n  cluster: {{server: \"{server}\", certificate-authority: \"{}\"}}\n\
         users:\n- name: test\n  user: {{token: \"{token}\"}}\n\
         contexts:\n- name: test\n  context: {{cluster: test, user: test}}\n",
        certificate.display()
    )
}

/// A port that nobody has now. Somebody may take it before it is used: then the start fails, and says so.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn run(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}
