//! The copy of the tree in which every mutant is compiled, switched off.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::choice::{self, Mutant};
use crate::places::Kind;

/// Asks whether a mutant is on; notes which ones are reached where `MUTANT_TRACE` names a folder.
const SWITCH: &str = r#"#![allow(missing_docs)]
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

static ACTIVE: OnceLock<u32> = OnceLock::new();
static TRACE: OnceLock<Option<String>> = OnceLock::new();

pub fn on(number: u32, reached: &AtomicBool) -> bool {
    if let Some(folder) = TRACE.get_or_init(|| std::env::var("MUTANT_TRACE").ok())
        && !reached.swap(true, Ordering::Relaxed)
        && let Ok(mut file) = std::fs::File::options()
            .create(true)
            .append(true)
            .open(format!("{folder}/{}", std::process::id()))
    {
        let _ = file.write_all(format!("{number}\n").as_bytes());
    }
    *ACTIVE.get_or_init(|| std::env::var("MUTANT").ok().and_then(|text| text.parse().ok()).unwrap_or(0)) == number
}

#[macro_export]
macro_rules! mutant {
    ($number:literal) => {{
        static REACHED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
        $crate::mutant::on($number, &REACHED)
    }};
}
"#;

/// Where each mutant stands in the file that was written.
pub type Written = BTreeMap<PathBuf, Vec<(u32, Range<usize>)>>;

/// Makes the copy, or brings it up to date; mutants in `dropped` are left out.
pub fn write(root: &Path, work: &Path, mutants: &[Mutant], dropped: &BTreeSet<u32>) -> Result<Written> {
    let tree = work.join("tree");
    let mut of_files: BTreeMap<&PathBuf, Vec<&Mutant>> = BTreeMap::new();
    for mutant in mutants {
        of_files.entry(&mutant.file).or_default().push(mutant);
    }
    let mut own: BTreeSet<PathBuf> = of_files.keys().map(|file| tree.join(file)).collect();
    own.extend([tree.join("src/lib.rs"), tree.join("src/mutant.rs")]);
    for name in ["src", "tests", "examples", "benches", "docs", "proptest-regressions"] {
        choice::copy(&root.join(name), &tree.join(name), &own)?;
    }
    for name in ["Cargo.toml", "Cargo.lock", "clippy.toml", "README.md", "CHANGELOG.md", "deny.toml"] {
        std::fs::copy(root.join(name), tree.join(name))?;
    }
    let library = std::fs::read_to_string(root.join("src/lib.rs"))?;
    put(&tree.join("src/lib.rs"), &(library + "#[allow(missing_docs)]\npub mod mutant;\n"))?;
    put(&tree.join("src/mutant.rs"), SWITCH)?;
    let mut written = Written::new();
    for (file, of_file) in of_files {
        let text = std::fs::read_to_string(root.join(file))?;
        let mut kept: Vec<&Mutant> = of_file.into_iter().filter(|mutant| !dropped.contains(&mutant.number)).collect();
        // What is around comes before what is inside.
        kept.sort_by_key(|mutant| (mutant.place.range.start, std::cmp::Reverse(mutant.place.range.end)));
        let mut page = Page { text: &text, out: String::new(), places: Vec::new() };
        page.copy(0..text.len(), &kept);
        put(&tree.join(file), &page.out)?;
        written.insert(file.clone(), page.places);
    }
    Ok(written)
}

/// Writes a file that has another content so far.
fn put(path: &Path, text: &str) -> Result<()> {
    if std::fs::read_to_string(path).ok().as_deref() != Some(text) {
        std::fs::write(path, text)?;
    }
    Ok(())
}

struct Page<'a> {
    text: &'a str,
    out: String,
    places: Vec<(u32, Range<usize>)>,
}

impl Page<'_> {
    /// Copies a range of the source, with these mutants in it.
    fn copy(&mut self, range: Range<usize>, mutants: &[&Mutant]) {
        let mut at = range.start;
        let mut rest = mutants;
        while let [mutant, others @ ..] = rest {
            let place = mutant.place.range.clone();
            let inside = others.iter().take_while(|other| other.place.range.start < place.end).count();
            let (inner, after) = others.split_at(inside);
            self.out.push_str(&self.text[at..place.start]);
            let start = self.out.len();
            self.mutant(mutant, inner);
            self.places.push((mutant.number, start..self.out.len()));
            at = place.end;
            rest = after;
        }
        self.out.push_str(&self.text[at..range.end]);
    }

    fn mutant(&mut self, mutant: &Mutant, inner: &[&Mutant]) {
        let (range, on) = (mutant.place.range.clone(), format!("crate::mutant!({})", mutant.number));
        match &mutant.place.kind {
            Kind::Returns(value) => self.out.push_str(&format!(" if {on} {{ return {value}; }} ")),
            Kind::Without => {
                self.out.push_str(&format!("if {on} {{}} else {{ "));
                self.copy(range, inner);
                self.out.push_str(" }");
            }
            Kind::Instead(text) => {
                self.out.push_str(&format!("(if {on} {{ {text} }} else {{ "));
                self.copy(range, inner);
                self.out.push_str(" })");
            }
            Kind::Negated => {
                self.out.push_str(&format!("({on} != ("));
                self.copy(range, inner);
                self.out.push_str("))");
            }
            Kind::Guard(true) => {
                self.out.push_str(&format!("({on} || ("));
                self.copy(range, inner);
                self.out.push_str("))");
            }
            Kind::Guard(false) => {
                self.out.push_str(&format!("(!{on} && ("));
                self.copy(range, inner);
                self.out.push_str("))");
            }
        }
    }
}
