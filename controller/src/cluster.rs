//! The Kubernetes API as this crate uses it: one client, a deadline for every call, and errors that say what to do.
//!
//! `kube`'s own retries are switched off: they can hold one call for minutes without a word, and whoever calls here tries
//! again anyway.

use std::time::Duration;

use kube::{Client, Config, core::Status};
use thiserror::Error;

/// How long one call may take. A healthy API server answers in milliseconds; a hung one must not hold a reconciliation.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may be silent. A server that is gone without a word shows in nothing but the silence of its watches,
/// and until then the projector goes on confirming what it last heard: its calls take another connection, and are answered.
/// So as short as it can be. A watch of a kind where nothing happens is told something (a bookmark) two minutes after it
/// began and every minute from then on; a shorter silence would break each such watch off before its first word, again and
/// again, each time with a comparison of the whole list.
const SILENCE: Duration = Duration::from_secs(150);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the cluster did not do what was asked.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// There is no cluster to speak to.
    #[error("no cluster: {0}; run inside one, or set KUBECONFIG")]
    NoCluster(String),
    /// The custom resources are not installed.
    #[error("the cluster does not know {0}: install the definitions with \"kyros crds | kubectl apply -f -\"")]
    NotInstalled(String),
    /// This service account may not do it.
    #[error("{action}: forbidden: {reason}; compare the Role with charts/kyros/templates")]
    Forbidden {
        /// What was tried.
        action: String,
        /// What the API server said.
        reason: String,
    },
    /// No answer in time.
    #[error("{0}: no answer within {seconds} s", seconds = CALL_TIMEOUT.as_secs())]
    Timeout(String),
    /// Somebody else changed it first, or it is not what it was.
    #[error("{action}: conflict: {reason}")]
    Conflict {
        /// What was tried.
        action: String,
        /// What the API server said.
        reason: String,
    },
    /// The API server refused the content.
    #[error("{action}: refused: {reason}")]
    Invalid {
        /// What was tried.
        action: String,
        /// What the API server said.
        reason: String,
    },
    /// Anything else.
    #[error("{action}: {source}")]
    Call {
        /// What was tried.
        action: String,
        /// What the client said.
        source: Box<kube::Error>,
    },
}

impl ClusterError {
    /// Whether what was to be changed is not there.
    pub fn is_not_found(&self) -> bool {
        let Self::Call { source, .. } = self else { return false };
        matches!(source.as_ref(), kube::Error::Api(status) if status.is_not_found())
    }

    fn of(action: String, error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(action, status),
            other => Self::Call { action, source: Box::new(other) },
        }
    }

    fn of_status(action: String, status: Box<Status>) -> Self {
        let reason = status.message.clone();
        if status.is_forbidden() {
            Self::Forbidden { action, reason }
        } else if status.is_conflict() || status.is_already_exists() {
            Self::Conflict { action, reason }
        } else if status.is_invalid() || status.code == 400 || status.code == 422 {
            Self::Invalid { action, reason }
        } else {
            Self::Call { action, source: Box::new(kube::Error::Api(status)) }
        }
    }
}

/// A client of the cluster that this process belongs to, or that its kubeconfig names.
pub async fn connect() -> Result<Client, ClusterError> {
    let config = Config::infer().await.map_err(|error| ClusterError::NoCluster(error.to_string()))?;
    client_of(config)
}

/// A client that never retries by itself and never waits for ever to connect.
pub fn client_of(config: Config) -> Result<Client, ClusterError> {
    client_that_waits(config, SILENCE)
}

fn client_that_waits(mut config: Config, silence: Duration) -> Result<Client, ClusterError> {
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    // A server that is gone without a word would leave a watch waiting for ever.
    config.read_timeout = Some(silence);
    config.reset_reader_on_write = true;
    Client::try_from(config).map_err(|error| ClusterError::NoCluster(error.to_string()))
}

/// One call with a deadline. `action` says in words what it does, for the error.
pub async fn call<T>(
    action: impl FnOnce() -> String,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ClusterError> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(ClusterError::of(action(), error)),
        Err(_) => Err(ClusterError::Timeout(action())),
    }
}

/// What a failed watch means in words: a watch that cannot begin says why once, and what would mend it.
pub(crate) fn watch_problem(what: &str, error: &kube::runtime::watcher::Error) -> String {
    use kube::runtime::watcher::Error;
    let (Error::InitialListFailed(kube::Error::Api(status)) | Error::WatchStartFailed(kube::Error::Api(status))) =
        error
    else {
        return format!("{what}: {error}");
    };
    if status.is_not_found() {
        ClusterError::NotInstalled(what.to_owned()).to_string()
    } else {
        ClusterError::of_status(format!("watching {what}"), status.clone()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use kube::{
        Api,
        api::{WatchEvent, WatchParams},
    };
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::resources::Tenant;

    #[test]
    fn silence_is_longer_than_a_quiet_watch_is_silent_and_not_much() {
        let (first_bookmark, margin) = (Duration::from_mins(2), Duration::from_secs(20));
        assert!(SILENCE >= first_bookmark + margin, "every quiet watch would break");
        assert!(SILENCE < Duration::from_mins(3), "a dead watch would look current");
    }

    #[tokio::test]
    async fn a_watch_whose_server_is_gone_without_a_word_fails() {
        kyros_shared_config::crypto::install_provider();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.write_all(head).await.unwrap();
            std::future::pending::<()>().await;
        });
        let config = Config::new(format!("http://{address}").parse().unwrap());
        let client = client_that_waits(config, Duration::from_millis(200)).unwrap();
        let tenants: Api<Tenant> = Api::namespaced(client, "default");
        let heard = tokio::time::timeout(Duration::from_secs(20), async {
            let events = tenants.watch(&WatchParams::default(), "1").await.unwrap();
            Box::pin(events).next().await
        });
        let heard: Option<Result<WatchEvent<Tenant>, _>> = heard.await.expect("it is noticed");
        assert!(heard.is_none_or(|heard| heard.is_err()));
    }
}
