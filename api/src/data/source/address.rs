//! Whom a connection may be made to without proof, and who vouches for all others.

use std::{fmt, net::IpAddr, path::Path};

use reqwest::Certificate;

/// Whether a host is this machine itself, by a name that no other can have.
pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The authorities in an operator's file, of which there must be one, and none that is no certificate. Reads the file.
pub(super) fn authorities(path: &Path) -> Result<Vec<Certificate>, String> {
    let refused = |why: &dyn fmt::Display| format!("ca_file: {}: {why}", path.display());
    let pem = std::fs::read(path).map_err(|error| refused(&error))?;
    let certificates =
        Certificate::from_pem_bundle(&pem).map_err(|_| refused(&"holds something that is damaged or not in PEM"))?;
    if certificates.is_empty() {
        return Err(refused(&"holds no certificate in PEM"));
    }
    match certificates.iter().position(|certificate| !is_whole(certificate)) {
        Some(index) => Err(refused(&format!("certificate {} in it is damaged", index + 1))),
        None => Ok(certificates),
    }
}

/// Whether what stands between the lines of PEM is a certificate. Only a client looks at that.
fn is_whole(certificate: &Certificate) -> bool {
    kyros_shared_config::crypto::install_provider();
    let client = reqwest::Client::builder().tls_built_in_root_certs(false).add_root_certificate(certificate.clone());
    client.build().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_authorities_is_refused_for_each_thing_that_is_none() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("ca.pem");
        let pem = |content: &str| format!("-----BEGIN CERTIFICATE-----\n{content}\n-----END CERTIFICATE-----\n");
        for (content, said) in [
            (String::new(), "holds no certificate in PEM"),
            (pem("bm9uZQ=="), "certificate 1 in it is damaged"),
            (pem("!"), "damaged or not in PEM"),
        ] {
            std::fs::write(&path, &content).unwrap();
            let refused = authorities(&path).unwrap_err();
            assert!(refused.starts_with("ca_file: ") && refused.contains(said), "{content}: {refused}");
        }
        assert!(authorities(&folder.path().join("none")).unwrap_err().starts_with("ca_file: "));
    }

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
