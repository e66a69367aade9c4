//! `runepeer send`, `ls` and `read`: messages without a mail program.

use std::path::Path;

use data_encoding::BASE64;

use super::Context;
use super::args::Send;
use super::show::{read_stdin, show};
use crate::control::reply;
use crate::control::{Attachment, Code, Command, Draft, Failure};

pub(super) fn send(context: &Context, message: &Send) -> Result<(), Failure> {
    let attachments = message.attachments.iter().map(|path| attachment(path)).collect::<Result<Vec<_>, _>>()?;
    let text = read_stdin("Write the message, then press Enter and Ctrl-D:", crate::base::limits::MESSAGE_BYTES)?;
    let (subject, important) = (message.subject.clone(), message.important);
    let (cc, bcc) = (message.cc.clone(), message.bcc.clone());
    let draft = Draft { cc, bcc, subject, text, important, attachments };
    let queued: reply::QueueId = context.ask(Command::Send { to: message.to.clone(), draft })?;
    show(context, &queued, |queued| format!("queued as {}", queued.id));
    Ok(())
}

fn attachment(path: &Path) -> Result<Attachment, Failure> {
    let unreadable = |error: String| Failure::new(Code::Failed, format!("cannot attach {}: {error}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    let name = path.file_name().ok_or_else(|| unreadable("it has no name".into()))?;
    Ok(Attachment { name: name.to_string_lossy().into_owned(), base64: BASE64.encode(&bytes) })
}

pub(super) fn ls(context: &Context, folder: String) -> Result<(), Failure> {
    let line = |message: &reply::FolderMessage| {
        let reply::FolderMessage { uid, date, from, subject, problem, .. } = message;
        let new = if message.seen { " " } else { "N" };
        format!("{uid:>6} {new} {date}  {from}  {}\n", problem.as_ref().unwrap_or(subject))
    };
    let folder: reply::Folder = context.ask(Command::Ls { folder })?;
    show(context, &folder, |folder| folder.messages.iter().map(line).collect());
    Ok(())
}

pub(super) fn read(context: &Context, folder: String, uid: u32) -> Result<(), Failure> {
    let read: reply::Message = context.ask(Command::Read { folder, uid })?;
    if context.output.is_json() {
        context.output.object(&read);
        return Ok(());
    }
    let message = BASE64
        .decode(read.message.as_bytes())
        .map_err(|_| Failure::new(Code::Failed, "the daemon's answer cannot be read"))?;
    context.output.bytes(&message);
    Ok(())
}
