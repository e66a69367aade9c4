//! The room that receives: the sessions that peers open, and what they bring.

use std::collections::{BTreeMap, VecDeque};

use crate::base::{SessionId, Terms};

use super::keys::Keys;
use super::rates::Rates;
use super::sessions::{Inbound, Settlement};
use super::shares::Unsettled;

/// The memory of what peers bring.
#[derive(Default)]
pub(super) struct Receive {
    pub(super) terms: Terms,
    pub(super) inbound: BTreeMap<SessionId, Inbound>,
    pub(super) rates: Rates,
    pub(super) keys: Keys,
    /// Objects that arrived and are not settled.
    pub(super) unsettled: Unsettled,
    /// Answers to deliveries that are to be given.
    pub(super) settlements: VecDeque<Settlement>,
}
