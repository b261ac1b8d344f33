//! Every way a manifest can be wrong, each with its line.

use std::{fmt::Write as _, fs, path::Path};

use kube::ResourceExt;
use tempfile::TempDir;

use super::{Problem, Reason, ResourceSet, load, uid};
use crate::{limits, resources::Isolation};

const TENANT: &str = "\
apiVersion: kyros.dev/v1alpha1
kind: Tenant
metadata:
  name: acme
spec:
  displayName: Acme
";

const DASHBOARD: &str = "\
apiVersion: kyros.dev/v1alpha1
kind: Dashboard
metadata:
  name: clv
spec:
  title: Value
  image: example/clv:1
";

fn directory(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn read(files: &[(&str, &str)]) -> Result<ResourceSet, Vec<Problem>> {
    load(directory(files).path())
}

/// The problems of one file, as text.
fn problems(text: &str) -> Vec<String> {
    read(&[("a.yaml", text)]).unwrap_err().iter().map(ToString::to_string).collect()
}

fn tenant(rest: &str) -> Vec<String> {
    problems(&format!("{TENANT}{rest}"))
}

fn dashboard(rest: &str) -> Vec<String> {
    problems(&format!("{DASHBOARD}{rest}"))
}

fn named(name: &str) -> String {
    TENANT.replace("acme", name)
}

#[test]
fn the_example_loads_without_a_warning() {
    let set = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/manifests")).unwrap();
    let names: Vec<_> = set.tenants.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["acme", "globex", "initech"]);
    let names: Vec<_> = set.dashboards.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["clv", "risk"]);
    assert_eq!(set.warnings, []);
    assert_eq!(set.tenants[1].spec.dashboards, ["clv"]);
    assert_eq!(set.tenants[2].spec.limits.requests_per_second, limits::REQUESTS_PER_SECOND_DEFAULT);
    assert_eq!(set.dashboards[1].spec.isolation, Isolation::Shared);
    let colors: std::collections::BTreeSet<_> =
        set.tenants.iter().map(|tenant| tenant.spec.branding.accent_color.clone()).collect();
    assert_eq!(colors.len(), 3);
}

#[test]
fn everything_a_dashboard_can_say_is_understood() {
    let text = format!(
        "{DASHBOARD}  env:
    - {{name: MODE, value: fast}}
    - name: SECRET
      valueFrom: {{secretKeyRef: {{name: clv, key: secret}}}}
  resources:
    requests: {{cpu: 250m, memory: 256Mi}}
    limits: {{cpu: 2, memory: 1Gi}}
  readinessProbe:
    httpGet: {{path: /healthz, port: 8050}}
  livenessProbe:
    tcpSocket: {{port: http}}
  replicas: 0
  source: warehouse
"
    );
    let set = read(&[("a.yaml", &text)]).unwrap();
    let spec = &set.dashboards[0].spec;
    assert_eq!(spec.env.len(), 2);
    assert_eq!(spec.resources.as_ref().unwrap().limits.as_ref().unwrap()["cpu"].0, "2");
    assert!(spec.readiness_probe.is_some() && spec.liveness_probe.is_some());
    assert_eq!((spec.replicas, spec.port), (0, limits::PORT_DEFAULT));
    assert_eq!(spec.source.as_deref(), Some("warehouse"));
}

#[test]
fn unknown_fields_are_refused_at_every_depth() {
    assert_eq!(
        tenant("  memebers: []\n"),
        ["a.yaml:7: unknown field `memebers`, expected one of `branding`, `dashboards`, `displayName`, `embedding`, \
             `limits`, `members`, `source`, `suspended`"]
    );
    assert_eq!(
        tenant("  members:\n    - user: ana@acme.example\n      rolls: [viewer]\n"),
        ["a.yaml:9: unknown field `rolls`, expected one of `group`, `roles`, `user`"]
    );
    assert_eq!(
        dashboard("  readinessProbe:\n    httpGet:\n      port: 1\n      pth: /\n"),
        ["a.yaml:11: unknown field `pth`, expected one of `host`, `httpHeaders`, `path`, `port`, `scheme`"]
    );
    assert!(tenant("extra: 1\n")[0].starts_with("a.yaml:7: unknown field `extra`, expected one of `apiVersion`"));
    let text = TENANT.replace("  name: acme", "  name: acme\n  nmespace: x");
    assert!(problems(&text)[0].starts_with("a.yaml:5: unknown field `nmespace`"));
    let found = read(&[("a.yaml", &format!("{TENANT}  memebers: []\n"))]).unwrap_err();
    assert_eq!(found[0].hint(), "did you mean `members`?");
}

#[test]
fn lines_count_over_all_documents_of_a_file() {
    let text = format!("# a comment\n{TENANT}---\n# another\n\n{DASHBOARD}  prot: 1\n");
    assert!(problems(&text)[0].starts_with("a.yaml:18: unknown field `prot`"), "{:?}", problems(&text));
}

#[test]
fn another_version_or_kind_is_refused() {
    let text = TENANT.replace("v1alpha1", "v1");
    assert_eq!(problems(&text), ["a.yaml:1: unknown apiVersion `kyros.dev/v1`, expected `kyros.dev/v1alpha1`"]);
    let text = format!("{DASHBOARD}---\napiVersion: v1\nkind: List\nitems: []\n");
    assert_eq!(problems(&text), ["a.yaml:10: unknown kind `List`, expected `Tenant` or `Dashboard`"]);
    assert_eq!(problems("kind: Tenant\n"), ["a.yaml:1: missing field `apiVersion`"]);
    assert_eq!(problems("\n\napiVersion: kyros.dev/v1alpha1\n"), ["a.yaml:3: missing field `kind`"]);
    assert_eq!(problems("---\n- a\n"), ["a.yaml:2: a resource is a mapping, not a list"]);
    assert_eq!(problems("kind: 1\n"), ["a.yaml:1: `kind` must be a string, not a number"]);
}

#[test]
fn what_must_be_there_is_missed() {
    let text = TENANT.replace("  name: acme\n", "  labels: {a: b}\n");
    assert_eq!(problems(&text), ["a.yaml:3: missing field `metadata.name`"]);
    let text = TENANT.replace("  name: acme\n", "  name:\n");
    assert_eq!(problems(&text), ["a.yaml:4: missing field `metadata.name`"]);
    let text = DASHBOARD.replace("  image: example/clv:1\n", "");
    let neither = "set exactly one of spec.image and spec.serviceRef; isolation: PerTenant needs spec.image";
    assert_eq!(problems(&text), [format!("a.yaml:5: {neither}")]);
    let text = TENANT.split("spec:").next().unwrap();
    assert_eq!(problems(text), ["a.yaml:1: missing field `spec`"]);
}

#[test]
fn values_outside_their_bounds_are_refused() {
    for (rest, expected) in [
        ("  port: 0\n", "a.yaml:8: `spec.port` must be at least 1"),
        ("  port: 65536\n", "a.yaml:8: `spec.port` must be at most 65535"),
        ("  port: \"8050\"\n", "a.yaml:8: `spec.port` must be a whole number, not a string"),
        ("  port: 80.5\n", "a.yaml:8: `spec.port` must be a whole number, not a number"),
        ("  replicas: -1\n", "a.yaml:8: `spec.replicas` must be at least 0"),
        ("  isolation: shared\n", "a.yaml:8: `spec.isolation` must be one of `Shared`, `PerTenant`"),
        ("  transport: unix\n", "a.yaml:8: `spec.transport` must be one of `TCP`, `Unix`"),
        ("  description: yes\n", "a.yaml:8: `spec.description` must be a string, not a boolean"),
        ("  datasets: pnl\n", "a.yaml:8: `spec.datasets` must be a list, not a string"),
        (
            "  datasets:\n  - pnl\n  - ../x\n",
            "a.yaml:10: `spec.datasets[1]` must match `^[a-z0-9]([-_a-z0-9]*[a-z0-9])?$`",
        ),
        ("  datasets:\n  - pnl\n  -\n", "a.yaml:10: `spec.datasets[1]` must be a string, not nothing"),
        ("  datasets:\n  - pnl\n  - pnl\n", "a.yaml:10: `spec.datasets[1]` repeats an entry, first on line 9"),
        ("  source: s3://b/x\n", "a.yaml:8: `spec.source` must match `^[a-z0-9]+(-[a-z0-9]+)*$`"),
        (
            "  env:\n  - {name: A}\n  - {name: A, value: b}\n",
            "a.yaml:10: `spec.env[1]` repeats an entry, first on line 9",
        ),
        (
            "  livenessProbe: {periodSeconds: 3000000000}\n",
            "a.yaml:8: `spec.livenessProbe.periodSeconds` must be at most 2147483647",
        ),
    ] {
        assert_eq!(dashboard(rest), [expected]);
    }
    let quantity = dashboard("  resources:\n    limits:\n      cpu: 1gig\n");
    assert!(quantity[0].starts_with("a.yaml:10: `spec.resources.limits.cpu` must match"), "{quantity:?}");
    let long = TENANT.replace("Acme", &"x".repeat(limits::TITLE_LENGTH + 1));
    assert_eq!(problems(&long), ["a.yaml:6: `spec.displayName` must have at most 80 characters"]);
    let empty = TENANT.replace("Acme", "\"\"");
    assert_eq!(problems(&empty), ["a.yaml:6: `spec.displayName` must have at least 1 characters"]);
    assert_eq!(
        tenant("  limits: {concurrentQueries: 65}\n"),
        ["a.yaml:7: `spec.limits.concurrentQueries` must be at most 64"]
    );
    let many = (0..=limits::DASHBOARDS).fold("  dashboards:\n".to_owned(), |mut text, index| {
        writeln!(text, "  - d{index}").unwrap();
        text
    });
    assert_eq!(tenant(&many), ["a.yaml:7: `spec.dashboards` must have at most 64 entries"]);
    assert_eq!(tenant("  source: /etc\n"), ["a.yaml:7: `spec.source` must match `^[a-z0-9]+(-[a-z0-9]+)*$`"]);
    let origins = |list: &str| tenant(&format!("  embedding: {{allowedOrigins: {list}}}\n"));
    assert_eq!(
        origins("[https://a.example, https://a.example]"),
        ["a.yaml:7: `spec.embedding.allowedOrigins[1]` repeats an entry, first on line 7"]
    );
    assert_eq!(
        origins(&format!("[https://{}.example]", "a".repeat(limits::ORIGIN_LENGTH))),
        ["a.yaml:7: `spec.embedding.allowedOrigins[0]` must have at most 267 characters"]
    );
    let many: Vec<_> = (0..=limits::ORIGINS).map(|index| format!("https://a{index}.example")).collect();
    assert_eq!(
        origins(&format!("[{}]", many.join(", "))),
        ["a.yaml:7: `spec.embedding.allowedOrigins` must have at most 16 entries"]
    );
}

#[test]
fn rules_of_the_definition_hold() {
    for name in ["Acme", "a--b", "-a", "a-", "a.b"] {
        assert_eq!(
            problems(&named(name)),
            ["a.yaml:4: metadata.name must be a DNS label without \"--\": a-z, 0-9, and single hyphens between them"],
            "{name}"
        );
    }
    assert_eq!(problems(&named(&"a".repeat(31))), ["a.yaml:4: metadata.name must have at most 30 characters"]);
    assert!(read(&[("a.yaml", &named(&"a".repeat(30)))]).is_ok());
    assert_eq!(
        tenant("  members:\n    - user: a\n    - {user: a, group: b}\n"),
        ["a.yaml:9: `spec.members[1]`: set exactly one of user and group"]
    );
    assert_eq!(
        tenant("  members:\n    - roles: [viewer]\n"),
        ["a.yaml:8: `spec.members[0]`: set exactly one of user and group"]
    );
    assert_eq!(
        tenant("  branding:\n    accentColor: red\n"),
        ["a.yaml:8: `spec.branding.accentColor`: must be a colour such as \"#0b6bcb\""]
    );
    for url in ["http://a", "//a", "javascript:1"] {
        let message = "must be empty, begin with https://, or be a path on the portal";
        assert_eq!(
            tenant(&format!("  branding:\n    logoUrl: {url}\n")),
            [format!("a.yaml:8: `spec.branding.logoUrl`: {message}")]
        );
    }
    for origin in ["'*'", "https://*.acme.example", "https://acme.example/", "http://acme.example", "HTTPS://A.example"]
    {
        let message = "must be an origin such as \"https://intranet.example\": https (http only on localhost), one host \
                       name in lower case, at most a port, nothing after it";
        assert_eq!(
            tenant(&format!("  embedding:\n    allowedOrigins:\n    - https://a.example\n    - {origin}\n")),
            [format!("a.yaml:10: `spec.embedding.allowedOrigins[1]`: {message}")]
        );
    }
    let text = DASHBOARD.replace("  image: example/clv:1\n", "  serviceRef: {name: legacy}\n  transport: Unix\n");
    let reason = "transport: Unix needs spec.image: a workload behind spec.serviceRef is reached on its port";
    assert_eq!(problems(&text), [format!("a.yaml:5: {reason}")]);
    assert!(read(&[("a.yaml", &text.replace("Unix", "TCP"))]).is_ok());
    assert!(read(&[("a.yaml", &format!("{DASHBOARD}  transport: Unix\n"))]).is_ok());
    assert_eq!(
        dashboard("  port: 9091\n"),
        ["a.yaml:8: `spec.port`: ports 9091, 15001, 15002, 15003 belong to the sidecar in the same pod"]
    );
    assert_eq!(
        dashboard("  env:\n  - {name: A}\n  - name: KYROS_API_URL\n    value: x\n"),
        ["a.yaml:10: `spec.env[1]`: variables that begin with KYROS_ are set by Kyros"]
    );
}

#[test]
fn repeated_keys_and_broken_yaml_are_refused() {
    assert_eq!(tenant("  displayName: Other\n"), ["a.yaml:7: duplicate field `spec.displayName`, first on line 6"]);
    let broken = tenant("  members: [\n---\n");
    assert!(broken[0].starts_with("a.yaml:") && broken[0].contains("not YAML"), "{broken:?}");
    let text = format!("{TENANT}---\nkind: Tenant\n\tbad: 1\n");
    assert!(problems(&text)[0].starts_with("a.yaml:8: not YAML"), "{:?}", problems(&text));
}

#[test]
fn the_same_resource_twice_names_both_places() {
    let text = format!("{DASHBOARD}---\n{TENANT}");
    let found = read(&[("a.yaml", TENANT), ("b.yaml", &text)]).unwrap_err();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].to_string(), "b.yaml:12: Tenant `acme` is defined twice, first at a.yaml:4");
    assert!(read(&[("a.yaml", &named("clv")), ("b.yaml", DASHBOARD)]).is_ok(), "kinds have names of their own");
}

#[test]
fn all_problems_of_all_files_come_together() {
    let found = read(&[
        ("b.yaml", &format!("{}  x: 1\n---\n{DASHBOARD}  port: 0\n", named("A--"))),
        ("a.yaml", "kind: [\n"),
        ("c.yml", "kind: Tenant\n"),
    ])
    .unwrap_err();
    let places: Vec<_> = found.iter().map(|problem| (problem.file.to_str().unwrap(), problem.line)).collect();
    assert_eq!(&places[1..], [("b.yaml", 4), ("b.yaml", 7), ("b.yaml", 16), ("c.yml", 1)], "{found:#?}");
    assert_eq!(places[0].0, "a.yaml");
}

#[test]
fn a_reference_to_nothing_is_a_warning() {
    let set =
        read(&[("a.yaml", &format!("{TENANT}  dashboards:\n  - clv\n  - risk\n")), ("b.yaml", DASHBOARD)]).unwrap();
    let warnings: Vec<_> = set.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["a.yaml:9: tenant `acme` refers to dashboard `risk`, which does not exist"]);
}

#[test]
fn a_field_without_a_value_is_a_warning_that_names_quotes() {
    let text = format!("{TENANT}  suspended:\n  members:\n  branding:\n    accentColor: #0b6bcb\n  limits: ~\n");
    let set = read(&[("a.yaml", &text)]).unwrap();
    let warnings: Vec<_> = set.warnings.iter().map(ToString::to_string).collect();
    let no_value =
        |line: u64, field: &str| format!("a.yaml:{line}: `spec.{field}` has no value, and counts as not given");
    assert_eq!(
        warnings,
        [
            no_value(7, "suspended"),
            no_value(8, "members"),
            no_value(10, "branding.accentColor"),
            no_value(11, "limits")
        ]
    );
    assert!(set.warnings[2].hint().contains("# must be in quotes"), "{}", set.warnings[2].hint());
    let quoted = read(&[("a.yaml", &format!("{TENANT}  branding:\n    accentColor: \"#0b6bcb\"\n"))]).unwrap();
    assert_eq!(quoted.warnings, []);
    // What must be there is a mistake, and told once.
    assert_eq!(problems(&TENANT.replace("Acme", "#Acme")), ["a.yaml:6: missing field `spec.displayName`"]);
    // What tools copy out of a cluster.
    let copied = TENANT.replace("  name: acme\n", "  name: acme\n  creationTimestamp: null\n") + "status: null\n";
    assert_eq!(read(&[("a.yaml", &copied)]).unwrap().warnings, []);
}

#[test]
fn what_a_cluster_fills_in_is_dropped() {
    let text = TENANT
        .replace("  name: acme\n", "  name: acme\n  namespace: other\n  generation: 7\n  uid: x\n  labels: {a: b}\n");
    let text = format!("{text}status: {{conditions: 1}}\n");
    let one = read(&[("a.yaml", &text)]).unwrap().tenants.remove(0);
    assert_eq!(one.metadata.namespace, None);
    assert_eq!(one.metadata.generation, None);
    assert_eq!(one.status, None);
    assert_eq!(one.metadata.uid, Some(uid("Tenant", "acme")));
    assert_eq!(one.labels()["a"], "b");
}

#[test]
fn identity_follows_the_name_and_version_follows_the_content() {
    let load = |text: &str| read(&[("a.yaml", text)]).unwrap().tenants.remove(0).metadata;
    let (one, same) = (load(TENANT), load(&format!("# moved\n\n{TENANT}")));
    let (renamed, changed) = (load(&named("globex")), load(&TENANT.replace("Acme", "Acme Retail")));
    assert_eq!((&one.uid, &one.resource_version), (&same.uid, &same.resource_version));
    assert_ne!(one.uid, renamed.uid);
    assert_eq!(one.uid, changed.uid);
    assert_ne!(one.resource_version, changed.resource_version);
    assert_ne!(uid("Tenant", "a"), uid("Dashboard", "a"));
    assert_eq!(uid("Tenant", "acme"), uid("Tenant", "acme"));
    assert_eq!(uid("Tenant", "acme").len(), 36);
}

#[test]
fn only_manifests_are_read_and_links_are_followed() {
    let dir = directory(&[(".hidden.yaml", "bad"), ("a.yaml~", "bad"), ("notes.txt", "bad"), ("c.yml", DASHBOARD)]);
    fs::create_dir_all(dir.path().join("..2026_11_23")).unwrap();
    fs::create_dir_all(dir.path().join("folder.yaml")).unwrap();
    fs::write(dir.path().join("..2026_11_23/tenants.yaml"), TENANT).unwrap();
    std::os::unix::fs::symlink("..2026_11_23", dir.path().join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/tenants.yaml", dir.path().join("tenants.yaml")).unwrap();
    let set = load(dir.path()).unwrap();
    assert_eq!((set.tenants.len(), set.dashboards.len()), (1, 1));
    std::os::unix::fs::symlink("..data/gone.yaml", dir.path().join("gone.yaml")).unwrap();
    let found = load(dir.path()).unwrap_err();
    assert!(found[0].to_string().starts_with("gone.yaml: cannot be read"), "{found:?}");
}

#[test]
fn files_that_cannot_be_read_are_problems() {
    let missing = load(Path::new("/nowhere/at/all")).unwrap_err();
    assert!(missing[0].to_string().starts_with("/nowhere/at/all: cannot be read"), "{missing:?}");
    let large = "#".repeat(usize::try_from(limits::FILE_BYTES).unwrap() + 1);
    assert_eq!(problems(&large), ["a.yaml:1: the file is larger than 1024 KiB"]);
    let dir = directory(&[]);
    fs::write(dir.path().join("a.yaml"), b"kind: Tenant\nname: \xff\n").unwrap();
    assert_eq!(load(dir.path()).unwrap_err()[0].to_string(), "a.yaml:2: not UTF-8");
    assert_eq!(read(&[]).unwrap(), ResourceSet::default());
    assert_eq!(read(&[("a.yaml", "# nothing\n---\n---\n")]).unwrap(), ResourceSet::default());
}

#[test]
fn documents_and_problems_are_bounded() {
    let text = "--- a\n".repeat(limits::DOCUMENTS + 1);
    let found = read(&[("a.yaml", &text)]).unwrap_err();
    assert_eq!(found.len(), limits::PROBLEMS + 1);
    assert!(
        matches!(found.last().unwrap().reason, Reason::More(more) if more == limits::DOCUMENTS + 1 - limits::PROBLEMS)
    );
}
