//! Everybody's dashboards as they come, behind the sidecar, in a real browser: load, interact, live data, reload, two tenants,
//! logout.
//!
//! `KYROS_TEST_PYTHON` names the folder of environments that `dashboards/python/environment --all` made; what is served are the
//! apps in `dashboards/python/examples` and `dashboards/python/frameworks`, started as a developer would, and none of them is
//! told a base path. Every app shows the same, so that one test fits all: whose it is, the largest channel or country, a chart,
//! and a line that is new each second.
//!
//! ```text
//!  table ── what differs ──► stage: kyros up, the app's server (server), a browser (page), two tenants' rows (tenants)
//! ```

mod page;
mod server;
mod stage;
mod table;
mod tenants;

use stage::{PATIENCE, Stage};
use table::{BOKEH, DASH, Framework, GRADIO, MARIMO, NICEGUI, PANEL, SHINY, STREAMLIT, VOILA};

/// The whole story, which is the same for every framework.
async fn works_unmodified(framework: &'static Framework) {
    let Some(stage) = Stage::start(framework).await else { return };
    let tabs = stage.two_tenants_in_two_tabs().await;
    stage.no_errors().await;
    stage.logout_ends(&tabs).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dash_works_unmodified_over_http_and_over_its_socket() {
    let Some(stage) = Stage::start(&DASH).await else { return };
    let tabs = stage.two_tenants_in_two_tabs().await;
    // Beside the live figure, which a running callback sends by itself: a question over the socket, and its answer.
    for (tab, customers) in tabs.iter().zip(["3 customers", "2 customers"]) {
        stage.show(tab).await;
        stage.page().wait_for_text("(asked over HTTP)", PATIENCE).await;
        stage.page().click("Count customers").await;
        stage.page().wait_for_text(&format!("{customers} (asked over WebSocket)"), PATIENCE).await;
    }
    stage.no_errors().await;
    stage.logout_ends(&tabs).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streamlit_works_unmodified_over_its_socket() {
    let Some(stage) = Stage::start(&STREAMLIT).await else { return };
    let tabs = stage.two_tenants_in_two_tabs().await;
    stage.no_errors().await;
    stage.logout_ends(&tabs).await;
    // Streamlit asks its server whether it is there still; the sidecar answers, and the page says that it is cut off.
    stage.show(&tabs[0]).await;
    stage.page().wait_for_text("Connection failed with status 401", PATIENCE).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gradio_works_unmodified_over_events() {
    works_unmodified(&GRADIO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn panel_works_unmodified_over_its_socket() {
    works_unmodified(&PANEL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bokeh_works_unmodified_over_its_socket() {
    works_unmodified(&BOKEH).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shiny_works_unmodified_over_its_socket() {
    works_unmodified(&SHINY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn marimo_works_unmodified_over_its_socket() {
    works_unmodified(&MARIMO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nicegui_works_unmodified_over_its_socket() {
    works_unmodified(&NICEGUI).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn voila_works_unmodified_in_the_portals_frame() {
    works_unmodified(&VOILA).await;
}
