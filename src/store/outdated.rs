//! What is kept by the rules of an earlier version is given up as a file is opened, to be made anew.
//!
//! The row `evaluation` of `meta` tells by which rules expressions were worked out. Where they are older than this version's, what
//! is kept of those definitions that may mean something else now is given up, before anybody reads: states and groups of views, with
//! their snapshots, are then made anew in the background, as those of a new definition are. The lists of an index go on behind its
//! definition as events are written, and nothing makes those anew: such an index is not used until it is defined anew.
//!
//! | rules | |
//! |---|---|
//! | 1 | an instant and a text are of two sorts; files without the row |
//! | 2 | a text that says an instant is that instant beside one |

use super::catalog::Catalog;
use super::options::Options;
use super::tables::states::Built;
use super::tables::{EVALUATION, Tables};
use crate::entity::Position;
use crate::error::Result;

/// Gives up what an earlier version made otherwise, and says that it is done. After a crash it is done again.
pub(super) fn give_up(tables: &Tables, catalog: &Catalog, options: &Options) -> Result<()> {
    // Where nothing is evaluated, nothing is known of what it means.
    let Ok(compiler) = options.compiler() else { return Ok(()) };
    if tables.read()?.evaluation()? >= EVALUATION {
        return Ok(());
    }
    let of_expression = |text: &str| compiler.compares_instants(&format!("DEFINE INDEX x ON '*' AS {text}"));
    let views: Vec<_> = catalog.kept_views().filter(|view| compiler.compares_instants(&view.text)).collect();
    let models = catalog.models().filter(|model| compiler.compares_instants(&model.text));
    let groups = views.iter().filter(|view| view.groups().is_some()).map(|view| view.position);
    let kept: Vec<Position> = models.map(|model| model.position).chain(groups).collect();

    let indexes = catalog.iter().filter(|index| of_expression(index.text())).map(|index| index.position);
    let of_views = views.iter().filter(|view| view.index.is_some()).map(|view| view.position);
    let indexes: Vec<Position> = indexes.chain(of_views).collect();

    let finders = catalog.finders().filter(|finder| !finder.text.is_empty() && of_expression(&finder.text));
    let of_views = views.iter().filter_map(|view| view.finder.as_ref());
    let of_model = |kind: &str| catalog.model(kind).map(|model| model.position);
    let finders: Vec<(Position, Position)> = finders
        .chain(of_views)
        .filter_map(|finder| Some((of_model(&finder.kind)?, finder.position)))
        .collect();

    for definition in &kept {
        let mut whole = false;
        while !whole {
            tables.write("giving up what an earlier version kept", |tables| {
                whole = tables.remove_states(*definition, options.index_slice.1)?;
                Ok(())
            })?;
        }
    }
    tables.write("giving up what an earlier version kept", |tables| {
        for (model, finder) in finders.iter().filter(|(model, _)| !kept.contains(model)) {
            tables.set_built(*model, *finder, &Built::DROPPING)?;
        }
        for index in &indexes {
            tables.set_outdated(*index)?;
        }
        tables.set_meta("evaluation", &EVALUATION.to_be_bytes())
    })
}
