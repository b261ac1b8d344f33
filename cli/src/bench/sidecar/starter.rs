//! The programs of the sidecar's benchmark, and how each is started.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use crate::bench::{
    cluster::Process,
    processes::{Cores, part},
};

/// What the sidecar is told of its dashboard.
pub(super) const DASHBOARD: &str = "clv";

/// Starts the programs of a run.
pub(super) struct Starter {
    pub(super) cores: Cores,
    pub(super) kyros: PathBuf,
    pub(super) sidecar: PathBuf,
    pub(super) jwks: PathBuf,
    pub(super) issuer: &'static str,
}

impl Starter {
    pub(super) fn upstream(&self, listen: SocketAddr, unix: &Path) -> anyhow::Result<Process> {
        let mut command = self.part("upstream");
        command.arg("--listen").arg(listen.to_string()).arg("--unix").arg(unix);
        self.cores.start_beside_load(&mut command)
    }

    pub(super) fn pass_through(&self, listen: SocketAddr, upstream: &str) -> anyhow::Result<Process> {
        let mut command = self.part("pass-through");
        command.arg("--listen").arg(listen.to_string()).arg("--upstream").arg(upstream);
        self.cores.start_measured(&mut command).map(|(_, process)| process)
    }

    /// The sidecar with these settings and no others, whatever the shell has set.
    pub(super) fn sidecar(&self, listen: SocketAddr, upstream: &str) -> anyhow::Result<(Instant, Process)> {
        let mut command = Command::new(&self.sidecar);
        command
            .arg("sidecar")
            .env_clear()
            .env("KYROS_LISTEN", listen.to_string())
            .env("KYROS_UPSTREAM", upstream)
            .env("KYROS_JWKS", &self.jwks)
            .env("KYROS_ISSUER", self.issuer)
            .env("KYROS_DASHBOARD", DASHBOARD)
            // All the load is one person's, whose sockets would otherwise end at 64.
            .env("KYROS_MAX_SOCKETS_PER_SESSION", "4096")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.cores.start_measured(&mut command)
    }

    fn part(&self, name: &str) -> Command {
        let mut command = part(&self.kyros, name);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}
