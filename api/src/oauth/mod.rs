//! The authorization server: codes for browsers, exchanges for programs, and what is said about both.

pub(crate) mod authorize;
mod error;
pub(crate) mod exchange;
mod form;
pub(crate) mod grant;
pub(crate) mod metadata;
pub(crate) mod token;

pub(crate) use error::OAuthError;
pub(crate) use form::{OAuthForm, media_type};
