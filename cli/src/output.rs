//! What the tools print: progress on standard error, results on standard output, colour only where a person looks.

use std::{
    borrow::Cow,
    ffi::OsStr,
    io::{self, IsTerminal as _, Read, Write as _},
    time::Duration,
};

use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use indicatif::{ProgressBar, ProgressStyle};

/// Progress through a few steps.
pub(crate) struct Steps {
    bar: Option<ProgressBar>,
    /// Whether steps are lines where there is no terminal.
    is_told: bool,
}

impl Steps {
    /// Shows a spinner on a terminal and plain lines elsewhere.
    pub(crate) fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner().with_style(style(SPINNER));
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self { bar, is_told: true }
    }

    /// Shows a spinner on a terminal and nothing elsewhere.
    pub(crate) fn on_a_terminal() -> Self {
        let mut steps = Self::new();
        steps.is_told = false;
        steps
    }

    /// What happens now.
    pub(crate) fn now(&self, message: impl Into<Cow<'static, str>>) {
        let message = message.into();
        match &self.bar {
            Some(bar) => {
                bar.set_style(style(SPINNER));
                bar.set_message(message);
            }
            None if self.is_told => say(&message),
            None => (),
        }
    }

    /// Reading is what happens now: the bytes of the source are counted, of `total` if that is known.
    pub(crate) fn counting<R: Read + 'static>(
        &self,
        message: &'static str,
        total: Option<u64>,
        source: R,
    ) -> Box<dyn Read> {
        self.now(message);
        let Some(bar) = &self.bar else { return Box::new(source) };
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_style(style(if total.is_some() { BAR } else { COUNTER }));
        Box::new(bar.wrap_read(source))
    }

    /// All done: the spinner goes away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Steps {
    /// Also where a step failed, so that its error does not stand beside a spinner.
    fn drop(&mut self) {
        self.finish();
    }
}

const SPINNER: &str = "{spinner} {msg}";
const COUNTER: &str = "{spinner} {msg} {binary_bytes}";
const BAR: &str = "{spinner} {msg} [{bar:30}] {binary_bytes}/{binary_total_bytes}";

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// Writes a result to standard output. Who stops reading it, as `head` does, has had enough: that is no failure.
pub fn print(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    printed(out.write_all(bytes).and_then(|()| out.flush()))
}

fn printed(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), format!("standard output cannot be written: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// Writes a line to standard output, for programs that go on whether somebody reads it or not.
pub(crate) fn tell(line: &str) {
    let _ = print(format!("{line}\n").as_bytes());
}

/// Writes a line to standard error. Where nobody takes even that, there is nobody left to be told, and no reason to end.
pub fn say(line: &str) {
    let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// How this program is called where it runs: by Cargo's alias in its own repository, by its name elsewhere.
pub(crate) fn program() -> &'static str {
    // Cargo sets it for what `cargo run` starts.
    let is_run_by_cargo = std::env::var_os("CARGO_PKG_NAME").is_some_and(|name| name == env!("CARGO_PKG_NAME"));
    if is_run_by_cargo { "cargo kyros" } else { "kyros" }
}

/// A table with a header.
pub(crate) fn table(header: &[impl AsRef<str>]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(header.iter().map(AsRef::as_ref));
    table
}

/// A text from data, on one line and without anything that a terminal would obey.
pub fn visible(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 row`, `1,234 rows`.
pub(crate) fn counted(number: usize, what: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {what}{ending}", grouped(number as u64))
}

/// Whether standard output is a terminal that wants colour.
pub(crate) fn has_colour() -> bool {
    io::stdout().is_terminal() && !is_colour_unwanted(std::env::var_os("NO_COLOR").as_deref())
}

/// Whether `NO_COLOR` says so: present and not empty (<https://no-color.org>).
fn is_colour_unwanted(no_color: Option<&OsStr>) -> bool {
    no_color.is_some_and(|value| !value.is_empty())
}

/// Bold on a terminal that wants colour.
pub(crate) fn bold(text: &str) -> String {
    if has_colour() { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn one_is_no_plural() {
        for (number, text) in [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1_234, "1,234 rows")] {
            assert_eq!(counted(number, "row"), text);
        }
    }

    #[test]
    fn no_colour_is_wanted_when_the_variable_holds_something() {
        assert!(!is_colour_unwanted(None));
        assert!(!is_colour_unwanted(Some(OsStr::new(""))));
        assert!(is_colour_unwanted(Some(OsStr::new("0"))));
    }

    #[test]
    fn who_stops_reading_has_had_enough_and_a_full_disk_is_an_error() {
        assert!(printed(Err(io::ErrorKind::BrokenPipe.into())).is_ok());
        let full = printed(Err(io::ErrorKind::StorageFull.into())).unwrap_err();
        assert!(full.to_string().starts_with("standard output cannot be written: "), "{full}");
    }

    #[test]
    fn a_terminal_obeys_nothing_that_comes_from_data() {
        assert_eq!(visible("caf\u{e9} \u{1b}[2J\n\u{9b}1m"), "caf\u{e9} \\u{1b}[2J\\n\\u{9b}1m");
    }
}
