//! `kyros new`: a dashboard that runs at once with `kyros dev`, from templates that are files of this repository.

mod files;

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use kyros_shared_config::DashboardSlug;

use crate::output;

/// Begin something new.
#[derive(Debug, Subcommand)]
pub enum NewCommand {
    /// Write a dashboard into a new folder.
    #[command(after_help = EXAMPLES)]
    Dashboard(NewDashboardArgs),
}

const EXAMPLES: &str = "\
Examples:
  kyros new dashboard orders --framework dash
  kyros new dashboard orders --framework streamlit --output dashboards/orders
  kyros new dashboard orders --framework axum && cd orders && kyros dev -- cargo run";

/// What to write.
#[derive(Debug, Args)]
pub struct NewDashboardArgs {
    /// The dashboard's name: part of its address, so a-z, 0-9 and "-", at most 30 characters.
    name: DashboardSlug,
    /// What it is written with.
    #[arg(long, value_enum)]
    framework: Framework,
    /// The folder to write into; without it one of the dashboard's name.
    #[arg(long)]
    output: Option<PathBuf>,
}

/// What a dashboard can be written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Framework {
    /// Plotly Dash, in Python.
    Dash,
    /// Streamlit, in Python.
    Streamlit,
    /// axum, in Rust.
    Axum,
}

impl Framework {
    /// What makes the folder ready, and what starts the dashboard.
    fn commands(self) -> [&'static str; 2] {
        const ENVIRONMENT: &str = "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt";
        match self {
            Self::Dash => [ENVIRONMENT, "kyros dev -- .venv/bin/python app.py"],
            Self::Streamlit => [ENVIRONMENT, "kyros dev -- .venv/bin/streamlit run app.py"],
            Self::Axum => ["cargo build", "kyros dev -- cargo run"],
        }
    }
}

/// Writes it and says how to go on.
pub fn run(command: &NewCommand) -> anyhow::Result<()> {
    let NewCommand::Dashboard(NewDashboardArgs { name, framework, output }) = command;
    let folder = output.clone().unwrap_or_else(|| name.as_str().into());
    write(&folder, name, *framework)?;
    let [ready, start] = framework.commands();
    let text = format!(
        "{} is in {}. Next:\n\n  cd {}\n  {ready}\n  {start}\n",
        output::bold(&title_of(name.as_str())),
        folder.display(),
        folder.display()
    );
    Ok(output::print(text.as_bytes())?)
}

/// All or nothing of it: a folder that holds something is left alone.
fn write(folder: &Path, name: &DashboardSlug, framework: Framework) -> anyhow::Result<()> {
    let context = || format!("the folder {}", folder.display());
    match fs::read_dir(folder).map(|mut entries| entries.next().is_some()) {
        Ok(true) => bail!("{} is not empty: choose another folder with --output", folder.display()),
        Ok(false) => (),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (),
        Err(error) => return Err(error).with_context(context),
    }
    for (path, template) in files::of(framework) {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap_or(folder)).with_context(context)?;
        // Never over something that came meanwhile.
        let mut file = OpenOptions::new().write(true).create_new(true).open(&path).with_context(context)?;
        file.write_all(filled(template, name).as_bytes()).with_context(context)?;
    }
    Ok(())
}

fn filled(template: &str, name: &DashboardSlug) -> String {
    template
        .replace("__NAME__", name.as_str())
        .replace("__TITLE__", &title_of(name.as_str()))
        .replace("__VERSION__", env!("CARGO_PKG_VERSION"))
}

/// A name for people: `monthly-sales` is `Monthly sales`. Letters, digits and spaces alone, whatever the name has.
pub(crate) fn title_of(name: &str) -> String {
    let words: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { ' ' }).collect();
    let mut title = words.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    title
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const ALL: [Framework; 3] = [Framework::Dash, Framework::Streamlit, Framework::Axum];

    #[test]
    fn every_framework_gets_the_whole_folder_with_nothing_left_to_fill_in() {
        for framework in ALL {
            let folder = TempDir::new().unwrap();
            let target = folder.path().join("new");
            write(&target, &"monthly-sales".parse().unwrap(), framework).unwrap();
            for file in ["kyros.yaml", "README.md", ".gitignore", ".dockerignore", "Dockerfile"] {
                assert!(target.join(file).is_file(), "{framework:?}: {file}");
            }
            for (path, _) in files::of(framework) {
                let text = fs::read_to_string(target.join(&path)).unwrap();
                // `__init__` and the like are Python's.
                for placeholder in ["__NAME__", "__TITLE__", "__VERSION__"] {
                    assert!(!text.contains(placeholder), "{path} holds {placeholder}");
                }
                assert!(!text.contains(env!("CARGO_MANIFEST_DIR")), "{path} names this machine");
            }
            fs::create_dir(folder.path().join("manifests")).unwrap();
            fs::copy(target.join("kyros.yaml"), folder.path().join("manifests/kyros.yaml")).unwrap();
            let set = kyros_controller::directory::load(&folder.path().join("manifests")).unwrap();
            assert_eq!(set.dashboards[0].spec.title, "Monthly sales");
        }
    }

    #[test]
    fn a_folder_that_holds_something_is_left_as_it_is() {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("mine"), "x").unwrap();
        for framework in ALL {
            let error = write(folder.path(), &"sales".parse().unwrap(), framework).unwrap_err().to_string();
            assert!(error.contains("--output"), "{error}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn titles_are_words() {
        for (name, title) in [("monthly-sales", "Monthly sales"), ("a", "A"), ("3d", "3d"), ("o'neil.x", "O neil x")] {
            assert_eq!(title_of(name), title);
        }
    }
}
