//! What the end-to-end tests stand on: a running `kyros up`, a client that behaves like a browser, and a real browser.

pub mod browser;
mod http_client;
mod up;

pub use http_client::{Answer, BrowserLike, Client};
pub use up::{Up, UpOptions};
