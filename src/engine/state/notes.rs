//! What an identity remembers of people beside the book: whom it does not knock at, and when its user was last told that
//! somebody's changed key or address was refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::limits;
use crate::base::{BodyId, ContactId, FolderId, Timestamp};
use crate::engine::state::State;
use crate::engine::state::introductions::is_open;
use crate::engine::state::mailbox::{FolderRole, ModSeq, NewMessage};
use crate::engine::state::record::{PeopleRecord, Record};

/// The notes. A clone shares them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes(Arc<Parts>);

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Parts {
    /// Nobody is knocked at.
    knocks_off: bool,
    /// Contacts that are not knocked at.
    not_knocked: BTreeSet<ContactId>,
    /// When the user was last told that a changed key or address of a contact was refused.
    told: BTreeMap<ContactId, Timestamp>,
}

impl Notes {
    /// Whether the user wants contacts to be knocked at.
    pub fn knocks(&self) -> bool {
        !self.0.knocks_off
    }

    /// Whether the user wants this contact to be knocked at, where contacts are.
    pub fn knocks_at(&self, contact: ContactId) -> bool {
        !self.0.not_knocked.contains(&contact)
    }

    /// Whether the user may be told now that a changed key or address of a contact was refused: once in a day.
    pub fn may_tell(&self, contact: ContactId, now: Timestamp) -> bool {
        // A clock that was set back keeps nothing from the user for longer.
        self.0.told.get(&contact).is_none_or(|last| now < *last || now >= last.plus(limits::CHANGE_TOLD))
    }

    fn switch_knocks(&mut self, contact: Option<ContactId>, on: bool) {
        let parts = Arc::make_mut(&mut self.0);
        match contact {
            None => parts.knocks_off = !on,
            Some(contact) if on => drop(parts.not_knocked.remove(&contact)),
            Some(contact) => drop(parts.not_knocked.insert(contact)),
        }
    }

    /// A contact was removed from the book.
    pub(in crate::engine) fn forget(&mut self, contact: ContactId) {
        if self.0.not_knocked.contains(&contact) || self.0.told.contains_key(&contact) {
            let parts = Arc::make_mut(&mut self.0);
            parts.not_knocked.remove(&contact);
            parts.told.remove(&contact);
        }
    }

    /// The notes as records of a checkpoint.
    pub(in crate::engine) fn kept(&self) -> Vec<Record> {
        let off = self.0.knocks_off.then_some(None);
        let switched = off.into_iter().chain(self.0.not_knocked.iter().map(|contact| Some(*contact)));
        let mut records: Vec<Record> =
            switched.map(|contact| PeopleRecord::KnocksSwitched { contact, on: false }.into()).collect();
        let told: Vec<_> = self.0.told.iter().map(|(contact, at)| (*contact, *at)).collect();
        records.extend(told.chunks(PIECE).map(|told| PeopleRecord::TellingKept { told: told.to_vec() }.into()));
        records
    }
}

/// Entries of one record of a checkpoint.
const PIECE: usize = 1000;

impl State {
    /// Whom the identity knocks at, and what its user was told of changes.
    pub const fn notes(&self) -> &Notes {
        &self.notes
    }

    pub(in crate::engine::state) fn apply_to_people(&mut self, number: ModSeq, record: &PeopleRecord) -> bool {
        match record {
            PeopleRecord::VerificationMarked { contact, at } => self.book.mark_verified(*contact, *at),
            PeopleRecord::WaitingTold { at, notice, folder, message } => {
                self.tell_waiting(number, *at, *notice, *folder, message)
            }
            PeopleRecord::ChangeTold { contact, at, folder, message } => {
                let may = self.book.contact(*contact).is_some() && self.notes.may_tell(*contact, *at);
                if !may || !self.add_message(number, *folder, message) {
                    self.released.push(message.body);
                    return false;
                }
                Arc::make_mut(&mut self.notes.0).told.insert(*contact, *at);
                true
            }
            PeopleRecord::KnocksSwitched { contact, on } => {
                let is_known = contact.is_none_or(|contact| self.book.contact(contact).is_some());
                if is_known {
                    self.notes.switch_knocks(*contact, *on);
                }
                is_known
            }
            PeopleRecord::ContactReplaced { old, new, messages } => self.replace_contact(number, *old, *new, messages),
            PeopleRecord::RevocationTaken { .. } => self.take_revocation(number, record),
            PeopleRecord::TellingKept { told } => {
                Arc::make_mut(&mut self.notes.0).told.extend(told.iter().copied());
                true
            }
        }
    }

    /// Puts a message into INBOX because of the first request that waits. Where another one began to wait meanwhile, or this one
    /// was not taken, there is nothing to tell.
    fn tell_waiting(
        &mut self,
        number: ModSeq,
        at: Timestamp,
        notice: BodyId,
        folder: FolderId,
        message: &NewMessage,
    ) -> bool {
        let parts = self.introductions.parts();
        let waits = self.requests.contains_key(&notice)
            || parts.asked.values().any(|asked| asked.notice == Some(notice))
            || parts.offers.values().any(|offer| offer.notice == Some(notice));
        let told = waits && self.waiting(at) == 1 && self.add_message(number, folder, message);
        if !told {
            self.released.push(message.body);
        }
        told
    }

    /// How many people and introductions wait for a decision of the user, with a message in Requests. What the user has taken
    /// out of that folder without deciding does not wait any more in this sense.
    pub(in crate::engine) fn waiting(&self, now: Timestamp) -> usize {
        let Some(requests) = self.mailbox.by_role(FolderRole::Requests) else { return 0 };
        let there: BTreeSet<BodyId> = requests.messages.iter().map(|message| message.body).collect();
        let people: BTreeSet<_> = there.iter().filter_map(|body| self.requester(*body)).collect();
        let is_there = |notice: Option<BodyId>| notice.is_some_and(|body| there.contains(&body));
        let parts = self.introductions.parts();
        let asked = parts.asked.values().filter(|asked| is_open(asked.at, now) && is_there(asked.notice));
        let offers = parts.offers.values().filter(|offer| is_open(offer.at, now) && is_there(offer.notice));
        people.len() + asked.count() + offers.count()
    }
}
