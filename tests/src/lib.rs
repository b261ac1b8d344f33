//! What the end-to-end tests stand on: a running `kyros up` or `kyros dev`, a client that behaves like a browser, and a real browser.

pub mod browser;
mod dev;
mod http_client;
mod up;

pub use dev::{Dev, Start};
pub use http_client::{Answer, BrowserLike, Client};
pub use up::{Up, UpOptions};
