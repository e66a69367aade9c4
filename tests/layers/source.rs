//! Reads the sources as far as these tests need: code without comments, texts and unit tests, and the modules that it
//! names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module in a file of its own.
pub(crate) struct Source {
    /// `src/engine/state/mod.rs`.
    pub(crate) path: String,
    /// `["engine", "state"]`.
    pub(crate) module: Vec<String>,
    /// The code: no comments, no texts, no modules of unit tests.
    pub(crate) code: String,
}

/// Files with the modules that they are, those that are compiled for tests alone left out.
pub(crate) struct Tree {
    sources: Vec<Source>,
    /// Where a module has a name from: `engine` with `Book` has `engine::book::Book`.
    names: BTreeMap<Vec<String>, Vec<String>>,
}

impl Tree {
    /// The library, without `lib.rs` and `main.rs`.
    pub(crate) fn of_the_library() -> Self {
        let texts = files(&["src"], "rs").into_iter().map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (relative(&path), text)
        });
        Self::new(texts.filter(|(path, _)| path != "src/lib.rs" && path != "src/main.rs").collect())
    }

    /// Files by their paths, with their texts.
    pub(crate) fn new(texts: Vec<(String, String)>) -> Self {
        let mut sources = Vec::new();
        let mut tests: BTreeSet<Vec<String>> = BTreeSet::new();
        for (path, text) in texts {
            let module = module_of(&path);
            let (code, of_tests) = without_tests(&plain(&text));
            tests.extend(of_tests.into_iter().map(|name| [module.clone(), vec![name]].concat()));
            sources.push(Source { path, module, code });
        }
        sources.retain(|source| !tests.iter().any(|test| source.module.starts_with(test)));
        let mut tree = Self { sources, names: BTreeMap::new() };
        tree.names = tree.sources.iter().flat_map(|source| tree.brought_in(source)).collect();
        tree
    }

    /// The files of a layer.
    pub(crate) fn layer(&self, layer: &str) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(move |source| source.module[0] == layer)
    }

    /// The file in which a path ends, with names that are passed on followed to where they come from.
    pub(crate) fn file_of(&self, path: &[String]) -> Option<&Source> {
        let mut path = path.to_vec();
        // A name is passed on a few times at most.
        for _ in 0..8 {
            let depth = (1..=path.len()).rev().find(|depth| self.is_module(&path[..*depth]))?;
            match path.get(..=depth).and_then(|name| self.names.get(name)) {
                Some(from) => path = [from.as_slice(), &path[depth + 1..]].concat(),
                None => return self.sources.iter().find(|source| source.module == path[..depth]),
            }
        }
        None
    }

    fn is_module(&self, path: &[String]) -> bool {
        self.sources.iter().any(|source| source.module == path)
    }

    /// The names that the `use` lines of a file bring into its module, with where they come from.
    fn brought_in(&self, source: &Source) -> Vec<(Vec<String>, Vec<String>)> {
        let mut found = Vec::new();
        for (place, _) in source.code.match_indices("use ") {
            if !source.code[..place].ends_with(is_boundary) {
                continue;
            }
            for path in paths_at(&source.code[place + "use ".len()..]) {
                let Some(from) = self.absolute(source, &path) else { continue };
                if let Some(name) = from.last().filter(|name| *name != "*") {
                    let name = [source.module.clone(), vec![name.clone()]].concat();
                    // The module itself is no name of something else.
                    if name != from {
                        found.push((name, from));
                    }
                }
            }
        }
        found
    }

    /// What a path in a file means, from the root of the library: a path that begins with `crate`, `super`, `self` or a
    /// module below that file.
    fn absolute(&self, source: &Source, path: &[String]) -> Option<Vec<String>> {
        let child = [source.module.as_slice(), path.get(..1)?].concat();
        source.absolute(path).or_else(|| self.is_module(&child).then(|| [source.module.as_slice(), path].concat()))
    }

    /// The files that a file names, itself left out.
    pub(crate) fn named_by<'a>(&'a self, source: &'a Source) -> impl Iterator<Item = &'a Source> {
        let below = self.brought_in(source).into_iter().map(|(_, from)| from);
        let named = source.imports().into_iter().chain(below).filter_map(|path| self.file_of(&path));
        named.filter(|other| other.path != source.path)
    }
}

impl Source {
    /// Every path of the library that the code names, in `use` and elsewhere, from the root of the library.
    pub(crate) fn imports(&self) -> Vec<Vec<String>> {
        let mut found = Vec::new();
        for root in ["crate::", "super::", "self::"] {
            for (place, _) in self.code.match_indices(root) {
                let before = &self.code[..place];
                // A later part of a path, or of a name.
                if !before.is_empty() && !before.ends_with(is_boundary) {
                    continue;
                }
                found.extend(paths_at(&self.code[place..]).into_iter().filter_map(|path| self.absolute(&path)));
            }
        }
        found.retain(|path| !path.is_empty());
        found
    }

    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let ups = path.iter().take_while(|part| *part == "super").count();
        match path.first()?.as_str() {
            "crate" => Some(path[1..].to_vec()),
            "self" => Some([&self.module, &path[1..]].concat()),
            "super" => Some([&self.module[..self.module.len().checked_sub(ups)?], &path[ups..]].concat()),
            _ => None,
        }
    }
}

/// Whether a path may begin after this character.
fn is_boundary(c: char) -> bool {
    !c.is_alphanumeric() && c != '_' && c != ':'
}

/// The module that a file is: `src/engine/state/mod.rs` and `src/engine/state/mod.rs` are `["engine", "state"]`.
fn module_of(path: &str) -> Vec<String> {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').map(str::to_owned).collect()
}

/// The paths that a text begins with: one, or those of a group `a::{b, c::{d, e}}`.
fn paths_at(text: &str) -> Vec<Vec<String>> {
    /// Reads one path and its groups; gives what is behind it.
    fn read<'a>(before: &[String], mut text: &'a str, found: &mut Vec<Vec<String>>) -> &'a str {
        let mut path = before.to_vec();
        loop {
            text = text.trim_start();
            if let Some(mut group) = text.strip_prefix('{') {
                loop {
                    group = read(&path, group, found);
                    group = group.trim_start_matches(|c| !",{}".contains(c));
                    match group.strip_prefix(',') {
                        Some(more) => group = more,
                        None => return group.strip_prefix('}').unwrap_or(group),
                    }
                }
            }
            let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
            let part = if text.starts_with('*') { "*" } else { &text[..end] };
            if part.is_empty() {
                break;
            }
            // In a group, the module itself.
            if part != "self" || path.is_empty() {
                path.push(part.to_owned());
            }
            text = text[part.len()..].trim_start();
            match text.strip_prefix("::") {
                Some(rest) => text = rest,
                None => break,
            }
        }
        if path.as_slice() != before || !before.is_empty() {
            found.push(path);
        }
        text
    }
    let mut found = Vec::new();
    read(&[], text, &mut found);
    found
}

/// Code without the modules that are for tests alone, and the names of those that are in files of their own.
pub(crate) fn without_tests(code: &str) -> (String, Vec<String>) {
    const MARK: &str = "#[cfg(test)]";
    let mut kept = String::new();
    let mut names = Vec::new();
    let mut rest = code;
    while let Some((before, after)) = rest.split_once(MARK) {
        kept.push_str(before);
        rest = after;
        let item = after.trim_start();
        let Some(module) = item.strip_prefix("pub(crate) ").unwrap_or(item).strip_prefix("mod ") else { continue };
        let Some(end) = module.find([';', '{']) else { continue };
        if module[end..].starts_with(';') {
            names.push(module[..end].trim().to_owned());
            rest = &module[end + 1..];
        } else {
            rest = &module[end + block(&module[end..])..];
        }
    }
    kept.push_str(rest);
    (kept, names)
}

/// The length of the block in braces that a text begins with.
pub(crate) fn block(text: &str) -> usize {
    let mut depth = 0;
    for (place, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return place + c.len_utf8();
        }
    }
    text.len()
}

/// A source with its comments and what stands in its texts taken out; its lines stay.
pub(crate) fn plain(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = comment(rest).or_else(|| raw_text(rest)).or_else(|| quoted(rest));
        let at_word = kept.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        match skipped {
            // `r"` ends no longer word.
            Some(length) if !at_word || !c.is_alphanumeric() => {
                kept.extend(rest[..length].chars().filter(|c| *c == '\n'));
                rest = &rest[length..];
            }
            _ => {
                kept.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    kept
}

/// The length of a comment at the beginning of a text.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    let mut depth = 0;
    let mut place = 0;
    while place < text.len() {
        let rest = &text[place..];
        if rest.starts_with("/*") {
            depth += 1;
            place += 2;
        } else if depth == 0 {
            return None;
        } else if rest.starts_with("*/") {
            depth -= 1;
            place += 2;
            if depth == 0 {
                return Some(place);
            }
        } else {
            place += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    Some(text.len())
}

/// The length of `r"…"`, `br#"…"#` and their like at the beginning of a text.
fn raw_text(text: &str) -> Option<usize> {
    let head = if text.starts_with("br") { 2 } else { 1 };
    let hashes = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let body = hashes.trim_start_matches('#');
    let count = hashes.len() - body.len();
    let end = ["\"", &"#".repeat(count)].concat();
    let inside = body.strip_prefix('"')?;
    Some(inside.find(&end).map_or(text.len(), |place| head + count + 1 + place + end.len()))
}

/// The length of `"…"` or of a character in quotes at the beginning of a text. A lifetime is neither.
fn quoted(text: &str) -> Option<usize> {
    let mut chars = text.char_indices().peekable();
    let (_, quote) = chars.next().filter(|(_, c)| "\"'".contains(*c))?;
    if quote == '\'' {
        let mut inside = text.chars().skip(1);
        if inside.next() != Some('\\') && inside.next() != Some('\'') {
            return None;
        }
    }
    while let Some((place, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == quote {
            return Some(place + 1);
        }
    }
    Some(text.len())
}

/// Everything below these folders that ends so.
pub(crate) fn files(folders: &[&str], ending: &str) -> Vec<PathBuf> {
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

/// A path as one says it, from the folder of the package.
pub(crate) fn relative(path: &Path) -> String {
    path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().to_str().unwrap().to_owned()
}

fn tree(texts: &[(&str, &str)]) -> Tree {
    Tree::new(texts.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
}

#[test]
fn the_reader_of_imports_sees_every_form() {
    let source = |code: &str| Source { path: String::new(), module: module_of("src/a/b/c.rs"), code: code.to_owned() };
    let imports = |code: &str| source(code).imports().iter().map(|path| path.join("::")).collect::<Vec<_>>();
    assert_eq!(imports("use crate::net::tor; crate::store::Log"), ["net::tor", "store::Log"]);
    assert_eq!(
        imports("use crate::{base::ids, engine::{self, Effect, state::{Input as I, *}}, wire};"),
        ["base::ids", "engine", "engine::Effect", "engine::state::Input", "engine::state::*", "wire"]
    );
    assert_eq!(imports("super::x::y(); super::super::Z::<u8>::new(self::w)"), ["a::b::x::y", "a::Z", "a::b::c::w"]);
    assert_eq!(imports("fn a<T: super::Host>() { $crate::engine::records!() }"), ["engine::records", "a::b::Host"]);
    assert_eq!(imports("is_super::x; other::crate_::y; self.x"), [""; 0]);
}

#[test]
fn a_name_that_is_passed_on_is_followed_to_its_file() {
    let tree = tree(&[
        ("src/a/mod.rs", "mod b;\npub mod c;\npub use b::Thing;"),
        ("src/a/b.rs", "use super::c::Other;\npub struct Thing;"),
        ("src/a/c.rs", "pub struct Other;"),
        ("src/d.rs", "use crate::a::{Thing, c::Other};\nuse crate::a::b;"),
    ]);
    let named = |path: &str| -> Vec<&str> {
        let source = tree.sources.iter().find(|source| source.path == path).unwrap();
        tree.named_by(source).map(|source| source.path.as_str()).collect::<BTreeSet<_>>().into_iter().collect()
    };
    assert_eq!(named("src/d.rs"), ["src/a/b.rs", "src/a/c.rs"]);
    assert_eq!(named("src/a/b.rs"), ["src/a/c.rs"]);
    assert_eq!(named("src/a/mod.rs"), ["src/a/b.rs"]);
}

#[test]
fn code_behind_a_module_of_tests_is_read() {
    let tree = tree(&[
        ("src/base/mod.rs", "#[cfg(test)]\nmod scenarios;\nuse crate::engine::Late;\nfn a() {}"),
        ("src/base/scenarios.rs", "use crate::engine::Freely;"),
        ("src/base/scenarios/more.rs", "use crate::engine::Freely;"),
        ("src/base/ids.rs", "#[cfg(test)]\nmod tests { use crate::engine::Inside; fn b() {} }\nuse crate::cli::After;"),
    ]);
    let found: Vec<String> = tree.sources.iter().flat_map(Source::imports).map(|path| path.join("::")).collect();
    assert_eq!(found, ["engine::Late", "cli::After"]);
}

#[test]
fn comments_and_texts_are_no_code() {
    let text = "a // crate::b\n/* { /* crate::c */ */ d(\"crate::e \\\" {\", '{', '\\'', r#\"crate::\"f\"#, b'}') <'g> 'h: for";
    assert_eq!(plain(text), "a \n d(, , , , b) <'g> 'h: for");
}
