//! The meaning of a query, row by row: slow, plain, and without Polars.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

use crate::engine::issue::Origin;
use crate::engine::query::{Aggregate, Filter, Func, GroupKey, Op, Predicate, Query, Scalar, Sort};

pub(super) struct Row {
    pub(super) segment: Option<&'static str>,
    pub(super) units: Option<i32>,
    pub(super) revenue: Option<f64>,
    pub(super) active: Option<bool>,
}

const COLUMNS: [&str; 4] = ["segment", "units", "revenue", "active"];
const SEGMENTS: [&str; 4] = ["a", "ab", "b", ""];

/// Xorshift: no crate is worth it.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    fn small(&mut self) -> i32 {
        i32::try_from(self.below(5)).unwrap() - 2
    }
}

pub(super) fn rows(random: &mut Random) -> Vec<Row> {
    let count = random.below(25);
    let row = |_| Row {
        segment: (random.below(5) > 0).then(|| random.pick(&SEGMENTS)),
        units: (random.below(5) > 0).then(|| random.small()),
        revenue: (random.below(5) > 0).then(|| f64::from(random.small()) / 2.0),
        active: (random.below(5) > 0).then(|| random.below(2) == 0),
    };
    (0..count).map(row).collect()
}

pub(super) fn query(random: &mut Random) -> Query {
    let mut query = Query::from_pairs([]).unwrap();
    query.origin = Origin::Body;
    if random.below(3) > 0 {
        let keys = random.below(3);
        let from = random.below(COLUMNS.len() - keys + 1);
        query.group_by = COLUMNS[from..from + keys]
            .iter()
            .map(|name| GroupKey { column: (*name).to_owned(), every: None })
            .collect();
        let figures = if keys == 0 { 1 + random.below(4) } else { random.below(4) };
        query.agg = (0..figures).map(|index| figure(index, random)).collect();
    } else {
        query.select = COLUMNS[random.below(4)..].iter().map(|name| (*name).to_owned()).collect();
    }
    query.filter = filter(random, 0);
    let keys = query.group_by.iter().map(|key| key.column.clone());
    let mut outputs: Vec<_> =
        query.select.iter().cloned().chain(keys).chain(query.agg.iter().map(|figure| figure.alias.clone())).collect();
    // A mean may differ in its last digit, and then so may the order.
    outputs.retain(|name| !query.agg.iter().any(|figure| &figure.alias == name && figure.func != Func::Count));
    for _ in 0..random.below(3) {
        if !outputs.is_empty() {
            let column = outputs.swap_remove(random.below(outputs.len()));
            query.sort.push(Sort { column, desc: random.below(2) == 0 });
        }
    }
    query.limit = u32::try_from(random.below(30)).unwrap();
    query.total = true;
    query.offset = u32::try_from(random.below(4)).unwrap();
    query
}

fn figure(index: usize, random: &mut Random) -> Aggregate {
    let alias = format!("figure_{index}");
    if random.below(5) == 0 {
        return Aggregate { column: "*".to_owned(), func: Func::Count, alias };
    }
    let column = random.pick(&COLUMNS);
    let allowed: &[Func] = match column {
        "segment" => &[Func::Count, Func::CountDistinct, Func::Min, Func::Max, Func::First, Func::Last],
        "active" => &[Func::Count, Func::CountDistinct, Func::First, Func::Last],
        _ => Func::ALL,
    };
    Aggregate { column: column.to_owned(), func: random.pick(allowed), alias }
}

fn filter(random: &mut Random, depth: usize) -> Filter {
    let parts = |random: &mut Random| (0..=random.below(3)).map(|_| filter(random, depth + 1)).collect();
    match random.below(if depth < 3 { 5 } else { 1 }) {
        1 => Filter::And(parts(random)),
        2 => Filter::Or(parts(random)),
        3 => Filter::Not(Box::new(filter(random, depth + 1))),
        4 if depth == 0 => Filter::And(Vec::new()),
        _ => Filter::Predicate(predicate(random)),
    }
}

fn predicate(random: &mut Random) -> Predicate {
    use Op::{Between, Contains, Eq, Ge, Gt, In, IsNull, Le, Lt, Ne, NotIn, NotNull, StartsWith};
    let column = random.pick(&COLUMNS);
    let op = match column {
        "segment" => random.pick(Op::ALL),
        "active" => random.pick(&[Eq, Ne, In, NotIn, IsNull, NotNull]),
        _ => random.pick(&[Eq, Ne, In, NotIn, Lt, Le, Gt, Ge, Between, IsNull, NotNull]),
    };
    let count = match op {
        IsNull | NotNull => 0,
        Between => 2,
        In | NotIn => 1 + random.below(3),
        Eq | Ne | Lt | Le | Gt | Ge | Contains | StartsWith => 1,
    };
    let value = |_| match column {
        "segment" => Scalar::Text(random.pick(&SEGMENTS).to_owned()),
        "units" => Scalar::Number(random.small().to_string()),
        "revenue" => Scalar::Text((f64::from(random.small()) / 2.0).to_string()),
        _ => Scalar::Boolean(random.below(2) == 0),
    };
    Predicate { column: column.to_owned(), op, values: (0..count).map(value).collect() }
}

fn cell(row: &Row, column: &str) -> Value {
    match column {
        "segment" => json!(row.segment),
        "units" => json!(row.units),
        "revenue" => json!(row.revenue),
        _ => json!(row.active),
    }
}

/// The rows of the page, and how many there are on all pages.
pub(super) fn evaluate(rows: &[Row], query: &Query) -> (Value, usize) {
    let rows: Vec<_> = rows.iter().filter(|row| holds(row, &query.filter) == Some(true)).collect();
    let mut found = if query.is_grouped() { groups(&rows, query) } else { selected(&rows, query) };
    let mut sort: Vec<_> = query.sort.iter().map(|key| (key.column.clone(), key.desc)).collect();
    sort.extend(query.group_by.iter().map(|key| (key.column.clone(), false)));
    found.sort_by(|left, right| {
        let by_key = |(name, desc): &(String, bool)| order(&left[name], &right[name], *desc);
        sort.iter().map(by_key).find(|ordering| ordering.is_ne()).unwrap_or(Ordering::Equal)
    });
    let total = found.len();
    let page = found.into_iter().skip(query.offset as usize).take(query.limit as usize);
    (page.map(Value::Object).collect(), total)
}

fn selected(rows: &[&Row], query: &Query) -> Vec<Map<String, Value>> {
    let row = |row: &&Row| query.select.iter().map(|name| (name.clone(), cell(row, name))).collect();
    rows.iter().map(row).collect()
}

fn groups(rows: &[&Row], query: &Query) -> Vec<Map<String, Value>> {
    let mut groups: Vec<(Vec<Value>, Vec<&Row>)> = Vec::new();
    if query.group_by.is_empty() {
        groups.push((Vec::new(), Vec::new()));
    }
    for row in rows {
        let key: Vec<_> = query.group_by.iter().map(|key| cell(row, &key.column)).collect();
        match groups.iter_mut().find(|(earlier, _)| *earlier == key) {
            Some((_, members)) => members.push(row),
            None => groups.push((key, vec![row])),
        }
    }
    let output = |(key, members): (Vec<Value>, Vec<&Row>)| {
        let keys = query.group_by.iter().map(|key| key.column.clone()).zip(key);
        keys.chain(query.agg.iter().map(|figure| (figure.alias.clone(), compute(figure, &members)))).collect()
    };
    groups.into_iter().map(output).collect()
}

fn compute(figure: &Aggregate, rows: &[&Row]) -> Value {
    if figure.column == "*" {
        return json!(rows.len());
    }
    let all: Vec<_> = rows.iter().map(|row| cell(row, &figure.column)).collect();
    let mut values: Vec<_> = all.iter().filter(|value| !value.is_null()).cloned().collect();
    values.sort_by(|left, right| order(left, right, false));
    let numbers: Vec<_> = values.iter().filter_map(Value::as_f64).collect();
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    match figure.func {
        Func::Count => json!(values.len()),
        Func::CountDistinct => {
            values.dedup();
            json!(values.len())
        }
        Func::First => all.first().cloned().unwrap_or_default(),
        Func::Last => all.last().cloned().unwrap_or_default(),
        Func::Min => values.first().cloned().unwrap_or_default(),
        Func::Max => values.last().cloned().unwrap_or_default(),
        Func::Sum => json!(numbers.iter().sum::<f64>()),
        Func::Mean => json!(mean),
        Func::Std if numbers.len() < 2 => Value::Null,
        Func::Std => json!((numbers.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt()),
        quantile if numbers.is_empty() => quantile.quantile().map_or(Value::Null, |_| Value::Null),
        quantile => {
            let place = quantile.quantile().unwrap() * (count - 1.0);
            let low = place.floor();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index of a short list")]
            let [below, above] = [low, place.ceil()].map(|index| numbers[index as usize]);
            json!(below + (above - below) * (place - low))
        }
    }
}

/// The logic of three values.
fn holds(row: &Row, filter: &Filter) -> Option<bool> {
    let all = |parts: &[Filter], neutral: bool| {
        let parts: Vec<_> = parts.iter().map(|part| holds(row, part)).collect();
        if parts.contains(&Some(!neutral)) {
            Some(!neutral)
        } else if parts.contains(&None) {
            None
        } else {
            Some(neutral)
        }
    };
    match filter {
        Filter::And(parts) => all(parts, true),
        Filter::Or(parts) => all(parts, false),
        Filter::Not(part) => holds(row, part).map(|holds| !holds),
        Filter::Predicate(predicate) => passes(&cell(row, &predicate.column), predicate),
    }
}

fn passes(cell: &Value, predicate: &Predicate) -> Option<bool> {
    match predicate.op {
        Op::IsNull => return Some(cell.is_null()),
        Op::NotNull => return Some(!cell.is_null()),
        _ if cell.is_null() => return None,
        _ => {}
    }
    let value = |scalar: &Scalar| match scalar {
        Scalar::Text(text) if cell.is_number() => json!(text.parse::<f64>().unwrap()),
        Scalar::Text(text) => json!(text),
        Scalar::Number(number) => json!(number.parse::<f64>().unwrap()),
        Scalar::Boolean(flag) => json!(flag),
        Scalar::Unread => unreachable!("it was read"),
    };
    let values: Vec<_> = predicate.values.iter().map(value).collect();
    let to = |index: usize| order(cell, &values[index], false);
    let text = || (cell.as_str().unwrap(), values[0].as_str().unwrap());
    Some(match predicate.op {
        Op::Eq => to(0).is_eq(),
        Op::Ne => to(0).is_ne(),
        Op::Lt => to(0).is_lt(),
        Op::Le => to(0).is_le(),
        Op::Gt => to(0).is_gt(),
        Op::Ge => to(0).is_ge(),
        Op::Between => to(0).is_ge() && to(1).is_le(),
        Op::In => (0..values.len()).any(|index| to(index).is_eq()),
        Op::NotIn => !(0..values.len()).any(|index| to(index).is_eq()),
        Op::Contains => text().0.contains(text().1),
        _ => text().0.starts_with(text().1),
    })
}

/// Nulls last, whatever the direction.
fn order(left: &Value, right: &Value, desc: bool) -> Ordering {
    let ordering = match (left, right) {
        (Value::Null, _) | (_, Value::Null) => return left.is_null().cmp(&right.is_null()),
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        _ => left.as_f64().unwrap().total_cmp(&right.as_f64().unwrap()),
    };
    if desc { ordering.reverse() } else { ordering }
}

/// Equal, but for the last digits of numbers.
pub(super) fn close(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| close(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(name, value)| right.get(name).is_some_and(|other| close(value, other)))
        }
        (Value::Number(left), Value::Number(right)) => (left.as_f64().unwrap() - right.as_f64().unwrap()).abs() < 1e-9,
        _ => left == right,
    }
}
