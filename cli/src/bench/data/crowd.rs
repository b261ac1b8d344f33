//! Many at once, on an API that has all CPUs: what memory that takes, and what one tenant feels of another's storm.

use std::time::Duration;

use anyhow::Context as _;

use super::{
    installation::Api,
    queries::{Numbers, groups},
};
use crate::bench::{
    Figure,
    load::{Closed, Load, OPEN_CONNECTIONS, open},
    spread::{Spread, ratio},
};

/// Queries at once while memory is watched, and the storm's connections.
const CONNECTIONS: usize = 64;
/// How long memory is watched.
const MEMORY_SLICE: Duration = Duration::from_secs(5);
/// What an allocator gives back after a load, it has given back by then.
const SETTLED: Duration = Duration::from_secs(2);
/// The calm tenant's requests a second: a sixth of what one CPU does.
const CALM_RATE: f64 = 20.0;
/// A hundred requests, so that there is a 99th percentile.
const CALM_SLICE: Duration = Duration::from_secs(5);
/// The storm blows for this long before the calm tenant is watched.
const GATHERING: Duration = Duration::from_millis(500);

/// Resident memory over that of an API which has every frame and answers nobody.
pub(super) async fn memory(api: &Api<'_>) -> anyhow::Result<Figure> {
    api.load_everything().await?;
    tokio::time::sleep(SETTLED).await;
    let (before_mib, _) = api.process.memory()?;
    // From now on the kernel notes a new maximum (proc(5)).
    std::fs::write(format!("/proc/{}/clear_refs", api.process.0.id()), "5").context("resetting the most memory")?;
    let requests = Numbers::default().new_each_time(api.address, api.tokens().await?, groups);
    let load = Load { may_be_refused: true, ..Load::new(api.address, requests) };
    let mut closed = Closed::start(&load, CONNECTIONS);
    closed.watch(MEMORY_SLICE).await?;
    let counts = closed.end().await?;
    let (_, most_mib) = api.process.memory()?;
    let seen = format!(
        "{:.0} MiB above {before_mib:.0} MiB; {} answered, {} refused",
        most_mib - before_mib,
        counts.answered,
        counts.refused
    );
    Ok(Figure::new(format!("memory above the frames, {CONNECTIONS} queries at once, all CPUs"), seen, "≤ 150 MiB"))
}

/// What one round showed of the calm tenant, in milliseconds.
struct Fairness {
    alone_p99: f64,
    storm_p99: f64,
}

/// The calm tenant's 99th percentile in another's storm, to that of the same tenant alone.
pub(super) async fn fairness(api: &Api<'_>, rounds: usize, progress: impl Fn(usize)) -> anyhow::Result<Figure> {
    api.load_everything().await?;
    let (calm_numbers, storm_numbers) = (Numbers::default(), Numbers::default());
    let (mut seen, mut answered, mut refused) = (Vec::new(), 0, 0);
    for round in 1..=rounds {
        progress(round);
        let new = async |numbers: &Numbers, tenant: &str| {
            let token = api.token(tenant, "clv").await?;
            anyhow::Ok(Load::new(api.address, numbers.new_each_time(api.address, vec![token], groups)))
        };
        let calm = new(&calm_numbers, "acme").await?;
        let storm = Load { may_be_refused: true, ..new(&storm_numbers, "globex").await? };
        let alone = open(&calm, CALM_SLICE, CALM_RATE).await.context("the calm tenant alone")?;
        let mut storm = Closed::start(&storm, CONNECTIONS);
        storm.watch(GATHERING).await.context("the storm")?;
        let stormy = open(&calm, CALM_SLICE, CALM_RATE).await.context("the calm tenant in the storm")?;
        let counts = storm.end().await.context("the storm")?;
        answered += counts.answered;
        refused += counts.refused;
        seen.push(Fairness { alone_p99: alone.p99_micros / 1e3, storm_p99: stormy.p99_micros / 1e3 });
    }
    let median = |value: fn(&Fairness) -> f64| Spread::of(seen.iter().map(value)).map_or(0.0, |spread| spread.median);
    let text = format!(
        "{}; {:.1} ms alone, {:.1} ms in the storm ({answered} of that answered, {refused} refused)",
        ratio(Spread::of(seen.iter().map(|round| round.storm_p99 / round.alone_p99))),
        median(|round| round.alone_p99),
        median(|round| round.storm_p99),
    );
    let what = format!(
        "p99 of a tenant at {CALM_RATE} new group-bys/s on {OPEN_CONNECTIONS} connections, while another storms on \
         {CONNECTIONS}, to alone, all CPUs"
    );
    Ok(Figure::new(what, text, "≤ 1.5"))
}
