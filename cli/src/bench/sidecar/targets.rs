//! What is measured: our own targets, and other proxies that somebody has put in front of the same upstream.

use std::{net::SocketAddr, path::PathBuf, str::FromStr, sync::Arc};

use anyhow::{Context as _, bail};
use thiserror::Error;
use url::Url;

use super::keys::Keys;
use crate::bench::{http1, processes::ask_once};

/// Something that answers the load.
pub(super) struct Target {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    /// What requests say in `Host`.
    pub(super) host: String,
    /// Whose CPU time counts; none if nobody said.
    pub(super) pids: Vec<u32>,
    /// What it answers to a request without a token.
    pub(super) without_token: u16,
    token_file: Option<PathBuf>,
}

impl Target {
    pub(super) fn own(name: &str, address: SocketAddr, pids: Vec<u32>) -> Self {
        Self { name: name.to_owned(), address, host: address.to_string(), pids, without_token: 0, token_file: None }
    }

    /// A request with this token, or with the one that the target is given instead; its file is read again, since it may
    /// have been renewed.
    pub(super) fn request(&self, path: &str, token: &str) -> anyhow::Result<Arc<[u8]>> {
        let other = self
            .token_file
            .as_ref()
            .map(|file| std::fs::read_to_string(file).with_context(|| format!("{}: {}", self.name, file.display())));
        let other = other.transpose()?;
        let token = other.as_deref().map_or(token, str::trim);
        Ok(http1::request(&self.host, path, Some(token)).into())
    }

    /// Asks once without a token and once with one, before anything is timed.
    pub(super) fn check(&mut self, keys: &Keys) -> anyhow::Result<()> {
        let name = self.name.clone();
        let ask = |request: &[u8]| ask_once(self.address, request).context(name.clone());
        let without_token = ask(&http1::request(&self.host, "/", None))?;
        let with_token = ask(&self.request("/", &keys.token()?)?)?;
        if with_token != 200 {
            bail!("{name}: answered {with_token} to a good token");
        }
        self.without_token = without_token;
        Ok(())
    }
}

/// An argument about another proxy: `NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named<T> {
    /// What the proxy is called in the tables.
    pub name: String,
    /// What is said of it.
    pub value: T,
}

/// Why a text is no such argument.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?}: write NAME=VALUE{reason}")]
pub struct NamedError {
    text: String,
    reason: String,
}

impl<T: FromStr<Err: std::fmt::Display>> FromStr for Named<T> {
    type Err = NamedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |reason: String| NamedError { text: text.to_owned(), reason };
        let (name, value) = text.split_once('=').ok_or_else(|| wrong(String::new()))?;
        if name.is_empty() {
            return Err(wrong(String::new()));
        }
        let value = value.parse().map_err(|error| wrong(format!(" ({error})")))?;
        Ok(Self { name: name.to_owned(), value })
    }
}

/// Puts together what the arguments say of each proxy. What is said of a proxy that nobody named is a mistake.
pub(super) fn peers(
    urls: &[Named<Url>],
    pids: &[Named<u32>],
    tokens: &[Named<PathBuf>],
) -> anyhow::Result<Vec<Target>> {
    let mut peers = Vec::new();
    for Named { name, value } in urls {
        let (Some(host), "http", "/", None) = (value.host_str(), value.scheme(), value.path(), value.query()) else {
            bail!("--peer {name}: write http://host:port");
        };
        let addresses = value.socket_addrs(|| None).with_context(|| format!("--peer {name}"))?;
        let address = *addresses.first().with_context(|| format!("--peer {name}: {host} has no address"))?;
        let mut peer = Target::own(name, address, Vec::new());
        peer.host = value.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        peers.push(peer);
    }
    for Named { name, value } in pids {
        named(&mut peers, "--peer-pid", name)?.pids.push(*value);
    }
    for Named { name, value } in tokens {
        named(&mut peers, "--peer-token", name)?.token_file = Some(value.clone());
    }
    Ok(peers)
}

fn named<'a>(peers: &'a mut [Target], argument: &str, name: &str) -> anyhow::Result<&'a mut Target> {
    let peer = peers.iter_mut().find(|peer| peer.name == name);
    peer.with_context(|| format!("{argument} {name}: there is no --peer {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all<T: FromStr<Err: std::fmt::Display>>(texts: &[&str]) -> Vec<Named<T>> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn peers_are_put_together_from_their_arguments() {
        let urls = all(&["one=http://127.0.0.1:9000", "two=http://[::1]:9001/"]);
        let found = peers(&urls, &all(&["one=7", "one=8"]), &all(&["two=token=file"])).unwrap();
        let [one, two] = found.as_slice() else { panic!("two peers") };
        assert_eq!((one.address, one.pids.as_slice()), ("127.0.0.1:9000".parse().unwrap(), &[7, 8][..]));
        assert_eq!((two.address, two.host.as_str()), ("[::1]:9001".parse().unwrap(), "[::1]:9001"));
        assert_eq!((&one.token_file, &two.token_file), (&None, &Some(PathBuf::from("token=file"))));
    }

    #[test]
    fn what_cannot_be_a_peer_is_refused() {
        for bad in ["one", "=http://x", "one=127.0.0.1:9000", "one="] {
            let parsed = bad.parse::<Named<Url>>().map(|url| peers(&[url], &[], &[]).is_ok());
            assert!(!parsed.unwrap_or(false), "{bad}");
        }
        for bad in ["one=https://127.0.0.1:1", "one=http://127.0.0.1:1/path", "one=http://127.0.0.1:1?query"] {
            assert!(peers(&all(&[bad]), &[], &[]).is_err(), "{bad}");
        }
        assert!(peers(&[], &all(&["one=7"]), &[]).is_err());
        assert!(peers(&[], &[], &all(&["one=file"])).is_err());
        assert!("one=-7".parse::<Named<u32>>().is_err());
    }

    #[test]
    fn a_token_of_ones_own_is_read_when_it_is_needed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "other\n").unwrap();
        let mut target = Target::own("one", "127.0.0.1:1".parse().unwrap(), Vec::new());
        let holds = |target: &Target, text: &str| {
            String::from_utf8_lossy(&target.request("/", "usual").unwrap()).contains(&format!("Bearer {text}\r\n"))
        };
        assert!(holds(&target, "usual"));
        target.token_file = Some(file.path().to_owned());
        assert!(holds(&target, "other"));
    }
}
