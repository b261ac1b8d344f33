//! From a place to an answer: what is kept is given, what is asked for by many is computed once, and nobody computes out of
//! turn.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::body::Body;
use kyros_metadata::Limits;
use kyros_shared_config::{SourceName, TenantId};
use tokio::sync::Semaphore;

use super::{
    DataError,
    answers::{AnswerKey, Answers, Computed, Whole},
    frames::{Frames, Loaded},
    lanes::{self, Lane, Lanes},
    pieces::{self, Pieces},
    source::{LocalFolder, Origin, Place, SourceError},
    sources::{Sources, SourcesError},
    turns::Turns,
};
use crate::engine::{self, Answer, Cursor, Encoder, Encoding, Page, Table};

/// Who waits longer is answered with 504. A query that computes for longer ends with the step that it is at, and keeps its place
/// until then.
const DEADLINE: Duration = Duration::from_secs(10);
/// Memory for encoded answers, in bytes.
const ANSWER_BYTES: usize = 128 * 1024 * 1024;
/// How much of it one tenant can have.
const ANSWER_BYTES_PER_TENANT: usize = 16 * 1024 * 1024;
/// Answers of all tenants that are sent piece by piece at the same time: each holds its rows in memory.
const STREAMS: usize = 16;
/// Answers with more cells are sent piece by piece.
const WHOLE_CELLS: usize = 256 * 1024;
/// So are those that turn out to be longer, in bytes.
const WHOLE_BYTES: usize = 8 * 1024 * 1024;

/// An answer, and where the next page begins.
pub(crate) enum Reply {
    Whole(Whole),
    Pieces(Body, Option<Cursor>),
}

/// Loads datasets and answers queries on them.
pub(crate) struct DataService {
    sources: Sources,
    frames: Arc<Frames>,
    answers: Arc<Answers>,
    lanes: Lanes,
    turns: Turns,
    streams: Arc<Semaphore>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    kept: AtomicU64,
    computed: AtomicU64,
    busy: AtomicU64,
    late: AtomicU64,
}

impl DataService {
    /// Datasets in `data_dir` and in the places that the file `sources` names, so many queries at once, so many bytes for
    /// datasets in memory.
    pub(crate) fn new(
        data_dir: &Path,
        sources: Option<&Path>,
        concurrency: usize,
        frame_bytes: usize,
    ) -> Result<Self, SourcesError> {
        Ok(Self {
            sources: Sources::open(Arc::new(LocalFolder::new(data_dir, frame_bytes as u64 / 2)), sources)?,
            frames: Arc::new(Frames::new(frame_bytes / 2, frame_bytes)),
            answers: Arc::new(Answers::new(ANSWER_BYTES_PER_TENANT, ANSWER_BYTES)),
            lanes: Lanes::default(),
            turns: Turns::new(concurrency),
            streams: Arc::new(Semaphore::new(STREAMS)),
            counts: Counts::default(),
        })
    }

    /// The source of that name. A name that the operator has not set up is no other source.
    pub(crate) fn source(&self, name: Option<&SourceName>) -> Result<Arc<Origin>, DataError> {
        self.sources.of(name).map_err(|error| DataError::Broken(error.to_string()))
    }

    /// The tenant's lane, in which a request was counted; an error is one too many.
    pub(crate) fn admit(&self, tenant: &TenantId, limits: Limits) -> Result<Arc<Lane>, DataError> {
        let lane = self.lanes.of(tenant, limits);
        lane.admit().inspect_err(|error| self.count(error))?;
        Ok(lane)
    }

    /// Whether there is such a dataset now that can be served: one that is broken concerns no other.
    pub(crate) async fn exists(&self, place: Place, origin: &Origin) -> Result<bool, DataError> {
        match origin.source.exists(place).await {
            Err(SourceError::Broken { .. }) => Ok(false),
            exists => exists.map_err(|error| DataError::Broken(error.to_string())),
        }
    }

    /// The dataset as it is now.
    pub(crate) async fn load(&self, place: &Place, origin: &Arc<Origin>) -> Result<Loaded, DataError> {
        self.frames.load(place, origin).await
    }

    /// The answer to a query, which must have been made for this very table. One that is sent piece by piece ends when the
    /// asker's token no longer `stands`.
    pub(crate) async fn answer(
        &self,
        lane: &Arc<Lane>,
        place: &Place,
        table: Table,
        page: Page,
        encoding: Encoding,
        stands: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Result<Reply, DataError> {
        let key = AnswerKey { place: place.clone(), page: page.key(), encoding };
        if let Some(whole) = self.answers.get(&key) {
            self.counts.kept.fetch_add(1, Ordering::Relaxed);
            return Ok(Reply::Whole(whole));
        }
        if page.most_cells() > WHOLE_CELLS {
            lane.may_stream().inspect_err(|error| self.count(error))?;
        }
        self.counts.computed.fetch_add(1, Ordering::Relaxed);
        let computed = self.answers.compute(key, || compute(lane.clone(), self.turns.clone(), table, page, encoding));
        let computed = tokio::time::timeout(DEADLINE, computed).await.unwrap_or(Err(DataError::Deadline));
        match computed.inspect_err(|error| self.count(error))? {
            Computed::Whole(whole) => Ok(Reply::Whole(whole)),
            Computed::Large(answer) => {
                let full = |_| lanes::too_many_streams();
                let ours = self.streams.clone().try_acquire_owned().map_err(full);
                let permits = ours.and_then(|ours| Ok([lane.stream()?, ours]));
                let permits = permits.inspect_err(|error| self.count(error))?;
                let next = answer.next;
                let (tenant, turns) = (lane.tenant().clone(), self.turns.clone());
                let pieces = Pieces { answer, encoding, tenant, turns, permits, stall: pieces::STALL };
                let body = pieces::body(pieces, stands);
                Ok(Reply::Pieces(body, next))
            }
        }
    }

    fn count(&self, error: &DataError) {
        match error {
            DataError::TooMany { .. } => self.counts.busy.fetch_add(1, Ordering::Relaxed),
            DataError::Deadline => self.counts.late.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
    }

    /// For Prometheus.
    pub(crate) fn metrics(&self) -> String {
        let Counts { kept, computed, busy, late } = &self.counts;
        let [kept, computed, busy, late] = [kept, computed, busy, late].map(|count| count.load(Ordering::Relaxed));
        format!(
            "# HELP kyros_api_data_answers_total Answers to queries, by where they came from.\n\
             # TYPE kyros_api_data_answers_total counter\n\
             kyros_api_data_answers_total{{from=\"cache\"}} {kept}\n\
             kyros_api_data_answers_total{{from=\"query\"}} {computed}\n\
             # HELP kyros_api_data_refused_total Requests that were one too many (429), and queries that took too long (504).\n\
             # TYPE kyros_api_data_refused_total counter\n\
             kyros_api_data_refused_total{{why=\"busy\"}} {busy}\n\
             kyros_api_data_refused_total{{why=\"deadline\"}} {late}\n\
             # HELP kyros_api_data_cache_bytes Memory for datasets and for answers.\n\
             # TYPE kyros_api_data_cache_bytes gauge\n\
             kyros_api_data_cache_bytes{{of=\"datasets\"}} {}\n\
             kyros_api_data_cache_bytes{{of=\"answers\"}} {}\n",
            self.frames.bytes(),
            self.answers.bytes(),
        )
    }
}

async fn compute(
    lane: Arc<Lane>,
    turns: Turns,
    table: Table,
    page: Page,
    encoding: Encoding,
) -> Result<Computed, DataError> {
    let entered = lane.enter().await?;
    let turn = turns.wait(lane.tenant()).await;
    // From now, and not from the question: others may have asked the same meanwhile.
    let deadline = Instant::now() + DEADLINE;
    let work = tokio::task::spawn_blocking(move || {
        // They go along: a query that missed its deadline still holds its place until it ends.
        let (_entered, mut turn) = (entered, turn);
        let answer = engine::run_in_steps(&table, &page, &mut || {
            turn.give_way();
            if Instant::now() < deadline { Ok(()) } else { Err(engine::Overdue) }
        })?;
        whole_if_small(answer, encoding)
    });
    work.await.unwrap_or_else(|error| Err(DataError::Internal(error.to_string())))
}

fn whole_if_small(answer: Answer, encoding: Encoding) -> Result<Computed, DataError> {
    if answer.table.rows().saturating_mul(answer.table.schema().columns().len()) > WHOLE_CELLS {
        return Ok(Computed::Large(answer));
    }
    let next = answer.next;
    let mut encoder = Encoder::new(answer, encoding);
    let mut bytes = Vec::new();
    while let Some(piece) = encoder.piece()? {
        if bytes.is_empty() {
            bytes = piece;
        } else {
            bytes.extend_from_slice(&piece);
        }
        if bytes.len() > WHOLE_BYTES {
            return Ok(Computed::Large(encoder.into_answer()));
        }
    }
    Ok(Computed::Whole(Whole { bytes: bytes.into(), next }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scope;

    #[tokio::test]
    async fn a_truncated_file_breaks_its_own_dataset_alone_until_it_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let files = folder.path().join("tenants/acme/clv");
        std::fs::create_dir_all(&files).unwrap();
        std::fs::write(files.join("good.csv"), "a\n1\n").unwrap();
        std::fs::write(files.join("bad.parquet"), "PAR1").unwrap();
        let service = DataService::new(folder.path(), None, 1, 1 << 30).unwrap();
        let local = service.source(None).unwrap();
        let place = |name: &str| Place::new(&scope("acme", "clv"), &name.parse().unwrap());
        assert!(matches!(service.load(&place("bad"), &local).await, Err(DataError::Broken(_))));
        assert_eq!(service.load(&place("good"), &local).await.unwrap().table.rows(), 1);
        std::fs::remove_file(files.join("bad.parquet")).unwrap();
        std::fs::write(files.join("bad.csv"), "a\n1\n2\n").unwrap();
        std::fs::write(files.join("good.csv"), "a\n1\n2\n3\n").unwrap();
        tokio::time::sleep(Duration::from_millis(800)).await;
        assert_eq!(service.load(&place("bad"), &local).await.unwrap().table.rows(), 2);
        assert_eq!(service.load(&place("good"), &local).await.unwrap().table.rows(), 3);
    }
}
