//! The portal: login, tenant selection, gallery, the frame. Rendered on the server; everything works without a script.

mod pages;
mod protection;
mod routes;

pub(crate) use pages::{Framing, bad_request, error_page, see_other, sign_in_first};
pub(crate) use protection::protect;
pub(crate) use routes::{not_found, router};
