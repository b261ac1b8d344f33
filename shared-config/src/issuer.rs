//! The holder of a private key: signs tokens and publishes the public half.

use std::{fs, io::Write as _, path::Path};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    Actor, DashboardSlug, Secret, TenantClaims, TenantId, UserClaims, WorkloadClaims,
    claims::OneOrMany,
    clock::unix_now,
    crypto::{random_id, sha256_base64url},
    verifier::{TENANT_TOKEN_LIFE, USER_AUDIENCE, USER_TOKEN_LIFE, WORKLOAD_AUDIENCE, WORKLOAD_TOKEN_LIFE},
};

/// Why there is no issuer.
#[derive(Debug, Error)]
pub enum IssuerError {
    /// The key file could not be read or written.
    #[error("signing key {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is readable by others than its owner.
    #[error("signing key {path}: mode {mode:o} lets others read it; run: chmod 600 {path}")]
    Permissions {
        /// The file.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// The file holds something else.
    #[error("signing key {0}: not a PKCS#8 PEM private key on P-256")]
    Format(String),
    /// The library refused to make or use a key.
    #[error("the cryptographic library refused the key")]
    Crypto,
}

/// Signs with ES256 (RFC 7518, section 3.4) under one key, whose id is its RFC 7638 thumbprint.
pub struct Issuer {
    name: String,
    kid: String,
    /// Held ready: taking it out of its PKCS#8 form costs half as much as a signature.
    pair: EcdsaKeyPair,
    /// The header of every token, as it stands in it.
    header: String,
    jwk: serde_json::Value,
}

/// What an exchange puts into a tenant token.
pub struct TenantGrant<'a> {
    /// The person.
    pub subject: &'a str,
    /// The person's e-mail address.
    pub email: Option<&'a str>,
    /// The one tenant.
    pub tenant: &'a TenantId,
    /// The uid of the tenant's resource.
    pub tenant_uid: &'a str,
    /// The one dashboard.
    pub dashboard: &'a DashboardSlug,
    /// The person's roles in the tenant.
    pub roles: &'a [String],
    /// The session that revocations will name.
    pub session: &'a str,
    /// Who asked for the token: the dashboard's sidecar or an API client.
    pub client_id: &'a str,
    /// Who acts for the person, if anybody.
    pub actor: Option<Actor>,
    /// The token ends no later than this (Unix seconds).
    pub not_after: i64,
}

/// A signed token and the second at which it ends.
pub struct SignedToken {
    /// The compact form. A secret.
    pub token: Secret<String>,
    /// Its `jti`.
    pub token_id: String,
    /// Its `exp` in Unix seconds.
    pub expires_at: i64,
    /// Its life in seconds.
    pub expires_in: i64,
}

/// What the mock identity provider says of a person.
pub struct Person<'a> {
    /// `sub`
    pub subject: &'a str,
    /// `email`
    pub email: &'a str,
    /// `name`
    pub name: &'a str,
    /// `groups`
    pub groups: &'a [String],
    /// `tenant_ids`
    pub tenant_ids: &'a [TenantId],
}

impl Issuer {
    /// Makes an issuer with a fresh key that lives as long as the process.
    pub fn generate(issuer: &str) -> Result<Self, IssuerError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| IssuerError::Crypto)?;
        Ok(Self::from_pair(issuer, pair))
    }

    /// Loads the key from a PEM file, or makes one and writes it there with mode 0600 if there is none.
    pub fn load_or_generate(issuer: &str, path: &Path) -> Result<Self, IssuerError> {
        match fs::read_to_string(path) {
            Ok(pem) => {
                let pem = Zeroizing::new(pem);
                refuse_readable_by_others(path)?;
                let der = pem_to_der(&pem).ok_or_else(|| IssuerError::Format(path.display().to_string()))?;
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der)
                    .map_err(|_| IssuerError::Format(path.display().to_string()))?;
                Ok(Self::from_pair(issuer, pair))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| IssuerError::Crypto)?;
                let pkcs8 = pair.to_pkcs8v1().map_err(|_| IssuerError::Crypto)?;
                let pem = Zeroizing::new(der_to_pem(pkcs8.as_ref()));
                write_private(path, pem.as_bytes())
                    .map_err(|source| IssuerError::File { path: path.display().to_string(), source })?;
                Ok(Self::from_pair(issuer, pair))
            }
            Err(source) => Err(IssuerError::File { path: path.display().to_string(), source }),
        }
    }

    fn from_pair(issuer: &str, pair: EcdsaKeyPair) -> Self {
        // An uncompressed point: 0x04, then x and y of 32 bytes each (SEC 1, section 2.3.3).
        let point = pair.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..65]));
        // RFC 7638, section 3.2: the required members only, in lexicographic order, without white space.
        let kid = sha256_base64url(format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#).as_bytes());
        let jwk = serde_json::json!({
            "kty": "EC", "crv": "P-256", "x": x, "y": y, "alg": "ES256", "use": "sig", "kid": kid,
        });
        let header = serde_json::json!({ "typ": "at+jwt", "alg": "ES256", "kid": kid }).to_string();
        Self { name: issuer.to_owned(), kid, pair, header: URL_SAFE_NO_PAD.encode(header), jwk }
    }

    /// The `iss` of every token that this issuer signs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key set (RFC 7517, section 5).
    pub fn jwks(&self) -> String {
        serde_json::json!({ "keys": [self.jwk] }).to_string()
    }

    /// Signs a tenant token: at most [`TENANT_TOKEN_LIFE`], and never beyond what it is derived from.
    pub fn tenant_token(&self, grant: &TenantGrant<'_>) -> Result<SignedToken, IssuerError> {
        let now = unix_now();
        let exp = grant.not_after.min(now + TENANT_TOKEN_LIFE);
        let jti = random_id();
        let claims = TenantClaims {
            iss: self.name.clone(),
            aud: OneOrMany::One(grant.dashboard.audience()),
            sub: grant.subject.to_owned(),
            exp,
            nbf: now,
            iat: now,
            jti: jti.clone(),
            client_id: grant.client_id.to_owned(),
            tenant_id: grant.tenant.clone(),
            tenant_uid: grant.tenant_uid.to_owned(),
            dashboard: grant.dashboard.clone(),
            roles: grant.roles.to_vec(),
            sid: grant.session.to_owned(),
            email: grant.email.map(str::to_owned),
            act: grant.actor.clone(),
        };
        self.sign(&claims, jti, exp, now)
    }

    /// Signs a user's access token, as the mock identity provider does.
    pub fn user_token(&self, person: &Person<'_>) -> Result<SignedToken, IssuerError> {
        #[derive(serde::Serialize)]
        struct WithTenants<'a> {
            #[serde(flatten)]
            claims: UserClaims,
            tenant_ids: &'a [TenantId],
        }
        let now = unix_now();
        let (exp, jti) = (now + USER_TOKEN_LIFE, random_id());
        let claims = UserClaims {
            iss: self.name.clone(),
            aud: OneOrMany::One(USER_AUDIENCE.to_owned()),
            sub: person.subject.to_owned(),
            exp,
            nbf: Some(now),
            iat: now,
            jti: Some(jti.clone()),
            email: Some(person.email.to_owned()),
            name: Some(person.name.to_owned()),
            groups: person.groups.to_vec(),
        };
        self.sign(&WithTenants { claims, tenant_ids: person.tenant_ids }, jti, exp, now)
    }

    /// Signs a workload token for a dashboard's sidecar, where no Kubernetes does it.
    pub fn workload_token(&self, subject: &str) -> Result<SignedToken, IssuerError> {
        let now = unix_now();
        let exp = now + WORKLOAD_TOKEN_LIFE;
        let claims = WorkloadClaims {
            iss: self.name.clone(),
            aud: OneOrMany::One(WORKLOAD_AUDIENCE.to_owned()),
            sub: subject.to_owned(),
            exp,
            nbf: Some(now),
            iat: now,
        };
        self.sign(&claims, String::new(), exp, now)
    }

    fn sign(
        &self,
        claims: &impl serde::Serialize,
        token_id: String,
        expires_at: i64,
        now: i64,
    ) -> Result<SignedToken, IssuerError> {
        let claims = serde_json::to_vec(claims).map_err(|_| IssuerError::Crypto)?;
        let mut token = self.header.clone();
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        // Raw r and s (RFC 7515, appendix A.3), which "fixed" stands for.
        let signature = self.pair.sign(&SystemRandom::new(), token.as_bytes()).map_err(|_| IssuerError::Crypto)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(SignedToken { token: Secret::new(token), token_id, expires_at, expires_in: expires_at - now })
    }
}

/// Writes a file that only its owner can read, and that is whole or absent after a crash.
pub fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let temporary = path.with_extension(format!("tmp-{}", random_id()));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => fs::File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

fn refuse_readable_by_others(path: &Path) -> Result<(), IssuerError> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let metadata =
        fs::metadata(path).map_err(|source| IssuerError::File { path: path.display().to_string(), source })?;
    let mode = metadata.permissions().mode() & 0o777;
    // A mounted Secret belongs to root and is read through the pod's own group; the kubelet's link tells it from a file that
    // root shares with a group of people.
    let is_volume = path.parent().is_some_and(|folder| folder.join("..data").exists());
    let is_mounted = metadata.uid() == 0 && mode == 0o440 && is_volume;
    if mode & 0o077 != 0 && !is_mounted {
        return Err(IssuerError::Permissions { path: path.display().to_string(), mode });
    }
    Ok(())
}

const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

fn der_to_pem(der: &[u8]) -> String {
    let body = Zeroizing::new(STANDARD.encode(der));
    let mut pem = format!("{PEM_BEGIN}\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = tail;
    }
    pem.push_str(PEM_END);
    pem.push('\n');
    pem
}

fn pem_to_der(pem: &str) -> Option<Zeroizing<Vec<u8>>> {
    let body = pem.trim().strip_prefix(PEM_BEGIN)?.strip_suffix(PEM_END)?;
    let body = Zeroizing::new(body.chars().filter(|c| !c.is_ascii_whitespace()).collect::<String>());
    STANDARD.decode(body.as_bytes()).ok().map(Zeroizing::new)
}
