//! What the tests of all sources share: the services that they need, and what a table holds.

use super::{Fetched, Place};
use crate::{
    engine::{Encoding, Query, Table, encode, run, validate},
    testing::scope,
};

/// What the script of a service printed (`tests/services`). Without it a test passes unchecked, which CI forbids.
pub(super) fn service(variable: &str) -> Option<String> {
    let value = std::env::var(variable).ok();
    if value.is_none() {
        let required = std::env::var_os("KYROS_TEST_REQUIRE_SERVICES").is_some();
        assert!(!required, "{variable} is not set: see CONTRIBUTING.md on tests/services");
        eprintln!("unchecked: {variable} is not set");
    }
    value
}

/// A place of the dashboard `clv`.
pub(super) fn place(tenant: &str, dataset: &str) -> Place {
    Place::new(&scope(tenant, "clv"), &dataset.parse().unwrap())
}

/// All rows, a JSON object a line.
pub(super) fn lines(table: &Table) -> Vec<String> {
    let query = validate(&Query::from_pairs([]).unwrap(), table.schema()).unwrap().page("v").unwrap();
    // On a thread of its own: Polars panics on one that an asynchronous test runs on.
    let bytes = std::thread::scope(|scope| {
        let work = scope.spawn(|| encode(&run(table, &query).unwrap(), Encoding::NdJson).unwrap());
        work.join().unwrap()
    });
    String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
}

/// The rows of what a source has not given before.
pub(super) fn new_lines(fetched: Option<Fetched>) -> Vec<String> {
    lines(&fetched.expect("another version").table)
}
