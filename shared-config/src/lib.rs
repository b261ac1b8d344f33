//! What every part of Kyros must agree on, and nothing else: names, claims, keys, the one function that turns a token
//! into a [`TenantScope`], header and cookie names, problem documents, settings and telemetry.
//!
//! ```text
//!  api ──── Issuer ──► token ──► Verifier (sidecar, api) ──► TenantScope ──► every repository and cache key
//!               └──► JWKS ─────────┘
//! ```
//!
//! It promises that a [`TenantScope`] exists only as the result of a complete verification, and that whoever can verify
//! cannot mint. It never opens a listening socket, never touches a database and never prints a secret.
//!
//! A scope cannot be made by hand, not even with every field that it has:
//!
//! ```compile_fail
//! let scope = kyros_shared_config::TenantScope {
//!     tenant: todo!(),
//!     tenant_uid: todo!(),
//!     dashboard: todo!(),
//!     subject: todo!(),
//!     email: todo!(),
//!     roles: todo!(),
//!     session: todo!(),
//!     token_id: todo!(),
//!     issued_at: todo!(),
//!     not_before: todo!(),
//!     expires_at: todo!(),
//!     actor: todo!(),
//! };
//! ```
//!
//! nor from claims that nobody has verified:
//!
//! ```compile_fail
//! let scope = kyros_shared_config::TenantScope::from_verified(todo!());
//! ```
//!
//! nor read from JSON:
//!
//! ```compile_fail
//! let scope: kyros_shared_config::TenantScope = serde_json::from_str("{}").unwrap();
//! ```
//!
//! nor defaulted:
//!
//! ```compile_fail
//! let scope = kyros_shared_config::TenantScope::default();
//! ```

pub mod claims;
pub mod clock;
pub mod cluster_keys;
pub mod crypto;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod headers;
mod http_client;
pub mod issuer;
pub mod jwks;
pub mod key_ring;
pub mod names;
pub mod problem;
pub mod public_url;
pub mod revocation;
pub mod secret;
pub mod telemetry;
pub mod token;
pub mod verifier;
pub mod web_origin;
pub mod workload;

mod scope;

pub use claims::{Actor, TenantClaims, UserClaims, UserIdentity, WorkloadClaims, WorkloadIdentity};
pub use cluster_keys::ClusterKeys;
pub use http_client::http_client;
pub use issuer::Issuer;
pub use jwks::KeySet;
pub use key_ring::{KeyRing, KeySource};
pub use names::{DashboardSlug, DatasetName, NameError, SourceName, TenantId};
pub use problem::Problem;
pub use public_url::{DashboardHost, PublicUrl};
pub use revocation::Revocation;
pub use scope::TenantScope;
pub use secret::Secret;
pub use verifier::{TenantVerifier, UserVerifier, VerifyError, WorkloadVerifier};
pub use web_origin::WebOrigin;
pub use workload::{RouteTable, ServiceAccountName, Workload};
