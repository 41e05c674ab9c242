//! Whose names an expression may use at a place of a text, as far as the words before it tell: for what a prompt completes.

use super::ast::Span;
use super::keyword::Keyword as K;
use super::token::{Symbol, Token, TokenKind, lex};

/// What the names of an expression stand for. The kind, or the view, is the name as it is written, if it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ExpressionScope {
    /// The fields of events.
    Events,
    /// What the entities of a kind are: `FIND`, and an index or a view of states.
    Found(String),
    /// The fields of an event, and the state that it folds into.
    Fold(String),
    /// What a verb sees of an entity of a kind, and its arguments.
    Verb(String),
    /// The columns of a view.
    Columns(String),
    /// There is nothing to name: values are written.
    Values,
}

/// The scope at the end of a text.
pub(crate) fn scope(text: &str) -> ExpressionScope {
    let lexed = lex(text);
    let mut tokens: Vec<Token> =
        lexed.into_iter().filter(|t| !matches!(t.kind, TokenKind::Comment | TokenKind::End)).collect();
    let begun = begun(&tokens);
    tokens.drain(..begun);
    while matches!(tokens.first().map(|t| t.kind), Some(TokenKind::Keyword(K::Explain | K::Analyze))) {
        tokens.remove(0);
    }
    Statement { text, tokens }.scope()
}

/// What the end of a text is about: the last word before it, or what a type begins with. A kind, where an id comes next.
pub(crate) fn kind_before(text: &str) -> String {
    let lexed = lex(text);
    let mut tokens: Vec<Token> =
        lexed.into_iter().filter(|t| !matches!(t.kind, TokenKind::Comment | TokenKind::End)).collect();
    let joins = |tokens: &[Token]| match tokens {
        [.., first, dot, last] => {
            dot.kind == TokenKind::Symbol(Symbol::Dot)
                && first.span.range().end == dot.span.range().start
                && dot.span.range().end == last.span.range().start
        }
        _ => false,
    };
    while joins(&tokens) {
        tokens.truncate(tokens.len() - 2);
    }
    let last = tokens.len().saturating_sub(1);
    Statement { text, tokens }.name(last)
}

/// The names that a text gives behind `UNNEST … AS`, in the statement that is being typed.
pub(crate) fn aliases(text: &str) -> Vec<String> {
    let lexed = lex(text);
    let mut tokens: Vec<Token> =
        lexed.into_iter().filter(|t| !matches!(t.kind, TokenKind::Comment | TokenKind::End)).collect();
    let begun = begun(&tokens);
    tokens.drain(..begun);
    let statement = Statement { text, tokens };
    let mut names = Vec::new();
    let (mut at, mut unnests) = (0, false);
    while at < statement.tokens.len() {
        match statement.keyword(at) {
            Some(K::Unnest) => unnests = true,
            Some(K::As) if unnests => {
                names.push(statement.name(at + 1));
                let is_comma = |at: usize| {
                    statement.tokens.get(at).is_some_and(|t| t.kind == TokenKind::Symbol(Symbol::Comma))
                };
                if is_comma(at + 2) {
                    names.push(statement.name(at + 3));
                }
                unnests = false;
            }
            _ => {}
        }
        at += 1;
    }
    names.retain(|name| !name.is_empty());
    names
}

/// Where the statement begins that is being typed: semicolons in brackets are within one.
fn begun(tokens: &[Token]) -> usize {
    let (mut begun, mut depth) = (0, 0usize);
    for (at, token) in tokens.iter().enumerate() {
        match token.kind {
            TokenKind::Symbol(Symbol::LeftParen | Symbol::LeftBracket | Symbol::LeftBrace) => depth += 1,
            TokenKind::Symbol(symbol) if symbol.closes() => depth = depth.saturating_sub(1),
            TokenKind::Symbol(Symbol::Semicolon) if depth == 0 => begun = at + 1,
            _ => {}
        }
    }
    begun
}

struct Statement<'t> {
    text: &'t str,
    tokens: Vec<Token>,
}

impl Statement<'_> {
    fn scope(&self) -> ExpressionScope {
        match (self.keyword(0), self.keyword(1)) {
            (Some(K::Find), _) => ExpressionScope::Found(self.name(1)),
            (Some(K::Read), _) => ExpressionScope::Columns(self.name(1)),
            (Some(K::Subscribe), Some(K::View)) => ExpressionScope::Columns(self.name(2)),
            (Some(K::Emit | K::Perform | K::Atomic), _) => ExpressionScope::Values,
            (Some(K::Define), Some(K::Entity)) => ExpressionScope::Fold(self.name(2)),
            (Some(K::Define), Some(K::Verb)) => ExpressionScope::Verb(self.behind(K::On)),
            (Some(K::Define), Some(K::Reaction)) => ExpressionScope::Fold(self.kind_of_pattern()),
            (Some(K::Define), Some(K::Schedule)) => ExpressionScope::Values,
            (Some(K::Define), Some(K::View)) if self.place(K::Find).is_some() => {
                ExpressionScope::Found(self.behind(K::Find))
            }
            (Some(K::Define), Some(K::Index)) => match self.pattern() {
                // An index of states is on a kind, and of events on types, which have a dot.
                Some(on) if !on.contains(['.', '*', ',']) => ExpressionScope::Found(on),
                _ => ExpressionScope::Events,
            },
            _ => ExpressionScope::Events,
        }
    }

    fn keyword(&self, at: usize) -> Option<K> {
        match self.tokens.get(at)?.kind {
            TokenKind::Keyword(keyword) => Some(keyword),
            _ => None,
        }
    }

    fn place(&self, keyword: K) -> Option<usize> {
        self.tokens.iter().position(|token| token.kind == TokenKind::Keyword(keyword))
    }

    fn said(&self, span: Span) -> &str {
        self.text.get(span.range()).unwrap_or_default()
    }

    /// A name without its backticks.
    fn name(&self, at: usize) -> String {
        let said = self.tokens.get(at).map_or("", |token| self.said(token.span));
        match said.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) {
            Some(quoted) => quoted.replace("``", "`"),
            None => said.to_owned(),
        }
    }

    fn behind(&self, keyword: K) -> String {
        self.place(keyword).map_or_else(String::new, |at| self.name(at + 1))
    }

    /// The text behind the first `ON`.
    fn pattern(&self) -> Option<String> {
        let token = self.tokens.get(self.place(K::On)? + 1)?;
        let said = self.said(token.span);
        let quote = said.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        Some(said.trim_matches(quote).to_owned())
    }

    /// The kind that a pattern is of, if it is of one.
    fn kind_of_pattern(&self) -> String {
        let kind = self.pattern().and_then(|on| on.split_once('.').map(|(kind, _)| kind.to_owned()));
        kind.filter(|kind| !kind.contains(['*', ','])).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ExpressionScope::*;

    #[test]
    fn what_an_id_is_of_stands_before_it() {
        for (text, expected) in [
            ("HISTORY Order ", "Order"),
            ("HISTORY `order entry` ", "order entry"),
            ("EMIT Order.paid ", "Order"),
            ("EMIT `a b`.c.d ", "a b"),
            ("PERFORM Approve Document ", "Document"),
            ("EVENTS WHERE data.x = 1 AND Order ", "Order"),
            ("", ""),
            (".", "."),
        ] {
            assert_eq!(kind_before(text), expected, "{text}");
        }
    }

    #[test]
    fn a_text_tells_the_names_it_gives() {
        let given = aliases(
            "EVENTS UNNEST data.a AS one; EVENTS UNNEST data.l AS line, n UNNEST line.x AS y SELECT a AS b, ",
        );
        assert_eq!(given, ["line", "n", "y"]);
        assert!(aliases("EVENTS UNNEST data.l AS").is_empty() && aliases("EVENTS SELECT a AS b").is_empty());
    }

    #[test]
    fn the_words_before_tell_whose_names_there_are() {
        let of = str::to_owned;
        for (text, expected) in [
            ("EVENTS WHERE ", Events),
            ("HISTORY Order 1 WHERE ", Events),
            ("FIND Account WHERE ", Found(of("Account"))),
            ("find `order entry` order by ", Found(of("order entry"))),
            ("EXPLAIN ANALYZE FIND Account WHERE ", Found(of("Account"))),
            ("FIND A; EVENTS WHERE ", Events),
            ("ATOMIC (EMIT A.b 1; EMIT A.b 2 {x: ", Values),
            ("ATOMIC (EMIT A.b 1; ", Values),
            ("EMIT A.b 1 {x: 1}; ", Events),
            ("DEFINE SCHEDULE s EVERY 1d DO EMIT A.b 1 {x: ", Values),
            ("EMIT Order.paid 1 {total: ", Values),
            ("READ revenue WHERE ", Columns(of("revenue"))),
            ("SUBSCRIBE VIEW revenue WHERE ", Columns(of("revenue"))),
            ("SUBSCRIBE 'Order.*' WHERE ", Events),
            ("DEFINE ENTITY Account ON paid SET x = ", Fold(of("Account"))),
            ("DEFINE VERB Pay ON Account REQUIRE ", Verb(of("Account"))),
            ("DEFINE REACTION r ON 'Order.paid' WHERE ", Fold(of("Order"))),
            ("DEFINE REACTION r ON '*.paid' WHERE ", Fold(of(""))),
            ("DEFINE VIEW v AS FIND Account WHERE ", Found(of("Account"))),
            ("DEFINE VIEW v AS EVENTS WHERE ", Events),
            ("DEFINE INDEX i ON 'Account' AS ", Found(of("Account"))),
            ("DEFINE INDEX i ON 'Account.*' AS ", Events),
            ("-- FIND A\nEVENTS WHERE ", Events),
            ("", Events),
            (";;(", Events),
        ] {
            assert_eq!(scope(text), expected, "{text}");
        }
    }
}
