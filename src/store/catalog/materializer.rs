//! What a view makes of the log, as whoever understands its definition says.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::Derive;
use crate::allowance::Limits;
use crate::error::Result;
use crate::event::record::Record;
use crate::pattern::Pattern;

/// What a view makes of the log.
pub(crate) trait ViewMaterializer: fmt::Debug + Send + Sync {
    /// What of it is kept.
    fn keeps(&self) -> Keeps<'_>;

    /// What it was compiled to, for whoever plans what reads it.
    fn plan(&self) -> Option<&(dyn Any + Send + Sync)> {
        None
    }
}

/// A group of a view takes no more bytes than this; one that would is not kept, and nor is what is read of its view.
pub(in crate::store) const LARGEST: usize = if cfg!(test) { 256 } else { MAX_GROUP };
pub(crate) const MAX_GROUP: usize = 64 << 10;

/// What is kept of a view.
pub(crate) enum Keeps<'v> {
    /// Groups of events.
    Groups(&'v dyn ViewGroups),
    /// Which events of a pattern are its rows: those that have a key.
    Events(&'v Pattern, Arc<dyn Derive>),
    /// Which entities of a kind are its rows: those whose states have a key.
    States(&'v str, Arc<dyn Derive>),
}

/// What a stretch of the log makes: groups by their keys, each as its bytes.
pub(crate) type GroupDelta = BTreeMap<Vec<u8>, Vec<u8>>;

/// How groups are made of events. The same events make the same groups, wherever they are cut into stretches.
pub(crate) trait ViewGroups: Send + Sync {
    /// What a stretch makes.
    fn part<'e>(
        &self,
        events: &mut dyn Iterator<Item = Result<Record<'e>>>,
        limits: &Limits,
    ) -> Result<GroupDelta>;

    /// A group of one stretch and of a later one.
    fn join(&self, kept: &[u8], later: &[u8]) -> Result<Vec<u8>>;

    /// A group takes no more bytes than this; of one that would nothing is kept.
    fn largest(&self) -> usize {
        LARGEST
    }
}
