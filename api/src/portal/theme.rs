//! Light, dark, or as the system has it: a person's choice, kept in their own browser. Pure.

use serde::Deserialize;

/// How long the choice is kept, in seconds.
pub(crate) const LIFE: i64 = 400 * 24 * 3600;

/// The choice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Theme {
    #[default]
    System,
    Light,
    Dark,
}

impl Theme {
    /// Reads the cookie; what it does not know is the system's.
    pub(crate) fn read(cookie: Option<&str>) -> Self {
        match cookie {
            Some("light") => Self::Light,
            Some("dark") => Self::Dark,
            _ => Self::System,
        }
    }

    /// The cookie's and the form's value.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// For people.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::System => "System",
            Self::Light => "Light",
            Self::Dark => "Dark",
        }
    }

    /// The rule that makes it so, unless the page's script has chosen since.
    pub(crate) fn css(self) -> &'static str {
        match self {
            Self::System => "",
            Self::Light => ":root:not([data-theme]){color-scheme:light}\n",
            Self::Dark => ":root:not([data-theme]){color-scheme:dark}\n",
        }
    }
}
