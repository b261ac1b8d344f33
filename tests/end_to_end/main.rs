//! Kyros as people and programs meet it: every test starts `kyros up` on a free port with folders of its own.

mod attacks;
mod browser;
mod lifecycle;
mod matrix;
mod programs;

use std::path::Path;

use kyros_tests::{Up, UpOptions};

/// Starts the program that Cargo built for these tests, on the manifests and people of the repository.
fn up() -> Up {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data");
    Up::start(&UpOptions { program: env!("CARGO_BIN_EXE_kyros").into(), sources }).expect("kyros up starts")
}
