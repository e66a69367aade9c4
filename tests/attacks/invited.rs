//! Somebody who has the text of an invitation, open or used, or who knows somebody who has.

use super::raw::{codes, onion};
use super::support::mail::Login;
use super::support::node::Node;
use super::support::peer::{Peer, Stranger};
use super::support::runner::Trial;
use super::world::{Honest, World, subjects};
use runepeer::base::{MacKey, limits};
use runepeer::mail::Invitation;

pub(crate) const ATTACKS: &[Trial<World>] = &[
    ("the_text_of_a_used_invitation_is_not_its_contact", used),
    ("the_text_of_a_used_invitation_does_not_use_up_its_contacts_quota", used_quota),
    ("sessions_by_one_open_invitation_keep_nobody_out", many_sessions),
    ("the_holder_of_an_invitation_fills_no_requests", made_up_cards),
    ("strangers_together_fill_no_requests", strangers_cards),
    ("an_invitation_works_once", twice),
    ("a_revoked_invitation_opens_nothing", revoked),
    ("a_large_object_of_an_invited_stranger_is_refused", large),
    ("a_contact_brings_no_large_mail_of_a_stranger", brought),
    ("a_stranger_cannot_mark_its_mail_as_important", important),
    ("a_card_for_anothers_key_changes_nothing", foreign_card),
];

/// What is said to objects that are brought with a key, without the lines that say 201.
fn bring(world: &World, peer: &Peer, key: Option<&MacKey>, objects: &[Vec<u8>]) -> Vec<u16> {
    let mut all = Vec::new();
    for (number, object) in objects.iter().enumerate() {
        let request = peer.request(number, object, key);
        let said = codes(&onion(world.peers(), peer.receiver()).talk([&request.bytes[..], b"QUIT\n"].concat()));
        all.extend(said.into_iter().find(|code| *code != 201));
    }
    all
}

/// What is said to the SEND of an object, with a key.
fn answer(world: &World, peer: &Peer, object: &[u8], key: &MacKey) -> String {
    let mut one = onion(world.peers(), peer.receiver());
    one.send(peer.announced(1, object, Some(key)));
    one.line() + &one.line()
}

fn taken(codes: &[u16]) -> usize {
    codes.iter().filter(|code| **code == 202).count()
}

fn requests(node: &Node) -> usize {
    subjects(node, &Login::new(node, "look"), "Requests").len()
}

fn used(world: &World) {
    let (peer, invitation) = world.contact_by(40);
    let key = invitation.auth_key().unwrap();
    let small = Stranger::new("eve").sealed_card(peer.certificate());
    let said = answer(world, &peer, &small, &key);
    assert!(!said.contains("201 28311552"), "{said}");
    let large = vec![0xC1; 1 << 20];
    let said = answer(world, &peer, &large, &key);
    assert!(said.contains("420 NOT AVAILABLE"), "{said}");
}

fn used_quota(world: &World) {
    let (peer, invitation) = world.contact_by(41);
    let key = invitation.auth_key().unwrap();
    let cards: Vec<_> = (0..30).map(|_| Stranger::new("eve").sealed_card(peer.certificate())).collect();
    assert!(taken(&bring(world, &peer, Some(&key), &cards)) <= limits::STRANGER_PER_HOUR as usize);
    let mail = peer.sealed_mail(super::support::peer::text(peer.address(), peer.to(), "mine", 500));
    assert_eq!(bring(world, &peer, Some(peer.auth()), &[mail]), [202]);
}

fn many_sessions(world: &World) {
    let invitation = world.invitation();
    let key = invitation.auth_key().unwrap();
    let peer = world.contact(42);
    let object = vec![0xC1; 32_768];
    world.meanwhile(&[Honest::ToBob, Honest::FromBob], |stage| {
        let held: Vec<_> = (0..80)
            .filter_map(|number| {
                let mut one = super::raw::try_onion(world.peers(), world.onion())?;
                one.send(peer.announced(number, &object, Some(&key)));
                Some(one)
            })
            .collect();
        stage.holds();
        drop(held);
    });
}

fn made_up_cards(world: &World) {
    let node = world.victim();
    let (peer, invitation) = world.contact_of(&node, 43);
    let open = Invitation::parse(node.json(&["invite"])["invitation"].as_str().unwrap()).unwrap();
    let cards =
        |count: usize| -> Vec<_> { (0..count).map(|_| Stranger::new("eve").sealed_card(peer.certificate())).collect() };
    let mut all = 0;
    for key in [invitation.auth_key().unwrap(), open.auth_key().unwrap(), peer.auth().clone()] {
        all += taken(&bring(world, &peer, Some(&key), &cards(20)));
    }
    all += taken(&bring(world, &peer, None, &cards(20)));
    assert!(all <= limits::STRANGER_PER_HOUR as usize, "{all} cards were taken");
    assert!(requests(&node) <= limits::STRANGER_PER_HOUR as usize);
}

fn strangers_cards(world: &World) {
    let node = world.victim();
    let (peer, _) = world.contact_of(&node, 44);
    let cards: Vec<_> = (0..20).map(|_| Stranger::new("eve").sealed_card(peer.certificate())).collect();
    let said = bring(world, &peer, None, &cards);
    assert_eq!(taken(&said), limits::STRANGER_PER_HOUR as usize);
    assert!(said[limits::STRANGER_PER_HOUR as usize..].iter().all(|code| *code == 420), "{said:?}");
}

fn twice(world: &World) {
    let node = world.victim();
    let (peer, invitation) = world.contact_of(&node, 45);
    let mut eve = Stranger::new("eve");
    eve.card.invitation = invitation.secret.map(|secret| secret.to_vec());
    let card = eve.sealed_card(peer.certificate());
    assert_eq!(
        bring(world, &peer, invitation.auth_key().as_ref(), &[card]),
        [202],
        "as for anybody whose request waits"
    );
    let contacts = node.json(&["contact", "list"]);
    let confirmed = contacts["contacts"].as_array().unwrap().iter().filter(|one| one["status"] == "confirmed").count();
    assert_eq!(confirmed, 1);
}

fn revoked(world: &World) {
    let node = world.victim();
    let (peer, _) = world.contact_of(&node, 46);
    let open = Invitation::parse(node.json(&["invite"])["invitation"].as_str().unwrap()).unwrap();
    let listed = node.json(&["invite", "list"]);
    let revoking =
        listed["invitations"].as_array().unwrap().iter().find(|one| one["used"].is_null() || one["used"] == false);
    let id = revoking.unwrap()["id"].as_str().unwrap().to_owned();
    node.json(&["--yes", "invite", "revoke", &id]);
    let object = vec![0xC1; 65_536];
    let said = answer(world, &peer, &object, &open.auth_key().unwrap());
    assert!(said.contains("420 NOT AVAILABLE"), "{said}");
}

fn large(world: &World) {
    let invitation = world.invitation();
    let peer = world.contact(47);
    let said = onion(world.peers(), world.onion())
        .talk(peer.announced(1, &vec![0xC1; 65_536], invitation.auth_key().as_ref()).replace("MESSAGE", "QUIT;x"));
    assert!(said.contains("420 NOT AVAILABLE"), "{said}");
}

fn brought(world: &World) {
    let node = world.victim();
    let (peer, _) = world.contact_of(&node, 48);
    let eve = Stranger::new("eve");
    let card = eve.sealed_card(peer.certificate());
    assert_eq!(bring(world, &peer, Some(peer.auth()), &[card]), [202]);
    let mail = eve.sealed_mail(peer.to(), peer.certificate(), "large", 4 << 20);
    assert_ne!(bring(world, &peer, Some(peer.auth()), &[mail]), [202]);
    assert!(!subjects(&node, &Login::new(&node, "look"), "Requests").contains(&"large".to_owned()));
}

fn important(world: &World) {
    let node = world.victim();
    let (peer, _) = world.contact_of(&node, 49);
    let eve = Stranger::new("eve");
    let objects =
        [eve.sealed_card(peer.certificate()), eve.sealed_mail(peer.to(), peer.certificate(), "look-at-me", 500)];
    for (number, object) in objects.iter().enumerate() {
        let request = peer.request(number, object, None).bytes;
        let at = request.windows(5).position(|window| window == b"SEND ").unwrap() + 5;
        let end = request[at..].iter().position(|byte| *byte == b' ').unwrap() + at;
        let request = [&request[..end], b" +IMPORTANT", &request[end..], b"QUIT\n"].concat();
        let said = codes(&onion(world.peers(), peer.receiver()).talk(request));
        assert!(said.contains(&202), "{said:?}");
    }
    let login = Login::new(&node, "flags");
    let mut imap = super::support::mail::Imap::open(node.port("imap"), &login).unwrap();
    imap.run("SELECT Requests").unwrap();
    let flags = String::from_utf8(imap.run("FETCH 1:* (FLAGS)").unwrap()).unwrap();
    assert!(!flags.contains("Flagged"), "{flags}");
}

fn foreign_card(world: &World) {
    let peer = world.contact(50);
    let mut eve = Stranger::new("eve");
    // The onion of somebody whom bob knows, with another key.
    eve.card.address = world.alice.address().parse().unwrap();
    let card = eve.sealed_card(peer.certificate());
    assert_eq!(bring(world, &peer, Some(peer.auth()), &[card]), [409]);
    world.goes_well(Honest::FromBob);
}
