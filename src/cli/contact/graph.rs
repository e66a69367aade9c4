//! `runepeer contact graph`: who came into the address book how. It is drawn here and sent nowhere.

use std::fmt::Write as _;

use serde::Serialize;

use crate::cli::Context;
use crate::cli::show::show;
use crate::control::reply::{Contact, Contacts, Identity, Met};
use crate::control::{Command, Failure};

/// What `--json` prints.
#[derive(Serialize)]
struct Graph {
    /// The identity whose address book it is.
    identity: String,
    edges: Vec<Edge>,
}

/// One way by which a contact came, the first time.
#[derive(Serialize)]
struct Edge {
    petname: String,
    how: Met,
    at: String,
    /// The words beside the name of the contact; `--json` leaves them out.
    #[serde(skip)]
    more: String,
}

pub(super) fn run(context: &Context) -> Result<(), Failure> {
    let own: Identity = context.ask(Command::IdentityShow)?;
    let known: Contacts = context.ask(Command::ContactList)?;
    let edges = known.contacts.iter().flat_map(edges).collect();
    show(context, &Graph { identity: own.name, edges }, drawn);
    Ok(())
}

/// The ways by which a contact came: each once, with its first time.
fn edges(contact: &Contact) -> Vec<Edge> {
    let verified = if contact.verified_at.is_some() { ", verified" } else { "" };
    let mut edges: Vec<Edge> = Vec::new();
    for step in &contact.met {
        if edges.iter().all(|edge| edge.how != step.how) {
            let (petname, at) = (contact.petname.clone(), step.at.clone());
            edges.push(Edge { petname, how: step.how, at, more: format!("{}{verified}", contact.status) });
        }
    }
    edges
}

/// The graph as a tree: the identity, the ways, the people who came by each.
fn drawn(graph: &Graph) -> String {
    let own = &graph.identity;
    let ways = [
        (Met::InvitationMade, format!("used an invitation of {own}")),
        (Met::InvitationUsed, format!("{own} used their invitation")),
        (Met::Unasked, "wrote without a private invitation".to_owned()),
    ];
    let of = |how: Met| graph.edges.iter().filter(move |edge| edge.how == how);
    let mut drawn = format!("{own}\n");
    let mut ways = ways.iter().filter(|(how, _)| of(*how).next().is_some()).peekable();
    while let Some((how, words)) = ways.next() {
        let (branch, line) =
            if ways.peek().is_some() { ("\u{251c}\u{2500}", "\u{2502}  ") } else { ("\u{2514}\u{2500}", "   ") };
        let _ = writeln!(drawn, "{branch} {words}");
        let mut people = of(*how).peekable();
        while let Some(Edge { petname, at, more, .. }) = people.next() {
            let branch = if people.peek().is_some() { "\u{251c}\u{2500}" } else { "\u{2514}\u{2500}" };
            let _ = writeln!(drawn, "{line}{branch} {petname}  {at}  {more}");
        }
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(petname: &str, how: Met, more: &str) -> Edge {
        let at = "2026-11-30T12:00:00Z".to_owned();
        Edge { petname: petname.to_owned(), how, at, more: more.to_owned() }
    }

    #[test]
    fn everybody_stands_below_the_way_by_which_they_came() {
        let edges = vec![
            edge("bob", Met::InvitationMade, "confirmed, verified"),
            edge("bob", Met::InvitationUsed, "confirmed, verified"),
            edge("carol", Met::InvitationMade, "confirmed"),
        ];
        let expected = "\
alice
\u{251c}\u{2500} used an invitation of alice
\u{2502}  \u{251c}\u{2500} bob  2026-11-30T12:00:00Z  confirmed, verified
\u{2502}  \u{2514}\u{2500} carol  2026-11-30T12:00:00Z  confirmed
\u{2514}\u{2500} alice used their invitation
   \u{2514}\u{2500} bob  2026-11-30T12:00:00Z  confirmed, verified
";
        assert_eq!(drawn(&Graph { identity: "alice".to_owned(), edges }), expected);
        assert_eq!(drawn(&Graph { identity: "alice".to_owned(), edges: Vec::new() }), "alice\n");
    }
}
