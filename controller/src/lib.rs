//! The `Tenant` and `Dashboard` resources, and what is made of them.
//!
//! ```text
//!  a folder of YAML ── directory ──┐
//!                                  ├── project ──► metadata.db, which the API serves from
//!  the Kubernetes API ── cluster ──┤
//!                                  └── run ──────► workloads and status (one leader, by lease)
//! ```
//!
//! Role `project` promises that a set of resources takes effect as a whole or not at all, and never starts or routes anything.
//! Role `run` promises to write only while it leads, only to what it owns, and nothing when nothing differs.

pub mod cluster;
pub mod directory;
pub mod lease;
pub mod limits;
pub mod project;
pub mod resources;
pub mod run;

pub use directory::{Problem, ResourceSet};
pub use project::{ProjectSettings, Projector};
pub use run::RunSettings;
