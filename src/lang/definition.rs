//! How the language names what can be defined.

use super::ast::{DropTarget, ShowTarget};
use super::expectations::TokenClass;
use super::keyword::Keyword as K;
use crate::definition::{DefinitionKind, ProgramKind};

/// The word for one of a kind, the word for all of them, and what a name of one is.
fn words(kind: DefinitionKind) -> (K, K, TokenClass) {
    match kind {
        DefinitionKind::Entity => (K::Entity, K::Kinds, TokenClass::Kind),
        DefinitionKind::Event => (K::Event, K::Schemas, TokenClass::Type),
        DefinitionKind::Verb => (K::Verb, K::Verbs, TokenClass::Verb),
        DefinitionKind::Index => (K::Index, K::Indexes, TokenClass::Index),
        DefinitionKind::Column => (K::Column, K::Columns, TokenClass::Column),
        DefinitionKind::View => (K::View, K::Views, TokenClass::View),
        DefinitionKind::Private => (K::Private, K::Private, TokenClass::Private),
        DefinitionKind::Program(ProgramKind::Reaction) => (K::Reaction, K::Reactions, TokenClass::Reaction),
        DefinitionKind::Program(ProgramKind::Webhook) => (K::Webhook, K::Webhooks, TokenClass::Webhook),
        DefinitionKind::Program(ProgramKind::Schedule) => (K::Schedule, K::Schedules, TokenClass::Schedule),
    }
}

impl DropTarget {
    /// All of them, as messages name them.
    pub(super) fn all() -> impl Iterator<Item = DropTarget> {
        DefinitionKind::ALL.into_iter().map(DropTarget::Definition).chain([DropTarget::Subscription])
    }

    pub(super) fn keyword(self) -> K {
        match self {
            DropTarget::Definition(kind) => words(kind).0,
            DropTarget::Subscription => K::Subscription,
        }
    }

    /// What a name of one is.
    pub(super) fn noun(self) -> TokenClass {
        match self {
            DropTarget::Definition(kind) => words(kind).2,
            DropTarget::Subscription => TokenClass::Subscription,
        }
    }
}

impl ShowTarget {
    /// All of them, as messages name them.
    pub(super) fn all() -> impl Iterator<Item = ShowTarget> {
        let mut definitions = DefinitionKind::ALL.into_iter().map(ShowTarget::Definitions);
        let first = definitions.next().into_iter().chain([ShowTarget::Types]);
        let rest = [ShowTarget::Subscriptions, ShowTarget::Functions, ShowTarget::Stats, ShowTarget::Head];
        first.chain(definitions).chain(rest)
    }

    pub(super) fn keyword(self) -> K {
        match self {
            ShowTarget::Definitions(kind) => words(kind).1,
            ShowTarget::Types => K::Types,
            ShowTarget::Subscriptions => K::Subscriptions,
            ShowTarget::Functions => K::Functions,
            ShowTarget::Stats => K::Stats,
            ShowTarget::Head => K::Head,
        }
    }
}
