//! `/live`: a socket that tells an open page when its data changes.

use std::time::Duration;

use axum::{
    extract::ws::{Message, WebSocket, WebSocketUpgrade},
    response::Response,
};

use crate::{DataClient, DataError, Visitor};

/// How often the data's version is asked for. While nothing changes it costs the API no query.
const POLL: Duration = Duration::from_secs(2);

/// Accepts the socket: first `{"type":"hello"}`, then `{"type":"changed"}` whenever a dataset changes.
pub fn live(
    upgrade: WebSocketUpgrade,
    visitor: Visitor,
    data: DataClient,
    datasets: &'static [&'static str],
) -> Response {
    upgrade.on_upgrade(move |socket| async move {
        let _ = follow(socket, &visitor, &data, datasets).await;
    })
}

async fn follow(
    mut socket: WebSocket,
    visitor: &Visitor,
    data: &DataClient,
    datasets: &[&str],
) -> Result<(), axum::Error> {
    let hello = serde_json::json!({"type": "hello", "tenant": visitor.tenant}).to_string();
    socket.send(Message::Text(hello.into())).await?;
    let mut known = versions(data, visitor, datasets, &[]).await.unwrap_or_default();
    loop {
        tokio::select! {
            received = socket.recv() => match received {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(()),
                Some(Ok(_)) => (),
            },
            () = tokio::time::sleep(POLL) => {
                // While the data cannot be read nothing is known to have changed.
                if let Ok(now) = versions(data, visitor, datasets, &known).await
                    && now != known {
                        known = now;
                        socket.send(Message::Text(r#"{"type":"changed"}"#.into())).await?;
                    }
            }
        }
    }
}

async fn versions(
    data: &DataClient,
    visitor: &Visitor,
    datasets: &[&str],
    known: &[String],
) -> Result<Vec<String>, DataError> {
    let mut versions = Vec::with_capacity(datasets.len());
    for (index, dataset) in datasets.iter().enumerate() {
        let known = known.get(index).filter(|known| !known.is_empty()).map(String::as_str);
        match data.version(visitor, dataset, known).await {
            // A dataset that a tenant need not have: its coming is a change.
            Err(DataError::Missing(_)) => versions.push(String::new()),
            version => versions.push(version?),
        }
    }
    Ok(versions)
}
