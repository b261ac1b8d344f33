//! `kyros validate`: whether a folder of manifests would be accepted.

use std::path::{Path, PathBuf};

use clap::Args;
use kyros_controller::directory;

/// Check a folder of Tenant and Dashboard manifests.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  kyros validate data/manifests")]
pub struct ValidateArgs {
    /// The folder.
    pub dir: PathBuf,
}

/// Prints every mistake with file, line and what to do; true when there is none.
pub fn run(dir: &Path) -> bool {
    if dir.is_file() {
        eprintln!("{}: give the folder; resources refer to each other across files", dir.display());
        return false;
    }
    match directory::load(dir) {
        Ok(set) if set.tenants.is_empty() && set.dashboards.is_empty() => {
            eprintln!("{}: there is no Tenant and no Dashboard in any .yaml or .yml file here", dir.display());
            false
        }
        Ok(set) => {
            for warning in &set.warnings {
                eprintln!("warning: {warning}\n  {}", warning.hint());
            }
            println!("{} tenants and {} dashboards are right", set.tenants.len(), set.dashboards.len());
            true
        }
        Err(problems) => {
            for problem in &problems {
                eprintln!("{problem}\n  {}", problem.hint());
            }
            eprintln!(
                "{} to mend",
                if problems.len() == 1 { "1 mistake".into() } else { format!("{} mistakes", problems.len()) }
            );
            false
        }
    }
}
