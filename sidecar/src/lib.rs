//! The data plane: the one place where isolation is enforced on every byte that a dashboard receives.
//!
//! ```text
//!              gateway role                        sidecar role
//!  browser ──► host ► route ──► parse ► gate ► strip ► authenticate ► inject ► forward ──► dashboard (loopback)
//!                                                        │                                     │
//!                                            API: redeem, renew, revocations                   │
//!                                                        └───────── egress ◄───────────────────┘
//! ```
//!
//! It promises that a dashboard sees a request only with a verified tenant token for that very dashboard, that nothing a
//! client wrote survives in a header which carries identity, and that every request, stream and socket ends with its
//! authority. It takes no decision from a path, a query or a body, and it never stores anything: after a restart the
//! cookie is enough.

mod access;
mod answer;
mod api_client;
mod authority;
mod bodies;
mod cookies;
mod egress;
mod finish;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
pub mod gateway;
mod guard;
mod header_rules;
mod identity;
mod known_tokens;
mod limits;
mod login;
mod metrics;
pub mod observer;
mod page;
mod probe;
mod revocations;
mod sessions;
pub mod settings;
mod sidecar;
mod spans;
#[cfg(test)]
mod testing;
mod trace;
mod tunnel;
mod upstream;
mod ws_frames;

pub use gateway::Gateway;
pub use settings::{GatewaySettings, SidecarSettings};
pub use sidecar::{Listeners, Sidecar, SidecarError};
pub use upstream::{UpstreamAddress, UpstreamAddressError};
