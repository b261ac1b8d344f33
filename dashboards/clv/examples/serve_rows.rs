//! Serves the dashboard on generated rows, without a sidecar, to measure and to look at: `cargo run --example serve_rows -- 100000`.
//!
//! It answers on <http://127.0.0.1:8099> to whoever sends the headers that a sidecar would. Without a number it serves the demo
//! tenants' own data.

#[path = "../tests/stand_in/mod.rs"]
mod stand_in;

use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: Option<usize> = std::env::args().nth(1).map(|text| text.parse()).transpose()?;
    let (api, data) = stand_in::serve().await;
    for tenant in ["acme", "globex"] {
        for dataset in ["transactions", "acquisition"] {
            let csv = match count {
                Some(count) if dataset == "transactions" => stand_in::rows(tenant, dataset, count),
                _ => stand_in::demo(tenant, dataset),
            };
            api.put(tenant, dataset, &csv);
        }
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8099").await?;
    println!("http://{}", listener.local_addr()?);
    kyros_dashboard_kit::serve(listener, kyros_clv::router(data), CancellationToken::new()).await;
    Ok(())
}
