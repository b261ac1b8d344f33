//! __TITLE__ with axum, for many tenants: whose request it is, and that tenant's revenue by channel.
//!
//! The sidecar in front says in headers who asks. The same headers, passed on to the data API, fetch that tenant's rows and no
//! other's. One process serves all tenants: keep nothing of a tenant outside of its request.

use std::{env, fs, os::unix::fs::PermissionsExt as _, process::ExitCode};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Html,
    routing::get,
};
use serde::Deserialize;
use tokio::{
    net::{TcpListener, UnixListener},
    signal::unix::{SignalKind, signal},
};

const QUERY: &str = "/api/data/transactions?group_by=channel&agg=revenue:sum&sort=-revenue_sum";
/// What shows the data API whose rows are meant. The session outlives the five minutes of the token.
const CREDENTIALS: [&str; 2] = ["authorization", "x-kyros-session"];
/// The sidecar is another user of the same group.
const SOCKET_MODE: u32 = 0o660;

/// The data API, as the sidecar offers it.
#[derive(Clone)]
struct DataApi {
    client: reqwest::Client,
    url: String,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Channel>,
}

#[derive(Deserialize)]
struct Channel {
    channel: String,
    revenue_sum: f64,
}

impl DataApi {
    /// Rows of whoever the headers belong to. The query names no tenant.
    async fn channels(&self, headers: &HeaderMap) -> Result<Vec<Channel>, reqwest::Error> {
        let mut request = self.client.get(format!("{}{QUERY}", self.url));
        for name in CREDENTIALS {
            if let Some(value) = headers.get(name) {
                request = request.header(name, value);
            }
        }
        Ok(request.send().await?.error_for_status()?.json::<Answer>().await?.data)
    }
}

async fn page(State(api): State<DataApi>, headers: HeaderMap) -> Result<Html<String>, (StatusCode, &'static str)> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // No default: without a tenant this fails, it never falls back to one.
    let tenant = text("x-kyros-tenant").ok_or((StatusCode::FORBIDDEN, "open this through the sidecar"))?;
    let person = text("x-kyros-email").or(text("x-kyros-user")).unwrap_or_default();
    let channels = api.channels(&headers).await.map_err(|error| {
        eprintln!("no data: {error}");
        (StatusCode::BAD_GATEWAY, "there is no data right now")
    })?;
    let rows: String = channels.iter().map(row).collect();
    Ok(Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>__TITLE__</title><main><h1>__TITLE__</h1><p><b>{}</b> \
         for {}</p><table><caption>Revenue by channel</caption><thead><tr><th>Channel<th>Revenue</thead><tbody>{rows}</tbody>\
         </table></main></html>",
        escaped(tenant),
        escaped(person),
    )))
}

fn row(channel: &Channel) -> String {
    format!("<tr><td>{}<td>{:.2}", escaped(&channel.channel), channel.revenue_sum)
}

/// Text that stays text in HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[tokio::main]
async fn main() -> ExitCode {
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let url =
        env::var("KYROS_API_URL").map_err(|_| "KYROS_API_URL is missing: start this with kyros dev -- cargo run")?;
    let listen = env::var("KYROS_DASHBOARD_LISTEN").unwrap_or_else(|_| "127.0.0.1:8050".to_owned());
    let router = Router::new().route("/", get(page)).with_state(DataApi { client: reqwest::Client::new(), url });
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        terminate.recv().await;
    };
    if let Some(path) = listen.strip_prefix("unix:") {
        // What an earlier run left behind would be in the way.
        let _ = fs::remove_file(path);
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE))?;
        axum::serve(listener, router).with_graceful_shutdown(stop).await?;
    } else {
        axum::serve(TcpListener::bind(&listen).await?, router).with_graceful_shutdown(stop).await?;
    }
    Ok(())
}
