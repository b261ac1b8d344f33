//! A JSON tree that keeps members that are there twice, and the places in it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use crate::engine::issue::{Code, Issues, escape};

/// A JSON value as it was written.
#[derive(Debug)]
pub(super) enum Node {
    Null,
    Boolean(bool),
    Number(Number),
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
        let number = if let Node::Number(number) = self.node { number.as_u64() } else { None };
        number.and_then(|number| u32::try_from(number).ok()).or_else(|| self.wrong("a whole number from 0", issues))
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

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Number::from_f64(value).map_or(Node::Null, Node::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = access.next_entry()? {
            members.push(member);
        }
        Ok(Node::Map(members))
    }
}
