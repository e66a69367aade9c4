//! What each record of introductions changes.

use crate::base::FolderId;
use crate::engine::state::State;
use crate::engine::state::book::Contact;
use crate::engine::state::introductions::{Agreed, Given, Held, Offer, Path, Policy, is_open, pair};
use crate::engine::state::mailbox::{ModSeq, NewMessage};
use crate::engine::state::queue::{Notify, Options, RecipientOptions, Submitted};
use crate::engine::state::record::{ContentKey, IntroductionRecord};
use crate::mail::ContentKind;

/// No report of any kind.
const NOBODY: Notify = Notify { success: false, failure: false, delay: false };

impl State {
    pub(in crate::engine::state) fn apply_to_introductions(
        &mut self,
        number: ModSeq,
        record: &IntroductionRecord,
    ) -> bool {
        match record {
            IntroductionRecord::IntroductionBegun { begun, queued } => {
                let known = |contact| self.book.contact(contact).is_some();
                let done = known(begun.guest) && known(begun.host) && self.introductions.begin(queued.content, begun);
                if !done {
                    self.released.push(queued.body);
                }
                done && self.queue_content(queued, ContentKind::IntroductionAsk)
            }
            IntroductionRecord::IntroductionAsked { seen, asked, notice } => {
                if self.duplicates.contains(seen) || !self.introductions.ask(seen.content, asked) {
                    self.released.extend(notice.iter().map(|(_, message)| message.body));
                    return false;
                }
                self.duplicates.remember(seen);
                if let Some((folder, message)) = notice {
                    self.add_message(number, *folder, message);
                }
                true
            }
            IntroductionRecord::IntroductionGranted { id, path, invitations, queued } => {
                if self.introductions.parts_mut().asked.remove(id).is_none() {
                    self.released.push(queued.body);
                    return false;
                }
                for invitation in invitations {
                    self.book.invite(invitation);
                }
                let (book, parts) = (&self.book, self.introductions.parts_mut());
                parts.granted.retain(|id, _| book.invitation(*id).is_some());
                parts.granted.extend(invitations.iter().map(|invitation| (invitation.id, *path)));
                if path.ask.is_some() {
                    let left = u8::try_from(invitations.len()).unwrap_or(0);
                    parts.agreed.retain(|_, agreed| is_open(agreed.path.at, path.at));
                    parts.agreed.insert(*id, Agreed { path: *path, left });
                }
                self.queue_content(queued, ContentKind::IntroductionGrant)
            }
            IntroductionRecord::IntroductionDeclined { id } => {
                let parts = self.introductions.parts_mut();
                let declined = parts.asked.remove(id).is_some() || parts.offers.remove(id).is_some();
                declined || parts.begun.remove(id).is_some()
            }
            IntroductionRecord::IntroductionMade { seen, id, queued } => {
                let begun = self.introductions.parts().begun.contains_key(id);
                if self.duplicates.contains(seen) || !begun {
                    self.released.push(queued.body);
                    return false;
                }
                self.duplicates.remember(seen);
                self.introductions.parts_mut().begun.remove(id);
                self.queue_content(queued, ContentKind::Introduction)
            }
            IntroductionRecord::IntroductionOffered { seen, offer, notice, contact } => {
                self.apply_offered(number, seen, offer, notice.as_ref(), contact.as_deref())
            }
            IntroductionRecord::IntroductionTaken { id, at, contact } => {
                let is_open = self.introductions.parts().offers.contains_key(id);
                if !is_open || contact.as_ref().is_some_and(|contact| !self.add_introduced(contact)) {
                    return false;
                }
                let Some(offer) = self.introductions.parts_mut().offers.remove(id) else { return false };
                let path = Path { by: offer.by, at: *at, ask: offer.agreed };
                self.introductions.parts_mut().add_path(offer.fingerprint, path);
                true
            }
            IntroductionRecord::IntroductionPolicySet { contact, policy } => {
                if self.book.contact(*contact).is_none() || self.introductions.policy(*contact) == *policy {
                    return false;
                }
                let policies = &mut self.introductions.parts_mut().policies;
                match policy {
                    Policy::Ask => policies.remove(contact),
                    Policy::Yes | Policy::Never => policies.insert(*contact, *policy),
                };
                true
            }
            IntroductionRecord::ConsentSought { .. }
            | IntroductionRecord::ConsentGiven { .. }
            | IntroductionRecord::ConsentReached { .. } => self.apply_to_consents(record),
            IntroductionRecord::IntroductionsKept { parts } => {
                self.introductions.keep(parts);
                true
            }
        }
    }

    /// A contact introduced somebody to us.
    fn apply_offered(
        &mut self,
        number: ModSeq,
        seen: &ContentKey,
        offer: &Offer,
        notice: Option<&(FolderId, NewMessage)>,
        contact: Option<&Contact>,
    ) -> bool {
        if self.duplicates.contains(seen) {
            self.released.extend(notice.iter().map(|(_, message)| message.body));
            return false;
        }
        // What was agreed counts for so many people, and no more.
        let counts = notice.is_none() && self.introductions.is_left(offer.agreed);
        if let Some(contact) = contact
            && !(counts && self.add_introduced(contact))
        {
            return false;
        }
        if counts {
            self.introductions.parts_mut().use_consent(offer.agreed);
        }
        let path = Path { by: offer.by, at: offer.at, ask: offer.agreed.filter(|_| counts) };
        match notice {
            Some((folder, message)) => {
                if !self.introductions.offer(seen.content, offer) {
                    self.released.push(message.body);
                    return false;
                }
                self.add_message(number, *folder, message);
            }
            None => self.introductions.parts_mut().add_path(offer.fingerprint, path),
        }
        self.duplicates.remember(seen);
        true
    }

    /// Puts somebody into the book who was introduced; under another petname where that one was given away meanwhile. Who is
    /// there already was introduced by somebody else at the same time.
    fn add_introduced(&mut self, contact: &Contact) -> bool {
        if let Some(known) = self.book.by_fingerprint(&contact.fingerprint) {
            return known.address.onion() == contact.address.onion();
        }
        let mut contact = contact.clone();
        if let Some(profile) = &self.profile
            && self.book.by_petname(&contact.petname).is_some()
        {
            contact.petname = self.book.free_petname(&contact.petname, profile.public.address.local());
        }
        !self.is_revoked(&contact) && self.book.add(&contact)
    }

    /// A message waits for consent, or one of those who were asked has agreed, or all have.
    fn apply_to_consents(&mut self, record: &IntroductionRecord) -> bool {
        match record {
            IntroductionRecord::ConsentSought { queue, held, asks } => {
                let parts = self.introductions.parts_mut();
                if parts.held.insert(*queue, Held::clone(held)).is_some() {
                    return false;
                }
                for ask in asks {
                    self.queue_content(ask, ContentKind::IntroductionAsk);
                }
                true
            }
            IntroductionRecord::ConsentGiven { seen, given } => {
                let held = self.introductions.held_for(given.ask).map(|(queue, _)| queue);
                let Some(queue) = held.filter(|_| !self.duplicates.contains(seen)) else { return false };
                self.duplicates.remember(seen);
                if let Some(held) = self.introductions.parts_mut().held.get_mut(&queue)
                    && let Some(contact) = held.asks.get(&given.ask).copied()
                {
                    held.given.insert(contact, Given::clone(given));
                }
                true
            }
            IntroductionRecord::ConsentReached { queue, at, introductions } => {
                let parts = self.introductions.parts_mut();
                let Some(held) = parts.held.remove(queue) else {
                    self.released.extend(introductions.iter().map(|introduction| introduction.body));
                    return false;
                };
                parts.joined.extend(held.pairs.iter().map(|(a, b)| (pair(*a, *b), *at)));
                for introduction in introductions {
                    self.queue_content(introduction, ContentKind::Introduction);
                }
                true
            }
            _ => false,
        }
    }

    /// Takes a content that is no mail into the queue. Nobody gets a report of it.
    pub(in crate::engine::state) fn queue_content(&mut self, queued: &Submitted, kind: ContentKind) -> bool {
        if !self.queue.submit(queued) || self.queue.get(queued.id).is_none() {
            return false;
        }
        self.references.add(queued.body);
        self.introductions.parts_mut().kinds.insert(queued.id, kind);
        let silent = RecipientOptions { notify: NOBODY, ..RecipientOptions::default() };
        let recipients = queued.recipients.keys().map(|contact| (*contact, silent.clone())).collect();
        self.queue.set_options(queued.id, &Options { recipients, ..Options::default() })
    }
}
