//! The frame around a dashboard's charts: one page, its style and its scripts, all from this host.

use axum::{
    Router,
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};

use crate::{Visitor, charts};

/// What the frame lets in: this host alone, nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'";

/// A part of a page: charts and text under a heading. `html` must come from escaping builders such as those in [`charts`].
pub struct Panel {
    /// Markup.
    pub html: String,
}

impl Panel {
    /// A panel of markup that its builder has escaped.
    pub fn new(html: &impl ToString) -> Self {
        Self { html: html.to_string() }
    }

    /// A list of names and values.
    pub fn facts(title: &str, facts: &[(&str, String)]) -> Self {
        let rows: String = facts
            .iter()
            .map(|(name, value)| format!("<dt>{}</dt><dd>{}</dd>", charts::Escaped(name), charts::Escaped(value)))
            .collect();
        Self {
            html: format!(
                "<section class=\"panel\"><h2>{}</h2><dl class=\"facts\">{rows}</dl></section>",
                charts::Escaped(title)
            ),
        }
    }
}

/// A dashboard's page.
pub struct Page {
    /// Its heading.
    pub title: &'static str,
    /// Who sees it.
    pub visitor: Visitor,
    /// Datasets that can be downloaded.
    pub exports: &'static [&'static str],
    /// Markup before the grid, e.g. key figures.
    pub head: String,
    /// The grid.
    pub panels: Vec<Panel>,
}

impl Page {
    /// A page that says why there is nothing to see.
    pub fn message(title: &'static str, visitor: Visitor, text: &str) -> Self {
        let head = format!("<p class=\"panel\" role=\"status\">{}</p>", charts::Escaped(text));
        Self { title, visitor, exports: &[], head, panels: Vec::new() }
    }

    fn html(&self) -> String {
        let title = charts::Escaped(self.title);
        let exports: String = self
            .exports
            .iter()
            .map(|name| format!("<a href=\"/export/{name}.csv\" download>{name}.csv</a> "))
            .collect();
        let panels: String = self.panels.iter().map(|panel| panel.html.as_str()).collect();
        format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width,initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\">\
             <title>{title}</title><link rel=\"icon\" href=\"data:,\"><link rel=\"stylesheet\" \
             href=\"/assets/charts.css\"><link rel=\"stylesheet\" href=\"/assets/kit.css\"></head><body><main>\
             <header class=\"head\"><h1>{title}</h1><p class=\"who\"><span id=\"tenant\">{}</span> · {}</p></header>\
             <p id=\"news\" role=\"status\" hidden></p>{}<div class=\"grid\">{panels}</div><footer>{exports}</footer>\
             </main><script type=\"module\" src=\"/.kyros/embed.js\"></script><script type=\"module\" src=\"/assets/charts.js\"></script><script type=\"module\" \
             src=\"/assets/kit.js\"></script></body></html>",
            charts::Escaped(&self.visitor.tenant),
            charts::Escaped(&self.visitor.person),
            self.head,
        )
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let headers = [
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::CACHE_CONTROL, "private, no-store"),
            (header::REFERRER_POLICY, "no-referrer"),
        ];
        (StatusCode::OK, headers, Html(self.html())).into_response()
    }
}

/// The style sheets and scripts that every page loads.
pub fn assets<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let serve = |kind: &'static str, text: &'static str| {
        get(
            move || async move { ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "private, max-age=300")], text) },
        )
    };
    Router::new()
        .route("/assets/charts.css", serve("text/css; charset=utf-8", charts::CSS))
        .route("/assets/charts.js", serve("text/javascript; charset=utf-8", charts::JS))
        .route("/assets/kit.css", serve("text/css; charset=utf-8", include_str!("../assets/kit.css")))
        .route("/assets/kit.js", serve("text/javascript; charset=utf-8", include_str!("../assets/kit.js")))
}
