//! What the sidecar's tests share: the program itself with a key file, raw upstreams, raw clients.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use kyros_shared_config::{
    DashboardSlug, Issuer, TenantId,
    crypto::{install_provider, random_id},
    issuer::TenantGrant,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

pub(crate) const ISSUER: &str = "https://kyros.example";

/// Answers every request with a fixed text and remembers what it was sent.
pub(crate) async fn upstream(answer: &'static str) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let record = record.clone();
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(read) = stream.read(&mut buffer).await {
                    if read == 0 {
                        return;
                    }
                    record.lock().unwrap().push(String::from_utf8_lossy(&buffer[..read]).into_owned());
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, seen)
}

/// A token of Ana's session for one tenant and one dashboard, that ends at `not_after` if it does not end sooner.
pub(crate) fn tenant_token(issuer: &Issuer, session: &str, target: (&str, &str), not_after: i64) -> String {
    let (tenant, dashboard): (TenantId, DashboardSlug) = (target.0.parse().unwrap(), target.1.parse().unwrap());
    let grant = TenantGrant {
        subject: "ana",
        email: Some("ana@acme.example"),
        tenant: &tenant,
        tenant_uid: "u1",
        dashboard: &dashboard,
        roles: &["viewer".to_owned()],
        session,
        client_id: "test",
        actor: None,
        not_after,
    };
    issuer.tenant_token(&grant).unwrap().token.expose().clone()
}

/// A running sidecar for the dashboard `clv`; it ends with this value.
pub(crate) struct Sidecar {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) issuer: Issuer,
    keys: std::path::PathBuf,
}

impl Sidecar {
    pub(crate) async fn start(upstream: impl std::fmt::Display, extra: &[(&str, &str)]) -> Self {
        Self::start_with(upstream, extra, Stdio::null()).await
    }

    /// The same, with its log in a file.
    pub(crate) async fn start_logging(
        upstream: impl std::fmt::Display,
        extra: &[(&str, &str)],
        log: &std::path::Path,
    ) -> Self {
        Self::start_with(upstream, extra, std::fs::File::create(log).unwrap().into()).await
    }

    async fn start_with(upstream: impl std::fmt::Display, extra: &[(&str, &str)], log: Stdio) -> Self {
        install_provider();
        let issuer = Issuer::generate(ISSUER).unwrap();
        let keys = std::env::temp_dir().join(format!("kyros-jwks-{}.json", random_id()));
        std::fs::write(&keys, issuer.jwks()).unwrap();
        // A port that was free a moment ago; the sidecar says so if it is not any more.
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_kyros-sidecar"))
            .arg("sidecar")
            .env("KYROS_LISTEN", address.to_string())
            .env("KYROS_UPSTREAM", upstream.to_string())
            .env("KYROS_JWKS", &keys)
            .env("KYROS_ISSUER", ISSUER)
            .env("KYROS_DASHBOARD", "clv")
            .envs(extra.iter().copied())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).await.is_err() {
            assert!(Instant::now() < deadline, "the sidecar listens");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self { child, address, issuer, keys }
    }

    pub(crate) fn token(&self, tenant: &str, dashboard: &str) -> String {
        tenant_token(&self.issuer, "s1", (tenant, dashboard), i64::MAX)
    }

    pub(crate) async fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(2), stream.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.keys);
    }
}
