//! The sidecar as a client of the API: redeem a code, renew a token, hear of revocations.

use std::{path::PathBuf, time::Duration};

use futures_util::StreamExt as _;
use kyros_shared_config::{RouteTable, Secret, WebOrigin};
use reqwest::StatusCode;
use serde::Deserialize;
use thiserror::Error;
use url::Url;

use crate::revocations::Revocations;

/// How long a token request may take; people wait for it.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Nothing at all for this long means a dead stream: the API sends a comment every five seconds.
const STREAM_IDLE: Duration = Duration::from_secs(15);
/// Longest line of the revocation stream.
const MAX_EVENT_BYTES: usize = 64 * 1024;
/// Longest line of the stream of routes: tens of thousands of workloads.
const MAX_ROUTES_BYTES: usize = 4 * 1024 * 1024;
/// The pause before a stream that ended is begun again.
const RECONNECT: Duration = Duration::from_millis(200);

/// Why the API gave no token.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum ApiError {
    /// It was asked and said no: the grant is gone.
    #[error("the API refused: {0}")]
    Refused(String),
    /// It could not be asked, or did not answer as agreed.
    #[error("the API is unavailable: {0}")]
    Unavailable(String),
}

/// The answer of `POST /oauth/token` (RFC 6749, section 5.1).
#[derive(Deserialize)]
pub(crate) struct Granted {
    pub(crate) access_token: String,
    /// The app session's handle; given when a code is redeemed.
    pub(crate) refresh_token: Option<String>,
    /// How long the app session may live, in seconds.
    pub(crate) refresh_expires_in: Option<i64>,
    /// Whose pages, besides the portal's, may frame this tenant's dashboard.
    #[serde(default)]
    pub(crate) frame_ancestors: Vec<WebOrigin>,
}

#[derive(Deserialize)]
struct OAuthError {
    error: String,
}

/// Speaks to the API with this workload's own token.
pub(crate) struct ApiClient {
    base: Url,
    workload_token: Option<PathBuf>,
    client: reqwest::Client,
}

impl ApiClient {
    pub(crate) fn new(base: Url, workload_token: Option<PathBuf>) -> Result<Self, reqwest::Error> {
        let client = kyros_shared_config::http_client(&base).connect_timeout(Duration::from_secs(2)).build()?;
        Ok(Self { base, workload_token, client })
    }

    /// Exchanges an authorization code for a token and an app session (RFC 6749, section 4.1.3; RFC 7636, section 4.5).
    pub(crate) async fn redeem(&self, code: &str, redirect_uri: &str, verifier: &str) -> Result<Granted, ApiError> {
        self.token(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier),
        ])
        .await
    }

    /// A fresh token for an app session.
    pub(crate) async fn renew(&self, handle: &Secret<String>) -> Result<Granted, ApiError> {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", handle.expose())]).await
    }

    async fn token(&self, form: &[(&str, &str)]) -> Result<Granted, ApiError> {
        let assertion = self.workload_token().await?;
        // RFC 7523, section 2.2: the workload authenticates as a confidential client.
        let mut form = form.to_vec();
        form.push(("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
        form.push(("client_assertion", assertion.expose()));
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let response = self
            .client
            .post(self.address("oauth/token")?)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .timeout(TIMEOUT)
            .send()
            .await
            .map_err(unavailable)?;
        match response.status() {
            StatusCode::OK => response.json().await.map_err(unavailable),
            StatusCode::BAD_REQUEST => {
                let error = response.json::<OAuthError>().await.map_err(unavailable)?;
                Err(ApiError::Refused(error.error))
            }
            status => Err(ApiError::Unavailable(format!("status {}", status.as_u16()))),
        }
    }

    async fn workload_token(&self) -> Result<Secret<String>, ApiError> {
        let path = self.workload_token.as_ref().ok_or_else(|| ApiError::Unavailable("no workload token".into()))?;
        // Read each time: the file is replaced well before the token in it expires.
        let text = tokio::fs::read_to_string(path)
            .await
            .map_err(|error| ApiError::Unavailable(format!("workload token {}: {error}", path.display())))?;
        Ok(Secret::new(text.trim().to_owned()))
    }

    fn address(&self, path: &str) -> Result<Url, ApiError> {
        self.base.join(path).map_err(|error| ApiError::Unavailable(error.to_string()))
    }

    /// The key with which this workload's sidecars seal sign-ins under way.
    pub(crate) async fn sealing_key(&self) -> Result<Secret<Vec<u8>>, ApiError> {
        #[derive(Deserialize)]
        struct Answer {
            key: String,
        }
        let token = self.workload_token().await?;
        let request = self.client.get(self.address("internal/sealing-key")?).bearer_auth(token.expose());
        let response = request.timeout(TIMEOUT).send().await.map_err(unavailable)?;
        if response.status() != StatusCode::OK {
            return Err(ApiError::Unavailable(format!("status {}", response.status().as_u16())));
        }
        let key = Secret::new(response.json::<Answer>().await.map_err(unavailable)?.key);
        let bytes = unhex(key.expose()).ok_or_else(|| ApiError::Unavailable("no key in the answer".into()))?;
        Ok(Secret::new(bytes))
    }

    /// Follows the revocation stream for ever, resuming after the last event seen.
    pub(crate) async fn follow_revocations(&self, revocations: &Revocations) {
        self.follow("internal/revocations", MAX_EVENT_BYTES, |event| {
            match serde_json::from_str(&event.data) {
                Ok(revocation) => revocations.apply(revocation),
                // Says that everything up to here has been told.
                Err(_) if event.name == "current" => revocations.inform(),
                Err(error) => return Err(ApiError::Unavailable(format!("event not understood: {error}"))),
            }
            Ok(())
        })
        .await;
    }

    /// Follows for ever which workloads there are.
    pub(crate) async fn follow_routes(&self, mut take: impl FnMut(RouteTable)) {
        self.follow("internal/routes", MAX_ROUTES_BYTES, |event| {
            let table = serde_json::from_str(&event.data);
            take(table.map_err(|error| ApiError::Unavailable(format!("event not understood: {error}")))?);
            Ok(())
        })
        .await;
    }

    async fn follow(&self, path: &str, limit: usize, mut take: impl FnMut(&Event) -> Result<(), ApiError>) {
        let mut last_id = None;
        loop {
            if let Err(error) = self.stream_once(path, limit, &mut last_id, &mut take).await {
                tracing::debug!(%error, path, "stream ended, reconnecting");
            }
            tokio::time::sleep(RECONNECT).await;
        }
    }

    async fn stream_once(
        &self,
        path: &str,
        limit: usize,
        last_id: &mut Option<String>,
        take: &mut impl FnMut(&Event) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        let token = self.workload_token().await?;
        let mut request = self.client.get(self.address(path)?).bearer_auth(token.expose());
        if let Some(id) = last_id.as_ref() {
            request = request.header("last-event-id", id);
        }
        let response = tokio::time::timeout(TIMEOUT, request.send())
            .await
            .map_err(|_| ApiError::Unavailable("no answer".into()))?
            .map_err(unavailable)?;
        if response.status() != StatusCode::OK {
            return Err(ApiError::Unavailable(format!("status {}", response.status().as_u16())));
        }
        let mut parser = EventParser::up_to(limit);
        let mut stream = response.bytes_stream();
        loop {
            let chunk = tokio::time::timeout(STREAM_IDLE, stream.next())
                .await
                .map_err(|_| ApiError::Unavailable("silent stream".into()))?;
            let Some(chunk) = chunk else { return Ok(()) };
            for event in parser.push(&chunk.map_err(unavailable)?)? {
                take(&event)?;
                // Only after it took effect: what is not applied must be sent again.
                *last_id = Some(event.id).filter(|id| !id.is_empty());
            }
        }
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn unavailable(error: reqwest::Error) -> ApiError {
    ApiError::Unavailable(error.without_url().to_string())
}

/// One server-sent event.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) data: String,
}

/// Takes `text/event-stream` apart (HTML Living Standard, section 9.2.6), as far as our own API uses it.
pub(crate) struct EventParser {
    buffer: Vec<u8>,
    event: Event,
    limit: usize,
}

impl EventParser {
    pub(crate) fn up_to(limit: usize) -> Self {
        Self { buffer: Vec::new(), event: Event::default(), limit }
    }

    /// The limit holds for every line and for an event's data, so that it does not matter how the stream is cut.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, ApiError> {
        let too_large = || ApiError::Unavailable("event too large".into());
        self.buffer.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            if end > self.limit {
                return Err(too_large());
            }
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            match line.split_once(':').map(|(field, value)| (field, value.strip_prefix(' ').unwrap_or(value))) {
                _ if line.is_empty() => {
                    let event = std::mem::take(&mut self.event);
                    if !event.data.is_empty() {
                        events.push(event);
                    }
                }
                Some(("id", value)) => value.clone_into(&mut self.event.id),
                Some(("event", value)) => value.clone_into(&mut self.event.name),
                Some(("data", value)) => self.event.data.push_str(value),
                _ => (),
            }
            if self.event.data.len() > self.limit {
                return Err(too_large());
            }
        }
        if self.buffer.len() > self.limit {
            return Err(too_large());
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kyros_shared_config::Revocation;

    #[test]
    fn events_are_read_however_the_stream_is_cut() {
        let stream =
            b": hi\n\nid: 7\nevent: revocation\ndata: {\"kind\":\"session\",\"sid\":\"s\"}\n\nid: 8\r\ndata: x\r\n\r\n";
        for step in 1..stream.len() {
            let mut parser = EventParser::up_to(MAX_EVENT_BYTES);
            let events: Vec<Event> = stream.chunks(step).flat_map(|piece| parser.push(piece).unwrap()).collect();
            assert_eq!(events.len(), 2, "{step}");
            assert_eq!((events[0].id.as_str(), events[1].id.as_str()), ("7", "8"));
            assert!(serde_json::from_str::<Revocation>(&events[0].data).is_ok());
        }
    }

    #[test]
    fn an_endless_line_is_not_kept() {
        let mut parser = EventParser::up_to(MAX_EVENT_BYTES);
        assert!(parser.push(&vec![b'a'; MAX_EVENT_BYTES + 1]).is_err());
    }

    #[test]
    fn an_event_is_too_large_however_the_stream_is_cut() {
        for stream in [&b"data: 123456789\n\n"[..], b"data:1234\ndata:1234\ndata:1234\n\n"] {
            for step in 1..=stream.len() {
                let mut parser = EventParser::up_to(10);
                assert!(stream.chunks(step).any(|piece| parser.push(piece).is_err()), "{step}");
            }
        }
    }
}
