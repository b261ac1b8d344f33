//! Whom a connection may be made to without proof, and who vouches for all others.

use std::{fmt, net::IpAddr, path::Path};

use reqwest::Certificate;

/// Whether a host is this machine itself, by a name that no other can have.
pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The authorities in an operator's file, of which there must be one. Reads the file.
pub(super) fn authorities(path: &Path) -> Result<Vec<Certificate>, String> {
    let refused = |why: &dyn fmt::Display| format!("ca_file {}: {why}", path.display());
    let pem = std::fs::read(path).map_err(|error| refused(&error))?;
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| refused(&error))?;
    if certificates.is_empty() { Err(refused(&"holds no certificate in PEM")) } else { Ok(certificates) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for host in ["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["", "localhost.example", "LOCALHOST", "127.0.0.1.example", "10.0.0.1", "::2", "0.0.0.0", "127.1"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
