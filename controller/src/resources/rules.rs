//! CEL rules that need a figure from [`limits`], or that both resources share.
//!
//! Only functions that the API server and `kube-cel` both know may be used; `optMap`, for one, is unknown to
//! `kube-cel`, which then refuses every object.

use kube::core::{Message, Reason, Rule};

use crate::limits;

/// A name is a DNS label without `--`.
pub(super) fn name_format() -> Rule {
    Rule::new(format!("self.metadata.name.matches('{}')", limits::NAME_PATTERN))
        .message("metadata.name must be a DNS label without \"--\": a-z, 0-9, and single hyphens between them")
        .reason(Reason::FieldValueInvalid)
}

/// Two names and `--` fit one DNS label.
pub(super) fn name_length() -> Rule {
    let max = limits::NAME_LENGTH;
    Rule::new(format!("self.metadata.name.size() <= {max}"))
        .message(Message::Message(format!("metadata.name must have at most {max} characters")))
        .reason(Reason::FieldValueInvalid)
}

/// A dashboard is run here or exists already, and `PerTenant` needs workloads that the controller can multiply.
pub(super) fn image_or_service() -> Rule {
    Rule::new(
        "has(self.spec.image) != has(self.spec.serviceRef) && (has(self.spec.image) || self.spec.isolation == 'Shared')",
    )
    .message("set exactly one of spec.image and spec.serviceRef; isolation: PerTenant needs spec.image")
    .reason(Reason::FieldValueInvalid)
}

/// A socket needs a folder that both containers mount, and only the controller's own pods have it.
pub(super) fn unix_needs_image() -> Rule {
    Rule::new("!(has(self.spec.serviceRef) && self.spec.transport == 'Unix')")
        .message("transport: Unix needs spec.image: a workload behind spec.serviceRef is reached on its port")
        .reason(Reason::FieldValueInvalid)
}

/// Exactly one site each: a wildcard would let in whoever gets a name below it.
pub(super) fn web_origin() -> Rule {
    Rule::new(format!("self.matches('{}')", limits::ORIGIN_PATTERN))
        .message(
            "must be an origin such as \"https://intranet.example\": https (http only on localhost), one host name in \
             lower case, at most a port, nothing after it",
        )
        .reason(Reason::FieldValueInvalid)
}

/// The dashboard and its sidecar share one network namespace.
pub(super) fn port_not_reserved() -> Rule {
    let ports = limits::PORTS_RESERVED.map(|port| port.to_string()).join(", ");
    Rule::new(format!("!(self in [{ports}])"))
        .message(Message::Message(format!("ports {ports} belong to the sidecar in the same pod")))
        .reason(Reason::FieldValueForbidden)
}

/// Nobody sets a variable that Kyros sets.
pub(super) fn env_not_reserved() -> Rule {
    let prefix = limits::ENV_RESERVED_PREFIX;
    Rule::new(format!("!self.name.startsWith('{prefix}')"))
        .message(Message::Message(format!("variables that begin with {prefix} are set by Kyros")))
        .reason(Reason::FieldValueForbidden)
}
