//! What a carrier holds: the fold of the records of its log.
//!
//! [`Held::apply`] is deterministic and decides conflicts, like that of an identity's state: of two deposits with one
//! token the first counts, now and in every later replay. The bytes of the objects in a box, together with those that
//! its outstanding tokens admit, never exceed its quota; no upload makes the sum over all boxes exceed the space that
//! the owner gives. So a deposit with a good token is never refused for want of space.

mod mailbox;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use mailbox::Mailbox;
use mailbox::{Page, TokenSet, answers_page};

use super::objects::SpentTokens;
use super::record::{BoxInvitation, CarrierLimits, HeldObject, HeldPage, HeldRecord, Spent, Terms};
use crate::base::ids::Fingerprint;
use crate::base::limits::{
    CARRIER_INVITATIONS, CARRIER_MAILBOXES, OBJECTS_OF_MAILBOX, PAGE_ANSWER_BYTES, PAGE_DAYS, PAGES_OF_MAILBOX,
    TOKENS_AFTER_DAYS, TOKENS_AHEAD_DAYS, TOKENS_EARLY_DAYS, TOKENS_OF_MAILBOX, TOKENS_OF_SET,
};
use crate::base::{BodyId, ObjectId};
use crate::engine::state::profile::Profile;
use crate::wire::Claim;
use crate::wire::mailbox::Policy;
use crate::wire::token::{Class, Epoch, TokenHash, begin_of};

/// How many objects one record of a checkpoint names.
const OBJECTS_OF_RECORD: usize = 1000;

/// Everything that the records say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    profile: Option<Arc<Profile>>,
    invitations: BTreeMap<[u8; 32], BoxInvitation>,
    mailboxes: BTreeMap<Fingerprint, Mailbox>,
    /// The set that each token belongs to.
    places: BTreeMap<TokenHash, TokenOwner>,
    /// The box of each page, by the hash of the page's token.
    pages: BTreeMap<TokenHash, Fingerprint>,
    day: Epoch,
    off: bool,
    limits: CarrierLimits,
    policy: Policy,
    last_record: u64,
    /// Bodies that nothing names any more, since [`Self::take_released`] was last called.
    released: BTreeSet<BodyId>,
}

/// The set that a token belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TokenOwner {
    mailbox: Fingerprint,
    epoch: Epoch,
    class: Class,
}

/// Whether a token admits an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It admits the object, and is not spent.
    Fresh,
    /// It is spent with this object, which is stored or was.
    Again,
    /// It does not admit the object. The reason is told to nobody.
    Refused,
}

/// What applying a record did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The change that the record asks for.
    Done,
    /// Nothing: it was so already.
    Already,
    /// Nothing: its precondition does not hold.
    Nothing,
}

/// Why tokens or a page are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokensError {
    /// They have not the right form: an unknown class, a number that is not a power of two, a wrong order, a foreign
    /// epoch, other tokens than those that were uploaded before; a page of another box, or for too long.
    #[error("it is not of the form")]
    Form,
    /// They would admit more than the quota, or than there is space for.
    #[error("it would admit more than the quota")]
    Quota,
}

impl Held {
    /// The carrier's profile; `None` only before its first record.
    pub const fn profile(&self) -> Option<&Arc<Profile>> {
        self.profile.as_ref()
    }

    /// The boxes.
    pub const fn mailboxes(&self) -> &BTreeMap<Fingerprint, Mailbox> {
        &self.mailboxes
    }

    /// The invitations that are not used, by the hashes of their tokens.
    pub const fn invitations(&self) -> &BTreeMap<[u8; 32], BoxInvitation> {
        &self.invitations
    }

    /// Whether its owner has it switched on.
    pub const fn serves(&self) -> bool {
        !self.off
    }

    /// The limits that its owner set.
    pub const fn limits(&self) -> CarrierLimits {
        self.limits
    }

    /// For how long an identification counts.
    pub const fn policy(&self) -> Policy {
        self.policy
    }

    /// Bytes of everything in all boxes, and of the objects that their outstanding tokens admit.
    pub fn promised(&self) -> u64 {
        let promised = |mailbox: &Mailbox| mailbox.stored.saturating_add(mailbox.outstanding);
        self.mailboxes.values().map(promised).fold(0, u64::saturating_add)
    }

    /// Whether there is space for so many more bytes.
    fn has_space(&self, more: u64) -> bool {
        self.promised().saturating_add(more) <= self.limits.space
    }

    /// The day that was last begun.
    pub const fn day(&self) -> Epoch {
        self.day
    }

    /// The log number of the last record.
    pub const fn last_record(&self) -> u64 {
        self.last_record
    }

    /// The box to which an object belongs, by the object's token.
    pub fn mailbox_of(&self, token: &TokenHash) -> Option<Fingerprint> {
        self.pages.get(token).copied().or_else(|| self.places.get(token).map(|place| place.mailbox))
    }

    /// The page with this hash of its token.
    pub fn page(&self, name: &TokenHash, today: Epoch) -> Option<HeldPage> {
        let page = self.find_page(name)?.1;
        (today <= page.held.until).then_some(page.held)
    }

    /// Whether a box may keep a page of this name and size until then.
    ///
    /// # Errors
    /// [`TokensError`].
    pub fn may_keep(
        &self,
        mailbox: &Fingerprint,
        (name, size, until): (&TokenHash, u64, Epoch),
        today: Epoch,
    ) -> Result<(), TokensError> {
        let owner = self.mailboxes.get(mailbox).ok_or(TokensError::Form)?;
        let foreign = self.pages.get(name).is_some_and(|other| other != mailbox) || self.places.contains_key(name);
        let last = today.saturating_add(PAGE_DAYS + TOKENS_EARLY_DAYS);
        if foreign || !(today.saturating_sub(TOKENS_EARLY_DAYS)..=last).contains(&until) {
            return Err(TokensError::Form);
        }
        let known = owner.pages.get(name);
        let before = known.map_or(0, |page| page.held.size + page.admits());
        let after = size.saturating_add(known.map_or(PAGE_ANSWER_BYTES, Page::admits));
        let together = owner.stored.saturating_add(owner.outstanding).saturating_sub(before).saturating_add(after);
        let space = self.has_space(after.saturating_sub(before));
        if !space || together > owner.terms.quota || (known.is_none() && owner.pages.len() >= PAGES_OF_MAILBOX) {
            return Err(TokensError::Quota);
        }
        Ok(())
    }

    /// Whether a token admits an object on this day.
    pub fn admits(&self, token: &TokenHash, claim: &Claim, today: Epoch) -> Admission {
        if let Some((mailbox, page)) = self.find_page(token) {
            let counts = today <= page.held.until && answers_page(claim.size);
            return match page.answer {
                _ if !counts => Admission::Refused,
                Some(hash) if hash == claim.hash => Admission::Again,
                None if mailbox.objects.len() < OBJECTS_OF_MAILBOX => Admission::Fresh,
                _ => Admission::Refused,
            };
        }
        let Some((nearest, place, mailbox, set)) = self.nearest(token) else { return Admission::Refused };
        let counts = nearest == token && counts_on(place.epoch, today) && place.class.bytes() == claim.size;
        match set.spent_with(nearest, &claim.hash) {
            _ if !counts => Admission::Refused,
            Some(true) => Admission::Again,
            Some(false) => Admission::Refused,
            None if mailbox.objects.len() >= OBJECTS_OF_MAILBOX => Admission::Refused,
            None => Admission::Fresh,
        }
    }

    /// Whether tokens may be uploaded to a box on this day; [`Outcome::Already`] if they were.
    ///
    /// # Errors
    /// [`TokensError`].
    pub fn may_upload(
        &self,
        mailbox: &Fingerprint,
        (epoch, class): (Epoch, u8),
        tokens: &[TokenHash],
        today: Epoch,
    ) -> Result<Outcome, TokensError> {
        let (mailbox, class) = self.mailboxes.get(mailbox).zip(Class::new(class)).ok_or(TokensError::Form)?;
        let ordered = tokens.windows(2).all(|pair| matches!(pair, [one, other] if one < other));
        let is_soon = epoch <= today.saturating_add(TOKENS_AHEAD_DAYS + TOKENS_EARLY_DAYS);
        let of_form = tokens.len().is_power_of_two() && tokens.len() <= TOKENS_OF_SET && ordered;
        if !of_form || !is_soon || epoch.saturating_add(TOKENS_AFTER_DAYS) < today {
            return Err(TokensError::Form);
        }
        if let Some(known) = mailbox.sets.get(&(epoch, class)) {
            return if known.tokens == tokens { Ok(Outcome::Already) } else { Err(TokensError::Form) };
        }
        let admitted = (tokens.len() as u64).saturating_mul(class.bytes());
        let together = mailbox.stored.saturating_add(mailbox.outstanding).saturating_add(admitted);
        if !self.has_space(admitted)
            || together > mailbox.terms.quota
            || mailbox.tokens.saturating_add(tokens.len()) > TOKENS_OF_MAILBOX
        {
            return Err(TokensError::Quota);
        }
        Ok(Outcome::Done)
    }

    /// Bodies that nothing names any more, since this was last called.
    pub fn take_released(&mut self) -> Vec<BodyId> {
        std::mem::take(&mut self.released).into_iter().collect()
    }

    /// All bodies that are named.
    pub fn bodies(&self) -> impl Iterator<Item = BodyId> {
        self.mailboxes.values().flat_map(Mailbox::bodies)
    }

    /// Makes the change that a record asks for, if it still can be made.
    pub fn apply(&mut self, number: u64, record: &HeldRecord) -> Outcome {
        self.last_record = number;
        match record {
            HeldRecord::CarrierCreated { profile } => self.create(profile),
            HeldRecord::InvitationMade { invitation } => self.invite(invitation),
            HeldRecord::InvitationRevoked { token } => done(self.invitations.remove(token).is_some()),
            HeldRecord::Registered { mailbox, certificate, invitation, terms } => {
                self.register(*mailbox, certificate, *invitation, *terms)
            }
            HeldRecord::TokensUploaded { mailbox, epoch, class, tokens } => {
                self.upload(*mailbox, *epoch, *class, tokens)
            }
            HeldRecord::Deposited { spent, object } => self.deposit(spent, object),
            HeldRecord::Marked { mailbox, objects, read } => self.mark(mailbox, objects, *read),
            HeldRecord::Deleted { mailbox, objects } => self.delete(mailbox, objects),
            HeldRecord::DayBegan { day } => self.begin_day(*day),
            HeldRecord::MailboxRemoved { mailbox } => done(self.remove(mailbox)),
            HeldRecord::Served { on } => {
                if std::mem::replace(&mut self.off, !on) == *on {
                    Outcome::Done
                } else {
                    Outcome::Already
                }
            }
            HeldRecord::PagePut { mailbox, page } => self.put_page(*mailbox, *page),
            HeldRecord::HoldSet { mailbox, days } => {
                let Some(mailbox) = self.mailboxes.get_mut(mailbox) else { return Outcome::Nothing };
                mailbox.hold_days = Some(*days);
                Outcome::Done
            }
            HeldRecord::LimitsSet { limits } => {
                self.limits = *limits;
                Outcome::Done
            }
            HeldRecord::IdentificationSet { policy } => {
                self.policy = *policy;
                Outcome::Done
            }
            HeldRecord::CheckpointBegun { day } => {
                *self = Self { day: *day, last_record: number, released: self.bodies().collect(), ..Self::default() };
                Outcome::Done
            }
            HeldRecord::MailboxKept { mailbox, certificate, terms } => {
                self.mailboxes.insert(*mailbox, Mailbox::new(Arc::clone(certificate), *terms));
                Outcome::Done
            }
            HeldRecord::TokensKept { mailbox, epoch, class, tokens, spent, foreign } => {
                let foreign = foreign.iter().copied().collect();
                let mut set = TokenSet { tokens: tokens.clone(), spent: SpentTokens::default(), foreign };
                spent.iter().for_each(|spent| set.spend(spent));
                self.keep_tokens(*mailbox, *epoch, *class, set);
                Outcome::Done
            }
            HeldRecord::ObjectsKept { mailbox, objects } => self.keep_objects(mailbox, objects),
            HeldRecord::PagesKept { mailbox, pages } => self.keep_pages(*mailbox, pages),
        }
    }

    /// The state as records that lead to it from any other state: a checkpoint of the log holds them.
    pub fn checkpoint(&self) -> Vec<HeldRecord> {
        let mut records = vec![
            HeldRecord::CheckpointBegun { day: self.day },
            HeldRecord::Served { on: self.serves() },
            HeldRecord::LimitsSet { limits: self.limits },
            HeldRecord::IdentificationSet { policy: self.policy },
        ];
        if let Some(profile) = &self.profile {
            records.push(HeldRecord::CarrierCreated { profile: Box::new((**profile).clone()) });
        }
        let invitations = self.invitations.values().cloned();
        records.extend(invitations.map(|invitation| HeldRecord::InvitationMade { invitation }));
        for (name, mailbox) in &self.mailboxes {
            let (certificate, terms) = (Arc::clone(&mailbox.certificate), mailbox.terms);
            records.push(HeldRecord::MailboxKept { mailbox: *name, certificate, terms });
            records.extend(mailbox.hold_days.map(|days| HeldRecord::HoldSet { mailbox: *name, days }));
            records.extend(mailbox.sets.iter().map(|((epoch, class), set)| {
                let spent = set.spent.kept(&set.tokens).collect();
                let (epoch, class, tokens) = (*epoch, class.number(), set.tokens.clone());
                let foreign = set.foreign.iter().copied().collect();
                HeldRecord::TokensKept { mailbox: *name, epoch, class, tokens, spent, foreign }
            }));
            let objects: Vec<_> = mailbox.objects().collect();
            let pieces = objects.chunks(OBJECTS_OF_RECORD);
            records.extend(pieces.map(|objects| HeldRecord::ObjectsKept { mailbox: *name, objects: objects.to_vec() }));
            if !mailbox.pages.is_empty() {
                let pages = mailbox.pages.values().map(|page| (page.held, page.answer)).collect();
                records.push(HeldRecord::PagesKept { mailbox: *name, pages });
            }
        }
        records
    }

    /// The known token nearest to this one, with all that is known of it: so a token of no set takes as long to find as
    /// one that is spent.
    fn nearest(&self, token: &TokenHash) -> Option<(&TokenHash, TokenOwner, &Mailbox, &TokenSet)> {
        let (nearest, place) =
            self.places.range::<TokenHash, _>(token..).next().or_else(|| self.places.first_key_value())?;
        let mailbox = self.mailboxes.get(&place.mailbox)?;
        Some((nearest, *place, mailbox, mailbox.sets.get(&(place.epoch, place.class))?))
    }

    fn find_page(&self, name: &TokenHash) -> Option<(&Mailbox, &Page)> {
        let mailbox = self.mailboxes.get(self.pages.get(name)?)?;
        Some((mailbox, mailbox.pages.get(name)?))
    }

    fn create(&mut self, profile: &Profile) -> Outcome {
        if self.profile.is_some() {
            return Outcome::Nothing;
        }
        self.profile = Some(Arc::new(profile.clone()));
        Outcome::Done
    }

    fn invite(&mut self, invitation: &BoxInvitation) -> Outcome {
        if self.invitations.len() >= CARRIER_INVITATIONS {
            return Outcome::Nothing;
        }
        self.invitations.insert(invitation.token, invitation.clone());
        Outcome::Done
    }

    fn upload(&mut self, mailbox: Fingerprint, epoch: Epoch, class: u8, tokens: &[TokenHash]) -> Outcome {
        let Ok(outcome) = self.may_upload(&mailbox, (epoch, class), tokens, self.day.max(epoch)) else {
            return Outcome::Nothing;
        };
        if outcome == Outcome::Done {
            let foreign = tokens.iter().copied().filter(|token| self.places.contains_key(token)).collect();
            let set = TokenSet { tokens: tokens.to_vec(), spent: SpentTokens::default(), foreign };
            self.keep_tokens(mailbox, epoch, class, set);
        }
        outcome
    }

    fn mark(&mut self, mailbox: &Fingerprint, objects: &[ObjectId], read: bool) -> Outcome {
        let Some(mailbox) = self.mailboxes.get_mut(mailbox) else { return Outcome::Nothing };
        let mut changed = false;
        for object in objects {
            changed |= mailbox.objects.mark(*object, read);
        }
        done(changed)
    }

    fn delete(&mut self, mailbox: &Fingerprint, objects: &[ObjectId]) -> Outcome {
        let Some(mailbox) = self.mailboxes.get_mut(mailbox) else { return Outcome::Nothing };
        let bodies: Vec<_> = objects.iter().filter_map(|object| mailbox.take(*object)).collect();
        let outcome = done(!bodies.is_empty());
        self.released.extend(bodies);
        outcome
    }

    fn keep_objects(&mut self, mailbox: &Fingerprint, objects: &[HeldObject]) -> Outcome {
        let Some(mailbox) = self.mailboxes.get_mut(mailbox) else { return Outcome::Nothing };
        for object in objects.iter().filter(|object| mailbox.put(object)) {
            self.released.remove(&object.body);
        }
        Outcome::Done
    }

    fn keep_pages(&mut self, name: Fingerprint, pages: &[(HeldPage, Option<[u8; 32]>)]) -> Outcome {
        let Some(mailbox) = self.mailboxes.get_mut(&name) else { return Outcome::Nothing };
        for (held, answer) in pages {
            self.released.remove(&held.body);
            self.pages.insert(held.name, name);
            mailbox.put_page(Page { held: *held, answer: *answer });
        }
        Outcome::Done
    }

    fn put_page(&mut self, name: Fingerprint, held: HeldPage) -> Outcome {
        let today = self.day.max(held.until.saturating_sub(PAGE_DAYS));
        if self.may_keep(&name, (&held.name, held.size, held.until), today).is_err() {
            self.released.insert(held.body);
            return Outcome::Nothing;
        }
        let Some(mailbox) = self.mailboxes.get_mut(&name) else { return Outcome::Nothing };
        let before = mailbox.take_page(&held.name);
        self.released.extend(before.map(|page| page.held.body));
        mailbox.put_page(Page { held, answer: before.and_then(|page| page.answer) });
        self.pages.insert(held.name, name);
        Outcome::Done
    }

    fn register(
        &mut self,
        name: Fingerprint,
        certificate: &Arc<[u8]>,
        invitation: Option<[u8; 32]>,
        terms: Terms,
    ) -> Outcome {
        // Registering twice is harmless, and uses up nothing.
        if let Some(mailbox) = self.mailboxes.get_mut(&name) {
            mailbox.certificate = Arc::clone(certificate);
            return Outcome::Already;
        }
        if self.mailboxes.len() >= CARRIER_MAILBOXES {
            return Outcome::Nothing;
        }
        let terms = match invitation {
            Some(token) => match self.invitations.remove(&token) {
                Some(invitation) => invitation.terms,
                None => return Outcome::Nothing,
            },
            None => terms,
        };
        self.mailboxes.insert(name, Mailbox::new(Arc::clone(certificate), terms));
        Outcome::Done
    }

    fn keep_tokens(&mut self, name: Fingerprint, epoch: Epoch, class: u8, set: TokenSet) {
        let Some((mailbox, class)) = self.mailboxes.get_mut(&name).zip(Class::new(class)) else { return };
        let own = set.tokens.iter().filter(|token| !set.foreign.contains(*token));
        self.places.extend(own.map(|token| (*token, TokenOwner { mailbox: name, epoch, class })));
        mailbox.outstanding = mailbox.outstanding.saturating_add(set.unspent(class));
        mailbox.tokens += set.tokens.len();
        mailbox.sets.insert((epoch, class), set);
    }

    fn deposit(&mut self, spent: &Spent, object: &HeldObject) -> Outcome {
        if let Some(name) = self.pages.get(&spent.token) {
            let outcome = self.mailboxes.get_mut(name).map(|mailbox| mailbox.answer_page(spent, object));
            let outcome = outcome.unwrap_or(Outcome::Nothing);
            if outcome != Outcome::Done {
                self.unwanted(object);
            }
            return outcome;
        }
        let Some(place) = self.places.get(&spent.token).copied() else { return self.unwanted(object) };
        let set = self.mailboxes.get_mut(&place.mailbox).and_then(|mailbox| {
            let (sets, outstanding) = (&mut mailbox.sets, &mut mailbox.outstanding);
            sets.get_mut(&(place.epoch, place.class)).zip(Some(outstanding))
        });
        let Some((set, outstanding)) = set else { return self.unwanted(object) };
        if let Some(again) = set.spent_with(&spent.token, &spent.hash) {
            let outcome = if again { Outcome::Already } else { Outcome::Nothing };
            self.unwanted(object);
            return outcome;
        }
        if object.size != place.class.bytes() {
            return self.unwanted(object);
        }
        set.spend(spent);
        *outstanding = outstanding.saturating_sub(object.size);
        if let Some(mailbox) = self.mailboxes.get_mut(&place.mailbox) {
            mailbox.put(object);
        }
        Outcome::Done
    }

    /// Gives up the body of an object that did not count.
    fn unwanted(&mut self, object: &HeldObject) -> Outcome {
        self.released.insert(object.body);
        Outcome::Nothing
    }

    fn begin_day(&mut self, day: Epoch) -> Outcome {
        if day <= self.day && !is_back(day, self.day) {
            return Outcome::Already;
        }
        if std::mem::replace(&mut self.day, day) > day {
            return Outcome::Done;
        }
        self.invitations.retain(|_, invitation| invitation.expires >= begin_of(day));
        for mailbox in self.mailboxes.values_mut() {
            let over = mailbox.objects.over(day);
            self.released.extend(over.into_iter().filter_map(|object| mailbox.take(object)));
            let past: Vec<_> = mailbox.pages.values().map(|page| page.held).filter(|page| page.until < day).collect();
            self.released.extend(past.iter().filter_map(|page| Some(mailbox.take_page(&page.name)?.held.body)));
            let past = |(epoch, _): &(Epoch, Class)| epoch.saturating_add(TOKENS_AFTER_DAYS) < day;
            let forgotten: Vec<_> = mailbox.sets.keys().copied().filter(past).collect();
            for key in forgotten {
                let Some(set) = mailbox.sets.remove(&key) else { continue };
                mailbox.outstanding = mailbox.outstanding.saturating_sub(set.unspent(key.1));
                mailbox.tokens = mailbox.tokens.saturating_sub(set.tokens.len());
            }
        }
        self.places.retain(|_, place| place.epoch.saturating_add(TOKENS_AFTER_DAYS) >= day);
        let mailboxes = &self.mailboxes;
        self.pages.retain(|name, of| mailboxes.get(of).is_some_and(|mailbox| mailbox.pages.contains_key(name)));
        Outcome::Done
    }

    fn remove(&mut self, name: &Fingerprint) -> bool {
        let Some(mailbox) = self.mailboxes.remove(name) else { return false };
        self.released.extend(mailbox.bodies());
        self.places.retain(|_, place| place.mailbox != *name);
        self.pages.retain(|_, mailbox| mailbox != name);
        true
    }
}

const fn done(changed: bool) -> Outcome {
    if changed { Outcome::Done } else { Outcome::Nothing }
}

/// Whether a day lies so far before another that the other was a mistake of the clock.
pub(super) const fn is_back(day: Epoch, other: Epoch) -> bool {
    day.saturating_add(TOKENS_EARLY_DAYS) < other
}

/// Whether tokens of an epoch admit something on this day.
const fn counts_on(epoch: Epoch, today: Epoch) -> bool {
    epoch <= today.saturating_add(TOKENS_EARLY_DAYS) && today <= epoch.saturating_add(TOKENS_AFTER_DAYS)
}
