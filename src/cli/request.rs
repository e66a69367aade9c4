//! `runepeer request`: what waits for a decision of the user.

use super::Context;
use super::args::Request;
use super::show::{done, show};
use crate::control::reply::{self, Done, RequestKind, WaitingRequest};
use crate::control::{Command, Failure};

pub(super) fn run(context: &Context, verb: Request) -> Result<(), Failure> {
    match verb {
        Request::List => {
            let waiting: reply::Requests = context.ask(Command::RequestList)?;
            show(context, &waiting, |waiting| waiting.requests.iter().map(line).collect());
        }
        Request::Accept { what } => {
            context.ask::<Done>(Command::RequestDecide { what, accept: true })?;
            done(context, "Accepted.");
        }
        Request::Reject { what } => {
            context.ask::<Done>(Command::RequestDecide { what, accept: false })?;
            done(context, "Rejected. Nobody is told.");
        }
    }
    Ok(())
}

/// How many digits of an id are shown: those of 200 introductions differ in as many.
const DIGITS: usize = 8;

fn line(request: &WaitingRequest) -> String {
    let WaitingRequest { id, kind, from, address, others, at } = request;
    let short = id.get(..DIGITS).unwrap_or(id);
    match (kind, address) {
        (RequestKind::Stranger, _) => format!("{from}  {id}  asks to become your contact  {at}\n"),
        (RequestKind::Ask, _) if others.is_some() => {
            let people = others.unwrap_or_default();
            format!("{short}  {from} has a message for you and {people} more, all of whom would see each other  {at}\n")
        }
        (RequestKind::Ask, _) => format!("{short}  {from} would like to introduce you to somebody  {at}\n"),
        (RequestKind::Introduction, Some(address)) => format!("{short}  {from} introduces {address} to you  {at}\n"),
        (RequestKind::Introduction, None) => format!("{short}  {from} introduces somebody to you  {at}\n"),
    }
}
