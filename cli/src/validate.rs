//! `kyros validate`: whether a folder of manifests would be accepted.

use std::path::{Path, PathBuf};

use clap::Args;
use kyros_controller::directory;

use crate::output::{counted, print, say};

/// Check a folder of Tenant and Dashboard manifests.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  kyros validate data/manifests")]
pub struct ValidateArgs {
    /// The folder.
    pub dir: PathBuf,
}

/// Prints every mistake with file, line and what to do; true when there is none.
pub fn run(dir: &Path) -> anyhow::Result<bool> {
    if dir.is_file() {
        say(&format!("{}: give the folder; resources refer to each other across files", dir.display()));
        return Ok(false);
    }
    match directory::load(dir) {
        Ok(set) if set.tenants.is_empty() && set.dashboards.is_empty() => {
            say(&format!("{}: there is no Tenant and no Dashboard in any .yaml or .yml file here", dir.display()));
            Ok(false)
        }
        Ok(set) => {
            for warning in &set.warnings {
                say(&format!("warning: {warning}\n  {}", warning.hint()));
            }
            let (tenants, dashboards) = (set.tenants.len(), set.dashboards.len());
            let counts = format!("{} and {}", counted(tenants, "tenant"), counted(dashboards, "dashboard"));
            print(format!("{counts} are right\n").as_bytes())?;
            Ok(true)
        }
        Err(problems) => {
            for problem in &problems {
                say(&format!("{problem}\n  {}", problem.hint()));
            }
            say(&format!("{} to mend", counted(problems.len(), "mistake")));
            Ok(false)
        }
    }
}
