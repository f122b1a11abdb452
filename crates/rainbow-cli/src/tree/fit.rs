//! Fit of a tree to the room.

use super::{Detail, Node};
use crate::{
    printer::DIM,
    terminal::{Charset, Room},
};

/// Longest headline, in lines.
const HEADLINE: usize = 3;

/// Draws the tree with the most details for which the room has lines. Where even the one with the fewest details is too long, nodes that change
/// come first, and the last line says how many lines are missing.
pub(super) fn choose(details: &[Detail], room: Room, tree: impl Fn(Detail) -> Node) -> String {
    // The cursor, or the shell's prompt, is on the line below.
    let rows = room.rows.map_or(usize::MAX, |rows| rows.saturating_sub(1).max(2));
    let mut lines = Vec::new();
    for detail in details {
        let mut tree = tree(*detail);
        lines = self::lines(&tree, room);
        if lines.len() <= rows {
            break;
        }
        if *detail == Detail::Stages {
            tree.children.sort_by_key(|node| !node.moves);
            lines = cropped(self::lines(&tree, room), rows);
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn cropped(mut lines: Vec<String>, rows: usize) -> Vec<String> {
    if lines.len() > rows {
        let missing = lines.len() - (rows - 1);
        lines.truncate(rows - 1);
        lines.push(format!("{DIM}… {missing} more lines{DIM:#}"));
    }
    lines
}

fn lines(root: &Node, room: Room) -> Vec<String> {
    let headline = Room { charset: Charset::Utf8, ..room }.wrap(&root.text);
    let mut lines: Vec<String> = headline.lines().map(str::to_owned).collect();
    if lines.len() > HEADLINE {
        lines.truncate(HEADLINE);
        let last = lines.pop().unwrap_or_default();
        lines.push(format!("{last} …{DIM:#}"));
    }
    below(root, "", &mut lines);
    lines
}

fn below(node: &Node, indent: &str, lines: &mut Vec<String>) {
    for (at, child) in node.children.iter().enumerate() {
        let (branch, further) = if at + 1 < node.children.len() { ("├─ ", "│  ") } else { ("└─ ", "   ") };
        lines.push(format!("{indent}{branch}{}", child.text.trim_end()));
        below(child, &format!("{indent}{further}"), lines);
    }
}
