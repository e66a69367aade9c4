//! `runepeer carrier`: carrying mail for others.

use std::fmt::Write as _;

use serde_json::Value;

use super::args::Carrier;
use super::commands::{confirm, done, life_secs, rows, show, text};
use super::{Context, args, qr};
use crate::control::{BoxInvite, CarrierChange, Code, Command, Failure};

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
            let args::CarrierLimits { space, quota, hold_days, free_registration: free } = asked;
            let value = context.ask(Command::CarrierLimits(CarrierChange { space, quota, hold_days, free }))?;
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
        Carrier::Rm { name } => {
            confirm(context, "Your contacts are told, and then the box is given up. Go on?")?;
            context.ask(Command::BoxRemove { name })?;
            done(context, "It is given up as soon as your contacts know. Until then what arrives there is collected.");
            Ok(())
        }
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
        "space: {space}; {} MiB are stored or promised\na box whose invitation does not say: {} MiB, held for {} days\nregistration: {free}\n",
        mib("promised"),
        mib("quota"),
        value["hold_days"],
    )
}

/// One rented box.
pub(super) fn rented(value: &Value) -> String {
    let connected = if value["connected"] == true { "connected" } else { "not connected" };
    let mut line = format!("{}  {} ({connected})", text(value, "name"), text(value, "state"));
    if let Some(error) = value["last_error"].as_str() {
        let _ = write!(line, ": {error}");
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
