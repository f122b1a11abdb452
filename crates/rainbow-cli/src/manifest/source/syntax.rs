//! Mistakes in the syntax of YAML, in the words of its users.

use granit_parser::{ErrorKind, ScanError};

use super::{Flaw, Place};

/// Returns a mistake in the syntax as a flaw, for people who do not know YAML's grammar.
pub(super) fn flaw(error: &ScanError, text: &str) -> Flaw {
    let mut place = Place::of(error.marker());
    let line = |number: usize| text.lines().nth(number.saturating_sub(1)).unwrap_or_default();
    // The parser notices a tab in the indentation before or after the line that has it.
    let is_tabbed = |number: &usize| {
        let line = line(*number);
        line[..line.len() - line.trim_start().len()].contains('\t')
    };
    if let Some(tabbed) = [place.line, place.line + 1, place.line.saturating_sub(1)].iter().find(|line| is_tabbed(line))
    {
        let column = line(*tabbed).find('\t').unwrap_or_default() + 1;
        return super::flaw(Place { line: *tabbed, column }, "the line is indented by a tab: YAML takes spaces only");
    }
    let count = text.lines().count().max(1);
    if place.line > count {
        place = Place { line: count, column: line(count).chars().count().max(1) };
    }
    super::flaw(place, explain(error.kind()))
}

/// Returns the message for a mistake in the syntax.
fn explain(kind: &ErrorKind) -> String {
    use ErrorKind as K;
    match kind {
        K::UnclosedFlowCollection { open } => {
            let close = if *open == '[' { ']' } else { '}' };
            format!("`{open}` has no `{close}`: close it")
        }
        K::UnexpectedEofFlowSequence | K::ExpectedFlowSequenceSeparator => {
            "the list in `[…]` does not go on or end here: write `,` or `]`".into()
        }
        K::UnexpectedEofFlowMapping | K::UnexpectedEofImplicitFlowMapping | K::ExpectedFlowMappingSeparator => {
            "the map in `{…}` does not go on or end here: write `,` or `}`".into()
        }
        K::MisplacedFlowCollectionEnd => "a bracket closes here that nothing has opened: take it out".into(),
        K::MismatchedFlowCollectionEnd { open, close } => {
            format!("`{open}` is closed by `{close}`: close it by its own bracket")
        }
        K::UnclosedQuotedScalar | K::DocumentIndicatorInQuotedScalar | K::InvalidQuotedScalarIndent => {
            "a quote has no end: write the same quote after the text".into()
        }
        K::InvalidTrailingSingleQuotedScalar | K::InvalidTrailingDoubleQuotedScalar => {
            "something follows the closing quote: put the whole text in quotes".into()
        }
        K::UnknownQuotedScalarEscape | K::InvalidQuotedScalarHexEscape | K::InvalidUnicodeEscape => {
            "`\\` in double quotes begins no escape that YAML knows: use single quotes, or write `\\\\`".into()
        }
        K::UnknownAnchor => "the alias has no anchor above it: define it with `&NAME`".into(),
        K::MappingValueNotAllowed | K::InvalidColonPlacement | K::SimpleKeyExpected | K::InvalidSimpleKey => {
            "the line is no `key: value` here: check its indentation and its colon, and put a text with `: ` in quotes"
                .into()
        }
        K::ExpectedBlockMappingKey
        | K::InvalidIndentation
        | K::ExpectedBlockSequenceEntry
        | K::ExpectedDocumentStart => {
            "the line does not fit what is above it: indent it like the lines beside it".into()
        }
        K::BlockSequenceEntryNotAllowed | K::InvalidBlockEntryWhitespace | K::BlockEntryInFlowCollection => {
            "an entry of a list, `- `, is not possible here: begin a line with it".into()
        }
        K::UnexpectedCharacter { character } => {
            format!("a value cannot begin with `{}`: put it in quotes", character.escape_default())
        }
        K::TabNotAllowed
        | K::TabInBlockIndentation
        | K::TabInIndentation
        | K::TabInPlainScalar
        | K::TabAtBlockScalarStart => "a tab is not possible here: YAML takes spaces only".into(),
        K::InvalidBlockScalarIndent | K::InvalidFlowScalarIndent => {
            "the line of a longer text is indented less than its first: indent it as much".into()
        }
        K::UndeclaredTagHandle | K::MissingTagUri | K::InvalidTagTerminator | K::ExpectedTagBang => {
            "`!` begins a type that is not known: put the value in quotes".into()
        }
        _ => "this is no YAML: check the indentation, colons and quotes of the line".into(),
    }
}
