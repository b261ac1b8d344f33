//! Schemas of borrowed Kubernetes types, with the bounds that those types lack, and of lists with a rule for each entry.

use k8s_openapi::api::core::v1::{EnvVar, Probe, ResourceRequirements};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::rules;
use crate::limits;

/// Environment variables as in a container, with bounds, and without Kyros's own.
pub(super) fn env(generator: &mut SchemaGenerator) -> Schema {
    let mut item = EnvVar::json_schema(generator);
    amend(
        &mut item,
        "/properties/name",
        json!({
            "minLength": 1,
            "maxLength": limits::ENV_NAME_LENGTH,
            "pattern": limits::ENV_NAME_PATTERN,
        }),
    );
    amend(&mut item, "/properties/value", json!({ "maxLength": limits::ENV_VALUE_LENGTH }));
    item.insert("x-kubernetes-validations".to_owned(), json!([rules::env_not_reserved()]));
    json_schema!({
        "type": "array",
        "items": item,
        "maxItems": limits::ENV,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    })
}

/// Origins of other sites.
pub(super) fn origins(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {
            "type": "string",
            "maxLength": limits::ORIGIN_LENGTH,
            "x-kubernetes-validations": [rules::web_origin()],
        },
        "maxItems": limits::ORIGINS,
        "x-kubernetes-list-type": "set",
    })
}

/// Resources as in a container; quantities are checked here, because nothing checks them before the Deployment would.
pub(super) fn resources(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = ResourceRequirements::json_schema(generator);
    let quantities = json!({
        "type": "object",
        "additionalProperties": {
            "x-kubernetes-int-or-string": true,
            "pattern": limits::QUANTITY_PATTERN,
        },
    });
    for list in ["limits", "requests"] {
        amend(&mut schema, &format!("/properties/{list}"), quantities.clone());
    }
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        // Claims refer to a list in the PodSpec that a Dashboard does not have.
        properties.remove("claims");
    }
    schema
}

/// A probe as in a container. A port is a number or a name, and a number that is no port could not even be read.
pub(super) fn probe(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = Probe::json_schema(generator);
    for handler in ["httpGet", "tcpSocket", "grpc"] {
        let bounds = json!({ "minimum": limits::PORT_MIN, "maximum": limits::PORT_MAX });
        amend(&mut schema, &format!("/properties/{handler}/properties/port"), bounds);
    }
    schema.insert("nullable".to_owned(), json!(true));
    schema
}

/// Sets keywords of the schema at `pointer`.
fn amend(schema: &mut Schema, pointer: &str, keywords: Value) {
    if let (Some(Value::Object(target)), Value::Object(mut keywords)) = (schema.pointer_mut(pointer), keywords) {
        Map::append(target, &mut keywords);
    }
}
