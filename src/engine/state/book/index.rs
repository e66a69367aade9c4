//! Finds the contact with a name, an onion or a key without looking at every contact.
//!
//! The index is never written to the disk: it follows from the contacts, and is made anew where a book is read.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::base::ids::Fingerprint;
use crate::base::{ContactId, Onion, meter};
use crate::engine::state::book::{Contact, fold};
use crate::engine::state::shards::{ShardKey, Shards};

/// The contacts by properties of which each has its own.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Index {
    /// By the hash of the name: names that begin alike are not in one shard.
    by_petname: Shards<[u8; 32], ContactId>,
    by_onion: Shards<Onion, ContactId>,
    by_fingerprint: Shards<Fingerprint, ContactId>,
}

fn name_key(petname: &str) -> [u8; 32] {
    Sha256::digest(fold(petname)).into()
}

/// The first contact with a key keeps it.
fn add<K: ShardKey>(contacts: &mut Shards<K, ContactId>, key: K, contact: ContactId) {
    if !contacts.contains_key(&key) {
        contacts.insert(key, contact);
    }
}

impl Index {
    pub(super) fn add(&mut self, contact: &Contact) {
        add(&mut self.by_petname, name_key(&contact.petname), contact.id);
        add(&mut self.by_onion, contact.address.onion(), contact.id);
        add(&mut self.by_fingerprint, contact.fingerprint, contact.id);
    }

    pub(super) fn remove(&mut self, contact: &Contact) {
        self.by_petname.remove(&name_key(&contact.petname));
        self.by_onion.remove(&contact.address.onion());
        self.by_fingerprint.remove(&contact.fingerprint);
    }

    /// The contact with this petname; case does not matter.
    pub(super) fn named(&self, petname: &str) -> Option<ContactId> {
        meter::steps(petname.len());
        self.by_petname.get(&name_key(petname)).copied()
    }

    pub(super) fn at(&self, onion: Onion) -> Option<ContactId> {
        self.by_onion.get(&onion).copied()
    }

    pub(super) fn with_key(&self, fingerprint: &Fingerprint) -> Option<ContactId> {
        self.by_fingerprint.get(fingerprint).copied()
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").field("contacts", &self.by_petname.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::state::book::{Book, ContactChange, ContactStatus};
    use crate::engine::tests::samples::known as contact;
    use crate::mail::LocalPart;

    #[test]
    fn a_petname_that_is_made_from_an_address_has_no_dot_that_mail_programs_refuse() {
        let (book, own) = (Book::default(), LocalPart::new("alice").unwrap());
        for (local, petname) in [(".a..b.", "a.b"), ("...", "contact"), ("bob.smith", "bob.smith")] {
            assert_eq!(book.free_petname(local, &own), petname);
        }
    }

    #[test]
    fn looking_somebody_up_does_not_cost_more_in_a_book_of_five_thousand() {
        let mut book = Book::default();
        let mut before = None;
        for number in 0..5000 {
            assert!(book.add(&contact(number, &format!("C\u{d6}-{number}"))));
            if number == 49 || number == 4999 {
                for text in
                    ["c\u{f6}-7", "nobody", "c\u{f6}-7+folder", "C\u{d6}-7@rune.internal", "nobody@rune.internal"]
                {
                    let (steps, found) = meter::work(|| book.resolve(text).is_ok());
                    assert_eq!(found, !text.starts_with("nobody"), "{text}");
                    assert!(steps <= 60 * text.len() as u64, "{text}, {} contacts: {steps}", number + 1);
                }
                let (steps, free) = meter::work(|| book.free_petname("c\u{f6}-7", &LocalPart::new("alice").unwrap()));
                assert_eq!(free, "c\u{f6}-7-2");
                assert!(steps <= *before.get_or_insert(2 * steps), "{steps}");
            }
        }
    }

    #[test]
    fn everybody_is_found_by_name_onion_and_key_after_every_change_and_nobody_else_is() {
        let mut book = Book::default();
        let [one, two] = [contact(1, "Bob"), contact(2, "carol")];
        let found = |book: &Book, contact: &Contact, petname: &str| {
            let by_all = [
                book.by_petname(petname),
                book.by_onion(contact.address.onion()),
                book.by_fingerprint(&contact.fingerprint),
            ];
            by_all.map(|found| found.is_some_and(|found| found.id == contact.id))
        };
        assert!(book.add(&one) && book.add(&two));
        assert!(!book.add(&contact(3, "BOB")) && !book.add(&contact(1, "other")));
        assert_eq!(found(&book, &one, "bOB"), [true; 3]);
        assert_eq!(found(&book, &two, "Carol"), [true; 3]);
        // A contact cannot get the name of another contact, but can get its own in another case.
        let rename = |petname: &str| ContactChange::Petname(petname.to_owned());
        assert!(!book.change(one.id, &rename("CAROL")));
        assert!(book.change(one.id, &rename("BOB")) && book.change(one.id, &rename("Dave")));
        assert_eq!(found(&book, &one, "dave"), [true; 3]);
        assert!(book.by_petname("bob").is_none());
        let copy = book.clone();
        assert!(book.change(two.id, &rename("bob")) && book.remove(one.id) && !book.remove(one.id));
        assert_eq!(found(&book, &one, "dave"), [false; 3]);
        assert_eq!(found(&book, &two, "bob"), [true; 3]);
        assert_eq!(found(&copy, &two, "carol"), [true; 3], "a copy stays as it was");
        let read: Book = postcard::from_bytes(&postcard::to_allocvec(&book).unwrap()).unwrap();
        assert_eq!(read, book);
        assert_eq!(found(&read, &two, "bob"), [true; 3], "what was written and read knows the same");
        assert!(book.add(&contact(1, "dave")));
    }

    #[test]
    fn an_address_has_its_petname_whatever_the_status_and_the_folder() {
        let mut book = Book::default();
        let mallory = contact(1, "Mallory");
        assert!(book.add(&mallory));
        let at = |local: &str| format!("{local}@{}", mallory.address.onion()).parse().unwrap();
        let own = mallory.address.local().as_str();
        for status in [ContactStatus::Confirmed, ContactStatus::Request, ContactStatus::Blocked] {
            book.change(mallory.id, &ContactChange::Status(status));
            assert_eq!(book.petname_of(&at(own)), Some("Mallory"));
            assert_eq!(book.petname_of(&at(&format!("{own}+work"))), Some("Mallory"));
            assert_eq!(book.petname_of(&at("another")), None);
        }
    }
}
