//! Binding of `DEFINE PRIVATE` and `FORGET`.

use super::Binder;
use super::expr::NameScope;
use super::reaction::alone;
use crate::entity::NameText;
use crate::error::{Error, Result, shorten};
use crate::event::private::{FieldRoot, MAX_FIELDS, MAX_NAMES, PrivateField, SubjectPath};
use crate::lang;
use crate::lang::ast::{
    DefinitionStmt, Expr, ExprKind, ForgetStmt, Path, PrivateDefinitionStmt, Span, StepExpr, Stmt,
};
use crate::plan::expr::BoundExpr;
use crate::plan::write::{Define, Defined, Forget, WritePlan};
use crate::store::catalog::PrivateFields;

/// What is defined to be private, from the canonical text of the statement. It means the same whatever the log holds.
pub(crate) fn private_definition(text: &str) -> Result<(String, PrivateFields)> {
    let parsed = lang::parse_one(text)?;
    let Stmt::Define(DefinitionStmt::Private(private)) = &parsed.statement else {
        return Err(Error::invalid("the definition of private fields", "DEFINE PRIVATE …", shorten(text)));
    };
    alone(text, |binder| Ok((private.name.text.clone(), binder.private(private)?)))
}

impl Binder<'_> {
    pub(super) fn define_private(&self, private: &PrivateDefinitionStmt) -> Result<Define> {
        let mut said = private.clone();
        said.pattern = self.said_text(&private.pattern, "ON")?;
        // What is wrong is told of the text as it was said.
        self.definition().private(&said)?;
        let (text, _) = self.said_again(&private.name, DefinitionStmt::Private(said), private_definition)?;
        Ok(self.defined(&private.name, Defined::Private, text))
    }

    fn private(&self, private: &PrivateDefinitionStmt) -> Result<PrivateFields> {
        self.defined_name(&private.name, "what is private")?;
        let on = self.pattern_text(&private.pattern, "ON")?;
        let of = match (&private.id, private.subject.text.as_str()) {
            (None, "target") => SubjectPath::Target,
            (None, "actor") => SubjectPath::Actor,
            (Some(path), kind) => {
                self.at(private.subject.span, crate::entity::Entity::new(kind, "1"))?;
                SubjectPath::Field(kind.to_owned(), self.private_field(path)?)
            }
            (None, kind) => {
                let kind = NameText(kind);
                let message = format!(
                    "OF says whose the values are: target, actor, or a kind and the field that has the id, like {kind} \
                     (data.customer)"
                );
                return Err(self.fault(private.subject.span, message));
            }
        };
        if private.fields.len() > MAX_FIELDS {
            let message = format!("at most {MAX_FIELDS} fields; define the others by another name");
            return Err(self.fault(private.name.span, message));
        }
        let mut fields: Vec<PrivateField> = Vec::new();
        for path in &private.fields {
            let field = self.private_field(path)?;
            if let Some(other) = fields.iter().find(|other| other.holds(&field) || field.holds(other)) {
                return Err(self.fault(path.span, format!("{field} is private already, with {other}")));
            }
            if let SubjectPath::Field(_, id) = &of
                && (field.holds(id) || id.holds(&field))
            {
                let message = format!("{id} tells whose the values are: it cannot be private itself");
                return Err(self.fault(path.span, message));
            }
            fields.push(field);
        }
        Ok(PrivateFields { on, of, fields, past: private.past })
    }

    /// A member of `data` or `metadata`.
    fn private_field(&self, path: &Path) -> Result<PrivateField> {
        let field = self.field_of_event(path)?;
        match field.names().count() {
            0 => {
                let root = &path.first.text;
                let message =
                    format!("{root} as a whole is not private: name its members, like {root}.email");
                Err(self.fault(path.span, message))
            }
            MAX_NAMES.. => Err(self.fault(path.span, format!("at most {MAX_NAMES} names lead to a field"))),
            _ => Ok(field),
        }
    }

    /// `is_forgotten(data.email)`.
    pub(super) fn is_forgotten(&self, field: &Expr, span: Span, names: NameScope) -> Result<BoundExpr> {
        let of_events = "is_forgotten is of a field of an event";
        let state = "SET gone = is_forgotten(data.email) in DEFINE ENTITY has the state say it";
        let why = match names {
            NameScope::Event | NameScope::Inside | NameScope::Fold | NameScope::Reaction => None,
            NameScope::Frame(frame) if !frame.found => None,
            NameScope::Frame(_) | NameScope::Found | NameScope::InsideFound | NameScope::State => {
                Some(format!("{of_events}, and an entity is what events made: {state}"))
            }
            NameScope::Columns(_) => Some(format!(
                "{of_events}, and a view has columns: SELECT is_forgotten(data.email) AS gone in its definition makes \
                 it one"
            )),
            NameScope::Verb => Some(format!("{of_events}, and what a verb is asked is none yet: {state}")),
            NameScope::Schedule | NameScope::None => Some(format!("{of_events}, and there is none here")),
        };
        if let Some(why) = why {
            return Err(self.fault(span, why));
        }
        let ExprKind::Field(path) = &field.kind else {
            let message = format!("{of_events}: expected its name, like data.email");
            return Err(self.fault(field.span, message));
        };
        if let NameScope::Frame(frame) = names {
            frame.met(path.to_string(), path.span);
        }
        Ok(BoundExpr::IsForgotten(self.field_of_event(path)?))
    }

    /// `data` or `metadata`, or what is within.
    fn field_of_event(&self, path: &Path) -> Result<PrivateField> {
        let of = match path.first.text.as_str() {
            "data" => FieldRoot::Data,
            "metadata" => FieldRoot::Metadata,
            other => {
                let message = "a private field is a member of data or metadata, like data.email";
                return Err(self.fault_meaning(
                    path.first.span,
                    message.to_owned(),
                    Some(format!("data.{other}")),
                ));
            }
        };
        let mut names = Vec::new();
        for step in &path.steps {
            match step {
                StepExpr::Member(name) if !name.text.contains('\0') => names.push(name.text.clone()),
                StepExpr::Member(name) => {
                    return Err(
                        self.fault(name.span, "a name with a zero byte is no private field".to_owned())
                    );
                }
                StepExpr::Element { span, .. } => {
                    let message = "an element of an array is not private by itself: the whole array is";
                    return Err(self.fault(*span, message.to_owned()));
                }
            }
        }
        Ok(PrivateField::new(of, names.iter().map(|name| &**name)))
    }

    /// `FORGET`.
    pub(super) fn forget(&self, forget: &ForgetStmt) -> Result<WritePlan> {
        let subject = self.entity(&forget.subject)?;
        let because = forget.because.as_ref().map(|text| self.text(text, "BECAUSE")).transpose()?;
        let actor = self.context.default_actor.cloned();
        Ok(WritePlan::Forget(Forget { subject, because, actor }))
    }
}
