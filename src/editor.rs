//! What a program that lets people type statements needs to know of a text: whether it goes on, what may come next, what each
//! piece of it is, and what is wrong with it, drawn.

use std::cell::OnceCell;
use std::ops::Range;

use crate::error::SyntaxFault;
use crate::lang::{self, Expectation, ExpressionScope, TokenClass};
use crate::plan::function::{FUNCTIONS, FunctionBody};

pub use crate::entity::{escaped, is_unseen};
pub use crate::lang::HighlightClass;

/// What may come at a place in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// What is wanted there.
    pub wanted: CompletionKind,
    /// The bytes of the text that it replaces: what is typed of it already.
    pub typed: Range<usize>,
}

/// A word, or a class of words for the caller to fill.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompletionKind {
    /// What `DESCRIBE` tells of: whatever is defined, and a kind of entities.
    Described,
    /// A keyword or a symbol, as it is written.
    Word(&'static str),
    /// The kind of an entity, like `Order`.
    Kind,
    /// The id of an entity of this kind.
    Id(String),
    /// This name, which the text gives itself: items of `UNNEST`.
    Alias(String),
    /// The type of an event, like `Order.paid`.
    Type,
    /// A pattern over types, in quotes.
    Pattern,
    /// A field of an event, like `data.total`.
    Field,
    /// What an entity of this kind is, like `state.total`; the kind is empty where it is not known.
    StateField(String),
    /// What a verb sees beside the state: an argument, like `data.amount`, or who performs it.
    Argument,
    /// A column of this view.
    Column(String),
    /// A function, where there are no fields.
    Function,
    /// A member of data, like `total`.
    Member,
    /// The name of a verb.
    Verb,
    /// The name of an index, of events or of states.
    Index,
    /// The name of a column that is kept beside the log.
    StoredColumn,
    /// What `BY` takes: the name of an index of events, or a kind.
    Tag,
    /// The name of a view.
    View,
    /// The name of a reaction.
    Reaction,
    /// The name of a webhook.
    Webhook,
    /// The name of a schedule.
    Schedule,
    /// The name of a subscription.
    Subscription,
    /// Something else, in words.
    Other(&'static str),
}

/// What may come at a place, most likely first. Nothing is filtered by what is typed already.
///
/// ```
/// use bygone::editor::{CompletionKind, complete};
/// let next = complete("HISTORY Order 42 ", 17);
/// assert!(next.iter().any(|completion| completion.wanted == CompletionKind::Word("WHERE")));
/// assert!(complete("HISTORY ", 8).iter().any(|completion| completion.wanted == CompletionKind::Kind));
/// ```
pub fn complete(text: &str, at: usize) -> Vec<Completion> {
    let scope = OnceCell::new();
    let scope = || scope.get_or_init(|| lang::scope(text.get(..at).unwrap_or(text)));
    let mut completions = Vec::new();
    for site in lang::complete(text, at) {
        let of = |wanted| Completion { wanted, typed: site.typed.clone() };
        match site.expectation {
            Expectation::Noun(TokenClass::Expression | TokenClass::List) => {
                let before = text.get(..at).unwrap_or(text);
                completions.extend(lang::aliases(before).into_iter().map(CompletionKind::Alias).map(of));
                completions.extend(fields(scope()).into_iter().map(of))
            }
            Expectation::Noun(TokenClass::Id | TokenClass::EntityId) => {
                let kind = lang::kind_before(text.get(..site.typed.start).unwrap_or_default());
                completions.push(of(CompletionKind::Id(kind)));
            }
            other => completions.push(of(wanted(other))),
        }
    }
    completions
}

/// What an expression may name.
fn fields(scope: &ExpressionScope) -> Vec<CompletionKind> {
    match scope {
        ExpressionScope::Events => vec![CompletionKind::Field],
        ExpressionScope::Found(kind) => vec![CompletionKind::StateField(kind.clone())],
        ExpressionScope::Fold(kind) => vec![CompletionKind::Field, CompletionKind::StateField(kind.clone())],
        ExpressionScope::Verb(kind) => {
            vec![CompletionKind::StateField(kind.clone()), CompletionKind::Argument]
        }
        ExpressionScope::Columns(view) => vec![CompletionKind::Column(view.clone())],
        ExpressionScope::Values => vec![CompletionKind::Function],
    }
}

fn wanted(expectation: Expectation) -> CompletionKind {
    match expectation {
        Expectation::Noun(TokenClass::Kind) => CompletionKind::Kind,
        Expectation::Noun(TokenClass::Type | TokenClass::Happening) => CompletionKind::Type,
        Expectation::Noun(TokenClass::Pattern) => CompletionKind::Pattern,
        Expectation::Noun(TokenClass::Member) => CompletionKind::Member,
        Expectation::Noun(TokenClass::Verb) => CompletionKind::Verb,
        Expectation::Noun(TokenClass::Index) => CompletionKind::Index,
        Expectation::Noun(TokenClass::Tag) => CompletionKind::Tag,
        Expectation::Noun(TokenClass::Column) => CompletionKind::StoredColumn,
        Expectation::Noun(TokenClass::View) => CompletionKind::View,
        Expectation::Noun(TokenClass::Reaction) => CompletionKind::Reaction,
        Expectation::Noun(TokenClass::Webhook) => CompletionKind::Webhook,
        Expectation::Noun(TokenClass::Schedule) => CompletionKind::Schedule,
        Expectation::Noun(TokenClass::Subscription) => CompletionKind::Subscription,
        Expectation::Noun(TokenClass::Described) => CompletionKind::Described,
        Expectation::Noun(noun) => CompletionKind::Other(noun.text()),
        word => CompletionKind::Word(word.text()),
    }
}

/// A name as a statement writes it: in backticks, where it would not be one word without.
///
/// ```
/// use bygone::editor::name;
/// assert_eq!((name("total").as_str(), name("post code").as_str()), ("total", "`post code`"));
/// ```
pub fn name(name: &str) -> String {
    crate::entity::NameText(name).to_string()
}

/// An id as a statement writes it: in quotes, where it would not be one word without.
///
/// ```
/// use bygone::editor::id;
/// assert_eq!((id("42").as_str(), id("INV-9").as_str()), ("42", "'INV-9'"));
/// ```
pub fn id(id: &str) -> String {
    crate::entity::IdText(id).to_string()
}

/// A function of the language.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FunctionDoc {
    /// Its name.
    pub name: &'static str,
    /// How it is called: `substring(text, start[, length])`.
    pub form: String,
    /// What it gives, in a line.
    pub gives: &'static str,
    /// Whether it is worked out from many events, as `count` is.
    pub is_aggregate: bool,
}

/// All functions of the language; aggregates come first.
///
/// ```
/// use bygone::editor::functions;
/// let lower = functions().find(|function| function.name == "lower").unwrap();
/// assert_eq!((lower.form.as_str(), lower.gives), ("lower(text)", "in small letters"));
/// ```
pub fn functions() -> impl Iterator<Item = FunctionDoc> {
    FUNCTIONS.iter().map(|function| FunctionDoc {
        name: function.name,
        form: function.form(),
        gives: function.doc,
        is_aggregate: matches!(function.work, FunctionBody::Aggregate(_)),
    })
}

/// Whether a text is right as far as it goes and only stops too early, so that a prompt should ask for more.
///
/// ```
/// use bygone::editor::is_incomplete;
/// assert!(is_incomplete("EMIT Order.paid 42 {total:"));
/// assert!(!is_incomplete("HISTORY Order 42"));
/// ```
pub fn is_incomplete(text: &str) -> bool {
    lang::is_incomplete(text)
}

/// What each piece of a text is, for colours; of wrong and unfinished texts too. The space between pieces has no class.
///
/// ```
/// use bygone::editor::{HighlightClass, highlight};
/// assert_eq!(highlight("HISTORY Order 42")[0], (0..7, HighlightClass::Keyword));
/// ```
pub fn highlight(text: &str) -> Vec<(Range<usize>, HighlightClass)> {
    lang::highlight(text)
}

/// A fault in several lines: the line of the text, a caret below the place, what was expected or meant.
///
/// ```
/// use bygone::editor::report;
/// use bygone::read::Script;
/// use bygone::Error;
/// let Err(Error::Syntax(fault)) = Script::parse("HISTORY Order 42 WHRE data.total > 1") else { panic!() };
/// assert!(report(&fault).contains("did you mean WHERE?"));
/// ```
pub fn report(fault: &SyntaxFault) -> String {
    lang::report(fault)
}
