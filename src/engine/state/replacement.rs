//! A contact who begins anew, with another key and address, takes the place of the entry that it had before.

use crate::base::{ContactId, QueueId};
use crate::engine::state::State;
use crate::engine::state::book::ContactChange;
use crate::engine::state::mailbox::ModSeq;
use crate::engine::state::queue::Queued;
use crate::mail::ContentKind;

impl State {
    /// Whether a message is mail for this contact alone that waits, and of which no copy was sent anywhere.
    pub(in crate::engine) fn is_unsent_mail_for(&self, queued: &Queued, contact: ContactId) -> bool {
        queued.recipients.len() == 1
            && queued.waiting().all(|(waits, recipient)| waits == contact && recipient.sent.is_empty())
            && self.introductions.kind(queued.id) == ContentKind::Mail
            && !self.introductions.is_held(queued.id)
            && !self.boxes.has_copies(queued.id)
            && !self.forwarding.has_handed(queued.id)
    }

    /// Puts a contact into the place of another. Nothing happens where one of them is gone, or the new one gets no mail.
    pub(super) fn replace_contact(
        &mut self,
        number: ModSeq,
        old: ContactId,
        new: ContactId,
        messages: &[QueueId],
    ) -> bool {
        let (Some(gone), Some(next)) = (self.book.contact(old).cloned(), self.book.contact(new).cloned()) else {
            return false;
        };
        if old == new || !next.may_receive() {
            return false;
        }
        for queue in messages {
            let may = self.queue.get(*queue).is_some_and(|queued| self.is_unsent_mail_for(queued, old));
            if may {
                self.change_queued(number, *queue, |all, id| all.readdress(id, old, new, &next.address));
            }
        }
        self.remove_contact(old);
        self.book.change(new, &ContactChange::Petname(gone.petname.clone()));
        self.forget_settled_requests();
        true
    }
}
