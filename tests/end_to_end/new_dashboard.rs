//! `kyros new dashboard`: what it writes runs with `kyros dev`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use kyros_tests::{
    BrowserLike, Client, Dev, Start,
    browser::{Browser, BrowserError},
};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_mins(1);

fn kyros() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_kyros"))
}

fn new(home: &Path, name: &str, framework: &str) -> Output {
    let arguments = ["new", "dashboard", name, "--framework", framework];
    Command::new(kyros()).args(arguments).current_dir(home).output().unwrap()
}

/// A new dashboard in a folder that goes away with the test.
fn written(framework: &str) -> (TempDir, PathBuf) {
    let home = TempDir::with_prefix("kyros-new-").unwrap();
    let output = new(home.path(), "orders", framework);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("cd orders") && said.contains("kyros dev -- "), "{said}");
    let folder = home.path().join("orders");
    (home, folder)
}

fn dev(folder: &Path, command: &[&str]) -> Dev {
    Start { program: kyros(), folder, options: &[], command }.start().unwrap()
}

#[test]
fn a_name_that_is_no_part_of_an_address_and_a_full_folder_are_refused() {
    let home = TempDir::with_prefix("kyros-new-").unwrap();
    for name in ["Orders", "a--b", "a-", "a_b", "../x", "a-name-that-is-longer-than-thirty"] {
        let output = new(home.path(), name, "dash");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{name}");
        assert!(said.contains("must ") || said.contains("may hold only"), "{name}: {said}");
    }
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    assert!(new(home.path(), "orders", "axum").status.success());
    let again = new(home.path(), "orders", "dash");
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("is not empty"), "{again:?}");
    assert!(!home.path().join("orders/app.py").exists());
}

#[test]
fn the_python_ones_compile_with_the_package_beside_them() {
    for framework in ["dash", "streamlit"] {
        let (_home, folder) = written(framework);
        let compiled =
            Command::new("python3").args(["-m", "compileall", "-q", "."]).current_dir(&folder).output().unwrap();
        assert!(compiled.status.success(), "{compiled:?}");
        for file in ["kyros_dash/__init__.py", "kyros_dash/LICENSE", "kyros_dash/NOTE.md"] {
            assert!(folder.join(file).is_file(), "{framework}: {file}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_one_in_rust_shows_each_tenant_its_own() {
    let (_home, folder) = written("axum");
    // Cargo builds the template itself as an example of this package.
    let program = kyros().with_file_name("examples").join("new_axum_dashboard");
    assert!(program.exists(), "build it first: cargo build --workspace --examples");
    let source = fs::read_to_string(folder.join("src/main.rs")).unwrap();
    assert!(source.contains("<title>Orders</title>"), "{source}");
    let dev = dev(&folder, &[program.to_str().unwrap()]);
    let mut person = BrowserLike::new(Client::new(&dev.portal).unwrap());
    person.navigate(&dev.open).await.unwrap();
    let mut pages = Vec::new();
    for tenant in ["acme", "globex"] {
        let (_, page) = person.navigate(&format!("{}/", dev.dashboard("orders", tenant))).await.unwrap();
        let text = page.text();
        assert!(text.contains(&format!("<b>{tenant}</b> for ana@acme.example")), "{text}");
        assert!(text.contains("<tr><td>"), "{text}");
        pages.push(text.split("<tbody>").nth(1).unwrap().to_owned());
    }
    assert_ne!(pages[0], pages[1]);
}

/// Without `KYROS_TEST_NEW_AXUM` it is only checked as a part of this workspace: by itself it is built from nothing.
#[test]
fn the_one_in_rust_is_a_package_of_its_own() {
    if std::env::var_os("KYROS_TEST_NEW_AXUM").is_none() {
        return eprintln!("skipped: it builds axum and reqwest anew; export KYROS_TEST_NEW_AXUM=1");
    }
    let (_home, folder) = written("axum");
    let target = kyros().with_file_name("new-axum");
    let checked = Command::new(env!("CARGO"))
        .args(["check", "--quiet", "--target-dir"])
        .arg(target)
        .current_dir(&folder)
        .output()
        .unwrap();
    assert!(checked.status.success(), "{checked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_one_in_dash_shows_each_tenant_its_own() {
    let Some(programs) = environment("dash") else { return };
    let python = programs.join("python");
    in_a_browser("dash", &[python.to_str().unwrap(), "app.py"], "#tenant").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_one_in_streamlit_shows_each_tenant_its_own() {
    let Some(programs) = environment("streamlit") else { return };
    let streamlit = programs.join("streamlit");
    in_a_browser("streamlit", &[streamlit.to_str().unwrap(), "run", "app.py"], "[data-testid=stText]").await;
}

/// The programs of a framework's Python environment, as the tests of the frameworks are told them.
fn environment(framework: &str) -> Option<PathBuf> {
    if let Some(environments) = std::env::var_os("KYROS_TEST_PYTHON") {
        return Some(Path::new(&environments).join(framework).join("bin"));
    }
    let hint = "export KYROS_TEST_PYTHON=$(dashboards/python/environment --all)";
    assert!(std::env::var_os("KYROS_TEST_REQUIRE_FRAMEWORKS").is_none(), "{hint}");
    eprintln!("skipped: no Python environment; {hint}");
    None
}

/// Opens what was written for both tenants, in the portal's frame.
async fn in_a_browser(framework: &str, command: &[&str], whose: &str) {
    let browser = match Browser::start().await {
        Ok(browser) => browser,
        Err(BrowserError::NotInstalled) if std::env::var_os("KYROS_TEST_REQUIRE_FRAMEWORKS").is_none() => {
            return eprintln!("skipped: no chromedriver in PATH (Debian: apt-get install chromium chromium-driver)");
        }
        Err(error) => panic!("{error}"),
    };
    let (_home, folder) = written(framework);
    let dev = dev(&folder, command);
    browser.goto(&dev.open).await.unwrap();
    for tenant in ["acme", "globex"] {
        browser.goto(&format!("{}/t/{tenant}/d/orders", dev.portal)).await.unwrap();
        browser.enter_frame("iframe").await.unwrap();
        browser.wait_for_text("ana@acme.example", PATIENCE).await.unwrap();
        let shown = browser.text_of(whose).await.unwrap();
        assert!(shown.starts_with(tenant), "{framework}: {shown}");
        // The chart is drawn from the tenant's rows.
        let chart = "document.querySelector('.bars path, [data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg') !== null";
        browser.wait_for_js(chart, PATIENCE).await.unwrap();
        browser.leave_frames().await.unwrap();
    }
    browser.close().await.unwrap();
}
