//! The queries of a run, as paths and as requests. A new query differs from all before it in a number that hardly changes what
//! it finds, so that no cache can answer it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use crate::bench::load::Requests;

/// Rows that a page of them has.
const PAGE_ROWS: u64 = 1_000;
/// Where pages begin, before they begin at the first row again: the smallest tenant has more rows than that and a page.
const PAGES: u64 = 90_000;
/// Revenue from here on counts, plus a millionth for each query before: most rows of any tenant, and as many for all queries.
const FROM: f64 = 8.0;
/// As many as the dataset has that is streamed.
pub(super) const STREAM_ROWS: u64 = 400_000;

/// The number that makes a group-by a new one.
pub(super) fn literal(number: u64) -> f64 {
    FROM + number as f64 / 1e6
}

/// Two keys, four aggregates, a filter: a new one for each number.
pub(super) fn groups(number: u64) -> String {
    groups_from(literal(number))
}

/// The one that is asked again and again; no new one is the same.
pub(super) fn repeated_groups() -> String {
    groups_from(FROM - 1.0)
}

fn groups_from(from: f64) -> String {
    format!(
        "/api/data/transactions?group_by=channel,country\
         &agg=revenue:sum,revenue:mean,margin:p95,*:count&filter=revenue:ge:{from:.6}"
    )
}

/// A thousand rows of all columns.
pub(super) fn page(number: u64) -> String {
    format!("/api/data/transactions?limit={PAGE_ROWS}&offset={}", number % PAGES)
}

/// All rows of the largest tenant, as an Arrow stream.
pub(super) fn stream() -> String {
    format!("/api/data/transactions?format=arrow&limit={STREAM_ROWS}")
}

/// A request for a path, with a token, and perhaps with the tag of an answer that is there already.
pub(super) fn get(address: SocketAddr, path: &str, token: &str, etag: Option<&str>) -> Arc<[u8]> {
    let known = etag.map(|etag| format!("If-None-Match: {etag}\r\n")).unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: */*\r\nAuthorization: Bearer {token}\r\n{known}\r\n")
        .into_bytes()
        .into()
}

/// A request to exchange a user's token, in the short form.
pub(super) fn exchange(address: SocketAddr, tenant: &str, dashboard: &str, user_token: &str) -> Arc<[u8]> {
    let body = format!(r#"{{"tenant_id":"{tenant}","dashboard":"{dashboard}"}}"#);
    format!(
        "POST /api/token/exchange HTTP/1.1\r\nHost: {address}\r\nAccept: */*\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nAuthorization: Bearer {user_token}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
    .into()
}

/// Counts new queries over all rounds.
#[derive(Clone, Default)]
pub(super) struct Numbers(Arc<AtomicU64>);

impl Numbers {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    /// Another query each time, of the tokens' tenants in turn.
    pub(super) fn new_each_time(&self, address: SocketAddr, tokens: Vec<String>, path: fn(u64) -> String) -> Requests {
        let numbers = self.clone();
        Arc::new(move || {
            let number = numbers.next();
            let turn = usize::try_from(number).unwrap_or_default() % tokens.len().max(1);
            let token = tokens.get(turn).map(String::as_str).unwrap_or_default();
            get(address, &path(number), token, None)
        })
    }
}

/// These requests, one after the other, and then again. There must be one.
pub(super) fn in_turn(requests: Vec<Arc<[u8]>>) -> Requests {
    let next = AtomicUsize::new(0);
    Arc::new(move || requests[next.fetch_add(1, Ordering::Relaxed) % requests.len()].clone())
}

#[cfg(test)]
mod tests {
    use kyros_api::engine::Query;

    use super::*;

    fn text(request: &[u8]) -> String {
        String::from_utf8(request.to_vec()).unwrap()
    }

    #[test]
    fn no_two_new_queries_are_the_same() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let tokens = vec!["one".to_owned(), "two".to_owned()];
        let requests = Numbers::default().new_each_time(address, tokens, groups);
        let (first, second, third) = (text(&requests()), text(&requests()), text(&requests()));
        assert!(first.contains("revenue:ge:8.000000 HTTP") && first.contains("Bearer one\r\n"), "{first}");
        assert!(second.contains("revenue:ge:8.000001 HTTP") && second.contains("Bearer two\r\n"), "{second}");
        assert!(third.contains("revenue:ge:8.000002 HTTP") && third.contains("Bearer one\r\n"), "{third}");
    }

    #[test]
    fn every_query_is_one() {
        for path in [groups(7), repeated_groups(), page(7), page(PAGES)] {
            let (_, query) = path.split_once('?').unwrap();
            Query::from_pairs(query.split('&').map(|pair| pair.split_once('=').unwrap())).unwrap();
        }
    }

    #[test]
    fn requests_take_turns() {
        let requests = in_turn(vec![Arc::from(*b"a"), Arc::from(*b"b")]);
        assert_eq!([requests(), requests(), requests()].map(|request| text(&request)), ["a", "b", "a"]);
    }
}
