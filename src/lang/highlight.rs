//! Colours for a text, from its tokens alone: a text that is wrong, or not finished, has them too.

use std::ops::Range;

use super::token::{Bad, Symbol, TokenKind, lex};

/// What a piece of a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HighlightClass {
    /// A word of the language.
    Keyword,
    /// A kind, a type, a field.
    Name,
    /// In quotes.
    Text,
    /// Numbers, durations and dates.
    Number,
    /// `#1207`.
    Position,
    /// `$name`.
    Param,
    /// What is not read.
    Comment,
    /// Brackets, commas, operators.
    Symbol,
    /// What no token begins with.
    Error,
}

/// The pieces in order; the space between them has no class.
pub(super) fn highlight(text: &str) -> Vec<(Range<usize>, HighlightClass)> {
    let mut after_dot = false;
    let mut pieces = Vec::new();
    for token in lex(text) {
        let class = match token.kind {
            // What follows a dot is a name, whatever the word.
            TokenKind::Keyword(_) if after_dot => HighlightClass::Name,
            TokenKind::Keyword(_) => HighlightClass::Keyword,
            TokenKind::Word | TokenKind::Quoted | TokenKind::Bad(Bad::UnclosedName) => HighlightClass::Name,
            TokenKind::Text | TokenKind::Bad(Bad::UnclosedText) => HighlightClass::Text,
            TokenKind::Int | TokenKind::Number | TokenKind::Duration | TokenKind::Date | TokenKind::Mixed => {
                HighlightClass::Number
            }
            TokenKind::Position => HighlightClass::Position,
            TokenKind::Param => HighlightClass::Param,
            TokenKind::Comment | TokenKind::Bad(Bad::UnclosedComment) => HighlightClass::Comment,
            TokenKind::Symbol(_) => HighlightClass::Symbol,
            TokenKind::Bad(_) => HighlightClass::Error,
            TokenKind::End => continue,
        };
        after_dot = token.kind == TokenKind::Symbol(Symbol::Dot);
        pieces.push((token.span.range(), class));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_has_its_class() {
        use HighlightClass::*;
        let text = "emit Order.at 42 {a: 'x'} -- c\n#1 $p \0 'open";
        let pieces: Vec<_> =
            crate::lang::highlight(text).into_iter().map(|(range, class)| (&text[range], class)).collect();
        assert_eq!(
            pieces,
            [
                ("emit", Keyword),
                ("Order", Keyword),
                (".", Symbol),
                ("at", Name),
                ("42", Number),
                ("{", Symbol),
                ("a", Name),
                (":", Symbol),
                ("'x'", Text),
                ("}", Symbol),
                ("-- c", Comment),
                ("#1", Position),
                ("$p", Param),
                ("\0", Error),
                ("'open", Text),
            ]
        );
    }
}
