//! HTTP clients of our own parts: no redirects, and no more of TLS than the address needs.

use url::Url;

/// A client for one address. The system's root certificates are read only for `https`: that takes longer than everything
/// else a sidecar does at its start.
pub fn http_client(url: &Url) -> reqwest::ClientBuilder {
    crate::crypto::install_provider();
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    if url.scheme() == "https" { client } else { client.tls_built_in_root_certs(false) }
}
