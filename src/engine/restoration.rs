//! What an identity is told about its own log: that it was put back from a backup, that a part of it was lost (docs/on-disk.md,
//! "Backup", "Damage"). Done before its machine runs.

use crate::base::rng::Rng;
use crate::base::{BodyId, ContentId, Timestamp};
use crate::mail::{Address, dsn};

use super::effect::NewBody;
use super::mailbox::{FolderRole, NamedFlags, NewMessage};
use super::record::Record;
use super::state::State;

impl State {
    /// The transaction that says that the log was put back: new UIDVALIDITYs, higher card counters, a notice in INBOX.
    /// `made` is when the backup was.
    pub fn restoration(&self, made: Timestamp, now: Timestamp, rng: &mut dyn Rng) -> (Vec<Record>, Vec<NewBody>) {
        let (notice, bodies) = self.notice(now, rng, |own, id| dsn::restored(own, made, id, now));
        let records = [Record::Restored { made, at: now }].into_iter().chain(notice);
        (records.collect(), bodies)
    }

    /// The transaction that says that these parts were lost, and where they were kept: a notice in INBOX. Where records are
    /// among them (`records`), UIDs and card counters may be that were given and are not known: as after a restore.
    pub fn repair(
        &self,
        lost: &[String],
        records: bool,
        kept: &str,
        now: Timestamp,
        rng: &mut dyn Rng,
    ) -> (Vec<Record>, Vec<NewBody>) {
        let (notice, bodies) = self.notice(now, rng, |own, id| dsn::repaired(own, lost, kept, id, now));
        let restored = records.then_some(Record::Restored { made: now, at: now });
        (restored.into_iter().chain(notice).collect(), bodies)
    }

    fn notice(
        &self,
        now: Timestamp,
        rng: &mut dyn Rng,
        text: impl FnOnce(&Address, ContentId) -> Vec<u8>,
    ) -> (Vec<Record>, Vec<NewBody>) {
        let (Some(profile), Some(inbox)) = (self.profile(), self.mailbox().by_role(FolderRole::Inbox)) else {
            return (Vec::new(), Vec::new());
        };
        let text = text(&profile.public.address, ContentId::random(rng));
        let body = NewBody { report: true, ..NewBody::new(BodyId::random(rng), text.into()) };
        let message = NewMessage {
            uid: inbox.uid_next,
            flags: NamedFlags::default(),
            date: now,
            body: body.id,
            size: u32::try_from(body.bytes.len()).unwrap_or(u32::MAX),
            content: None,
        };
        (vec![Record::MessageAdded { folder: inbox.id, message }], vec![body])
    }
}
