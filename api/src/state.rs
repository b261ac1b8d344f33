//! What every handler shares.

use std::sync::Arc;

use kyros_metadata::{Access, Reader};
use kyros_shared_config::{
    Issuer, PublicUrl, Secret, TenantScope, UserIdentity, UserVerifier, VerifyError, Workload, clock::unix_now,
    headers::CookieNames, verifier::LEEWAY,
};

use crate::{
    data::DataService,
    mock::MockProvider,
    revoker::Revoker,
    store::{AuditLine, Ledger, NewExchange, Outcome, Store, StoreError},
    verified::VerifiedTokens,
    workload_trust::{Caller, WorkloadTrust},
};

/// How far ahead the read model's time may be, in seconds.
const CLOCK_TOLERANCE: i64 = 60;

/// The API's parts. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Parts>);

/// Behind [`App`].
pub(crate) struct Parts {
    pub(crate) public_url: PublicUrl,
    pub(crate) cookies: CookieNames,
    pub(crate) issuer: Issuer,
    pub(crate) tenant_tokens: VerifiedTokens,
    pub(crate) user_verifiers: Vec<UserVerifier>,
    pub(crate) workloads: WorkloadTrust,
    /// What sidecars' own keys are derived from.
    pub(crate) sealing: Secret<Vec<u8>>,
    /// In seconds.
    pub(crate) projection_max_age: i64,
    pub(crate) metadata: Reader,
    pub(crate) store: Store,
    pub(crate) ledger: Ledger,
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

    /// The workload whose token this is, also one that nothing asks for any more.
    pub(crate) async fn any_workload(&self, token: &str) -> Option<Workload> {
        self.workloads.any(token).await
    }

    /// Whether a verified token is still good for what it names: it has not expired, the grant is there and the session was not
    /// ended.
    pub(crate) fn stands(&self, scope: &TenantScope) -> bool {
        let snapshot = self.metadata.snapshot();
        let granted = snapshot.still_granted(scope.tenant(), scope.tenant_uid(), scope.dashboard()).is_some();
        // Of what has expired the revoker knows nothing any more.
        let is_alive = unix_now() < scope.expires_at() + LEEWAY;
        is_alive && granted && !self.revoker.is_revoked(scope)
    }

    /// How old the read model is, in seconds since its writer last confirmed it.
    pub(crate) fn projection_age(&self) -> i64 {
        unix_now() - self.metadata.snapshot().applied_at
    }

    /// Whether the read model may be believed. One that nobody confirms may grant what was taken back long ago.
    pub(crate) fn projection_is_current(&self) -> bool {
        is_current(self.projection_age(), self.projection_max_age)
    }

    /// Notes a decision in the audit and in the log.
    pub(crate) async fn note(&self, line: AuditLine) {
        log(&line);
        self.ledger.note(line).await;
    }

    /// Remembers an exchange, with its decision in the audit and in the log; both are on the disk then.
    pub(crate) async fn remember(&self, exchange: &NewExchange<'_>, line: AuditLine) -> Result<(), StoreError> {
        log(&line);
        self.ledger.remember(exchange, line).await
    }
}

/// What was allowed is seldom looked for outside the audit, and there is much of it: writing it twice would cost as much as
/// everything but the signatures.
fn log(line: &AuditLine) {
    let AuditLine { decision, action, outcome, reason, .. } = line;
    match outcome {
        Outcome::Allowed => {
            tracing::debug!(target: "kyros_api::audit", decision, action, denied = false, reason, "decision");
        }
        Outcome::Denied => {
            tracing::info!(target: "kyros_api::audit", decision, action, denied = true, reason, "decision");
        }
    }
}

/// A time in the future is none that can be believed: the clock was set back, and nobody knows how old it really is.
fn is_current(age: i64, max_age: i64) -> bool {
    (-CLOCK_TOLERANCE..=max_age).contains(&age)
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

#[cfg(test)]
mod tests {
    use super::is_current;

    #[test]
    fn a_read_model_that_nobody_confirmed_for_long_is_not_believed() {
        assert!(is_current(0, 900) && is_current(900, 900) && is_current(-60, 900));
        assert!(!is_current(901, 900));
        assert!(!is_current(-61, 900), "from the future");
    }
}
