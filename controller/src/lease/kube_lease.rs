//! The lease as a `Lease` of the cluster.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};

use super::{Claim, LeaseStore, Record, TIMING};
use crate::cluster::{ClusterError, call};

/// A named `Lease` of one namespace.
pub struct KubeLease {
    api: Api<Lease>,
    namespace: String,
    name: String,
}

impl KubeLease {
    /// The lease `name` in `namespace`.
    pub fn new(client: Client, namespace: &str, name: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn action(&self, verb: &str) -> String {
        format!("{verb} Lease {}/{}", self.namespace, self.name)
    }

    fn lease(&self, version: Option<String>, spec: LeaseSpec) -> Lease {
        Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                resource_version: version,
                ..ObjectMeta::default()
            },
            spec: Some(spec),
        }
    }
}

impl LeaseStore for KubeLease {
    async fn get(&self) -> Result<Option<Record>, ClusterError> {
        Ok(call(|| self.action("reading"), self.api.get_opt(&self.name)).await?.map(record))
    }

    async fn create(&self, holder: &str, duration: Duration) -> Result<Record, ClusterError> {
        let now = Some(MicroTime(Timestamp::now()));
        let spec = LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(seconds(duration)),
            acquire_time: now.clone(),
            renew_time: now,
            lease_transitions: Some(0),
            ..LeaseSpec::default()
        };
        let lease = self.lease(None, spec);
        call(|| self.action("making"), self.api.create(&PostParams::default(), &lease)).await.map(record)
    }

    async fn replace(&self, seen: &Record, next: &Claim<'_>) -> Result<Record, ClusterError> {
        // For people who read the Lease; nothing here compares these times.
        let now = MicroTime(Timestamp::now());
        let spec = LeaseSpec {
            holder_identity: Some(next.holder.to_owned()),
            lease_duration_seconds: Some(seconds(next.duration)),
            acquire_time: next.is_takeover.then(|| now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(seen.transitions + i32::from(next.is_takeover)),
            ..LeaseSpec::default()
        };
        let lease = self.lease(Some(seen.version.clone()), spec);
        call(|| self.action("taking"), self.api.replace(&self.name, &PostParams::default(), &lease)).await.map(record)
    }
}

fn record(lease: Lease) -> Record {
    let spec = lease.spec.unwrap_or_default();
    Record {
        holder: spec.holder_identity.unwrap_or_default(),
        duration: spec
            .lease_duration_seconds
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(TIMING.lease, Duration::from_secs),
        version: lease.metadata.resource_version.unwrap_or_default(),
        transitions: spec.lease_transitions.unwrap_or_default(),
    }
}

fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}
