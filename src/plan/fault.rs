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

/// The same of a text that may be a secret: neither the line nor what was found shows what stands there.
pub(super) fn hidden(fault: SyntaxFault) -> SyntaxFault {
    let (mut left, mut shown) = (fault.length, String::new());
    for (at, c) in fault.source_line.chars().enumerate() {
        if at + 1 < fault.column || left == 0 {
            shown.push(c);
        } else {
            // As long as it was, so that what points at it still does.
            shown.push_str(&"*".repeat(c.len_utf8()));
            left = left.saturating_sub(c.len_utf8());
        }
    }
    SyntaxFault { source_line: shown, found: "a text".to_owned(), ..fault }
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
    fn what_is_hidden_is_neither_in_the_line_nor_in_what_was_found() {
        let text = "SHOW\nü SECRET 'päss\nword' x";
        let at = text.find('\'').unwrap();
        let fault = fault(text, 1, Span::new(at, text.len() - 2), "wrong".to_owned(), None);
        assert_eq!((fault.source_line.as_str(), fault.column), ("ü SECRET 'päss", 10));
        let fault = hidden(fault);
        assert_eq!((fault.source_line.as_str(), fault.found.as_str()), ("ü SECRET ******", "a text"));
        let whole = hidden(SyntaxFault { source_line: "ü SECRET 'key' x".to_owned(), length: 5, ..fault });
        assert_eq!(whole.source_line, "ü SECRET ***** x");
    }

    #[test]
    fn the_nearest_is_near() {
        let names = ["timestamp", "target", "type", "data"];
        assert_eq!(nearest("timstamp", names), Some("timestamp"));
        assert_eq!(nearest("Data", names), Some("data"));
        assert_eq!(nearest("tpye", names), Some("type"));
        assert_eq!(nearest("total", names), None);
    }
}
