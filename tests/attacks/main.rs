//! Attacks on a node of the real binary, each by its name, each with the bound that it must keep: what honest people want
//! meanwhile takes at most three times what it usually takes, the node has at most 384 MiB in memory, and no answer reveals
//! more than docs/protocol.md says. They run one after the other against the same nodes: what one leaves behind the next finds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod boxes;
mod contacts;
mod contents;
mod dialled;
mod invited;
mod local;
mod objects;
mod raw;
mod strangers;
#[path = "../support/mod.rs"]
mod support;
mod world;

use std::process::ExitCode;

use world::World;

fn main() -> ExitCode {
    let rooms = [
        strangers::ATTACKS,
        objects::ATTACKS,
        invited::ATTACKS,
        contacts::ATTACKS,
        contents::ATTACKS,
        dialled::ATTACKS,
        boxes::ATTACKS,
        local::ATTACKS,
    ];
    support::runner::main(|| Ok(World::new()), &rooms.concat())
}
