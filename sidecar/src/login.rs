//! Signing in by authorization code with PKCE (RFC 6749, section 4.1; RFC 7636), on the dashboard's own host.
//!
//! Between the redirect and the callback the verifier travels in a sealed cookie, so that nothing is kept here and any
//! sidecar of the workload can go on where another began.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, Response, StatusCode, header, request::Parts};
use kyros_shared_config::{
    DashboardHost, PublicUrl,
    clock::unix_now,
    crypto::{constant_time_eq, random_bytes, random_handle, random_id, sha256_base64url},
    headers::{CALLBACK_PATH, CookieNames},
};
use serde::{Deserialize, Serialize};

use crate::{
    answer::see_other,
    api_client::ApiClient,
    bodies::Body,
    cookies,
    page::{Action, Text, page},
    sessions::Sessions,
};

/// How long a sign-in may take, in seconds.
const TRANSACTION_LIFE: i64 = 600;
/// AES-256 takes keys of this many bytes.
const KEY_BYTES: usize = 32;
/// Longest address that a person is brought back to; it travels in a cookie, and several sign-ins may be under way.
const MAX_RETURN_TO: usize = 1024;

/// Starts and ends sign-ins.
pub(crate) struct Login {
    public_url: PublicUrl,
    cookies: CookieNames,
    /// `None` until the API has said which key all sidecars of this workload use.
    key: ArcSwapOption<LessSafeKey>,
}

#[derive(Serialize, Deserialize)]
struct Transaction {
    state: String,
    verifier: String,
    return_to: String,
    expires_at: i64,
}

#[derive(Deserialize)]
struct Callback {
    code: Option<String>,
    state: Option<String>,
    iss: Option<String>,
}

impl Login {
    /// With a key of its own: for a decoy, which never finishes what it begins.
    pub(crate) fn alone(public_url: PublicUrl) -> Self {
        let login = Self::shared(public_url);
        login.use_key(&random_bytes::<KEY_BYTES>());
        login
    }

    /// With the key that [`use_key`](Self::use_key) brings: any sidecar of a workload may finish what another began.
    pub(crate) fn shared(public_url: PublicUrl) -> Self {
        let cookies = CookieNames::new(public_url.is_secure());
        Self { public_url, cookies, key: ArcSwapOption::empty() }
    }

    /// Seals and opens with this key from now on. False for what is no key.
    pub(crate) fn use_key(&self, key: &[u8]) -> bool {
        let Ok(key) = UnboundKey::new(&AES_256_GCM, key) else { return false };
        self.key.store(Some(Arc::new(LessSafeKey::new(key))));
        true
    }

    /// Whether anybody can sign in yet.
    pub(crate) fn has_key(&self) -> bool {
        self.key.load().is_some()
    }

    pub(crate) fn cookies(&self) -> &CookieNames {
        &self.cookies
    }

    /// Sends the browser to the portal; it comes back to where it wanted to go.
    pub(crate) fn begin(&self, host: &DashboardHost, request: &Parts) -> Response<Body> {
        let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
        let transaction = Transaction {
            state: random_handle(),
            verifier: random_handle(),
            return_to: if target.len() > MAX_RETURN_TO { "/".to_owned() } else { target.to_owned() },
            expires_at: unix_now() + TRANSACTION_LIFE,
        };
        let location = format!(
            "{}/oauth/authorize?{}",
            self.public_url.origin(),
            url::form_urlencoded::Serializer::new(String::new())
                .append_pair("response_type", "code")
                .append_pair("client_id", &host.dashboard.audience())
                .append_pair("redirect_uri", &self.redirect_uri(host))
                .append_pair("state", &transaction.state)
                .append_pair("code_challenge", &sha256_base64url(transaction.verifier.as_bytes()))
                .append_pair("code_challenge_method", "S256")
                .finish()
        );
        let name = self.transaction_cookie(&transaction.state);
        let cookie = self
            .seal(host, &transaction)
            .and_then(|sealed| cookies::ours(&name, &sealed, Some(TRANSACTION_LIFE), self.public_url.is_secure()));
        match (see_other(&location), cookie) {
            (Some(mut response), Some(cookie)) => {
                response.headers_mut().append(header::SET_COOKIE, cookie);
                response
            }
            _ => failed(),
        }
    }

    /// Takes the code that the portal sent along. Without an API (a host that names nothing) it always fails, in the same
    /// words as a wrong code.
    pub(crate) async fn finish(
        &self,
        host: &DashboardHost,
        request: &Parts,
        backend: Option<(&ApiClient, &Sessions)>,
    ) -> Response<Body> {
        self.try_finish(host, request, backend).await.unwrap_or_else(failed)
    }

    async fn try_finish(
        &self,
        host: &DashboardHost,
        request: &Parts,
        backend: Option<(&ApiClient, &Sessions)>,
    ) -> Option<Response<Body>> {
        let query = request.uri.query().unwrap_or_default();
        let callback = parse_callback(query)?;
        let state = callback.state?;
        let name = self.transaction_cookie(&state);
        let transaction = self.unseal(host, cookies::value_of(&request.headers, &name).ok()??)?;
        if !constant_time_eq(state.as_bytes(), transaction.state.as_bytes()) || transaction.expires_at < unix_now() {
            return None;
        }
        // RFC 9207: the answer must come from the issuer that was asked.
        if callback.iss.as_deref() != Some(&self.public_url.origin()) {
            return None;
        }
        let (api, sessions) = backend?;
        let granted = api.redeem(&callback.code?, &self.redirect_uri(host), &transaction.verifier).await.ok()?;
        let life = granted.refresh_expires_in;
        let handle = sessions.adopt(granted, &host.tenant).await.ok()?;
        // Absolute, so that a path such as `//evil.example` stays a path.
        let location = format!("{}{}", self.public_url.dashboard_origin(host), transaction.return_to);
        let mut response = see_other(&location)?;
        let cookie = cookies::ours(self.cookies.app, handle.expose(), life, self.public_url.is_secure())?;
        response.headers_mut().append(header::SET_COOKIE, cookie);
        self.clear(&mut response, &name);
        Some(response)
    }

    /// One cookie per sign-in under way: two tabs of one dashboard must not take each other's away.
    fn transaction_cookie(&self, state: &str) -> String {
        let tag: String = state.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
        format!("{}-{tag}", self.cookies.transaction)
    }

    fn clear(&self, response: &mut Response<Body>, name: &str) {
        if let Some(cookie) = cookies::ours(name, "", Some(0), self.public_url.is_secure()) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }

    fn redirect_uri(&self, host: &DashboardHost) -> String {
        format!("{}{CALLBACK_PATH}", self.public_url.dashboard_origin(host))
    }

    fn seal(&self, host: &DashboardHost, transaction: &Transaction) -> Option<String> {
        let nonce = random_bytes::<NONCE_LEN>();
        let mut sealed = serde_json::to_vec(transaction).ok()?;
        let aad = Aad::from(host.to_string().into_bytes());
        self.key.load_full()?.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed).ok()?;
        let mut bytes = nonce.to_vec();
        bytes.append(&mut sealed);
        Some(URL_SAFE_NO_PAD.encode(bytes))
    }

    fn unseal(&self, host: &DashboardHost, text: &str) -> Option<Transaction> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let mut sealed = sealed.to_vec();
        let aad = Aad::from(host.to_string().into_bytes());
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let key = self.key.load_full()?;
        let plain = key.open_in_place(nonce, aad, &mut sealed).ok()?;
        serde_json::from_slice(plain).ok()
    }
}

fn parse_callback(query: &str) -> Option<Callback> {
    let mut callback = Callback { code: None, state: None, iss: None };
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let slot = match &*name {
            "code" => &mut callback.code,
            "state" => &mut callback.state,
            "iss" => &mut callback.iss,
            _ => continue,
        };
        // A repeated parameter makes the whole answer invalid (RFC 6749, section 3.1).
        if slot.replace(value.into_owned()).is_some() {
            return None;
        }
    }
    Some(callback)
}

fn failed() -> Response<Body> {
    let text = Text {
        title: "Signing in was not completed",
        advice: "The link was used before, took too long, or belongs to another window. Open the dashboard again.",
        action: Action::Start,
    };
    let mut response = page(StatusCode::BAD_REQUEST, &text, &random_id());
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> Login {
        Login::alone("http://kyros.localhost:8080".parse().unwrap())
    }

    fn parts(target: &str, cookie: Option<&str>) -> Parts {
        let mut builder = http::Request::builder().uri(target);
        if let Some(cookie) = cookie {
            builder = builder.header(header::COOKIE, cookie);
        }
        builder.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_browser_is_sent_to_the_portal_with_a_challenge_and_a_sealed_cookie() {
        let host = "clv--acme".parse().unwrap();
        let response = login().begin(&host, &parts("/?x=1", None));
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        let location = response.headers()[header::LOCATION].to_str().unwrap();
        assert!(location.starts_with("http://kyros.localhost:8080/oauth/authorize?response_type=code"));
        assert!(location.contains("client_id=dashboard%3Aclv") && location.contains("code_challenge_method=S256"));
        let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
        assert!(cookie.starts_with("kyros-tx-") && cookie.contains("HttpOnly") && !cookie.contains("x=1"));
    }

    #[test]
    fn a_sealed_transaction_opens_only_on_its_own_host_and_unchanged() {
        let (login, host, other) = (login(), "clv--acme".parse().unwrap(), "clv--globex".parse().unwrap());
        let transaction = Transaction { state: "s".into(), verifier: "v".into(), return_to: "/".into(), expires_at: 1 };
        let sealed = login.seal(&host, &transaction).unwrap();
        assert_eq!(login.unseal(&host, &sealed).unwrap().state, "s");
        assert!(login.unseal(&other, &sealed).is_none());
        assert!(self::login().unseal(&host, &sealed).is_none());
        assert!(login.unseal(&host, &sealed[..sealed.len() - 2]).is_none());
        assert!(login.unseal(&host, "").is_none());
    }

    #[test]
    fn a_sidecar_finishes_what_another_of_its_workload_began() {
        let shared = || Login::shared("http://kyros.localhost:8080".parse().unwrap());
        let (one, other, host) = (shared(), shared(), "clv--acme".parse().unwrap());
        let transaction = Transaction { state: "s".into(), verifier: "v".into(), return_to: "/".into(), expires_at: 1 };
        assert!(one.seal(&host, &transaction).is_none() && !one.has_key(), "no key yet");
        assert!(!one.use_key(&[7; 16]), "too short");
        assert!(one.use_key(&[7; KEY_BYTES]) && other.use_key(&[7; KEY_BYTES]));
        let sealed = one.seal(&host, &transaction).unwrap();
        assert_eq!(other.unseal(&host, &sealed).unwrap().state, "s");
        assert!(other.use_key(&[8; KEY_BYTES]));
        assert!(other.unseal(&host, &sealed).is_none(), "another workload's");
    }

    #[tokio::test]
    async fn a_callback_that_was_not_asked_for_fails_in_the_same_words() {
        let (login, host) = (login(), "clv--acme".parse().unwrap());
        for target in ["/.kyros/callback", "/.kyros/callback?code=c&state=s&iss=x", "/.kyros/callback?state=s&state=t"]
        {
            let response = login.finish(&host, &parts(target, Some("kyros-tx=forged")), None).await;
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{target}");
        }
    }
}
