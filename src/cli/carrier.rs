//! `runepeer carrier`: carrying mail for others.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::args::Carrier;
use super::commands::{confirm, done, life_secs, rows, show, text};
use super::progress::Bar;
use super::{Context, args, qr};
use crate::control::{BoxInvite, CarrierChange, Code, Command, Failure};

/// What was left at a box comes back within this, or later.
const CHECK: Duration = Duration::from_secs(300);
/// Bytes in a MiB.
const MIB: u64 = crate::base::limits::MIB as u64;

pub(super) fn run(context: &Context, verb: Carrier) -> Result<(), Failure> {
    match verb {
        Carrier::Enable => {
            let value = context.ask(Command::CarrierEnable)?;
            show(context, value, |value| {
                format!(
                    "This node now carries mail for others, at {}.\nInvite somebody to a box with: runepeer carrier invite",
                    text(value, "onion")
                )
            });
            Ok(())
        }
        Carrier::Disable => {
            confirm(context, "Nobody can leave or collect mail here until it is enabled again. Disable the carrier?")?;
            context.ask(Command::CarrierDisable)?;
            done(context, "The carrier is off. What it holds stays.");
            Ok(())
        }
        Carrier::Show => {
            let value = context.ask(Command::CarrierShow)?;
            show(context, value, words);
            Ok(())
        }
        Carrier::Invite(invite) => self::invite(context, &invite),
        Carrier::Limits(asked) => {
            let args::CarrierLimits { space, quota, hold_days, free_registration: free, identification } = asked;
            let change = CarrierChange { space, quota, hold_days, free, identification };
            let value = context.ask(Command::CarrierLimits(change))?;
            show(context, value, limits);
            Ok(())
        }
        Carrier::Revoke => {
            confirm(context, "Invitations that were not used stop working. Withdraw them all?")?;
            context.ask(Command::CarrierRevoke)?;
            done(context, "Withdrawn.");
            Ok(())
        }
        Carrier::Evict { name } => {
            confirm(context, "The mailbox and all mail in it are gone then. Remove it?")?;
            context.ask(Command::CarrierEvict { name })?;
            done(context, "Removed.");
            Ok(())
        }
        Carrier::Add { invitation, name } => {
            let invitation = super::commands::given_or_pasted(invitation)?;
            let value = context.ask(Command::BoxAdd { invitation, name })?;
            context.output.say("Your contacts are told of it as soon as the carrier has it: runepeer carrier list");
            show(context, value, rented);
            Ok(())
        }
        Carrier::List => {
            let value = context.ask(Command::BoxList)?;
            show(context, value, |value| rows(value, "carriers").map(rented).collect());
            Ok(())
        }
        Carrier::Check { name } => check(context, &name),
        Carrier::Rm { name } => {
            confirm(context, "Your contacts are told, and then the box is given up. Go on?")?;
            context.ask(Command::BoxRemove { name })?;
            done(context, "It is given up as soon as your contacts know. Until then what arrives there is collected.");
            Ok(())
        }
    }
}

/// Has something left at a box, and waits until it came back.
fn check(context: &Context, name: &str) -> Result<(), Failure> {
    context.ask(Command::BoxCheck { name: name.to_owned() })?;
    let bar = Bar::new(context, "Leaving something at the carrier");
    let begun = Instant::now();
    loop {
        let list = context.ask(Command::BoxList)?;
        let known = rows(&list, "carriers").find(|row| row["name"] == name).cloned().unwrap_or_default();
        let failed =
            |why: &str| Failure::new(Code::Unreachable, why).hint("how it stands: runepeer carrier list").retryable();
        match known["check"].as_str() {
            Some("works") => {
                bar.clear();
                let took = begun.elapsed().as_secs_f64();
                show(context, known, |_| format!("It works: what was left there came back after {took:.1} s.\n"));
                return Ok(());
            }
            Some("failed") => {
                bar.clear();
                let why = known["check_error"].as_str().unwrap_or("it could not be left there").to_owned();
                return Err(failed(&format!("nothing can be left there: {why}")));
            }
            Some("left") => {
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
    let value = context.ask(Command::CarrierInvite(asked))?;
    if invite.qr && !context.output.is_json() {
        for row in rows(&value, "invitations") {
            context.output.data(qr::terminal(text(row, "invitation"))?);
        }
    }
    context.output.say("Each of these gives one person a box here. Pass it on by a way you trust.");
    show(context, value, |value| {
        rows(value, "invitations").map(|row| format!("{}\n", text(row, "invitation"))).collect()
    });
    Ok(())
}

fn limits(value: &Value) -> String {
    let mib = |name: &str| value[name].as_u64().unwrap_or_default().div_ceil(MIB);
    let free =
        if value["free_registration"] == true { "anybody may have a box" } else { "nobody without an invitation" };
    let space = if value["space"].is_null() { "no bound".to_owned() } else { format!("{} MiB", mib("space")) };
    format!(
        "space: {space}; {} MiB are stored or promised\na box whose invitation does not say: {} MiB, held for {} days\nregistration: {free}\na shown key counts: {}\n",
        mib("promised"),
        mib("quota"),
        value["hold_days"],
        match text(value, "identification") {
            "session" => "for the session".to_owned(),
            "command" => "for one command".to_owned(),
            seconds => format!("for {seconds} seconds"),
        },
    )
}

/// One rented box.
pub(super) fn rented(value: &Value) -> String {
    let connected = if value["connected"] == true { "connected" } else { "not connected" };
    let mut line = format!("{}  {} ({connected})", text(value, "name"), text(value, "state"));
    if let Some(error) = value["last_error"].as_str() {
        let _ = write!(line, ": {error}");
    }
    if let Some(without) = value["contacts_without_place"].as_u64().filter(|without| *without > 0) {
        let _ = write!(
            line,
            "\n  all {} places are taken, and {without} contacts have none: rent another box",
            value["places"]
        );
    }
    line + "\n"
}

fn words(value: &Value) -> String {
    let state = match (value["enabled"] == true, value["reachable"] == true) {
        (false, _) => "off",
        (true, false) => "not reachable yet",
        (true, true) => "reachable",
    };
    let mut words = format!("carrier: {} ({state})\n", text(value, "onion"));
    let _ = writeln!(words, "invitations that were not used: {}", value["invitations"]);
    for mailbox in rows(value, "mailboxes") {
        let mib = |name: &str| mailbox[name].as_u64().unwrap_or_default().div_ceil(MIB);
        let _ = writeln!(
            words,
            "{}  {} held, {} MiB; {} MiB admitted; quota {} MiB",
            text(mailbox, "name").get(..16).unwrap_or_default(),
            mailbox["objects"],
            mib("stored"),
            mib("outstanding"),
            mib("quota"),
        );
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_box_says_whether_it_works_and_who_has_no_place_in_it() {
        let line = |extra: Value| {
            let mut value = json!({ "name": "home", "state": "open", "connected": true, "places": 64 });
            value.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            rented(&value)
        };
        assert_eq!(line(json!({})), "home  open (connected)\n");
        assert_eq!(line(json!({ "contacts_without_place": 0 })), "home  open (connected)\n");
        assert_eq!(
            line(json!({ "connected": false, "last_error": "the peer is not online" })),
            "home  open (not connected): the peer is not online\n"
        );
        assert_eq!(
            line(json!({ "contacts_without_place": 1 })),
            "home  open (connected)\n  all 64 places are taken, and 1 contacts have none: rent another box\n"
        );
    }

    #[test]
    fn a_carrier_says_what_it_allows_and_what_it_holds() {
        let allowed = json!({
            "space": 3 * MIB, "promised": MIB + 1, "quota": MIB, "hold_days": 14, "free_registration": false,
            "identification": "session",
        });
        assert_eq!(
            limits(&allowed),
            "space: 3 MiB; 2 MiB are stored or promised\n\
             a box whose invitation does not say: 1 MiB, held for 14 days\n\
             registration: nobody without an invitation\n\
             a shown key counts: for the session\n"
        );
        let free = json!({ "free_registration": true, "identification": "60" });
        let said = limits(&free);
        for words in ["space: no bound", "anybody may have a box", "for 60 seconds"] {
            assert!(said.contains(words), "{said}");
        }
        assert!(limits(&json!({ "identification": "command" })).contains("for one command"));
        let shown = |enabled: bool, reachable: bool| {
            words(&json!({
                "onion": "x.onion", "enabled": enabled, "reachable": reachable, "invitations": 2,
                "mailboxes": [{
                    "name": "0123456789abcdef0123", "objects": 3, "stored": MIB, "outstanding": 1, "quota": 2 * MIB,
                }],
            }))
        };
        assert_eq!(
            shown(true, true),
            "carrier: x.onion (reachable)\n\
             invitations that were not used: 2\n\
             0123456789abcdef  3 held, 1 MiB; 1 MiB admitted; quota 2 MiB\n"
        );
        assert!(shown(false, true).starts_with("carrier: x.onion (off)\n"));
        assert!(shown(true, false).starts_with("carrier: x.onion (not reachable yet)\n"));
    }
}
