//! Connections: two ends, a way each, in order. They take time, break, and are cut between any two pieces; one end may
//! notice long after the other.

use std::collections::BTreeMap;

use runepeer::base::SessionId;

/// One end of a connection.
pub(crate) type End = (usize, SessionId);

#[derive(Debug, Clone, Copy)]
struct Way {
    to: End,
    /// When the last piece arrives there: none overtakes another.
    last: i64,
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Net {
    ways: BTreeMap<End, Way>,
}

impl Net {
    /// Connects two ends.
    pub(crate) fn connect(&mut self, a: End, b: End, now: i64) {
        self.ways.insert(a, Way { to: b, last: now });
        self.ways.insert(b, Way { to: a, last: now });
    }

    /// The other end, while this one is connected.
    pub(crate) fn other(&self, end: End) -> Option<End> {
        self.ways.get(&end).map(|way| way.to)
    }

    /// When a piece that takes so long arrives at the other end.
    pub(crate) fn send(&mut self, end: End, now: i64, latency: i64) -> Option<(End, i64)> {
        let way = self.ways.get_mut(&end)?;
        way.last = way.last.max(now + latency);
        Some((way.to, way.last))
    }

    /// This end is gone; what is on its way to it is lost.
    pub(crate) fn leave(&mut self, end: End) {
        self.ways.remove(&end);
    }

    /// All ends of a node.
    pub(crate) fn ends_of(&self, node: usize) -> Vec<End> {
        let first = (node, SessionId(0));
        self.ways.range(first..).map(|(end, _)| *end).take_while(|(owner, _)| *owner == node).collect()
    }
}
