//! Binding of `DEFINE EVENT`.

use super::expr::{NameScope, taken};
use super::json_schema::members_of_json;
use super::{BindInput, Binder};
use crate::entity::NameText;
use crate::error::{Error, Result, shorten};
use crate::lang;
use crate::lang::ast::{
    DataTypeExpr, DataTypeKind, DefinitionStmt, EventDefinitionStmt, Expr, MemberClause, Name, Path,
    SchemaBody, Span, Stmt, UpcastClause,
};
use crate::plan::event_schema::{DataType, EventSchemaPlan, SchemaMember, SchemaMembers, Upcast, ValueKind};
use crate::plan::expr::BoundExpr;
use crate::plan::fault::nearest;
use crate::plan::field::{Field, FieldPath, FieldStep};
use crate::plan::model::Assignment;
use crate::plan::parameters::Parameters;
use crate::plan::verb::BoundCondition;
use crate::plan::write::{Define, Defined};
use crate::time::Timestamp;

/// What is defined of a type of events, from the canonical text of the statement. It means the same whatever the log holds.
pub(crate) fn event_schema(text: &str) -> Result<EventSchemaPlan> {
    let parsed = lang::parse_one(text)?;
    let Stmt::Define(DefinitionStmt::Event(event)) = &parsed.statement else {
        return Err(Error::invalid("the definition of an event", "DEFINE EVENT …", shorten(text)));
    };
    let parameters = Parameters::new();
    let said =
        BindInput { text, statement: 1, parameters: &parameters, default_actor: None, now: Timestamp::MIN };
    Binder::new(said, None).event_schema(event)
}

/// What a `CHECK` may name, and whether it is of the items of an array.
#[derive(Clone, Copy)]
struct CheckScope<'s> {
    names: &'s [&'s str],
    in_array: bool,
}

/// What a type of data is called elsewhere.
const ELSEWHERE: [(&str, &str); 14] = [
    ("string", "text"),
    ("str", "text"),
    ("varchar", "text"),
    ("uuid", "text"),
    ("bool", "boolean"),
    ("int", "integer"),
    ("bigint", "integer"),
    ("float", "number"),
    ("double", "number"),
    ("decimal", "number"),
    ("timestamp", "time"),
    ("date", "time"),
    ("datetime", "time"),
    ("json", "any"),
];

impl Binder<'_> {
    pub(super) fn define_event(&self, event: &EventDefinitionStmt) -> Result<Define> {
        let (mut said, mut notices) = (event.clone(), Vec::new());
        if let SchemaBody::Json(text) = &event.body {
            let json = self.text(text, "FROM SCHEMA")?;
            let found = members_of_json(&json).map_err(|error| self.fault(text.span(), error.to_string()))?;
            (said.body, said.strict) = (SchemaBody::Members(found.members), said.strict || found.strict);
            notices = found.notices;
        }
        self.definition().event_schema(&said)?;
        if let SchemaBody::Members(members) = &mut said.body {
            self.put_check_values(members)?;
        }
        let assigns = said.upcast.iter_mut().flat_map(|upcast| &mut upcast.set);
        assigns.into_iter().try_for_each(|assign| self.put_values(&mut assign.value))?;
        let kind = &event.event_type;
        let name = Name { text: kind.event_type.as_str().to_owned(), span: kind.span };
        let (text, _) = self.said_again(&name, DefinitionStmt::Event(said), event_schema)?;
        Ok(Define { notices, ..self.defined(&name, Defined::Event, text) })
    }

    /// Puts the values of parameters where they stand.
    fn put_check_values(&self, members: &mut [MemberClause]) -> Result<()> {
        members.iter_mut().try_for_each(|member| {
            if let Some(check) = &mut member.check {
                self.put_values(check)?;
            }
            self.put_type_values(&mut member.data_type)
        })
    }

    fn put_type_values(&self, data_type: &mut DataTypeExpr) -> Result<()> {
        match &mut data_type.kind {
            DataTypeKind::Named(_) => Ok(()),
            DataTypeKind::Array(item) => self.put_type_values(item),
            DataTypeKind::Object(members) => self.put_check_values(members),
        }
    }

    fn event_schema(&self, event: &EventDefinitionStmt) -> Result<EventSchemaPlan> {
        let kind = &event.event_type;
        if kind.event_type.is_internal() {
            return Err(self.fault(kind.span, "a type that begins with $ is the database's own"));
        }
        let SchemaBody::Members(members) = &event.body else {
            let message = "FROM SCHEMA is no part of what is kept: expected the members of the data";
            return Err(self.fault(kind.span, message));
        };
        let names: Vec<&str> = members.iter().map(|member| member.key.text.as_str()).collect();
        Ok(EventSchemaPlan {
            event_type: kind.event_type.clone(),
            members: self.schema_members(members, CheckScope { names: &names, in_array: false })?,
            strict: event.strict,
            warn: event.warn,
            upcast: event.upcast.as_ref().map(|upcast| self.upcast(upcast)).transpose()?,
        })
    }

    /// How events of the version before are read.
    fn upcast(&self, upcast: &UpcastClause) -> Result<Upcast> {
        let mut set = Vec::with_capacity(upcast.set.len());
        let mut paths = Vec::new();
        for assign in &upcast.set {
            let path = self.data_path(&assign.path, &mut paths)?;
            let value = self.expr(&assign.value, NameScope::Fold)?;
            self.check_is_of_data(&value, assign.value.span, "UPCAST")?;
            let mut said = assign.value.clone();
            self.put_values(&mut said)?;
            let text = shorten(&format!("UPCAST SET {} = {said}", assign.path)).to_owned();
            set.push(Assignment { path, value, text, alone: false });
        }
        let delete = upcast.delete.iter().map(|path| {
            let steps = self.data_path(path, &mut paths)?;
            match steps.last() {
                Some(FieldStep::Member(_)) => Ok(steps),
                _ => Err(self.fault(path.span, "DELETE: expected a member of the data, as in data.amount")),
            }
        });
        Ok(Upcast { set, delete: delete.collect::<Result<_>>()? })
    }

    /// A path that begins with `data`, without that. None stands twice, nor within another.
    fn data_path(&self, path: &Path, others: &mut Vec<Vec<FieldStep>>) -> Result<Vec<FieldStep>> {
        if path.first.text != "data" {
            let meant = Some(format!("data.{path}"));
            return Err(self.fault_meaning(path.span, "UPCAST is of the data of the event", meant));
        }
        let steps: Vec<FieldStep> = path.steps.iter().map(|step| taken(step).0).collect();
        if others.iter().any(|other| other.starts_with(&steps) || steps.starts_with(other)) {
            let message = format!("{path} is named twice: what is set or deleted is so once");
            return Err(self.fault(path.span, message));
        }
        others.push(steps.clone());
        Ok(steps)
    }

    /// It is worked out of an event's data, before or after the event has a place in the log.
    fn check_is_of_data(&self, node: &BoundExpr, span: Span, clause: &str) -> Result<()> {
        let is_other = |part: &BoundExpr| match part {
            BoundExpr::Field(field) => !matches!(field, Field::Data(_)),
            BoundExpr::IsForgotten(_) => true,
            _ => false,
        };
        match node.any(&mut |part| is_other(part)) {
            true => {
                Err(self.fault(span, format!("{clause} is of the data of the event alone, as in data.total")))
            }
            false => Ok(()),
        }
    }

    fn schema_members(&self, members: &[MemberClause], scope: CheckScope) -> Result<SchemaMembers> {
        let each = members.iter().map(|member| {
            let data_type = self.data_type(&member.data_type, scope)?;
            let check = member.check.as_ref().map(|check| self.check_of(check, scope)).transpose()?;
            Ok(SchemaMember { name: member.key.text.clone(), data_type, check })
        });
        Ok(SchemaMembers::new(each.collect::<Result<_>>()?))
    }

    fn data_type(&self, said: &DataTypeExpr, scope: CheckScope) -> Result<DataType> {
        let kind = match &said.kind {
            DataTypeKind::Named(name) => self.value_kind(name)?,
            DataTypeKind::Array(item) => {
                let item = self.data_type(item, CheckScope { in_array: true, ..scope })?;
                ValueKind::Array(Some(Box::new(item)))
            }
            DataTypeKind::Object(members) => ValueKind::Object(Some(self.schema_members(members, scope)?)),
        };
        Ok(DataType { kind, optional: said.optional })
    }

    fn value_kind(&self, name: &Name) -> Result<ValueKind> {
        if let Some(kind) = ValueKind::named(&name.text) {
            return Ok(kind);
        }
        let small = name.text.to_lowercase();
        let elsewhere = ELSEWHERE.iter().find(|(word, _)| *word == small).map(|(_, meant)| *meant);
        let meant = elsewhere.or_else(|| nearest(&small, ValueKind::NAMES)).map(str::to_owned);
        let message = format!(
            "there is no type of data '{}'; there are {}, [text] for an array of texts, {{…}} for an object, and ? behind \
             what may be missing",
            shorten(&name.text),
            ValueKind::NAMES.join(", ")
        );
        Err(self.fault_meaning(name.span, message, meant))
    }

    /// What is to hold of the data. It is asked before the event has a place in the log, and of nothing but its data.
    fn check_of(&self, check: &Expr, scope: CheckScope) -> Result<BoundCondition> {
        if scope.in_array {
            let message = "CHECK is of the data as a whole, in which the items of an array have no names: put it behind the array";
            return Err(self.fault(check.span, message));
        }
        self.check_condition(check)?;
        let node = self.expr(check, NameScope::Event)?;
        self.check_is_of_data(&node, check.span, "CHECK")?;
        let mut unknown = None;
        node.any(&mut |part| {
            if let BoundExpr::Field(Field::Data(steps)) = part
                && let Some(FieldStep::Member(name)) = steps.first()
                && !scope.names.contains(&name.as_str())
            {
                unknown = Some(name.clone());
            }
            unknown.is_some()
        });
        if let Some(name) = unknown {
            let meant = nearest(&name, scope.names.iter().copied());
            let meant =
                meant.map(|name| FieldPath("data", &[FieldStep::Member(name.to_owned())]).to_string());
            let message = format!("CHECK names data.{}, which is no member of the schema", NameText(&name));
            return Err(self.fault_meaning(check.span, message, meant));
        }
        let mut said = check.clone();
        // What a parameter stood for, as the definition has it.
        self.put_values(&mut said)?;
        let condition = BoundCondition::new(node, said.to_string());
        if condition.names.is_empty() {
            let message = format!(
                "CHECK {} is always the same: expected a condition on data, as in CHECK data.total >= 0",
                shorten(&condition.text)
            );
            return Err(self.fault(check.span, message));
        }
        Ok(condition)
    }
}
