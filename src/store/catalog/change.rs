//! Changes: what an event does to the catalog.

use super::definition::{
    Definition, DefinitionKind, EntityDefinition, FinderDefinition, IndexDefinition, PrivateDefinition,
    SchemaDefinition, VerbDefinition, ViewDefinition,
};
use super::program::{ASIDE, ProgramDefinition, ProgramKind};
use super::{Compile, model};
use crate::entity::{Entity, EventType};
use crate::error::{Error, Result, shorten};
use crate::event::Event;
use crate::value::Value;

/// A step of the catalog.
#[derive(Debug, Clone)]
pub(crate) enum CatalogChange {
    Define(Definition),
    /// The definitions of this name end.
    Drop(DefinitionKind, String),
}

impl CatalogChange {
    /// The verb that it defines.
    pub fn verb(&self) -> Option<&str> {
        match self {
            CatalogChange::Define(Definition::Verb(verb)) => Some(&verb.name),
            _ => None,
        }
    }

    /// Whether it only ends what is defined.
    pub fn is_drop(&self) -> bool {
        matches!(self, CatalogChange::Drop(..))
    }

    /// What an event changes; nothing, if it is not about a definition. Only where it is, it is asked who understands that.
    pub fn of<'c>(
        event: &Event,
        compiler: impl Fn() -> Result<&'c dyn Compile>,
    ) -> Result<Option<CatalogChange>> {
        CatalogChange::told(&event.kind, event.target.as_ref(), &|name| event.data.get(name), &compiler, true)
    }

    /// What an event that is about to be appended changes. Its expression must be understood.
    pub fn of_new<'c>(
        kind: &EventType,
        target: Option<&Entity>,
        member: impl Fn(&str) -> Option<Value>,
        compiler: impl Fn() -> Result<&'c dyn Compile>,
    ) -> Result<Option<CatalogChange>> {
        CatalogChange::told(kind, target, &member, &compiler, false)
    }

    fn told<'c>(
        kind: &EventType,
        target: Option<&Entity>,
        member: &dyn Fn(&str) -> Option<Value>,
        compiler: &dyn Fn() -> Result<&'c dyn Compile>,
        lenient: bool,
    ) -> Result<Option<CatalogChange>> {
        if !kind.is_internal() {
            return Ok(None);
        }
        let Some(of) = DefinitionKind::of(kind) else { return Ok(None) };
        let is_dropped = kind.as_str() == of.dropped();
        if !is_dropped && kind.as_str() != of.defined() {
            if let DefinitionKind::Program(_) | DefinitionKind::Event = of {
                // What became of a program is told there, too, and that an event was lost: that defines nothing.
                return Ok(None);
            }
            let types = DefinitionKind::ALL.map(|kind| [kind.defined(), kind.dropped()]);
            return Err(Error::invalid(
                "the type of an event about a definition",
                types.iter().flatten().copied().collect::<Vec<_>>().join(", "),
                kind.as_str(),
            ));
        }
        let name = target.filter(|target| target.kind() == of.target()).map(|target| target.id().to_owned());
        let name = name.ok_or_else(|| {
            Error::invalid(kind.as_str(), format!("a target of kind {}", of.target()), "none")
        })?;
        if is_dropped {
            return Ok(Some(CatalogChange::Drop(of, name)));
        }
        let reader = Reader { kind: of, name, member, compiler: compiler(), lenient };
        reader.definition().map(|definition| Some(CatalogChange::Define(definition)))
    }
}

/// Reads the definition of an event's data.
struct Reader<'a> {
    kind: DefinitionKind,
    name: String,
    member: &'a dyn Fn(&str) -> Option<Value>,
    compiler: Result<&'a dyn Compile>,
    /// A definition that this version does not understand stays, without what works it out.
    lenient: bool,
}

impl Reader<'_> {
    fn definition(self) -> Result<Definition> {
        let program = match self.kind {
            DefinitionKind::Index => return self.index(),
            DefinitionKind::Program(program) => Some(program),
            DefinitionKind::Entity
            | DefinitionKind::Event
            | DefinitionKind::Verb
            | DefinitionKind::View
            | DefinitionKind::Column
            | DefinitionKind::Private => None,
        };
        let text = self.text(model::TEXT)?;
        match (self.kind, program) {
            (_, Some(kind)) => self.program(kind, text),
            (DefinitionKind::Event, _) => {
                let schema = self.compiled(&text, |compiler| compiler.event(&text))?;
                Ok(Definition::Event(SchemaDefinition { event_type: self.name, text, schema }))
            }
            (DefinitionKind::Verb, _) => {
                let rule = self.compiled(&text, |compiler| compiler.verb(&text))?;
                Ok(Definition::Verb(VerbDefinition { name: self.name, text, rule }))
            }
            (DefinitionKind::View, _) => {
                let view = self.compiled(&text, |compiler| compiler.view(&text))?;
                Ok(Definition::View(ViewDefinition { name: self.name, text, view }))
            }
            (DefinitionKind::Column, _) => {
                let view = self.compiled(&text, |compiler| compiler.column(&text))?;
                Ok(Definition::Column(ViewDefinition { name: self.name, text, view }))
            }
            (DefinitionKind::Private, _) => {
                let fields = self.compiled(&text, |compiler| compiler.private(&text))?;
                Ok(Definition::Private(PrivateDefinition { name: self.name, text, fields }))
            }
            _ => {
                let fold = self.compiled(&text, |compiler| compiler.entity(&text))?;
                Ok(Definition::Entity(EntityDefinition { kind: self.name, text, fold }))
            }
        }
    }

    fn program(self, kind: ProgramKind, text: String) -> Result<Definition> {
        let flow = self.compiled(&text, |compiler| compiler.program(kind, &text))?;
        // What runs one that is not understood says why it cannot.
        let (flow, goes_on) = (flow.unwrap_or_default(), (self.member)(ASIDE).is_none());
        Ok(Definition::Program(ProgramDefinition { kind, name: self.name, text, flow, goes_on }))
    }

    fn index(self) -> Result<Definition> {
        let of = (self.member)("of");
        let of = of.as_ref().and_then(|kind| kind.as_text());
        let text = self.text("as")?;
        let compiled =
            self.compiler.as_ref().map_err(Error::clone).and_then(|compiler| compiler.index(&text));
        let derive = match compiled {
            Ok(derive) if derive.is_of_states() == of.is_some() => Ok(derive),
            Ok(_) => {
                let expected = "`of` a kind for its states, or `on` a pattern";
                self.or_refused(Error::invalid(self.what(), expected, text.as_str()))?
            }
            Err(error) if self.lenient => Err(error),
            Err(error) => return Err(self.not_understood(&text, &error)),
        };
        Ok(match of {
            Some(kind) => {
                Definition::Finder(FinderDefinition { name: self.name, kind: kind.to_owned(), text, derive })
            }
            None => {
                let on = self.text("on")?.parse()?;
                Definition::Index(IndexDefinition { name: self.name, on, text, derive, of_view: false })
            }
        })
    }

    /// What a definition's text is made into; its name must be what the event is about.
    fn compiled<T>(
        &self,
        text: &str,
        compile: impl FnOnce(&dyn Compile) -> Result<(String, T)>,
    ) -> Result<Result<T>> {
        match self.compiler.as_ref().map_err(Error::clone).and_then(|compiler| compile(*compiler)) {
            Ok((name, compiled)) if name == self.name => Ok(Ok(compiled)),
            Ok((other, _)) => {
                self.or_refused(Error::invalid("a definition", format!("one of {}", self.name), other))
            }
            Err(error) if self.lenient => Ok(Err(error)),
            Err(error) => Err(self.not_understood(text, &error)),
        }
    }

    fn or_refused<T>(&self, error: Error) -> Result<Result<T>> {
        if self.lenient { Ok(Err(error)) } else { Err(error) }
    }

    fn text(&self, member: &str) -> Result<String> {
        let found = (self.member)(member);
        let text = found.as_ref().and_then(|value| value.as_text()).map(str::to_owned);
        text.ok_or_else(|| Error::invalid(self.what(), format!("a text `{member}`"), "none"))
    }

    fn not_understood(&self, text: &str, error: &Error) -> Error {
        let found = format!("{} ({error})", shorten(text));
        Error::invalid(self.what(), "a definition that is understood", found)
    }

    fn what(&self) -> String {
        format!("{} of {}", self.kind.defined(), self.name)
    }
}
