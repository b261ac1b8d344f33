//! What a document may be: its kind's schema and rules, made from the definition that a cluster installs. No I/O.

use kube::{
    CustomResourceExt,
    core::cel::{CompiledSchema, ErrorKind, Validator, apply_defaults, compile_schema},
};
use serde_json::{Map, Value, json};

use super::{
    check::{Checker, Finding, Findings},
    problem::Reason,
    tree::{Item, Path, Step},
};
use crate::resources::{Dashboard, Tenant};

/// A kind of resource, ready to check documents.
pub(super) struct Kind {
    pub(super) name: &'static str,
    schema: Value,
    rules: CompiledSchema,
    validator: Validator,
}

// === impl Kind ===

impl Kind {
    pub(super) fn tenant() -> Self {
        Self::new::<Tenant>("Tenant")
    }

    pub(super) fn dashboard() -> Self {
        Self::new::<Dashboard>("Dashboard")
    }

    fn new<K: CustomResourceExt>(name: &'static str) -> Self {
        let definition = K::crd();
        let derived = definition.spec.versions.first().and_then(|version| version.schema.as_ref());
        // A definition without a schema would refuse every field: closed, not open.
        let schema =
            complete(serde_json::to_value(derived.and_then(|s| s.open_api_v3_schema.as_ref())).unwrap_or_default());
        let rules = compile_schema(&schema);
        Self { name, schema, rules, validator: Validator::new() }
    }

    /// Everything in the document that a cluster with this definition would refuse or drop.
    ///
    /// A rule whose subject has findings of its own is left out: it would only say the same in other words.
    pub(super) fn check(&self, checker: &mut Checker, document: &Item) -> Findings {
        let mut findings = checker.check(document, &self.schema);
        let object = apply_defaults(&self.schema, &document.tree.to_json());
        let Err(broken) = self.validator.validate_compiled(&self.rules, &object, None) else {
            return findings;
        };
        let known: Vec<Path> = findings.mistakes.iter().map(|finding| finding.path.clone()).collect();
        for error in broken.into_vec() {
            let path = subject(&error.field_path, &error.rule);
            let told = known.iter().any(|known| known.starts_with(&path));
            let could_not_run = error.kind != ErrorKind::ValidationFailure && !known.is_empty();
            if told || could_not_run {
                continue;
            }
            let line = document.line_of(&path);
            let reason = Reason::Rule { field: error.field_path, message: error.message };
            findings.mistakes.push(Finding { path, line, reason });
        }
        findings
    }
}

/// What a rule is about. The rules at the root look at the name or at the spec as a whole; a `fieldPath` cannot say so,
/// because an API server takes only paths that the schema spells out, and `metadata` is not among them.
fn subject(field_path: &str, rule: &str) -> Path {
    let keys = |keys: &[&str]| Path(keys.iter().map(|key| Step::Key((*key).to_owned())).collect());
    match field_path {
        "" if rule.contains("self.metadata.name") => keys(&["metadata", "name"]),
        "" if rule.contains("self.spec.") => keys(&["spec"]),
        path => Path::parse(path),
    }
}

/// Adds what an API server knows of itself: `apiVersion`, `kind` and `metadata`. What a cluster fills in may stand
/// there, so that a resource can be copied out of one; it is dropped later, like `status`.
fn complete(mut schema: Value) -> Value {
    let anything = json!({ "x-kubernetes-preserve-unknown-fields": true });
    let texts = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    let mut metadata: Map<String, Value> =
        ["creationTimestamp", "finalizers", "generation", "managedFields", "ownerReferences", "resourceVersion", "uid"]
            .map(|field| (field.to_owned(), anything.clone()))
            .into_iter()
            .collect();
    metadata.insert("name".to_owned(), json!({ "type": "string", "minLength": 1 }));
    metadata.insert("namespace".to_owned(), json!({ "type": "string" }));
    metadata.insert("labels".to_owned(), texts.clone());
    metadata.insert("annotations".to_owned(), texts);
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("apiVersion".to_owned(), json!({ "type": "string" }));
        properties.insert("kind".to_owned(), json!({ "type": "string" }));
        properties.insert("status".to_owned(), anything);
        properties
            .insert("metadata".to_owned(), json!({ "type": "object", "properties": metadata, "required": ["name"] }));
    }
    schema["required"] = json!(["metadata", "spec"]);
    schema
}
