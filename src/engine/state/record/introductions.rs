//! Records of introductions (docs/protocol.md, "Introductions").

use crate::base::{ContactId, ContentId, FolderId, QueueId, Timestamp};
use crate::engine::encoding::records;
use crate::engine::state::book::{Contact, InvitationEntry};
use crate::engine::state::introductions::{Asked, Begun, Given, Held, Offer, Parts, Path, Policy};
use crate::engine::state::mailbox::NewMessage;
use crate::engine::state::queue::Submitted;
use crate::engine::state::record::ContentKey;

records! {
    /// What happened to introductions.
    IntroductionRecord
    /// The user introduces two contacts to each other: one of them is asked.
    136 IntroductionBegun {
        /// The introduction; its name is the signed id of the ask.
        begun: Box<Begun>,
        /// The ask, as it waits in the queue.
        queued: Box<Submitted>,
    }
    /// A contact asked whether it may introduce us.
    137 IntroductionAsked {
        /// The name of the ask among the duplicates.
        seen: ContentKey,
        /// The ask.
        asked: Asked,
        /// The message in Requests by which the user decides; `None` where nobody has to.
        notice: Option<(FolderId, NewMessage)>,
    }
    /// The user agreed, or the contact may introduce us without asking.
    138 IntroductionGranted {
        /// The ask.
        id: ContentId,
        /// The introducer, and when we agreed.
        path: Path,
        /// The invitations that the guests get.
        invitations: Vec<InvitationEntry>,
        /// The grant, as it waits in the queue.
        queued: Box<Submitted>,
    }
    /// The user declined to be introduced, or does not want to know somebody who was introduced, or gave up an introduction of
    /// their own.
    139 IntroductionDeclined {
        /// Our ask, the ask that came, or the introduction that came.
        id: ContentId,
    }
    /// A host agreed, and its grant goes to the guest.
    140 IntroductionMade {
        /// The name of the grant among the duplicates.
        seen: ContentKey,
        /// Our ask.
        id: ContentId,
        /// The introduction, as it waits in the queue.
        queued: Box<Submitted>,
    }
    /// A contact introduced somebody to us.
    141 IntroductionOffered {
        /// The name of the introduction among the duplicates.
        seen: ContentKey,
        /// The introduction.
        offer: Box<Offer>,
        /// The message in Requests by which the user decides; `None` where the host is in the book already: then there is
        /// one more who introduced it. Or where we agreed already.
        notice: Option<(FolderId, NewMessage)>,
        /// The new contact, where we agreed already, because of a message that shows both of us.
        contact: Option<Box<Contact>>,
    }
    /// The user accepted an introduction.
    142 IntroductionTaken {
        /// The introduction.
        id: ContentId,
        /// When.
        at: Timestamp,
        /// The new contact; `None` where it is in the book, and is greeted anew.
        contact: Option<Box<Contact>>,
    }
    /// Whether a contact may introduce us.
    143 IntroductionPolicySet {
        /// The contact.
        contact: ContactId,
        /// Whether it may.
        policy: Policy,
    }
    /// A message names people who have to agree first that they are shown to each other: it waits, and they are asked. It
    /// comes before the record that puts the message into the queue.
    129 ConsentSought {
        /// The message.
        queue: QueueId,
        /// Who was asked.
        held: Box<Held>,
        /// The asks, as they wait in the queue.
        asks: Vec<Submitted>,
    }
    /// One of those who were asked has agreed.
    130 ConsentGiven {
        /// The name of the grant among the duplicates.
        seen: ContentKey,
        /// The grant.
        given: Box<Given>,
    }
    /// Everybody has agreed: the message goes, and with it what makes them contacts of each other.
    131 ConsentReached {
        /// The message.
        queue: QueueId,
        /// When.
        at: Timestamp,
        /// The introductions, as they wait in the queue.
        introductions: Vec<Submitted>,
    }
    /// The introductions as they are. Only a checkpoint has this.
    135 IntroductionsKept {
        /// All of them, or a part.
        parts: Box<Parts>,
    }
}
