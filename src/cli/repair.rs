//! `runepeer repair`: shows what is damaged, asks, and has it put aside.

use std::path::Path;

use serde_json::{Value, json};

use super::Context;
use super::commands::{confirm, show};
use super::progress::Bar;
use super::up::{known_passphrase, read_passphrase};
use crate::control::{Code, Failure};
use crate::daemon::Preparation;
use crate::daemon::repair::{Finding, repair};

pub(super) fn run(context: &Context, check: bool, passphrase_file: Option<&Path>) -> Result<(), Failure> {
    if !context.data.join("keys").exists() {
        return Err(Failure::new(Code::NotFound, format!("there is no node in {}", context.data.display()))
            .hint("say where it is with --data-dir"));
    }
    let preparation = Preparation::open(&context.data)?;
    let passphrase = match passphrase_file {
        Some(file) => Some(read_passphrase(file)?),
        None => known_passphrase(context, &preparation)?,
    };
    let bar = Bar::new(context, "reading");
    let mut found = Vec::new();
    let mut consent = |findings: &[Finding]| {
        bar.clear();
        found = findings.to_vec();
        if check {
            return Err(Failure::new(Code::Failed, "only looked"));
        }
        context.output.say("Damaged:");
        findings.iter().for_each(|finding| tell(context, finding));
        confirm(
            context,
            "The damaged files are copied into the folder corrupt, messages that cannot be read are taken out of their \
             folders, and a message in INBOX names them. A backup may have more. Do it?",
        )
    };
    let result = repair(&preparation, passphrase, &mut consent, &mut |done, total| bar.set(done, total));
    bar.clear();
    let repaired = match result {
        Ok(_) => !found.is_empty(),
        Err(_) if check && !found.is_empty() => false,
        Err(failure) => return Err(failure),
    };
    let findings: Vec<Value> = found.iter().map(describe).collect();
    show(context, json!({ "findings": findings, "repaired": repaired }), |_| match (found.is_empty(), repaired) {
        (true, _) => "Everything was read; nothing is damaged.".to_owned(),
        (false, true) => "Repaired. Start the daemon with: runepeer up".to_owned(),
        (false, false) => found.iter().flat_map(Finding::lines).collect::<Vec<_>>().join("\n"),
    });
    Ok(())
}

fn tell(context: &Context, finding: &Finding) {
    context.output.say(format!("{}:", finding.address));
    finding.lines().iter().for_each(|line| context.output.say(format!("  {line}")));
}

fn describe(finding: &Finding) -> Value {
    let unreadable: Vec<Value> = finding
        .unreadable
        .iter()
        .map(|(folder, uid, date)| json!({ "folder": folder, "uid": uid, "date": date.rfc3339() }))
        .collect();
    json!({ "address": finding.address, "damage": finding.damage, "unreadable": unreadable })
}
