//! Which files a new dashboard has, and what each is made from.

use super::Framework;

/// Where a file goes, and its template. Templates whose own names would mean something to a tool of this repository (`README.md`,
/// `Cargo.toml`, `.gitignore`) have others here.
type File = (&'static str, &'static str);

macro_rules! template {
    ($path:literal) => {
        include_str!(concat!("../../templates/", $path))
    };
}

const DASH: [File; 5] = [
    ("app.py", template!("dash/app.py")),
    ("requirements.txt", template!("dash/requirements.txt")),
    ("kyros.yaml", template!("dash/kyros.yaml")),
    ("README.md", template!("dash/README.in")),
    ("Dockerfile", template!("dash/Dockerfile")),
];

const STREAMLIT: [File; 6] = [
    ("app.py", template!("streamlit/app.py")),
    ("requirements.txt", template!("streamlit/requirements.txt")),
    (".streamlit/config.toml", template!("streamlit/config.toml")),
    ("kyros.yaml", template!("streamlit/kyros.yaml")),
    ("README.md", template!("streamlit/README.in")),
    ("Dockerfile", template!("streamlit/Dockerfile")),
];

const AXUM: [File; 5] = [
    ("src/main.rs", template!("axum/src/main.rs")),
    ("Cargo.toml", template!("axum/Cargo.in")),
    ("kyros.yaml", template!("axum/kyros.yaml")),
    ("README.md", template!("axum/README.in")),
    ("Dockerfile", template!("axum/Dockerfile")),
];

const PYTHON: [File; 3] = [
    (".gitignore", template!("python.gitignore")),
    (".dockerignore", template!("python.dockerignore")),
    ("kyros_dash/NOTE.md", template!("vendored/note.in")),
];

const RUST: [File; 2] =
    [(".gitignore", template!("rust.gitignore")), (".dockerignore", template!("rust.dockerignore"))];

/// The package that Python dashboards use, copied: found by the build script.
const KYROS_DASH: &[File] = include!(concat!(env!("OUT_DIR"), "/kyros_dash.rs"));

/// Everything of a framework's dashboard: path in its folder, and template.
pub(super) fn of(framework: Framework) -> Vec<(String, &'static str)> {
    let (own, shared, vendored): (&[File], &[File], &[File]) = match framework {
        Framework::Dash => (&DASH, &PYTHON, KYROS_DASH),
        Framework::Streamlit => (&STREAMLIT, &PYTHON, KYROS_DASH),
        Framework::Axum => (&AXUM, &RUST, &[]),
    };
    let plain = own.iter().chain(shared).map(|(path, template)| ((*path).to_owned(), *template));
    plain.chain(vendored.iter().map(|(name, text)| (format!("kyros_dash/{name}"), *text))).collect()
}
