//! `kyros data` as an operator runs it: the real program, on a data folder of its own.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

const CSV: &str = "day,channel,revenue,note\n\
                   2026-01-31,web,10.5,\n\
                   2026-02-01,shop,2,\"a, b\"\n\
                   2026-02-01,web,0.25,x\n";
const NDJSON: &str = "{\"day\":\"2026-01-31\",\"channel\":\"web\",\"revenue\":10.5}\n\
                      {\"day\":\"2026-02-01\",\"channel\":\"shop\",\"revenue\":2,\"note\":\"a, b\"}\n\
                      {\"day\":\"2026-02-01\",\"channel\":\"web\",\"revenue\":0.25,\"note\":\"x\"}\n";

/// A folder with the data and the files of one test.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kyros"));
        command.arg("data").args(arguments).env("KYROS_DATA_DIR", self.path("data")).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn import(&self, file: &Path, more: &[&str]) -> Output {
        let file = file.to_str().unwrap();
        self.run(&[&["import", file, "--tenant", "acme", "--dashboard", "clv", "--dataset", "orders"], more].concat())
    }

    /// Of acme's orders for clv.
    fn query(&self, more: &[&str]) -> Output {
        self.run(&[&["query", "--tenant", "acme", "--dashboard", "clv", "orders"], more].concat())
    }

    fn export(&self, file: &Path, more: &[&str]) -> Output {
        let file = file.to_str().unwrap();
        self.run(&[&["export", "--tenant", "acme", "--dashboard", "clv", "orders", "--output", file], more].concat())
    }
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What is said on standard error when it ends with that code, and prints nothing.
fn failure(output: &Output, code: i32) -> String {
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(code), &b""[..]));
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn every_format_is_imported_with_the_same_columns() {
    let place = Place::new();
    let columns = "\
──────────────────
 column    type   
══════════════════
 day       date   
──────────────────
 channel   string 
──────────────────
 revenue   float  
──────────────────
 note      string 
──────────────────
";
    let csv = out(&place.import(&place.file("orders.csv", CSV), &[]));
    assert_eq!(csv, format!("3 rows are now orders of acme for clv\n{columns}"));
    let replaced = format!("3 rows are now orders of acme for clv, and replace the older version\n{columns}");
    assert_eq!(out(&place.import(&place.file("orders.jsonl", NDJSON), &[])), replaced);
    out(&place.export(&place.path("orders.parquet"), &[]));
    assert_eq!(out(&place.import(&place.path("orders.parquet"), &[])), replaced);
    assert_eq!(out(&place.import(&place.file("no-extension", CSV), &["--format", "csv"])), replaced);
}

#[test]
fn standard_input_is_imported_when_its_format_is_said() {
    let place = Place::new();
    let to = ["import", "-", "--tenant", "acme", "--dashboard", "clv", "--dataset", "orders"];
    assert!(failure(&place.run(&to), 2).contains("add --format"));
    let mut command = place.command(&[&to[..], &["--format", "ndjson"]].concat());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(NDJSON.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(out(&output).starts_with("3 rows are now orders"));
    assert_eq!(output.stderr, b"", "no progress where no terminal is");
}

#[test]
fn a_failed_import_says_why_and_changes_nothing() {
    let place = Place::new();
    out(&place.import(&place.file("orders.csv", CSV), &[]));
    let before = out(&place.run(&["ls", "--format", "json"]));
    for (name, content, reason) in [
        ("bad.parquet", "PAR1 nonsense", "is not valid parquet"),
        ("bad.csv", "id\n1\n99999999999999999999\n", "column 'id'"),
        ("long.csv", "a,b\n1,2\n1,2,3\n", "more fields"),
        ("bad.ndjson", "{\"a\":1}\n{\"a\":\n", "line 2"),
        ("nested.ndjson", "{\"a\":1,\"tags\":[1,2]}\n", "column \"tags\" has the type list"),
        ("empty.csv", "", "is not valid csv"),
    ] {
        let said = failure(&place.import(&place.file(name, content), &[]), 1);
        assert!(said.contains(reason) && said.contains("nothing changed"), "{name}: {said}");
    }
    assert!(failure(&place.import(&place.path("missing.csv"), &[]), 1).contains("missing.csv"));
    assert!(failure(&place.import(&place.file("orders.txt", CSV), &[]), 2).contains("orders.txt"));
    assert_eq!(out(&place.run(&["ls", "--format", "json"])), before);
    assert_eq!(std::fs::read_dir(place.path("data/tenants/acme/clv")).unwrap().count(), 1, "no litter");
}

#[test]
fn a_file_without_rows_replaces_one_with_rows_only_when_that_is_meant() {
    let place = Place::new();
    let none = place.file("none.csv", "day,channel\n");
    assert!(out(&place.import(&none, &[])).starts_with("0 rows are now orders"), "there was nothing to lose");
    out(&place.import(&place.file("orders.csv", CSV), &[]));
    let before = out(&place.run(&["ls", "--format", "json"]));
    // What a failed download leaves: a header and nothing below it.
    let problem = place.file("problem.csv", "401 Unauthorized");
    let nothing: &[&str] = &[];
    for (file, more) in [(&none, nothing), (&none, &["--dry-run"]), (&problem, nothing)] {
        let said = failure(&place.import(file, more), 1);
        assert!(said.contains("nothing changed: it has no rows, and would replace the 3 rows"), "{said}");
        assert!(said.contains("--allow-empty"), "{said}");
    }
    assert_eq!(out(&place.run(&["ls", "--format", "json"])), before);
    let said = out(&place.import(&none, &["--allow-empty"]));
    assert!(said.starts_with("0 rows are now orders of acme for clv, and replace the older version\n"), "{said}");
    place.file("data/tenants/acme/clv/orders.parquet", "PAR1");
    assert!(failure(&place.import(&none, &[]), 1).contains("--allow-empty"), "nobody knows what a damaged one had");
}

#[test]
fn columns_without_a_name_of_their_own_are_refused_and_awkward_names_are_told() {
    let place = Place::new();
    for (content, reason) in [
        ("b,,c:d,\"e,f\",-g\n1,2,3,4,5\n", "column 2 has no name"),
        ("a,a\n1,2\n", "columns 1 and 2 are both called \"a\""),
    ] {
        let said = failure(&place.import(&place.file("bad.csv", content), &[]), 1);
        assert!(said.contains(reason) && said.contains("nothing changed"), "{said}");
    }
    assert!(!place.path("data").exists());
    let awkward = place.import(&place.file("awkward.csv", "b,c:d,\"e,f\",-g\n1,2,3,4\n"), &[]);
    assert!(out(&awkward).starts_with("1 row is now orders of acme for clv\n"), "{awkward:?}");
    let said = String::from_utf8_lossy(&awkward.stderr).into_owned();
    assert!(said.starts_with("warning: ") && said.contains("\"c:d\", \"e,f\", \"-g\""), "{said}");
}

#[test]
fn names_that_the_manifests_do_not_have_are_one_line_of_warning() {
    let place = Place::new();
    let orders = place.file("orders.csv", CSV);
    let manifests = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/manifests");
    let import = |tenant: &str, dashboard: &str, more: &[&str]| {
        let arguments = ["import", orders.to_str().unwrap(), "--tenant", tenant, "--dashboard", dashboard];
        let output = place.run(&[&arguments[..], &["--dataset", "orders"], more].concat());
        out(&output);
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(import("nosuch", "nosuchdash", &[]), "", "there are no manifests");
    assert_eq!(import("acme", "clv", &["--manifests", manifests]), "");
    let said = import("acmee", "nosuchdash", &["--manifests", manifests]);
    let expected = "has no Tenant acmee (did you mean acme?) and no Dashboard nosuchdash\n";
    assert!(said.starts_with("warning: ") && said.ends_with(expected) && said.lines().count() == 1, "{said}");
    std::fs::create_dir(place.path("data/manifests")).unwrap();
    std::fs::copy(Path::new(manifests).join("tenants.yaml"), place.path("data/manifests/tenants.yaml")).unwrap();
    assert!(import("nosuch", "clv", &[]).contains("has no Tenant nosuch"), "those in the data folder are found");
}

#[test]
fn an_import_that_did_not_reach_its_place_says_for_certain_that_nothing_changed() {
    let place = Place::new();
    std::fs::create_dir_all(place.path("data/tenants")).unwrap();
    place.file("data/tenants/acme", "no folder");
    let said = failure(&place.import(&place.file("orders.csv", CSV), &[]), 1);
    assert!(said.contains("nothing changed") && !said.contains("perhaps"), "{said}");
    assert!(said.contains(place.path("data").to_str().unwrap()), "{said}");
}

#[test]
fn a_dry_run_shows_the_columns_and_writes_nothing() {
    let place = Place::new();
    let said = out(&place.import(&place.file("orders.csv", CSV), &["--dry-run"]));
    assert!(said.starts_with("3 rows would be orders of acme for clv; nothing was written\n"), "{said}");
    assert!(said.contains("revenue   float"), "{said}");
    assert!(!place.path("data").exists());
}

#[test]
fn ls_shows_every_dataset_and_what_is_wrong_with_it() {
    let place = Place::new();
    assert!(failure(&place.run(&["ls"]), 1).contains("--data"));
    out(&place.import(&place.file("orders.csv", CSV), &[]));
    place.file("data/tenants/acme/clv/raw.csv", CSV);
    place.file("data/tenants/acme/clv/torn.parquet", "PAR1");
    std::fs::create_dir_all(place.path("data/tenants/globex/clv")).unwrap();
    std::os::unix::fs::symlink("../../acme/clv/raw.csv", place.path("data/tenants/globex/clv/raw.csv")).unwrap();
    let table = out(&place.run(&["ls", "--tenant", "acme"]));
    let cells: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    let row = |name: &str| cells.iter().find(|cells| cells.get(2) == Some(&name)).unwrap_or_else(|| panic!("{table}"));
    assert_eq!(row("orders")[..5], ["acme", "clv", "orders", "3", "4"]);
    assert_eq!(row("raw")[3..8], ["-", "-", "93", "B", "csv"]);
    assert_eq!(row("torn")[3], "damaged");
    let all: serde_json::Value = serde_json::from_str(&out(&place.run(&["ls", "--format", "json"]))).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 3, "links are not there: {all}");
    assert_eq!((&all[0]["dataset"], &all[0]["rows"], &all[0]["damaged"]), (&"orders".into(), &3.into(), &().into()));
    assert!(all[2]["damaged"].as_str().unwrap().contains("parquet"));
    assert!(out(&place.run(&["ls", "--tenant", "globex"])).contains("no datasets"));
}

#[test]
fn a_query_prints_a_table_and_how_much_of_it() {
    let place = Place::new();
    out(&place.import(&place.file("orders.csv", CSV), &[]));
    let table = out(&place.query(&["group_by=channel&agg=revenue:sum,*:count&sort=-revenue_sum"]));
    let expected = "\
─────────────────────────────────
 channel   revenue_sum   count 
═════════════════════════════════
 web             10.75       2 
─────────────────────────────────
 shop              2.0       1 
─────────────────────────────────
2 of 2 rows
";
    let squeezed = |text: &str| text.replace(['─', '═'], "");
    assert_eq!(squeezed(&table), squeezed(expected));
    assert!(out(&place.query(&["select=day,note&sort=day", "--limit", "1"])).ends_with("1 of 3 rows\n"));
    assert!(out(&place.query(&["?limit=2"])).ends_with("2 of 3 rows\n"));
    let json = out(&place.query(&["filter=channel:eq:shop", "--format", "json"]));
    let expected = "{\"data\":[{\"day\":\"2026-02-01\",\"channel\":\"shop\",\"revenue\":2.0,\"note\":\"a, b\"}],\
                    \"meta\":{\"rows\":1,\"total\":1,\"truncated\":false}}";
    assert_eq!(json, expected);
}

#[test]
fn everything_that_is_wrong_with_a_query_is_said_at_once() {
    let place = Place::new();
    out(&place.import(&place.file("orders.csv", CSV), &[]));
    let said = failure(&place.query(&["group_by=chanel&agg=day:sum&sort=x"]), 1);
    for part in ["group_by: ", "\"chanel\"", "allowed: day, channel, revenue, note", "agg: ", "sort: "] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(failure(&place.query(&["format=csv"]), 1).contains("allowed: select, group_by"));
    assert!(
        failure(&place.run(&["query", "--tenant", "globex", "--dashboard", "clv", "orders"]), 1).contains("no dataset")
    );
    let outside = ["query", "--tenant", "..", "--dashboard", "clv", "orders"];
    assert!(failure(&place.run(&outside), 2).contains("--tenant"));
}

#[test]
fn an_export_can_be_imported_again_as_what_it_was() {
    let place = Place::new();
    let rows: String =
        (0..60_000).map(|row| format!("{row},name {},{}.5,2026-01-31T09:30:00Z\n", row % 7, row % 100)).collect();
    let csv = format!("id,name,x,at\n{rows}");
    out(&place.import(&place.file("first.csv", &csv), &[]));
    for name in ["out.parquet", "out.ndjson", "out.csv"] {
        let said = out(&place.export(&place.path(name), &[]));
        assert!(said.starts_with("60,000 rows are in "), "more than a client gets at once: {said}");
        let imported = out(&place.import(&place.path(name), &[]));
        for kind in ["integer", "string", "float", "datetime"] {
            assert!(imported.contains(kind), "{name}: no {kind} in {imported}");
        }
    }
    let loud = place.path("OUT.CSV");
    out(&place.export(&loud, &[]));
    assert_eq!(std::fs::read(&loud).unwrap(), std::fs::read(place.path("out.csv")).unwrap());
    let last = std::fs::read_to_string(place.path("out.csv")).unwrap();
    assert_eq!(last.replace("\r\n", "\n"), csv);
    assert!(failure(&place.export(&place.path("out.xlsx"), &[]), 2).contains("add --format"));
    let said = failure(&place.export(&place.path("nowhere/out.csv"), &[]), 1);
    let folder = format!("out.csv was not written: the folder {}", place.path("nowhere").display());
    assert!(said.contains(&folder) && said.contains("No such file") && !said.contains("nowhere/.tmp"), "{said}");
}

#[test]
fn help_has_examples_and_no_colour_where_no_terminal_is() {
    let place = Place::new();
    for command in ["import", "ls", "query", "export"] {
        let help = out(&place.run(&[command, "--help"]));
        assert!(help.contains("Examples:\n  kyros data") && !help.contains('\u{1b}'), "{help}");
        assert!(help.contains("\nLogging:\n"), "{help}");
    }
    let help = out(&place.run(&["query", "--help"]));
    assert!(help.contains("total=true") && help.contains("cursor"), "{help}");
}
