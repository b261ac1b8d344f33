//! The controller against a real API server: one control plane for this program, one namespace for each test.
//!
//! Without the control plane's programs every test says in a line that it was skipped; CI forbids that.

mod chaos;
mod election;
mod injection;
mod neighbours;
mod permissions;
mod projection;
mod reconciling;
mod resources;
mod schema;
mod unreadable;
mod world;
