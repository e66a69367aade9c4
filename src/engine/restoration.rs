//! What an identity is told when its log was put back from a backup (docs/on-disk.md, "Backup").

use crate::base::rng::Rng;
use crate::base::{BodyId, ContentId, Timestamp};
use crate::mail::dsn;

use super::effect::NewBody;
use super::mailbox::{FolderRole, NamedFlags, NewMessage};
use super::record::Record;
use super::state::State;

impl State {
    /// The transaction that says so: new UIDVALIDITYs, higher card counters, a notice in INBOX. `made` is when the backup
    /// was.
    pub fn restoration(&self, made: Timestamp, now: Timestamp, rng: &mut dyn Rng) -> (Vec<Record>, Vec<NewBody>) {
        let mut records = vec![Record::Restored { made, at: now }];
        let mut bodies = Vec::new();
        if let (Some(profile), Some(inbox)) = (self.profile(), self.mailbox().by_role(FolderRole::Inbox)) {
            let text = dsn::restored(&profile.public.address, made, ContentId::random(rng), now);
            let body = NewBody { report: true, ..NewBody::new(BodyId::random(rng), text.into()) };
            let message = NewMessage {
                uid: inbox.uid_next,
                flags: NamedFlags::default(),
                date: now,
                body: body.id,
                size: u32::try_from(body.bytes.len()).unwrap_or(u32::MAX),
                content: None,
            };
            records.push(Record::MessageAdded { folder: inbox.id, message });
            bodies.push(body);
        }
        (records, bodies)
    }
}
