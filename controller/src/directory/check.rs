//! Holds a document against the `OpenAPI` schema of its kind: unknown and missing fields, types, bounds. No I/O.
//!
//! This is what an API server does before it looks at rules, with two differences: an unknown field is an error here
//! (there it is dropped), and every finding has a line.

use std::collections::HashMap;

use regex::Regex;
use serde_json::Value;

use super::{
    problem::Reason,
    tree::{Entry, Item, Path, Step, Tree},
};

/// One finding, before it is known which file it is in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Finding {
    pub(super) path: Path,
    pub(super) line: u64,
    pub(super) reason: Reason,
}

/// What there is to say of a document.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// What the schema does not allow.
    pub(super) mistakes: Vec<Finding>,
    /// What it allows and hardly anybody means.
    pub(super) warnings: Vec<Finding>,
}

/// Walks documents; keeps the patterns it has compiled.
#[derive(Debug, Default)]
pub(super) struct Checker {
    patterns: HashMap<String, Option<Regex>>,
}

/// The walk through one document.
struct Walk<'c> {
    checker: &'c mut Checker,
    path: Path,
    findings: Findings,
}

// === impl Checker ===

impl Checker {
    /// Everything in the document that its schema does not allow.
    pub(super) fn check(&mut self, document: &Item, schema: &Value) -> Findings {
        let mut walk = Walk { checker: self, path: Path::default(), findings: Findings::default() };
        walk.value(&document.tree, document.line, schema);
        walk.findings
    }

    /// A pattern that does not compile matches nothing: better to refuse a manifest than to let one pass unchecked.
    fn matches(&mut self, pattern: &str, text: &str) -> bool {
        if !self.patterns.contains_key(pattern) {
            self.patterns.insert(pattern.to_owned(), Regex::new(pattern).ok());
        }
        self.patterns.get(pattern).and_then(Option::as_ref).is_some_and(|regex| regex.is_match(text))
    }
}

// === impl Walk ===

impl Walk<'_> {
    fn value(&mut self, tree: &Tree, line: u64, schema: &Value) {
        if is_true(schema, "x-kubernetes-int-or-string") {
            return self.int_or_string(tree, line, schema);
        }
        match (schema.get("type").and_then(Value::as_str), tree) {
            (Some("object"), Tree::Map(entries)) => self.map(tree, entries, line, schema),
            (Some("array"), Tree::List(items)) => self.list(items, line, schema),
            (Some("string"), Tree::Text(text)) => self.text(text, line, schema),
            (Some("integer"), Tree::Number(number)) if number.is_i64() => self.number(number.as_f64(), line, schema),
            (Some("number"), Tree::Number(number)) => self.number(number.as_f64(), line, schema),
            (Some("boolean"), Tree::Bool(_)) | (None, _) => {}
            (Some(expected), _) => self.wrong_type(type_name(expected), tree, line),
        }
    }

    fn map(&mut self, tree: &Tree, entries: &[Entry], line: u64, schema: &Value) {
        let properties = schema.get("properties").and_then(Value::as_object);
        let additional = schema.get("additionalProperties");
        let open = is_true(schema, "x-kubernetes-preserve-unknown-fields") || additional == Some(&Value::Bool(true));
        let mut seen = HashMap::new();
        for entry in entries {
            if let Some(first) = seen.insert(entry.key.as_str(), entry.line) {
                self.report(entry.line, Reason::DuplicateField { field: self.path.join(&entry.key), first });
                continue;
            }
            let known = properties.and_then(|properties| properties.get(&entry.key));
            match known.or(additional.filter(|schema| schema.is_object())) {
                Some(known) if entry.tree == Tree::Null => {
                    let is_required = strings(schema, "required").any(|required| required == entry.key);
                    // What tools write out of a cluster has nulls, and what must be there is missed below.
                    if known.get("type").is_some() && !is_required {
                        self.warn(entry.line, Reason::NoValue { field: self.path.join(&entry.key) });
                    }
                }
                Some(schema) => self.at(Step::Key(entry.key.clone()), |walk| {
                    walk.value(&entry.tree, entry.line, schema);
                }),
                None if open => {}
                None => {
                    let expected = properties.map(|known| known.keys().cloned().collect()).unwrap_or_default();
                    self.report(entry.line, Reason::UnknownField { field: entry.key.clone(), expected });
                }
            }
        }
        for required in strings(schema, "required").filter(|required| tree.entry(required).is_none()) {
            // A key without a value is where the value belongs.
            let line = seen.get(required).copied().unwrap_or(line);
            self.report(line, Reason::MissingField { field: self.path.join(required) });
        }
    }

    fn list(&mut self, items: &[Item], line: u64, schema: &Value) {
        self.count(items.len(), line, schema, ["minItems", "maxItems"], "entries");
        let Some(of) = schema.get("items") else { return };
        for (index, item) in items.iter().enumerate() {
            self.at(Step::Index(index), |walk| walk.value(&item.tree, item.line, of));
        }
        let keys: Vec<&str> = match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
            Some("set") => Vec::new(),
            Some("map") => strings(schema, "x-kubernetes-list-map-keys").collect(),
            _ => return,
        };
        let mut seen = HashMap::new();
        for (index, item) in items.iter().enumerate() {
            let identity = match keys.as_slice() {
                [] => item.tree.to_json().to_string(),
                keys => format!(
                    "{:?}",
                    keys.iter()
                        .map(|key| item.tree.text(key))
                        .map(|text| text.map(|(text, _)| text))
                        .collect::<Vec<_>>()
                ),
            };
            if let Some(first) = seen.insert(identity, item.line) {
                self.at(Step::Index(index), |walk| {
                    walk.report(item.line, Reason::DuplicateItem { field: walk.path.to_string(), first });
                });
            }
        }
    }

    fn text(&mut self, text: &str, line: u64, schema: &Value) {
        self.count(text.chars().count(), line, schema, ["minLength", "maxLength"], "characters");
        if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
            && !self.checker.matches(pattern, text)
        {
            self.bound(line, format!("must match `{pattern}`"));
        }
        let mut choices = strings(schema, "enum").peekable();
        if choices.peek().is_some() && !strings(schema, "enum").any(|choice| choice == text) {
            let choices: Vec<_> = choices.map(|choice| format!("`{choice}`")).collect();
            self.bound(line, format!("must be one of {}", choices.join(", ")));
        }
    }

    fn number(&mut self, number: Option<f64>, line: u64, schema: &Value) {
        let Some(number) = number else { return };
        let is_i32 = schema.get("format").and_then(Value::as_str) == Some("int32");
        let widest = |bound: i32| is_i32.then_some(f64::from(bound));
        let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_f64);
        if let Some(min) = bound("minimum").or(widest(i32::MIN)).filter(|min| number < *min) {
            self.bound(line, format!("must be at least {min}"));
        }
        if let Some(max) = bound("maximum").or(widest(i32::MAX)).filter(|max| number > *max) {
            self.bound(line, format!("must be at most {max}"));
        }
    }

    fn int_or_string(&mut self, tree: &Tree, line: u64, schema: &Value) {
        match tree {
            Tree::Text(text) => self.text(text, line, schema),
            Tree::Number(number) if number.is_i64() => self.number(number.as_f64(), line, schema),
            _ => self.wrong_type("a string", tree, line),
        }
    }

    fn count(&mut self, length: usize, line: u64, schema: &Value, [min, max]: [&str; 2], unit: &str) {
        let bound = |keyword| schema.get(keyword).and_then(Value::as_u64).and_then(|bound| usize::try_from(bound).ok());
        if let Some(min) = bound(min).filter(|min| length < *min) {
            self.bound(line, format!("must have at least {min} {unit}"));
        }
        if let Some(max) = bound(max).filter(|max| length > *max) {
            self.bound(line, format!("must have at most {max} {unit}"));
        }
    }

    fn wrong_type(&mut self, expected: &'static str, tree: &Tree, line: u64) {
        let found = tree.type_name();
        self.report(line, Reason::Type { field: self.path.to_string(), expected, found });
    }

    fn bound(&mut self, line: u64, bound: String) {
        self.report(line, Reason::Bound { field: self.path.to_string(), bound });
    }

    fn report(&mut self, line: u64, reason: Reason) {
        self.findings.mistakes.push(Finding { path: self.path.clone(), line, reason });
    }

    fn warn(&mut self, line: u64, reason: Reason) {
        self.findings.warnings.push(Finding { path: self.path.clone(), line, reason });
    }

    fn at(&mut self, step: Step, then: impl FnOnce(&mut Self)) {
        self.path.0.push(step);
        then(self);
        self.path.0.pop();
    }
}

fn type_name(schema_type: &str) -> &'static str {
    match schema_type {
        "object" => "a mapping",
        "array" => "a list",
        "string" => "a string",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        _ => "something else",
    }
}

fn is_true(schema: &Value, keyword: &str) -> bool {
    schema.get(keyword) == Some(&Value::Bool(true))
}

fn strings<'s>(schema: &'s Value, keyword: &str) -> impl Iterator<Item = &'s str> {
    schema.get(keyword).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}
