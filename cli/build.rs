//! Finds the sources of `kyros_dash`, so that `kyros new` can write a copy of them: the package is on no index yet.

use std::{env, error::Error, fs, path::Path};

/// Where the package is in this repository.
const PACKAGE: &str = "../dashboards/python/kyros_dash";

fn main() -> Result<(), Box<dyn Error>> {
    let package = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join(PACKAGE);
    let sources = package.join("src/kyros_dash");
    println!("cargo::rerun-if-changed={}", sources.display());
    println!("cargo::rerun-if-changed={}", package.join("LICENSE").display());
    let mut files = vec![("LICENSE".to_owned(), package.join("LICENSE"))];
    let context = |error| format!("{}, a part of this repository, cannot be read: {error}", sources.display());
    for entry in fs::read_dir(&sources).map_err(context)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Not what Python and editors leave there.
        if name == "py.typed" || (path.extension().is_some_and(|extension| extension == "py") && path.is_file()) {
            files.push((name, path));
        }
    }
    files.sort();
    let entries = files.iter().map(|(name, path)| format!("    ({name:?}, include_str!({:?})),\n", path.display()));
    let table = format!("&[\n{}]\n", entries.collect::<String>());
    fs::write(Path::new(&env::var("OUT_DIR")?).join("kyros_dash.rs"), table)?;
    Ok(())
}
