//! Breaks the library in hundreds of small ways, each behind a number, compiles all of them once, and runs for each the tests
//! that reach it (docs/testing.md, "Mutants by the hundred").
//!
//! `forge --seed 16 --count 400` chooses, builds, and goes on where an earlier run with the same seed and count ended.
//! `--only 17` runs one mutant, `--again` those that survived, `--confirm` all of them, each with the test first that noticed it before.
//! `--list` prints the places, `--build` goes no further than the compiler, `--folders mail,pgp` narrows them, `--minutes 30` ends in time.

mod build;
mod campaign;
mod choice;
mod places;
mod tree;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What the command line says.
pub struct Options {
    pub seed: u64,
    pub count: usize,
    pub only: Option<u32>,
    pub list: bool,
    pub build: bool,
    /// Judges what survived once more.
    pub again: bool,
    /// Judges everything once more.
    pub confirm: bool,
    pub folders: Vec<String>,
    /// Test targets: `lib`, and the names of files in `tests/`.
    pub targets: Vec<String>,
    pub jobs: usize,
    pub until: Option<Instant>,
}

fn options() -> Result<Options> {
    let words = |text: &str| text.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let mut options = Options {
        seed: 16,
        count: 400,
        only: None,
        list: false,
        build: false,
        again: false,
        confirm: false,
        folders: words("mail,pgp,wire,engine,store,backup,daemon,gateway,cli"),
        targets: words(
            "lib,submission,imap_gateway,cli,backup,repair,carrier,at_rest,wire_transcripts,wire_vectors,running,missing_parts,lost_directory,drops",
        ),
        jobs: 2,
        until: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let flag = match name.as_str() {
            "--list" => Some(&mut options.list),
            "--build" => Some(&mut options.build),
            "--again" => Some(&mut options.again),
            "--confirm" => Some(&mut options.confirm),
            _ => None,
        };
        if let Some(flag) = flag {
            *flag = true;
            continue;
        }
        let value = arguments.next().ok_or(format!("{name} needs a value"))?;
        match name.as_str() {
            "--seed" => options.seed = value.parse()?,
            "--count" => options.count = value.parse()?,
            "--only" => options.only = Some(value.parse()?),
            "--folders" => options.folders = words(&value),
            "--targets" => options.targets = words(&value),
            "--jobs" => options.jobs = value.parse()?,
            "--minutes" => options.until = Some(Instant::now() + Duration::from_secs(60 * value.parse::<u64>()?)),
            _ => return Err(format!("{name} is no option").into()),
        }
    }
    Ok(options)
}

fn main() -> Result<()> {
    let options = options()?;
    let root: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").canonicalize()?;
    let work = root.join("target/forge").join(format!(
        "{}-{}-{}",
        options.seed,
        options.count,
        if options.folders.len() == 9 { "all".to_owned() } else { options.folders.join("+") }
    ));
    std::fs::create_dir_all(&work)?;
    let chosen = choice::chosen(&root, &options)?;
    if options.list {
        chosen.iter().for_each(|place| println!("{place}"));
        return Ok(());
    }
    let built = build::build(&root, &work, &chosen, &options)?;
    if options.build {
        println!("{} of {} compile", built.viable.len(), chosen.len());
        return Ok(());
    }
    campaign::run(&work, &chosen, &built, &options)
}
