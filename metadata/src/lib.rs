//! The `SQLite` read model of the custom resources.
//!
//! ```text
//!  controller ── Writer ──► metadata.db ──► Reader ──► Arc<Snapshot> (api: every request, no SQL)
//! ```
//!
//! It promises that a reader sees one complete snapshot or another, never half of one, and that a damaged or outdated file
//! is set aside and rebuilt. It never holds anything that the resources do not say: the file can be deleted at any time.

mod open;
mod reader;
mod records;
mod snapshot;
mod writer;

pub use open::MetadataError;
pub use reader::Reader;
pub use records::{Branding, DashboardRecord, Isolation, Limits, Member, MemberKind, TenantRecord, Version, digest};
pub use snapshot::{Access, Snapshot};
pub use writer::{Applied, Change, CompleteList, Listed, Writer};
