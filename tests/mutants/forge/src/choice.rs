//! Which places are broken: by a seed, as many of each folder as it has, and of each folder all operators in turn.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::places::{self, Kind, Place};
use crate::{Options, Result};

/// A place that was chosen.
#[derive(Debug, Clone)]
pub struct Mutant {
    /// Made of the seed, the file, the text and the change, so that it stays the same while other places change.
    pub number: u32,
    pub folder: String,
    /// Below the root.
    pub file: PathBuf,
    pub place: Place,
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:10} {}:{} {}", self.number, self.file.display(), self.place.line, self.place.operator)
    }
}

/// A number that the seed and these words give, the same on every machine (FNV-1a, mixed as in SplitMix64).
fn number(seed: u64, words: &[&str]) -> u64 {
    let mut x = 0xcbf2_9ce4_8422_2325 ^ seed;
    for byte in words.iter().flat_map(|word| word.bytes().chain([0])) {
        x = (x ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
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
fn ordered(root: &Path, folder: &str, seed: u64) -> Result<Vec<Mutant>> {
    let (mut found, mut tests) = (Vec::new(), BTreeSet::new());
    for path in rust_files(&root.join("src").join(folder))? {
        let file = path.strip_prefix(root)?.to_owned();
        let text = std::fs::read_to_string(&path)?;
        let (places, modules) = places::places(&text, &file).map_err(|error| format!("{}: {error}", path.display()))?;
        tests.extend(modules);
        let mut same: BTreeMap<(String, String), usize> = BTreeMap::new();
        for place in places {
            // What is written in more than one place of a file counts its places.
            let written = text.get(place.range.clone()).unwrap_or_default().to_owned();
            let seen = same.entry((place.operator.clone(), written.clone())).or_default();
            *seen += 1;
            let words = [&*file.to_string_lossy(), &place.operator, &written, &seen.to_string()];
            // From 1: the switch takes 0 for none.
            let number = (number(seed, &words) >> 33) as u32 + 1;
            found.push(Mutant { number, folder: folder.to_owned(), file: file.clone(), place });
        }
    }
    let is_test = |path: &Path| {
        let without = path.with_extension("");
        without.ancestors().any(|part| tests.contains(&*part.to_string_lossy()))
    };
    found.retain(|mutant| !is_test(&mutant.file));
    let mut families: BTreeMap<String, Vec<Mutant>> = BTreeMap::new();
    for mutant in found {
        families.entry(family(&mutant.place).to_owned()).or_default().push(mutant);
    }
    let mut families: Vec<_> = families.into_iter().collect();
    families.sort_by_key(|(name, _)| number(seed, &[folder, name]));
    families.iter_mut().for_each(|(_, family)| family.sort_by_key(|mutant| mutant.number));
    let mut order = Vec::new();
    while !families.is_empty() {
        order.extend(families.iter_mut().filter_map(|(_, family)| family.pop()));
        families.retain(|(_, family)| !family.is_empty());
    }
    Ok(order)
}

/// The mutants of this run: half of them evenly from the folders, half by the size of each.
pub fn chosen(root: &Path, options: &Options) -> Result<Vec<Mutant>> {
    let mut of_folders = Vec::new();
    for folder in &options.folders {
        of_folders.push(ordered(root, folder, options.seed)?);
    }
    let total: usize = of_folders.iter().map(Vec::len).sum();
    let even = options.count / (2 * options.folders.len().max(1));
    let (mut mutants, mut numbers): (Vec<Mutant>, BTreeSet<u32>) = Default::default();
    for places in of_folders {
        let share = even + (options.count - even * options.folders.len()) * places.len() / total.max(1);
        let mut taken = BTreeSet::new();
        for mutant in places {
            if taken.len() >= share {
                break;
            }
            // One change of one place.
            let range = mutant.place.range.clone();
            if !numbers.contains(&mutant.number) && taken.insert((mutant.file.clone(), range.start, range.end)) {
                numbers.insert(mutant.number);
                mutants.push(mutant);
            }
        }
    }
    Ok(mutants)
}

/// Makes a folder the copy of another; files that are the same stay as they are, so that nothing is compiled twice.
pub fn copy(from: &Path, to: &Path, keep: &BTreeSet<PathBuf>) -> Result<()> {
    std::fs::create_dir_all(to)?;
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        names.insert(entry.file_name());
        if path.is_dir() {
            copy(&path, &target, keep)?;
        } else if !keep.contains(&target) && std::fs::read(&target).ok() != Some(std::fs::read(&path)?) {
            std::fs::copy(&path, &target)?;
        }
    }
    for entry in std::fs::read_dir(to)? {
        let entry = entry?;
        if !names.contains(&entry.file_name()) && !keep.contains(&entry.path()) {
            if entry.path().is_dir() {
                std::fs::remove_dir_all(entry.path())?
            } else {
                std::fs::remove_file(entry.path())?
            }
        }
    }
    Ok(())
}
