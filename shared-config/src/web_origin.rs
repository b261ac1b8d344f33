//! Web origins that somebody else names: parsed to the one text by which browsers know them, safe inside a header.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

/// Longest origin: `https://`, a name of 253 characters (the longest in DNS), a colon and five digits.
pub const MAX_ORIGIN_LENGTH: usize = 267;
/// Longest label of a host name (RFC 1035, section 2.3.4).
const MAX_LABEL_LENGTH: usize = 63;

/// An origin (RFC 6454, section 6.2): `https://host` or `https://host:port`; `http` on localhost alone.
///
/// Never a pattern, an address, a keyword or anything with a path: exactly one site. The text holds nothing but `a-z`, `0-9`,
/// `-`, `.`, `:` and `/`, so it can neither end nor widen a directive of a `Content-Security-Policy`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct WebOrigin(String);

/// Why a text is not a web origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WebOriginError {
    /// More than any origin has.
    #[error("must have at most {MAX_ORIGIN_LENGTH} characters")]
    Length,
    /// No scheme, or one that is no website's.
    #[error("must begin with https://")]
    Scheme,
    /// Anybody on the way could be a site without TLS.
    #[error("http is only for localhost and names below it")]
    Insecure,
    /// A path, also a bare slash, a query, a fragment or a user.
    #[error("only scheme, host and port may be given, with nothing after them")]
    Extra,
    /// No host name as browsers write it.
    #[error("the host must be one name of a-z, 0-9, \"-\" and \".\": no wildcard, no address, other alphabets as xn--")]
    Host,
    /// No port as browsers write it.
    #[error("the port must be a number from 1 to 65535")]
    Port,
}

impl WebOrigin {
    /// The origin as text, as a browser says it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WebOrigin {
    type Err = WebOriginError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_ORIGIN_LENGTH {
            return Err(WebOriginError::Length);
        }
        let (scheme, authority) = text.split_once("://").ok_or(WebOriginError::Scheme)?;
        let default_port = match scheme {
            "https" => 443,
            "http" => 80,
            _ => return Err(WebOriginError::Scheme),
        };
        if authority.contains(['/', '\\', '?', '#', '@']) {
            return Err(WebOriginError::Extra);
        }
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port_of(port)?)),
            None => (authority, None),
        };
        check_host(host)?;
        if scheme == "http" && host != "localhost" && !host.ends_with(".localhost") {
            return Err(WebOriginError::Insecure);
        }
        // Browsers leave the default port out of what they compare.
        Ok(Self(match port.filter(|port| *port != default_port) {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        }))
    }
}

/// Digits without a leading zero or a sign, which would be another text for the same port.
fn port_of(text: &str) -> Result<u16, WebOriginError> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| is_plain).ok_or(WebOriginError::Port)
}

/// A last label that begins with a digit makes an IPv4 address of the whole (URL Standard, section 3.5), and a
/// `Content-Security-Policy` matches no address.
fn check_host(host: &str) -> Result<(), WebOriginError> {
    let is_label = |label: &str| {
        (1..=MAX_LABEL_LENGTH).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_name = host.split('.').all(is_label) && last.starts_with(|first: char| first.is_ascii_lowercase());
    if is_name { Ok(()) } else { Err(WebOriginError::Host) }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for WebOrigin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> WebOriginError {
        text.parse::<WebOrigin>().expect_err(text)
    }

    #[test]
    fn whatever_could_widen_or_end_a_policy_is_refused() {
        for bad in
            ["*", "'self'", "'none'", "data:", "data://x", "blob:https://a.example", "null", "", "a.example", "//a"]
        {
            assert_eq!(refused(bad), WebOriginError::Scheme, "{bad:?}");
        }
        for bad in ["https:", "https:a.example", "HTTPS://a.example", "wss://a.example", " https://a.example"] {
            assert_eq!(refused(bad), WebOriginError::Scheme, "{bad:?}");
        }
        for bad in [
            "https://*",
            "https://*.a.example",
            "https://a.*",
            "https://a.example ",
            "https://a.example b.example",
            "https://a.example;script-src",
            "https://a.example,b.example",
            "https://\"a.example\"",
            "https://'self'",
            "https://a.example\n",
            "https://a.example\0",
            "https://a_b.example",
            "https://%61.example",
        ] {
            assert_eq!(refused(bad), WebOriginError::Host, "{bad:?}");
        }
    }

    #[test]
    fn an_origin_ends_with_its_host_or_port() {
        for bad in [
            "https://a.example/",
            "https://a.example/x",
            "https://a.example:8443/",
            "https://a.example?x",
            "https://a.example#x",
            "https://a.example\\x",
            "https://ana@a.example",
            "https://ana:secret@a.example",
            "https:///a.example",
            "https://a.example https://b.example",
        ] {
            assert_eq!(refused(bad), WebOriginError::Extra, "{bad:?}");
        }
        for bad in ["", "0", "080", "65536", "99999", "+80", "-1", "8 0", "*", "80:80"] {
            assert_eq!(refused(&format!("https://a.example:{bad}")), WebOriginError::Port, "{bad:?}");
        }
    }

    #[test]
    fn a_host_is_one_name_in_the_letters_of_dns() {
        let long = format!("https://{}.example", "a".repeat(64));
        for bad in [
            "https://",
            "https://.",
            "https://a..example",
            "https://.example",
            "https://a.example.",
            "https://-a.example",
            "https://a-.example",
            "https://A.example",
            "https://bücher.example",
            "https://192.0.2.1",
            "https://0x7f000001",
            "https://a.0x1",
            "https://2130706433",
            &long,
        ] {
            assert_eq!(refused(bad), WebOriginError::Host, "{bad:?}");
        }
        assert!("https://[::1]".parse::<WebOrigin>().is_err());
        assert_eq!(refused(&format!("https://{}a", "a.".repeat(130))), WebOriginError::Length);
        let longest = format!("https://{}a:65535", "a.".repeat(126));
        assert_eq!(longest.len(), MAX_ORIGIN_LENGTH);
        assert!(longest.parse::<WebOrigin>().is_ok());
    }

    #[test]
    fn http_is_for_this_machine_alone() {
        for good in ["http://localhost", "http://localhost:3000", "http://app.localhost:3000"] {
            assert_eq!(good.parse::<WebOrigin>().unwrap().as_str(), good);
        }
        for bad in ["http://a.example", "http://notlocalhost", "http://localhost.example"] {
            assert_eq!(refused(bad), WebOriginError::Insecure, "{bad:?}");
        }
        assert_eq!(refused("http://127.0.0.1"), WebOriginError::Host);
    }

    #[test]
    fn one_site_has_one_text() {
        for (written, said) in [
            ("https://intranet.acme.example", "https://intranet.acme.example"),
            ("https://intranet.acme.example:443", "https://intranet.acme.example"),
            ("https://intranet.acme.example:80", "https://intranet.acme.example:80"),
            ("https://intranet.acme.example:8443", "https://intranet.acme.example:8443"),
            ("https://intranet", "https://intranet"),
            ("https://1.a", "https://1.a"),
            ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
            ("http://localhost:80", "http://localhost"),
            ("http://localhost:443", "http://localhost:443"),
        ] {
            assert_eq!(written.parse::<WebOrigin>().unwrap().to_string(), said);
        }
    }

    #[test]
    fn an_origin_in_json_is_checked_when_read() {
        let origin: WebOrigin = serde_json::from_str("\"https://a.example:443\"").unwrap();
        assert_eq!(serde_json::to_string(&origin).unwrap(), "\"https://a.example\"");
        assert!(serde_json::from_str::<WebOrigin>("\"*\"").is_err());
        assert!(serde_json::from_str::<WebOrigin>("7").is_err());
    }
}
