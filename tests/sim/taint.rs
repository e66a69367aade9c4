//! Identities of one machine have nothing in common that a peer could see: no word of one is in what another sends, and when
//! one acts says nothing of when another does.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::{BASE64, HEXLOWER};
use runepeer::base::{SessionId, limits};
use runepeer::engine::Input;

use crate::carriers::CARRIERS;
use crate::climate::{Climate, DAY, HOUR, MINUTE};
use crate::node::Held;
use crate::people;
use crate::points::submit;
use crate::setting;
use crate::world::{NOWHERE, World};

/// So much may two rows of moments have in common.
const CORRELATION: f64 = 0.05;

/// A machine with so many identities, and one machine for each of their contacts; nothing goes wrong.
fn world(seed: u64, identities: usize) -> World {
    let quiet = Climate { hosts: 1 + identities, double: 0, carriers: 2, ..Climate::of(0).calm() };
    let mut world = World::inhabited(seed, quiet, |host, _| if host == 0 { identities } else { 1 });
    for one in 0..identities {
        people::introduce(&mut world, one, identities + one);
    }
    world.pass(HOUR);
    world
}

/// Everything by which an identity could be recognised.
fn marks(world: &World, n: usize) -> BTreeSet<Vec<u8>> {
    let state = world.nodes[n].running.as_ref().unwrap().identity.state();
    let own = &state.profile().unwrap().public;
    let onion = own.address.onion();
    let mut words = vec![own.name.clone(), onion.to_string(), own.fingerprint.to_string()];
    let contacts = state.book().contacts();
    let keys = contacts.flat_map(|contact| contact.inbound.iter().chain(&contact.outbound).map(|key| *key.expose()));
    let secrets = state.book().invitations().filter_map(|entry| entry.secret.map(|secret| secret.to_vec()));
    let bytes = [own.certificate.to_vec(), onion.public_key().to_vec()];
    let bytes = bytes.into_iter().chain(keys.map(|key| key.to_vec())).chain(secrets);
    let mut marks = BTreeSet::new();
    for raw in bytes {
        words.extend([BASE64.encode(&raw), HEXLOWER.encode(&raw)]);
        marks.insert(raw);
    }
    marks.extend(words.into_iter().flat_map(|word| [word.to_uppercase().into_bytes(), word.into_bytes()]));
    marks
}

/// The words of at least 32 hexadecimal digits: ids, hashes, authenticators.
fn tokens(sent: &[Vec<u8>]) -> BTreeSet<String> {
    let mut tokens = BTreeSet::new();
    for bytes in sent {
        let text = String::from_utf8_lossy(bytes);
        let words = text.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| word.len() >= 32);
        tokens.extend(words.map(str::to_ascii_lowercase));
    }
    tokens
}

/// `TAINT_SEEDS=n` looks at so many worlds, with two to four identities on their first machine.
#[test]
fn no_word_of_one_identity_is_in_what_another_of_its_machine_sends() {
    for seed in 0..setting("TAINT_SEEDS").unwrap_or(3) {
        nothing_of_one_is_in_what_another_sends(seed, 2 + (seed % 3) as usize);
    }
}

fn nothing_of_one_is_in_what_another_sends(seed: u64, identities: usize) {
    let mut world = world(seed, identities);
    world.sent = Some(BTreeMap::new());
    for round in 0..3 {
        for one in 0..identities {
            submit(&mut world, one, &[identities + one], 2000);
            submit(&mut world, identities + one, &[one], 300);
            // Another contact by another invitation, so that cards go too.
            people::introduce(&mut world, one, identities + one);
        }
        world.pass(HOUR * (1 + round));
    }
    for one in 0..identities {
        is_probed(&mut world, one);
    }
    world.pass(HOUR);
    let sent = world.sent.take().unwrap();
    let seen: BTreeSet<usize> = world.dials.iter().map(|(_, _, to)| *to).collect();
    assert!((0..2 * identities).all(|n| seen.contains(&n)), "seed {seed}: everybody was dialled");
    for one in 0..identities {
        let marks = marks(&world, one);
        let own: usize = sent[&one].iter().map(|bytes| marks.iter().filter(|mark| has(bytes, mark)).count()).sum();
        assert!(own > 10, "seed {seed}: what {one} sends shows {one}: {own}");
        for other in (0..identities).filter(|other| *other != one) {
            for bytes in &sent[&other] {
                let shown = marks.iter().find(|mark| has(bytes, mark));
                let words = || String::from_utf8_lossy(bytes).into_owned();
                assert!(shown.is_none(), "seed {seed}: {other} shows {:?} of {one}: {}", shown, words());
            }
            let both: Vec<_> = tokens(&sent[&one]).intersection(&tokens(&sent[&other])).cloned().collect();
            assert!(both.is_empty(), "seed {seed}: {one} and {other} sent {both:?}");
        }
    }
}

/// A stranger connects and sends what draws an answer.
fn is_probed(world: &mut World, n: usize) {
    world.strangers += 1;
    let session = world.accept(n, (NOWHERE, SessionId(world.strangers))).unwrap();
    world.feed(n, Input::Accepted(session));
    let lines = b"SEND nobody@x\nSEND\nMESSAGE - #5\nhello\nREGISTER x\nHOWDY RUNE/9\n".to_vec();
    world.arrive((n, session), Held::Bytes(lines));
}

/// Circuits are named by the ids of an identity and of its contact.
#[test]
fn a_contact_of_two_identities_has_another_id_at_each() {
    let mut world = world(4, 2);
    people::introduce(&mut world, 0, 3);
    world.pass(HOUR);
    let contact = world.nodes[3].onion;
    let id = |n: usize| {
        let state = world.nodes[n].running.as_ref().unwrap().identity.state();
        state.book().contacts().find(|entry| entry.address.onion() == contact).unwrap().id
    };
    assert_ne!(id(0), id(1));
}

fn has(bytes: &[u8], mark: &[u8]) -> bool {
    bytes.windows(mark.len()).any(|window| window == mark)
}

/// For how many days moments are compared: so many, or `TAINT_DAYS`.
fn days(usual: u64) -> u64 {
    setting("TAINT_DAYS").unwrap_or(usual)
}

/// How much two rows have in common, from -1 to 1.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |row: &[f64]| row.iter().sum::<f64>() / row.len() as f64;
    let (of_a, of_b) = (mean(a), mean(b));
    let sum = |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(x, y)| f(x - of_a, y - of_b)).sum::<f64>();
    sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt()
}

/// For every minute between two moments, how often a node dialled.
fn minutes(world: &World, n: usize, from: i64, is_meant: impl Fn(usize) -> bool) -> Vec<f64> {
    let mut row = vec![0.0; usize::try_from((world.now - from) / MINUTE).unwrap()];
    for (_, at, _) in world.dials.iter().filter(|(who, _, to)| *who == n && is_meant(*to)) {
        let minute = usize::try_from((at - from).max(0) / MINUTE).unwrap();
        if let Some(count) = row.get_mut(minute).filter(|_| *at >= from) {
            *count += 1.0;
        }
    }
    row
}

fn have_nothing_in_common(what: &str, rows: [Vec<f64>; 2]) {
    let [one, other] = rows;
    let (found, times) = (correlation(&one, &other), one.iter().filter(|it| **it > 0.0).count());
    println!("{what}: {times} of one, correlation {found:.4} over {} places", one.len());
    assert!(times > 200, "{what}: too few to say anything");
    assert!(found.abs() < CORRELATION, "{what}: {found}");
}

#[test]
fn attempts_of_two_identities_come_at_moments_that_have_nothing_in_common() {
    let mut world = world(5, 2);
    world.stop(1);
    world.stop(2);
    let mut rows = [Vec::new(), Vec::new()];
    for _ in 0..days(48) / 4 {
        for one in 0..2 {
            submit(&mut world, one, &[2 + one], 100);
        }
        // Both wait from the same moment on.
        world.pass(2 * HOUR);
        let from = world.now;
        world.dials.clear();
        world.pass(4 * DAY);
        for (one, row) in rows.iter_mut().enumerate() {
            row.extend(minutes(&world, one, from, |to| to == 2 + one));
        }
        // What was not delivered is reported.
        world.pass(2 * DAY);
    }
    have_nothing_in_common("attempts", rows);
}

#[test]
fn two_identities_empty_their_boxes_at_moments_that_have_nothing_in_common() {
    let mut world = world(6, 2);
    world.add_carriers_for(6, |n, c| n < 2 && n == c);
    world.pass(DAY);
    let from = world.now;
    world.dials.clear();
    for _ in 0..days(30) {
        world.pass(DAY);
    }
    let rows = [0, 1].map(|one| minutes(&world, one, from, |to| to == CARRIERS + one));
    have_nothing_in_common("collections", rows);
}

/// Both knock after the same return of their machine: of each return the pauses until then are compared. For a day after
/// something went between an identity and its contact its pauses are short; the two identities have such days at times of their
/// own, so each pause counts as a part of the longest one of its kind.
#[test]
fn how_soon_two_identities_knock_after_a_return_has_nothing_in_common() {
    let mut world = world(7, 2);
    world.pass(2 * DAY);
    let mut rows = [Vec::new(), Vec::new()];
    for _ in 0..days(125) * 24 {
        world.dials.clear();
        let begun = world.now;
        (0..2).for_each(|one| world.feed(one, Input::Reachable));
        world.pass(40 * MINUTE);
        let pause = |one: usize| {
            let first = world.dials.iter().find(|(who, _, to)| *who == one && *to == 2 + one);
            let pause = first.map(|(_, at, _)| (at - begun) as f64)?;
            let longest = [limits::START_SPREAD, limits::KNOCK_SPREAD].map(|spread| spread.as_millis() as f64);
            Some(pause / if pause <= longest[0] { longest[0] } else { longest[1] })
        };
        if let (Some(one), Some(other)) = (pause(0), pause(1)) {
            rows[0].push(one);
            rows[1].push(other);
        }
    }
    have_nothing_in_common("knocks", rows);
}
