//! The grammar as a text: it is LL(1), whole, and knows no word that the lexer does not.

use std::collections::{BTreeMap, BTreeSet};

use crate::lang::grammar::{Grammar, GrammarNode};
use crate::lang::token::Symbol;

/// Terminals: a literal, a class, or what may end a sentence.
type Terminals = BTreeSet<String>;

const END: &str = "the end";

/// What a rule can begin with and be followed by, for each rule; and which can be empty.
struct Sets<'a> {
    grammar: &'a Grammar,
    empty: BTreeSet<&'a str>,
    first: BTreeMap<&'a str, Terminals>,
    follow: BTreeMap<&'a str, Terminals>,
}

impl<'a> Sets<'a> {
    fn of(grammar: &'a Grammar, start: &'a str) -> Sets<'a> {
        let mut sets =
            Sets { grammar, empty: BTreeSet::new(), first: BTreeMap::new(), follow: BTreeMap::new() };
        sets.follow.entry(start).or_default().insert(END.to_owned());
        // Each round carries what is known one rule further, until nothing is new.
        loop {
            let before = (sets.empty.len(), size(&sets.first), size(&sets.follow));
            for (name, node) in &sets.grammar.rules {
                if sets.can_be_empty(node) {
                    sets.empty.insert(name);
                }
                let first = sets.first(node);
                sets.first.entry(name).or_default().extend(first);
                let follow = sets.follow.get(name.as_str()).cloned().unwrap_or_default();
                sets.spread(node, &follow);
            }
            if before == (sets.empty.len(), size(&sets.first), size(&sets.follow)) {
                return sets;
            }
        }
    }

    fn can_be_empty(&self, node: &GrammarNode) -> bool {
        match node {
            GrammarNode::Literal(_) | GrammarNode::Class(_) => false,
            GrammarNode::Rule(name) => self.empty.contains(name.as_str()),
            GrammarNode::Sequence(nodes) => nodes.iter().all(|n| self.can_be_empty(n)),
            GrammarNode::Choice(nodes) => nodes.iter().any(|n| self.can_be_empty(n)),
            GrammarNode::Optional(_) | GrammarNode::Repeated(_) => true,
        }
    }

    fn first(&self, node: &GrammarNode) -> Terminals {
        match node {
            GrammarNode::Literal(text) => Terminals::from([text.clone()]),
            GrammarNode::Class(class) => terminals_of(class),
            GrammarNode::Rule(name) => self.first.get(name.as_str()).cloned().unwrap_or_default(),
            GrammarNode::Sequence(nodes) => {
                let mut first = Terminals::new();
                for node in nodes {
                    first.extend(self.first(node));
                    if !self.can_be_empty(node) {
                        break;
                    }
                }
                first
            }
            GrammarNode::Choice(nodes) => nodes.iter().flat_map(|n| self.first(n)).collect(),
            GrammarNode::Optional(inner) | GrammarNode::Repeated(inner) => self.first(inner),
        }
    }

    /// Tells every rule within a part what may follow it, when this may follow the part.
    fn spread(&mut self, node: &'a GrammarNode, follow: &Terminals) {
        match node {
            GrammarNode::Literal(_) | GrammarNode::Class(_) => {}
            GrammarNode::Rule(name) => self.follow.entry(name).or_default().extend(follow.iter().cloned()),
            GrammarNode::Sequence(nodes) => {
                let mut follow = follow.clone();
                for node in nodes.iter().rev() {
                    self.spread(node, &follow);
                    let first = self.first(node);
                    if !self.can_be_empty(node) {
                        follow.clear();
                    }
                    follow.extend(first);
                }
            }
            GrammarNode::Choice(nodes) => nodes.iter().for_each(|n| self.spread(n, follow)),
            GrammarNode::Optional(inner) => self.spread(inner, follow),
            GrammarNode::Repeated(inner) => {
                let mut follow = follow.clone();
                follow.extend(self.first(inner));
                self.spread(inner, &follow);
            }
        }
    }

    /// Where the next token does not tell which way to go.
    fn conflicts(&self, rule: &str, node: &GrammarNode, follow: &Terminals, found: &mut Vec<String>) {
        let mut clash = |a: &Terminals, b: &Terminals, what: &str| {
            let both: Vec<&String> = a.intersection(b).collect();
            if !both.is_empty() {
                found.push(format!("{rule}: {what}: {both:?}"));
            }
        };
        match node {
            GrammarNode::Literal(_) | GrammarNode::Class(_) | GrammarNode::Rule(_) => {}
            GrammarNode::Sequence(nodes) => {
                let mut follow = follow.clone();
                for node in nodes.iter().rev() {
                    self.conflicts(rule, node, &follow, found);
                    let first = self.first(node);
                    if !self.can_be_empty(node) {
                        follow.clear();
                    }
                    follow.extend(first);
                }
            }
            GrammarNode::Choice(nodes) => {
                for (i, a) in nodes.iter().enumerate() {
                    for b in &nodes[i + 1..] {
                        clash(&self.first(a), &self.first(b), "two choices begin alike");
                    }
                    if self.can_be_empty(a) {
                        clash(&self.first(node), follow, "a choice may be empty");
                    }
                }
                nodes.iter().for_each(|n| self.conflicts(rule, n, follow, found));
            }
            GrammarNode::Optional(inner) => {
                clash(&self.first(inner), follow, "what is optional begins as what follows");
                self.conflicts(rule, inner, follow, found);
            }
            GrammarNode::Repeated(inner) => {
                let first = self.first(inner);
                clash(&first, follow, "what is repeated begins as what follows");
                let follow = follow.union(&first).cloned().collect();
                self.conflicts(rule, inner, &follow, found);
            }
        }
    }
}

fn size(sets: &BTreeMap<&str, Terminals>) -> usize {
    sets.values().map(Terminals::len).sum()
}

/// A class of tokens as what tells it from others. `KEYWORD` in a name, and `FIELD`, are each keyword that they stand for.
fn terminals_of(class: &str) -> Terminals {
    use crate::lang::keyword::Keyword;
    let keywords = |reserved: bool| {
        let keywords =
            Keyword::ALL.iter().filter(move |k| **k != Keyword::AsOf && (reserved || !k.is_reserved()));
        keywords.map(|k| k.text().to_owned())
    };
    match class {
        "KEYWORD" => keywords(true).collect(),
        "FIELD" => keywords(false).chain(["WORD".to_owned()]).collect(),
        other => Terminals::from([other.to_owned()]),
    }
}

fn visit<'a>(node: &'a GrammarNode, see: &mut impl FnMut(&'a GrammarNode)) {
    see(node);
    match node {
        GrammarNode::Literal(_) | GrammarNode::Class(_) | GrammarNode::Rule(_) => {}
        GrammarNode::Sequence(nodes) | GrammarNode::Choice(nodes) => nodes.iter().for_each(|n| visit(n, see)),
        GrammarNode::Optional(inner) | GrammarNode::Repeated(inner) => visit(inner, see),
    }
}

#[test]
fn the_grammar_reads() {
    let grammar = Grammar::read();
    assert!(grammar.rules.len() >= 60, "{}", grammar.rules.len());
    for (name, node) in &grammar.rules {
        assert!(grammar.least(node).is_some(), "{name} derives nothing");
    }
}

#[test]
fn the_next_token_always_tells_which_way_to_go() {
    let grammar = Grammar::read();
    let sets = Sets::of(&grammar, "script");
    let mut found = Vec::new();
    for (name, node) in &grammar.rules {
        let follow = sets.follow.get(name.as_str()).cloned().unwrap_or_default();
        sets.conflicts(name, node, &follow, &mut found);
    }
    found.sort();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The test above finds what it looks for.
#[test]
fn a_conflict_is_found() {
    for (text, what) in [
        ("a = \"X\" | \"X\" \"Y\" ;", "two choices"),
        ("a = [ \"X\" ] \"X\" ;", "optional"),
        ("a = { b } \"X\" ; b = \"X\" ;", "repeated"),
        ("a = b \"WHERE\" ; b = \"Y\" [ KEYWORD ] ;", "optional"),
        ("a = FIELD | \"LIMIT\" ;", "two choices"),
        ("a = b \"X\" ; b = \"Y\" { \"Z\" [ \"X\" ] } ;", "optional"),
    ] {
        let grammar = Grammar::of(text);
        let sets = Sets::of(&grammar, "a");
        let mut found = Vec::new();
        for (name, node) in &grammar.rules {
            sets.conflicts(name, node, &sets.follow[name.as_str()].clone(), &mut found);
        }
        assert!(found.iter().any(|conflict| conflict.contains(what)), "{text}: {found:?}");
    }
    let grammar = Grammar::of("a = FIELD | \"NOT\" ;");
    let mut found = Vec::new();
    Sets::of(&grammar, "a").conflicts("a", &grammar.rules["a"], &Terminals::new(), &mut found);
    assert!(found.is_empty(), "a field does not begin with a reserved word: {found:?}");
}

#[test]
fn every_rule_is_used_and_made() {
    let grammar = Grammar::read();
    let mut reached = BTreeSet::from(["script"]);
    let mut open = vec!["script"];
    while let Some(name) = open.pop() {
        let node = grammar.rules.get(name).unwrap_or_else(|| panic!("{name} has no rule"));
        visit(node, &mut |node| {
            if let GrammarNode::Rule(name) = node
                && reached.insert(name)
            {
                open.push(name);
            }
        });
    }
    let made: BTreeSet<&str> = grammar.rules.keys().map(String::as_str).collect();
    assert_eq!(made, reached);
}

#[test]
fn every_symbol_of_the_grammar_is_one_of_the_lexer() {
    let grammar = Grammar::read();
    let mut symbols = BTreeSet::new();
    for node in grammar.rules.values() {
        visit(node, &mut |node| {
            if let GrammarNode::Literal(text) = node
                && !text.starts_with(char::is_alphabetic)
            {
                symbols.insert(text.as_str());
            }
        });
    }
    // What the lexer knows beyond them is there for errors: habits from elsewhere.
    let habits = ["==", "<>", "||", "&&", "@", "!"];
    let known: BTreeSet<&str> =
        Symbol::ALL.iter().map(|s| s.text()).filter(|s| !habits.contains(s)).collect();
    assert_eq!(symbols, known);
}
