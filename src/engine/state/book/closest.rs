//! Whom somebody probably meant by a name that nobody has.

use super::{Book, Contact, fold};
use crate::base::limits;
use crate::mail::address::PETNAME_DOMAIN;

impl Book {
    /// The petname that is most like this one, among those of contacts that `may_be_meant`: `bob` for `boob`, `bbo` and
    /// `bbo@rune.internal`. In three letters one may be wrong, in six or more two. For the owner of the book alone; it looks
    /// at all contacts.
    pub fn closest(&self, written: &str, may_be_meant: impl Fn(&Contact) -> bool) -> Option<&str> {
        let name = match written.rsplit_once('@') {
            Some((name, domain)) => domain.eq_ignore_ascii_case(PETNAME_DOMAIN).then_some(name)?,
            None => written,
        };
        let name = name.rsplit_once('+').map_or(name, |(name, _folder)| name);
        let letters = name.chars().take(limits::PETNAME_CHARACTERS + 2).count();
        let most = (letters / 3).min(2);
        let names = self.contacts().filter(|contact| may_be_meant(contact)).map(|contact| contact.petname.as_str());
        let close = names.map(|petname| (distance(&fold(name), &fold(petname), most), petname));
        close.filter(|(distance, _)| (1..=most).contains(distance)).min().map(|(_, petname)| petname)
    }
}

/// How many letters have to be put in, left out, exchanged, or swapped with their neighbour, to make one name of the other;
/// something above `most` where they are more.
fn distance(a: &str, b: &str, most: usize) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > most {
        return most + 1;
    }
    // The rows of the table: `row[j]` is the distance of what was looked at of `a` to the first j letters of `b`.
    let (mut before, mut last): (Vec<usize>, Vec<usize>) = (Vec::new(), (0..=b.len()).collect());
    let mut previous = None;
    for (i, one) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, other) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX - 1);
            let mut least = (at(&last, j) + usize::from(one != other)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            if j > 0 && previous == Some(other) && b.get(j - 1) == Some(one) {
                least = least.min(at(&before, j - 1) + 1);
            }
            row.push(least);
        }
        (before, last, previous) = (last, row, Some(one));
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::state::book::{ContactChange, ContactStatus};
    use crate::engine::tests::samples::known as contact;

    #[test]
    fn a_name_that_is_nearly_a_petname_means_it_and_others_mean_nobody() {
        let mut book = Book::default();
        for (number, petname) in ["Bob", "carol", "Zo\u{eb}", "robert.smith", "jo"].into_iter().enumerate() {
            assert!(book.add(&contact(u16::try_from(number).unwrap(), petname)));
        }
        let closest = |written: &str| book.closest(written, |_| true);
        for (written, meant) in [
            ("boob", "Bob"),
            ("BBO@rune.internal", "Bob"),
            ("bbo@Rune.Internal", "Bob"),
            ("rob", "Bob"),
            ("bobb+work", "Bob"),
            ("carl", "carol"),
            ("acrol", "carol"),
            ("zoe", "Zo\u{eb}"),
            ("robret.smth", "robert.smith"),
            ("joe", "jo"),
        ] {
            assert_eq!(closest(written), Some(meant), "{written}");
        }
        let long = "x".repeat(10_000);
        for written in ["dave", "x", "jx", "", "boob@example.org", "boob@localhost", "bo", "rbrt.smth", "+bob", &long] {
            assert_eq!(closest(written), None, "{written}");
        }
        // Nearest first; the one whose name comes first among equals.
        assert!(book.add(&contact(9, "barol")));
        assert_eq!(book.closest("carrol", |_| true), Some("carol"));
        assert_eq!(book.closest("darol", |_| true), Some("barol"));
        let bob = book.by_petname("bob").unwrap().id;
        book.change(bob, &ContactChange::Status(ContactStatus::Request));
        assert_eq!(book.closest("boob", Contact::may_receive), None);
        assert_eq!(book.closest("boob", |_| true), Some("Bob"));
    }

    proptest! {
        #[test]
        fn one_mistake_is_one_and_names_are_as_far_one_way_as_the_other(a in "[a-d]{0,6}", b in "[a-d]{0,6}", at in 0_usize..6) {
            prop_assert_eq!(distance(&a, &b, 9), distance(&b, &a, 9));
            prop_assert_eq!(distance(&a, &b, 9) == 0, a == b);
            let mut letters: Vec<char> = a.chars().collect();
            letters.insert(at.min(letters.len()), 'x');
            prop_assert_eq!(distance(&a, &letters.iter().collect::<String>(), 9), 1);
            let middle = letters.len() / 2;
            letters.swap(0, middle);
            prop_assert!(distance(&a, &letters.iter().collect::<String>(), 9) <= 3);
        }
    }
}
