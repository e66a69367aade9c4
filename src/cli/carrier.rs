//! `runepeer carrier`: carrying mail for others.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::args::Carrier;
use super::progress::Bar;
use super::show::{confirm, done, life_secs, show, until};
use super::{Context, args, qr};
use crate::control::reply::{self, BoxInvitations, BoxStatus, Boxes, CarrierStatus, CheckState, Done};
use crate::control::{BoxInvite, CarrierChange, Code, Command, Failure};
use crate::daemon::now;

/// How long the check of a box waits for the test object; it may also come back later.
const CHECK: Duration = Duration::from_secs(300);
/// Bytes in a MiB.
const MIB: u64 = crate::base::limits::MIB as u64;

pub(super) fn run(context: &Context, verb: Carrier) -> Result<(), Failure> {
    match verb {
        Carrier::Enable => {
            let carrier: reply::Carrier = context.ask(Command::CarrierEnable)?;
            show(context, &carrier, |carrier| {
                format!(
                    "This node now carries mail for others, at {}.\nInvite somebody to a box with: runepeer carrier invite",
                    carrier.onion
                )
            });
            Ok(())
        }
        Carrier::Disable => {
            confirm(context, "Nobody can leave or collect mail here until it is enabled again. Disable the carrier?")?;
            context.ask::<reply::Carrier>(Command::CarrierDisable)?;
            done(context, "The carrier is off. What it holds stays.");
            Ok(())
        }
        Carrier::Show => {
            show(context, &context.ask(Command::CarrierShow)?, words);
            Ok(())
        }
        Carrier::Invite(invite) => self::invite(context, &invite),
        Carrier::Limits(asked) => {
            let args::CarrierLimits { space, quota, hold_days, free_registration: free, identification } = asked;
            let change = CarrierChange { space, quota, hold_days, free, identification };
            show(context, &context.ask(Command::CarrierLimits(change))?, limits);
            Ok(())
        }
        Carrier::Revoke => {
            confirm(context, "Invitations that were not used stop working. Withdraw them all?")?;
            context.ask::<Done>(Command::CarrierRevoke)?;
            done(context, "Withdrawn.");
            Ok(())
        }
        Carrier::Evict { name } => {
            confirm(context, "The mailbox and all mail in it are gone then. Remove it?")?;
            context.ask::<Done>(Command::CarrierEvict { name })?;
            done(context, "Removed.");
            Ok(())
        }
        Carrier::Add { invitation, qr, name } => {
            rent(context, super::paste::given_or_pasted(context, invitation, qr)?, name)
        }
        Carrier::List => {
            let boxes: Boxes = context.ask(Command::BoxList)?;
            show(context, &boxes, |boxes| boxes.carriers.iter().map(own_box).collect());
            Ok(())
        }
        Carrier::Check { name } => check(context, &name),
        Carrier::Rm { name } => {
            confirm(context, "Your contacts are told, and then the box is given up. Go on?")?;
            context.ask::<Done>(Command::BoxRemove { name })?;
            done(context, "It is given up as soon as your contacts know. Until then what arrives there is collected.");
            Ok(())
        }
    }
}

/// Starts the check of a box, and waits until the test object came back.
fn check(context: &Context, name: &str) -> Result<(), Failure> {
    context.ask::<Done>(Command::BoxCheck { name: name.to_owned() })?;
    let bar = Bar::new(context, "Leaving something at the carrier");
    let begun = Instant::now();
    loop {
        let boxes: Boxes = context.ask(Command::BoxList)?;
        let known = boxes.carriers.into_iter().find(|known| known.name == name);
        let failed =
            |why: &str| Failure::new(Code::Unreachable, why).hint("how it stands: runepeer carrier list").retryable();
        match known.map(|known| (known.check, known)) {
            Some((Some(CheckState::Works), known)) => {
                bar.clear();
                let took = begun.elapsed().as_secs_f64();
                show(context, &known, |_| format!("It works: what was left there came back after {took:.1} s.\n"));
                return Ok(());
            }
            Some((Some(CheckState::Failed), known)) => {
                bar.clear();
                let why = known.check_error.unwrap_or_else(|| "it could not be left there".to_owned());
                return Err(failed(&format!("nothing can be left there: {why}")));
            }
            Some((Some(CheckState::Left), _)) => {
                bar.set(1, 2);
                bar.say("Waiting until it is collected");
            }
            _ => {}
        }
        if begun.elapsed() > CHECK {
            bar.clear();
            return Err(failed("what was left there did not come back yet"));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Rents the box of an invitation, and describes it.
pub(super) fn rent(context: &Context, invitation: String, name: Option<String>) -> Result<(), Failure> {
    let added = context.ask(Command::BoxAdd { invitation, name })?;
    context.output.say("Your contacts are told of it as soon as the carrier has it: runepeer carrier list");
    show(context, &added, own_box);
    Ok(())
}

fn invite(context: &Context, invite: &args::CarrierInvite) -> Result<(), Failure> {
    let quota = invite.quota_mib.map(|mib| {
        mib.checked_mul(MIB).ok_or_else(|| Failure::new(Code::Usage, format!("--quota-mib {mib} is too much")))
    });
    let asked = BoxInvite {
        count: invite.count,
        life_secs: life_secs(&invite.expires)?,
        quota: quota.transpose()?,
        hold_days: invite.hold_days,
    };
    let made: BoxInvitations = context.ask(Command::CarrierInvite(asked))?;
    if invite.qr && !context.output.is_json() {
        for row in &made.invitations {
            context.output.data(qr::terminal(&row.invitation)?);
        }
    }
    if let Some(row) = made.invitations.first() {
        let until = until(&row.expires_at, now());
        let words = format!("Each of these gives one person a box here, once, {until}. Pass it on by a way you trust.");
        context.output.say(words);
    }
    show(context, &made, |made| made.invitations.iter().map(|row| format!("{}\n", row.invitation)).collect());
    Ok(())
}

fn limits(limits: &reply::CarrierLimits) -> String {
    let free = if limits.free_registration { "anybody may have a box" } else { "nobody without an invitation" };
    let space = limits.space.map_or_else(|| "no bound".to_owned(), |space| format!("{} MiB", space.div_ceil(MIB)));
    format!(
        "space: {space}; {} MiB are stored or promised\na box whose invitation does not say: {} MiB, held for {} days\nregistration: {free}\na shown key counts: {}\n",
        limits.promised.div_ceil(MIB),
        limits.quota.div_ceil(MIB),
        limits.hold_days,
        match limits.identification.as_str() {
            "session" => "for the session".to_owned(),
            "command" => "for one command".to_owned(),
            seconds => format!("for {seconds} seconds"),
        },
    )
}

/// A box of ours, in words.
pub(super) fn own_box(own_box: &BoxStatus) -> String {
    let connected = if own_box.connected { "connected" } else { "not connected" };
    let mut line = format!("{}  {} ({connected})", own_box.name, own_box.state);
    if let Some(error) = &own_box.last_error {
        let _ = write!(line, ": {error}");
    }
    if let Some(problem) = &own_box.problem {
        let _ = write!(line, "\n  {problem}");
    }
    let (places, without) = (own_box.places, own_box.contacts_without_place);
    if without > 0 {
        let _ = write!(line, "\n  all {places} places are taken, and {without} contacts have none: rent another box");
    }
    line + "\n"
}

/// The carrier of this node, in words for `status`.
pub(super) fn standing(carrier: &CarrierStatus) -> String {
    let mut words = String::new();
    match carrier {
        CarrierStatus::Open(carrier) => {
            if carrier.enabled {
                let reachable = if carrier.reachable { "reachable" } else { "not reachable yet" };
                let (held, boxes) = (carrier.held, carrier.mailboxes.len());
                let _ = writeln!(words, "carrier: {held} held in {boxes} boxes ({reachable})");
            }
            if let Some(problem) = &carrier.problem {
                let _ = writeln!(words, "carrier: {problem}");
            }
        }
        CarrierStatus::Broken(carrier) => {
            let _ = writeln!(words, "carrier: it carries nothing until this is mended: {}", carrier.problem);
            if let Some(hint) = &carrier.hint {
                let _ = writeln!(words, "  {hint}");
            }
        }
    }
    words
}

fn words(carrier: &reply::Carrier) -> String {
    let state = match (carrier.enabled, carrier.reachable) {
        (false, _) => "off",
        (true, false) => "not reachable yet",
        (true, true) => "reachable",
    };
    let mut words = format!("carrier: {} ({state})\n", carrier.onion);
    let _ = writeln!(words, "invitations that were not used: {}", carrier.invitations);
    for mailbox in &carrier.mailboxes {
        let _ = writeln!(
            words,
            "{}  {} held, {} MiB; {} MiB admitted; quota {} MiB",
            mailbox.name.get(..16).unwrap_or_default(),
            mailbox.objects,
            mailbox.stored.div_ceil(MIB),
            mailbox.outstanding.div_ceil(MIB),
            mailbox.quota.div_ceil(MIB),
        );
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::reply::{BoxState, CarrierMailbox};

    #[test]
    fn a_box_says_whether_it_works_and_who_has_no_place_in_it() {
        let home = BoxStatus {
            name: "home".to_owned(),
            role: "box".to_owned(),
            onion: "x.onion".to_owned(),
            state: BoxState::Open,
            connected: true,
            check: None,
            check_error: None,
            contacts: 3,
            places: 64,
            contacts_without_place: 0,
            attempts: 0,
            next_at: None,
            last_error: None,
            failing_since: None,
            problem: None,
        };
        assert_eq!(own_box(&home), "home  open (connected)\n");
        assert_eq!(
            own_box(&BoxStatus {
                connected: false,
                last_error: Some("the peer is not online".to_owned()),
                ..home.clone()
            }),
            "home  open (not connected): the peer is not online\n"
        );
        assert_eq!(
            own_box(&BoxStatus { contacts_without_place: 1, ..home }),
            "home  open (connected)\n  all 64 places are taken, and 1 contacts have none: rent another box\n"
        );
    }

    #[test]
    fn a_carrier_says_what_it_allows() {
        let allowed = reply::CarrierLimits {
            space: Some(3 * MIB),
            promised: MIB + 1,
            quota: MIB,
            hold_days: 14,
            free_registration: false,
            identification: "session".to_owned(),
        };
        assert_eq!(
            limits(&allowed),
            "space: 3 MiB; 2 MiB are stored or promised\n\
             a box whose invitation does not say: 1 MiB, held for 14 days\n\
             registration: nobody without an invitation\n\
             a shown key counts: for the session\n"
        );
        let identification = "60".to_owned();
        let said =
            limits(&reply::CarrierLimits { space: None, free_registration: true, identification, ..allowed.clone() });
        for words in ["space: no bound", "anybody may have a box", "for 60 seconds"] {
            assert!(said.contains(words), "{said}");
        }
        let said = limits(&reply::CarrierLimits { identification: "command".to_owned(), ..allowed });
        assert!(said.contains("for one command"), "{said}");
    }

    #[test]
    fn a_carrier_says_what_it_holds() {
        let mailbox = CarrierMailbox {
            name: "0123456789abcdef0123".to_owned(),
            objects: 3,
            stored: MIB,
            outstanding: 1,
            quota: 2 * MIB,
        };
        let carrier = reply::Carrier {
            onion: "x.onion".to_owned(),
            fingerprint: "0123".to_owned(),
            open: true,
            enabled: true,
            reachable: true,
            problem: None,
            mailboxes: vec![mailbox],
            held: 3,
            stored: MIB,
            outstanding: 1,
            space: None,
            invitations: 2,
        };
        assert_eq!(
            words(&carrier),
            "carrier: x.onion (reachable)\n\
             invitations that were not used: 2\n\
             0123456789abcdef  3 held, 1 MiB; 1 MiB admitted; quota 2 MiB\n"
        );
        assert_eq!(standing(&CarrierStatus::Open(carrier.clone())), "carrier: 3 held in 1 boxes (reachable)\n");
        let away = reply::Carrier { reachable: false, ..carrier };
        assert!(words(&away).starts_with("carrier: x.onion (not reachable yet)\n"));
        let off = reply::Carrier { enabled: false, problem: Some("an older copy".to_owned()), ..away };
        assert!(words(&off).starts_with("carrier: x.onion (off)\n"));
        assert_eq!(standing(&CarrierStatus::Open(off)), "carrier: an older copy\n");
    }
}
