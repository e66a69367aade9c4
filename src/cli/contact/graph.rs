//! `runepeer contact graph`: who came into the address book how, as text or as a picture. It is drawn here and sent nowhere.

mod svg;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use crate::cli::Context;
use crate::cli::output::write_private;
use crate::cli::show::show;
use crate::control::reply::{Contact, Contacts, Identity, Meeting, Met};
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
    /// Who introduced the contact.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    at: String,
    /// The words beside the name of the contact; `--json` leaves them out.
    #[serde(skip)]
    more: String,
}

pub(super) fn run(context: &Context, svg: Option<&Path>) -> Result<(), Failure> {
    let own: Identity = context.ask(Command::IdentityShow)?;
    let known: Contacts = context.ask(Command::ContactList)?;
    let edges = known.contacts.iter().flat_map(edges).collect();
    let graph = Graph { identity: own.name, edges };
    if let Some(path) = svg {
        write_private(path, svg::drawn(&graph).as_bytes())?;
        context.output.say(format!("Graph written to {}. Whoever gets the file learns whom you know.", path.display()));
        if !context.output.is_json() {
            return Ok(());
        }
    }
    show(context, &graph, drawn);
    Ok(())
}

/// The ways by which a contact came: each once, with its first time.
fn edges(contact: &Contact) -> Vec<Edge> {
    let verified = if contact.verified_at.is_some() { ", verified" } else { "" };
    let mut edges: Vec<Edge> = Vec::new();
    for step in direct(&contact.met).chain(introductions(&contact.met)) {
        if edges.iter().all(|edge| edge.how != step.how || edge.by != step.by) {
            let (petname, at, by) = (contact.petname.clone(), step.at.clone(), step.by.clone());
            edges.push(Edge { petname, how: step.how, by, at, more: format!("{}{verified}", contact.status) });
        }
    }
    edges
}

fn introductions(met: &[Meeting]) -> impl Iterator<Item = &Meeting> {
    met.iter().filter(|step| step.how == Met::Introduced)
}

/// The steps that are no part of an introduction. Whoever is introduced uses an invitation that came with the introduction: where
/// somebody introduced a contact before its first step, that step is this one.
fn direct(met: &[Meeting]) -> impl Iterator<Item = &Meeting> {
    let mut steps = met.iter().filter(|step| step.how != Met::Introduced).peekable();
    // Times of this form are in the order of their texts.
    let first = steps.peek().map(|step| step.at.clone());
    let explained = first.is_some_and(|first| introductions(met).any(|introduction| introduction.at <= first));
    steps.skip(usize::from(explained))
}

/// The graph as a tree: the identity, the ways, the people who came by each; below everybody those whom they introduced.
fn drawn(graph: &Graph) -> String {
    let own = &graph.identity;
    let ways = [
        (Met::InvitationMade, format!("used an invitation of {own}")),
        (Met::InvitationUsed, format!("{own} used their invitation")),
        (Met::Unasked, "wrote without a private invitation".to_owned()),
        (Met::Introduced, "introduced by somebody who is no contact any more".to_owned()),
    ];
    let mut tree = Tree { graph, shown: BTreeSet::new(), drawn: format!("{own}\n") };
    let mut groups: Vec<(String, Vec<&Edge>)> = Vec::new();
    for (how, words) in ways {
        groups.push((words, graph.edges.iter().filter(|edge| edge.how == how && edge.by.is_none()).collect()));
    }
    // Two contacts may have introduced each other to the identity, and nobody else did: they stand below no other.
    let mut below: BTreeSet<&str> =
        groups.iter().flat_map(|(_, edges)| edges).map(|edge| edge.petname.as_str()).collect();
    loop {
        let by = |edge: &&Edge| edge.by.as_deref().is_some_and(|by| below.contains(by));
        let more: Vec<&str> = graph.edges.iter().filter(by).map(|edge| edge.petname.as_str()).collect();
        let known = below.len();
        below.extend(more);
        if below.len() > known {
            continue;
        }
        let Some(left) = graph.edges.iter().find(|edge| !below.contains(edge.petname.as_str())) else { break };
        groups.push((format!("introduced by {}", left.by.as_deref().unwrap_or_default()), vec![left]));
        below.insert(&left.petname);
    }
    groups.retain(|(_, edges)| !edges.is_empty());
    let count = groups.len();
    for (number, (words, edges)) in groups.into_iter().enumerate() {
        let (branch, line) = branch(number + 1 == count);
        let _ = writeln!(tree.drawn, "{branch} {words}");
        tree.people(&edges, line, false);
    }
    tree.drawn
}

/// The branch to something, and what stands before the lines below it.
const fn branch(is_last: bool) -> (&'static str, &'static str) {
    if is_last { ("\u{2514}\u{2500}", "   ") } else { ("\u{251c}\u{2500}", "\u{2502}  ") }
}

/// A tree that is being drawn.
struct Tree<'g> {
    graph: &'g Graph,
    /// Those below whom the people whom they introduced stand already.
    shown: BTreeSet<&'g str>,
    drawn: String,
}

impl<'g> Tree<'g> {
    fn people(&mut self, edges: &[&'g Edge], indent: &str, by_introduction: bool) {
        for (number, edge) in edges.iter().enumerate() {
            let Edge { petname, at, more, by, .. } = edge;
            let (branch, line) = branch(number + 1 == edges.len());
            let how = match by {
                Some(by) if by_introduction => format!("introduced by {by}  "),
                _ => String::new(),
            };
            let _ = writeln!(self.drawn, "{indent}{branch} {petname}  {how}{at}  {more}");
            if self.shown.insert(petname) {
                let introduced = self.graph.edges.iter().filter(|other| other.by.as_ref() == Some(petname));
                let introduced: Vec<&Edge> = introduced.collect();
                self.people(&introduced, &format!("{indent}{line}"), true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: &str = "2026-11-30T12:00:00Z";

    pub(super) fn edge(petname: &str, how: Met, more: &str) -> Edge {
        Edge { petname: petname.to_owned(), how, by: None, at: AT.to_owned(), more: more.to_owned() }
    }

    pub(super) fn introduced(petname: &str, by: &str) -> Edge {
        Edge { by: Some(by.to_owned()), ..edge(petname, Met::Introduced, "confirmed") }
    }

    fn text(edges: Vec<Edge>) -> String {
        drawn(&Graph { identity: "alice".to_owned(), edges })
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
        assert_eq!(text(edges), expected);
        assert_eq!(text(Vec::new()), "alice\n");
    }

    #[test]
    fn whoever_was_introduced_stands_below_each_introducer() {
        let edges = vec![
            edge("bob", Met::InvitationMade, "confirmed"),
            edge("carol", Met::InvitationUsed, "confirmed"),
            introduced("dora", "bob"),
            introduced("dora", "carol"),
            introduced("emil", "dora"),
            edge("frida", Met::Introduced, "confirmed"),
        ];
        let expected = "\
alice
\u{251c}\u{2500} used an invitation of alice
\u{2502}  \u{2514}\u{2500} bob  2026-11-30T12:00:00Z  confirmed
\u{2502}     \u{2514}\u{2500} dora  introduced by bob  2026-11-30T12:00:00Z  confirmed
\u{2502}        \u{2514}\u{2500} emil  introduced by dora  2026-11-30T12:00:00Z  confirmed
\u{251c}\u{2500} alice used their invitation
\u{2502}  \u{2514}\u{2500} carol  2026-11-30T12:00:00Z  confirmed
\u{2502}     \u{2514}\u{2500} dora  introduced by carol  2026-11-30T12:00:00Z  confirmed
\u{2514}\u{2500} introduced by somebody who is no contact any more
   \u{2514}\u{2500} frida  2026-11-30T12:00:00Z  confirmed
";
        assert_eq!(text(edges), expected);
    }

    #[test]
    fn a_circle_of_introductions_is_drawn_and_nobody_is_left_out() {
        let circle = text(vec![introduced("bob", "carol"), introduced("carol", "bob")]);
        assert!(circle.contains("introduced by carol\n") && circle.contains("carol  introduced by bob"), "{circle}");
        assert!(circle.lines().count() < 8, "{circle}");
        let own = text(vec![edge("bob", Met::InvitationMade, "confirmed"), introduced("bob", "bob")]);
        assert!(own.lines().count() < 6, "{own}");
    }

    #[test]
    fn the_invitation_of_an_introduction_is_no_way_of_its_own() {
        let step = |how, at: &str, by: Option<&str>| Meeting { at: at.to_owned(), how, by: by.map(str::to_owned) };
        let ways = |met: &[Meeting]| direct(met).map(|step| step.how).collect::<Vec<_>>();
        let (early, late) = ("2026-11-30T12:00:00Z", "2026-11-30T13:00:00Z");
        let by_bob = step(Met::Introduced, early, Some("bob"));
        assert!(ways(&[step(Met::InvitationUsed, early, None), by_bob.clone()]).is_empty());
        assert!(ways(&[step(Met::InvitationMade, late, None), by_bob.clone()]).is_empty());
        let later = step(Met::Introduced, late, Some("bob"));
        assert_eq!(ways(&[step(Met::InvitationUsed, early, None), later]), [Met::InvitationUsed]);
        let twice = [step(Met::InvitationUsed, early, None), step(Met::InvitationMade, late, None), by_bob];
        assert_eq!(ways(&twice), [Met::InvitationMade], "met again by themselves");
    }
}
