//! Server-side SVG charts without dependencies.
//!
//! Every chart is a builder whose [`Display`](std::fmt::Display) writes a `<figure class="chart">`: a caption, the
//! drawing at two widths (CSS shows the one that fits), and a table with the same numbers. Colours come only from
//! classes in [`CSS`]; [`JS`] adds tooltips, arrow keys and cross-highlighting. Nothing is inline, so a strict
//! Content-Security-Policy (`script-src 'self'; style-src 'self'`) holds. Without the script everything can be read.
//!
//! ```
//! use kyros_dashboard_kit::charts::{Axis, Format, Line, Meta, Series};
//!
//! let chart = Line::new(Meta::new("margin", "Margin"), Axis::categories(["Q1", "Q2"]), Format::compact().prefix("$"))
//!     .series(Series::new("Acme & Co", [1_200.0, 3_400.0]));
//! let html = chart.to_string();
//! assert!(html.contains("Acme &amp; Co"));
//! ```

mod axis;
mod backtest;
mod bar;
mod figure;
mod format;
mod heat;
mod histogram;
mod kpi;
mod line;
pub(crate) mod markup;
mod plot;
mod scale;
mod share;

pub use axis::Axis;
pub use backtest::{Backtest, Day};
pub use bar::{Bar, Bars};
pub use figure::{Chart, Meta, Size};
pub use format::{Date, DateError, Format};
pub use heat::Heat;
pub use histogram::Histogram;
pub use kpi::{Kpi, Kpis, Tone, Wish};
pub use line::{Line, Series};
pub use markup::Escaped;
pub use share::Shares;

/// The style sheet, to serve as `charts.css`.
pub const CSS: &str = include_str!("../../assets/charts.css");

/// The script, to serve as `charts.js` and load with `<script type="module">`.
pub const JS: &str = include_str!("../../assets/charts.js");
