//! Compiles the copy; mutants that do not compile are left out, one round after the other.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::choice::Mutant;
use crate::tree::{self, Written};
use crate::{Options, Result};

/// Rounds until only what compiles is left. Each ends a phase of the compiler for good; more than a few are a fault here.
const ROUNDS: usize = 30;

/// A test program.
#[derive(Debug, Clone)]
pub struct Program {
    /// `lib`, or the name of its file in `tests/`.
    pub target: String,
    pub path: PathBuf,
}

/// What was built.
pub struct Built {
    pub tree: PathBuf,
    pub programs: Vec<Program>,
    /// Mutants that compile.
    pub viable: BTreeSet<u32>,
}

pub fn build(root: &Path, work: &Path, mutants: &[Mutant], options: &Options) -> Result<Built> {
    let (tree, list) = (work.join("tree"), work.join("dropped"));
    let target = root.join("target/forge/build");
    seed(root, &target)?;
    let known = std::fs::read_to_string(&list).unwrap_or_default();
    let mut dropped: BTreeSet<u32> = known.lines().filter_map(|line| line.parse().ok()).collect();
    let mut arguments = vec!["test", "--no-run"];
    for name in &options.targets {
        match name.as_str() {
            "lib" => arguments.push("--lib"),
            name => arguments.extend(["--test", name]),
        }
    }
    // What the compiler finds late, as sums that cannot be, it finds only where it makes code.
    let (mut steps, mut messages) = ([&["check", "--lib"][..], &arguments].into_iter().peekable(), Vec::new());
    for round in 1..=ROUNDS {
        let Some(step) = steps.peek() else { break };
        let written = tree::write(root, work, mutants, &dropped)?;
        let succeeded;
        (succeeded, messages) = cargo(&tree, &target, step)?;
        if succeeded {
            steps.next();
            continue;
        }
        let before = dropped.len();
        for message in messages.iter().filter(|message| message["message"]["level"] == "error") {
            blame(&message["message"], &written, mutants, &mut dropped);
        }
        eprintln!("round {round}: {} mutants do not compile", dropped.len());
        let text: String = dropped.iter().map(|number| format!("{number}\n")).collect();
        std::fs::write(&list, text)?;
        if dropped.len() == before {
            let errors = messages.iter().filter_map(|message| message["message"]["rendered"].as_str());
            errors.filter(|text| text.starts_with("error")).take(3).for_each(|error| eprintln!("{error}"));
            return Err("the copy does not compile, and no mutant is to blame".into());
        }
    }
    if steps.peek().is_some() {
        return Err("too much of the copy does not compile".into());
    }
    let mut programs = Vec::new();
    for message in messages.iter().filter(|message| message["profile"]["test"] == true) {
        let (Some(path), Some(name)) = (message["executable"].as_str(), message["target"]["name"].as_str()) else {
            continue;
        };
        let library = message["target"]["kind"][0] == "lib";
        let target = if library { "lib".to_owned() } else { name.to_owned() };
        programs.push(Program { target, path: path.into() });
    }
    programs.sort_by_key(|program| options.targets.iter().position(|target| *target == program.target));
    let viable = mutants.iter().map(|mutant| mutant.number).filter(|number| !dropped.contains(number)).collect();
    Ok(Built { tree, programs, viable })
}

/// Dependencies that the package has built already are used as they are.
fn seed(root: &Path, target: &Path) -> Result<()> {
    let (ours, theirs) = (root.join("target/debug"), target.join("debug"));
    if theirs.exists() || !ours.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(&theirs)?;
    for part in ["deps", "build", ".fingerprint"] {
        Command::new("cp").arg("-al").arg(ours.join(part)).arg(&theirs).status()?;
        for entry in std::fs::read_dir(theirs.join(part))? {
            let path = entry?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            // What is the package's own is linked anew.
            if name.starts_with("runepeer") || name.starts_with("librunepeer") {
                if path.is_dir() { std::fs::remove_dir_all(&path)? } else { std::fs::remove_file(&path)? }
            }
        }
    }
    Ok(())
}

fn cargo(tree: &Path, target: &Path, arguments: &[&str]) -> Result<(bool, Vec<Value>)> {
    let program = std::env::var("FORGE_CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(program)
        .args(arguments)
        .arg("--message-format=json")
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", target)
        .env_remove("RUSTFLAGS")
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok((output.status.success(), text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()))
}

/// Leaves out the mutant in which an error is; or, where it is in none, those in the function around it.
fn blame(message: &Value, written: &Written, mutants: &[Mutant], dropped: &mut BTreeSet<u32>) {
    let mut spans: Vec<&Value> = message["spans"].as_array().into_iter().flatten().collect();
    spans.sort_by_key(|span| span["is_primary"] != true);
    let mut places = Vec::new();
    for span in &spans {
        let (Some(file), Some(start), Some(end)) =
            (span["file_name"].as_str(), span["byte_start"].as_u64(), span["byte_end"].as_u64())
        else {
            continue;
        };
        if let Some(of_file) = written.get(Path::new(file)) {
            places.push((of_file, start as usize, end as usize));
        }
    }
    for (of_file, start, end) in &places {
        let around = of_file.iter().filter(|(_, range)| range.start <= *start && *end <= range.end);
        if let Some((number, _)) = around.min_by_key(|(_, range)| range.len()) {
            dropped.insert(*number);
            return;
        }
    }
    // The other way round: an expression with mutants in it.
    for (of_file, start, end) in &places {
        let inside: Vec<u32> = of_file
            .iter()
            .filter(|(_, range)| *start <= range.start && range.end <= *end)
            .map(|(number, _)| *number)
            .collect();
        if !inside.is_empty() {
            dropped.extend(inside);
            return;
        }
    }
    if let Some((of_file, start, _)) = places.first() {
        let nearest = of_file.iter().filter(|(number, _)| !dropped.contains(number));
        let Some((number, _)) = nearest.min_by_key(|(_, range)| range.start.abs_diff(*start)) else { return };
        let function =
            mutants.iter().find(|mutant| mutant.number == *number).map(|mutant| (&mutant.file, &mutant.place.function));
        dropped.extend(
            mutants
                .iter()
                .filter(|mutant| Some((&mutant.file, &mutant.place.function)) == function)
                .map(|mutant| mutant.number),
        );
    }
}
