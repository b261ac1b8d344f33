//! For whoever develops a dashboard: what it receives, told just before it is sent. Nobody observes in production.
//!
//! An observer sees tokens. So it is no setting that a flag or a variable could name: only a program that runs the sidecar
//! as a library can bring one along, as `kyros dev` does.

use std::{fmt, sync::Arc};

use http::{HeaderMap, Method, StatusCode, Uri};

/// A request as the dashboard gets it: stripped, and with who asks.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// The method.
    pub method: &'a Method,
    /// Path and query.
    pub uri: &'a Uri,
    /// All headers, the tenant token among them.
    pub headers: &'a HeaderMap,
    /// It asks for a WebSocket.
    pub is_socket: bool,
}

/// Is told of every request that leaves for the dashboard.
pub trait Observer: Send + Sync {
    /// It leaves now. What is returned is told how it goes on, and dropped when nothing more can be told.
    fn received(&self, request: &Received<'_>) -> Box<dyn Sighting>;
}

/// One request's further way. Of the first two exactly one is called, unless the client leaves before.
pub trait Sighting: Send {
    /// The dashboard's answer begins.
    fn answered(&mut self, status: StatusCode);
    /// The dashboard gave no answer that could be passed on; the sidecar gives this one, with a stable word for why.
    fn unanswered(&mut self, status: StatusCode, code: &'static str);
    /// The WebSocket ended with this code.
    fn closed(&mut self, code: u16);
}

/// An observer among the settings.
#[derive(Clone)]
pub struct SharedObserver(pub Arc<dyn Observer>);

impl fmt::Debug for SharedObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedObserver")
    }
}
