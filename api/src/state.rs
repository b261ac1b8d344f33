//! What every handler shares.

use std::sync::Arc;

use kyros_metadata::{Access, Reader};
use kyros_shared_config::{
    Issuer, PublicUrl, Secret, TenantVerifier, UserIdentity, UserVerifier, VerifyError, clock::unix_now,
    headers::CookieNames,
};

use crate::{
    data::DataService,
    mock::MockProvider,
    revoker::Revoker,
    store::{Audit, AuditLine, Outcome, Store},
    workload_trust::{Caller, WorkloadTrust},
};

/// The API's parts. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Parts>);

/// Behind [`App`].
pub(crate) struct Parts {
    pub(crate) public_url: PublicUrl,
    pub(crate) cookies: CookieNames,
    pub(crate) issuer: Issuer,
    pub(crate) tenant_verifier: TenantVerifier,
    pub(crate) user_verifiers: Vec<UserVerifier>,
    pub(crate) workloads: WorkloadTrust,
    /// What sidecars' own keys are derived from.
    pub(crate) sealing: Secret<Vec<u8>>,
    /// In seconds.
    pub(crate) projection_max_age: i64,
    pub(crate) metadata: Reader,
    pub(crate) store: Store,
    pub(crate) audit: Audit,
    pub(crate) revoker: Revoker,
    pub(crate) mock: Option<MockProvider>,
    pub(crate) data: DataService,
    pub(crate) stopping: tokio_util::sync::CancellationToken,
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl App {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Verifies a user token with whichever trusted issuer it names. A key of one issuer never speaks for another.
    pub(crate) async fn verify_user(&self, token: &str) -> Result<UserIdentity, VerifyError> {
        let mut last = VerifyError::UnknownKey;
        for verifier in &self.user_verifiers {
            match verifier.verify_refreshing(token).await {
                Ok(identity) => return Ok(identity),
                // Another issuer may know the key; a token that reached the claims has found its issuer.
                Err(VerifyError::UnknownKey) => (),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Which workload a token speaks for now.
    pub(crate) async fn caller(&self, token: &str) -> Option<Caller> {
        self.workloads.caller(token, &self.metadata.snapshot()).await
    }

    /// How old the read model is, in seconds since its writer last applied or confirmed it.
    pub(crate) fn projection_age(&self) -> i64 {
        (unix_now() - self.metadata.snapshot().applied_at).max(0)
    }

    /// Whether the read model may be believed. One that nobody confirms may grant what was taken back long ago.
    pub(crate) fn projection_is_current(&self) -> bool {
        self.projection_age() <= self.projection_max_age
    }

    /// Notes a decision in the audit and in the log.
    pub(crate) async fn note(&self, line: AuditLine) {
        let denied = line.outcome == Outcome::Denied;
        tracing::info!(
            target: "kyros_api::audit",
            decision = line.decision,
            action = line.action,
            denied,
            reason = line.reason,
            "decision"
        );
        self.audit.note(line).await;
    }
}

/// What a person brings to a decision.
pub(crate) fn access_of(identity: &UserIdentity) -> Access<'_> {
    Access {
        subject: &identity.subject,
        email: identity.email.as_deref(),
        groups: &identity.groups,
        tenant_ids: &identity.tenant_ids,
    }
}
