//! Finds and reads the manifest files of a directory: the only I/O of the directory source.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::problem::{Problem, Problems, Reason};
use crate::limits;

/// A manifest file.
#[derive(Debug)]
pub(super) struct Manifest {
    /// Relative to the directory.
    pub(super) file: PathBuf,
    pub(super) text: String,
}

/// Reads `*.yaml` and `*.yml` by name. A mounted `ConfigMap` is a directory of links into `..data`: links are followed,
/// names that begin with a dot are not read twice. Editors leave `name.yaml~` and `.name.yaml.swp` behind: not read.
pub(super) fn read(dir: &Path, problems: &mut Problems) -> Vec<Manifest> {
    let names = match names(dir) {
        Ok(names) => names,
        Err(error) => {
            problems.push(Problem { file: dir.to_owned(), line: 1, reason: unreadable(&error) });
            return Vec::new();
        }
    };
    let mut manifests = Vec::new();
    for name in names {
        match read_file(&dir.join(&name)) {
            Ok(Some(text)) => manifests.push(Manifest { file: name, text }),
            Ok(None) => {}
            Err((line, reason)) => problems.push(Problem { file: name, line, reason }),
        }
    }
    manifests
}

fn names(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = PathBuf::from(entry?.file_name());
        if is_manifest(&name) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn is_manifest(name: &Path) -> bool {
    let hidden = name.as_os_str().as_encoded_bytes().starts_with(b".");
    !hidden
        && name.extension().is_some_and(|extension| extension == OsStr::new("yaml") || extension == OsStr::new("yml"))
}

/// The text of a file; `None` for a directory.
fn read_file(path: &Path) -> Result<Option<String>, (u64, Reason)> {
    let fail = |error: io::Error| (1, unreadable(&error));
    // Asked before opening: opening a named pipe would wait for a writer.
    let kind = fs::metadata(path).map_err(fail)?;
    if kind.is_dir() {
        return Ok(None);
    }
    if !kind.is_file() {
        return Err((1, Reason::Unreadable("not a regular file".to_owned())));
    }
    let mut bytes = Vec::new();
    // One byte more than allowed tells a full file from one that is too large, even while it grows.
    File::open(path).map_err(fail)?.take(limits::FILE_BYTES + 1).read_to_end(&mut bytes).map_err(fail)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > limits::FILE_BYTES) {
        return Err((1, Reason::FileTooLarge));
    }
    String::from_utf8(bytes).map(Some).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        (line_after(valid), Reason::Encoding)
    })
}

fn line_after(bytes: &[u8]) -> u64 {
    bytes.iter().fold(1, |line, byte| if *byte == b'\n' { line + 1 } else { line })
}

fn unreadable(error: &io::Error) -> Reason {
    Reason::Unreadable(error.to_string())
}
