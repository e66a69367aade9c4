//! Records of the messages that were submitted, and of what became of them.

use crate::base::{ContactId, QueueId, Timestamp};
use crate::engine::encoding::records;
use crate::engine::state::mailbox::NewMessage;
use crate::engine::state::queue::{Endpoint, FailureReason, Options, Submitted};

records! {
    /// What happened to a message that was submitted.
    QueueRecord
    /// A message was taken for delivery to all its recipients.
    32 Submitted {
        /// The message as it was submitted.
        queued: Box<Submitted>,
    }
    /// A recipient's node has acknowledged a message.
    33 RecipientDelivered {
        /// Which message.
        queue: QueueId,
        /// Which recipient.
        contact: ContactId,
        /// When.
        at: Timestamp,
    }
    /// The attempts to reach a recipient with a message have ended.
    34 RecipientFailed {
        /// Which message.
        queue: QueueId,
        /// Which recipient.
        contact: ContactId,
        /// When.
        at: Timestamp,
        /// Why.
        reason: FailureReason,
    }
    /// The sender took a message back from the recipients that do not have it yet.
    35 SubmissionCancelled {
        /// Which message.
        queue: QueueId,
    }
    /// What the mail program asked for with a submission, where it is not the default.
    36 SubmissionOptions {
        /// Which message.
        queue: QueueId,
        /// What it asked for.
        options: Box<Options>,
    }
    /// A submission is shown in the Outbox, until no recipient waits for it any more.
    37 ShownInOutbox {
        /// The entries of the queue for which the message stands.
        queues: Vec<QueueId>,
        /// The message.
        message: NewMessage,
    }
    /// Copies are about to be handed over: from now on they may have arrived. Committed before the first byte leaves.
    38 Sent {
        /// Which recipient.
        contact: ContactId,
        /// The endpoint.
        endpoint: Endpoint,
        /// Which messages.
        queues: Vec<QueueId>,
    }
    /// Copies did not arrive: none was handed over after all, or the endpoint refused it.
    39 NotSent {
        /// Which recipient.
        contact: ContactId,
        /// The endpoint.
        endpoint: Endpoint,
        /// Which messages.
        queues: Vec<QueueId>,
    }
    /// The sender was told that a message is late.
    42 DelayReported {
        /// Which message.
        queue: QueueId,
    }
    /// A message has expired at the boxes of a recipient that returns no receipts.
    44 RecipientHandedOver {
        /// Which message.
        queue: QueueId,
        /// Which recipient.
        contact: ContactId,
        /// When.
        at: Timestamp,
    }
    /// A recipient says that a message was read.
    45 RecipientRead {
        /// Which message.
        queue: QueueId,
        /// Which recipient.
        contact: ContactId,
        /// When we heard of that.
        at: Timestamp,
    }
}
