//! Binding of `EXPECT NONE`: what a program says of it, and what names mean in it.

use super::Names;
use crate::entity::NameText;
use crate::error::{Error, Missing, MissingItem, Result};
use crate::event::{ExpectNone, expect::ExpectKey};
use crate::pattern::Pattern;
use crate::plan::absence::AbsenceCheck;
use crate::plan::by::{By, Derived, Tagged, Test};
use crate::store::catalog::Catalog;
use crate::store::index::term::IndexKey;

impl AbsenceCheck {
    /// What a program says, as of now. `own` are the names of the index values that are appended with it.
    pub fn of(said: &ExpectNone, names: Names, own: &[&str]) -> Result<AbsenceCheck> {
        said.check()?;
        if said.after > names.head() {
            let item = MissingItem::Position { asked: said.after, head: names.head() };
            return Err(Missing::from(item).into());
        }
        let pattern = said.pattern.clone().unwrap_or_else(Pattern::all);
        let mut by = Vec::with_capacity(said.by.len());
        for of in &said.by {
            by.push(match of {
                ExpectKey::Actor(actor) => actor.check().map(|()| By::Actor(actor.clone()))?,
                ExpectKey::Target(target) => target.check().map(|()| By::Target(target.clone()))?,
                ExpectKey::Correlation(correlation) => By::Correlation(correlation.clone()),
                ExpectKey::Tag(name, value) => {
                    let test = Test::Is(IndexKey::Value(value.clone()));
                    let tagged = Tagged::new(names.catalog(), name, test)?;
                    if !is_known(&tagged, names, own)? {
                        let message =
                            format!("EXPECT NONE BY {}: {}", NameText(name), unknown(names, name, &pattern)?);
                        let item = MissingItem::Name { sort: "index", name: name.clone() };
                        return Err(Missing { item, message, fault: None }.into());
                    }
                    By::Tag(tagged)
                }
            });
        }
        AbsenceCheck::new(pattern, by, said.after, said.since)
    }
}

/// What to do about a name that nothing answers. A condition by it would hold for ever.
pub(super) fn unknown(names: Names, name: &str, on: &Pattern) -> Result<String> {
    let (taken, name) = (named_otherwise(names, name)?, NameText(name));
    Ok(match taken {
        None => format!(
            "no index answers it, and no event was emitted with INDEX BY {name}, nor is this one; say INDEX BY {name} here, or \
             DEFINE INDEX {name} ON '{on}' AS data.{name} before"
        ),
        Some(what) => format!(
            "no index answers it ({what}), and no event was emitted with INDEX BY {name}, nor is this one; say INDEX BY {name} here, or DEFINE INDEX \
             with a name that is free before"
        ),
    })
}

/// What is called by a name that is no index of events: to define one of that name would replace it, or be refused.
pub(super) fn named_otherwise(names: Names, name: &str) -> Result<Option<String>> {
    let (catalog, shown) = (names.catalog(), NameText(name));
    if let Some(finder) = catalog.finder(name) {
        let kind = NameText(&finder.kind);
        return Ok(Some(format!(
            "{shown} is an index of the states of {kind}, which FIND {kind} WHERE {} = … takes",
            finder.text
        )));
    }
    let program = catalog.programs().find(|program| program.name == name);
    Ok(if catalog.view(name).is_some() {
        Some(format!("{shown} is a view, which READ {shown} reads"))
    } else if catalog.verb(name).is_some() || names.added_verb(name).is_some() {
        Some(format!("{shown} is a verb"))
    } else if let Some(program) = program {
        Some(format!("{shown} is a {}", program.kind.word()))
    } else if catalog.model(name).is_some() || names.has_kind(name)? {
        Some(format!("{shown} is a kind of entities"))
    } else {
        None
    })
}

/// Whether some event has a value of the name, or may have.
pub(super) fn is_known(tagged: &Tagged, names: Names, own: &[&str]) -> Result<bool> {
    Ok(tagged.index.is_some() || own.contains(&tagged.name.as_str()) || names.has_tag(&tagged.name)?)
}

impl Tagged {
    /// A test of the values of a name, by the index of the name that holds all of them, or else by the one that is to.
    pub fn new(catalog: &Catalog, name: &str, test: Test) -> Result<Tagged> {
        let index = catalog.usable(name).or_else(|| catalog.get(name));
        if let Some(index) = index
            && let Some(why) = index.why_not_kept()
        {
            let what = format!("the index {}, defined at {}", NameText(name), index.position);
            return Err(Error::invalid(what, "one that is kept", why));
        }
        Ok(Tagged::by(name, test, index.map(|index| Derived(index.clone()))))
    }
}
