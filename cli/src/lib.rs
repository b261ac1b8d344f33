//! Kyros on one machine, and its tools. Each part runs through the library entry point that its own binary uses.

// `println!` panics where nobody reads: `output` says what happens then.
#![deny(clippy::print_stderr, clippy::print_stdout)]

#[expect(clippy::print_stderr, clippy::print_stdout, reason = "somebody looks at measurements while they are made")]
pub mod bench;
pub mod data;
pub mod dev;
pub mod new;
pub mod output;
mod stack;
pub mod up;
pub mod validate;
