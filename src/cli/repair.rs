//! `runepeer repair`: shows what is damaged, asks, and has it put aside.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use super::progress::Bar;
use super::show::{confirm, show};
use super::{Context, prompt};
use crate::control::{Code, Failure};
use crate::daemon::repair::{Finding, Unreadable, Waiting, examine, is_locked, prepare};

/// The findings, and what was done about them.
#[derive(Serialize)]
struct Answer<'a> {
    findings: Vec<Value>,
    repaired: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Failure>,
}

pub(super) fn run(context: &Context, check: bool, passphrase_file: Option<&Path>) -> Result<(), Failure> {
    let preparation = prepare(&context.data, check)?;
    let bar = Bar::new(context, "reading");
    let mut progress = |done, total| bar.set(done, total);
    let examination = if passphrase_file.is_some() || is_locked(&preparation)? {
        let question = match passphrase_file {
            Some(_) => "",
            None if !prompt::can_ask(context) => return Err(prompt::nobody_to_ask()),
            None => prompt::question(context, &preparation),
        };
        let examine = |passphrase| examine(&preparation, Some(passphrase), &mut progress);
        prompt::until_right(context, passphrase_file, question, examine)?
    } else {
        examine(&preparation, None, &mut progress)?
    };
    bar.clear();
    let found: Vec<Finding> = examination.findings().cloned().collect();
    let can_mend = found.iter().any(|finding| finding.hopeless.is_none());
    if can_mend && !check {
        context.output.say("Damaged:");
        found.iter().for_each(|finding| tell(context, finding));
        confirm(
            context,
            "The damaged files are copied into the folder corrupt, messages that cannot be read are taken out of their \
             folders, what waits and cannot be sent is given up, and messages in INBOX name all of it; what the \
             carrier holds for others and cannot read is given up too. A backup may have more. Do it?",
        )?;
    }
    if !check {
        examination.mend()?;
    }
    let findings: Vec<Value> = found.iter().map(describe).collect();
    let repaired = !check && !found.is_empty();
    let failure = (check && !found.is_empty()).then(|| {
        let failure = match found.iter().any(Finding::is_damage) {
            true => Failure::new(Code::Damaged, "what is stored is damaged; nothing was changed"),
            false => Failure::new(Code::Failed, "not everything can be read; nothing was changed"),
        };
        if can_mend { failure.hint("save what can still be read: runepeer repair") } else { failure }
    });
    show(context, &Answer { findings, repaired, error: failure.as_ref() }, |_| match (found.is_empty(), repaired) {
        (true, _) => "Everything was read; nothing is damaged.".to_owned(),
        (false, true) => "Repaired. Start the daemon with: runepeer up".to_owned(),
        (false, false) => found.iter().flat_map(Finding::lines).collect::<Vec<_>>().join("\n"),
    });
    match failure {
        // The message is already in the answer, since one command writes only one object.
        Some(failure) if context.output.is_json() => Err(Failure { message: String::new(), ..failure }),
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

fn tell(context: &Context, finding: &Finding) {
    context.output.say(format!("{}:", finding.address));
    finding.lines().iter().for_each(|line| context.output.say(format!("  {line}")));
}

fn path(file: Option<&PathBuf>) -> Option<String> {
    file.map(|file| file.display().to_string())
}

fn describe(finding: &Finding) -> Value {
    let unreadable = finding
        .unreadable
        .iter()
        .map(|Unreadable { folder, uid, date, file }| {
            json!({ "folder": folder, "uid": uid, "date": date.rfc3339(), "file": path(file.as_ref()) })
        });
    let waiting = finding
        .waiting
        .iter()
        .map(|Waiting { submitted, recipients, file }| {
            json!({ "submitted": submitted.rfc3339(), "recipients": recipients, "file": path(file.as_ref()) })
        });
    json!({
        "address": finding.address,
        "damage": finding.damage,
        "unreadable": unreadable.collect::<Vec<_>>(),
        "waiting": waiting.collect::<Vec<_>>(),
        "recovered_folders": finding.recovered,
        "disk_fails": finding.disk_fails,
        "hopeless": finding.hopeless,
    })
}
