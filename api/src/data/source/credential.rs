//! A secret of a data source: where it is, never what it is. Read whenever it is needed, so that a rotated one counts.

use std::{
    fmt,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use kyros_shared_config::Secret;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

/// The longest secret, in bytes: a file that is larger is not one.
const MAX_SECRET: u64 = 16 * 1024;
const HOW: &str = "a secret is never written here: mount it as a file and give {file: PATH}, or give {env: VARIABLE}";

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    /// In a file that the operator mounts.
    File(PathBuf),
    /// In a variable of the process.
    Env(String),
}

impl Credential {
    /// A path that is not absolute starts where the file stands that names it.
    pub(crate) fn resolve(&mut self, folder: &Path) {
        if let Self::File(path) = self {
            *path = folder.join(&path);
        }
    }

    /// The secret as it is now. Reads a file.
    pub(crate) fn read(&self) -> Result<Secret<String>, String> {
        let secret = match self {
            Self::File(path) => read_file(path),
            Self::Env(name) => std::env::var(name).map(Secret::new).map_err(|_| "not set, or not UTF-8".to_owned()),
        };
        let secret = secret.map_err(|why| format!("{self}: {why}"))?;
        if secret.expose().is_empty() { Err(format!("{self}: empty")) } else { Ok(secret) }
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "secret file {}", path.display()),
            Self::Env(name) => write!(f, "secret variable {name}"),
        }
    }
}

fn read_file(path: &Path) -> Result<Secret<String>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    // Room for all of it at once: a buffer that grows would leave copies behind.
    let mut bytes = Vec::with_capacity(usize::try_from(MAX_SECRET + 1).unwrap_or_default());
    let outcome = file.take(MAX_SECRET + 1).read_to_end(&mut bytes);
    let bytes = Secret::new(bytes);
    let length = outcome.map_err(|error| error.to_string())?;
    if length as u64 > MAX_SECRET {
        return Err(format!("more than {MAX_SECRET} bytes"));
    }
    let text = std::str::from_utf8(bytes.expose()).map_err(|_| "not UTF-8".to_owned())?;
    // An editor's line end is no part of a secret.
    Ok(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

impl<'de> Deserialize<'de> for Credential {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CredentialVisitor)
    }
}

struct CredentialVisitor;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    file: Option<PathBuf>,
    env: Option<String>,
}

/// Whatever somebody wrote instead of a place may be the secret itself, so no message repeats it.
impl<'de> Visitor<'de> for CredentialVisitor {
    type Value = Credential;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{file: PATH} or {env: VARIABLE}")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Credential, A::Error> {
        match Written::deserialize(MapAccessDeserializer::new(map))? {
            Written { file: Some(file), env: None } => Ok(Credential::File(file)),
            Written { file: None, env: Some(env) } => Ok(Credential::Env(env)),
            _ => Err(de::Error::custom("give exactly one of file and env")),
        }
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Credential, E> {
        Err(E::custom(HOW))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Credential, E> {
        Err(E::custom(HOW))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Credential, E> {
        Err(E::custom(HOW))
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<Credential, E> {
        Err(E::custom(HOW))
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Credential, E> {
        Err(E::custom(HOW))
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<Credential, E> {
        Err(E::custom(HOW))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Credential, E> {
        Err(E::custom(HOW))
    }

    fn visit_bytes<E: de::Error>(self, _: &[u8]) -> Result<Credential, E> {
        Err(E::custom(HOW))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Credential, E> {
        Err(E::custom(HOW))
    }
}

#[cfg(test)]
mod tests {
    use kyros_shared_config::crypto::random_id;

    use super::*;

    #[test]
    fn a_secret_in_the_file_itself_is_refused_and_not_repeated() {
        for written in ["hunter2", "'hunter2'", "123456", "-98765", "1234.5", "true", "!!binary aHVudGVyMg=="] {
            let error = serde_yaml::from_str::<Credential>(written).unwrap_err().without_snippet().to_string();
            assert!(error.contains("{file: PATH}"), "{written}: {error}");
            assert!(!error.contains(written.trim_matches('\'')), "{written}: {error}");
        }
        for written in ["{}", "{file: a, env: B}", "{file: a, value: hunter2}"] {
            assert!(serde_yaml::from_str::<Credential>(written).is_err(), "{written}");
        }
    }

    #[test]
    fn what_is_read_is_what_is_there_now() {
        let folder = std::env::temp_dir().join(format!("kyros-{}", random_id()));
        std::fs::create_dir(&folder).unwrap();
        let mut credential: Credential = serde_yaml::from_str("{file: password}").unwrap();
        credential.resolve(&folder);
        let path = folder.join("password");
        assert!(credential.read().is_err_and(|why| why.contains("password")));
        for (content, secret) in [("one\n", "one"), ("two words\r\n", "two words"), ("three", "three")] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(credential.read().map(|secret| secret.expose().clone()), Ok(secret.to_owned()));
        }
        let long = vec![b'a'; 16 * 1024 + 1];
        for bad in [&b"\n"[..], b"\xff", &long] {
            std::fs::write(&path, bad).unwrap();
            assert!(credential.read().is_err());
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
