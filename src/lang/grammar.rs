//! A reader of the grammar file: `grammar/bygone.ebnf` is not only for people. Tests and fuzzing derive from it.

use std::collections::{BTreeSet, HashMap};

/// The right side of a rule.
#[derive(Debug, Clone)]
pub(crate) enum GrammarNode {
    /// In quotes: itself.
    Literal(String),
    /// In lower case: another rule.
    Rule(String),
    /// In capitals: a class of tokens.
    Class(String),
    Sequence(Vec<GrammarNode>),
    Choice(Vec<GrammarNode>),
    Optional(Box<GrammarNode>),
    Repeated(Box<GrammarNode>),
}

/// The grammar, by rule.
pub(crate) struct Grammar {
    pub(crate) rules: HashMap<String, GrammarNode>,
    /// The depth of the shallowest derivation of each rule.
    least: HashMap<String, usize>,
}

impl Grammar {
    /// The grammar of the language.
    pub(crate) fn read() -> Grammar {
        Grammar::of(include_str!("../../grammar/bygone.ebnf"))
    }

    /// A grammar in the same notation.
    pub(crate) fn of(text: &str) -> Grammar {
        let words = words(text);
        let mut rest = words.as_slice();
        let mut rules = HashMap::new();
        while let [name, equals, body @ ..] = rest {
            assert_eq!(equals, "=", "after {name}");
            rest = body;
            let node = choice(&mut rest);
            assert!(rules.insert(name.clone(), node).is_none(), "{name} twice");
            assert_eq!(rest.first().map(String::as_str), Some(";"), "after {name}");
            rest = &rest[1..];
        }
        let mut grammar = Grammar { rules, least: HashMap::new() };
        for _ in 0..grammar.rules.len() {
            let least = grammar.rules.iter();
            let least = least.filter_map(|(name, node)| Some((name.clone(), 1 + grammar.least(node)?)));
            grammar.least = least.collect();
        }
        grammar
    }

    /// Every keyword and symbol, each once.
    pub(crate) fn literals(&self) -> BTreeSet<&str> {
        fn collect<'a>(node: &'a GrammarNode, found: &mut BTreeSet<&'a str>) {
            match node {
                GrammarNode::Literal(text) => drop(found.insert(text)),
                GrammarNode::Class(_) | GrammarNode::Rule(_) => {}
                GrammarNode::Sequence(nodes) | GrammarNode::Choice(nodes) => {
                    nodes.iter().for_each(|n| collect(n, found))
                }
                GrammarNode::Optional(inner) | GrammarNode::Repeated(inner) => collect(inner, found),
            }
        }
        let mut found = BTreeSet::new();
        self.rules.values().for_each(|node| collect(node, &mut found));
        found
    }

    /// The depth of the shallowest derivation of a part; none while that of a rule in it is not known.
    pub(crate) fn least(&self, node: &GrammarNode) -> Option<usize> {
        match node {
            GrammarNode::Literal(_)
            | GrammarNode::Class(_)
            | GrammarNode::Optional(_)
            | GrammarNode::Repeated(_) => Some(0),
            GrammarNode::Rule(name) => self.least.get(name).copied(),
            GrammarNode::Sequence(nodes) => {
                nodes.iter().map(|n| self.least(n)).try_fold(0, |most, n| Some(most.max(n?)))
            }
            GrammarNode::Choice(nodes) => nodes.iter().filter_map(|n| self.least(n)).min(),
        }
    }
}

/// The words of the grammar; those in quotes keep the first one.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => rest[1..].find('"').expect("a closing quote") + 1,
            c if c.is_alphabetic() => rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len()),
            _ => 1,
        };
        words.push(rest[..length].to_owned());
        rest = rest[length..].trim_start_matches(|c: char| c == '"' && first == '"').trim_start();
    }
    words
}

fn choice(rest: &mut &[String]) -> GrammarNode {
    let mut choices = vec![sequence(rest)];
    while rest.first().is_some_and(|w| w == "|") {
        *rest = &rest[1..];
        choices.push(sequence(rest));
    }
    if choices.len() == 1 { choices.remove(0) } else { GrammarNode::Choice(choices) }
}

fn sequence(rest: &mut &[String]) -> GrammarNode {
    let mut nodes = Vec::new();
    while let Some(word) = rest.first().map(String::as_str) {
        let node = match word {
            "(" | "[" | "{" => {
                *rest = &rest[1..];
                let inner = choice(rest);
                match word {
                    "(" => inner,
                    "[" => GrammarNode::Optional(Box::new(inner)),
                    _ => GrammarNode::Repeated(Box::new(inner)),
                }
            }
            "|" | ")" | "]" | "}" | ";" => break,
            word if word.starts_with('"') => GrammarNode::Literal(word[1..].to_owned()),
            word if word.starts_with(char::is_uppercase) => GrammarNode::Class(word.to_owned()),
            word => GrammarNode::Rule(word.to_owned()),
        };
        *rest = &rest[1..];
        nodes.push(node);
    }
    if nodes.len() == 1 { nodes.remove(0) } else { GrammarNode::Sequence(nodes) }
}
