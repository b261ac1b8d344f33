//! The filters as a form, which works without a script, and what is chosen as links.

use crate::{
    Filters,
    charts::markup::Markup,
    filters::{Field, Kind},
};

/// The form. What is only carried along goes as hidden fields, and an empty field is no filter.
pub(super) fn form(out: &mut Markup, filters: &Filters) {
    let form = out.tag("form").attr("class", "filters").attr("method", "get").attr("action", filters.path());
    form.attr("role", "search").attr("aria-label", "Filters").open();
    for (name, value) in filters.hidden().pairs() {
        out.tag("input").attr("type", "hidden").attr("name", name).attr("value", value).open();
    }
    for field in &filters.fields {
        out.tag("label").open();
        out.tag("span").text(field.label);
        match &field.kind {
            Kind::Select { .. } => select(out, field, filters.get(field.name)),
            Kind::Date { earliest, latest } => {
                let input = out.tag("input").attr("type", "date").attr("name", field.name);
                let input = input.attr("value", filters.get(field.name).unwrap_or_default());
                input.attr("min", &earliest.to_string()).attr("max", &latest.to_string()).open();
            }
        }
        out.close("label");
    }
    out.tag("button").attr("class", "button").text("Apply");
    out.close("form");
}

fn select(out: &mut Markup, field: &Field, chosen: Option<&str>) {
    let Kind::Select { all, choices } = &field.kind else { return };
    out.tag("select").attr("name", field.name).open();
    out.tag("option").attr("value", "").text(all);
    for choice in choices {
        let option = out.tag("option").attr("value", &choice.value);
        option.maybe("selected", (chosen == Some(&choice.value)).then_some("")).text(&choice.label);
    }
    out.close("select");
}

/// Links that set several filters at once, and one link per filter that is set, which takes it away.
pub(super) fn chosen(out: &mut Markup, filters: &Filters) {
    for (group, presets) in &filters.presets {
        out.tag("nav").attr("class", "presets").attr("aria-label", group).open();
        out.tag("span").text(group);
        for preset in presets {
            let link = out.tag("a").attr("href", &preset.href).attr("data-filter", "").attr("data-key", &preset.label);
            link.maybe("aria-current", preset.current.then_some("true")).text(&preset.label);
        }
        out.close("nav");
    }
    let active = filters.active();
    if active.is_empty() {
        return;
    }
    out.tag("ul").attr("class", "chips").attr("aria-label", "Filters that are set").open();
    for filter in &active {
        out.tag("li").open();
        let link = out.tag("a").attr("class", "chip").attr("href", &filter.clear).attr("data-filter", "");
        link.attr("data-key", &format!("chip-{}", filter.name)).open();
        out.tag("span").attr("class", "chart-sr").text("Remove filter ");
        out.text(&format!("{}: {} ", filter.label, filter.value));
        out.tag("span").attr("aria-hidden", "true").text("×");
        out.close("a");
        out.close("li");
    }
    if active.len() > 1 {
        out.tag("li").open();
        let link = out.tag("a").attr("href", &filters.clear()).attr("data-filter", "");
        link.attr("data-key", "chips").text("Clear all");
        out.close("li");
    }
    out.close("ul");
}
