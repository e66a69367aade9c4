//! The shape of the tree: imports point down only, between layers and between the rooms of the engine, and the pure
//! layers stay pure (docs/architecture.md, "Layers"); files and functions have a bound. And what comments and documents
//! refer to exists.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice, reason = "a test may panic")]

mod layers;
mod references;
mod rooms;
mod sizes;
mod source;

use std::collections::BTreeSet;
use std::fmt::Debug;

/// Demands that what is found is what is known to be wrong still: nothing more, and nothing less, so that the list of
/// exceptions only shrinks.
fn expect_exactly<T: Ord + Debug>(found: BTreeSet<T>, excepted: BTreeSet<T>, list: &str) {
    let new: Vec<&T> = found.difference(&excepted).collect();
    let mended: Vec<&T> = excepted.difference(&found).collect();
    assert!(new.is_empty(), "this is not allowed: {new:#?}");
    assert!(mended.is_empty(), "this is mended: take it out of {list}: {mended:#?}");
}

#[test]
#[should_panic(expected = "this is mended")]
fn an_exception_that_no_longer_occurs_is_demanded_back() {
    expect_exactly(BTreeSet::from([1]), BTreeSet::from([1, 2]), "a list");
}

#[test]
#[should_panic(expected = "this is not allowed")]
fn what_is_no_exception_is_refused() {
    expect_exactly(BTreeSet::from([1, 2]), BTreeSet::from([1]), "a list");
}
