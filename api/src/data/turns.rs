//! Whose turn it is to compute. Polars has one pool of threads: a thread that waits for a part of one query takes up parts of
//! any other, so that two queries at once slow each other down far more than either would wait for the other to end.
//!
//! - The next turn goes to the tenant that has fewest now, and among equals to whose last one is longest ago. Nobody overtakes.
//! - It is handed out when no query of another tenant runs, or only such as have run alone for long enough.
//! - One tenant never has all turns: whoever comes next need not wait for a long query to end.
//! - A query has steps, and between two of them it lets a tenant go first that had not computed for a while when it asked.
//!
//! So a tenant that asks now and then waits for the step that runs when it asks, and for nothing of what others have waiting.
//! If that step is a long one, it waits for a quarter of a second, as long as a turn is free.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kyros_shared_config::TenantId;
use tokio::{runtime::Handle, sync::oneshot, time::timeout};

/// How long a query has the threads to itself. Most end long before, also on a machine that is busy with something else; and a wait
/// of that length is no harm.
const ALONE: Duration = Duration::from_millis(250);

/// A tenant that asks after so long without computing goes first, also between the steps of others' queries. Those who ask all
/// the time take turns with whole queries.
const RESTED: Duration = Duration::from_millis(20);

/// Hands out turns.
#[derive(Clone)]
pub(crate) struct Turns {
    queue: Arc<Mutex<Queue>>,
    alone: Duration,
    rested: Duration,
}

struct Queue {
    at_once: usize,
    most_of_one: usize,
    running: Vec<Running>,
    waiting: VecDeque<Waiting>,
    last: HashMap<TenantId, Last>,
    /// Turns so far, which also names them.
    count: u64,
}

/// A tenant's last turn.
#[derive(Clone, Copy)]
struct Last {
    number: u64,
    /// When it began, as long as it has not.
    ended: Instant,
}

struct Running {
    number: u64,
    tenant: TenantId,
    /// When it would have begun, had it never given way.
    since: Instant,
}

struct Waiting {
    tenant: TenantId,
    asked: Instant,
    /// How long it has run already, if it gave way in the middle.
    half_done: Option<Duration>,
    ready: oneshot::Sender<Turn>,
}

/// The right to compute until it is dropped.
pub(crate) struct Turn {
    turns: Turns,
    /// `None` once it was given back.
    number: Option<u64>,
}

impl Turns {
    /// So many turns at once; at least one.
    pub(crate) fn new(at_once: usize) -> Self {
        Self::with(at_once, ALONE, RESTED)
    }

    fn with(at_once: usize, alone: Duration, rested: Duration) -> Self {
        let at_once = at_once.max(1);
        let queue = Queue {
            at_once,
            most_of_one: at_once.saturating_sub(1).max(1),
            running: Vec::new(),
            waiting: VecDeque::new(),
            last: HashMap::new(),
            count: 0,
        };
        Self { queue: Arc::new(Mutex::new(queue)), alone, rested }
    }

    /// Waits for the tenant's turn. Who stops waiting loses nothing but the place.
    pub(crate) async fn wait(&self, tenant: &TenantId) -> Turn {
        // Dropped after the receiver: who leaves may have been the one that others waited for.
        let _place = Place(self);
        let (ready, turn) = oneshot::channel();
        {
            let mut queue = self.lock();
            queue.waiting.push_back(Waiting { tenant: tenant.clone(), asked: Instant::now(), half_done: None, ready });
            self.hand_out(&mut queue);
        }
        self.until_it_comes(turn).await
    }

    async fn until_it_comes(&self, mut turn: oneshot::Receiver<Turn>) -> Turn {
        loop {
            match timeout(self.alone, &mut turn).await {
                // The sender is dropped with the queue alone, which this handle keeps.
                Ok(turn) => return turn.unwrap_or_else(|_| Turn { turns: self.clone(), number: None }),
                // What runs may have run alone for long enough by now, which nothing else tells.
                Err(_) => self.look_again(),
            }
        }
    }

    /// For those who wait while nothing ends.
    fn look_again(&self) {
        let mut queue = self.lock();
        if queue.running.iter().any(|running| running.since.elapsed() >= self.alone) {
            self.hand_out(&mut queue);
        }
    }

    fn hand_out(&self, queue: &mut Queue) {
        while let Some(Waiting { tenant, ready, half_done, .. }) = queue.next(self.alone) {
            let number = queue.begin(tenant, half_done.unwrap_or_default());
            if let Err(mut unwanted) = ready.send(Turn { turns: self.clone(), number: Some(number) }) {
                // Given back here: dropping it would want the lock that is held.
                queue.give_back(unwanted.number.take());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Who is next, if that one may begin now. Nobody else may instead: a storm that runs would go on for ever.
    fn next(&mut self, alone: Duration) -> Option<Waiting> {
        // Who has left must not be waited for.
        self.waiting.retain(|waiting| !waiting.ready.is_closed());
        if self.running.len() >= self.at_once {
            return None;
        }
        let running = |tenant: &TenantId| self.running.iter().filter(|running| running.tenant == *tenant).count();
        let rank = |(place, Waiting { tenant, .. }): (usize, &Waiting)| {
            (running(tenant), self.last.get(tenant).map(|last| last.number), place)
        };
        let may = self.waiting.iter().enumerate().map(rank).filter(|(running, ..)| *running < self.most_of_one);
        let (.., place) = may.min()?;
        let tenant = &self.waiting.get(place)?.tenant;
        let shares = |other: &Running| other.tenant == *tenant || other.since.elapsed() >= alone;
        if self.running.iter().all(shares) { self.waiting.remove(place) } else { None }
    }

    fn begin(&mut self, tenant: TenantId, worked: Duration) -> u64 {
        let number = self.count_turn(&tenant);
        let now = Instant::now();
        self.running.push(Running { number, tenant, since: now.checked_sub(worked).unwrap_or(now) });
        number
    }

    /// As the tenant's last one.
    fn count_turn(&mut self, tenant: &TenantId) -> u64 {
        self.count += 1;
        self.last.insert(tenant.clone(), Last { number: self.count, ended: Instant::now() });
        self.count
    }

    fn give_back(&mut self, number: Option<u64>) -> Option<Running> {
        let place = self.running.iter().position(|running| Some(running.number) == number)?;
        let running = self.running.swap_remove(place);
        if let Some(last) = self.last.get_mut(&running.tenant) {
            last.ended = Instant::now();
        }
        Some(running)
    }

    /// Whether this turn's query gives way. Not when so many have as may run: half-done ones hold memory, and a thread each.
    fn gives_way(&self, number: Option<u64>, rested: Duration) -> bool {
        let Some(own) = self.running.iter().find(|running| Some(running.number) == number) else { return false };
        let half_done = self.waiting.iter().filter(|waiting| waiting.half_done.is_some()).count();
        let is_rested = |Waiting { tenant, asked, .. }: &Waiting| {
            self.running.iter().all(|running| running.tenant != *tenant)
                && self.last.get(tenant).is_none_or(|last| asked.saturating_duration_since(last.ended) >= rested)
        };
        let goes_first = |waiting: &Waiting| {
            waiting.tenant != own.tenant
                && waiting.half_done.is_none()
                && !waiting.ready.is_closed()
                && is_rested(waiting)
        };
        half_done < self.at_once && self.waiting.iter().any(goes_first)
    }
}

/// A place in the queue.
struct Place<'a>(&'a Turns);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.hand_out(&mut self.0.lock());
    }
}

impl Turn {
    /// Between two steps of a query: who comes after a rest goes first. Blocks until the query may go on; only where blocking
    /// is allowed, and inside a runtime.
    pub(crate) fn give_way(&mut self) {
        let turns = self.turns.clone();
        let (ready, turn) = oneshot::channel();
        {
            let mut queue = turns.lock();
            if !queue.gives_way(self.number, turns.rested) {
                return;
            }
            let Some(Running { tenant, since, .. }) = queue.give_back(self.number.take()) else { return };
            // From now on it is the one whose last turn is most recent, whenever that began.
            queue.count_turn(&tenant);
            let (asked, half_done) = (Instant::now(), Some(since.elapsed()));
            // Before all others of its tenant: the sooner it is done, the sooner its memory is free.
            queue.waiting.push_front(Waiting { tenant, asked, half_done, ready });
            turns.hand_out(&mut queue);
        }
        *self = Handle::current().block_on(turns.until_it_comes(turn));
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.number.is_some() {
            let turns = self.turns.clone();
            let mut queue = turns.lock();
            queue.give_back(self.number.take());
            turns.hand_out(&mut queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    use super::*;

    /// Longer than any test.
    const LONG: Duration = Duration::from_mins(10);

    fn tenant(name: &str) -> TenantId {
        name.parse().unwrap()
    }

    #[tokio::test]
    async fn whoever_comes_next_waits_for_what_runs_and_for_nothing_that_waits() {
        let turns = Turns::with(2, LONG, LONG);
        let (storm, calm) = (tenant("storm"), tenant("calm"));
        let mut running = turns.wait(&storm).now_or_never().unwrap();
        let mut storms: VecDeque<_> = (0..64).map(|_| turns.wait(&storm).boxed()).collect();
        assert!(storms.iter_mut().all(|wait| wait.now_or_never().is_none()), "a tenant never has all turns");
        for _ in 0..3 {
            let mut next = turns.wait(&calm).boxed();
            assert!((&mut next).now_or_never().is_none(), "the threads are not shared");
            drop(running);
            let turn = next.now_or_never().expect("nobody overtakes");
            assert!(storms[0].as_mut().now_or_never().is_none());
            drop(turn);
            running = storms.pop_front().unwrap().now_or_never().expect("and the storm goes on in between");
        }
    }

    #[tokio::test]
    async fn a_long_query_keeps_nobody_waiting_for_its_end() {
        let turns = Turns::with(2, Duration::from_millis(50), LONG);
        let (long, other) = (tenant("long"), tenant("other"));
        let running = turns.wait(&long).await;
        let mut second = turns.wait(&long).boxed();
        let begun = Instant::now();
        let beside = turns.wait(&other).await;
        assert!(begun.elapsed() >= Duration::from_millis(40), "it has the threads to itself at first");
        assert!((&mut second).now_or_never().is_none(), "both turns are taken");
        drop(running);
        drop(beside);
        second.await;
    }

    #[tokio::test]
    async fn between_two_steps_who_has_rested_goes_first_and_who_computed_just_now_does_not() {
        let turns = Turns::with(2, LONG, LONG);
        let (storm, calm) = (tenant("storm"), tenant("calm"));
        let mut storms_turn = turns.wait(&storm).await;
        let mut next_storm = turns.wait(&storm).boxed();
        assert!((&mut next_storm).now_or_never().is_none());
        storms_turn.give_way();
        let mut calms_wait = turns.wait(&calm).boxed();
        assert!((&mut calms_wait).now_or_never().is_none());
        let step = tokio::task::spawn_blocking(move || {
            storms_turn.give_way();
            storms_turn
        });
        let mut calms_turn = calms_wait.await;
        calms_turn.give_way();
        assert!(!step.is_finished(), "it goes on when calm has ended");
        drop(calms_turn);
        let mut storms_turn = step.await.unwrap();
        assert!((&mut next_storm).now_or_never().is_none(), "what was half done comes before what has not begun");
        let mut calms_wait = turns.wait(&calm).boxed();
        assert!((&mut calms_wait).now_or_never().is_none());
        storms_turn.give_way();
        assert!((&mut calms_wait).now_or_never().is_none(), "calm computed just now");
        drop(storms_turn);
        drop(calms_wait.await);
        next_storm.await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_more_queries_are_half_done_than_may_run() {
        const TENANTS: usize = 12;
        let turns = Turns::with(2, LONG, Duration::ZERO);
        let half_done = Arc::new(Mutex::new((0usize, 0usize)));
        let queries = (0..TENANTS).map(|name| {
            let (turns, half_done) = (turns.clone(), half_done.clone());
            tokio::spawn(async move {
                let mut turn = turns.wait(&tenant(&format!("t{name}"))).await;
                let steps = move || {
                    for _ in 0..3 {
                        // Longer than it takes all of them to ask.
                        std::thread::sleep(Duration::from_millis(5));
                        {
                            let mut half_done = half_done.lock().unwrap();
                            half_done.0 += 1;
                            half_done.1 = half_done.1.max(half_done.0);
                        }
                        turn.give_way();
                        half_done.lock().unwrap().0 -= 1;
                    }
                };
                tokio::task::spawn_blocking(steps).await.unwrap();
            })
        });
        for query in queries.collect::<Vec<_>>() {
            timeout(Duration::from_secs(20), query).await.expect("nobody waits for ever").unwrap();
        }
        let (left, most) = *half_done.lock().unwrap();
        assert_eq!(left, 0);
        assert!((1..=3).contains(&most), "two that gave way, and one that asks whether to: {most}");
    }

    #[tokio::test]
    async fn who_gives_way_is_not_the_next_however_old_its_turn() {
        let turns = Turns::with(3, Duration::from_millis(1), Duration::ZERO);
        let [long, short, other] = ["long", "short", "other"].map(tenant);
        let mut longs_turn = turns.wait(&long).await;
        drop(turns.wait(&short).await);
        let others = [turns.wait(&other).await, turns.wait(&other).await];
        let mut shorts_wait = turns.wait(&short).boxed();
        assert!((&mut shorts_wait).now_or_never().is_none(), "all turns are taken");
        let step = tokio::task::spawn_blocking(move || {
            longs_turn.give_way();
            longs_turn
        });
        drop(timeout(Duration::from_secs(20), shorts_wait).await.expect("long did not take its own turn again"));
        drop(others);
        drop(step.await.unwrap());
    }

    #[tokio::test]
    async fn turns_go_round_among_those_who_wait() {
        let turns = Turns::with(1, LONG, LONG);
        let names = ["a", "a", "a", "b", "b", "c"].map(tenant);
        let mut running = turns.wait(&tenant("a")).now_or_never();
        let mut waiting: Vec<_> = names.iter().map(|name| (name.as_str(), turns.wait(name).boxed())).collect();
        assert!(waiting.iter_mut().all(|(_, wait)| wait.now_or_never().is_none()));
        let mut order = String::new();
        while !waiting.is_empty() {
            drop(running.take());
            waiting.retain_mut(|(name, wait)| {
                let turn = wait.now_or_never();
                let waits = turn.is_none();
                if !waits {
                    order.push_str(name);
                    running = turn;
                }
                waits
            });
        }
        assert_eq!(order, "bcabaa");
    }

    #[tokio::test]
    async fn who_left_is_passed_over() {
        let turns = Turns::with(3, LONG, LONG);
        let a = tenant("a");
        let first = turns.wait(&a).now_or_never().unwrap();
        let _second = turns.wait(&a).now_or_never().expect("a tenant alone has all turns but one");
        let (mut left, mut stays) = (turns.wait(&a).boxed(), turns.wait(&a).boxed());
        assert!((&mut left).now_or_never().is_none() && (&mut stays).now_or_never().is_none());
        drop(left);
        drop(first);
        assert!(stays.now_or_never().is_some());
    }

    proptest! {
        #[test]
        fn turns_are_never_too_many_never_shared_never_lost_and_nobody_waits_beside_a_free_one(
            at_once in 1..5usize,
            steps in prop::collection::vec((0..4usize, 0..3u8, 0..8usize), 1..120),
        ) {
            let clock = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let _clock = clock.enter();
            let names = ["a", "b", "c", "d"].map(tenant);
            let turns = Turns::with(at_once, LONG, LONG);
            let mut held = Vec::new();
            let mut waiting = Vec::new();
            for (who, what, which) in steps {
                match what {
                    0 => waiting.push((who, turns.wait(&names[who]).boxed())),
                    1 if !held.is_empty() => drop(held.swap_remove(which % held.len())),
                    2 if !waiting.is_empty() => drop(waiting.swap_remove(which % waiting.len())),
                    _ => (),
                }
                waiting.retain_mut(|(who, wait)| match wait.now_or_never() {
                    Some(turn) => {
                        held.push((*who, turn));
                        false
                    }
                    None => true,
                });
                let most = (at_once - 1).max(1);
                prop_assert!(held.len() <= most);
                prop_assert!(held.iter().all(|(holder, _)| *holder == held[0].0), "two tenants share the threads");
                if held.len() < most {
                    let is_alone = waiting.iter().all(|(who, _)| held.first().is_none_or(|(holder, _)| holder == who));
                    prop_assert!(waiting.is_empty() || !is_alone, "a free turn and somebody waiting");
                }
            }
        }
    }
}
