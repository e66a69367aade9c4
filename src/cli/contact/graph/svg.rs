//! The graph as a picture: SVG, of lines and text alone. Nothing in it is fetched from anywhere, and nothing of it runs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Edge, Graph};
use crate::control::reply::Met;

/// Pixels between two people below each other, and from one column to the next.
const ROW: usize = 36;
const COLUMN: usize = 260;
/// Pixels around everything.
const MARGIN: usize = 40;
/// Characters of a name that are drawn; longer ones are cut.
const NAME: usize = 30;

/// The colour of a way, and its words. The colours differ also for those who do not see all of them: dark and light, and each
/// introduction is dashed as well.
const WAYS: [(Met, &str, &str); 4] = [
    (Met::InvitationMade, "#1f5fa8", "used your invitation"),
    (Met::InvitationUsed, "#2e8b57", "you used their invitation"),
    (Met::Unasked, "#c8641e", "wrote without a private invitation"),
    (Met::Introduced, "#8e3ba8", "introduced by a contact"),
];

/// The picture. The identity stands at the left, whoever came by themselves in the next column, and whoever was introduced in the
/// column after that of an introducer.
pub(super) fn drawn(graph: &Graph) -> String {
    let columns = columns(graph);
    let mut rows: BTreeMap<usize, usize> = BTreeMap::new();
    let mut places: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for edge in &graph.edges {
        let name = edge.petname.as_str();
        if !places.contains_key(name) {
            let column = columns.get(name).copied().unwrap_or(1);
            let row = rows.entry(column).or_default();
            places.insert(name, (column, *row));
            *row += 1;
        }
    }
    let (deepest, tallest) = (columns.values().max().copied().unwrap_or(0), rows.values().max().copied().unwrap_or(1));
    let (width, height) = (2 * MARGIN + (deepest + 1) * COLUMN, 2 * MARGIN + (tallest + WAYS.len()) * ROW);
    let mut picture = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" \
         height=\"{height}\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"14\">\n\
         <title>Contacts of {}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
        escaped(&graph.identity)
    );
    let own = (0, tallest.saturating_sub(1) / 2);
    for edge in &graph.edges {
        let from = edge.by.as_ref().and_then(|by| places.get(by.as_str())).copied().unwrap_or(own);
        if let Some(to) = places.get(edge.petname.as_str()) {
            line(&mut picture, edge, from, *to);
        }
    }
    person(&mut picture, &graph.identity, "", own);
    let mut drawn = BTreeMap::new();
    for edge in &graph.edges {
        if let (Some(place), None) = (places.get(edge.petname.as_str()), drawn.insert(&edge.petname, ())) {
            person(&mut picture, &edge.petname, &edge.more, *place);
        }
    }
    for (number, (how, colour, words)) in WAYS.iter().enumerate() {
        let y = MARGIN + (tallest + number) * ROW + ROW / 2;
        let (end, text) = (MARGIN + 30, MARGIN + 40);
        let dashes = dashes(*how);
        let _ = writeln!(
            picture,
            "<line x1=\"{MARGIN}\" y1=\"{y}\" x2=\"{end}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"2\"{dashes}/>\
             <text x=\"{text}\" y=\"{}\" fill=\"#333333\">{words}</text>",
            y + 5
        );
    }
    picture.push_str("</svg>\n");
    picture
}

/// The column of everybody: the next after that of the identity, or of the introducer who is nearest to it.
fn columns(graph: &Graph) -> BTreeMap<&str, usize> {
    let mut columns: BTreeMap<&str, usize> = BTreeMap::new();
    for edge in graph.edges.iter().filter(|edge| edge.by.is_none()) {
        columns.insert(&edge.petname, 1);
    }
    let mut column = 1;
    loop {
        let next: Vec<&str> = graph
            .edges
            .iter()
            .filter(|edge| !columns.contains_key(edge.petname.as_str()))
            .filter(|edge| edge.by.as_ref().is_some_and(|by| columns.get(by.as_str()) == Some(&column)))
            .map(|edge| edge.petname.as_str())
            .collect();
        if next.is_empty() {
            return columns;
        }
        column += 1;
        columns.extend(next.into_iter().map(|name| (name, column)));
    }
}

/// Where somebody stands, in pixels.
const fn at((column, row): (usize, usize)) -> (usize, usize) {
    (MARGIN + column * COLUMN, MARGIN + row * ROW + ROW / 2)
}

fn line(picture: &mut String, edge: &Edge, from: (usize, usize), to: (usize, usize)) {
    let colour = WAYS.iter().find(|(how, ..)| *how == edge.how).map_or("#333333", |(_, colour, _)| colour);
    let ((x1, y1), (x2, y2)) = (at(from), at(to));
    let middle = x1.midpoint(x2);
    let words = match &edge.by {
        Some(by) => format!("{}: introduced by {by}, {}", edge.petname, edge.at),
        None => format!("{}: {}", edge.petname, edge.at),
    };
    let _ = writeln!(
        picture,
        "<path d=\"M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}\" fill=\"none\" stroke=\"{colour}\" \
         stroke-width=\"2\"{}><title>{}</title></path>",
        dashes(edge.how),
        escaped(&words)
    );
}

const fn dashes(how: Met) -> &'static str {
    match how {
        Met::Introduced => " stroke-dasharray=\"6 4\"",
        _ => "",
    }
}

fn person(picture: &mut String, name: &str, more: &str, place: (usize, usize)) {
    let (x, y) = at(place);
    let shown: String = if name.chars().count() > NAME {
        name.chars().take(NAME - 1).chain(['\u{2026}']).collect()
    } else {
        name.to_owned()
    };
    let fill = if more.contains("verified") { "#1f5fa8" } else { "#ffffff" };
    let title = if more.is_empty() { name.to_owned() } else { format!("{name}: {more}") };
    let _ = writeln!(
        picture,
        "<circle cx=\"{x}\" cy=\"{y}\" r=\"6\" fill=\"{fill}\" stroke=\"#333333\" stroke-width=\"1.5\"><title>{}</title></circle>\
         <text x=\"{}\" y=\"{}\" fill=\"#111111\">{}</text>",
        escaped(&title),
        x + 12,
        y.saturating_sub(8),
        escaped(&shown)
    );
}

/// Text that means nothing else in XML. Characters that XML does not allow are left out.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => {}
            other if other.is_control() => {}
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::tests::{edge, introduced};
    use super::*;

    fn picture(edges: Vec<Edge>) -> String {
        drawn(&Graph { identity: "alice".to_owned(), edges })
    }

    #[test]
    fn each_way_has_its_colour_and_an_introduction_begins_at_the_introducer() {
        let drawn = picture(vec![
            edge("bob", Met::InvitationMade, "confirmed, verified"),
            edge("carol", Met::InvitationUsed, "confirmed"),
            edge("mallory", Met::Unasked, "request"),
            introduced("dora", "bob"),
            introduced("dora", "carol"),
        ]);
        for (_, colour, words) in WAYS {
            assert!(drawn.matches(colour).count() >= 2, "{words}: a line and the legend");
        }
        let (bob, carol, dora) = (at((1, 0)), at((1, 1)), at((2, 0)));
        for (x, y) in [bob, carol] {
            let path = format!("<path d=\"M{x} {y} C");
            let line = drawn.lines().find(|line| line.starts_with(&path)).unwrap();
            assert!(line.contains(&format!(" {} {}\"", dora.0, dora.1)) && line.contains("introduced by"), "{line}");
        }
        for name in ["alice", "bob", "carol", "dora", "mallory"] {
            assert_eq!(drawn.matches(&format!(">{name}</text>")).count(), 1, "{name} is there once");
        }
    }

    #[test]
    fn no_name_becomes_a_part_of_the_picture() {
        let evil = "</text><script>alert(1)</script>\"'&\u{1b}[2J";
        let drawn = picture(vec![edge(evil, Met::Unasked, "request"), introduced(evil, evil)]);
        assert!(!drawn.contains("<script") && !drawn.contains('\u{1b}'), "{drawn}");
        assert!(drawn.contains("&lt;script&gt;"));
        assert_eq!(drawn.matches("<svg").count(), 1);
        // Every element that is opened is closed, and none has a name that we did not write.
        let known = [
            "?xml", "svg", "title", "rect", "path", "circle", "text", "line", "/svg", "/title", "/path", "/circle",
            "/text",
        ];
        for part in drawn.split('<').skip(1) {
            let name = part.split([' ', '>', '/']).next().unwrap_or_default();
            let name = if name.is_empty() {
                format!("/{}", part.trim_start_matches('/').split('>').next().unwrap())
            } else {
                name.to_owned()
            };
            assert!(known.contains(&name.as_str()), "{name}");
        }
    }

    #[test]
    fn people_who_introduced_each_other_and_nobody_at_all_are_drawn() {
        assert!(picture(vec![introduced("bob", "carol"), introduced("carol", "bob")]).contains(">carol</text>"));
        assert!(picture(Vec::new()).ends_with("</svg>\n"));
    }
}
