//! Every bound of the resources, once: schema, CEL rules, messages and documentation are made from these.
//!
//! The API server refuses a definition whose rules could be expensive, and estimates the expense from these maxima;
//! so every list and string that a rule looks at has one.

/// Longest name of a tenant, a dashboard or a data source: two of them and `--` fit one DNS label of 63 octets.
pub const NAME_LENGTH: usize = kyros_shared_config::names::MAX_NAME_LENGTH;
/// A DNS label without `--`: hyphens stand alone, and neither first nor last.
pub const NAME_PATTERN: &str = "^[a-z0-9]+(-[a-z0-9]+)*$";

/// Longest name for people: a tenant's display name, a dashboard's title.
pub const TITLE_LENGTH: usize = 80;
/// Longest description of a dashboard.
pub const DESCRIPTION_LENGTH: usize = 1_000;
/// Longest URL.
pub const URL_LENGTH: usize = 2_048;
/// Most origins that may frame a tenant's dashboards. They stand in a header of every answer.
pub const ORIGINS: usize = 16;
/// Longest origin.
pub const ORIGIN_LENGTH: usize = kyros_shared_config::web_origin::MAX_ORIGIN_LENGTH;
/// What [`kyros_shared_config::WebOrigin`] parses, as a pattern: `https` with one name in lower case, or `http` on localhost;
/// a port; no more.
pub const ORIGIN_PATTERN: &str = concat!(
    "^(https://([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?[.])*[a-z]([-a-z0-9]{0,61}[a-z0-9])?",
    "|http://([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?[.])*localhost)",
    "(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?$",
);
/// Exactly `#rrggbb`.
pub const COLOR_LENGTH: usize = 7;

/// Most members of one tenant. Groups exist for more.
pub const MEMBERS: usize = 1_000;
/// Longest user or group: the longest e-mail address that can be delivered to (RFC 5321).
pub const SUBJECT_LENGTH: usize = 254;
/// No white space: a subject travels in headers and logs.
pub const SUBJECT_PATTERN: &str = r"^\S+$";
/// Most roles of one member.
pub const ROLES: usize = 16;
/// Longest role; it is a name like any other, and travels in a header.
pub const ROLE_LENGTH: usize = 30;

/// Most dashboards that one tenant may open.
pub const DASHBOARDS: usize = 64;
/// Most datasets that one dashboard may read.
pub const DATASETS: usize = 64;
/// Longest dataset name; it becomes a file name and a path segment.
pub const DATASET_LENGTH: usize = kyros_shared_config::names::MAX_DATASET_LENGTH;
/// Letters and digits at both ends, `-` and `_` between.
pub const DATASET_PATTERN: &str = "^[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";

/// Fewest queries that one tenant may run at the same time.
pub const CONCURRENT_QUERIES_MIN: i32 = 1;
/// Most queries that one tenant may run at the same time.
pub const CONCURRENT_QUERIES_MAX: i32 = 64;
/// Concurrent queries of a tenant that names no limit.
pub const CONCURRENT_QUERIES_DEFAULT: i32 = 4;
/// Fewest requests per second of one tenant.
pub const REQUESTS_PER_SECOND_MIN: i32 = 1;
/// Most requests per second of one tenant.
pub const REQUESTS_PER_SECOND_MAX: i32 = 100_000;
/// Requests per second of a tenant that names no limit.
pub const REQUESTS_PER_SECOND_DEFAULT: i32 = 200;

/// Longest image reference.
pub const IMAGE_LENGTH: usize = 512;
/// An image reference holds no white space and does not begin with a hyphen, which a command line would misread.
pub const IMAGE_PATTERN: &str = r"^[^\s-]\S*$";
/// Longest name of a Service: one DNS label.
pub const SERVICE_NAME_LENGTH: usize = 63;
/// What the API server takes as the name of a Service.
pub const SERVICE_NAME_PATTERN: &str = "^[a-z]([-a-z0-9]*[a-z0-9])?$";
/// Lowest port.
pub const PORT_MIN: i32 = 1;
/// Highest port.
pub const PORT_MAX: i32 = 65_535;
/// Where a dashboard listens when it does not say: the port that Dash takes.
pub const PORT_DEFAULT: i32 = 8_050;
/// Ports that the sidecar listens on in the same pod: operations (9091), then proxy, administration and egress.
pub const PORTS_RESERVED: [i32; 4] = [9_091, 15_001, 15_002, 15_003];
/// Most replicas of one dashboard. None is allowed: it is how one is switched off.
pub const REPLICAS_MAX: i32 = 100;
/// Replicas of a dashboard that does not say.
pub const REPLICAS_DEFAULT: i32 = 1;

/// Most environment variables of one dashboard.
pub const ENV: usize = 100;
/// Longest name of an environment variable.
pub const ENV_NAME_LENGTH: usize = 128;
/// What a POSIX shell can read back.
pub const ENV_NAME_PATTERN: &str = "^[A-Za-z_][A-Za-z0-9_]*$";
/// Longest value of an environment variable.
pub const ENV_VALUE_LENGTH: usize = 4_096;
/// Variables with this prefix belong to Kyros.
pub const ENV_RESERVED_PREFIX: &str = "KYROS_";
/// What Kubernetes reads as a quantity, such as `250m` or `512Mi`.
pub const QUANTITY_PATTERN: &str = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$";

/// Most conditions in a status.
pub const CONDITIONS: usize = 16;
/// Most names in a status list.
pub const STATUS_NAMES: usize = 16;

/// Largest manifest file.
pub const FILE_BYTES: u64 = 1_024 * 1_024;
/// Most documents in one manifest directory.
pub const DOCUMENTS: usize = 10_000;
/// Most problems reported at once; the rest is counted.
pub const PROBLEMS: usize = 1_000;
