//! The cluster's issuer of service-account tokens and its public keys, as one file: the projector, which may ask the
//! cluster, writes it; the API, which holds no credential of the cluster, reads it.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{issuer::write_private, jwks::MAX_DOCUMENT_BYTES};

/// A key set (RFC 7517, section 5) that also names its issuer; readers of key sets ignore the name (same section).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterKeys {
    /// The exact `iss` of the cluster's tokens.
    pub issuer: String,
    /// Its public keys.
    pub keys: Vec<serde_json::Value>,
}

/// Why the file cannot be used.
#[derive(Debug, Error)]
pub enum ClusterKeysError {
    /// It is not there, or not readable.
    #[error("cluster keys {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It holds something else.
    #[error("cluster keys {path}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl ClusterKeys {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self, ClusterKeysError> {
        let bytes = std::fs::read(path).map_err(|source| ClusterKeysError::File { path: path.to_owned(), source })?;
        let content = |reason: String| ClusterKeysError::Content { path: path.to_owned(), reason };
        if bytes.len() > MAX_DOCUMENT_BYTES {
            return Err(content(format!("larger than {MAX_DOCUMENT_BYTES} bytes")));
        }
        let keys: Self = serde_json::from_slice(&bytes).map_err(|error| content(error.to_string()))?;
        if keys.issuer.is_empty() { Err(content("names no issuer".to_owned())) } else { Ok(keys) }
    }

    /// Replaces the file as a whole: a reader sees the old keys or the new ones.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        write_private(path, &serde_json::to_vec(self).map_err(io::Error::other)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Issuer, KeySet};

    #[test]
    fn the_file_is_a_key_set_that_names_its_issuer() {
        crate::crypto::install_provider();
        let path = std::env::temp_dir().join(format!("kyros-{}.json", crate::crypto::random_id()));
        let published: serde_json::Value =
            serde_json::from_str(&Issuer::generate("https://cluster.example").unwrap().jwks()).unwrap();
        let keys = ClusterKeys {
            issuer: "https://cluster.example".into(),
            keys: published["keys"].as_array().unwrap().clone(),
        };
        keys.write(&path).unwrap();
        assert_eq!(ClusterKeys::read(&path).unwrap(), keys);
        assert_eq!(KeySet::parse(&std::fs::read(&path).unwrap()).unwrap().len(), 1);
        std::fs::write(&path, r#"{"issuer":"","keys":[]}"#).unwrap();
        assert!(matches!(ClusterKeys::read(&path), Err(ClusterKeysError::Content { .. })));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(ClusterKeys::read(&path), Err(ClusterKeysError::File { .. })));
    }
}
