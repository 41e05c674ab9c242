//! Faults of binding: like those of parsing, they point at the text.

use crate::error::{SyntaxFault, shorten};
use crate::lang::ast::Span;

/// A fault at a place of a text.
pub(super) fn fault(
    text: &str,
    statement: usize,
    span: Span,
    message: String,
    suggestion: Option<String>,
) -> SyntaxFault {
    let before = text.get(..span.start()).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let source_line = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    SyntaxFault {
        message,
        offset: span.start(),
        length: span.end().saturating_sub(span.start()),
        line: before.bytes().filter(|b| *b == b'\n').count() + 1,
        column: before.get(start..).unwrap_or_default().chars().count() + 1,
        source_line: source_line.to_owned(),
        expected: Vec::new(),
        found: shorten(text.get(span.range()).unwrap_or_default()),
        suggestion,
        incomplete: false,
        statement,
    }
}

/// The candidate that differs least from a word, if it is near enough to have been meant.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (word.chars().count() / 3).max(1);
    let near = candidates.into_iter().map(|candidate| (distance(word, candidate), candidate));
    near.filter(|(distance, _)| *distance <= most).min_by_key(|(distance, _)| *distance).map(|(_, near)| near)
}

/// How far apart two words are; upper and lower case are one.
fn distance(a: &str, b: &str) -> usize {
    let letters = |text: &str| text.chars().flat_map(char::to_lowercase).collect::<Vec<_>>();
    crate::lang::distance(&letters(a), &letters(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_near() {
        let names = ["timestamp", "target", "type", "data"];
        assert_eq!(nearest("timstamp", names), Some("timestamp"));
        assert_eq!(nearest("Data", names), Some("data"));
        assert_eq!(nearest("tpye", names), Some("type"));
        assert_eq!(nearest("total", names), None);
    }
}
