//! The `Tenant`: who belongs to it, what they may open, how much, and how it looks.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    limits,
    resources::{rules, schema},
};

/// What a platform engineer says about a tenant. Nothing said means nothing allowed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "kyros.dev",
    version = "v1alpha1",
    kind = "Tenant",
    namespaced,
    status = "TenantStatus",
    shortname = "ten",
    category = "kyros",
    derive = "PartialEq",
    doc = "A tenant: its members, what they may open, its limits and its branding. The name is the tenant id.",
    printcolumn(name = "Display", type_ = "string", json_path = ".spec.displayName", description = "Name for people"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state", description = "Active or Suspended"),
    printcolumn(name = "Members", type_ = "integer", json_path = ".status.members", description = "Users and groups"),
    printcolumn(name = "Dashboards", type_ = "string", json_path = ".spec.dashboards", description = "May open"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether everything it names exists"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Why it is or is not ready",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    selectable = ".spec.suspended",
    validation = rules::name_format(),
    validation = rules::name_length()
)]
#[serde(rename_all = "camelCase")]
pub struct TenantSpec {
    /// The tenant's name for people.
    #[schemars(length(min = 1, max = limits::TITLE_LENGTH))]
    pub display_name: String,

    /// Ends every session and connection of this tenant within a second, and allows no new one.
    #[serde(default)]
    pub suspended: bool,

    /// Who may choose this tenant, and with what roles. Somebody whom several entries match has the roles of all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::MEMBERS))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub members: Vec<Member>,

    /// The dashboards that this tenant may open, by name: an explicit list, and the only entitlement there is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = limits::DASHBOARDS),
        inner(length(min = 1, max = limits::NAME_LENGTH), regex(pattern = limits::NAME_PATTERN))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub dashboards: Vec<String>,

    /// How the portal looks for this tenant.
    #[serde(default)]
    pub branding: Branding,

    /// How much this tenant may use.
    #[serde(default)]
    pub limits: TenantLimits,

    /// Where else than in the portal this tenant's dashboards may be shown.
    #[serde(default)]
    pub embedding: Embedding,

    /// Where this tenant's data lies: the name of a source that the API's operator has set up, or `local`. Without it the
    /// dashboard says where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = limits::NAME_LENGTH), regex(pattern = limits::NAME_PATTERN))]
    pub source: Option<String>,
}

/// One entry of the member list: a user or a group, never both.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("has(self.user) != has(self.group)").message("set exactly one of user and group")
)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// A user, by the e-mail address that the identity provider vouches for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = limits::SUBJECT_LENGTH), regex(pattern = limits::SUBJECT_PATTERN))]
    pub user: Option<String>,

    /// A group, by the name that the identity provider puts into `groups`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = limits::SUBJECT_LENGTH), regex(pattern = limits::SUBJECT_PATTERN))]
    pub group: Option<String>,

    /// Roles that dashboards receive; Kyros gives them no meaning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = limits::ROLES),
        inner(length(min = 1, max = limits::ROLE_LENGTH), regex(pattern = limits::NAME_PATTERN))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub roles: Vec<String>,
}

/// Whom a [`Member`] entry names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject<'a> {
    /// One person, by e-mail address.
    User(&'a str),
    /// Everybody in a group of the identity provider.
    Group(&'a str),
}

/// How the portal looks for a tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Branding {
    /// The accent colour, `#rrggbb`. Without one the portal takes its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::COLOR_LENGTH))]
    #[x_kube(
        validation = Rule::new("self.matches('^#[0-9a-fA-F]{6}$')").message("must be a colour such as \"#0b6bcb\"")
    )]
    pub accent_color: Option<String>,

    /// The logo: empty, an `https://` address, or a path on the portal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = limits::URL_LENGTH))]
    #[x_kube(
        validation = Rule::new("self == '' || self.startsWith('https://') || self.matches('^/([^/].*)?$')")
            .message("must be empty, begin with https://, or be a path on the portal")
    )]
    pub logo_url: String,
}

/// Where else than in the portal a tenant's dashboards may be shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Embedding {
    /// Origins, besides the portal's, whose pages may show the dashboards in a frame. Nothing means the portal alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::origins")]
    pub allowed_origins: Vec<String>,
}

/// How much a tenant may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TenantLimits {
    /// Queries that may run at the same time.
    #[schemars(range(min = limits::CONCURRENT_QUERIES_MIN, max = limits::CONCURRENT_QUERIES_MAX))]
    pub concurrent_queries: i32,

    /// Requests per second, over all users and dashboards.
    #[schemars(range(min = limits::REQUESTS_PER_SECOND_MIN, max = limits::REQUESTS_PER_SECOND_MAX))]
    pub requests_per_second: i32,
}

/// What the controller found out about a tenant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantStatus {
    /// The generation of the spec that this status describes in full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Whether the tenant is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<TenantState>,

    /// How many entries the member list has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<i32>,

    /// Dashboards that the spec names and that do not exist (the first few).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::STATUS_NAMES))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub missing: Vec<String>,

    /// `Ready` and its parts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::CONDITIONS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// Whether a tenant is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TenantState {
    /// Its members may sign in and work.
    Active,
    /// Nobody may, on purpose.
    Suspended,
}

// === impl Member ===

impl Member {
    /// Whom this entry names; `None` for an entry that names nobody, or two, and therefore grants nothing.
    pub fn subject(&self) -> Option<Subject<'_>> {
        match (self.user.as_deref(), self.group.as_deref()) {
            (Some(user), None) => Some(Subject::User(user)),
            (None, Some(group)) => Some(Subject::Group(group)),
            (None, None) | (Some(_), Some(_)) => None,
        }
    }
}

// === impl TenantLimits ===

impl Default for TenantLimits {
    fn default() -> Self {
        Self {
            concurrent_queries: limits::CONCURRENT_QUERIES_DEFAULT,
            requests_per_second: limits::REQUESTS_PER_SECOND_DEFAULT,
        }
    }
}
