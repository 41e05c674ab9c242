//! The keywords, in one list.
//!
//! They count in any case. A name may be a keyword, so none is reserved but the twelve that an expression is made
//! of, and those only where an expression is expected.

/// Declares the keywords once, in the order of their texts.
macro_rules! keywords {
    ($($keyword:ident $text:literal)*) => {
        /// A word that the grammar names.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Keyword {
            $($keyword,)*
        }

        impl Keyword {
            /// Every keyword, sorted by its text.
            pub(crate) const ALL: &[Keyword] = &[$(Keyword::$keyword,)*];

            /// As it is printed: in capitals.
            pub(crate) fn text(self) -> &'static str {
                match self {
                    $(Keyword::$keyword => $text,)*
                }
            }
        }
    };
}

keywords! {
    Absent "ABSENT"
    After "AFTER"
    Against "AGAINST"
    Analyze "ANALYZE"
    And "AND"
    As "AS"
    AsOf "AS OF"
    Asc "ASC"
    At "AT"
    Atomic "ATOMIC"
    Backup "BACKUP"
    Because "BECAUSE"
    Between "BETWEEN"
    Blame "BLAME"
    By "BY"
    Caused "CAUSED"
    Causes "CAUSES"
    Check "CHECK"
    Checkpoint "CHECKPOINT"
    Close "CLOSE"
    Column "COLUMN"
    Columns "COLUMNS"
    Compact "COMPACT"
    Contains "CONTAINS"
    Cron "CRON"
    Define "DEFINE"
    Delete "DELETE"
    Desc "DESC"
    Describe "DESCRIBE"
    Diff "DIFF"
    Do "DO"
    Drop "DROP"
    Effects "EFFECTS"
    Else "ELSE"
    Emit "EMIT"
    Entity "ENTITY"
    Event "EVENT"
    Events "EVENTS"
    Every "EVERY"
    Exists "EXISTS"
    Expect "EXPECT"
    Explain "EXPLAIN"
    False "FALSE"
    Fields "FIELDS"
    Find "FIND"
    Forget "FORGET"
    Forgotten "FORGOTTEN"
    From "FROM"
    Functions "FUNCTIONS"
    Group "GROUP"
    Having "HAVING"
    Head "HEAD"
    History "HISTORY"
    Id "ID"
    Ignore "IGNORE"
    In "IN"
    Include "INCLUDE"
    Including "INCLUDING"
    Increment "INCREMENT"
    Index "INDEX"
    Indexes "INDEXES"
    Initial "INITIAL"
    Is "IS"
    Key "KEY"
    Keys "KEYS"
    Kinds "KINDS"
    Last "LAST"
    Limit "LIMIT"
    Matches "MATCHES"
    Merge "MERGE"
    Meta "META"
    Namespace "NAMESPACE"
    New "NEW"
    None "NONE"
    Not "NOT"
    Now "NOW"
    Null "NULL"
    Of "OF"
    On "ON"
    Or "OR"
    Order "ORDER"
    Past "PAST"
    Perform "PERFORM"
    Private "PRIVATE"
    Prove "PROVE"
    Raw "RAW"
    Reaction "REACTION"
    Reactions "REACTIONS"
    Read "READ"
    Rekey "REKEY"
    Reopen "REOPEN"
    Replace "REPLACE"
    Replay "REPLAY"
    Require "REQUIRE"
    Retry "RETRY"
    Schedule "SCHEDULE"
    Schedules "SCHEDULES"
    Schema "SCHEMA"
    Schemas "SCHEMAS"
    Secret "SECRET"
    Select "SELECT"
    Set "SET"
    Show "SHOW"
    Sign "SIGN"
    Since "SINCE"
    Skip "SKIP"
    Snapshot "SNAPSHOT"
    Start "START"
    Stats "STATS"
    Steps "STEPS"
    Strict "STRICT"
    Subscribe "SUBSCRIBE"
    Subscription "SUBSCRIPTION"
    Subscriptions "SUBSCRIPTIONS"
    Sync "SYNC"
    To "TO"
    Trace "TRACE"
    True "TRUE"
    Types "TYPES"
    Unless "UNLESS"
    Unnest "UNNEST"
    Until "UNTIL"
    Upcast "UPCAST"
    Verb "VERB"
    Verbs "VERBS"
    Verify "VERIFY"
    Version "VERSION"
    View "VIEW"
    Views "VIEWS"
    Warn "WARN"
    Webhook "WEBHOOK"
    Webhooks "WEBHOOKS"
    When "WHEN"
    Where "WHERE"
    With "WITH"
    Without "WITHOUT"
}

/// More than the longest keyword has bytes.
const LONGEST: usize = 16;

impl Keyword {
    /// The keyword that a word is, in any case.
    pub(crate) fn of(word: &str) -> Option<Keyword> {
        let mut capitals = [0; LONGEST];
        let capitals = capitals.get_mut(..word.len())?;
        capitals.copy_from_slice(word.as_bytes());
        capitals.make_ascii_uppercase();
        let at = Keyword::ALL.binary_search_by(|k| k.text().as_bytes().cmp(capitals)).ok()?;
        Keyword::ALL.get(at).copied()
    }

    /// Whether it cannot begin a field in an expression (unless in backticks).
    pub(crate) fn is_reserved(self) -> bool {
        use Keyword::*;
        matches!(self, And | Between | Contains | False | In | Is | Matches | Not | Now | Null | Or | True)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_keywords_are_those_of_the_grammar() {
        let grammar = include_str!("../../grammar/bygone.ebnf");
        let quoted = grammar.split('"').skip(1).step_by(2);
        let named: BTreeSet<&str> =
            quoted.filter(|text| text.starts_with(|c: char| c.is_ascii_uppercase())).collect();
        assert_eq!(Keyword::ALL.iter().map(|k| k.text()).collect::<BTreeSet<_>>(), named);
    }

    #[test]
    fn a_keyword_is_found_in_any_case() {
        assert!(Keyword::ALL.is_sorted_by(|a, b| a.text() < b.text()));
        for keyword in Keyword::ALL {
            assert!(keyword.text().len() <= LONGEST);
            assert_eq!(Keyword::of(keyword.text()), Some(*keyword));
            assert_eq!(Keyword::of(&keyword.text().to_lowercase()), Some(*keyword));
        }
        for word in ["", "ORDERS", "ünder", "a_word_that_is_longer_than_any_keyword"] {
            assert_eq!(Keyword::of(word), None);
        }
    }
}
