//! Which layer may import which, and what has no place in a pure one.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::source::Tree;

/// Each layer with the layers that it may import, from the ground up.
const LAYERS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("wire", &["base"]),
    ("mail", &["base"]),
    ("pgp", &["base", "mail"]),
    ("engine", &["base", "wire", "mail"]),
    ("store", &["base", "mail", "engine"]),
    ("net", &["base", "wire", "engine"]),
    ("gateway", &["base", "mail", "engine", "store"]),
    ("control", &["base", "engine"]),
    ("config", &["base"]),
    ("backup", &["base", "mail", "engine", "store", "control"]),
    ("daemon", &["base", "wire", "mail", "pgp", "engine", "store", "net", "gateway", "control", "config", "backup"]),
    ("cli", &["base", "store", "config", "control", "backup", "daemon"]),
];

/// Layers without IO, async, clock, thread, environment, global, randomness or unordered map.
const PURE: &[&str] = &["base", "wire", "mail", "engine"];

/// What has no place in a pure layer.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::io",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::OnceLock",
    "std::sync::LazyLock",
    "std::os::",
    "tokio",
    "async fn",
    ".await",
    "Instant::now",
    "SystemTime",
    "HashMap",
    "HashSet",
    "getrandom",
    "thread_rng",
    "OsRng",
    "thread_local!",
    "static mut",
    "println!",
    "tracing::",
    "sequoia",
    "arti_client",
    "sled",
];

#[test]
fn imports_point_down() {
    let tree = Tree::of_the_library();
    let mut wrong = BTreeSet::new();
    for (layer, allowed) in LAYERS {
        let mut sources = 0;
        for source in tree.layer(layer) {
            sources += 1;
            for import in source.imports() {
                let known = LAYERS.iter().any(|(name, _)| *name == import[0]);
                if known && import[0] != *layer && !allowed.contains(&import[0].as_str()) {
                    wrong.insert(format!("{}: {layer} may not import {}", source.path, import.join("::")));
                }
            }
        }
        assert!(sources > 0, "layer {layer} has no source");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What a layer may import stands before it in the table. So layers form no circle.
#[test]
fn layers_stand_on_those_before_them() {
    for (place, (layer, allowed)) in LAYERS.iter().enumerate() {
        for import in *allowed {
            assert!(LAYERS[..place].iter().any(|(name, _)| name == import), "{layer} stands before {import}");
        }
    }
}

#[test]
fn pure_layers_are_pure() {
    let tree = Tree::of_the_library();
    let mut wrong = BTreeSet::new();
    for source in PURE.iter().flat_map(|layer| tree.layer(layer)) {
        // The meter counts steps in tests and in fuzzing, and is empty in the product.
        let allowed = if source.path == "src/base/meter.rs" { "thread_local!" } else { "" };
        for word in IMPURE.iter().filter(|word| **word != allowed && source.code.contains(**word)) {
            wrong.insert(format!("{}: {word} has no place in a pure layer", source.path));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_folder_is_a_layer() {
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            assert!(LAYERS.iter().any(|(layer, _)| *layer == name), "src/{name} is in no layer");
        }
    }
}
