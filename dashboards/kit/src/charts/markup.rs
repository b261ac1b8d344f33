//! Writes markup. This is the only place where text becomes HTML, so it is the only place that escapes.

use std::fmt::{self, Write as _};

/// Text that is safe in an element body and in a quoted attribute.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' | '\t' => f.write_char(c)?,
                c if c.is_control() => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A growing piece of markup. Names are `'static`, values always go through [`Escaped`] or a number formatter.
#[derive(Debug, Default)]
pub(crate) struct Markup(String);

impl Markup {
    /// Starts a tag; finish it with [`Tag::open`], [`Tag::empty`] or [`Tag::text`].
    pub(crate) fn tag(&mut self, name: &'static str) -> Tag<'_> {
        self.0.push('<');
        self.0.push_str(name);
        Tag { out: &mut self.0, name }
    }

    /// Closes an element that [`Tag::open`] left open.
    pub(crate) fn close(&mut self, name: &'static str) {
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push('>');
    }

    /// Adds escaped text.
    pub(crate) fn text(&mut self, text: &str) {
        escape_into(&mut self.0, text);
    }

    /// Adds markup that another builder has escaped.
    pub(crate) fn raw(&mut self, markup: &str) {
        self.0.push_str(markup);
    }

    /// The markup so far.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A start tag that is being written.
#[must_use]
pub(crate) struct Tag<'m> {
    out: &'m mut String,
    name: &'static str,
}

impl Tag<'_> {
    /// Adds an escaped text attribute.
    pub(crate) fn attr(self, name: &'static str, value: &str) -> Self {
        self.out.push(' ');
        self.out.push_str(name);
        self.out.push_str("=\"");
        escape_into(self.out, value);
        self.out.push('"');
        self
    }

    /// Adds an attribute only when there is a value.
    pub(crate) fn maybe(self, name: &'static str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.attr(name, value),
            None => self,
        }
    }

    /// Adds an attribute that needs no value.
    pub(crate) fn flag(self, name: &'static str) -> Self {
        self.out.push(' ');
        self.out.push_str(name);
        self
    }

    /// Adds a number with one decimal; a number that is not finite becomes 0.
    pub(crate) fn num(self, name: &'static str, value: f64) -> Self {
        self.attr(name, &coord(value))
    }

    /// Ends the start tag and leaves the element open.
    pub(crate) fn open(self) {
        self.out.push('>');
    }

    /// Ends the element at once (SVG shapes).
    pub(crate) fn empty(self) {
        self.out.push_str("/>");
    }

    /// Writes the whole element around escaped text.
    pub(crate) fn text(self, text: &str) {
        self.out.push('>');
        escape_into(self.out, text);
        self.out.push_str("</");
        self.out.push_str(self.name);
        self.out.push('>');
    }
}

fn escape_into(out: &mut String, text: &str) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{}", Escaped(text));
}

/// A coordinate with at most one decimal, never `NaN`, never `-0`.
pub(crate) fn coord(value: f64) -> String {
    if !value.is_finite() {
        return "0".to_owned();
    }
    let text = format!("{value:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" || text == "-0.0" { "0".to_owned() } else { text.to_owned() }
}

/// The `d` attribute of an SVG path.
#[derive(Debug, Default)]
pub(crate) struct Path(String);

impl Path {
    /// Moves the pen.
    pub(crate) fn go(&mut self, x: f64, y: f64) {
        self.push('M', x, y);
    }

    /// Draws a line.
    pub(crate) fn line(&mut self, x: f64, y: f64) {
        self.push('L', x, y);
    }

    /// Closes the shape.
    pub(crate) fn close(&mut self) {
        self.0.push('Z');
    }

    /// The path data.
    pub(crate) fn data(&self) -> &str {
        &self.0
    }

    fn push(&mut self, op: char, x: f64, y: f64) {
        self.0.push(op);
        self.0.push_str(&coord(x));
        self.0.push(' ');
        self.0.push_str(&coord(y));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_every_dangerous_character() {
        let text = Escaped("<script>\"a\" & 'b'\0").to_string();
        assert_eq!(text, "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;\u{fffd}");
    }

    #[test]
    fn coordinates_are_short_and_finite() {
        assert_eq!(coord(1.0), "1");
        assert_eq!(coord(1.26), "1.3");
        assert_eq!(coord(-0.04), "0");
        assert_eq!(coord(f64::NAN), "0");
        assert_eq!(coord(f64::NEG_INFINITY), "0");
    }
}
