//! Which test reaches which mutant, and which mutant survives the tests that reach it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::build::{Built, Program};
use crate::choice::Mutant;
use crate::{Options, Result};

/// Tests of one program that run together.
const TOGETHER: usize = 15;
/// A test that takes longer runs alone, and after the others.
const SLOW: Duration = Duration::from_secs(10);
/// The longest that a test may take to have its reach recorded.
const LONGEST: Duration = Duration::from_secs(240);

/// A test, how long it took, and what it reaches.
#[derive(Debug, Clone)]
struct Test {
    program: usize,
    name: String,
    took: Duration,
    reaches: BTreeSet<u32>,
}

/// How a mutant ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Killed(String),
    Survived,
    Unreached,
}

pub fn run(work: &Path, mutants: &[Mutant], built: &Built, options: &Options) -> Result<()> {
    let tests = reach(work, built, options)?;
    let state = work.join(if options.confirm { "confirmed" } else { "state" });
    // What is known may be of older sources: it says which test to try first.
    let before = known(&work.join("state"));
    let mut ends = known(&state);
    ends.retain(|number, end| {
        let again = options.again && !matches!(end, End::Killed(_));
        !again && options.only != Some(*number)
    });
    let wanted = |mutant: &&Mutant| {
        built.viable.contains(&mutant.number)
            && !ends.contains_key(&mutant.number)
            && options.only.is_none_or(|only| only == mutant.number)
    };
    let mut todo: Vec<&Mutant> = mutants.iter().filter(wanted).collect();
    // Of each folder one in turn, so that a run that is cut short has looked at all of them.
    let mut turns: BTreeMap<&str, usize> = BTreeMap::new();
    todo.sort_by_cached_key(|mutant| {
        let turn = turns.entry(&mutant.folder).or_default();
        *turn += 1;
        *turn
    });
    let (next, file) = (AtomicUsize::new(0), Mutex::new(fs::File::options().create(true).append(true).open(&state)?));
    thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(|| {
                while let Some(mutant) = todo.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if options.until.is_some_and(|until| Instant::now() > until) {
                        return;
                    }
                    let end = judge(mutant.number, &tests, built, before.get(&mutant.number));
                    println!("{mutant}: {}", word(&end));
                    if let Ok(mut file) = file.lock() {
                        let _ = writeln!(file, "{}\t{}", mutant.number, word(&end));
                    }
                }
            });
        }
    });
    ends.extend(known(&state));
    report(work, mutants, built, &ends)
}

fn word(end: &End) -> String {
    match end {
        End::Killed(by) => format!("killed by {by}"),
        End::Survived => "SURVIVED".to_owned(),
        End::Unreached => "SURVIVED, no test reaches it".to_owned(),
    }
}

fn known(state: &Path) -> BTreeMap<u32, End> {
    let text = fs::read_to_string(state).unwrap_or_default();
    let read = |line: &str| {
        let (number, word) = line.split_once('\t')?;
        let end = match word.strip_prefix("killed by ") {
            Some(by) => End::Killed(by.to_owned()),
            None if word.contains("no test") => End::Unreached,
            None => End::Survived,
        };
        Some((number.parse().ok()?, end))
    };
    text.lines().filter_map(read).collect()
}

fn report(work: &Path, mutants: &[Mutant], built: &Built, ends: &BTreeMap<u32, End>) -> Result<()> {
    let mut folders: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    let mut table = String::new();
    for mutant in mutants {
        let counts = folders.entry(&mutant.folder).or_default();
        counts[0] += 1;
        if !built.viable.contains(&mutant.number) {
            continue;
        }
        counts[1] += 1;
        let Some(end) = ends.get(&mutant.number) else { continue };
        counts[if matches!(end, End::Killed(_)) { 2 } else { 3 }] += 1;
        table += &format!("{mutant}: {}\n", word(end));
    }
    fs::write(work.join("table.txt"), &table)?;
    println!("\nSurvivors:");
    table.lines().filter(|line| line.contains("SURVIVED")).for_each(|line| println!("{line}"));
    println!("\n| folder | chosen | viable | killed | survived |\n|---|---|---|---|---|");
    let mut all = [0; 4];
    for (folder, counts) in folders {
        println!("| {folder} | {} | {} | {} | {} |", counts[0], counts[1], counts[2], counts[3]);
        all.iter_mut().zip(counts).for_each(|(all, count)| *all += count);
    }
    println!("| all | {} | {} | {} | {} |", all[0], all[1], all[2], all[3]);
    Ok(())
}

// Running tests.

/// How a run of a program ended: the tests that failed, or that it hung.
enum Outcome {
    Passed,
    Failed(String),
    Hung,
}

/// Runs tests of a program in a process of its own, with everything that it starts.
fn execute(
    built: &Built,
    program: &Program,
    names: &[&str],
    settings: &[(&str, String)],
    patience: Duration,
) -> Result<Outcome> {
    let log = std::env::temp_dir().join(format!("forge-{}-{:?}", std::process::id(), thread::current().id()));
    let out = fs::File::create(&log)?;
    // A mutant that never stops taking memory is to end, and not the machine.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v 12000000; ulimit -c 0; exec setsid timeout -k 5 \"$@\"", "sh"]);
    command.arg(format!("{}", patience.as_secs().max(1)));
    command.arg(&program.path).arg("--exact").args(names).args(["--test-threads", "2"]);
    command.current_dir(&built.tree).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
    command.env("CARGO_MANIFEST_DIR", &built.tree).envs(settings.iter().map(|(name, value)| (*name, value.as_str())));
    let mut child: Child = command.spawn()?;
    let status = child.wait()?;
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let _ = fs::remove_file(&log);
    if status.success() {
        return Ok(Outcome::Passed);
    }
    let failed = text.lines().find_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    Ok(match (failed, status.code()) {
        (Some(test), _) => Outcome::Failed(test.to_owned()),
        (None, Some(124 | 137)) => Outcome::Hung,
        (None, _) => Outcome::Failed(format!("the end of the program ({status})")),
    })
}

fn judge(number: u32, tests: &[Test], built: &Built, before: Option<&End>) -> End {
    let reaching: Vec<&Test> = tests.iter().filter(|test| test.reaches.contains(&number)).collect();
    if reaching.is_empty() {
        return End::Unreached;
    }
    let mut groups = groups(&reaching);
    // The test that noticed it before comes first.
    if let Some(End::Killed(by)) = before {
        let noticed = |test: &&&Test| by.split(' ').any(|word| word == test.name);
        groups.splice(0..0, reaching.iter().find(noticed).map(|test| (test.program, vec![*test])));
    }
    for (program, group) in groups {
        let total: Duration = group.iter().map(|test| test.took).sum();
        let names: Vec<&str> = group.iter().map(|test| test.name.as_str()).collect();
        let program = &built.programs[program];
        let settings = [("MUTANT", number.to_string()), ("PROPTEST_CASES", "64".to_owned())];
        let patience = Duration::from_secs(30) + total * 3;
        match execute(built, program, &names, &settings, patience) {
            Ok(Outcome::Passed) => {}
            Ok(Outcome::Failed(test)) => return End::Killed(format!("{} {test}", program.target)),
            Ok(Outcome::Hung) => return End::Killed(format!("{} {} (hung)", program.target, names.join(" "))),
            Err(error) => eprintln!("{number}: {error}"),
        }
    }
    End::Survived
}

/// The tests in the order in which they are tried: program after program, the quick ones together, the slow ones alone.
fn groups<'a>(tests: &[&'a Test]) -> Vec<(usize, Vec<&'a Test>)> {
    let mut sorted = tests.to_vec();
    sorted.sort_by_key(|test| (test.took > SLOW, test.program, test.took));
    let mut groups: Vec<(usize, Vec<&Test>)> = Vec::new();
    for test in sorted {
        match groups.last_mut() {
            Some((program, group)) if *program == test.program && test.took <= SLOW && group.len() < TOGETHER => {
                group.push(test);
            }
            _ => groups.push((test.program, vec![test])),
        }
    }
    groups
}

// What reaches what.

/// Runs every test by itself and notes what it reaches; read from the folder of the run where that was done before.
fn reach(work: &Path, built: &Built, options: &Options) -> Result<Vec<Test>> {
    let noted = work.join("reach");
    let text = fs::read_to_string(&noted).unwrap_or_default();
    let mut tests = Vec::new();
    let mut done = BTreeSet::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [target, name, took, reaches] = fields[..] else { continue };
        done.insert((target.to_owned(), name.to_owned()));
        let Some(program) = built.programs.iter().position(|program| program.target == target) else { continue };
        // One that fails without a mutant says nothing.
        let Ok(took) = took.parse() else { continue };
        let reaches = reaches.split(' ').filter_map(|number| number.parse().ok()).collect();
        tests.push(Test { program, name: name.to_owned(), took: Duration::from_millis(took), reaches });
    }
    let mut todo = Vec::new();
    for (at, program) in built.programs.iter().enumerate() {
        let output =
            Command::new(&program.path).args(["--list", "--format", "terse"]).current_dir(&built.tree).output()?;
        let list = String::from_utf8_lossy(&output.stdout).into_owned();
        for name in list.lines().filter_map(|line| line.strip_suffix(": test")) {
            if !done.contains(&(program.target.clone(), name.to_owned())) {
                todo.push((at, name.to_owned()));
            }
        }
    }
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let file = Mutex::new(fs::File::options().create(true).append(true).open(&noted)?);
    thread::scope(|scope| {
        for job in 0..options.jobs {
            let (todo, next, found, file) = (&todo, &next, &found, &file);
            scope.spawn(move || {
                while let Some((program, name)) = todo.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let folder = work.join(format!("trace-{job}"));
                    let test = trace(built, *program, name, &folder);
                    let target = &built.programs[*program].target;
                    let line = match &test {
                        Ok(Some(test)) => {
                            let reaches: Vec<String> = test.reaches.iter().map(u32::to_string).collect();
                            format!("{target}\t{name}\t{}\t{}", test.took.as_millis(), reaches.join(" "))
                        }
                        _ => {
                            eprintln!("not used: {target} {name}, which fails without a mutant, or takes too long");
                            format!("{target}\t{name}\tfails\t")
                        }
                    };
                    if let (Ok(mut file), Ok(mut found)) = (file.lock(), found.lock()) {
                        let _ = writeln!(file, "{line}");
                        found.extend(test.ok().flatten());
                    }
                }
            });
        }
    });
    tests.extend(found.into_inner().unwrap_or_default());
    Ok(tests)
}

fn trace(built: &Built, program: usize, name: &str, folder: &PathBuf) -> Result<Option<Test>> {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder)?;
    let begun = Instant::now();
    let settings = [("MUTANT_TRACE", folder.to_string_lossy().into_owned()), ("PROPTEST_CASES", "64".to_owned())];
    let outcome = execute(built, &built.programs[program], &[name], &settings, LONGEST)?;
    let took = begun.elapsed();
    let mut reaches = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        reaches.extend(fs::read_to_string(entry?.path())?.lines().filter_map(|line| line.parse::<u32>().ok()));
    }
    Ok(matches!(outcome, Outcome::Passed).then_some(Test { program, name: name.to_owned(), took, reaches }))
}
