//! A reader of the grammar file: `grammar/bygone.ebnf` is not only for people. Tests and fuzzing derive from it.

use std::collections::{BTreeSet, HashMap};

/// The right side of a rule.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    /// In quotes: itself.
    Literal(String),
    /// In lower case: another rule.
    Rule(String),
    /// In capitals: a class of tokens.
    Class(String),
    Sequence(Vec<Node>),
    Choice(Vec<Node>),
    Optional(Box<Node>),
    Repeated(Box<Node>),
}

/// The grammar, by rule.
pub(crate) struct Grammar {
    pub(crate) rules: HashMap<String, Node>,
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
        fn collect<'a>(node: &'a Node, found: &mut BTreeSet<&'a str>) {
            match node {
                Node::Literal(text) => drop(found.insert(text)),
                Node::Class(_) | Node::Rule(_) => {}
                Node::Sequence(nodes) | Node::Choice(nodes) => nodes.iter().for_each(|n| collect(n, found)),
                Node::Optional(inner) | Node::Repeated(inner) => collect(inner, found),
            }
        }
        let mut found = BTreeSet::new();
        self.rules.values().for_each(|node| collect(node, &mut found));
        found
    }

    /// The depth of the shallowest derivation of a part; none while that of a rule in it is not known.
    pub(crate) fn least(&self, node: &Node) -> Option<usize> {
        match node {
            Node::Literal(_) | Node::Class(_) | Node::Optional(_) | Node::Repeated(_) => Some(0),
            Node::Rule(name) => self.least.get(name).copied(),
            Node::Sequence(nodes) => {
                nodes.iter().map(|n| self.least(n)).try_fold(0, |most, n| Some(most.max(n?)))
            }
            Node::Choice(nodes) => nodes.iter().filter_map(|n| self.least(n)).min(),
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

fn choice(rest: &mut &[String]) -> Node {
    let mut choices = vec![sequence(rest)];
    while rest.first().is_some_and(|w| w == "|") {
        *rest = &rest[1..];
        choices.push(sequence(rest));
    }
    if choices.len() == 1 { choices.remove(0) } else { Node::Choice(choices) }
}

fn sequence(rest: &mut &[String]) -> Node {
    let mut nodes = Vec::new();
    while let Some(word) = rest.first().map(String::as_str) {
        let node = match word {
            "(" | "[" | "{" => {
                *rest = &rest[1..];
                let inner = choice(rest);
                match word {
                    "(" => inner,
                    "[" => Node::Optional(Box::new(inner)),
                    _ => Node::Repeated(Box::new(inner)),
                }
            }
            "|" | ")" | "]" | "}" | ";" => break,
            word if word.starts_with('"') => Node::Literal(word[1..].to_owned()),
            word if word.starts_with(char::is_uppercase) => Node::Class(word.to_owned()),
            word => Node::Rule(word.to_owned()),
        };
        *rest = &rest[1..];
        nodes.push(node);
    }
    if nodes.len() == 1 { nodes.remove(0) } else { Node::Sequence(nodes) }
}
