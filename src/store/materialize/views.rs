//! Views that are behind the log: a slice of each in a round, as of states.

use super::behind::MaterializeRound;
use super::{Following, Materializer};
use crate::error::Result;
use crate::store::catalog::Catalog;
use crate::store::mutex::locked;

impl Materializer {
    /// Does a slice of what is to be done for each view. Says whether there was anything to do. The indexes of states come after the
    /// states.
    pub(in crate::store) fn keep_views(&self, catalog: &Catalog, states: bool) -> Result<bool> {
        let checkpoint = self.kernel.tables.read()?.checkpoint()?;
        let done = locked(&self.progress).as_of(checkpoint).views;
        let mut round = MaterializeRound::default();
        let views: Vec<_> = catalog.kept_views_behind(done).collect();
        let following: Vec<_> = views.iter().filter_map(|view| Following::view(view)).collect();
        let mut busy = self.follow_behind(catalog, &following, &mut round)?;
        let finders = views.iter().filter_map(|view| view.finder.as_ref()).filter(|_| states);
        let unbuilt: Vec<_> = finders
            .filter_map(|finder| {
                let model = catalog.model(&finder.kind).filter(|model| model.is_understood())?;
                Some((&**model, &**finder))
            })
            .collect();
        busy.extend(self.build_behind(&unbuilt, &mut round)?);
        let (read, mut all) = (self.kernel.tables.read()?, true);
        for view in views {
            let failed = self.kernel.failures.is_final(view.position);
            if failed {
                view.set_incomplete();
            }
            if !view.is_complete() && !failed {
                view.look(&read, catalog)?;
            }
            all &= !busy.contains(&view.position) && (view.is_complete() || view.view().is_err() || failed);
            if all {
                locked(&self.progress).as_of(checkpoint).views = view.position;
            }
        }
        drop(read);
        // What another has replaced by now is let go of as the next round begins.
        round.add(Ok(!catalog.useless().is_empty()));
        round.end()
    }

    /// Whether every view of a catalog is kept, but for what was just appended. What was dropped or replaced since is not asked for.
    pub(in crate::store) fn keeps_views_of(&self, wanted: &Catalog) -> Result<bool> {
        let now = self.kernel.applied.catalog();
        let read = self.kernel.tables.read()?;
        let checkpoint = read.checkpoint()?;
        let known = locked(&self.progress).as_of(checkpoint).views;
        for view in wanted.kept_views_behind(known).filter(|view| view.view().is_ok()) {
            let still = now.is_newest_view(view);
            // One that came up to C once may be far from it again.
            let is_kept = view.groups().is_none() || read.followed(view.position)? >= Some(checkpoint);
            if still && !(view.is_complete() && is_kept) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
