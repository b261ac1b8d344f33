//! Which files changed, so that the command starts again: debounced, and without what tools write by themselves.
//!
//! Every folder is watched by itself and not the tree as a whole: a watch of the tree would also be one of `node_modules` and
//! `target`, whose thousands of folders use up what the system allows.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{ModifyKind, RenameMode},
};
use tokio::sync::mpsc;

use super::screen::Screen;

/// Editors write a file in several steps; so long nothing may happen before a change counts.
const QUIET: Duration = Duration::from_millis(150);
/// A change counts after this long also where something is written all the time.
const AT_MOST: Duration = Duration::from_secs(1);
/// Systems allow some ten thousands for all programs of a person.
const MAX_FOLDERS: usize = 4096;
/// Folders whose content no dashboard is written in.
const IGNORED_FOLDERS: [&str; 16] = [
    ".git",
    ".hg",
    ".idea",
    ".ipynb_checkpoints",
    ".kyros",
    ".mypy_cache",
    ".nox",
    ".pytest_cache",
    ".ruff_cache",
    ".tox",
    ".venv",
    ".vscode",
    "__pycache__",
    "node_modules",
    "target",
    "venv",
];
/// How the names of files end that tools and editors write.
const IGNORED_ENDS: [&str; 12] =
    [".pyc", ".pyo", ".swp", ".swx", ".swo", ".tmp", ".log", "~", ".db-journal", ".sqlite-journal", ".lock", ".pid"];
/// How they begin, and names that stand for themselves (vim tries whether it may write with 4913).
const IGNORED_BEGINNINGS: [&str; 4] = [".#", "#", "4913", ".DS_Store"];

/// The changes that matter.
pub(super) struct Watch {
    changes: mpsc::Receiver<PathBuf>,
}

/// The folders that are watched.
struct Tree {
    watcher: RecommendedWatcher,
    /// Never watched, whatever it is called.
    state: PathBuf,
    count: usize,
}

impl Watch {
    /// Watches these folders, or the current one when there are none.
    pub(super) fn start(folders: &[PathBuf], state: &Path, screen: &Screen) -> Self {
        let folders = if folders.is_empty() { vec![PathBuf::from(".")] } else { folders.to_vec() };
        let (events, seen) = mpsc::unbounded_channel();
        let (tell, changes) = mpsc::channel(1);
        let started = Tree::new(state, events).and_then(|mut tree| {
            folders.iter().try_for_each(|folder| tree.add(&std::path::absolute(folder)?))?;
            Ok(tree)
        });
        match started {
            Ok(tree) => {
                tokio::spawn(settle(tree, seen, tell));
            }
            Err(error) => {
                screen.warn(&format!("files are not watched: {error}; r restarts, --watch DIR names other folders"));
            }
        }
        Self { changes }
    }

    /// The first file of the next change. Never returns when nothing is watched.
    pub(super) async fn changed(&mut self) -> PathBuf {
        match self.changes.recv().await {
            Some(path) => shown(&path),
            None => std::future::pending().await,
        }
    }
}

/// As a person who stands in this folder would write it.
fn shown(path: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).to_owned()
}

impl Tree {
    fn new(state: &Path, events: mpsc::UnboundedSender<Event>) -> anyhow::Result<Self> {
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if let Ok(event) = event
                && is_change(event.kind)
            {
                let _ = events.send(event);
            }
        })?;
        Ok(Self { watcher, state: std::path::absolute(state)?, count: 0 })
    }

    /// Watches a folder and those below it. Links are not followed: they may lead in circles.
    fn add(&mut self, folder: &Path) -> anyhow::Result<()> {
        self.count += 1;
        if self.count > MAX_FOLDERS {
            anyhow::bail!("there are more than {MAX_FOLDERS} folders");
        }
        self.watcher.watch(folder, RecursiveMode::NonRecursive)?;
        for entry in std::fs::read_dir(folder)?.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) && self.matters(&entry.path()) {
                self.add(&entry.path())?;
            }
        }
        Ok(())
    }

    fn matters(&self, path: &Path) -> bool {
        !path.starts_with(&self.state) && !is_ignored(path)
    }
}

/// What leaves a file other than it was. Being read, or touched, is no change.
fn is_change(kind: EventKind) -> bool {
    // Of a renaming one half names the old place; the other half names the file that is there now.
    !matches!(
        kind,
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_) | ModifyKind::Name(RenameMode::From))
    )
}

/// Whether a file's or a folder's own name says that tools wrote it. Folders above it were looked at on the way down.
fn is_ignored(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return true };
    IGNORED_FOLDERS.contains(&name)
        || IGNORED_ENDS.iter().any(|end| name.ends_with(end))
        || IGNORED_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}

/// Makes one change of the events that come together.
async fn settle(mut tree: Tree, mut events: mpsc::UnboundedReceiver<Event>, tell: mpsc::Sender<PathBuf>) {
    while let Some(event) = events.recv().await {
        let Some(first) = take(&mut tree, event) else { continue };
        let deadline = tokio::time::Instant::now() + AT_MOST;
        loop {
            let quiet = tokio::time::Instant::now() + QUIET;
            match tokio::time::timeout_at(quiet.min(deadline), events.recv()).await {
                // What tools write meanwhile holds nothing up.
                Ok(Some(event)) => drop(take(&mut tree, event)),
                Ok(None) => return,
                Err(_) => break,
            }
        }
        // One that nobody has taken yet stands for this one too.
        let _ = tell.try_send(first);
    }
}

/// The first path of an event that matters; a new folder is watched from now on.
fn take(tree: &mut Tree, event: Event) -> Option<PathBuf> {
    let mut first = None;
    for path in event.paths {
        if !tree.matters(&path) {
            continue;
        }
        if matches!(event.kind, EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(_))) && path.is_dir() {
            let _ = tree.add(&path);
        }
        first = first.or(Some(path));
    }
    first
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn what_tools_write_is_ignored_and_sources_are_not() {
        for ignored in ["a/.git", "__pycache__", "x/app.cpython-311.pyc", ".app.py.swp", "app.py~", ".#app.py", "4913"]
        {
            assert!(is_ignored(Path::new(ignored)), "{ignored}");
        }
        for source in ["app.py", "src/main.rs", "Cargo.toml", "assets/style.css", "pages", ".streamlit", ".env"] {
            assert!(!is_ignored(Path::new(source)), "{source}");
        }
    }

    #[tokio::test]
    async fn events_that_come_together_are_one_change() {
        let folder = TempDir::new().unwrap();
        let (events, seen) = mpsc::unbounded_channel();
        let (tell, mut changes) = mpsc::channel(1);
        let tree = Tree::new(&folder.path().join("state"), events.clone()).unwrap();
        for name in ["debug.log", "app.py", "app.py", "other.py"] {
            let kind = EventKind::Modify(ModifyKind::Any);
            events.send(Event::new(kind).add_path(folder.path().join(name))).unwrap();
        }
        tokio::spawn(settle(tree, seen, tell));
        assert_eq!(tokio::time::timeout(SOON, changes.recv()).await.unwrap(), Some(folder.path().join("app.py")));
        assert!(tokio::time::timeout(QUIET * 3, changes.recv()).await.is_err(), "told twice");
    }

    #[tokio::test]
    async fn a_change_is_told_also_in_a_folder_that_is_new_and_not_where_tools_write() {
        let folder = TempDir::new().unwrap();
        let root = std::fs::canonicalize(folder.path()).unwrap();
        std::fs::create_dir_all(root.join("node_modules/deep")).unwrap();
        std::fs::create_dir_all(root.join("state")).unwrap();
        let mut watch = Watch::start(std::slice::from_ref(&root), &root.join("state"), &Screen::new());
        // None of these is a change.
        std::fs::write(root.join("node_modules/deep/x.js"), "x").unwrap();
        std::fs::write(root.join("state/session"), "x").unwrap();
        std::fs::write(root.join("debug.log"), "x").unwrap();
        assert!(tokio::time::timeout(QUIET * 3, watch.changed()).await.is_err());
        std::fs::create_dir(root.join("pages")).unwrap();
        assert_eq!(tokio::time::timeout(SOON, watch.changed()).await.unwrap(), root.join("pages"));
        std::fs::write(root.join("pages/one.py"), "x").unwrap();
        assert_eq!(tokio::time::timeout(SOON, watch.changed()).await.unwrap(), root.join("pages/one.py"));
    }
}
