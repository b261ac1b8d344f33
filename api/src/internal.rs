//! What workloads are told and nobody else: `GET /internal/revocations`, what has been taken back, and
//! `GET /internal/routes`, where sidecars are, as server-sent events; `GET /internal/sealing-key`.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{
        Response,
        sse::{Event, Sse},
    },
};
use futures_util::{Stream, stream};

use kyros_shared_config::{RouteTable, crypto, revocation::WINDOW};

use crate::{
    auth::{FromAnyWorkload, FromGateway, FromSidecar},
    reply::{ProblemReply, json_no_store},
    state::App,
    workload_trust::workloads,
};

/// A comment this often keeps the stream alive and tells a sidecar that the API is there.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Every event after `Last-Event-ID`, or all that can still matter, and then each new one as it happens.
pub(crate) async fn revocations(
    State(app): State<App>,
    _: FromAnyWorkload,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ProblemReply> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.parse::<i64>().ok());
    let id_before =
        async |age| app.store.revocation_id_before(age).await.map_err(|error| ProblemReply::internal(&error));
    // A number that was never given out comes from another database (restored, made anew): then the sidecar knows nothing.
    let newest = id_before(-WINDOW).await?;
    let position = match last.filter(|id| *id <= newest) {
        Some(id) => id,
        None => id_before(WINDOW).await?,
    };
    let follower = Follower { news: app.revoker.news(), app, position, queue: Vec::new(), is_current: false };
    Ok(Sse::new(stream::unfold(follower, Follower::next)))
}

struct Follower {
    app: App,
    news: tokio::sync::watch::Receiver<u64>,
    position: i64,
    /// Newest first, so that `pop` takes them in order.
    queue: Vec<Event>,
    is_current: bool,
}

impl Follower {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if let Some(event) = self.queue.pop() {
                return Some((Ok(event), self));
            }
            // Marked as seen before the read: an event that comes in between wakes the next wait.
            self.news.mark_unchanged();
            match self.app.store.revocations_after(self.position).await {
                Ok(rows) if !rows.is_empty() => {
                    self.position = rows.last().map_or(self.position, |row| row.id);
                    let event = |row: &crate::store::RevocationRow| {
                        let data = serde_json::to_string(&row.event).unwrap_or_default();
                        Event::default().id(row.id.to_string()).event("revocation").data(data)
                    };
                    self.queue = rows.iter().rev().map(event).collect();
                }
                Ok(_) if !self.is_current => {
                    // The backlog is told: from here on a sidecar knows all that can still matter.
                    self.is_current = true;
                    let current = Event::default().id(self.position.to_string()).event("current").data("{}");
                    return Some((Ok(current), self));
                }
                Ok(_) => {
                    let stopping = self.app.stopping.clone();
                    tokio::select! {
                        _ = self.news.changed() => (),
                        () = tokio::time::sleep(KEEP_ALIVE) => {
                            return Some((Ok(Event::default().comment("alive")), self));
                        }
                        () = stopping.cancelled() => return None,
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "revocations not readable, the stream ends");
                    return None;
                }
            }
        }
    }
}

/// The key with which all sidecars of one workload seal sign-ins under way, so that one may finish what another began. It
/// opens nothing else, and no other workload's.
pub(crate) async fn sealing_key(State(app): State<App>, FromSidecar(workload): FromSidecar) -> Response {
    let key = crypto::derive_key(app.sealing.expose(), &format!("sign-in {workload}"));
    json_no_store(StatusCode::OK, &serde_json::json!({"key": crypto::hex(&key)}))
}

/// Which workloads there are: the whole table first, and again whenever it changes.
pub(crate) async fn routes(
    State(app): State<App>,
    _: FromGateway,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let changes = app.metadata.changes();
    let table = RouteFollower { app, changes, told: None };
    Sse::new(stream::unfold(table, RouteFollower::next))
}

struct RouteFollower {
    app: App,
    changes: tokio::sync::watch::Receiver<i64>,
    told: Option<RouteTable>,
}

impl RouteFollower {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            self.changes.mark_unchanged();
            let table = RouteTable { workloads: workloads(&self.app.metadata.snapshot()) };
            if self.told.as_ref() != Some(&table) {
                let data = serde_json::to_string(&table).unwrap_or_default();
                self.told = Some(table);
                return Some((Ok(Event::default().event("routes").data(data)), self));
            }
            let stopping = self.app.stopping.clone();
            tokio::select! {
                _ = self.changes.changed() => (),
                () = tokio::time::sleep(KEEP_ALIVE) => return Some((Ok(Event::default().comment("alive")), self)),
                () = stopping.cancelled() => return None,
            }
        }
    }
}
