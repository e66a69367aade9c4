//! The layers hold: imports point down only, and the pure layers stay pure (docs/architecture.md, "Layers"). And what
//! comments and documents refer to exists: cited sections, named tests, links.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

/// Each layer with the layers that it may import, from the ground up.
const LAYERS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("wire", &["base"]),
    ("mail", &["base"]),
    ("pgp", &["base", "mail"]),
    ("engine", &["base", "wire", "mail"]),
    ("store", &["base", "mail", "engine"]),
    ("net", &["base", "wire", "engine"]),
    ("gateway", &["base", "mail", "engine", "store"]),
    ("control", &["base", "engine"]),
    ("config", &["base"]),
    ("backup", &["base", "mail", "engine", "store", "control"]),
    ("daemon", &["base", "wire", "mail", "pgp", "engine", "store", "net", "gateway", "control", "config", "backup"]),
    ("cli", &["base", "store", "config", "control", "backup", "daemon"]),
];

/// Layers without IO, async, clock, thread, environment, global, randomness or unordered map.
const PURE: &[&str] = &["base", "wire", "mail", "engine"];

/// What has no place in a pure layer.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::io",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::OnceLock",
    "std::sync::LazyLock",
    "std::os::",
    "tokio",
    "async fn",
    ".await",
    "Instant::now",
    "SystemTime",
    "HashMap",
    "HashSet",
    "getrandom",
    "thread_rng",
    "OsRng",
    "thread_local!",
    "static mut",
    "println!",
    "tracing::",
    "sequoia",
    "arti_client",
    "sled",
];

fn main_sources(layer: &str) -> Vec<PathBuf> {
    let found = files(&[&format!("src/{layer}")], "rs");
    assert!(!found.is_empty(), "layer {layer} has no source");
    found
}

/// The code of a file: no comments, and nothing from its unit tests on.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Layers that code names: `crate::x`, also inside `use crate::{x, y}`.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (place, _) in code.match_indices("crate::") {
        let rest = &code[place + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut word = String::new();
            let mut head = true;
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        found.push(std::mem::take(&mut word));
                        head = true;
                    }
                    ':' => head = false,
                    c if depth == 0 && head && !c.is_whitespace() => word.push(c),
                    _ => {}
                }
            }
            found.push(word);
        } else {
            found.push(rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect());
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

#[test]
fn imports_point_down() {
    let mut wrong = Vec::new();
    for (layer, allowed) in LAYERS {
        for path in main_sources(layer) {
            for import in imports(&code(&path)) {
                let known = LAYERS.iter().any(|(name, _)| *name == import);
                if known && import != *layer && !allowed.contains(&import.as_str()) {
                    wrong.push(format!("{}: {layer} may not import {import}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_layers_are_pure() {
    let mut wrong = Vec::new();
    for layer in PURE {
        for path in main_sources(layer) {
            let code = code(&path);
            // It counts steps in tests and in fuzzing, and is empty in the product.
            let allowed = if path.ends_with("base/meter.rs") { "thread_local!" } else { "" };
            for word in IMPURE.iter().filter(|word| **word != allowed && code.contains(**word)) {
                wrong.push(format!("{}: {word} has no place in {layer}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_folder_is_a_layer() {
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            assert!(LAYERS.iter().any(|(layer, _)| *layer == name), "src/{name} is in no layer");
        }
    }
}

#[test]
fn the_reader_of_imports_sees_every_form() {
    assert_eq!(imports("use crate::net::tor; crate::store::Log"), ["net", "store"]);
    assert_eq!(imports("use crate::{base::ids, engine::{Effect, Input}, wire};"), ["base", "engine", "wire"]);
}

/// Everything below these folders that ends so.
fn files(folders: &[&str], ending: &str) -> Vec<PathBuf> {
    fn walk(directory: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, ending, found);
            } else if path.extension().is_some_and(|extension| extension == ending) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    for folder in folders {
        walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), ending, &mut found);
    }
    found.sort();
    found
}

/// The quoted titles that follow a mention of a document in the comments: `docs/x.md, "One", "Two" and "Three"`.
fn citations(text: &str) -> Vec<(String, String)> {
    // A citation may go on in the next line of a comment.
    let comments = text.lines().filter_map(|line| Some(line.split_once("//")?.1));
    let flat = comments.map(|line| line.trim_start_matches(['/', '!', ' '])).collect::<Vec<_>>().join(" ");
    let mut found = Vec::new();
    for (place, _) in flat.match_indices("docs/") {
        let Some((file, mut rest)) = flat[place..].split_once(".md") else { continue };
        if file.contains(char::is_whitespace) {
            continue;
        }
        while let Some(quoted) = rest.trim_start_matches([',', ' ']).trim_start_matches("and ").strip_prefix('"') {
            let Some((title, after)) = quoted.split_once('"') else { break };
            found.push((format!("{file}.md"), title.to_owned()));
            rest = after;
        }
    }
    found
}

#[test]
fn the_reader_of_citations_sees_every_form() {
    let pair = |file: &str, title: &str| (file.to_owned(), title.to_owned());
    let [one, two, three] = ["x", "y", "x"].map(|name| ["docs/", name, ".md"].concat());
    let text = format!(
        "/// See {one}, \"One\",\n    /// \"Two\" and \"Three\".\nlet a = 1; // {two} \"Four\"\n//! {three} says so"
    );
    let expected = [pair(&one, "One"), pair(&one, "Two"), pair(&one, "Three"), pair(&two, "Four")];
    assert_eq!(citations(&text), expected);
}

/// Sections that comments cite as `docs/<name>.md "Section"` exist.
#[test]
fn cited_sections_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    let mut cited = 0;
    let sources = files(&["src", "tests", "benches", "examples", "fuzz/fuzz_targets"], "rs");
    // This file has examples that lead nowhere.
    for path in sources.iter().filter(|path| !path.ends_with("tests/layers.rs")) {
        for (file, title) in citations(&fs::read_to_string(path).unwrap()) {
            cited += 1;
            let document = fs::read_to_string(root.join(&file)).unwrap_or_default();
            let mut titles = document.lines().filter(|line| line.starts_with("##"));
            if !titles.any(|line| line.trim_start_matches(['#', ' ']) == title) {
                wrong.push(format!("{}: {file} has no section \"{title}\"", path.display()));
            }
        }
    }
    assert!(cited > 40, "the reader of citations found only {cited}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Tests that the documents name as `path/of/a/file.rs::name` exist.
#[test]
fn tests_named_in_documents_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    let mut named = 0;
    for document in files(&["docs"], "md") {
        let text = fs::read_to_string(&document).unwrap();
        for quoted in text.split('`').skip(1).step_by(2) {
            let Some((file, name)) = quoted.split_once(".rs::") else { continue };
            named += 1;
            let source = fs::read_to_string(root.join(format!("{file}.rs"))).unwrap_or_default();
            // A function, or the name under which a harness of our own lists one.
            if !source.contains(&format!("fn {name}(")) && !source.contains(&format!("(\"{name}\",")) {
                wrong.push(format!("{}: there is no test {quoted}", document.display()));
            }
        }
    }
    assert!(named > 60, "the reader of test names found only {named}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Each test file, and each folder that is one, has its row in docs/testing.md.
#[test]
fn each_file_of_tests_is_described() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("docs/testing.md")).unwrap();
    let mut lacking = Vec::new();
    let mut tests = 0;
    for entry in fs::read_dir(root.join("tests")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let row = match (path.extension().is_some_and(|ending| ending == "rs"), path.join("main.rs").exists()) {
            (true, _) => format!("| `tests/{name}` |"),
            (_, true) => format!("| `tests/{name}/` |"),
            _ => continue,
        };
        tests += 1;
        if !document.contains(&row) {
            lacking.push(row);
        }
    }
    assert!(tests > 20 && lacking.is_empty(), "of {tests} docs/testing.md lacks {lacking:?}");
}

/// Links of the documents lead to sections that exist.
#[test]
fn links_within_documents_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // As the forges make them: lower case, spaces as hyphens, nothing but letters, digits and hyphens.
    let anchor = |title: &str| -> String {
        let kept = title.trim_start_matches(['#', ' ']).to_lowercase();
        kept.chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    };
    let mut wrong = Vec::new();
    for document in files(&["docs"], "md").into_iter().chain([root.join("README.md")]) {
        let text = fs::read_to_string(&document).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0)) {
            let link: String = link.split_whitespace().collect();
            let Some((file, section)) = link.split_once('#') else { continue };
            let target = if file.is_empty() { document.clone() } else { document.with_file_name(file) };
            let target = fs::read_to_string(target).unwrap_or_default();
            if !target.lines().any(|line| line.starts_with('#') && anchor(line) == section) {
                wrong.push(format!("{}: {link} leads nowhere", document.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The version of Rust that `Cargo.toml` and README.md name is enough for everything that is built.
#[test]
fn the_rust_version_is_the_one_that_the_dependencies_need() {
    let metadata = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let version = |package: &serde_json::Value| -> Option<Vec<u32>> {
        Some(package["rust_version"].as_str()?.split('.').map(|part| part.parse().unwrap()).collect())
    };
    let is_ours = |package: &&serde_json::Value| package["name"] == "runepeer";
    let ours = version(packages.iter().find(is_ours).unwrap()).unwrap();
    let needed = packages.iter().filter(|package| !is_ours(package)).filter_map(version).max().unwrap();
    assert!(ours >= needed, "Cargo.toml says {ours:?}, and a dependency needs {needed:?}");
    let named = format!("Rust {}", ours.iter().map(u32::to_string).collect::<Vec<_>>().join("."));
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    assert!(readme.contains(&named), "README.md does not ask for {named}");
}
