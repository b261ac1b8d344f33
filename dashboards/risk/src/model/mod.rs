//! Credit and market risk figures: pure calculation, no input or output.
//!
//! - Credit: expected loss, Basel II internal ratings capital (`irb`), concentration (`concentration`).
//! - Credit over time: arrears (`arrears`), rating migration (`migration`), default by vintage (`vintage`), the watch list
//!   (`watch`), and the limits that all of it is held against (`limits`).
//! - Market: value at risk and expected shortfall (`var`), backtest with traffic light and Kupiec test (`backtest`).
//!
//! Money is in the unit of the input; probabilities and rates are fractions (0.01 for 1 %).

pub mod arrears;
pub mod backtest;
pub mod concentration;
pub mod error;
pub mod exposure;
pub mod grade;
pub mod irb;
pub mod limits;
pub mod migration;
pub mod position;
pub mod var;
pub mod vintage;
pub mod watch;

pub use backtest::{Backtest, BacktestPoint, VarMethod, Zone, backtest};
pub use concentration::{Breakdown, Dimension, breakdown, herfindahl, top};
pub use error::RiskError;
pub use exposure::{Exposure, ExposureRisk, PortfolioRisk, assess};
pub use var::{DailyPnl, PnlRecord, TailRisk, daily_totals, historical, normal};
