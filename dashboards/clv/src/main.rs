//! `kyros-clv`: the customer lifetime value dashboard as a process of its own.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    kyros_dashboard_kit::run(env!("CARGO_BIN_NAME"), env!("CARGO_PKG_VERSION"), kyros_clv::router).await
}
