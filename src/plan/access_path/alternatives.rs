//! Alternatives: what stands in `OR`. Where each of them has a source, what passes is in one of those.

use super::conditions::Conditions;
use super::source::ListReader;
use super::{AccessCandidate, CostModel, PositionSource};
use crate::error::Result;
use crate::pattern::Pattern;

/// Of more of them each is looked at as often as they are planned for: no more are.
pub(super) const MOST: usize = 100;

/// What holds all that passes one of them; none where one of them has no source, or one that is no better than the log.
pub(super) fn candidate(
    reader: &ListReader,
    model: &CostModel,
    alternatives: &[Conditions],
    pattern: Option<&Pattern>,
) -> Result<Option<AccessCandidate>> {
    if alternatives.len() > MOST {
        return Ok(None);
    }
    let mut sources = Vec::with_capacity(alternatives.len());
    for conditions in alternatives {
        let mut candidates = super::narrowing(reader, conditions, pattern)?;
        if !conditions.kinds.is_empty()
            && let Some(source) = reader.types(pattern, &conditions.kinds)?
        {
            candidates.push(AccessCandidate::narrowing(source));
        }
        for within in &conditions.alternatives {
            candidates.extend(candidate(reader, model, within, pattern)?);
        }
        match model.take(candidates, None).source {
            PositionSource::Log => return Ok(None),
            source => sources.push(source),
        }
    }
    Ok(Some(AccessCandidate::narrowing(PositionSource::Any(sources))))
}
