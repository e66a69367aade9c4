//! Which dials may share circuits: one token per pair of identity and contact, and a new one for everything else.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use arti_client::IsolationToken;

use crate::base::{ContactId, IdentityId, limits};
use crate::net::Isolation;

/// The tokens of a node. arti never puts two tokens on one circuit.
#[derive(Default)]
pub(super) struct Tokens(Mutex<BTreeMap<(IdentityId, ContactId), IsolationToken>>);

impl Tokens {
    /// The token of a pair, the same until [`Tokens::renew`]; in all other cases a new one.
    pub(super) fn of(&self, isolation: Isolation) -> IsolationToken {
        match isolation {
            Isolation::Fresh => IsolationToken::new(),
            Isolation::Pair(identity, contact) => {
                let mut pairs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                if pairs.len() >= limits::ISOLATION_PAIRS && !pairs.contains_key(&(identity, contact)) {
                    // New tokens only cost new circuits.
                    pairs.clear();
                }
                *pairs.entry((identity, contact)).or_insert_with(IsolationToken::new)
            }
        }
    }

    /// Gives up the circuits of a pair: its next token is a new one.
    pub(super) fn renew(&self, isolation: Isolation) -> IsolationToken {
        if let Isolation::Pair(identity, contact) = isolation {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(identity, contact));
        }
        self.of(isolation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(identity: u8, contact: u8) -> Isolation {
        Isolation::Pair(IdentityId::from_bytes([identity; 16]), ContactId::from_bytes([contact; 16]))
    }

    #[test]
    fn no_two_pairs_share_a_token_and_a_pair_keeps_its_own() {
        let tokens = Tokens::default();
        let pairs = [pair(1, 1), pair(1, 2), pair(2, 1), pair(2, 2)];
        let mut all: Vec<_> = pairs.into_iter().map(|pair| tokens.of(pair)).collect();
        for (pair, token) in pairs.into_iter().zip(&all) {
            assert_eq!(tokens.of(pair), *token);
        }
        all.push(tokens.of(Isolation::Fresh));
        all.push(tokens.of(Isolation::Fresh));
        all.push(tokens.renew(pair(1, 1)));
        for (i, token) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|other| other != token));
        }
        assert_eq!(Some(&tokens.of(pair(1, 1))), all.last(), "a renewed pair keeps its new token");
        assert_eq!(Some(&tokens.of(pair(1, 2))), all.get(1), "the other pairs keep theirs");
    }
}
