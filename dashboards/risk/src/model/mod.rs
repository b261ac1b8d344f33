//! Credit and market risk figures: pure calculation, no input or output.
//!
//! - Credit: expected loss, Basel II internal ratings capital (`irb`), concentration (`concentration`).
//! - Market: value at risk and expected shortfall (`var`), backtest with traffic light and Kupiec test (`backtest`).
//!
//! Money is in the unit of the input; probabilities and rates are fractions (0.01 for 1 %).

pub mod backtest;
pub mod concentration;
pub mod error;
pub mod exposure;
pub mod irb;
pub mod var;

pub use backtest::{Backtest, BacktestPoint, VarMethod, Zone, backtest};
pub use concentration::{Breakdown, Dimension, breakdown, herfindahl, top};
pub use error::RiskError;
pub use exposure::{Exposure, ExposureRisk, PortfolioRisk, assess};
pub use var::{DailyPnl, PnlRecord, TailRisk, daily_totals, historical, normal};
