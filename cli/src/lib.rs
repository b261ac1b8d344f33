//! Kyros on one machine, and its tools. Each part runs through the library entry point that its own binary uses.

pub mod bench;
pub mod data;
pub mod output;
pub mod up;
pub mod validate;
