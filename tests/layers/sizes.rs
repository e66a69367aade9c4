//! A file can be read at one sitting, a function at one look.

use std::collections::BTreeSet;
use std::fs;

use super::expect_exactly;
use super::source::{block, files, plain, relative};

/// The most lines of a file.
const FILE_LINES: usize = 600;

/// The most lines of a function, from its name to its end.
const FUNCTION_LINES: usize = 100;

/// The most lines and fields of the router, which must not grow with what an identity can do (docs/architecture.md).
const ROUTER: (&str, usize, usize) = ("src/engine/identity.rs", 250, 12);

/// Files that are longer still. One that is not any more has to go from here.
const STILL_LONG: &[&str] = &[];

/// Functions that are longer still. One that is not any more has to go from here.
const STILL_LONG_FUNCTIONS: &[(&str, &str)] = &[];

/// The sources with their texts.
fn sources() -> Vec<(String, String)> {
    let paths = files(&["src", "tests"], "rs");
    paths.iter().map(|path| (relative(path), fs::read_to_string(path).unwrap())).collect()
}

/// The functions of plain code, each with the number of its lines.
fn functions(code: &str) -> Vec<(&str, usize)> {
    let mut found = Vec::new();
    for (place, _) in code.match_indices("fn ") {
        let rest = &code[place + "fn ".len()..];
        let name = &rest[..rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())];
        // Not the end of a word, and not the type `fn (u8)`.
        if name.is_empty() || code[..place].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        // The body, or the end of a declaration without one. Brackets may have either within.
        let mut depth = 0;
        let body = rest.char_indices().find(|(_, c)| {
            match c {
                '(' | '[' => depth += 1,
                ')' | ']' => depth -= 1,
                _ => {}
            }
            depth == 0 && (*c == '{' || *c == ';')
        });
        if let Some((start, '{')) = body {
            let end = start + block(&rest[start..]);
            found.push((name, rest[..end].lines().count()));
        }
    }
    found
}

#[test]
fn files_can_be_read_at_one_sitting() {
    let sources = sources();
    assert!(sources.len() > 300, "there are only {}", sources.len());
    let long = sources.iter().filter(|(_, text)| text.lines().count() > FILE_LINES).map(|(path, _)| path.as_str());
    expect_exactly(long.collect(), STILL_LONG.iter().copied().collect(), "STILL_LONG");
}

#[test]
fn the_router_stays_small_and_no_room_takes_it() {
    let (router, most_lines, most_fields) = ROUTER;
    let text = fs::read_to_string(router).unwrap();
    assert!(text.lines().count() <= most_lines, "{router} has {} lines", text.lines().count());
    let fields = text.lines().skip_while(|line| *line != "pub struct Identity {").skip(1);
    let fields = fields.take_while(|line| *line != "}").filter(|line| !line.trim_start().starts_with("//")).count();
    assert!((1..=most_fields).contains(&fields), "the router has {fields} fields");
    for (path, text) in sources().iter().filter(|(path, _)| path.starts_with("src/") && path != router) {
        let code = plain(text);
        for taken in ["&mut Identity", "impl Identity"] {
            let whole = |(place, _)| !code[place + taken.len()..].starts_with(|c: char| c.is_alphanumeric());
            assert!(!code.match_indices(taken).any(whole), "{path} has {taken:?}: a room gets a `Context`");
        }
    }
}

#[test]
fn functions_can_be_read_at_one_look() {
    let mut seen = 0;
    let mut long = BTreeSet::new();
    for (path, text) in sources() {
        for (name, lines) in functions(&plain(&text)) {
            seen += 1;
            if lines > FUNCTION_LINES {
                long.insert((path.clone(), name.to_owned()));
            }
        }
    }
    assert!(seen > 3000, "the reader of functions found only {seen}");
    let excepted = STILL_LONG_FUNCTIONS.iter().map(|(path, name)| ((*path).to_owned(), (*name).to_owned()));
    expect_exactly(long, excepted.collect(), "STILL_LONG_FUNCTIONS");
}

#[test]
fn the_reader_of_functions_sees_every_form() {
    let code = "const fn a() { {\n} }\nfn b(c: [u8; 2],\n d: fn(u8)) -> [u8; 2] where E: F {\n\n}\ntrait G { fn h(); fn i() {} }";
    assert_eq!(functions(code), [("a", 2), ("b", 4), ("i", 1)]);
}
