//! Names of conditions and of their reasons; the same words name Events and metrics.

/// The summary: this resource does what its spec says.
pub const READY: &str = "Ready";
/// Tenant: every dashboard it names exists.
pub const DASHBOARDS_RESOLVED: &str = "DashboardsResolved";
/// Dashboard: the spec can be turned into a workload.
pub const ACCEPTED: &str = "Accepted";
/// Dashboard: the workload serves.
pub const AVAILABLE: &str = "Available";

/// Reason of [`READY`]: nothing is missing.
pub const REASON_READY: &str = "Ready";
/// Reason of [`READY`]: the tenant is suspended on purpose.
pub const REASON_SUSPENDED: &str = "Suspended";
/// Reason of [`DASHBOARDS_RESOLVED`]: all found.
pub const REASON_RESOLVED: &str = "Resolved";
/// Reason of [`DASHBOARDS_RESOLVED`]: at least one is missing; `status.missing` says which.
pub const REASON_DASHBOARD_NOT_FOUND: &str = "DashboardNotFound";
