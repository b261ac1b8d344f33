//! The mock identity provider: people from a file, no passwords, real tokens. It is one trusted issuer among others and
//! refuses to exist anywhere but on localhost.

use std::{collections::HashMap, path::Path, sync::Mutex};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use kyros_shared_config::{Issuer, TenantId, clock::unix_now, issuer::Person};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use crate::{
    reply::{ProblemReply, json_no_store},
    settings::TrustedIssuer,
    state::App,
};

/// A pre-generated token is made anew when less than this is left of it, in seconds.
const RENEW_BELOW: i64 = 1800;

/// Why there is no mock identity provider.
#[derive(Debug, Error)]
pub enum MockError {
    /// Anybody could be anybody.
    #[error(
        "mock people are only allowed with a public URL on localhost or *.localhost, not {0}; configure trusted issuers"
    )]
    NotLocal(String),
    /// The file cannot be read.
    #[error("people file {path}: {reason}")]
    People {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Its key cannot be used.
    #[error(transparent)]
    Key(#[from] kyros_shared_config::issuer::IssuerError),
    /// Its public keys cannot be written.
    #[error("mock keys {path}: {source}")]
    Keys {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// One person of the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MockPerson {
    pub(crate) sub: String,
    pub(crate) email: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) groups: Vec<String>,
    #[serde(default)]
    pub(crate) tenant_ids: Vec<TenantId>,
}

impl MockPerson {
    pub(crate) fn in_a_line(&self) -> String {
        let tenants: Vec<&str> = self.tenant_ids.iter().map(TenantId::as_str).collect();
        let tenants = if tenants.is_empty() { "no tenant".to_owned() } else { tenants.join(", ") };
        format!("{} <{}>: {tenants}", self.name, self.email)
    }
}

struct Pregenerated {
    token: String,
    expires_at: i64,
}

/// The provider.
pub(crate) struct MockProvider {
    issuer: Issuer,
    pub(crate) people: Vec<MockPerson>,
    tokens: Mutex<HashMap<String, Pregenerated>>,
}

impl MockProvider {
    /// Reads the people, loads or makes the key, and publishes its public half for the API to trust.
    pub(crate) fn start(
        people: &Path,
        public_url: &kyros_shared_config::PublicUrl,
        state_dir: &Path,
    ) -> Result<(Self, TrustedIssuer), MockError> {
        if !public_url.is_local() {
            return Err(MockError::NotLocal(public_url.to_string()));
        }
        let file_error = |reason: String| MockError::People { path: people.display().to_string(), reason };
        let text = std::fs::read_to_string(people).map_err(|error| file_error(error.to_string()))?;
        let people: Vec<MockPerson> = serde_yaml::from_str(&text).map_err(|error| file_error(error.to_string()))?;
        let issuer = Issuer::load_or_generate(&format!("{public_url}/mock"), &state_dir.join("mock-key.pem"))?;
        let jwks = state_dir.join("mock-jwks.json");
        kyros_shared_config::issuer::write_private(&jwks, issuer.jwks().as_bytes())
            .map_err(|source| MockError::Keys { path: jwks.display().to_string(), source })?;
        let trust = TrustedIssuer {
            issuer: issuer.name().to_owned(),
            jwks: jwks.display().to_string(),
            audience: kyros_shared_config::verifier::USER_AUDIENCE.to_owned(),
            tenants_claim: "tenant_ids".to_owned(),
        };
        let provider = Self { issuer, people, tokens: Mutex::default() };
        for person in &provider.people {
            provider.token_of(person)?;
        }
        Ok((provider, trust))
    }

    /// The person with this subject or e-mail address.
    pub(crate) fn person(&self, name: &str) -> Option<&MockPerson> {
        self.people.iter().find(|person| person.sub == name || person.email.eq_ignore_ascii_case(name))
    }

    /// The person's token, and how many seconds it still lives.
    pub(crate) fn token_of(
        &self,
        person: &MockPerson,
    ) -> Result<(String, i64), kyros_shared_config::issuer::IssuerError> {
        let mut tokens = self.tokens.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = unix_now();
        if let Some(known) = tokens.get(&person.sub).filter(|known| known.expires_at - now > RENEW_BELOW) {
            return Ok((known.token.clone(), known.expires_at - now));
        }
        let signed = self.issuer.user_token(&Person {
            subject: &person.sub,
            email: &person.email,
            name: &person.name,
            groups: &person.groups,
            tenant_ids: &person.tenant_ids,
        })?;
        let token = signed.token.expose().clone();
        tokens.insert(person.sub.clone(), Pregenerated { token: token.clone(), expires_at: signed.expires_at });
        Ok((token, signed.expires_in))
    }
}

/// A person of the mock identity provider, with a token to try things with.
#[derive(Serialize, ToSchema)]
pub(crate) struct PersonWithToken {
    sub: String,
    name: String,
    email: String,
    tenant_ids: Vec<String>,
    /// The pre-generated user JWT.
    token: String,
}

/// The mock people and their pre-generated tokens.
#[utoipa::path(get, path = "/mock/people", tag = "mock", responses(
    (status = 200, description = "The people", body = [PersonWithToken]),
    (status = 404, description = "There is no mock identity provider here"),
))]
pub(crate) async fn people(State(app): State<App>) -> Result<Response, ProblemReply> {
    let mock = app.mock.as_ref().ok_or_else(ProblemReply::not_found)?;
    let mut people = Vec::with_capacity(mock.people.len());
    for person in &mock.people {
        let (token, _) = mock.token_of(person).map_err(|error| ProblemReply::internal(&error))?;
        people.push(PersonWithToken {
            sub: person.sub.clone(),
            name: person.name.clone(),
            email: person.email.clone(),
            tenant_ids: person.tenant_ids.iter().map(ToString::to_string).collect(),
            token,
        });
    }
    Ok(json_no_store(StatusCode::OK, &people))
}

/// Whom to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenRequest {
    /// The subject (`sub`) of a mock person.
    sub: String,
}

/// A token of the mock identity provider.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenAnswer {
    access_token: String,
    token_type: &'static str,
    expires_in: i64,
}

/// A user token for one of the mock people.
#[utoipa::path(post, path = "/mock/token", tag = "mock", request_body = TokenRequest, responses(
    (status = 200, description = "The token", body = TokenAnswer),
    (status = 404, description = "No such person, or no mock identity provider"),
))]
pub(crate) async fn token(State(app): State<App>, Json(wanted): Json<TokenRequest>) -> Result<Response, ProblemReply> {
    let mock = app.mock.as_ref().ok_or_else(ProblemReply::not_found)?;
    let person = mock.people.iter().find(|person| person.sub == wanted.sub).ok_or_else(ProblemReply::not_found)?;
    let (access_token, expires_in) = mock.token_of(person).map_err(|error| ProblemReply::internal(&error))?;
    let answer = TokenAnswer { access_token, token_type: "Bearer", expires_in };
    Ok(json_no_store(StatusCode::OK, &answer).into_response())
}
