//! The `Tenant` and `Dashboard` resources, and what is made of them.
//!
//! ```text
//!  manifests ── directory ──► ResourceSet ── project ──► metadata.db
//! ```
//!
//! Role `project` writes the read model that the API serves from. It promises that a set of resources takes effect as a
//! whole or not at all: one mistake anywhere, and the last good set stays. It never starts, stops or routes anything.

pub mod directory;
pub mod limits;
pub mod project;
pub mod resources;

pub use directory::{Problem, ResourceSet};
pub use project::{ProjectSettings, Projector};
