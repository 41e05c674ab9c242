//! The record of expectations.
//!
//! Combinators forget: `opt` and `alt` drop the error of a branch that failed. So every terminal that does not match
//! writes here what it would have accepted, and where. Only the furthest place is kept. This one record gives the
//! message and its caret, "did you mean", completion, and *incomplete* as against *wrong*; there is no second table
//! of what may follow what.

use super::ast::Span;
use super::keyword::Keyword;
use super::token::Symbol;

/// What would have been accepted at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expectation {
    Keyword(Keyword),
    Symbol(Symbol),
    /// A word that the grammar leaves open; a shell fills it from the catalog.
    Noun(TokenClass),
}

/// Declares the open classes, each with its words in a message.
macro_rules! nouns {
    ($($(#[$doc:meta])* $noun:ident $text:literal)*) => {
        /// A class of words, or of what stands for one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum TokenClass {
            $($(#[$doc])* $noun,)*
        }

        impl TokenClass {
            pub(crate) fn text(self) -> &'static str {
                match self {
                    $(TokenClass::$noun => $text,)*
                }
            }
        }
    };
}

nouns! {
    /// Of an entity.
    Kind "a kind like Order"
    /// Of an event, with its prefix.
    Type "a type like Order.paid"
    /// Of an entity.
    Id "an id"
    /// What a type names after its prefix; the prefix may be there.
    Happening "what happened, like paid"
    Pattern "a pattern like 'Order.*'"
    Verb "a verb"
    Index "an index"
    Column "a column"
    View "a view"
    /// What is private, by its name.
    Private "a name of what is private"
    /// Whose private values are: the target, the actor, or a kind.
    Subject "target, actor or a kind"
    Reaction "a reaction"
    Webhook "a webhook"
    Schedule "a schedule"
    Subscription "a subscription"
    Namespace "a namespace"
    /// Anything that has a name.
    Described "a name"
    /// A name that is made here.
    NewName "a name"
    /// The name of an index, or a kind, after `BY`.
    Tag "an index or a kind"
    /// The rest of a type, after a dot.
    Part "a name"
    /// A member after a dot.
    Member "a field"
    /// Of an entity, where the word before could also be a field.
    EntityId "an id"
    /// Where an expression may begin; its first word may be a field.
    Expression "an expression"
    Value "a value"
    /// Of a member of the data of events.
    DataType "a type of data like text, [text] or {…}"
    /// A path in the state.
    StatePath "a field of the state"
    /// A path to what is unnested.
    List "a list like data.lines"
    /// A key of an object.
    Key "a key"
    /// Of an object that has others.
    NewKey "a key that is not there yet"
    Subscript "a number or a text"
    Text "a text in quotes"
    Point "a time or a position"
    Event "an event like #1207"
    Position "a position like #1207"
    Count "a number"
    /// Behind a sign.
    Number "a number"
    Period "a duration like 30s"
    Arithmetic "an operator"
    Comparison "a comparison"
    End "; or the end"
}

impl Expectation {
    /// As a message says it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Expectation::Keyword(keyword) => keyword.text(),
            Expectation::Symbol(symbol) => symbol.text(),
            Expectation::Noun(noun) => noun.text(),
        }
    }

    /// Its bit in the set of those already written down.
    fn bit(self) -> (usize, u128) {
        match self {
            Expectation::Keyword(keyword) => (keyword as usize / 128, 1 << (keyword as u32 % 128)),
            Expectation::Symbol(symbol) => (2, 1 << (symbol as u32 % 64)),
            Expectation::Noun(noun) => (2, 1 << (64 + noun as u32 % 64)),
        }
    }

    /// Messages name what to write before how to go on with what is written.
    fn rank(self) -> u8 {
        match self {
            Expectation::Noun(TokenClass::End) => 3,
            Expectation::Noun(TokenClass::Arithmetic | TokenClass::Comparison | TokenClass::EntityId) => 2,
            Expectation::Symbol(symbol) if symbol.closes() => 0,
            Expectation::Symbol(_) => 2,
            Expectation::Keyword(_) => 1,
            Expectation::Noun(_) => 0,
        }
    }
}

/// A fault that the parser knows better than "expected …" could say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) span: Span,
    pub(crate) message: String,
    pub(crate) suggestion: Option<String>,
}

/// What the terminals recorded.
#[derive(Debug, Default)]
pub(crate) struct Expectations {
    /// The index of the furthest token that some terminal did not match.
    place: usize,
    expected: Vec<Expectation>,
    seen: [u128; 3],
    wrong: Option<Wrong>,
}

impl Expectations {
    /// Records that the token at a place is not what was expected there.
    pub(crate) fn expect(&mut self, place: usize, expectation: Expectation) {
        #[cfg(test)]
        super::work_counter::took(1);
        if place < self.place {
            return;
        }
        if place > self.place {
            self.place = place;
            self.expected.clear();
            self.seen = [0; 3];
        }
        let (word, bit) = expectation.bit();
        if let Some(word) = self.seen.get_mut(word)
            && *word & bit == 0
        {
            *word |= bit;
            self.expected.push(expectation);
        }
    }

    /// Records what is wrong; the first stays.
    pub(crate) fn blame(&mut self, wrong: Wrong) {
        self.wrong.get_or_insert(wrong);
    }

    /// The furthest place, as the index of a token.
    pub(crate) fn place(&self) -> usize {
        self.place
    }

    /// Forgets all: a statement begins.
    pub(crate) fn clear(&mut self) {
        *self = Expectations::default();
    }

    pub(crate) fn wrong(&self) -> Option<&Wrong> {
        self.wrong.as_ref()
    }

    /// What would have been accepted at the furthest place, most likely first.
    pub(crate) fn expected(&self) -> Vec<Expectation> {
        let mut expected = self.expected.clone();
        expected.sort_by_key(|e| e.rank());
        expected
    }

    pub(crate) fn expects(&self, expectation: Expectation) -> bool {
        self.expected.contains(&expectation)
    }

    /// The keyword that was probably meant by a word at the furthest place.
    pub(crate) fn nearest(&self, word: &str, most: usize) -> Option<Keyword> {
        let word: Vec<char> = word.chars().map(|c| c.to_ascii_uppercase()).collect();
        // Longer than any keyword is no slip of one; so the distance below stays cheap.
        if !(3..=20).contains(&word.len()) {
            return None;
        }
        let most = if word.len() == 3 { most.min(1) } else { most };
        let keywords = self.expected.iter().filter_map(|e| match e {
            Expectation::Keyword(keyword) => Some(*keyword),
            _ => None,
        });
        keywords
            .map(|keyword| (distance(&word, &keyword.text().chars().collect::<Vec<_>>()), keyword))
            .filter(|(distance, _)| *distance <= most)
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, keyword)| keyword)
    }
}

/// How many letters to add, drop, change or swap with their neighbour.
pub(crate) fn distance(a: &[char], b: &[char]) -> usize {
    let width = b.len() + 1;
    let mut rows: Vec<usize> = vec![0; width * (a.len() + 1)];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i * width + j] = if i == 0 || j == 0 {
                i + j
            } else {
                let change = usize::from(a[i - 1] != b[j - 1]);
                let mut least = (rows[(i - 1) * width + j] + 1)
                    .min(rows[i * width + j - 1] + 1)
                    .min(rows[(i - 1) * width + j - 1] + change);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    least = least.min(rows[(i - 2) * width + j - 2] + 1);
                }
                least
            };
        }
    }
    rows[width * (a.len() + 1) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_furthest_place_is_kept() {
        let mut trail = Expectations::default();
        trail.expect(1, Expectation::Keyword(Keyword::Where));
        trail.expect(2, Expectation::Symbol(Symbol::Comma));
        trail.expect(2, Expectation::Noun(TokenClass::Id));
        trail.expect(2, Expectation::Noun(TokenClass::Id));
        trail.expect(0, Expectation::Keyword(Keyword::Since));
        assert_eq!(trail.place(), 2);
        assert_eq!(trail.expected(), [Expectation::Noun(TokenClass::Id), Expectation::Symbol(Symbol::Comma)]);
    }

    #[test]
    fn every_expectation_has_its_own_bit() {
        let all = Keyword::ALL.iter().map(|k| Expectation::Keyword(*k));
        let all = all.chain(Symbol::ALL.iter().map(|s| Expectation::Symbol(*s)));
        // The first of the nouns, and the last.
        let nouns = [TokenClass::Kind, TokenClass::Comparison, TokenClass::End];
        let all = all.chain(nouns.map(Expectation::Noun));
        let bits: std::collections::HashSet<_> = all.map(Expectation::bit).collect();
        assert_eq!(bits.len(), Keyword::ALL.len() + Symbol::ALL.len() + nouns.len());
        assert!(Keyword::ALL.len() <= 256 && Symbol::ALL.len() <= 64 && (TokenClass::End as usize) < 64);
    }

    #[test]
    fn a_slip_finds_its_keyword() {
        let mut trail = Expectations::default();
        for keyword in [Keyword::Where, Keyword::Limit, Keyword::Last, Keyword::By] {
            trail.expect(0, Expectation::Keyword(keyword));
        }
        for (word, keyword) in [
            ("WHRE", Some(Keyword::Where)),
            ("limt", Some(Keyword::Limit)),
            ("wehre", Some(Keyword::Where)),
            ("alst", Some(Keyword::Last)),
            ("total", None),
            ("x", None),
        ] {
            assert_eq!(trail.nearest(word, 2), keyword, "{word}");
        }
    }
}
