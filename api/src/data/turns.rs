//! Whose turn it is to compute: so many at once, and the next turn goes to the tenant that has fewest.
//!
//! A tenant alone has all turns but one. That one is for whoever comes next, who then need not wait for a query of somebody
//! else's to end.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kyros_shared_config::TenantId;
use tokio::sync::oneshot;

/// Hands out turns.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Mutex<Queue>>);

struct Queue {
    free: usize,
    most_of_one: usize,
    running: HashMap<TenantId, usize>,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    tenant: TenantId,
    ready: oneshot::Sender<Turn>,
}

/// The right to compute until it is dropped.
pub(crate) struct Turn {
    turns: Turns,
    /// `None` once it was given back.
    tenant: Option<TenantId>,
}

impl Turns {
    /// So many turns at once; at least one.
    pub(crate) fn new(at_once: usize) -> Self {
        let free = at_once.max(1);
        let most_of_one = free.saturating_sub(1).max(1);
        Self(Arc::new(Mutex::new(Queue { free, most_of_one, running: HashMap::new(), waiting: VecDeque::new() })))
    }

    /// Waits for the tenant's turn. Who stops waiting loses nothing but the place.
    pub(crate) async fn wait(&self, tenant: &TenantId) -> Turn {
        let turn = {
            let (ready, turn) = oneshot::channel();
            let mut queue = self.lock();
            queue.waiting.push_back(Waiting { tenant: tenant.clone(), ready });
            self.hand_out(&mut queue);
            turn
        };
        // The sender is dropped with the queue alone, which this handle keeps.
        turn.await.unwrap_or_else(|_| Turn { turns: self.clone(), tenant: None })
    }

    fn hand_out(&self, queue: &mut Queue) {
        while queue.free > 0
            && let Some(next) = queue.next()
        {
            let Waiting { tenant, ready } = next;
            queue.free -= 1;
            *queue.running.entry(tenant.clone()).or_default() += 1;
            if let Err(mut unwanted) = ready.send(Turn { turns: self.clone(), tenant: Some(tenant) }) {
                // Given back here: dropping it would want the lock that is held.
                queue.give_back(unwanted.tenant.take());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Of those who may have one more, the tenant with the fewest turns; among equals, who waits longest.
    fn next(&mut self) -> Option<Waiting> {
        let running = |waiting: &Waiting| self.running.get(&waiting.tenant).copied().unwrap_or(0);
        let may = self.waiting.iter().enumerate().map(|(place, waiting)| (running(waiting), place));
        let (_, place) = may.filter(|(running, _)| *running < self.most_of_one).min()?;
        self.waiting.remove(place)
    }

    fn give_back(&mut self, tenant: Option<TenantId>) {
        let Some(tenant) = tenant else { return };
        self.free += 1;
        if let Some(running) = self.running.get_mut(&tenant) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(&tenant);
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.tenant.is_some() {
            let turns = self.turns.clone();
            let mut queue = turns.lock();
            queue.give_back(self.tenant.take());
            turns.hand_out(&mut queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    use super::*;

    fn tenant(name: &str) -> TenantId {
        name.parse().unwrap()
    }

    #[test]
    fn a_storm_leaves_a_turn_for_whoever_comes_next() {
        let turns = Turns::new(2);
        let (storm, other) = (tenant("storm"), tenant("other"));
        let first = turns.wait(&storm).now_or_never().unwrap();
        let mut second = Box::pin(turns.wait(&storm));
        assert!((&mut second).now_or_never().is_none());
        let others = turns.wait(&other).now_or_never();
        assert!(others.is_some(), "the other tenant does not wait");
        drop(first);
        assert!(second.now_or_never().is_some());
    }

    #[test]
    fn the_next_turn_goes_to_who_has_fewest_and_not_to_who_left() {
        let turns = Turns::new(3);
        let (a, b) = (tenant("a"), tenant("b"));
        let held = [&a, &a, &b].map(|tenant| turns.wait(tenant).now_or_never().unwrap());
        let mut of_a = Box::pin(turns.wait(&a));
        let left = Box::pin(turns.wait(&b));
        let mut of_b = Box::pin(turns.wait(&b));
        drop(left);
        let [first_of_a, _second_of_a, _of_b] = held;
        drop(first_of_a);
        // Now a and b have one each; a waits longer.
        assert!((&mut of_a).now_or_never().is_some());
        assert!((&mut of_b).now_or_never().is_some(), "what a gave back at once is b's");
    }

    proptest! {
        #[test]
        fn turns_are_never_too_many_never_lost_and_nobody_waits_beside_a_free_one(
            at_once in 1..5usize,
            steps in prop::collection::vec((0..4usize, 0..3u8, 0..8usize), 1..120),
        ) {
            let names = ["a", "b", "c", "d"].map(tenant);
            let turns = Turns::new(at_once);
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
                prop_assert!(held.len() <= at_once);
                let of = |who: usize| held.iter().filter(|(holder, _)| *holder == who).count();
                let most = (at_once - 1).max(1);
                prop_assert!((0..4).all(|who| of(who) <= most));
                if held.len() < at_once {
                    prop_assert!(waiting.iter().all(|(who, _)| of(*who) == most), "a free turn and somebody waiting");
                }
            }
        }
    }
}
