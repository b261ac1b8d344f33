//! What `kyros dev` prints, a line at a time. Colour only on a terminal that wants it.

use std::time::Duration;

use http::StatusCode;
use kyros_shared_config::PublicUrl;

use super::cast::Cast;
use crate::output;

/// Standard output.
#[derive(Clone)]
pub(super) struct Screen {
    has_colour: bool,
}

/// Whoever stopped reading has had enough: no failure, and no end of the dashboard.
pub(super) fn print(text: &str) {
    output::tell(text);
}

/// How a text looks, as parameters of SGR.
#[derive(Clone, Copy)]
enum Look {
    Bold,
    Dim,
    Good,
    Warn,
    Bad,
    Accent,
}

impl Look {
    fn code(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "31",
            Self::Accent => "36",
        }
    }
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { has_colour: output::has_colour() }
    }

    fn look(&self, look: Look, text: &str) -> String {
        if self.has_colour { format!("\x1b[{}m{text}\x1b[0m", look.code()) } else { text.to_owned() }
    }

    /// A line of the command's own.
    pub(super) fn command(&self, line: &str) {
        print(&format!("{} {line}", self.look(Look::Dim, "app   |")));
    }

    /// Something that `kyros dev` has to say.
    pub(super) fn note(&self, text: &str) {
        print(&format!("{} {text}", self.look(Look::Accent, "kyros |")));
    }

    /// Something to act on.
    pub(super) fn warn(&self, text: &str) {
        print(&format!("{} {}", self.look(Look::Warn, "kyros |"), self.look(Look::Warn, text)));
    }

    pub(super) fn dim(&self, text: &str) -> String {
        self.look(Look::Dim, text)
    }

    pub(super) fn bold(&self, text: &str) -> String {
        self.look(Look::Bold, text)
    }

    /// A status, in the colour of its class.
    pub(super) fn status(&self, status: StatusCode) -> String {
        let look = match status.as_u16() {
            500.. => Look::Bad,
            400.. => Look::Warn,
            300.. => Look::Dim,
            _ => Look::Good,
        };
        self.look(look, status.as_str())
    }

    /// Where everything is.
    pub(super) fn announce(&self, address: &str, public_url: &PublicUrl, cast: &Cast, took: Duration) {
        print(&format!("{}    {}", self.bold("Open"), self.bold(address)));
        print(&format!("Portal  {public_url}"));
        for (index, player) in cast.players.iter().enumerate() {
            let tenants = player.tenants.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let label = if index == 0 { "People" } else { "      " };
            print(&format!("{label}  {} <{}>: {tenants}", player.name, player.email));
        }
        self.turn(cast);
        print(&format!("Kyros is ready after {:.1} s; starting the command. Ctrl-C stops both.", took.as_secs_f64()));
    }

    /// Who it is now.
    pub(super) fn turn(&self, cast: &Cast) {
        let (player, tenant) = cast.now();
        print(&format!("{}     {} for {}", self.bold("Now"), player.name, self.bold(tenant.as_str())));
    }
}
