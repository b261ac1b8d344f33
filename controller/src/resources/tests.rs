//! The definitions as a cluster sees them.

use kube::CustomResourceExt;
use kyros_shared_config::WebOrigin;
use serde_json::{Value, json};

use super::{API_VERSION, Dashboard, GROUP, Member, Subject, Tenant, TenantLimits, VERSION, crds};
use crate::limits;

fn definition<K: CustomResourceExt>() -> Value {
    serde_json::to_value(K::crd()).unwrap()
}

fn schema<K: CustomResourceExt>() -> Value {
    definition::<K>()["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take()
}

/// Calls `visit` with the path of every schema in `value`.
fn walk(value: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, value);
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| walk(value, &format!("{path}/{key}"), visit)),
        Value::Array(list) => list.iter().for_each(|value| walk(value, path, visit)),
        _ => {}
    }
}

#[test]
fn names_are_what_people_type() {
    for (definition, short, plural) in
        [(definition::<Tenant>(), "ten", "tenants"), (definition::<Dashboard>(), "dash", "dashboards")]
    {
        let spec = &definition["spec"];
        assert_eq!(spec["group"], GROUP);
        assert_eq!(spec["scope"], "Namespaced");
        assert_eq!(spec["names"]["plural"], plural);
        assert_eq!(spec["names"]["shortNames"], json!([short]));
        assert_eq!(spec["names"]["categories"], json!(["kyros"]));
        assert_eq!(spec["versions"][0]["name"], VERSION);
        assert_eq!(format!("{GROUP}/{VERSION}"), API_VERSION);
        assert!(spec["versions"][0]["subresources"]["status"].is_object());
    }
    assert_eq!(crds().len(), 2);
}

#[test]
fn a_dashboard_scales() {
    let scale = &definition::<Dashboard>()["spec"]["versions"][0]["subresources"]["scale"];
    assert_eq!(scale["specReplicasPath"], ".spec.replicas");
    assert_eq!(scale["statusReplicasPath"], ".status.replicas");
    assert_eq!(scale["labelSelectorPath"], ".status.selector");
}

#[test]
fn columns_are_for_people() {
    let columns = |definition: Value| -> Vec<String> {
        let columns = definition["spec"]["versions"][0]["additionalPrinterColumns"].as_array().unwrap().clone();
        columns.iter().map(|column| column["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        columns(definition::<Tenant>()),
        ["Display", "State", "Members", "Dashboards", "Ready", "Reason", "Age"]
    );
    assert_eq!(columns(definition::<Dashboard>()), ["Title", "Ready", "Replicas", "URL", "Isolation", "Reason", "Age"]);
}

#[test]
fn the_schema_is_structural() {
    for (kind, schema) in [("Tenant", schema::<Tenant>()), ("Dashboard", schema::<Dashboard>())] {
        assert!(!schema["description"].as_str().unwrap().contains("Auto-generated"), "{kind}");
        walk(&schema, kind, &mut |path, value| {
            for forbidden in ["$ref", "oneOf", "anyOf", "allOf", "const"] {
                assert!(value.get(forbidden).is_none(), "{path} has {forbidden}");
            }
            if let Some(format) = value.get("format").and_then(Value::as_str) {
                assert!(!format.starts_with("uint"), "{path} is {format}");
            }
            if let Some(pattern) = value.get("pattern").and_then(Value::as_str) {
                assert!(regex::Regex::new(pattern).is_ok(), "{path}: {pattern}");
            }
        });
    }
}

#[test]
fn what_a_rule_looks_at_is_bounded() {
    for (kind, schema) in [("Tenant", schema::<Tenant>()), ("Dashboard", schema::<Dashboard>())] {
        walk(&schema["properties"]["spec"], kind, &mut |path, value| {
            if value.get("x-kubernetes-validations").is_none() {
                return;
            }
            match value["type"].as_str() {
                Some("string") => assert!(value.get("maxLength").is_some(), "{path} needs maxLength"),
                Some("array") => assert!(value.get("maxItems").is_some(), "{path} needs maxItems"),
                _ => {}
            }
        });
    }
}

#[test]
fn bounds_defaults_and_list_types_are_in_the_schema() {
    let tenant = schema::<Tenant>();
    let spec = &tenant["properties"]["spec"];
    assert_eq!(spec["required"], json!(["displayName"]));
    assert_eq!(spec["properties"]["members"]["maxItems"], limits::MEMBERS);
    assert_eq!(spec["properties"]["members"]["x-kubernetes-list-type"], "atomic");
    assert_eq!(spec["properties"]["dashboards"]["x-kubernetes-list-type"], "set");
    assert_eq!(spec["properties"]["dashboards"]["items"]["maxLength"], limits::NAME_LENGTH);
    let origins = &spec["properties"]["embedding"]["properties"]["allowedOrigins"];
    assert_eq!((&origins["maxItems"], &origins["x-kubernetes-list-type"]), (&json!(limits::ORIGINS), &json!("set")));
    assert_eq!(origins["items"]["maxLength"], limits::ORIGIN_LENGTH);
    assert!(origins["description"].is_string());
    assert_eq!(spec["properties"]["source"]["maxLength"], limits::NAME_LENGTH);
    assert_eq!(spec["properties"]["suspended"]["default"], false);
    assert_eq!(spec["properties"]["limits"]["properties"]["concurrentQueries"]["format"], "int32");
    assert_eq!(spec["properties"]["limits"]["properties"]["concurrentQueries"]["default"], 4);
    assert_eq!(tenant["x-kubernetes-validations"].as_array().unwrap().len(), 2);
    let conditions = &tenant["properties"]["status"]["properties"]["conditions"];
    assert_eq!(conditions["x-kubernetes-list-type"], "map");
    assert_eq!(conditions["x-kubernetes-list-map-keys"], json!(["type"]));

    let dashboard = schema::<Dashboard>();
    let spec = &dashboard["properties"]["spec"];
    assert_eq!(spec["required"], json!(["title"]));
    assert_eq!(spec["properties"]["isolation"]["enum"], json!(["Shared", "PerTenant"]));
    assert_eq!(spec["properties"]["isolation"]["default"], "Shared");
    assert_eq!(spec["properties"]["source"]["pattern"], limits::NAME_PATTERN);
    assert_eq!(spec["properties"]["transport"]["enum"], json!(["TCP", "Unix"]));
    assert_eq!(spec["properties"]["transport"]["default"], "TCP");
    assert_eq!(spec["properties"]["port"]["maximum"].as_f64(), Some(f64::from(limits::PORT_MAX)));
    assert_eq!(spec["properties"]["env"]["x-kubernetes-list-map-keys"], json!(["name"]));
    assert_eq!(spec["properties"]["env"]["items"]["properties"]["name"]["maxLength"], limits::ENV_NAME_LENGTH);
    let cpu = &spec["properties"]["resources"]["properties"]["limits"]["additionalProperties"];
    assert_eq!(cpu["x-kubernetes-int-or-string"], true);
    assert_eq!(cpu["pattern"], limits::QUANTITY_PATTERN);
    assert!(spec["properties"]["resources"]["properties"].get("claims").is_none());
}

/// What a cluster lets pass and the type refuses would silently let nobody in; the other way round, nobody could write it.
#[test]
fn the_pattern_of_an_origin_and_its_type_agree() {
    let pattern = regex::Regex::new(limits::ORIGIN_PATTERN).unwrap();
    let mut accepted = 0;
    let (schemes, ports) = (
        ["https://", "http://", "HTTPS://", "https:", "//", "", "ftp://", "data:", " https://"],
        ["", ":", ":0", ":1", ":080", ":443", ":9999", ":10000", ":59999", ":65535", ":65536", ":70000", ":1 ", ":1:1"],
    );
    let label = "a".repeat(63);
    let mut hosts: Vec<String> = "a localhost a.localhost notlocalhost localhost.a a.b.c 1.a a.1 1 1a a1 0x1 192.0.2.1 a-b a--b -a \
                                  a- a.-b a.b- xn--bcher-kva.a bücher A a_b * *.a a.* a..b .a a. . 'self' \"a\" a;b a,b a@b \
                                  a%62 [::1] a\\b a/ a/b a?b a#b"
        .split(' ')
        .map(str::to_owned)
        .collect();
    hosts.extend([String::new(), "a b".into(), "a\n".into(), format!("{label}.a"), format!("a.{label}")]);
    hosts.extend([format!("{label}a.a"), format!("a.{label}a"), format!("{label}a.localhost")]);
    for scheme in schemes {
        for host in &hosts {
            for port in ports {
                for end in ["", "/", "\n", " "] {
                    let text = format!("{scheme}{host}{port}{end}");
                    let parsed = text.parse::<WebOrigin>();
                    assert_eq!(pattern.is_match(&text), parsed.is_ok(), "{text:?}: {parsed:?}");
                    accepted += u32::from(parsed.is_ok());
                }
            }
        }
    }
    assert!(accepted > 100, "{accepted} accepted: the test tests too little");
}

#[test]
fn a_member_that_names_nobody_or_two_grants_nothing() {
    let member = |user: Option<&str>, group: Option<&str>| Member {
        user: user.map(str::to_owned),
        group: group.map(str::to_owned),
        roles: Vec::new(),
    };
    assert_eq!(member(Some("ana"), None).subject(), Some(Subject::User("ana")));
    assert_eq!(member(None, Some("staff")).subject(), Some(Subject::Group("staff")));
    assert_eq!(member(None, None).subject(), None);
    assert_eq!(member(Some("ana"), Some("staff")).subject(), None);
}

#[test]
fn defaults_of_the_type_and_of_the_schema_agree() {
    let defaults = &schema::<Tenant>()["properties"]["spec"]["properties"]["limits"]["default"];
    assert_eq!(serde_json::from_value::<TenantLimits>(defaults.clone()).unwrap(), TenantLimits::default());
}
