//! A reader of the grammar file, and sentences derived from it.

use std::collections::HashMap;

use crate::lang::Keyword;

/// The right side of a rule.
#[derive(Debug, Clone)]
enum Node {
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
pub(super) struct Grammar {
    rules: HashMap<String, Node>,
    /// The depth of the shallowest derivation of each rule.
    least: HashMap<String, usize>,
}

impl Grammar {
    pub(super) fn read() -> Grammar {
        let words = words(include_str!("../../../grammar/bygone.ebnf"));
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

    pub(super) fn rules(&self) -> usize {
        self.rules.len()
    }

    fn least(&self, node: &Node) -> Option<usize> {
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

/// Numbers that look random and are the same in every run.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// A number below another.
    pub(super) fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % most.max(1) as u64) as usize
    }

    pub(super) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// Derives sentences. What the grammar leaves to the text is kept here: each clause once, each key once.
pub(super) struct Deriver<'a> {
    grammar: &'a Grammar,
    pub(super) random: Random,
    keys: usize,
}

impl<'a> Deriver<'a> {
    pub(super) fn new(grammar: &'a Grammar, seed: u64) -> Deriver<'a> {
        Deriver { grammar, random: Random::new(seed), keys: 0 }
    }

    /// The tokens of a sentence.
    pub(super) fn sentence(&mut self, rule: &str, depth: usize) -> Vec<String> {
        let mut tokens = Vec::new();
        self.derive(&Node::Rule(rule.to_owned()), depth, &mut tokens);
        tokens
    }

    fn derive(&mut self, node: &Node, depth: usize, tokens: &mut Vec<String>) {
        match node {
            Node::Literal(text) => tokens.push(text.clone()),
            Node::Class(class) => {
                let token = self.token(class);
                tokens.push(token);
            }
            Node::Rule(name) if name == "key" => {
                self.keys += 1;
                let key = self.keys;
                tokens.push(if self.random.below(2) == 0 { format!("k{key}") } else { format!("'k {key}'") });
            }
            Node::Rule(name) => {
                let grammar = self.grammar;
                self.derive(&grammar.rules[name], depth.saturating_sub(1), tokens);
            }
            Node::Sequence(nodes) => nodes.iter().for_each(|n| self.derive(n, depth, tokens)),
            Node::Choice(nodes) => {
                let least = |n: &Node| self.grammar.least(n).unwrap_or(usize::MAX);
                let shallowest = nodes.iter().map(least).min().unwrap_or(0);
                let most = depth.max(shallowest);
                let near: Vec<&Node> = nodes.iter().filter(|n| least(n) <= most).collect();
                let chosen = *self.random.pick(&near);
                self.derive(chosen, depth, tokens);
            }
            Node::Optional(inner) => {
                if depth > 0 && self.random.below(2) == 0 {
                    self.derive(inner, depth, tokens);
                }
            }
            Node::Repeated(inner) => self.repeat(inner, depth, tokens),
        }
    }

    fn repeat(&mut self, inner: &Node, depth: usize, tokens: &mut Vec<String>) {
        let once = matches!(inner, Node::Rule(name) if ["fact", "clause", "option", "aspect"].contains(&name.as_str()));
        let mut seen: Vec<String> = Vec::new();
        let times = if depth == 0 { 0 } else { self.random.below(4) };
        for _ in 0..times {
            let mut more = Vec::new();
            self.derive(inner, depth, &mut more);
            if once {
                let Some(head) = more.first().cloned() else { continue };
                let has = |words: &[&str]| seen.iter().any(|s| words.contains(&s.as_str()));
                let clash = (head == "LAST" && has(&["ORDER", "GROUP", "LIMIT"]))
                    || (["ORDER", "GROUP", "LIMIT"].contains(&head.as_str()) && has(&["LAST"]));
                let again = seen.contains(&head) && !["ON", "INCLUDE"].contains(&head.as_str());
                if clash || again {
                    continue;
                }
                seen.push(head);
            }
            tokens.append(&mut more);
        }
    }

    fn token(&mut self, class: &str) -> String {
        let words = ["alpha", "Trip", "größe", "x_1", "data", "state", "_"];
        let keyword = |random: &mut Random, free: bool| loop {
            let keyword = *random.pick(Keyword::ALL);
            if keyword != Keyword::AsOf && !(free && keyword.is_reserved()) {
                let text = keyword.text();
                return if random.below(2) == 0 { text.to_owned() } else { text.to_lowercase() };
            }
        };
        let random = &mut self.random;
        match class {
            "WORD" => (*random.pick(&words)).to_owned(),
            "KEYWORD" => keyword(random, false),
            "FIELD" => match random.below(6) {
                0 => keyword(random, true),
                1 => "`a ``b`".to_owned(),
                _ => (*random.pick(&words)).to_owned(),
            },
            "STRING" => (*random.pick(&["'it''s'", "''", r#""json \n \"x\"""#, "'2024-01-01'", "'Order.*'"]))
                .to_owned(),
            "INT" => (*random.pick(&["0", "7", "42", "9223372036854775808"])).to_owned(),
            "NUMBER" => (*random.pick(&["1.5", "0.25e3", "1e-7", "1E21"])).to_owned(),
            "DATE" => (*random.pick(&["2024-01-01", "2024-01-01T10:00:00.5Z"])).to_owned(),
            "DURATION" => (*random.pick(&["30s", "90m", "1h", "7d", "2w", "250ms"])).to_owned(),
            "POSITION" => "#1207".to_owned(),
            "PARAM" => (*random.pick(&["$p", "$where"])).to_owned(),
            other => panic!("no token for {other}"),
        }
    }
}

#[test]
fn the_grammar_reads() {
    let grammar = Grammar::read();
    assert!(grammar.rules() >= 60, "{}", grammar.rules());
    for name in grammar.rules.keys() {
        assert!(grammar.least.contains_key(name), "{name} derives nothing");
    }
}
