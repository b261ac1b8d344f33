//! Kyros on one machine, and its tools. Each part runs through the library entry point that its own binary uses.

pub mod bench;
pub mod data;
pub mod dev;
pub mod new;
pub mod output;
mod stack;
pub mod up;
pub mod validate;
