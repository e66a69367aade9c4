//! Invitations as people hand them over, and every way in which they can be wrong.

use super::*;
use proptest::prelude::*;

fn invitation(secret: Option<[u8; SECRET_BYTES]>, expires: Option<Timestamp>) -> Invitation {
    let onion = Onion::from_public_key([3; 32]);
    let address = format!("helpdesk/alice@{onion}").parse().unwrap();
    let fingerprint = Fingerprint::from_bytes([0xA5; 32]);
    Invitation { address, fingerprint, secret, expires, carriers: Vec::new() }
}

fn private() -> Invitation {
    invitation(Some([7; SECRET_BYTES]), Some(Timestamp::from_secs(500_000 * 3600)))
}

#[test]
fn text_is_read_as_people_hand_it_over() {
    let text = private().encode();
    let spaced: String =
        text.chars().enumerate().map(|(i, c)| if i % 8 == 7 { format!("{c}-\r\n ") } else { c.to_string() }).collect();
    for form in [text.clone(), text.to_ascii_uppercase(), format!("  {text}\n"), spaced] {
        assert_eq!(Invitation::parse(&form), Ok(private()), "{form}");
    }
    assert!(text.bytes().skip(5).all(|byte| ALPHABET.contains(&byte)));
}

#[test]
fn the_text_form_does_not_change() {
    // Made with Python's hashlib and base64 from docs/protocol.md "Invitation".
    let expected = concat!(
        "rune:aebqgaydambqgaydambqgaydambqgalbydambqgaydambqgaydambqga5fuws246ljnfuws2ljnfuws2ljnfuws2ljnfuwg",
        "fs2ljnfuws2ljnfuuhgqzlmobsgk43loof5qwy2ldmudqobyha4dqobyha4dqobgbyha4dqab5bebo4cnfc24",
    );
    assert_eq!(private().encode(), expected);
}

#[test]
fn errors_tell_the_place() {
    let text = private().encode();
    assert_eq!(Invitation::parse("hello"), Err(InvitationError::NotAnInvitation));
    assert_eq!(Invitation::parse("rune:"), Err(InvitationError::CutOff { length: 5 }));
    let bad: String = text.chars().enumerate().map(|(i, c)| if i == 40 { '1' } else { c }).collect();
    assert_eq!(Invitation::parse(&bad), Err(InvitationError::Character { position: 41, character: '1' }));
    for length in 5..text.len() {
        assert_eq!(Invitation::parse(text.get(..length).unwrap()), Err(InvitationError::CutOff { length }), "{length}");
    }
}

#[test]
fn a_mistyped_character_in_the_last_whole_group_of_a_text_that_is_cut_off_is_told_first() {
    let text = private().encode();
    for groups in 1..=(text.len() - SCHEME.len()) / (GROUP + CHECK) {
        let end = SCHEME.len() + groups * (GROUP + CHECK);
        let last = text.as_bytes()[end - 1];
        let other = ALPHABET.iter().find(|other| **other != last).copied().map(char::from).unwrap();
        let wrong = format!("{}{other}", text.get(..end - 1).unwrap());
        let expected = InvitationError::Mistyped { from: end - GROUP - CHECK + 1, to: end };
        assert_eq!(Invitation::parse(&wrong), Err(expected), "{groups}");
    }
}

#[test]
fn later_versions_and_extensions() {
    let encode = |payload: &[u8]| {
        let mut bytes = payload.to_vec();
        bytes.extend(sum(payload));
        let data = BASE32_NOPAD.encode(&bytes).to_ascii_lowercase();
        let groups = data.as_bytes().chunks(GROUP).enumerate();
        let groups = groups.map(|(index, group)| [group, &check(index, group)[..]].concat());
        format!("rune:{}", String::from_utf8(groups.collect::<Vec<_>>().concat()).unwrap())
    };
    let payload = private().payload();
    let payload = &payload[..payload.len() - SUM];
    assert_eq!(encode(payload), private().encode());
    let extended = [payload, &[200, 3, 1, 2, 3, 9, 0]].concat();
    assert_eq!(Invitation::parse(&encode(&extended)), Ok(private()));
    let broken = [payload, &[200, 3, 1]].concat();
    assert_eq!(Invitation::parse(&encode(&broken)), Err(InvitationError::Version));
    let endless = [payload, &[[200, 253].as_slice(), &[7; 253]].concat().repeat(11)].concat();
    assert_eq!(Invitation::parse(&encode(&endless)), Err(InvitationError::Version), "longer than any that is known");
    for (place, value) in [(0, 2), (1, 0x83), (67, b' ')] {
        let mut other = payload.to_vec();
        other[place] = value;
        assert_eq!(Invitation::parse(&encode(&other)), Err(InvitationError::Version), "{place}");
    }
}

#[test]
fn a_text_is_read_up_to_its_bound() {
    let garbage = |count: usize| Invitation::parse(&format!("rune:{}", "a".repeat(count)));
    assert!(matches!(
        garbage(INVITATION_CHARACTERS),
        Err(InvitationError::Mistyped { .. } | InvitationError::CutOff { .. })
    ));
    assert!(matches!(garbage(10 * INVITATION_CHARACTERS), Err(InvitationError::Mistyped { .. })));
    let spaced = format!("rune:{}", private().encode().get(5..).unwrap().replace("", &"- \n".repeat(100)));
    assert_eq!(Invitation::parse(&spaced), Ok(private()), "what means nothing does not count");
}

#[test]
fn it_is_found_in_what_a_messenger_made_of_it() {
    let text = private().encode();
    let body = text.get(SCHEME.len()..).unwrap();
    let (first, second) = body.split_at(77);
    let every = |between: &str| body.chars().map(|character| format!("{character}{between}")).collect::<String>();
    let forms = [
        format!("Write to me: {text}"),
        format!("{text} Thanks, Alice"),
        format!("{text} see you later"),
        format!("My rune: here it is: {text}."),
        format!("\"{text}\""),
        format!("\u{201c}{text}\u{201d}"),
        format!("<{text}>"),
        format!("({text}),"),
        format!("`{text}`"),
        format!("```\n{text}\n```"),
        format!("> rune:{first}\r\n> {second}\r\n"),
        format!(">> rune:{first}\n>> {second}\n> and more"),
        format!("| rune:{first}\n| {second}"),
        format!("rune:{first}=\r\n{second}"),
        format!("rune:{first}\u{2013}{second}"),
        format!("\u{feff}rune:{}", every("\u{200b}")),
        format!("\u{202a}rune:{}\u{202c}", every("\u{2060}")),
        format!("rune:{}", every("\u{ad}")),
        format!("rune://{body}"),
        format!("RUNE%3A{}", body.to_ascii_uppercase()),
        format!("rune%3a{body}?fbclid=IwAR0abc"),
        format!("https://example.org/?text=rune%3A{body}&x=y"),
        format!("{text},{text}"),
        format!("[{text}](rune:{body})"),
        format!("rune%3A%2F%2F{body}"),
    ];
    for form in forms {
        assert_eq!(Invitation::parse(&form), Ok(private()), "{form}");
        let of_box = form.replace("rune:", "rune-box:").replace("rune%3", "rune-box%3").replace("RUNE%", "RUNE-BOX%");
        assert_eq!(Invitation::parse_box(&of_box), Ok(private()), "{of_box}");
        assert_eq!(Invitation::parse(&of_box), Err(InvitationError::NotAnInvitation), "{of_box}");
    }
    for wrong in ['0', '1', '8', '!', '\u{430}'] {
        let form = format!("He says: rune:{first}{wrong}{second} and more");
        let position = "He says: rune:".len() + first.len() + 1;
        let expected = Err(InvitationError::Character { position, character: wrong });
        assert_eq!(Invitation::parse(&form), expected, "{form}");
    }
    for before in ["ru\u{ad}ne\u{200b}:", "rune\u{a0}:", "rune\u{202f}: ", "Rune :", "rune\u{ff1a}"] {
        assert_eq!(Invitation::parse(&format!("Hi {before}{body}")), Ok(private()), "{before}");
        for dash in ["-", "\u{2011}", "\u{2013}"] {
            let before = before.replace(['e'], &format!("e{dash}box"));
            assert_eq!(Invitation::parse_box(&format!("Hi {before}{body}")), Ok(private()), "{before}");
        }
    }
    let cut = format!("\"rune:{first}\"");
    assert_eq!(Invitation::parse(&cut), Err(InvitationError::CutOff { length: cut.len() - 1 }));
}

#[test]
fn only_private_invitations_have_a_key() {
    assert!(invitation(None, None).auth_key().is_none());
    let key = private().auth_key().unwrap();
    let expected = "1d72b9a7";
    assert_eq!(data_encoding::HEXLOWER.encode(&key.expose()[..4]), expected);
}

#[test]
fn what_it_holds_is_not_shown() {
    let shown = format!("{:?}", private());
    assert!(!shown.contains('7') && !shown.contains("onion"), "{shown}");
}

/// Some of these mistakes are missed by the ten bits of their group.
#[test]
fn every_mistyped_character_is_found_in_its_group() {
    let original: Vec<char> = private().encode().chars().collect();
    for place in SCHEME.len()..original.len() {
        for other in ALPHABET.iter().copied().map(char::from).filter(|other| *other != original[place]) {
            let mut characters = original.clone();
            characters[place] = other;
            match Invitation::parse(&characters.iter().collect::<String>()) {
                Err(InvitationError::Mistyped { from, to }) => {
                    assert!((from..=to).contains(&(place + 1)) && to - from < GROUP + CHECK, "{place} {other}");
                }
                found => panic!("{place} {other}: {found:?}"),
            }
        }
    }
}

proptest! {
    #[test]
    fn every_invitation_round_trips(
        onion in any::<[u8; 32]>(), fingerprint in any::<[u8; 32]>(), name in "[a-z0-9._-]{3,50}",
        secret in any::<Option<[u8; SECRET_BYTES]>>(), hours in any::<Option<u32>>(),
        carriers in prop::collection::vec(any::<[u8; 32]>(), 0..=INVITATION_CARRIERS),
    ) {
        let address = format!("{name}@{}", Onion::from_public_key(onion)).parse().unwrap();
        let expires = hours.map(|hours| Timestamp::from_secs(i64::from(hours) * 3600));
        let carriers = carriers.into_iter().map(Onion::from_public_key).collect();
        let fingerprint = Fingerprint::from_bytes(fingerprint);
        let invitation = Invitation { address, fingerprint, secret, expires, carriers };
        prop_assert_eq!(Invitation::parse(&invitation.encode()), Ok(invitation));
    }

    /// Wrapped, quoted and decorated at random.
    #[test]
    fn decorations_mean_nothing(
        before in "[ -~]{0,40}", after in "([^a-zA-Z2-7][ -~]{0,60})?",
        between in prop::collection::vec("[ \\t\u{200b}\u{200d}\u{2060}\u{ad}\u{202a}-]|\r\n> |\n>>|=\r\n", 0..12),
        places in prop::collection::vec(0_usize..150, 12), upper in any::<bool>(),
    ) {
        let mut characters: Vec<String> = private().encode().chars().map(String::from).collect();
        for (decoration, place) in between.iter().zip(places) {
            let at = (SCHEME.len() + place).min(characters.len());
            characters.insert(at, decoration.clone());
        }
        let text = characters.concat();
        let text = if upper { text.to_ascii_uppercase() } else { text };
        prop_assert_eq!(Invitation::parse(&format!("{before}{text}{after}")), Ok(private()));
    }

    #[test]
    fn any_text_is_read_without_panic(text in "(rune:)?[ -~]{0,300}|rune:[a-z2-7]{0,300}|\\PC{0,80}") {
        let _ = Invitation::parse(&text);
    }
}
