//! The frame around a dashboard's charts: one page, its style and its script, all from this host.
//!
//! ```text
//!  header   title · tenant · person · data as of · export          (#tools is replaced with the view)
//!  main     #news · filters (GET) · #view: presets, chips, key figures, panels
//! ```
//!
//! The script replaces `#view` when a filter changes; without it every change is a page load of the same address.

mod assets;
mod form;
mod notice;
mod panel;

use axum::{
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
};

pub use assets::assets;
pub use notice::Notice;
pub use panel::Panel;

use crate::{
    Filters, Visitor,
    charts::{Kpis, Tone, markup::Markup},
    csv,
};

/// What the page lets in: this host alone, nothing inline. Who may frame it is the sidecar's to say.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'";

/// A dashboard's page.
pub struct Page {
    title: &'static str,
    heading: String,
    visitor: Visitor,
    status: StatusCode,
    as_of: String,
    back: Option<(String, String)>,
    exports: Vec<(String, String)>,
    filters: Option<Filters>,
    summary: String,
    remarks: Vec<(Tone, String)>,
    kpis: Option<Kpis>,
    panels: Vec<Panel>,
    notice: Option<Notice>,
}

impl Page {
    /// A page under the dashboard's title.
    pub fn new(title: &'static str, visitor: Visitor) -> Self {
        Self {
            title,
            heading: title.to_owned(),
            visitor,
            status: StatusCode::OK,
            as_of: String::new(),
            back: None,
            exports: Vec::new(),
            filters: None,
            summary: String::new(),
            remarks: Vec::new(),
            kpis: None,
            panels: Vec::new(),
            notice: None,
        }
    }

    /// A page of one thing: a heading of its own, and the way back, which keeps the filters.
    #[must_use]
    pub fn detail(mut self, heading: impl Into<String>, back: impl Into<String>, href: impl Into<String>) -> Self {
        self.heading = heading.into();
        self.back = Some((back.into(), href.into()));
        self
    }

    /// What the data reaches to: `30 Sep 2026`.
    #[must_use]
    pub fn as_of(mut self, day: impl Into<String>) -> Self {
        self.as_of = day.into();
        self
    }

    /// A file of the page's rows, under the same filters.
    #[must_use]
    pub fn export(mut self, label: impl Into<String>, href: impl Into<String>) -> Self {
        self.exports.push((label.into(), href.into()));
        self
    }

    /// The filters: a form, presets, and a chip for each that is set.
    #[must_use]
    pub fn filters(mut self, filters: Filters) -> Self {
        self.filters = Some(filters);
        self
    }

    /// One line that says what is shown; it is also what is announced after a change.
    #[must_use]
    pub fn summary(mut self, text: impl Into<String>) -> Self {
        self.summary = text.into();
        self
    }

    /// A remark above the figures: what to bear in mind when reading them.
    #[must_use]
    pub fn remark(mut self, tone: Tone, text: impl Into<String>) -> Self {
        self.remarks.push((tone, text.into()));
        self
    }

    /// The key figures.
    #[must_use]
    pub fn kpis(mut self, kpis: Kpis) -> Self {
        self.kpis = Some(kpis);
        self
    }

    /// A panel of the grid.
    #[must_use]
    pub fn panel(mut self, panel: Panel) -> Self {
        self.panels.push(panel);
        self
    }

    /// Panels of the grid.
    #[must_use]
    pub fn panels(mut self, panels: impl IntoIterator<Item = Panel>) -> Self {
        self.panels.extend(panels);
        self
    }

    /// A state instead of figures. It decides the answer's status.
    #[must_use]
    pub fn notice(mut self, notice: Notice) -> Self {
        self.status = notice.status();
        self.notice = Some(notice);
        self
    }

    /// The data behind one of the panels as a file, and `None` where no panel has that id. What is in it is what the page
    /// would show, so the same filters hold.
    pub fn into_csv(self, id: &str) -> Option<Response> {
        let title = self.title;
        let tenant = self.visitor.tenant;
        let panel = self.panels.into_iter().find(|panel| panel.id() == Some(id))?;
        Some(csv::attachment(&csv::file_stem(title, &tenant, id), panel.into_data().csv()))
    }

    fn html(&self) -> String {
        let mut out = Markup::default();
        self.head(&mut out);
        out.tag("body").open();
        out.tag("a").attr("class", "skip").attr("href", "#view").text("Skip to the figures");
        self.header(&mut out);
        out.tag("main").open();
        out.tag("p").attr("id", "news").attr("role", "status").flag("hidden").text("");
        if let Some(filters) = &self.filters {
            form::form(&mut out, filters);
        }
        out.tag("div").attr("id", "view").attr("tabindex", "-1").open();
        self.view(&mut out);
        out.close("div");
        out.close("main");
        out.tag("p").attr("id", "said").attr("class", "chart-sr").attr("role", "status").text("");
        out.close("body");
        out.close("html");
        format!("<!doctype html>{}", out.as_str())
    }

    fn head(&self, out: &mut Markup) {
        out.tag("html").attr("lang", "en").open();
        out.tag("head").open();
        out.tag("meta").attr("charset", "utf-8").open();
        out.tag("meta").attr("name", "viewport").attr("content", "width=device-width,initial-scale=1").open();
        out.tag("meta").attr("name", "color-scheme").attr("content", "light dark").open();
        let name = if self.heading == self.title { String::new() } else { format!("{} · ", self.heading) };
        out.tag("title").text(&format!("{name}{} · {}", self.title, self.visitor.tenant));
        out.tag("link").attr("rel", "icon").attr("href", "data:,").open();
        out.tag("link").attr("rel", "stylesheet").attr("href", assets::STYLE.address()).open();
        // The sidecar's: theme and print on the portal's word. The page does without where it is missing.
        for script in [assets::SCRIPT.address(), "/.kyros/embed.js"] {
            out.tag("script").attr("type", "module").attr("src", script).text("");
        }
        out.close("head");
    }

    fn header(&self, out: &mut Markup) {
        out.tag("header").attr("class", "head").open();
        if let Some((label, href)) = &self.back {
            out.tag("nav").attr("class", "crumbs").attr("aria-label", "Breadcrumb").open();
            out.tag("a").attr("href", href).text(label);
            out.tag("span").attr("aria-hidden", "true").text(" / ");
            out.tag("span").attr("aria-current", "page").text(&self.heading);
            out.close("nav");
        }
        out.tag("h1").text(&self.heading);
        out.tag("p").attr("class", "who").open();
        out.tag("span").attr("id", "tenant").text(&self.visitor.tenant);
        out.text(&format!(" · {}", self.visitor.person));
        out.close("p");
        out.tag("div").attr("id", "tools").attr("class", "tools").open();
        if !self.as_of.is_empty() {
            out.tag("p").attr("class", "asof").text(&format!("Data as of {}", self.as_of));
        }
        for (label, href) in &self.exports {
            out.tag("a").attr("class", "button").attr("href", href).attr("download", "").text(label);
        }
        out.close("div");
        out.close("header");
    }

    fn view(&self, out: &mut Markup) {
        if let Some(filters) = &self.filters {
            form::chosen(out, filters);
        }
        if let Some(notice) = &self.notice {
            notice.write(out);
            return;
        }
        if !self.summary.is_empty() {
            out.tag("p").attr("class", "summary").text(&self.summary);
        }
        for (tone, text) in &self.remarks {
            out.tag("p").attr("class", &format!("remark {}", tone.class())).text(text);
        }
        if let Some(kpis) = &self.kpis {
            out.raw(&kpis.to_string());
        }
        out.tag("div").attr("class", "grid").open();
        for panel in &self.panels {
            out.raw(panel.html());
        }
        out.close("div");
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let headers = [
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::CACHE_CONTROL, "private, no-store"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        (self.status, headers, Html(self.html())).into_response()
    }
}
