//! The frameworks, and all that one differs from another in as far as the tests are concerned.

/// A framework, its app, and what to look for on its page.
pub(super) struct Framework {
    /// The app's folder, its environment, and the dashboard's name.
    pub(super) name: &'static str,
    /// The folder of its folder in `dashboards/python`.
    pub(super) folder: &'static str,
    /// How its resource says that it is reached.
    pub(super) transport: &'static str,
    /// What shows that a chart was drawn; shadow roots are looked into.
    pub(super) chart: &'static str,
    /// How its pages hear of what is new.
    pub(super) live: Live,
    /// Its server keeps connections that nobody uses: whether one of them is a socket cannot be seen from outside.
    pub(super) keeps_connections: bool,
}

/// How pages hear of what is new.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Live {
    /// Over a socket that the page itself opens, so that it can say how that was closed.
    Socket,
    /// Over a socket of a worker that is shared by pages.
    WorkerSocket,
    /// Over requests and streams.
    Requests,
}

pub(super) const DASH: Framework = Framework {
    name: "dash",
    folder: "examples",
    transport: "Unix",
    chart: "#chart .bars path",
    live: Live::WorkerSocket,
    keeps_connections: false,
};

pub(super) const STREAMLIT: Framework = Framework {
    name: "streamlit",
    folder: "examples",
    transport: "TCP",
    chart: "[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg",
    live: Live::Socket,
    keeps_connections: false,
};

pub(super) const GRADIO: Framework = Framework {
    name: "gradio",
    folder: "frameworks",
    transport: "TCP",
    chart: ".vega-embed svg, .vega-embed canvas, svg.marks, canvas.marks",
    live: Live::Requests,
    keeps_connections: false,
};

pub(super) const PANEL: Framework = Framework {
    name: "panel",
    folder: "frameworks",
    transport: "TCP",
    chart: "canvas",
    live: Live::Socket,
    keeps_connections: true,
};

pub(super) const BOKEH: Framework = Framework {
    name: "bokeh",
    folder: "frameworks",
    transport: "Unix",
    chart: "canvas",
    live: Live::Socket,
    keeps_connections: true,
};

pub(super) const SHINY: Framework = Framework {
    name: "shiny",
    folder: "frameworks",
    transport: "Unix",
    chart: "#chart img",
    live: Live::Socket,
    keeps_connections: false,
};

pub(super) const MARIMO: Framework = Framework {
    name: "marimo",
    folder: "frameworks",
    transport: "TCP",
    chart: "canvas.marks, svg.marks",
    live: Live::Socket,
    keeps_connections: true,
};

pub(super) const NICEGUI: Framework = Framework {
    name: "nicegui",
    folder: "frameworks",
    transport: "TCP",
    chart: ".nicegui-echart canvas, .nicegui-echart svg",
    live: Live::Socket,
    keeps_connections: false,
};

pub(super) const VOILA: Framework = Framework {
    name: "voila",
    folder: "frameworks",
    transport: "TCP",
    chart: "img[src^='blob:'], img[src^='data:']",
    live: Live::Socket,
    keeps_connections: true,
};
