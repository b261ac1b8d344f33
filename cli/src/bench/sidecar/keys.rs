//! The keys of a run, and the tokens that every target gets: the API's own issuer signs them. Other proxies find here what
//! they need to verify the same tokens.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use kyros_shared_config::{
    DashboardSlug, Issuer, TenantId,
    issuer::{TenantGrant, write_private},
};
use serde::Deserialize;
use tempfile::TempDir;

use super::starter::DASHBOARD;

/// Who signs.
pub(super) const ISSUER: &str = "https://kyros.example";
const TENANT: &str = "acme";
/// A `SubjectPublicKeyInfo` up to the point of the curve: id-ecPublicKey on prime256v1 (RFC 5480, section 2), then a bit
/// string of 65 bytes, which begin with the 0x04 of an uncompressed point.
const P256_PREFIX: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];

/// A key, and the files made from it.
pub(super) struct Keys {
    issuer: Issuer,
    tenant: TenantId,
    dashboard: DashboardSlug,
    folder: PathBuf,
    /// Goes away with this value, unless somebody named a folder.
    _temporary: Option<TempDir>,
}

#[derive(Deserialize)]
struct Jwks {
    keys: [Jwk; 1],
}

#[derive(Deserialize)]
struct Jwk {
    x: String,
    y: String,
}

impl Keys {
    /// Uses the key in the folder, or puts a new one there.
    pub(super) fn open(folder: Option<&Path>) -> anyhow::Result<Self> {
        let temporary = if folder.is_none() { Some(tempfile::tempdir()?) } else { None };
        let folder = folder.or(temporary.as_ref().map(TempDir::path)).context("a folder")?.to_owned();
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let issuer = Issuer::load_or_generate(ISSUER, &folder.join("signing-key.pem"))?;
        let (tenant, dashboard) = (TENANT.parse()?, DASHBOARD.parse()?);
        let keys = Self { issuer, tenant, dashboard, folder, _temporary: temporary };
        fs::write(keys.jwks_file(), keys.issuer.jwks())?;
        fs::write(keys.folder.join("public.pem"), public_pem(&keys.issuer.jwks())?)?;
        write_private(&keys.folder.join("token"), keys.token()?.as_bytes())?;
        Ok(keys)
    }

    pub(super) fn jwks_file(&self) -> PathBuf {
        self.folder.join("jwks.json")
    }

    /// What somebody has to know who lets another proxy verify these tokens.
    pub(super) fn description(&self) -> String {
        format!(
            "{}: jwks.json, public.pem (ES256) and token, which lives for five minutes\nissuer: {ISSUER}\naudience: {}",
            self.folder.display(),
            self.dashboard.audience()
        )
    }

    /// A token that nobody has seen. It lives for five minutes, as they all do: a run takes a new one for every round.
    pub(super) fn token(&self) -> anyhow::Result<String> {
        let grant = TenantGrant {
            subject: "ana",
            email: Some("ana@acme.example"),
            tenant: &self.tenant,
            tenant_uid: "8c1f6b5e-7c1d-4f0a-9a55-0d3f3c1b7a42",
            dashboard: &self.dashboard,
            roles: &["viewer".to_owned()],
            session: "benchmark",
            client_id: "benchmark",
            actor: None,
            not_after: i64::MAX,
        };
        Ok(self.issuer.tenant_token(&grant)?.token.expose().clone())
    }
}

/// The one key of a set, as other programs read it (RFC 7468, section 13).
fn public_pem(jwks: &str) -> anyhow::Result<String> {
    let Jwks { keys: [Jwk { x, y }] } = serde_json::from_str(jwks)?;
    let mut der = P256_PREFIX.to_vec();
    der.extend(URL_SAFE_NO_PAD.decode(x)?);
    der.extend(URL_SAFE_NO_PAD.decode(y)?);
    let text = STANDARD.encode(der);
    // It is ASCII, so every place is a boundary; lines are 64 characters long.
    let (first, second) = text.split_at(64.min(text.len()));
    Ok(format!("-----BEGIN PUBLIC KEY-----\n{first}\n{second}\n-----END PUBLIC KEY-----\n"))
}

#[cfg(test)]
mod tests {
    use kyros_shared_config::crypto::install_provider;

    use super::*;

    #[test]
    fn a_public_key_is_written_as_openssl_writes_it() {
        let jwks = r#"{"keys": [{"kty": "EC", "crv": "P-256", "x": "EVs_o5-uQbTjL3chynL4wXgUg2R9q9UU8I5mEovUf84",
            "y": "kGe5DgSIycKp8w9aJmoHhB1sB3QTugfnRWm5nU_TzsY"}]}"#;
        let pem = "-----BEGIN PUBLIC KEY-----\n\
            MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEVs/o5+uQbTjL3chynL4wXgUg2R9\n\
            q9UU8I5mEovUf86QZ7kOBIjJwqnzD1omageEHWwHdBO6B+dFabmdT9POxg==\n\
            -----END PUBLIC KEY-----\n";
        assert_eq!(public_pem(jwks).unwrap(), pem);
    }

    #[test]
    fn a_folder_keeps_its_key() {
        install_provider();
        let folder = tempfile::tempdir().unwrap();
        let public = || fs::read_to_string(folder.path().join("public.pem")).unwrap();
        let first = Keys::open(Some(folder.path())).unwrap();
        let before = public();
        let second = Keys::open(Some(folder.path())).unwrap();
        assert_eq!(public(), before);
        assert_ne!(first.token().unwrap(), second.token().unwrap());
    }
}
