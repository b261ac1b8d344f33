//! What the tools print: progress on standard error, results on standard output, colour only where a person looks.

use std::{
    borrow::Cow,
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
            None if self.is_told => eprintln!("{message}"),
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
pub(crate) fn print(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
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

/// Bold on a terminal that wants colour (<https://no-color.org>).
pub(crate) fn bold(text: &str) -> String {
    if io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\x1b[1m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
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
    fn a_terminal_obeys_nothing_that_comes_from_data() {
        assert_eq!(visible("caf\u{e9} \u{1b}[2J\n\u{9b}1m"), "caf\u{e9} \\u{1b}[2J\\n\\u{9b}1m");
    }
}
