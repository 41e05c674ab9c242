//! What a database must be: a list of what happened, from which all else is worked out anew each time it is asked.

use crate::event::{Event, Expect, NewEvent};
use crate::value::{Object, Value};

/// How many accounts there are.
pub(super) const ACCOUNTS: usize = 3;

/// What is always defined.
pub(super) const DEFINED: &str = "DEFINE VERB Spend ON Account REQUIRE data.amount > 0 ELSE 'nothing' \
     REQUIRE coalesce(state.sum, 0) >= data.amount ELSE 'too little' EMIT spent {amount: data.amount}";

/// What happened, as far as it counts here.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fact {
    Used {
        account: usize,
        amount: i64,
        red: bool,
    },
    Spent {
        account: usize,
        amount: i64,
    },
    Noted {
        account: usize,
        text: String,
    },
    /// The text of a definition, or of its drop.
    Definition(String),
}

/// What comes of a verb.
#[derive(Debug)]
pub(super) enum Outcome {
    Made(Fact),
    Refused,
    /// There is no such verb: a crash took its definition.
    Unknown,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    /// The first has the position 1.
    pub log: Vec<Fact>,
    /// Where groups end.
    ends: Vec<usize>,
    /// Keys, how long the log was before, and what was appended by them.
    pub keys: Vec<(String, usize, Vec<Fact>)>,
}

impl Fact {
    pub fn account(&self) -> Option<usize> {
        match self {
            Fact::Used { account, .. } | Fact::Spent { account, .. } | Fact::Noted { account, .. } => {
                Some(*account)
            }
            Fact::Definition(_) => None,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Fact::Used { .. } => "Account.used",
            Fact::Spent { .. } => "Account.spent",
            Fact::Noted { .. } => "Account.noted",
            Fact::Definition(_) => "$",
        }
    }

    /// What is used or spent.
    fn amount(&self) -> Option<i64> {
        match self {
            Fact::Used { amount, .. } | Fact::Spent { amount, .. } => Some(*amount),
            Fact::Noted { .. } | Fact::Definition(_) => None,
        }
    }

    pub fn is_red(&self) -> bool {
        matches!(self, Fact::Used { red: true, .. })
    }

    fn data(&self) -> Value {
        let member = match self {
            Fact::Used { amount, .. } | Fact::Spent { amount, .. } => ("amount", Value::from(*amount)),
            Fact::Noted { text, .. } => ("text", Value::from(text.as_str())),
            Fact::Definition(_) => return Value::Null,
        };
        object([member])
    }

    /// The event that says it.
    pub fn event(&self) -> NewEvent {
        let mut event = NewEvent::new(self.kind()).data(&self.data());
        if let Some(account) = self.account() {
            event = event.on(("Account", account as u64));
        }
        if self.is_red() { event.index("colour", "red") } else { event }
    }
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Object(Object::from_iter(members.map(|(name, value)| (name.to_owned(), value))))
}

impl Model {
    /// A group comes, all of it at once.
    pub fn append(&mut self, facts: Vec<Fact>) {
        self.log.extend(facts);
        self.ends.push(self.log.len());
    }

    /// A crash took what came after so many events.
    pub fn cut(&mut self, length: usize) {
        self.log.truncate(length);
        self.ends.retain(|end| *end <= length);
        self.keys.retain(|(_, before, facts)| before + facts.len() <= length);
    }

    /// Whether no group is there in part if the log ends after so many events.
    pub fn is_boundary(&self, length: usize) -> bool {
        length == 0 || self.ends.contains(&length)
    }

    /// How long the log was before a key was used, and for what.
    pub fn keyed(&self, key: &str) -> Option<(usize, &Vec<Fact>)> {
        self.keys.iter().find(|(known, ..)| known == key).map(|(_, before, facts)| (*before, facts))
    }

    /// Whether what is expected beside a fact holds.
    pub fn allows(&self, fact: &Fact, guard: &Expect) -> bool {
        let events = fact.account().map_or(0, |account| self.history(account).len() as u64);
        match guard {
            Expect::New => events == 0,
            // With events that its definition ignores, all of them, it is nothing yet.
            Expect::Exists => fact.account().is_some_and(|account| self.state(account) != Value::Null),
            Expect::Absent => fact.account().is_some_and(|account| self.state(account) == Value::Null),
            Expect::Version(version) => events == version.0,
            Expect::None(_) => self.colored().is_empty(),
        }
    }

    /// Holds an event to the one at a place of the log.
    pub fn is_event(&self, place: usize, event: &Event) {
        let fact = &self.log[place];
        assert_eq!(event.position.0 as usize, place + 1);
        let Some(account) = fact.account() else {
            assert!(event.kind.as_str().starts_with('$'), "{event:?} is {fact:?}");
            return;
        };
        let version = self.log[..=place].iter().filter(|fact| fact.account() == Some(account)).count();
        assert_eq!(event.kind.as_str(), fact.kind(), "{event:?} is {fact:?}");
        assert_eq!(event.target, Some(("Account", account as u64).into()), "{event:?} is {fact:?}");
        assert_eq!(event.version.map(|version| version.0), Some(version as u64), "{event:?} is {fact:?}");
        assert_eq!(event.data.to_value().expect("data is read"), fact.data(), "{event:?} is {fact:?}");
        let red = event.tags.iter().any(|tag| tag.name == "colour");
        assert_eq!(red, fact.is_red(), "{event:?} is {fact:?}");
    }

    /// The positions of what is of an account.
    pub fn history(&self, account: usize) -> Vec<usize> {
        let places = self.log.iter().enumerate();
        places.filter(|(_, fact)| fact.account() == Some(account)).map(|(place, _)| place + 1).collect()
    }

    /// The positions of what is red.
    pub fn colored(&self) -> Vec<i64> {
        self.positions(Fact::is_red)
    }

    fn positions(&self, of: impl Fn(&Fact) -> bool) -> Vec<i64> {
        let places = self.log.iter().enumerate();
        places.filter(|(_, fact)| of(fact)).map(|(place, _)| place as i64 + 1).collect()
    }

    /// The text of the newest definition of a name; none if it is dropped, or never was.
    fn defined(&self, name: &str) -> Option<&str> {
        let (define, drop) = (format!("DEFINE {name} "), format!("DROP {name}"));
        let texts = self.log.iter().rev().filter_map(|fact| match fact {
            Fact::Definition(text) => Some(text.trim()),
            _ => None,
        });
        let mut about = texts.filter(|text| text.starts_with(&define) || *text == drop);
        about.next().filter(|text| text.starts_with(&define))
    }

    /// The number that follows a word in a definition.
    fn number(text: &str, word: &str) -> i64 {
        let (_, rest) = text.split_once(word).unwrap_or_else(|| panic!("{text} has no {word}"));
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    /// What an account is; null while nothing happened that makes it something.
    pub fn state(&self, account: usize) -> Value {
        let mut own = self.log.iter().filter(|fact| fact.account() == Some(account)).peekable();
        if self.defined("ENTITY Account").is_some() {
            // A note is ignored.
            let is_something = own.any(|fact| fact.amount().is_some());
            return if is_something { object([("sum", self.sum(account).into())]) } else { Value::Null };
        }
        if own.peek().is_none() {
            return Value::Null;
        }
        // Without a definition the newest of each member stays.
        let mut members = Object::new();
        for fact in own {
            if let Value::Object(data) = fact.data() {
                members.extend(data);
            }
        }
        Value::Object(members)
    }

    /// As the definition of accounts has it; 0 without one.
    fn sum(&self, account: usize) -> i64 {
        let Some(text) = self.defined("ENTITY Account") else { return 0 };
        let factor = Model::number(text, "data.amount * ");
        let worth = |fact: &Fact| match fact {
            Fact::Used { account: of, amount, .. } if *of == account => amount * factor,
            Fact::Spent { account: of, amount } if *of == account => -amount,
            _ => 0,
        };
        self.log.iter().map(worth).sum()
    }

    /// What comes of it if somebody spends.
    pub fn perform(&self, account: usize, amount: i64) -> Outcome {
        if self.defined("VERB Spend").is_none() {
            Outcome::Unknown
        } else if amount > 0 && self.sum(account) >= amount {
            Outcome::Made(Fact::Spent { account, amount })
        } else {
            Outcome::Refused
        }
    }

    /// The positions that the index of amounts finds; none without such an index.
    pub fn found(&self, value: i64) -> Option<Vec<i64>> {
        let more = Model::number(self.defined("INDEX amounts")?, "data.amount + ");
        Some(self.positions(|fact| fact.amount().is_some_and(|amount| amount + more == value)))
    }

    /// The sums that the view of totals has, in order; none without such a view.
    pub fn sums(&self) -> Option<Vec<i64>> {
        let least = Model::number(self.defined("VIEW totals")?, "data.amount >= ");
        let of = |account: usize| {
            let amounts = self.log.iter().filter_map(move |fact| match fact {
                Fact::Used { account: of, amount, .. } if *of == account && *amount >= least => Some(*amount),
                _ => None,
            });
            amounts.fold(None, |sum: Option<i64>, amount| Some(sum.unwrap_or(0) + amount))
        };
        let mut sums: Vec<i64> = (0..ACCOUNTS).filter_map(of).collect();
        sums.sort();
        Some(sums)
    }
}
