//! The memory of a node with one identity that is reachable on a Tor network and has nothing to do.
//!
//! `cargo bench --bench idle_memory`. Needs Debian's `tor` for the private network; says so where it is missing. The
//! directory of that network is small; the public one, with some 8,000 relays, takes more.

#![allow(clippy::print_stdout, reason = "a benchmark talks on stdout")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::thread::sleep;
use std::time::Duration;

use support::node::Node;
use support::runner::Missing;
use support::tornet::TorNet;

/// When the memory is looked at, in seconds after the identity became reachable.
const MOMENTS: [u64; 3] = [1, 20, 60];

fn main() {
    let network = match TorNet::start() {
        Ok(network) => network,
        Err(Missing(reason)) => return println!("idle memory cannot be measured: {reason}"),
    };
    let mut node = Node::tor("alice", network.table());
    node.start();
    let pid = node.json(&["status"])["pid"].as_u64().unwrap();
    let mut passed = 0;
    for moment in MOMENTS {
        sleep(Duration::from_secs(moment - passed));
        passed = moment;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let mib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
        };
        println!(
            "idle: {moment:2} s after reachable: resident={:.1} MiB (anonymous={:.1} file={:.1}) peak={:.1} MiB threads={}",
            mib("VmRSS"),
            mib("RssAnon"),
            mib("RssFile"),
            mib("VmHWM"),
            status.lines().find_map(|line| line.strip_prefix("Threads:")).unwrap().trim(),
        );
    }
}
