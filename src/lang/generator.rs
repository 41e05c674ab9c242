//! Sentences derived from the grammar, by choices: of a random number generator in tests, of arbitrary bytes in fuzzing.
//!
//! Any tree the parser can make is the tree of some sentence, so arbitrary choices make arbitrary trees.

use super::grammar::{Grammar, GrammarNode};
use super::keyword::Keyword;

/// What decides where a sentence goes.
pub(crate) trait Choices {
    /// A number below another, which is not 0.
    fn below(&mut self, most: usize) -> usize;

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// Numbers that look random and are the same in every run.
#[cfg(test)]
pub(crate) struct Random(u64);

#[cfg(test)]
impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }
}

#[cfg(test)]
impl Choices for Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % most.max(1) as u64) as usize
    }
}

/// One byte a choice; where they end, the first of what there is.
#[derive(Debug)]
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl Choices for Bytes<'_> {
    fn below(&mut self, most: usize) -> usize {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*byte) % most.max(1)
    }
}

/// Derives sentences. What the grammar leaves to the text is kept here: each clause once, each key once.
pub(crate) struct Deriver<'a, C> {
    grammar: &'a Grammar,
    pub(crate) choices: C,
    keys: usize,
}

impl<'a, C: Choices> Deriver<'a, C> {
    pub(crate) fn new(grammar: &'a Grammar, choices: C) -> Deriver<'a, C> {
        Deriver { grammar, choices, keys: 0 }
    }

    /// The tokens of a sentence.
    pub(crate) fn sentence(&mut self, rule: &str, depth: usize) -> Vec<String> {
        let mut tokens = Vec::new();
        self.derive(&GrammarNode::Rule(rule.to_owned()), depth, &mut tokens);
        tokens
    }

    fn derive(&mut self, node: &GrammarNode, depth: usize, tokens: &mut Vec<String>) {
        match node {
            GrammarNode::Literal(text) => tokens.push(text.clone()),
            GrammarNode::Class(class) => {
                let token = self.token(class);
                tokens.push(token);
            }
            GrammarNode::Rule(name) if name == "key" => {
                self.keys += 1;
                let key = self.keys;
                tokens.push(if self.choices.below(2) == 0 {
                    format!("k{key}")
                } else {
                    format!("'k {key}'")
                });
            }
            GrammarNode::Rule(name) => {
                let grammar = self.grammar;
                self.derive(&grammar.rules[name], depth.saturating_sub(1), tokens);
            }
            GrammarNode::Sequence(nodes) => nodes.iter().for_each(|n| self.derive(n, depth, tokens)),
            GrammarNode::Choice(nodes) => {
                let least = |n: &GrammarNode| self.grammar.least(n).unwrap_or(usize::MAX);
                let shallowest = nodes.iter().map(least).min().unwrap_or(0);
                let most = depth.max(shallowest);
                let near: Vec<&GrammarNode> = nodes.iter().filter(|n| least(n) <= most).collect();
                let chosen = *self.choices.pick(&near);
                self.derive(chosen, depth, tokens);
            }
            GrammarNode::Optional(inner) => {
                if depth > 0 && self.choices.below(2) == 1 {
                    self.derive(inner, depth, tokens);
                }
            }
            GrammarNode::Repeated(inner) => self.repeat(inner, depth, tokens),
        }
    }

    fn repeat(&mut self, inner: &GrammarNode, depth: usize, tokens: &mut Vec<String>) {
        let once = matches!(inner, GrammarNode::Rule(name) if ["fact", "clause", "option", "aspect"].contains(&name.as_str()));
        let mut seen: Vec<String> = Vec::new();
        let times = if depth == 0 { 0 } else { self.choices.below(4) };
        for _ in 0..times {
            let mut more = Vec::new();
            self.derive(inner, depth, &mut more);
            if once {
                let Some(head) = more.first().cloned() else { continue };
                let has = |words: &[&str]| seen.iter().any(|s| words.contains(&s.as_str()));
                let rows = ["ORDER", "GROUP", "LIMIT", "UNNEST"];
                let clash =
                    (head == "LAST" && has(&rows)) || (rows.contains(&head.as_str()) && has(&["LAST"]));
                let again = seen.contains(&head) && !["ON", "INCLUDE", "UNNEST"].contains(&head.as_str());
                if clash || again {
                    continue;
                }
                // Behind it, WHERE is about its rows.
                if head == "UNNEST" {
                    seen.retain(|head| head != "WHERE");
                }
                seen.push(head);
            }
            tokens.append(&mut more);
        }
    }

    fn token(&mut self, class: &str) -> String {
        let words = ["alpha", "Trip", "größe", "x_1", "data", "state", "_"];
        match class {
            "WORD" => match self.choices.below(8) {
                0 => self.word(),
                _ => (*self.choices.pick(&words)).to_owned(),
            },
            "KEYWORD" => self.keyword(false),
            "FIELD" => match self.choices.below(8) {
                0 => self.keyword(true),
                1 => "`a ``b`".to_owned(),
                2 => format!("`{}`", self.text(1).replace('`', "``")),
                _ => (*self.choices.pick(&words)).to_owned(),
            },
            "STRING" => match self.choices.below(8) {
                0 => self.string(),
                _ => (*self.choices.pick(&[
                    "'it''s'",
                    "''",
                    r#""json \n \"x\"""#,
                    "'2024-01-01'",
                    "'Order.*'",
                ]))
                .to_owned(),
            },
            "INT" => match self.choices.below(6) {
                0 => self.number().to_string(),
                _ => (*self.choices.pick(&["0", "7", "42", "9223372036854775808"])).to_owned(),
            },
            "NUMBER" => match self.choices.below(6) {
                0 => self.float(),
                _ => (*self.choices.pick(&["1.5", "0.25e3", "1e-7", "1E21"])).to_owned(),
            },
            "DATE" => match self.choices.below(6) {
                0 => self.date(),
                _ => (*self.choices.pick(&["2024-01-01", "2024-01-01T10:00:00.5Z"])).to_owned(),
            },
            "DURATION" => match self.choices.below(6) {
                0 => {
                    let count = self.number() % 1_000_000;
                    format!("{count}{}", self.choices.pick(&["ms", "s", "m", "h", "d", "w"]))
                }
                _ => (*self.choices.pick(&["30s", "90m", "1h", "7d", "2w", "250ms"])).to_owned(),
            },
            "POSITION" => match self.choices.below(6) {
                0 => format!("#{}", self.number()),
                _ => "#1207".to_owned(),
            },
            "PARAM" => (*self.choices.pick(&["$p", "$where"])).to_owned(),
            other => panic!("no token for {other}"),
        }
    }

    fn keyword(&mut self, free: bool) -> String {
        // Behind AS, the word OF is half of AS OF: a name like that is quoted there.
        let is_no_name = |k: Keyword| matches!(k, Keyword::AsOf | Keyword::Of);
        let fits = |k: &&Keyword| !is_no_name(**k) && (!free || !k.is_reserved());
        let keywords: Vec<&Keyword> = Keyword::ALL.iter().filter(fits).collect();
        let text = self.choices.pick(&keywords).text();
        if self.choices.below(2) == 0 { text.to_owned() } else { text.to_lowercase() }
    }

    /// Up to seven choices of a byte each: with a minus before it, it still fits.
    fn number(&mut self) -> u64 {
        let digits = 1 + self.choices.below(7);
        (0..digits).fold(0, |n, _| n << 8 | self.choices.below(256) as u64)
    }

    fn float(&mut self) -> String {
        let number = f64::from_bits(self.number() << self.choices.below(64)).abs();
        if number.is_finite() { format!("{number:e}") } else { "1e308".to_owned() }
    }

    fn date(&mut self) -> String {
        let mut two = |most: usize| self.choices.below(most);
        let (year, month, day) = (two(256) * 39, 1 + two(12), 1 + two(28));
        let date = format!("{year:04}-{month:02}-{day:02}");
        match two(3) {
            0 => date,
            1 => format!("{date}T{:02}:{:02}", two(24), two(60)),
            _ => format!("{date}T{:02}:{:02}:{:02}.{}Z", two(24), two(60), two(60), two(256)),
        }
    }

    /// A text of at least so many characters, most of them odd.
    fn text(&mut self, least: usize) -> String {
        const ODD: [char; 24] = [
            'a', 'Z', '0', ' ', '.', '*', ',', '\'', '"', '`', '\\', '$', '#', '-', '/', ';', '\n', '\r',
            '\0', '\u{7f}', 'é', '\u{301}', '東', '😀',
        ];
        let length = least + self.choices.below(6);
        (0..length).map(|_| *self.choices.pick(&ODD)).collect()
    }

    fn word(&mut self) -> String {
        const LETTERS: [char; 8] = ['a', 'Q', 'x', '_', '7', 'ß', '東', 'é'];
        let length = self.choices.below(5);
        let word: String = (0..length).map(|_| *self.choices.pick(&LETTERS)).collect();
        format!("w{word}")
    }

    fn string(&mut self) -> String {
        let text = self.text(0);
        match self.choices.below(2) {
            0 => format!("'{}'", text.replace('\'', "''")),
            _ => serde_json::to_string(&text).expect("a text has a JSON form"),
        }
    }
}
