//! Rounds on one CPU: the API and Polars take turns, the first of a round being the second of the next. The machine's moods
//! change slowly, so what two did in one round can be compared where two runs cannot.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::{
    DataArgs, Part,
    dataset::TENANTS,
    installation::Api,
    pace::{Pace, cpu, rate, rate_of_a_cpu},
    peer::Peer,
    queries::{Numbers, STREAM_ROWS, get, groups, in_turn, page, repeated_groups, stream},
};
use crate::bench::{
    Figure,
    http1::Connection,
    load::{Load, Requests, closed, same},
    processes::CpuTimes,
    signatures::Signatures,
    spread::{compare, ratio},
};

/// Clients with queries that have to be worked for.
pub(super) const CLIENTS: usize = 8;
/// Connections where an answer is a look-up.
const CONNECTIONS: usize = 64;
/// User tokens that are new in each round; no round comes to their end.
const NEW_TOKENS: usize = 16_384;
/// Signatures of each sort in a round.
const SIGNATURES: u32 = 1_000;
/// Streams in a round.
const STREAMS: u64 = 4;
/// The largest tenant, which is asked where one suffices.
pub(super) const TENANT: &str = TENANTS[0].0;

/// What was seen, round by round.
#[derive(Default)]
pub(super) struct Rounds {
    groups: Vec<Pace>,
    groups_by_polars: Vec<Pace>,
    groups_by_pandas: Vec<Pace>,
    pages: Vec<Pace>,
    repeated: Vec<Pace>,
    unchanged: Vec<Pace>,
    exchanges: Vec<Pace>,
    exchanges_of_one: Vec<Pace>,
    /// One verified and one made, as an exchange does.
    signatures: Vec<Pace>,
    streams: Vec<Pace>,
    streams_by_polars: Vec<Pace>,
    /// Why there are no streams.
    no_streams: Option<String>,
    count: usize,
    people: usize,
    numbers: Numbers,
}

/// What the API is measured beside.
pub(super) struct Peers {
    pub(super) polars: Peer,
    pub(super) pandas: Option<Peer>,
}

impl Rounds {
    /// Goes through all that is wanted once.
    pub(super) async fn go_on(&mut self, api: &Api<'_>, peers: &mut Peers, arguments: &DataArgs) -> anyhow::Result<()> {
        // Every other round begins with the other one.
        self.count += 1;
        let polars_first = self.count.is_multiple_of(2);
        let token = api.token(TENANT, "clv").await?;
        let slice = arguments.slice;
        let asking = Asking { api, slice };
        if arguments.wants(Part::Groups) {
            if polars_first {
                self.groups_by_polars.push(peers.polars.groups(slice)?);
            }
            let new = self.numbers.new_each_time(api.address, vec![token.clone()], groups);
            self.groups.push(asking.for_answers(new, CLIENTS).await.context("group-bys")?);
            if !polars_first {
                self.groups_by_polars.push(peers.polars.groups(slice)?);
            }
            if let Some(pandas) = &mut peers.pandas {
                self.groups_by_pandas.push(pandas.groups(slice).context("pandas")?);
            }
        }
        if arguments.wants(Part::Pages) {
            let new = self.numbers.new_each_time(api.address, vec![token.clone()], page);
            self.pages.push(asking.for_answers(new, CLIENTS).await.context("pages of rows")?);
        }
        if arguments.wants(Part::LookUps) {
            self.look_ups(&asking).await?;
        }
        if arguments.wants(Part::Exchanges) {
            self.exchanges(&asking).await?;
        }
        if arguments.wants(Part::Streams) {
            self.streams(api, &mut peers.polars, &token, polars_first).await.context("streams")?;
        }
        Ok(())
    }

    /// Each tenant's own query again and again: one tenant alone is not allowed as many requests as there will be.
    async fn look_ups(&mut self, asking: &Asking<'_>) -> anyhow::Result<()> {
        let Asking { api, .. } = asking;
        let (path, mut plain, mut known) = (repeated_groups(), Vec::new(), Vec::new());
        for token in api.tokens().await? {
            let etag = api.etag(&path, &token).await?;
            plain.push(get(api.address, &path, &token, None));
            known.push(get(api.address, &path, &token, Some(&etag)));
        }
        self.repeated.push(asking.for_answers(in_turn(plain), CONNECTIONS).await.context("a repeated query")?);
        let load = Load { status: 304, ..Load::new(api.address, in_turn(known)) };
        self.unchanged.push(asking.with(&load, CONNECTIONS).await.context("a query with If-None-Match")?);
        Ok(())
    }

    async fn exchanges(&mut self, asking: &Asking<'_>) -> anyhow::Result<()> {
        let requests = asking.api.exchanges(self.people..self.people + NEW_TOKENS)?;
        self.people += NEW_TOKENS;
        let one = requests.first().cloned().context("a token")?;
        self.exchanges.push(asking.for_answers(in_turn(requests), CONNECTIONS).await.context("exchanges")?);
        self.exchanges_of_one.push(asking.for_answers(same(one), CONNECTIONS).await.context("exchanges of one")?);
        let signatures = Signatures::new()?;
        let took = signatures.verify(SIGNATURES)? + signatures.sign(SIGNATURES)?;
        self.signatures.push(Pace::of(SIGNATURES.into(), took, took)?);
        Ok(())
    }

    async fn streams(&mut self, api: &Api<'_>, peer: &mut Peer, token: &str, polars_first: bool) -> anyhow::Result<()> {
        if self.no_streams.is_none() {
            self.no_streams = api.refusal(&stream(), token).await?;
        }
        if self.no_streams.is_some() {
            return Ok(());
        }
        if polars_first {
            self.streams_by_polars.push(peer.streams(STREAMS)?);
        }
        self.streams.push(stream_times(api, token).await?);
        if !polars_first {
            self.streams_by_polars.push(peer.streams(STREAMS)?);
        }
        Ok(())
    }

    /// The lines about what was seen, of the parts that were wanted.
    pub(super) fn figures(&self, arguments: &DataArgs) -> Vec<Figure> {
        let wanted = self.all_figures().into_iter().filter(|(part, _)| arguments.wants(*part));
        let mut figures: Vec<_> = wanted.map(|(_, figure)| figure).collect();
        if !self.groups_by_pandas.is_empty() {
            figures.push(self.beside_pandas());
        }
        figures
    }

    fn beside_pandas(&self) -> Figure {
        let to_ours = compare(&self.groups_by_pandas, &self.groups, |pandas, ours| Some(pandas.cpu_ms / ours.cpu_ms));
        Figure::new(
            "the group-by: CPU per query of pandas at its best, to ours",
            format!("{}; pandas {}", ratio(to_ours), cpu(&self.groups_by_pandas)),
            "≥ 2.2",
        )
    }

    fn all_figures(&self) -> Vec<(Part, Figure)> {
        let to = |ours: &[Pace], other: &[Pace]| {
            ratio(compare(ours, other, |ours, other| Some(ours.per_second / other.per_second)))
        };
        let query = format!("group-by, 2 keys, 4 aggregates, new each time, {CLIENTS} clients");
        let one_cpu = |what: &str| format!("{what}, {CONNECTIONS} connections: per second of its CPU's time");
        vec![
            (
                Part::Groups,
                Figure::new(
                    format!("{query}: rate to Polars in-process"),
                    format!(
                        "{}; {} to {}",
                        to(&self.groups, &self.groups_by_polars),
                        rate(&self.groups),
                        rate(&self.groups_by_polars)
                    ),
                    "≥ 0.85",
                ),
            ),
            (
                Part::Groups,
                Figure::new(
                    "the same: CPU per query",
                    format!("{}, Polars {}", cpu(&self.groups), cpu(&self.groups_by_polars)),
                    "",
                ),
            ),
            (
                Part::Pages,
                Figure::new(
                    format!("1,000 rows, new each time, {CLIENTS} clients: CPU per query"),
                    format!("{}; {}", cpu(&self.pages), rate(&self.pages)),
                    "",
                ),
            ),
            (Part::LookUps, Figure::new(one_cpu("the same query again"), rate_of_a_cpu(&self.repeated), "≥ 20,000/s")),
            (Part::LookUps, Figure::new("the same: CPU per query", cpu(&self.repeated), "")),
            (Part::LookUps, Figure::new(one_cpu("If-None-Match, 304"), rate_of_a_cpu(&self.unchanged), "≥ 25,000/s")),
            (
                Part::Exchanges,
                Figure::new(
                    one_cpu("token exchange, no token seen before"),
                    rate_of_a_cpu(&self.exchanges),
                    "≥ 10,000/s",
                ),
            ),
            (
                Part::Exchanges,
                Figure::new(
                    "the same: CPU per exchange, to that of an ES256 signature verified and one made",
                    format!(
                        "{}; {} to {}",
                        ratio(compare(&self.exchanges, &self.signatures, |ours, other| Some(
                            ours.cpu_ms / other.cpu_ms
                        ))),
                        cpu(&self.exchanges),
                        cpu(&self.signatures)
                    ),
                    "",
                ),
            ),
            (
                Part::Exchanges,
                Figure::new(one_cpu("token exchange, one token"), rate_of_a_cpu(&self.exchanges_of_one), ""),
            ),
            (
                Part::Streams,
                Figure::new(
                    "400,000 rows as an Arrow stream: rate to Polars from Parquet to IPC",
                    self.no_streams.as_ref().map_or_else(
                        || {
                            format!(
                                "{}; {} to {}; CPU {} to {}",
                                to(&self.streams, &self.streams_by_polars),
                                rate(&self.streams),
                                rate(&self.streams_by_polars),
                                cpu(&self.streams),
                                cpu(&self.streams_by_polars)
                            )
                        },
                        |reason| format!("not served: {reason}"),
                    ),
                    "≥ 0.8",
                ),
            ),
        ]
    }
}

/// Slices of closed load.
struct Asking<'a> {
    api: &'a Api<'a>,
    slice: Duration,
}

impl Asking<'_> {
    async fn for_answers(&self, requests: Requests, connections: usize) -> anyhow::Result<Pace> {
        self.with(&Load::new(self.api.address, requests), connections).await
    }

    async fn with(&self, load: &Load, connections: usize) -> anyhow::Result<Pace> {
        let pids = [self.api.process.0.id()];
        Pace::from_load(closed(load, connections, self.slice, &pids).await?)
    }
}

async fn stream_times(api: &Api<'_>, token: &str) -> anyhow::Result<Pace> {
    /// A row of any dataset is longer.
    const LEAST_BYTES: u64 = STREAM_ROWS * 8;
    let (request, pids) = (get(api.address, &stream(), token, None), [api.process.0.id()]);
    let mut connection = Connection::open_wide(api.address).await?;
    let (cpu, begun) = (CpuTimes::of(&pids)?, Instant::now());
    for _ in 0..STREAMS {
        let bytes = connection.get(&request).await?.body_bytes;
        if bytes < LEAST_BYTES {
            bail!("{bytes} bytes are no {STREAM_ROWS} rows");
        }
    }
    Pace::of(STREAMS, begun.elapsed(), CpuTimes::of(&pids)?.since(&cpu))
}
