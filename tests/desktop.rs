//! What a desktop does with an invitation: an independent program reads the QR codes, on paper and on terminals of either
//! look, and the file for links is valid. Ignored, with the reason, where `zbarimg` or `desktop-file-validate` is not
//! installed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod support;

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use support::node::Node;
use support::programs::{run, run_in_terminal};
use support::runner::{self, Missing};
use support::{program, temp_dir};

/// Pixels of a module.
const SCALE: usize = 6;
/// Grey levels.
const BLACK: u8 = 0;
const WHITE: u8 = 255;

/// The programs.
struct Desktop {
    zbarimg: PathBuf,
    validate: PathBuf,
}

/// The colours that a terminal has where nothing sets any.
#[derive(Clone, Copy)]
struct Look {
    letters: u8,
    ground: u8,
}

const LIGHT: Look = Look { letters: BLACK, ground: WHITE };
const DARK: Look = Look { letters: WHITE, ground: BLACK };

fn main() -> ExitCode {
    let found = |name, package| program(name).ok_or_else(|| Missing(format!("{name} ({package}) is not installed")));
    runner::main(
        || {
            let zbarimg = found("zbarimg", "zbar-tools")?;
            Ok(Desktop { zbarimg, validate: found("desktop-file-validate", "desktop-file-utils")? })
        },
        &[
            ("an_independent_reader_reads_an_invitation_from_a_file_and_from_any_terminal", invitation),
            ("an_independent_reader_reads_an_invitation_to_a_box", invitation_to_a_box),
            ("the_file_for_links_is_valid_and_runs_this_program_without_a_shell", links),
        ],
    )
}

/// What the reader finds in a picture.
fn read(desktop: &Desktop, picture: &Path) -> String {
    let mut command = Command::new(&desktop.zbarimg);
    command.args(["--quiet", "--raw"]).arg(picture);
    let output = run(command, b"");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Draws what a terminal of this look shows of these lines, and has it read.
fn read_drawn(desktop: &Desktop, lines: &[String], look: Look) -> String {
    let rows: Vec<[Vec<u8>; 2]> = lines.iter().map(|line| halves(line, look)).collect();
    let width = rows.iter().map(|[upper, _]| upper.len()).max().unwrap() + 2;
    let blank = vec![look.ground; width];
    let mut pixels = Vec::new();
    let margin = [blank.clone(), blank.clone()];
    for half in [&margin].into_iter().chain(&rows).chain([&margin]).flatten() {
        let mut row = vec![look.ground];
        row.extend(half);
        row.resize(width, look.ground);
        let wide: Vec<u8> = row.iter().flat_map(|level| [*level; SCALE]).collect();
        pixels.extend(std::iter::repeat_n(wide, SCALE).flatten());
    }
    let home = temp_dir();
    let path = home.path().join("screen.png");
    let file = BufWriter::new(File::create(&path).unwrap());
    let (side, height) = (width * SCALE, pixels.len() / (width * SCALE));
    let mut encoder = png::Encoder::new(file, side as u32, height as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    read(desktop, &path)
}

/// The upper and the lower halves of the cells of a line: block elements in the colours that were set.
fn halves(line: &str, look: Look) -> [Vec<u8>; 2] {
    let (mut now, mut upper, mut lower) = (look, Vec::new(), Vec::new());
    let mut rest = line;
    while let Some(next) = rest.chars().next() {
        if let Some(sequence) = rest.strip_prefix("\u{1b}[") {
            let (parameters, after) = sequence.split_once('m').unwrap();
            now = coloured(parameters, now, look);
            rest = after;
            continue;
        }
        let Look { letters, ground } = now;
        let (above, below) = match next {
            '█' => (letters, letters),
            '▀' => (letters, ground),
            '▄' => (ground, letters),
            ' ' => (ground, ground),
            other => panic!("{other:?} is no part of a code"),
        };
        upper.push(above);
        lower.push(below);
        rest = &rest[next.len_utf8()..];
    }
    [upper, lower]
}

/// The colours after SGR (ECMA-48) with these parameters.
fn coloured(parameters: &str, now: Look, usual: Look) -> Look {
    let level = |number: &str| match number {
        "16" => BLACK,
        "231" => WHITE,
        other => panic!("colour {other} depends on the theme"),
    };
    let parts: Vec<&str> = parameters.split(';').collect();
    parts.chunks(3).fold(now, |now, part| match part {
        ["0"] => usual,
        ["38", "5", number] => Look { letters: level(number), ..now },
        ["48", "5", number] => Look { ground: level(number), ..now },
        other => panic!("{other:?} is not expected"),
    })
}

/// The lines of a code in what a program printed.
fn code(printed: &[u8]) -> Vec<String> {
    let text = String::from_utf8(printed.to_vec()).unwrap();
    let is_code = |line: &str| {
        let cells = line.trim_start_matches(|c: char| "\u{1b}[;m0123456789".contains(c)).replace("\u{1b}[0m", "");
        !cells.is_empty() && cells.chars().all(|c| "█▀▄ ".contains(c))
    };
    text.lines().map(|line| line.trim_end_matches('\r')).filter(|line| is_code(line)).map(str::to_owned).collect()
}

/// Runs a command of a node on a terminal.
fn on_terminal(node: &Node, words: &[&str]) -> Vec<u8> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runepeer"));
    command.arg("--data-dir").arg(node.data()).args(words);
    let output = run_in_terminal(command);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    output.stdout
}

/// The last line that begins like an invitation.
fn text_in(printed: &[u8], scheme: &str) -> String {
    let text = String::from_utf8_lossy(printed).into_owned();
    text.lines().map(str::trim).rfind(|line| line.starts_with(scheme)).unwrap().to_owned()
}

fn invitation(desktop: &Desktop) {
    let peers = temp_dir();
    let (mut alice, mut bob) = (Node::loopback("alice", peers.path()), Node::loopback("bob", peers.path()));
    alice.start();
    bob.start();
    let picture = peers.path().join("code.png");
    let made = alice.json(&["invite", "--png", picture.to_str().unwrap()]);
    let (text, found) = (made["invitation"].as_str().unwrap(), read(desktop, &picture));
    assert!(found.eq_ignore_ascii_case(text), "{found} instead of {text}");

    // Printed, as into a file: dark letters on a light page.
    let printed = alice.run(&["invite", "--qr"]).stdout;
    let found = read_drawn(desktop, &code(&printed), LIGHT);
    assert!(found.eq_ignore_ascii_case(&text_in(&printed, "rune:")), "{found}");

    for look in [LIGHT, DARK] {
        let shown = on_terminal(&alice, &["invite", "--qr"]);
        let lines = code(&shown);
        assert!(lines.iter().all(|line| line.starts_with('\u{1b}')), "a terminal is told the colours");
        let found = read_drawn(desktop, &lines, look);
        assert!(found.eq_ignore_ascii_case(&text_in(&shown, "rune:")), "{found}");
        assert!(bob.run(&["contact", "add", &found]).status.success(), "it is an invitation");
    }
    assert_eq!(bob.json(&["contact", "show", "alice"])["address"], alice.address());
}

fn invitation_to_a_box(desktop: &Desktop) {
    let peers = temp_dir();
    let (mut alice, mut bob) = (Node::loopback("alice", peers.path()), Node::loopback("bob", peers.path()));
    alice.start();
    bob.start();
    assert!(alice.run(&["carrier", "enable"]).status.success());
    for look in [LIGHT, DARK] {
        let shown = on_terminal(&alice, &["carrier", "invite", "--qr"]);
        let found = read_drawn(desktop, &code(&shown), look);
        assert!(found.eq_ignore_ascii_case(&text_in(&shown, "rune-box:")), "{found}");
        if look.ground == WHITE {
            assert!(bob.run(&["carrier", "add", &found]).status.success());
        }
    }
    assert_eq!(bob.json(&["carrier", "list"])["carriers"].as_array().unwrap().len(), 1);
}

fn links(desktop: &Desktop) {
    let home = temp_dir();
    let data = home.path().join("a \"data\" directory for 100 % $HOME");
    let runepeer = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runepeer"));
        command.arg("--data-dir").arg(&data).args(words).env("XDG_DATA_HOME", home.path());
        let output = run(command, b"");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let shown = runepeer(&["invite", "handler", "show"]);
    let path = runepeer(&["invite", "handler", "install"]);
    assert_eq!(path.trim(), home.path().join("applications/runepeer.desktop").to_str().unwrap());
    let written = std::fs::read_to_string(path.trim()).unwrap();
    assert_eq!(written, shown);
    let mut command = Command::new(&desktop.validate);
    command.arg(path.trim());
    let said = run(command, b"");
    assert!(
        said.status.success(),
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
    let exec = written.lines().find_map(|line| line.strip_prefix("Exec=")).unwrap();
    assert!(exec.starts_with(&format!("\"{}\" ", env!("CARGO_BIN_EXE_runepeer"))), "{exec}");
    assert!(exec.ends_with("\" invite open -- %u"), "{exec}");
    assert!(exec.contains("100 %% \\\\$HOME\""), "{exec}");
    assert!(written.contains("\nMimeType=x-scheme-handler/rune;x-scheme-handler/rune-box;\n"));
    assert!(written.contains("\nTerminal=true\n"));
}
