//! The portal: login, tenant selection, gallery, the frame. Rendered on the server; all but the palette works without a script.
//!
//! ```text
//!  sign_in ─► browse (tenants, gallery, view) ─► person (does the view still stand?)
//!       │         │
//!       └─ pages ─┴─ cards, branding, recent, theme, return_to      pure: from records and cookies to words
//! ```

mod assets;
mod branding;
mod browse;
mod cards;
mod forms;
mod pages;
mod person;
mod protection;
mod recent;
mod return_to;
mod routes;
mod sign_in;
mod theme;

pub(crate) use pages::{Framing, bad_request, error_page, see_other, sign_in_first, suspended};
pub(crate) use protection::protect;
pub(crate) use routes::{not_found, router};
