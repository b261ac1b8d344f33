//! YAML with a line for everything: the one place that knows `serde-saphyr`. No I/O.
//!
//! A derived type would stop at the first mistake and forget where values came from. A tree keeps the line of every
//! key and list entry, so that all later checks can name a line, and keeps repeated keys, so that they can be refused.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use serde_yaml::{DuplicateKeyPolicy, MessageFormatter, Spanned, UserMessageFormatter};

use crate::limits;

/// Deeper than any resource can be.
const MAX_DEPTH: usize = 32;

/// A YAML value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    /// `null`, `~` or nothing.
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Item>),
    Map(Vec<Entry>),
}

/// An entry of a list, or a whole document.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub(super) line: u64,
    pub(super) tree: Tree,
}

/// An entry of a mapping; the line is the key's.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) line: u64,
    pub(super) key: String,
    pub(super) tree: Tree,
}

/// Why a document could not be read.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) line: u64,
    pub(super) message: String,
}

/// One step of the way from a document to a value in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// The way from a document to a value in it; shown as `spec.members[3].user`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Path(pub(super) Vec<Step>);

/// All documents of a file, empty ones left out. After a document that cannot be read the others are still tried.
pub(super) fn parse(text: &str) -> Vec<Result<Item, SyntaxError>> {
    let options = serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_depth: MAX_DEPTH,
            max_documents: limits::DOCUMENTS + 1,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    let mut reader = text.as_bytes();
    serde_yaml::read_with_options::<_, Spanned<Tree>>(&mut reader, options)
        .map(|document| match document {
            Ok(document) => Ok(Item::from(document)),
            Err(error) => Err(SyntaxError::new(&error)),
        })
        .collect()
}

// === impl Tree ===

impl Tree {
    /// What this is, for messages.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }

    /// The entry of a mapping that has this key and is not null.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        let Self::Map(entries) = self else { return None };
        entries.iter().find(|entry| entry.key == key && entry.tree != Self::Null)
    }

    /// The text of the entry that has this key.
    pub(super) fn text(&self, key: &str) -> Option<(&str, u64)> {
        match self.entry(key)? {
            Entry { line, tree: Self::Text(text), .. } => Some((text, *line)),
            Entry { .. } => None,
        }
    }

    /// The same as JSON. An entry that is null counts as absent, as it does at an API server.
    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(value) => Value::Number(value.clone()),
            Self::Text(value) => Value::String(value.clone()),
            Self::List(items) => items.iter().map(|item| item.tree.to_json()).collect(),
            Self::Map(entries) => entries
                .iter()
                .filter(|entry| entry.tree != Self::Null)
                .map(|entry| (entry.key.clone(), entry.tree.to_json()))
                .collect::<Map<_, _>>()
                .into(),
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TreeVisitor;

        impl<'de> Visitor<'de> for TreeVisitor {
            type Value = Tree;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
                Ok(Tree::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
                Ok(Tree::Number(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
                Ok(Tree::Number(value.into()))
            }

            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Tree, E> {
                Number::from_f64(value).map(Tree::Number).ok_or_else(|| E::custom("a number must be finite"))
            }

            fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
                Ok(Tree::Text(value.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = access.next_element::<Spanned<Tree>>()? {
                    items.push(Item::from(item));
                }
                Ok(Tree::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
                let mut entries = Vec::new();
                while let Some((key, tree)) = access.next_entry::<Spanned<String>, Tree>()? {
                    entries.push(Entry { line: key.referenced.line(), key: key.value, tree });
                }
                Ok(Tree::Map(entries))
            }
        }

        deserializer.deserialize_any(TreeVisitor)
    }
}

// === impl Item ===

impl Item {
    /// The line of the value at `path`, or of the nearest value above it that is there.
    pub(super) fn line_of(&self, path: &Path) -> u64 {
        let mut line = self.line;
        let mut tree = &self.tree;
        for step in &path.0 {
            let next = match (step, tree) {
                (Step::Key(key), Tree::Map(entries)) => {
                    entries.iter().find(|entry| entry.key == *key).map(|entry| (entry.line, &entry.tree))
                }
                (Step::Index(index), Tree::List(items)) => items.get(*index).map(|item| (item.line, &item.tree)),
                (Step::Key(_) | Step::Index(_), _) => None,
            };
            let Some(found) = next else { break };
            (line, tree) = found;
        }
        line
    }
}

impl From<Spanned<Tree>> for Item {
    fn from(spanned: Spanned<Tree>) -> Self {
        Self { line: spanned.referenced.line(), tree: spanned.value }
    }
}

// === impl SyntaxError ===

impl SyntaxError {
    fn new(error: &serde_yaml::Error) -> Self {
        let line = error.location().map_or(1, |location| location.line().max(1));
        let message = UserMessageFormatter.format_message(error.without_snippet());
        Self { line, message: message.replace(char::is_control, " ") }
    }
}

// === impl Path ===

impl Path {
    /// Reads what [`Path`]'s `Display` (and `kube-cel`) writes. A key that holds a dot comes apart; the line found for
    /// it is then the one of its parent.
    pub(super) fn parse(text: &str) -> Self {
        let mut steps = Vec::new();
        for part in text.split('.').filter(|part| !part.is_empty()) {
            let (key, indices) = part.split_once('[').unwrap_or((part, ""));
            steps.push(Step::Key(key.to_owned()));
            let indices = indices.split(['[', ']']).filter_map(|index| index.parse().ok());
            steps.extend(indices.map(Step::Index));
        }
        Self(steps)
    }

    pub(super) fn starts_with(&self, prefix: &Self) -> bool {
        self.0.starts_with(&prefix.0)
    }

    /// The path of a field below this one, as text.
    pub(super) fn join(&self, key: &str) -> String {
        if self.0.is_empty() { key.to_owned() } else { format!("{self}.{key}") }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if position == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}
