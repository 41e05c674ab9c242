//! Every sentence of the grammar parses, prints as it parses, and was expected at each of its tokens.

use proptest::prelude::*;

use crate::error::{Error, SyntaxFault};
use crate::lang::generator::{Choices, Deriver, Random};
use crate::lang::grammar::Grammar;
use crate::lang::token::{Symbol, TokenKind as Shape, lex};
use crate::lang::{Expectation, TokenClass, complete, highlight, is_incomplete, parse, parse_one, report};
use crate::value::MAX_DEPTH;

/// Sentences of moderate size.
fn sentences(seed: u64, count: usize) -> Vec<Vec<String>> {
    let grammar = Grammar::read();
    let mut deriver = Deriver::new(&grammar, Random::new(seed));
    let mut sentences = Vec::new();
    while sentences.len() < count {
        let depth = 4 + deriver.choices.below(20);
        let tokens = deriver.sentence("statement", depth);
        if tokens.len() < 200 {
            sentences.push(tokens);
        }
    }
    sentences
}

#[test]
fn a_sentence_prints_as_it_parses() {
    for tokens in sentences(1, 40_000) {
        let text = tokens.join(" ");
        let parsed = parse_one(&text).unwrap_or_else(|e| panic!("{text}\n{e}"));
        let printed = parsed.statement.to_string();
        let again = parse_one(&printed).unwrap_or_else(|e| panic!("{text}\n{printed}\n{e}"));
        assert_eq!(again.statement, parsed.statement, "{text}\n{printed}");
        assert_eq!(again.statement.to_string(), printed, "{text}");
    }
}

#[test]
fn each_token_of_a_sentence_was_expected() {
    for tokens in sentences(2, 1500) {
        for (i, token) in tokens.iter().enumerate() {
            let mut before = tokens[..i].join(" ");
            before.push(' ');
            let expected: Vec<_> =
                complete(&before, before.len()).into_iter().map(|c| c.expectation).collect();
            assert!(
                expected.iter().any(|e| accepts(*e, token)),
                "{before}\n{token} is not among {expected:?}"
            );
        }
        let text = tokens.join(" ") + " ";
        let last = complete(&text, text.len());
        assert!(last.iter().any(|c| c.expectation == Expectation::Noun(TokenClass::End)), "{text}");
    }
}

#[test]
fn a_sentence_that_is_cut_off_is_incomplete_or_right() {
    // Wrong at once, though more could be written: a prompt that asked for more would hide what to do.
    let known = |fault: &SyntaxFault| {
        let messages = ["has a prefix", "history is of one", "alone is no value"];
        messages.iter().any(|m| fault.message.contains(m))
    };
    for tokens in sentences(3, 1500) {
        for i in 0..tokens.len() {
            match parse(&tokens[..i].join(" ")) {
                Err(Error::Syntax(fault)) => {
                    assert!(fault.incomplete || known(&fault), "{tokens:?} {i} {fault}")
                }
                other => assert!(other.is_ok()),
            }
        }
    }
}

/// Whether an expectation means a token.
fn accepts(expectation: Expectation, token: &str) -> bool {
    use TokenClass::*;
    let kind = lex(token)[0].kind;
    let name = matches!(kind, Shape::Word | Shape::Keyword(_) | Shape::Quoted);
    let id = matches!(kind, Shape::Int | Shape::Text | Shape::Word | Shape::Param);
    let literal = matches!(kind, Shape::Int | Shape::Number | Shape::Text | Shape::Date | Shape::Duration);
    let symbol = |symbols: &[Symbol]| symbols.iter().any(|s| kind == Shape::Symbol(*s));
    match expectation {
        Expectation::Keyword(keyword) => kind == Shape::Keyword(keyword),
        Expectation::Symbol(symbol) => kind == Shape::Symbol(symbol),
        Expectation::Noun(noun) => match noun {
            Kind | Type | Part | Verb | Index | Column | View | Reaction | Webhook | Schedule
            | Subscription | Private | Subject | Namespace | Described | NewName | Tag | Member
            | StatePath | List => name,
            DataType => name || symbol(&[Symbol::LeftBrace, Symbol::LeftBracket]),
            Happening | Key | NewKey => name || kind == Shape::Text,
            Id => id || symbol(&[Symbol::LeftParen]),
            EntityId => id,
            Pattern | Text => matches!(kind, Shape::Text | Shape::Param),
            Point => {
                matches!(kind, Shape::Text | Shape::Date | Shape::Position | Shape::Param)
                    || symbol(&[Symbol::Minus])
            }
            Event => matches!(kind, Shape::Text | Shape::Position | Shape::Param),
            Position => kind == Shape::Position,
            Count => matches!(kind, Shape::Int | Shape::Param),
            Period => matches!(kind, Shape::Duration | Shape::Param),
            Number => matches!(kind, Shape::Int | Shape::Number),
            Subscript => matches!(kind, Shape::Int | Shape::Text),
            Expression => {
                use Symbol::{LeftBrace, LeftBracket, LeftParen, Minus};
                let open = symbol(&[LeftParen, LeftBracket, LeftBrace, Minus]);
                name || literal || kind == Shape::Param || open
            }
            Value => {
                name || literal || matches!(kind, Shape::Param | Shape::Position) || symbol(&[Symbol::Minus])
            }
            Arithmetic => {
                symbol(&[Symbol::Plus, Symbol::Minus, Symbol::Star, Symbol::Slash, Symbol::Percent])
            }
            Comparison => {
                use Symbol::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
                symbol(&[Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual])
            }
            End => false,
        },
    }
}

/// Whatever the text: no panic, and every place is within it.
fn is_handled(text: &str, at: usize) {
    match parse(text) {
        Ok(script) => {
            let printed = script.to_string();
            let again = parse(&printed).unwrap_or_else(|e| panic!("{text}\n{printed}\n{e}"));
            assert!(
                again
                    .statements
                    .iter()
                    .map(|s| &s.statement)
                    .eq(script.statements.iter().map(|s| &s.statement))
            );
            for sourced in script.statements {
                assert!(parse_one(&text[sourced.span.range()]).is_ok());
            }
        }
        Err(Error::Syntax(fault)) => {
            assert!(text.get(fault.offset..fault.offset + fault.length).is_some(), "{text} {fault:?}");
            assert!(!report(&fault).is_empty() && fault.line > 0 && fault.column > 0);
            assert_eq!(fault.incomplete, is_incomplete(text));
        }
        Err(other) => panic!("{text}: {other}"),
    }
    let mut end = 0;
    for (range, _) in highlight(text) {
        assert!(range.start >= end && text.get(range.clone()).is_some());
        end = range.end;
    }
    for completion in complete(text, at) {
        assert!(text.get(completion.typed.clone()).is_some(), "{text} {completion:?}");
    }
}

#[test]
fn a_mutated_sentence_is_handled() {
    let odd =
        ["'", "\"", "`", "$", "#", "\0", "é", "/*", "--", "(", ")", "{", ";", "AS OF", "\\", "9e999", "=="];
    let mut random = Random::new(4);
    for tokens in sentences(5, 3000) {
        let mut text = tokens.join(if random.below(3) == 0 { "" } else { " " });
        for _ in 0..=random.below(3) {
            let at = random.below(text.len() + 1);
            let Some(at) = (at..=text.len()).find(|at| text.is_char_boundary(*at)) else { continue };
            match random.below(3) {
                0 => text.truncate(at),
                1 => text.insert_str(at, odd[random.below(odd.len())]),
                _ if at < text.len() => drop(text.remove(at)),
                _ => {}
            }
        }
        is_handled(&text, random.below(text.len() + 1));
    }
}

/// What a slip of the pen makes of a sentence: a token is missing, is another, or stands in the wrong place.
#[test]
fn a_sentence_with_a_token_dropped_swapped_or_replaced_is_handled() {
    let mut random = Random::new(6);
    let sentences = sentences(7, 4000);
    for (i, tokens) in sentences.iter().enumerate() {
        let at = random.below(tokens.len());
        let mut dropped = tokens.clone();
        dropped.remove(at);
        let mut swapped = tokens.clone();
        swapped.swap(at, random.below(tokens.len()));
        let mut replaced = tokens.clone();
        let other = &sentences[(i + 1) % sentences.len()];
        replaced[at].clone_from(random.pick(other));
        for tokens in [dropped, swapped, replaced] {
            let text = tokens.join(" ");
            is_handled(&text, random.below(text.len() + 1));
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_handled(text in "\\PC{0,40}|[\\x00-\\x7f]{0,40}", at in 0_usize..60) {
        is_handled(&text, at);
    }

    #[test]
    fn any_words_are_handled(words in prop::collection::vec(
        prop::sample::select(vec!["EMIT", "Order", ".", "paid", "42", "{", "}", ":", "BY", "User", "(", ")", "'x'", "-",
            "HISTORY", "EVENTS", "WHERE", "NOT", "=", "[", "]", ",", "AS", "OF", ";", "7d", "2024-01-01", "#1", "$p", "NULL"]),
        0..20,
    )) {
        is_handled(&words.join(" "), 5);
        is_handled(&words.concat(), 5);
    }
}

/// An expression so many levels deep.
fn nested(open: &str, levels: usize, inner: &str, close: &str) -> String {
    format!("EVENTS WHERE x = 1 AND {}{inner}{}", open.repeat(levels), close.repeat(levels))
}

/// On three quarters of the stack that a thread has by default, so that a caller may be deep in its own.
#[test]
fn nesting_has_a_limit_and_no_overflow() {
    let small = std::thread::Builder::new().stack_size(1_500_000);
    small.spawn(nesting_has_a_limit).unwrap().join().unwrap();
}

fn nesting_has_a_limit() {
    for (open, inner, close) in [
        ("(", "a", ")"),
        ("[", "1", "]"),
        ("{a: ", "1", "}"),
        ("NOT ", "a", ""),
        ("- ", "a", ""),
        ("f(", "a", ")"),
        ("(NOT - ", "a", ")"),
    ] {
        let deep = nested(open, 10_000, inner, close);
        for text in [deep.clone(), deep.replace('}', "")] {
            let Err(Error::Syntax(fault)) = parse(&text) else { panic!("{open}") };
            assert_eq!(fault.message, format!("nested deeper than {MAX_DEPTH}"));
        }
        let most = MAX_DEPTH / if open == "(NOT - " { 3 } else { 1 };
        assert!(parse(&nested(open, most + 1, inner, close)).is_err(), "{open}");
        let allowed = nested(open, most, inner, close);
        let parsed = parse_one(&allowed).unwrap_or_else(|e| panic!("{open}: {e}"));
        assert_eq!(parse_one(&parsed.statement.to_string()).unwrap().statement, parsed.statement);
    }
    let ids = format!("EVENTS BY a = {}1{}", "User (x = User ".repeat(10_000), ")".repeat(10_000));
    assert!(parse(&ids).is_err());
}

#[test]
fn a_long_chain_is_not_deep() {
    for joint in [" + ", " - ", " * ", " AND ", " OR ", ", "] {
        let chain = vec!["a.b"; 50_000].join(joint);
        let text =
            if joint == ", " { format!("EVENTS SELECT {chain}") } else { format!("EVENTS WHERE {chain}") };
        let parsed = parse_one(&text).unwrap();
        assert_eq!(parsed.statement.to_string(), text);
    }
    let steps = format!("EVENTS WHERE a{} = 1", ".b[0]".repeat(50_000));
    assert_eq!(parse_one(&steps).unwrap().statement.to_string(), steps);
}
