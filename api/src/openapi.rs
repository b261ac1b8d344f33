//! Routes for programs and their description come from the same lines; the document cannot forget one of them. The portal's
//! pages and `/internal` are not for programs and not described.

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{Html, IntoResponse as _, Response},
};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{data, metadata_api, mock, oauth, state::App};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Kyros API",
        description = "Identity, token exchange, metadata and data. Tenant tokens name one tenant and one dashboard; no other \
                   part of a request ever does.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(ProblemDocument, Mistake))
)]
struct Base;

/// A problem (RFC 9457), as every refusal is.
#[derive(ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "it only describes what kyros_shared_config::Problem is")]
pub(crate) struct ProblemDocument {
    /// `urn:kyros:problem:` and a code.
    r#type: String,
    /// The kind in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What to do about this occurrence.
    detail: Option<String>,
    /// `urn:kyros:decision:` and the id under which the log has this refusal.
    instance: String,
    /// Every mistake in the request.
    errors: Option<Vec<Mistake>>,
}

/// One thing wrong with one part of a request.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it only describes")]
pub(crate) struct Mistake {
    /// Where it is, as a JSON pointer into the body (RFC 6901); empty for the whole body.
    pointer: Option<String>,
    /// Where it is, as a query parameter's name.
    parameter: Option<String>,
    /// A stable word for the kind of mistake.
    code: String,
    /// A sentence for people.
    detail: String,
    /// What would have been right.
    allowed: Option<Vec<String>>,
}

/// The described routes.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Base::openapi())
        .routes(routes!(metadata_api::me))
        .routes(routes!(oauth::exchange::exchange))
        .routes(routes!(metadata_api::tenant))
        .routes(routes!(metadata_api::dashboards))
        .routes(routes!(metadata_api::dashboard))
        .routes(routes!(data::list))
        .routes(routes!(data::rows))
        .routes(routes!(data::schema))
        .routes(routes!(data::query))
        .routes(routes!(oauth::authorize::authorize))
        .routes(routes!(oauth::token::token))
        .routes(routes!(oauth::token::revoke))
        .routes(routes!(oauth::token::introspect))
        .routes(routes!(oauth::metadata::jwks))
        .routes(routes!(oauth::metadata::server_metadata))
        .routes(routes!(mock::people))
        .routes(routes!(mock::token))
}

/// The `OpenAPI` document as JSON.
pub fn document() -> String {
    let document = router().into_openapi();
    document.to_pretty_json().unwrap_or_default()
}

/// `GET /openapi.json`.
pub(crate) async fn json() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], document()).into_response()
}

/// `GET /docs`: the same as a page, without a script or a foreign host.
pub(crate) async fn page(State(_): State<App>) -> Html<String> {
    let document: serde_json::Value = serde_json::from_str(&document()).unwrap_or_default();
    let mut rows = String::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            let summary = operation["summary"].as_str().unwrap_or_default();
            let description = operation["description"].as_str().unwrap_or_default();
            let statuses: Vec<String> = operation["responses"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(status, answer)| format!("{status}: {}", answer["description"].as_str().unwrap_or_default()))
                .collect();
            rows.push_str(&format!(
                "<section class=\"card\"><h2><code>{} {}</code></h2><p>{}</p><p class=\"muted\">{}</p><ul><li>{}</li></ul></section>",
                escape(&method.to_uppercase()),
                escape(path),
                escape(summary),
                escape(description),
                statuses.iter().map(|status| escape(status)).collect::<Vec<_>>().join("</li><li>"),
            ));
        }
    }
    Html(format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><title>API · Kyros</title><link rel=\"stylesheet\" \
         href=\"/assets/kyros.css\"></head><body><main class=\"wrap stack\"><h1>Kyros API</h1><p><a \
         href=\"/openapi.json\">openapi.json</a></p>{rows}</main></body></html>"
    ))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn everything_that_the_document_refers_to_is_in_it() {
        let document: Value = serde_json::from_str(&document()).unwrap();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.contains("#/components/schemas/Problem"));
        let missing: Vec<_> = found.iter().filter(|name| document.pointer(&name[1..]).is_none()).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
