//! The control plane: who somebody is, what they may open, and the data they may see.
//!
//! ```text
//!  people ──► portal ──► session ──► code ──► tenant token ◄── exchange ◄── programs
//!                                       │
//!                           sidecars ───┘         metadata.db ──► Reader ──► every decision
//!  dashboards ──► data API ──► TenantScope ──► that tenant's folder ──► engine (Polars)
//! ```
//!
//! It promises that an exchange only narrows, that what does not exist and what is not yours are one answer, that a person
//! who is signed out is signed out everywhere within a second, and that no request reaches a tenant's data without a
//! [`TenantScope`](kyros_shared_config::TenantScope); only [`operator`], which no request reaches, goes by names. The private
//! signing key never leaves it.

mod auth;
mod data;
pub mod engine;
mod internal;
mod metadata_api;
mod mock;
mod oauth;
mod openapi;
mod portal;
mod reply;
mod revoker;
mod server;
pub mod settings;
mod state;
mod store;
#[cfg(test)]
mod testing;
mod verified;
mod workload_trust;
mod workloads;

pub use data::{SourcesError, operator};
pub use openapi::document as openapi_document;
pub use server::{Api, ApiError};
pub use settings::ApiSettings;
