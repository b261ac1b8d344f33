//! What the data API's requests and answers look like, for its `OpenAPI` document alone: the engine reads and writes them
//! itself, and knows no HTTP.
#![expect(dead_code, reason = "types that only describe")]

use std::borrow::Cow;

use utoipa::{
    IntoResponses, PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, schema::Type},
};

use crate::{
    engine::query::{Func, Grain, Op},
    openapi::ProblemDocument,
};

/// Words of the engine as a schema: what it reads is what the document lists.
macro_rules! words {
    ($($type:ident as $name:literal),*) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                let words = $type::ALL.iter().map(|word| word.name());
                ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        }
    )*};
}

words!(Op as "Operation", Func as "Function", Grain as "Grain");

/// A query as a body. An absent member and a null are the same; every object is closed.
#[derive(ToSchema)]
#[schema(as = Query)]
pub(crate) struct QueryBody {
    /// The columns of the answer, at most 256; empty for all. Excludes `group_by` and `agg`.
    select: Option<Vec<String>>,
    /// The keys to group by, at most 8.
    group_by: Option<Vec<GroupKey>>,
    /// What to compute for every group, at most 32 figures; without keys, of all rows.
    agg: Option<Vec<Aggregate>>,
    /// Which rows count.
    filter: Option<Filter>,
    /// The order, by columns of the answer, at most 8. Nulls come last.
    sort: Option<Vec<Sort>>,
    /// The most rows of the answer; 10,000 when not given.
    #[schema(maximum = 1_000_000)]
    limit: Option<u32>,
    /// Rows to skip.
    offset: Option<u32>,
    /// Where the page before ended; instead of `offset`.
    cursor: Option<String>,
    /// Whether to count the rows of all pages.
    total: Option<bool>,
}

/// A key.
#[derive(ToSchema)]
struct GroupKey {
    /// The column.
    column: String,
    /// How coarse a time column is cut.
    every: Option<Grain>,
}

/// A figure.
#[derive(ToSchema)]
struct Aggregate {
    /// The column, or `*` for the rows themselves (`count` only).
    column: String,
    /// What to compute.
    r#fn: Func,
    /// The name of the output: `column_fn` when not given.
    #[schema(pattern = "^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
    r#as: Option<String>,
}

/// A condition: exactly one of `and`, `or` and `not`, at most 4 deep, or a comparison; at most 64 comparisons in all.
#[derive(ToSchema)]
#[schema(no_recursion)]
struct Filter {
    /// All of these hold.
    and: Option<Vec<Filter>>,
    /// At least one of these holds.
    or: Option<Vec<Filter>>,
    /// This does not hold.
    not: Option<Box<Filter>>,
    /// The column that is compared.
    column: Option<String>,
    /// The comparison.
    op: Option<Op>,
    /// A text, number or boolean; a list of two for `between`, of at most 1,000 for `in` and `not_in`; none for the tests of
    /// null.
    value: Option<serde_json::Value>,
}

/// A key of the order.
#[derive(ToSchema)]
struct Sort {
    /// A column of the answer.
    column: String,
    /// Whether the largest comes first.
    desc: Option<bool>,
}

/// The rows of an answer. With `format=columns` there is `columns`, a list of values by name, in place of `data`.
#[derive(ToSchema)]
pub(crate) struct Rows {
    /// A row each, its values by name.
    data: Option<Vec<serde_json::Map<String, serde_json::Value>>>,
    /// A column each, its values in the rows' order.
    columns: Option<serde_json::Map<String, serde_json::Value>>,
    /// What the answer says about itself.
    meta: Meta,
}

#[derive(ToSchema)]
struct Meta {
    /// Rows of this page.
    rows: usize,
    /// Rows of all pages, if `total` asked for it.
    total: Option<usize>,
    /// Whether there are more pages.
    truncated: bool,
    /// Where the next page begins.
    next_cursor: Option<String>,
}

/// A dataset's columns.
#[derive(ToSchema)]
pub(crate) struct DatasetSchema {
    /// Its name.
    dataset: String,
    /// How many rows there are.
    rows: usize,
    /// The columns, in the data's order.
    columns: Vec<ColumnView>,
}

#[derive(ToSchema)]
struct ColumnView {
    /// Its name.
    name: String,
    /// What its values are: a word, or an object with the details of a decimal or a datetime.
    kind: serde_json::Value,
    /// What it is for: a hint, not a rule.
    role: Role,
    /// The comparisons that a filter may make.
    operations: Vec<Op>,
    /// The figures that may be computed.
    aggregates: Vec<Func>,
    /// The grains that it can be cut to.
    grains: Vec<Grain>,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum Role {
    Dimension,
    Measure,
    Time,
}

/// What a request that names a dataset can be answered with.
#[derive(IntoResponses)]
pub(crate) enum Absent {
    /// No such dataset for this token: it does not exist, is not granted, or is another tenant's
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(ProblemDocument),
}

/// What a query can be answered with instead of rows.
#[derive(IntoResponses)]
pub(crate) enum Unanswered {
    /// No such format
    #[response(status = 406, content_type = "application/problem+json")]
    NotAcceptable(ProblemDocument),
    /// The data changed since the cursor was given
    #[response(status = 410, content_type = "application/problem+json")]
    CursorExpired(ProblemDocument),
    /// The query string is longer than 8 KiB
    #[response(status = 414, content_type = "application/problem+json")]
    TooLong(ProblemDocument),
    /// The query does not fit the dataset
    #[response(status = 422, content_type = "application/problem+json")]
    InvalidQuery(ProblemDocument),
}

/// What a body can be answered with.
#[derive(IntoResponses)]
pub(crate) enum Unreadable {
    /// The body is larger than 64 KiB
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(ProblemDocument),
    /// The body is not application/json
    #[response(status = 415, content_type = "application/problem+json")]
    MediaType(ProblemDocument),
}

/// What every request for data can be answered with.
#[derive(IntoResponses)]
pub(crate) enum Refused {
    /// The request is malformed, or tries to choose a tenant
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(ProblemDocument),
    /// No valid tenant token
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(ProblemDocument),
    /// The tenant asks more often, or for more at once, than its limits allow; Retry-After says when to come again
    #[response(status = 429, content_type = "application/problem+json")]
    Busy(ProblemDocument),
    /// Our fault; the id in `instance` finds it in the log
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(ProblemDocument),
    /// The data cannot be read right now, or grants are being changed
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(ProblemDocument),
    /// The query, or reading the data, took too long
    #[response(status = 504, content_type = "application/problem+json")]
    Deadline(ProblemDocument),
}
