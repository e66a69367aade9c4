//! What comments and documents refer to exists: cited sections, named tests, links, the version of Rust.

use std::fs;
use std::path::Path;

use super::source::files;

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
    for path in sources.iter().filter(|path| !path.ends_with("tests/layers/references.rs")) {
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
