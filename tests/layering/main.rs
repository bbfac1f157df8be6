//! The crates know of each other only what the architecture says, and only the facade enables backends.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

mod imports;

/// Edges that exist; a leaf has none.
const EDGES: &[(&str, &[&str])] = &[
    ("revealed-hub", &[]),
    ("revealed-data", &["revealed-hub"]),
    ("revealed-models", &["revealed-hub"]),
    ("revealed-objectives", &[]),
    ("revealed-reward", &["revealed-models"]),
    (
        "revealed-train",
        &["revealed-data", "revealed-models", "revealed-objectives", "revealed-reward"],
    ),
    (
        "revealed-eval",
        &["revealed-data", "revealed-models", "revealed-objectives", "revealed-reward"],
    ),
    ("revealed-report", &["revealed-reward", "revealed-train", "revealed-eval"]),
    (
        "revealed-lab",
        &[
            "revealed-data",
            "revealed-models",
            "revealed-objectives",
            "revealed-train",
            "revealed-eval",
            "revealed-report",
        ],
    ),
    (
        "revealed",
        &[
            "revealed-lab",
            "revealed-report",
            "revealed-hub",
            "revealed-data",
            "revealed-models",
            "revealed-objectives",
            "revealed-reward",
            "revealed-train",
            "revealed-eval",
        ],
    ),
    ("revealed-cli", &["revealed"]),
];

/// Further edges of tests: the fixtures behind a crate's feature `testing`.
const TEST_EDGES: &[(&str, &str)] = &[
    ("revealed-train", "revealed-train"),
    ("revealed", "revealed-train"),
    ("revealed-cli", "revealed-eval"),
];

/// Lines of a manifest's section, without comments.
fn section(manifest: &str, names: &[&str]) -> Vec<String> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = names.iter().any(|name| line == format!("[{name}]"));
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            lines.push(line.to_owned());
        }
    }
    lines
}

fn manifests() -> BTreeMap<String, String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(crates).unwrap() {
        let path = entry.unwrap().path();
        if let Ok(text) = fs::read_to_string(path.join("Cargo.toml")) {
            found.insert(path.file_name().unwrap().to_string_lossy().into_owned(), text);
        }
    }
    found
}

#[test]
fn every_crate_depends_only_on_those_below_it() {
    let manifests = manifests();
    let known: BTreeSet<&str> = EDGES.iter().map(|(name, _)| *name).collect();
    assert_eq!(manifests.keys().map(String::as_str).collect::<BTreeSet<_>>(), known);
    for (name, allowed) in EDGES {
        for (of_tests, kind) in [(false, "dependencies"), (true, "dev-dependencies")] {
            for line in section(&manifests[*name], &[kind]) {
                let dependency = line.split(['.', ' ', '=']).next().unwrap();
                if dependency.starts_with("revealed") {
                    let in_tests = of_tests && TEST_EDGES.contains(&(name, dependency));
                    assert!(
                        in_tests || allowed.contains(&dependency),
                        "{name} → {dependency} is not an edge"
                    );
                }
            }
        }
    }
}

#[test]
fn only_tests_enable_the_fixtures() {
    for (name, manifest) in manifests() {
        for line in section(&manifest, &["dependencies"]) {
            assert!(!line.contains("\"testing\""), "{name}: {line}");
        }
        for line in section(&manifest, &["features"]) {
            assert!(!line.contains("/testing\""), "{name}: {line}");
        }
        for line in section(&manifest, &["dev-dependencies"]) {
            let dependency = line.split(['.', ' ', '=']).next().unwrap();
            let listed = TEST_EDGES.contains(&(name.as_str(), dependency));
            assert_eq!(line.contains("\"testing\""), listed, "{name}: {line}");
        }
    }
}

#[test]
fn only_the_facade_enables_backends_in_a_build() {
    let backends = ["flex", "tch", "wgpu", "webgpu", "vulkan", "metal", "cuda", "ndarray"];
    for (name, manifest) in manifests() {
        if name == "revealed" || name == "revealed-cli" {
            continue;
        }
        for line in section(&manifest, &["dependencies"]) {
            let enabled = backends.iter().find(|backend| line.contains(&format!("\"{backend}\"")));
            assert_eq!(enabled, None, "{name}: {line}");
        }
        // What a backend needs in a crate's code is a feature of its own that the facade asks for.
        let features = section(&manifest, &["features"]);
        let allowed: &[&str] = match name.as_str() {
            "revealed-models" => &["flex", "tch", "cube"],
            "revealed-train" => &["flex", "testing"],
            "revealed-eval" => &["testing"],
            _ => &[],
        };
        for line in features {
            let feature = line.split(' ').next().unwrap();
            assert!(allowed.contains(&feature), "{name} has a feature of its own: {line}");
        }
    }
}

/// Crates whose files still form import cycles.
const WITH_CYCLES: &[&str] = &["revealed-data"];

#[test]
fn no_file_imports_from_a_file_that_imports_from_it() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut cycles = Vec::new();
    for (name, _) in EDGES.iter().filter(|(name, _)| !WITH_CYCLES.contains(name)) {
        let edges = imports::Crate::read(&crates.join(name).join("src")).edges();
        if let Some(cycle) = imports::cycle(&edges) {
            cycles.push(format!("{name}: {} → {}", cycle.join(" → "), cycle[0]));
        }
    }
    assert!(cycles.is_empty(), "import cycles:\n{}", cycles.join("\n"));
}
