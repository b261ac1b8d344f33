//! A JSON tree that keeps members that are there twice, and the places in it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::engine::issue::{Code, Issues, escape};

/// A JSON value as it was written.
#[derive(Debug)]
pub(super) enum Node {
    Null,
    Boolean(bool),
    /// As it was written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// A value and its JSON pointer.
#[derive(Debug)]
pub(super) struct Place<'a> {
    node: &'a Node,
    pointer: String,
}

/// The members of an object whose names were checked.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    members: &'a [(String, Node)],
    pointer: &'a str,
}

impl<'a> Place<'a> {
    pub(super) fn root(node: &'a Node) -> Self {
        Self { node, pointer: String::new() }
    }

    pub(super) fn node(&self) -> &'a Node {
        self.node
    }

    pub(super) fn pointer(&self) -> &str {
        &self.pointer
    }

    /// How many items the list has.
    pub(super) fn len(&self) -> Option<usize> {
        if let Node::List(items) = self.node { Some(items.len()) } else { None }
    }

    /// The name of the only member of an object.
    pub(super) fn only_member(&self) -> Option<&'a str> {
        match self.node {
            Node::Map(members) if members.len() == 1 => members.first().map(|(name, _)| name.as_str()),
            _ => None,
        }
    }

    /// The members of the object. Members that do not exist, or are there twice, are reported.
    pub(super) fn fields(&self, allowed: &[&str], issues: &mut Issues) -> Option<Fields<'_>> {
        let Node::Map(members) = self.node else {
            self.wrong::<()>("an object", issues);
            return None;
        };
        for (index, (name, _)) in members.iter().enumerate() {
            let pointer = format!("{}/{}", self.pointer, escape(name));
            if !allowed.contains(&name.as_str()) {
                issues.add_allowed(&pointer, Code::Unknown, "there is no such member", allowed);
            } else if members.iter().take(index).any(|(earlier, _)| earlier == name) {
                issues.add(&pointer, Code::Duplicate, "the member is there twice");
            }
        }
        Some(Fields { members, pointer: &self.pointer })
    }

    /// What can be read of the items of the list.
    pub(super) fn list<T>(&self, issues: &mut Issues, read: impl Fn(&Place<'_>, &mut Issues) -> Option<T>) -> Vec<T> {
        let Node::List(items) = self.node else {
            self.wrong::<()>("a list", issues);
            return Vec::new();
        };
        let place = |(index, node)| Place { node, pointer: format!("{}/{index}", self.pointer) };
        items.iter().enumerate().map(place).filter_map(|item| read(&item, issues)).collect()
    }

    /// All items of the list, or none where one of them could not be read: the others would not stand at their places.
    pub(super) fn whole_list<T>(
        &self,
        issues: &mut Issues,
        read: impl Fn(&Place<'_>, &mut Issues) -> Option<T>,
    ) -> Vec<T> {
        let items = self.list(issues, read);
        if self.len() == Some(items.len()) { items } else { Vec::new() }
    }

    pub(super) fn text(&self, issues: &mut Issues) -> Option<&'a str> {
        if let Node::Text(text) = self.node { Some(text) } else { self.wrong("a text", issues) }
    }

    pub(super) fn flag(&self, issues: &mut Issues) -> Option<bool> {
        if let Node::Boolean(flag) = self.node { Some(*flag) } else { self.wrong("true or false", issues) }
    }

    pub(super) fn number(&self, issues: &mut Issues) -> Option<u32> {
        let number = if let Node::Number(number) = self.node { number.parse().ok() } else { None };
        number.or_else(|| self.wrong("a whole number from 0", issues))
    }

    /// A text that is one of the known words.
    pub(super) fn word<T: fmt::Display>(
        &self,
        what: &str,
        parse: fn(&str) -> Option<T>,
        all: &[T],
        issues: &mut Issues,
    ) -> Option<T> {
        let text = self.text(issues)?;
        let word = parse(text);
        if word.is_none() {
            issues.add_allowed(&self.pointer, Code::Unknown, format!("{text:?} is not {what}"), all);
        }
        word
    }

    fn wrong<T>(&self, expected: &str, issues: &mut Issues) -> Option<T> {
        issues.add(&self.pointer, Code::Malformed, format!("{expected} is due"));
        None
    }
}

impl<'a> Fields<'a> {
    /// The member, unless it is absent or null.
    pub(super) fn get(&self, name: &str) -> Option<Place<'a>> {
        let (_, node) = self.members.iter().find(|(member, _)| member == name)?;
        let present = !matches!(node, Node::Null);
        present.then(|| Place { node, pointer: format!("{}/{}", self.pointer, escape(name)) })
    }

    /// The member, whose absence is reported.
    pub(super) fn required(&self, name: &str, issues: &mut Issues) -> Option<Place<'a>> {
        let found = self.get(name);
        if found.is_none() {
            issues.add(self.pointer, Code::Missing, format!("the member {name:?} is missing"));
        }
        found
    }
}

/// Lists and objects in one another, as many as serde's own reader takes.
const MAX_NESTING: usize = 128;

impl Node {
    /// Reads a JSON text (RFC 8259).
    pub(super) fn read(body: &[u8]) -> Result<Self, serde_json::Error> {
        Self::of(serde_json::from_slice(body)?, 0)
    }

    fn of(value: &RawValue, depth: usize) -> Result<Self, serde_json::Error> {
        if depth > MAX_NESTING {
            return Err(serde_json::Error::custom("it is nested too deeply"));
        }
        let text = value.get();
        Ok(match text.as_bytes().first() {
            Some(b'{') => {
                let Members(members) = serde_json::from_str(text)?;
                let member = |(name, value)| Ok((name, Self::of(value, depth + 1)?));
                Self::Map(members.into_iter().map(member).collect::<Result<_, serde_json::Error>>()?)
            }
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(text)?;
                Self::List(items.into_iter().map(|item| Self::of(item, depth + 1)).collect::<Result<_, _>>()?)
            }
            Some(b'"') => Self::Text(serde_json::from_str(text)?),
            Some(b't' | b'f') => Self::Boolean(serde_json::from_str(text)?),
            Some(b'n') => Self::Null,
            _ => Self::Number(text.to_owned()),
        })
    }
}

/// The members of an object in their order, also those whose names are there twice.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = access.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}
