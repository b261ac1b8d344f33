//! Contenders at a hundredth of the real timing, with partitions of every length and answers that get lost.

use std::sync::atomic::{AtomicBool, Ordering};

use rand::{RngExt as _, SeedableRng as _};

use super::*;

/// A hundredth of what runs in a cluster, in the same proportions.
const FAST: Timing = Timing {
    lease: Duration::from_millis(150),
    renew_deadline: Duration::from_millis(100),
    retry: Duration::from_millis(20),
    attempt: Duration::from_millis(40),
};

/// A lease in memory, compared and swapped like the API server's.
#[derive(Clone, Default)]
struct Memory {
    lease: Arc<Mutex<Option<Record>>>,
}

impl Memory {
    fn put(&self, record: Record, seen: Option<&str>) -> Result<Record, ClusterError> {
        let mut lease = self.lease.lock().unwrap();
        let version = lease.as_ref().map(|record| record.version.clone());
        if version.as_deref() != seen {
            return Err(ClusterError::Conflict { action: "put".into(), reason: "changed".into() });
        }
        let next = version.map_or(1, |version| version.parse::<u64>().unwrap() + 1);
        Ok(lease.insert(Record { version: next.to_string(), ..record }).clone())
    }
}

/// One contender's way to the lease, which may be cut, and which may lie: a write that took effect and is told as failed.
#[derive(Clone)]
struct Link {
    memory: Memory,
    is_cut: Arc<AtomicBool>,
    lies: Arc<AtomicBool>,
}

impl Link {
    fn new(memory: &Memory) -> Self {
        Self { memory: memory.clone(), is_cut: Arc::default(), lies: Arc::default() }
    }

    async fn pass(&self) -> Result<(), ClusterError> {
        tokio::time::sleep(Duration::from_micros(50)).await;
        if self.is_cut.load(Ordering::Relaxed) { Err(ClusterError::Timeout("cut".into())) } else { Ok(()) }
    }

    fn tell(&self, done: Result<Record, ClusterError>) -> Result<Record, ClusterError> {
        if self.lies.load(Ordering::Relaxed) { Err(ClusterError::Timeout("lost answer".into())) } else { done }
    }
}

impl LeaseStore for Link {
    async fn get(&self) -> Result<Option<Record>, ClusterError> {
        self.pass().await?;
        Ok(self.memory.lease.lock().unwrap().clone())
    }

    async fn create(&self, holder: &str, duration: Duration) -> Result<Record, ClusterError> {
        self.pass().await?;
        let record = Record { holder: holder.into(), duration, version: String::new(), transitions: 0 };
        self.tell(self.memory.put(record, None))
    }

    async fn replace(&self, seen: &Record, next: &Claim<'_>) -> Result<Record, ClusterError> {
        self.pass().await?;
        let record = Record {
            holder: next.holder.into(),
            duration: next.duration,
            version: String::new(),
            transitions: seen.transitions + i32::from(next.is_takeover),
        };
        self.tell(self.memory.put(record, Some(&seen.version)))
    }
}

/// A contender that stands again whenever it lost; as a process would that is started again.
fn contend(link: Link, name: &'static str, fences: &Arc<Mutex<Vec<(&'static str, Fence)>>>) {
    let fences = fences.clone();
    tokio::spawn(async move {
        let never = CancellationToken::new();
        loop {
            let mut elector = Elector::new(link.clone(), name, FAST);
            fences.lock().unwrap().push((name, elector.fence()));
            elector.acquire(&never).await;
            let _ = elector.hold(&never).await;
        }
    });
}

fn leaders(fences: &Mutex<Vec<(&'static str, Fence)>>) -> Vec<&'static str> {
    let fences = fences.lock().unwrap();
    fences.iter().filter(|(_, fence)| fence.check().is_ok()).map(|(name, _)| *name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_never_two_leaders_whatever_is_cut_or_lost() {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let memory = Memory::default();
    let fences = Arc::default();
    let names = ["one", "two", "three"];
    let links: Vec<Link> = names.iter().map(|_| Link::new(&memory)).collect();
    for (link, name) in links.iter().zip(names) {
        contend(link.clone(), name, &fences);
    }
    let (mut led, mut changes, mut last) = (0, 0, "");
    for _ in 0..8_000 {
        if random.random_bool(0.01) {
            let link = &links[random.random_range(0..links.len())];
            link.is_cut.store(random.random_bool(0.5), Ordering::Relaxed);
            link.lies.store(random.random_bool(0.2), Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        let now = leaders(&fences);
        assert!(now.len() <= 1, "{now:?} lead at once");
        if let [leader] = now[..] {
            led += 1;
            changes += u32::from(leader != last);
            last = leader;
        }
    }
    assert!(led > 1_000 && changes > 3, "led {led} of 8,000 moments, {changes} changes: the test tested nothing");
}

#[tokio::test]
async fn a_leader_that_vanishes_is_followed_and_not_before_its_lease_ends() {
    let memory = Memory::default();
    let never = CancellationToken::new();
    let mut first = Elector::new(Link::new(&memory), "first", FAST);
    assert!(first.acquire(&never).await);
    let mut second = Elector::new(Link::new(&memory), "second", FAST);
    let begun = Instant::now();
    drop(first);
    assert!(second.acquire(&never).await);
    assert!(begun.elapsed() >= FAST.lease, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_lease_that_is_given_back_is_taken_at_once() {
    let memory = Memory::default();
    let never = CancellationToken::new();
    let mut first = Elector::new(Link::new(&memory), "first", FAST);
    assert!(first.acquire(&never).await);
    first.release().await;
    assert_eq!(first.fence().check(), Err(Lost));
    let mut second = Elector::new(Link::new(&memory), "second", FAST);
    assert!(second.attempt().await.unwrap());
}

#[tokio::test]
async fn a_leader_that_cannot_renew_stops_before_anybody_follows() {
    let memory = Memory::default();
    let never = CancellationToken::new();
    let link = Link::new(&memory);
    let mut leader = Elector::new(link.clone(), "leader", FAST);
    assert!(leader.acquire(&never).await);
    link.is_cut.store(true, Ordering::Relaxed);
    assert_eq!(leader.hold(&never).await, Err(Lost));
    assert_eq!(leader.fence().check(), Err(Lost));
}

#[tokio::test]
async fn a_stopped_process_finds_its_fence_closed_when_it_goes_on() {
    let memory = Memory::default();
    let mut leader = Elector::new(Link::new(&memory), "leader", FAST);
    assert!(leader.acquire(&CancellationToken::new()).await);
    assert!(leader.fence().check().is_ok());
    std::thread::sleep(FAST.renew_deadline);
    assert_eq!(leader.fence().check(), Err(Lost), "no task ran in between");
}
