//! Which places are broken: by a seed, as many of each folder as it has, and of each folder all operators in turn.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::places::{self, Kind, Place};
use crate::{Options, Result};

/// A place that was chosen.
#[derive(Debug, Clone)]
pub struct Mutant {
    /// Its number, from 1.
    pub number: u32,
    pub folder: String,
    /// Below the root.
    pub file: PathBuf,
    pub place: Place,
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:4} {}:{} {}", self.number, self.file.display(), self.place.line, self.place.operator)
    }
}

/// Numbers that a seed gives (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % bound.max(1) as u64) as usize
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        (1..items.len()).rev().for_each(|last| items.swap(last, self.below(last + 1)));
    }
}

pub fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// What the table calls the kind of a change, so that each kind has its turn.
fn family(place: &Place) -> &str {
    match &place.kind {
        Kind::Instead(_) if place.operator.starts_with(|c: char| c.is_ascii_digit()) => "number",
        Kind::Instead(_) => &place.operator,
        Kind::Negated => "condition",
        Kind::Guard(_) => "guard",
        Kind::Without => "statement",
        Kind::Returns(_) => "return",
    }
}

/// All places of a folder, in an order that the seed gives: of each family one in turn.
fn ordered(root: &Path, folder: &str, numbers: &mut Numbers) -> Result<Vec<(PathBuf, Place)>> {
    let (mut found, mut tests) = (Vec::new(), BTreeSet::new());
    for path in rust_files(&root.join("src").join(folder))? {
        let below = path.strip_prefix(root)?.to_owned();
        let (places, modules) = places::places(&std::fs::read_to_string(&path)?, &below)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        tests.extend(modules);
        found.extend(places.into_iter().map(|place| (below.clone(), place)));
    }
    let is_test = |path: &Path| {
        let without = path.with_extension("");
        without.ancestors().any(|part| tests.contains(&*part.to_string_lossy()))
    };
    found.retain(|(path, _)| !is_test(path));
    let mut families: BTreeMap<String, Vec<(PathBuf, Place)>> = BTreeMap::new();
    for (path, place) in found {
        families.entry(family(&place).to_owned()).or_default().push((path, place));
    }
    let mut families: Vec<_> = families.into_values().collect();
    families.iter_mut().for_each(|family| numbers.shuffle(family));
    let mut order = Vec::new();
    while !families.is_empty() {
        numbers.shuffle(&mut families);
        order.extend(families.iter_mut().filter_map(Vec::pop));
        families.retain(|family| !family.is_empty());
    }
    Ok(order)
}

/// The mutants of this run. They are written down once, by place in the source, so that a run goes on with the same ones; where
/// the source has changed the files in the way are to be removed.
pub fn chosen(root: &Path, work: &Path, options: &Options) -> Result<Vec<Mutant>> {
    // What was chosen is of the sources as they were: the copy in the folder of the run.
    let source = work.join("source");
    if !source.exists() {
        copy(&root.join("src"), &source.join("src"))?;
    }
    let mut numbers = Numbers(options.seed);
    let mut of_folders = Vec::new();
    for folder in &options.folders {
        of_folders.push((folder.clone(), ordered(&source, folder, &mut numbers)?));
    }
    // Half evenly, half by size.
    let total: usize = of_folders.iter().map(|(_, places)| places.len()).sum();
    let even = options.count / (2 * options.folders.len().max(1));
    let mut mutants: Vec<Mutant> = Vec::new();
    for (folder, places) in of_folders {
        let share = even + (options.count - even * options.folders.len()) * places.len() / total.max(1);
        let mut taken = BTreeSet::new();
        for (file, place) in places {
            if taken.len() >= share {
                break;
            }
            // One change of one place.
            if taken.insert((file.clone(), place.range.start, place.range.end)) {
                mutants.push(Mutant { number: 0, folder: folder.clone(), file, place });
            }
        }
    }
    for (number, mutant) in (1..).zip(&mut mutants) {
        mutant.number = number;
    }
    Ok(mutants)
}

pub fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            std::fs::copy(&path, &target)?;
        }
    }
    Ok(())
}
