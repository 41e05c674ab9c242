//! Binding of what a program says by calls, and not by a text.

use serde::Serialize;

use super::Names;
use crate::entity::NameText;
use crate::error::{Error, Result, shorten};
use crate::event::is_built_in;
use crate::plan::by::{By, Derived, Tagged, Test};
use crate::store::index::term::IndexKey;
use crate::value::Value;

/// `BY name = value`, as a program says it.
pub(crate) fn tagged<T: Serialize>(names: Names<'_>, name: &str, value: &T) -> Result<By> {
    let what = || format!("BY {}", NameText(name));
    if is_built_in(name) {
        let expected =
            "the name of an index value; there are by_actor, on and by_correlation, and the pattern";
        return Err(Error::invalid(what(), expected, format!("'{name}'")));
    }
    let value = match Value::of(value)? {
        value @ (Value::Null | Value::Array(_) | Value::Object(_)) => {
            let found = format!("{} ({})", value.kind(), shorten(&value.to_string()));
            return Err(Error::invalid(what(), "text, a number or a boolean", found));
        }
        value => value,
    };
    let catalog = names.catalog();
    let index = catalog.usable(name);
    if let Some(index) = catalog.get(name).filter(|_| index.is_none()) {
        let found = format!("one of which {} % are built; wait_for_indexes waits for it", index.percent());
        return Err(Error::invalid(what(), "an index that is complete, or none", found));
    }
    let index = index.map(|index| Derived(index.clone()));
    Ok(By::Tag(Tagged::by(name, Test::Is(IndexKey::Value(value)), index)))
}
