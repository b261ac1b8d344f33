//! Where a dashboard listens: a port on loopback, or a Unix socket, and in no case where others than its sidecar reach it.

use std::{
    fmt, fs, io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    str::FromStr,
};

use kyros_http_server::Listener;
use thiserror::Error;
use tokio::net::{TcpListener, UnixListener, UnixStream};

/// The sidecar is another user of the same group: it must write to the socket to connect, and nobody else need.
const SOCKET_MODE: u32 = 0o660;
/// The longest path of a socket, in bytes: `sockaddr_un` holds 108 with a NUL at the end, unix(7).
const PATH_LENGTH: usize = 107;

/// Where a dashboard listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// A port on loopback.
    Tcp(SocketAddr),
    /// A Unix socket at an absolute path.
    Unix(PathBuf),
}

/// Why a text is nowhere to listen.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ListenAddressError {
    /// Others could reach it.
    #[error("{0} is not loopback: a dashboard trusts what it is told, so only its sidecar may reach it")]
    NotLoopback(SocketAddr),
    /// Neither form.
    #[error("{0:?}: write 127.0.0.1:PORT, or unix:PATH with an absolute path of at most {PATH_LENGTH} bytes")]
    Malformed(String),
}

impl FromStr for ListenAddress {
    type Err = ListenAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || ListenAddressError::Malformed(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            let fits = path.starts_with('/') && path.len() <= PATH_LENGTH;
            return fits.then(|| Self::Unix(path.into())).ok_or_else(malformed);
        }
        let address: SocketAddr = text.parse().map_err(|_| malformed())?;
        if address.ip().is_loopback() { Ok(Self::Tcp(address)) } else { Err(ListenAddressError::NotLoopback(address)) }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A socket that is listened on.
pub(crate) struct Bound {
    pub(crate) listener: Listener,
    /// With the port that the system chose, where it was left to it.
    pub(crate) address: ListenAddress,
    /// To be dropped no later than the listener.
    pub(crate) file: Option<SocketFile>,
}

/// A socket's file, which is removed when this is dropped: a socket stays behind when its program ends.
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl ListenAddress {
    pub(crate) async fn bind(&self) -> io::Result<Bound> {
        match self {
            Self::Tcp(address) => {
                let listener = TcpListener::bind(address).await?;
                let address = Self::Tcp(listener.local_addr()?);
                Ok(Bound { listener: listener.into(), address, file: None })
            }
            Self::Unix(path) => {
                remove_stale(path).await?;
                let listener = UnixListener::bind(path)?;
                let file = SocketFile(path.clone());
                fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE))?;
                Ok(Bound { listener: listener.into(), address: self.clone(), file: Some(file) })
            }
        }
    }
}

/// Refuses what is no socket and a socket that somebody answers on. What a killed program left behind is removed.
async fn remove_stale(path: &Path) -> io::Result<()> {
    let taken = |what| Err(io::Error::new(io::ErrorKind::AddrInUse, format!("{}: {what}", path.display())));
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => return taken("there is something that is no socket"),
        Ok(_) => (),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    match UnixStream::connect(path).await {
        // Only a refusal proves that nobody listens; a full queue or a missing right proves nothing.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Ok(_) => taken("another program listens there"),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_port_on_loopback_or_an_absolute_path() {
        for text in ["127.0.0.1:8050", "[::1]:0", "unix:/run/dashboard/app.sock"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        for text in ["0.0.0.0:8050", "10.0.0.1:1", "[::]:1"] {
            assert_eq!(text.parse::<ListenAddress>(), Err(ListenAddressError::NotLoopback(text.parse().unwrap())));
        }
        let longest = format!("unix:/{}", "a".repeat(PATH_LENGTH - 1));
        assert!(longest.parse::<ListenAddress>().is_ok());
        for text in ["", "8050", "localhost:8050", "unix:", "unix:app.sock", "/app.sock", &format!("{longest}a")] {
            assert_eq!(text.parse::<ListenAddress>(), Err(ListenAddressError::Malformed(text.to_owned())));
        }
    }

    #[tokio::test]
    async fn a_socket_is_for_its_owner_and_group_and_goes_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let bound = ListenAddress::Unix(path.clone()).bind().await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, SOCKET_MODE);
        assert!(UnixStream::connect(&path).await.is_ok());
        drop(bound.file);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_a_killed_program_left_is_replaced_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let address = ListenAddress::Unix(path.clone());
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "as a killed program leaves it");
        let bound = address.bind().await.unwrap();
        let said = |error: io::Error| error.to_string();
        assert!(address.bind().await.map(|_| ()).map_err(said).unwrap_err().contains("another program listens there"));
        assert!(UnixStream::connect(&path).await.is_ok(), "the first one still has it");
        drop(bound);
        fs::write(&path, "notes").unwrap();
        assert!(address.bind().await.map(|_| ()).map_err(said).unwrap_err().contains("no socket"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "notes");
        let link = folder.path().join("link.sock");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(ListenAddress::Unix(link).bind().await.is_err());
    }
}
