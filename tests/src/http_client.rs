//! Two clients over the wire: one as `curl` would be, one that keeps cookies and follows redirects as a browser does.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use reqwest::{
    Method, StatusCode,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{self, HeaderMap},
};
use serde_json::{Value, json};
use url::Url;

/// Every name is this machine, as `*.localhost` is for browsers.
struct Loopback;

impl Resolve for Loopback {
    fn resolve(&self, _: Name) -> Resolving {
        let address: Addrs = Box::new(std::iter::once(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))));
        Box::pin(std::future::ready(Ok(address)))
    }
}

/// An answer, whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Everything that a client could see, for canary hunts.
    pub fn everything(&self) -> String {
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}: {value:?}\n")).collect();
        headers + &self.text()
    }
}

/// A client without memory.
#[derive(Clone)]
pub struct Client {
    client: reqwest::Client,
    portal: String,
}

impl Client {
    /// A client of one installation.
    pub fn new(portal: &str) -> anyhow::Result<Self> {
        kyros_shared_config::crypto::install_provider();
        let client = reqwest::Client::builder()
            .dns_resolver(Arc::new(Loopback))
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { client, portal: portal.to_owned() })
    }

    /// Sends a request as it is.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Answer> {
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Answer { status, headers, body: response.bytes().await?.to_vec() })
    }

    /// Begins a request.
    pub fn request(&self, method: Method, url: &str) -> reqwest::RequestBuilder {
        let url = if url.starts_with('/') { format!("{}{url}", self.portal) } else { url.to_owned() };
        self.client.request(method, url)
    }

    /// GET, with a Bearer token if there is one.
    pub async fn get(&self, url: &str, token: Option<&str>) -> anyhow::Result<Answer> {
        let request = self.request(Method::GET, url);
        self.send(match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
        .await
    }

    /// A mock person's pre-generated user token.
    pub async fn user_token(&self, sub: &str) -> anyhow::Result<String> {
        let people = self.get("/mock/people", None).await?.json();
        let person = people.as_array().into_iter().flatten().find(|person| person["sub"] == sub);
        let token = person.and_then(|person| person["token"].as_str()).context("no such person")?;
        Ok(token.to_owned())
    }

    /// The JSON form of an exchange.
    pub async fn exchange(&self, user_token: &str, tenant: &str, dashboard: &str) -> anyhow::Result<Answer> {
        let body = json!({"tenant_id": tenant, "dashboard": dashboard}).to_string();
        let request = self.request(Method::POST, "/api/token/exchange").bearer_auth(user_token);
        self.send(request.header(header::CONTENT_TYPE, "application/json").body(body)).await
    }

    /// A tenant token for a mock person.
    pub async fn tenant_token(&self, sub: &str, tenant: &str, dashboard: &str) -> anyhow::Result<String> {
        let answer = self.exchange(&self.user_token(sub).await?, tenant, dashboard).await?;
        match answer.json()["access_token"].as_str() {
            Some(token) => Ok(token.to_owned()),
            None => bail!("no token: {} {}", answer.status, answer.text()),
        }
    }
}

/// Keeps cookies by host and follows redirects.
pub struct BrowserLike {
    client: Client,
    cookies: HashMap<String, HashMap<String, String>>,
}

impl BrowserLike {
    /// An empty profile.
    pub fn new(client: Client) -> Self {
        Self { client, cookies: HashMap::new() }
    }

    /// The `Cookie` header for a URL.
    pub fn cookie_header(&self, url: &str) -> anyhow::Result<String> {
        let host = Url::parse(url)?.host_str().unwrap_or_default().to_owned();
        let jar = self.cookies.get(&host).into_iter().flatten();
        Ok(jar.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; "))
    }

    /// One request with this profile's cookies, no redirect followed.
    pub async fn once(&mut self, request: reqwest::RequestBuilder) -> anyhow::Result<Answer> {
        let request = request.build()?;
        let url = request.url().clone();
        let mut builder = reqwest::RequestBuilder::from_parts(self.client.client.clone(), request);
        let cookies = self.cookie_header(url.as_str())?;
        if !cookies.is_empty() {
            builder = builder.header(header::COOKIE, cookies);
        }
        let answer = self.client.send(builder).await?;
        let jar = self.cookies.entry(url.host_str().unwrap_or_default().to_owned()).or_default();
        for cookie in answer.headers.get_all(header::SET_COOKIE) {
            let cookie = cookie.to_str()?;
            let (name, rest) = cookie.split_once('=').context("cookie")?;
            let value = rest.split(';').next().unwrap_or_default();
            if cookie.contains("Max-Age=0") {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(answer)
    }

    /// A navigation: follows up to ten redirects. Returns the last address and its answer.
    pub async fn navigate(&mut self, url: &str) -> anyhow::Result<(String, Answer)> {
        let mut url = if url.starts_with('/') { format!("{}{url}", self.client.portal) } else { url.to_owned() };
        for _ in 0..10 {
            let request = self
                .client
                .request(Method::GET, &url)
                .header("sec-fetch-mode", "navigate")
                .header("sec-fetch-dest", "document")
                .header(header::ACCEPT, "text/html");
            let answer = self.once(request).await?;
            if !answer.status.is_redirection() {
                return Ok((url, answer));
            }
            url = Url::parse(&url)?.join(answer.header("location"))?.to_string();
        }
        bail!("too many redirects, the last to {url}")
    }

    /// Posts a form of a page of the portal's.
    pub async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> anyhow::Result<Answer> {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self
            .client
            .request(Method::POST, path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ORIGIN, self.client.portal.clone())
            .body(body);
        self.once(request).await
    }

    /// Signs a mock person in.
    pub async fn sign_in(&mut self, sub: &str) -> anyhow::Result<()> {
        let (_, page) = self.navigate("/login").await?;
        let csrf = hidden(&page.text(), "csrf").context("csrf")?;
        let answer = self.post("/login", &[("sub", sub), ("csrf", &csrf), ("return_to", "/tenants")]).await?;
        if answer.status != StatusCode::SEE_OTHER {
            bail!("login: {} {}", answer.status, answer.text());
        }
        Ok(())
    }

    /// Signs out.
    pub async fn sign_out(&mut self) -> anyhow::Result<Answer> {
        let (_, page) = self.navigate("/tenants").await?;
        let csrf = hidden(&page.text(), "csrf").context("csrf")?;
        self.post("/logout", &[("csrf", &csrf)]).await
    }
}

/// The value of a hidden field.
fn hidden(html: &str, name: &str) -> Option<String> {
    let start = html.find(&format!("name=\"{name}\" value=\""))?;
    let value = &html[start..].split("value=\"").nth(1)?;
    Some(value.split('"').next()?.to_owned())
}
