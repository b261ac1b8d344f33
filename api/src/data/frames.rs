//! Datasets in memory, each as its source last had it whole.
//!
//! ```text
//! absent ──fetch──▶ good ──believed_for──▶ asked again ──▶ good (same or newer version)
//!                     ▲                        │
//!                     └── the last good one ◀──┴─ broken, unreachable
//! ```
//!
//! A dataset that turns bad keeps its last good version; one that never was good is unavailable, and no other is. One that is
//! gone is gone at once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;

use super::{
    DataError,
    quota::QuotaCache,
    source::{Fetched, Origin, Place, Source, SourceError, Version},
};
use crate::engine::Table;

/// How long a request waits for a newer version while there is a good one: a look at a file is over by then, reading a large
/// one goes on without it.
const REFRESH_PATIENCE: Duration = Duration::from_millis(100);
/// How long a request waits for the first version.
const FIRST_PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait for a file that is being written; a copy that takes longer is read when it is complete.
const SETTLING_PATIENCE: Duration = Duration::from_secs(2);
/// How long a source that had nothing good is believed, however long its good ones are: it may be back at once.
const TROUBLE_BELIEVED_FOR: Duration = Duration::from_secs(1);
/// What an entry costs without a table, in bytes.
const OVERHEAD: usize = 1024;

/// A dataset, loaded.
#[derive(Clone)]
pub(crate) struct Loaded {
    pub(crate) table: Table,
    pub(crate) version: Version,
}

/// The datasets in memory.
pub(crate) struct Frames {
    slots: QuotaCache<Place, Arc<Slot>>,
}

/// What is known of one dataset.
struct Slot {
    /// Where it comes from. From elsewhere it is another dataset, of which nothing is known yet.
    origin: Arc<Origin>,
    state: ArcSwap<State>,
    refreshing: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone, Default)]
struct State {
    good: Option<Loaded>,
    /// The version last seen, good or not: what need not be read again.
    seen: Option<Version>,
    trouble: Option<SourceError>,
    asked_at: Option<Instant>,
}

impl State {
    fn is_believed(&self, source: &dyn Source) -> bool {
        // A version that cannot be served will not be served by asking for it once more.
        let may_pass =
            matches!(self.trouble, Some(SourceError::Absent | SourceError::Unreachable(_) | SourceError::Unsettled(_)));
        let most = if may_pass { TROUBLE_BELIEVED_FOR } else { Duration::MAX };
        self.asked_at.is_some_and(|at| at.elapsed() < source.believed_for().min(most))
    }

    fn answer(&self) -> Result<Loaded, DataError> {
        match (&self.good, &self.trouble) {
            (Some(loaded), _) => Ok(loaded.clone()),
            (None, Some(SourceError::Absent)) => Err(DataError::NotFound),
            (None, Some(trouble)) => Err(DataError::Broken(trouble.to_string())),
            (None, None) => Err(DataError::Deadline),
        }
    }

    /// What is known after a source was asked.
    fn after(&self, asked: Result<Option<Fetched>, SourceError>) -> Self {
        let asked_at = Some(Instant::now());
        match asked {
            Ok(None) => {
                // What is there now is what was good before: whatever the trouble was, it is over.
                let is_good = self.good.as_ref().is_some_and(|good| self.seen.as_ref() == Some(&good.version));
                let trouble = self.trouble.clone().filter(|_| !is_good);
                Self { trouble, asked_at, ..self.clone() }
            }
            Ok(Some(Fetched { version, table })) => {
                let good = Loaded { table, version: version.clone() };
                Self { good: Some(good), seen: Some(version), trouble: None, asked_at }
            }
            Err(SourceError::Absent) => Self { trouble: Some(SourceError::Absent), asked_at, ..Self::default() },
            Err(trouble) => {
                let seen = match &trouble {
                    SourceError::Broken { version: Some(version), .. } => Some(version.clone()),
                    _ => self.seen.clone(),
                };
                Self { good: self.good.clone(), seen, trouble: Some(trouble), asked_at }
            }
        }
    }

    fn bytes(&self) -> usize {
        OVERHEAD + self.good.as_ref().map_or(0, |loaded| loaded.table.estimated_size())
    }
}

impl Frames {
    /// Keeps at most so many bytes, as the engine estimates them, of one tenant and of all.
    pub(crate) fn new(per_tenant: usize, total: usize) -> Self {
        Self { slots: QuotaCache::new(per_tenant, total) }
    }

    /// The dataset as the source has it now, or as it last was good.
    pub(crate) async fn load(self: &Arc<Self>, place: &Place, origin: &Arc<Origin>) -> Result<Loaded, DataError> {
        let slot = self.slots.get(place.tenant(), place).filter(|slot| Arc::ptr_eq(&slot.origin, origin));
        let slot = slot.unwrap_or_else(|| self.open(place, origin.clone()));
        let state = slot.state.load_full();
        if state.is_believed(origin.source.as_ref()) {
            return state.answer();
        }
        let is_under_way = slot.refreshing.try_lock().is_err();
        let patience = match (&state.good, is_under_way) {
            // Whoever asked first waits a moment for what is newer; nobody waits behind that.
            (Some(loaded), true) => return Ok(loaded.clone()),
            (Some(_), false) => REFRESH_PATIENCE,
            (None, _) => FIRST_PATIENCE,
        };
        let refresh = self.clone().refresh(place.clone(), slot.clone());
        // In time or not: what is known by then is the answer.
        let _ = tokio::time::timeout(patience, refresh).await;
        slot.state.load().answer()
    }

    /// Bytes of all datasets, as the engine estimates them.
    pub(crate) fn bytes(&self) -> usize {
        self.slots.bytes()
    }

    fn open(&self, place: &Place, origin: Arc<Origin>) -> Arc<Slot> {
        let slot = Arc::new(Slot { origin, state: ArcSwap::default(), refreshing: Arc::default() });
        self.slots.put(place.tenant(), place.clone(), slot.clone(), State::default().bytes());
        slot
    }

    /// Asks the source once, however many want to know, and goes on when whoever asked first has gone away.
    async fn refresh(self: Arc<Self>, place: Place, slot: Arc<Slot>) {
        let turn = slot.refreshing.clone().lock_owned().await;
        if slot.state.load().is_believed(slot.origin.source.as_ref()) {
            return;
        }
        let task = tokio::spawn(async move {
            let _turn = turn;
            let before = slot.state.load_full();
            let asked = ask(&slot.origin, &place, before.seen.as_ref()).await;
            let after = before.after(self.refuse_too_large(asked));
            report(&place, &before, &after);
            let bytes = after.bytes();
            slot.state.store(Arc::new(after));
            self.slots.put(place.tenant(), place.clone(), slot, bytes);
        });
        let _ = task.await;
    }

    /// A table that no budget has room for would be read again by every request.
    fn refuse_too_large(&self, asked: Result<Option<Fetched>, SourceError>) -> Result<Option<Fetched>, SourceError> {
        let Ok(Some(Fetched { version, table })) = asked else { return asked };
        let (bytes, most) = (OVERHEAD + table.estimated_size(), self.slots.largest());
        if bytes <= most {
            return Ok(Some(Fetched { version, table }));
        }
        let detail =
            format!("takes {bytes} bytes of memory, of at most {most}: raise KYROS_FRAME_CACHE_MIB of the API");
        Err(SourceError::Broken { version: Some(version), detail })
    }
}

/// Asks the source in its turn. What is being written is waited for without one, since others can be read meanwhile.
async fn ask(origin: &Origin, place: &Place, seen: Option<&Version>) -> Result<Option<Fetched>, SourceError> {
    let begun = Instant::now();
    loop {
        let asked = match origin.turn(place.tenant()).await {
            Ok(_turn) => origin.source.fetch(place.clone(), seen.cloned()).await,
            Err(closed) => Err(SourceError::Unreachable(closed.to_string())),
        };
        match asked {
            Err(SourceError::Unsettled(rest)) if begun.elapsed() < SETTLING_PATIENCE => tokio::time::sleep(rest).await,
            asked => return asked,
        }
    }
}

/// Says once what became of a dataset, not again at every look.
fn report(place: &Place, before: &State, after: &State) {
    let words = |state: &State| state.trouble.as_ref().map(ToString::to_string);
    let (tenant, dashboard, dataset) = (place.tenant(), place.dashboard(), place.dataset());
    match (&after.trouble, words(before) == words(after)) {
        (Some(SourceError::Absent), _) | (_, true) => (),
        (Some(trouble), false) => {
            let serves_older = after.good.is_some();
            tracing::error!(%tenant, %dashboard, %dataset, %trouble, serves_older, "dataset unreadable");
        }
        (None, false) => tracing::info!(%tenant, %dashboard, %dataset, "dataset readable again"),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, sync::Mutex};

    use futures_util::{FutureExt as _, future::BoxFuture};

    use super::*;
    use crate::testing::scope;

    /// A source that says what it is told to, and for how long that is believed.
    struct Scripted {
        answers: Mutex<VecDeque<Result<Option<Fetched>, SourceError>>>,
        asked_with: Mutex<Vec<Option<Version>>>,
        takes: Duration,
        believed_for: Duration,
    }

    impl Scripted {
        fn new(answers: impl IntoIterator<Item = Result<Option<Fetched>, SourceError>>, takes: Duration) -> Arc<Self> {
            let answers = Mutex::new(answers.into_iter().collect());
            Arc::new(Self { answers, asked_with: Mutex::default(), takes, believed_for: Duration::ZERO })
        }
    }

    impl Source for Scripted {
        fn believed_for(&self) -> Duration {
            self.believed_for
        }

        fn fetch(&self, _: Place, known: Option<Version>) -> BoxFuture<'static, Result<Option<Fetched>, SourceError>> {
            self.asked_with.lock().unwrap().push(known);
            let (answer, takes) = (self.answers.lock().unwrap().pop_front(), self.takes);
            Box::pin(async move {
                tokio::time::sleep(takes).await;
                answer.unwrap_or(Ok(None))
            })
        }

        fn exists(&self, _: Place) -> BoxFuture<'static, Result<bool, SourceError>> {
            Box::pin(async { Ok(true) })
        }
    }

    fn version(text: &str) -> Version {
        Version::new(text)
    }

    #[expect(clippy::unnecessary_wraps, reason = "it stands among answers that are errors")]
    fn rows(text: &str, rows: usize) -> Result<Option<Fetched>, SourceError> {
        let csv = format!("a\n{}", "1\n".repeat(rows));
        let table = Table::from_bytes(csv.into_bytes(), crate::engine::Format::Csv).unwrap();
        Ok(Some(Fetched { version: version(text), table }))
    }

    fn broken(text: &str) -> Result<Option<Fetched>, SourceError> {
        Err(SourceError::Broken { version: Some(version(text)), detail: "torn".to_owned() })
    }

    fn place() -> Place {
        Place::new(&scope("acme", "clv"), &"own".parse().unwrap())
    }

    fn frames() -> Arc<Frames> {
        Arc::new(Frames::new(1 << 20, 1 << 20))
    }

    async fn rows_of(frames: &Arc<Frames>, origin: &Arc<Origin>) -> Option<usize> {
        frames.load(&place(), origin).await.ok().map(|loaded| loaded.table.rows())
    }

    #[tokio::test]
    async fn a_bad_version_leaves_the_last_good_one_and_is_not_read_twice() {
        let scripted = Scripted::new(
            [rows("1", 1), broken("2"), Ok(None), rows("3", 3), Err(SourceError::Absent), rows("4", 4)],
            Duration::ZERO,
        );
        let (frames, source) = (frames(), Origin::new(scripted.clone()));
        let mut seen = Vec::new();
        for _ in 0..6 {
            seen.push(rows_of(&frames, &source).await);
        }
        assert_eq!(seen, [Some(1), Some(1), Some(1), Some(3), None, Some(4)]);
        let asked_with = scripted.asked_with.lock().unwrap().clone();
        let known = [None, Some("1"), Some("2"), Some("2"), Some("3"), None];
        assert_eq!(asked_with, known.map(|text| text.map(version)));
    }

    #[tokio::test]
    async fn a_source_that_hangs_holds_up_nobody_who_reads_another() {
        let hanging = Origin::new(Scripted::new([], Duration::from_mins(10)));
        let frames = frames();
        let stuck = (0..16).map(|number| {
            let (frames, hanging) = (frames.clone(), hanging.clone());
            let place = Place::new(&scope("acme", "clv"), &format!("d{number}").parse().unwrap());
            tokio::spawn(async move { frames.load(&place, &hanging).await.is_ok() })
        });
        let stuck: Vec<_> = stuck.collect();
        tokio::task::yield_now().await;
        let well = Origin::new(Scripted::new([rows("1", 1)], Duration::ZERO));
        assert_eq!(rows_of(&frames, &well).await, Some(1));
        for task in stuck {
            task.abort();
        }
    }

    #[tokio::test]
    async fn another_source_is_another_dataset() {
        let sources = [1, 2].map(|count| Origin::new(Scripted::new([rows("same", count)], Duration::ZERO)));
        let frames = frames();
        assert_eq!(rows_of(&frames, &sources[0]).await, Some(1));
        assert_eq!(rows_of(&frames, &sources[1]).await, Some(2), "also where the versions bear one name");
    }

    #[tokio::test]
    async fn what_never_was_good_is_unavailable() {
        let down = Err(SourceError::Unreachable("down".to_owned()));
        let source = Origin::new(Scripted::new([broken("1"), down], Duration::ZERO));
        let frames = frames();
        for _ in 0..2 {
            assert!(matches!(frames.load(&place(), &source).await, Err(DataError::Broken(_))));
        }
    }

    #[tokio::test]
    async fn reading_a_newer_version_holds_nobody_up() {
        let scripted = Scripted::new([rows("1", 1), rows("2", 2)], 4 * REFRESH_PATIENCE);
        let (frames, source) = (frames(), Origin::new(scripted.clone()));
        assert_eq!(rows_of(&frames, &source).await, Some(1));
        assert_eq!(rows_of(&frames, &source).await, Some(1), "the newer one is not waited for");
        let others = futures_util::future::join_all((0..100).map(|_| rows_of(&frames, &source)));
        assert_eq!(others.now_or_never().expect("nobody waits behind who asked first"), vec![Some(1); 100]);
        tokio::time::sleep(5 * REFRESH_PATIENCE).await;
        assert_eq!(rows_of(&frames, &source).await, Some(2));
    }

    #[tokio::test]
    async fn however_many_ask_the_source_is_asked_once() {
        let mut scripted = Scripted::new([rows("1", 1)], Duration::from_millis(50));
        Arc::get_mut(&mut scripted).unwrap().believed_for = Duration::from_mins(1);
        let (frames, source) = (frames(), Origin::new(scripted.clone()));
        let loads = (0..64).map(|_| rows_of(&frames, &source));
        assert_eq!(futures_util::future::join_all(loads).await, vec![Some(1); 64]);
        assert_eq!(scripted.asked_with.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_failure_is_not_believed_for_as_long_as_a_dataset() {
        let down = || Err(SourceError::Unreachable("down".to_owned()));
        for trouble in [down(), Err(SourceError::Absent)] {
            let mut scripted = Scripted::new([trouble, rows("1", 1)], Duration::ZERO);
            Arc::get_mut(&mut scripted).unwrap().believed_for = Duration::from_hours(18);
            let (frames, source) = (frames(), Origin::new(scripted));
            assert_eq!(rows_of(&frames, &source).await, None);
            tokio::time::sleep(TROUBLE_BELIEVED_FOR).await;
            assert_eq!(rows_of(&frames, &source).await, Some(1));
        }
    }

    #[tokio::test]
    async fn a_source_that_is_back_with_what_it_had_is_believed_as_before() {
        let down = Err(SourceError::Unreachable("down".to_owned()));
        let mut scripted = Scripted::new([rows("1", 1), down, Ok(None), rows("2", 2)], Duration::ZERO);
        Arc::get_mut(&mut scripted).unwrap().believed_for = TROUBLE_BELIEVED_FOR * 3 / 2;
        let (frames, source) = (frames(), Origin::new(scripted.clone()));
        for _ in 0..5 {
            assert_eq!(rows_of(&frames, &source).await, Some(1));
            tokio::time::sleep(TROUBLE_BELIEVED_FOR * 11 / 10).await;
        }
        // At once, the third time after its time, the fourth soon after the failure, and the fifth not before its time again.
        assert_eq!(scripted.asked_with.lock().unwrap().len(), 3);
    }

    #[tokio::test]
    async fn files_that_are_being_written_hold_up_nobody_else() {
        let unsettled = || Err(SourceError::Unsettled(Duration::from_millis(100)));
        let scripted = Scripted::new((0..1000).map(|_| unsettled()), Duration::ZERO);
        let (frames, source) = (frames(), Origin::new(scripted));
        let loads = (0..16).map(|number| {
            let (frames, source) = (frames.clone(), source.clone());
            let place = Place::new(&scope("acme", "clv"), &format!("d{number}").parse().unwrap());
            tokio::spawn(async move { frames.load(&place, &source).await.is_ok() })
        });
        let loads: Vec<_> = loads.collect();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let turn = tokio::time::timeout(Duration::from_millis(500), source.turn(&"acme".parse().unwrap())).await;
        assert!(turn.is_ok_and(|turn| turn.is_ok()), "they wait without a turn");
        for task in loads {
            assert!(!task.await.unwrap());
        }
    }

    #[tokio::test]
    async fn one_tenants_reads_leave_a_turn_for_another() {
        let origin = Origin::new(Scripted::new([], Duration::ZERO));
        let [acme, globex] = ["acme", "globex"].map(|name| name.parse().unwrap());
        let held = [origin.turn(&acme).await.unwrap(), origin.turn(&acme).await.unwrap()];
        assert!(origin.turn(&acme).now_or_never().is_none());
        assert!(origin.turn(&globex).now_or_never().is_some());
        drop(held);
        assert!(origin.turn(&acme).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_table_that_no_budget_has_room_for_is_refused_and_not_read_again() {
        let scripted = Scripted::new([rows("1", 50_000)], Duration::ZERO);
        let source = Origin::new(scripted.clone());
        let frames = Arc::new(Frames::new(10_000, 10_000));
        assert_eq!(rows_of(&frames, &source).await, None);
        assert_eq!(rows_of(&frames, &source).await, None);
        assert_eq!(scripted.asked_with.lock().unwrap().clone(), [None, Some(version("1"))]);
    }
}
