//! What rooms tell each other, and what the end of a contact means for all of them.

use crate::base::ContactId;
use crate::engine::context::{Context, Signal};
use crate::engine::dialled::{News, TaskEvent};
use crate::engine::rooms::Rooms;
use crate::engine::state::book::{ContactChange, ContactStatus};
use crate::engine::state::record::{BookRecord, PeopleRecord, Record};
use crate::engine::task::Tasks;
use crate::wire::Status;

/// Gives sessions the answers that they wait for, and the rooms the signals of the other rooms.
pub(in crate::engine) fn tell_all(cx: &mut Context<'_>, rooms: &mut Rooms, tasks: &mut Tasks) {
    loop {
        rooms.receive.settle_all(cx);
        let Some(signal) = cx.out.next_signal() else { return };
        match signal {
            Signal::News(session, told) => tasks.handle(cx, rooms, session, TaskEvent::News(told)),
            Signal::PeerCameOnline(contact) => {
                rooms.deliver.came_online(contact, cx.now, cx.rng);
                see(cx, rooms, contact);
            }
            Signal::PeerAnswered(contact) => {
                rooms.knocks.seen_by(contact);
                see(cx, rooms, contact);
            }
            Signal::CameAgain(contact) => {
                rooms.sightings.came_again(contact);
                cx.out.attempts_changed();
            }
            Signal::PeerIsAway(contact) => rooms.boxes.wants_deposits(cx, contact),
            Signal::Collected(session, object) => {
                if !rooms.receive.collected(cx, session, object) {
                    tasks.handle(cx, rooms, session, TaskEvent::News(News::Judged(Status::Busy)));
                }
            }
            Signal::BoxNews => tasks.handle_all(cx, rooms, || TaskEvent::News(News::ForCarriers)),
        }
    }
}

/// A contact was seen; readers hear of it.
fn see(cx: &mut Context<'_>, rooms: &mut Rooms, contact: ContactId) {
    if rooms.sightings.seen(cx.state, contact, cx.now) {
        cx.out.attempts_changed();
    }
}

/// The contact that a record blocked or removed, or that revoked its onion or key.
pub(in crate::engine) const fn parted(record: &Record) -> Option<ContactId> {
    match record {
        Record::Book(BookRecord::ContactChanged { id, change: ContactChange::Status(ContactStatus::Blocked) })
        | Record::People(PeopleRecord::RevocationTaken { contact: Some(id), .. }) => Some(*id),
        record => record.removes(),
    }
}

/// A contact was blocked or removed: sessions that we dialled to it end, and so does everything that waits for it.
pub(in crate::engine) fn part(cx: &mut Context<'_>, rooms: &mut Rooms, tasks: &mut Tasks, contact: ContactId) {
    rooms.deliver.forget_receipts(contact, cx.now);
    if let Some(session) = rooms.knocks.part(contact) {
        tasks.handle(cx, rooms, session, TaskEvent::Parted);
    }
    if let Some(session) = rooms.deliver.session(contact) {
        tasks.handle(cx, rooms, session, TaskEvent::Parted);
    }
    rooms.deliver.give_up(cx, contact);
}
