//! What the API tells sidecars has been taken back: the events of `GET /internal/revocations`, and which tokens they end.
//!
//! A token is named by its session and never by its text: ES256 signatures can be rewritten, so one token has several texts.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::{DashboardSlug, TenantId, TenantScope, verifier::TENANT_TOKEN_LIFE};

/// How long an event matters, in seconds: no token issued before it lives longer.
pub const WINDOW: i64 = TENANT_TOKEN_LIFE + 60;

/// One event of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Revocation {
    /// One session of a dashboard, or one exchanged token, for good.
    Session {
        /// Its id, the token's `sid`.
        sid: String,
    },
    /// Every token issued until `at` for a tenant, or for one dashboard of it.
    Scope {
        /// In Unix seconds.
        at: i64,
        /// The tenant.
        tenant: TenantId,
        /// The dashboard; all of them when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dashboard: Option<DashboardSlug>,
    },
}

impl Revocation {
    /// Whether the event ends a token.
    pub fn covers(&self, scope: &TenantScope) -> bool {
        match self {
            Self::Session { sid } => sid == scope.session(),
            Self::Scope { at, tenant, dashboard } => {
                scope.issued_at() <= *at
                    && scope.tenant() == tenant
                    && dashboard.as_ref().is_none_or(|dashboard| dashboard == scope.dashboard())
            }
        }
    }
}

/// The events that still matter, arranged for one look-up per request.
#[derive(Debug, Default)]
pub struct Revoked {
    sessions: HashMap<String, i64>,
    /// There are few: they come from people who suspend tenants and change grants.
    scopes: Vec<(i64, Revocation)>,
}

impl Revoked {
    /// Takes an event in, until when it matters (Unix seconds), and forgets those that do not matter at `now` any more.
    pub fn add(&mut self, event: Revocation, until: i64, now: i64) {
        // Amortised: only a table that would grow is swept.
        if self.sessions.len() == self.sessions.capacity() {
            self.sessions.retain(|_, until| *until > now);
        }
        self.scopes.retain(|(until, _)| *until > now);
        match event {
            Revocation::Session { sid } => {
                self.sessions.insert(sid, until);
            }
            scope @ Revocation::Scope { .. } => self.scopes.push((until, scope)),
        }
    }

    /// Whether a verified token has been taken back since it was issued.
    pub fn covers(&self, scope: &TenantScope) -> bool {
        self.sessions.contains_key(scope.session()) || self.scopes.iter().any(|(_, event)| event.covers(scope))
    }

    /// Whether a session has been taken back.
    pub fn has_session(&self, sid: &str) -> bool {
        self.sessions.contains_key(sid)
    }

    /// How many events are remembered.
    pub fn len(&self) -> usize {
        self.sessions.len() + self.scopes.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_format_is_as_sidecars_of_other_versions_know_it() {
        let events = [
            (Revocation::Session { sid: "s".into() }, r#"{"kind":"session","sid":"s"}"#),
            (
                Revocation::Scope { at: 7, tenant: "acme".parse().unwrap(), dashboard: None },
                r#"{"kind":"scope","at":7,"tenant":"acme"}"#,
            ),
            (
                Revocation::Scope { at: 7, tenant: "acme".parse().unwrap(), dashboard: Some("clv".parse().unwrap()) },
                r#"{"kind":"scope","at":7,"tenant":"acme","dashboard":"clv"}"#,
            ),
        ];
        for (event, text) in events {
            assert_eq!(serde_json::to_string(&event).unwrap(), text);
            assert_eq!(serde_json::from_str::<Revocation>(text).unwrap(), event);
        }
    }

    #[test]
    fn what_does_not_matter_any_more_is_forgotten() {
        let mut revoked = Revoked::default();
        for n in 0..10_000 {
            revoked.add(Revocation::Session { sid: n.to_string() }, n + 10, n);
        }
        assert!(revoked.len() < 100, "{}", revoked.len());
        assert!(revoked.has_session("9999"));
    }
}
