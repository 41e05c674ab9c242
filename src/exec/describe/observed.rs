//! The shape that data was seen to have, as a `DEFINE EVENT` that all of it fits.

use indexmap::IndexMap;

use crate::entity::EventType;
use crate::lang::ast::{
    DataTypeExpr, DataTypeKind, DefinitionStmt, EventDefinitionStmt, MemberClause, Name, SchemaBody, Span,
    Stmt, TypeRef,
};
use crate::time::Timestamp;
use crate::value::Value;

/// How many members are told of an object: one of more is told as an object.
const MOST: usize = 100;

/// What was seen at a place.
#[derive(Debug, Default, Clone)]
pub(super) struct Observed {
    /// How many values.
    values: u64,
    nulls: bool,
    booleans: bool,
    integers: bool,
    fractions: bool,
    texts: bool,
    /// Texts that are no instant.
    plain_texts: bool,
    /// What the members of objects were, with the names in order of appearance.
    object: Option<Members>,
    /// What the items of arrays were.
    array: Option<Box<Observed>>,
}

#[derive(Debug, Default, Clone)]
struct Members {
    /// How many objects.
    objects: u64,
    members: IndexMap<String, Observed>,
    /// There are more than are told.
    many: bool,
}

impl Observed {
    /// Takes in one more.
    pub fn add(&mut self, value: &Value) {
        self.values += 1;
        match value {
            Value::Null => self.nulls = true,
            Value::Bool(_) => self.booleans = true,
            Value::Int(_) | Value::UInt(_) => self.integers = true,
            Value::Float(_) => self.fractions = true,
            Value::Text(text) => {
                self.texts = true;
                self.plain_texts |= !text.contains('T') || text.parse::<Timestamp>().is_err();
            }
            Value::Array(items) => {
                let seen = self.array.get_or_insert_default();
                items.iter().for_each(|item| seen.add(item));
            }
            Value::Object(object) => {
                let seen = self.object.get_or_insert_default();
                seen.objects += 1;
                for (name, value) in object {
                    if seen.members.len() >= MOST && !seen.members.contains_key(name) {
                        seen.many = true;
                        continue;
                    }
                    seen.members.entry(name.clone()).or_default().add(value);
                }
            }
        }
    }

    /// A definition that all of it fits.
    pub fn definition(&self, event_type: &EventType) -> String {
        let members = self.object.as_ref().map_or_else(Vec::new, Members::clauses);
        let event_type = TypeRef { event_type: event_type.clone(), span: Span::default() };
        let body = SchemaBody::Members(members);
        Stmt::Define(DefinitionStmt::Event(EventDefinitionStmt {
            event_type,
            body,
            strict: false,
            warn: false,
            upcast: None,
        }))
        .to_string()
    }

    /// `of` is how many there could have been.
    fn data_type(&self, of: u64) -> DataTypeExpr {
        let sorts = [
            self.booleans,
            self.integers || self.fractions,
            self.texts,
            self.object.is_some(),
            self.array.is_some(),
        ];
        let named = |name: &str| DataTypeKind::Named(Name { text: name.to_owned(), span: Span::default() });
        let kind = match (sorts.iter().filter(|seen| **seen).count(), &self.object, &self.array) {
            (1, Some(members), _) if members.many => named("object"),
            (1, Some(members), _) => DataTypeKind::Object(members.clauses()),
            (1, _, Some(items)) if items.values == 0 => named("array"),
            (1, _, Some(items)) => DataTypeKind::Array(Box::new(items.data_type(items.values))),
            (1, ..) if self.booleans => named("boolean"),
            (1, ..) if self.fractions => named("number"),
            (1, ..) if self.integers => named("integer"),
            (1, ..) if self.plain_texts => named("text"),
            (1, ..) => named("time"),
            _ => named("any"),
        };
        DataTypeExpr { kind, optional: self.nulls || self.values < of, span: Span::default() }
    }
}

impl Members {
    fn clauses(&self) -> Vec<MemberClause> {
        let clause = |(name, seen): (&String, &Observed)| MemberClause {
            key: Name { text: name.clone(), span: Span::default() },
            data_type: seen.data_type(self.objects),
            check: None,
        };
        self.members.iter().map(clause).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::allowance::Limits;
    use crate::document::Document;
    use crate::value::Object;
    use crate::value::tests::any_value;

    fn proposed(data: &[Object]) -> String {
        let mut observed = Observed::default();
        data.iter().for_each(|data| observed.add(&Value::Object(data.clone())));
        observed.definition(&EventType::new("Order.placed").unwrap())
    }

    #[test]
    fn what_was_seen_is_told_as_a_definition() {
        let seen = [
            r#"{"total": 1, "at": "2024-01-01T10:00:00Z", "items": [{"sku": "a"}, {"sku": "b", "n": 1}], "note": null}"#,
            r#"{"total": 1.5, "at": "2024-01-02T10:00:00Z", "items": [], "note": "x", "a b": true}"#,
        ];
        let seen = seen.map(|text| text.parse::<Value>().unwrap().as_object().unwrap().clone());
        assert_eq!(
            proposed(&seen),
            "DEFINE EVENT Order.placed {total: number, at: time, items: [{sku: text, n: integer?}], note: text?, 'a b': boolean?}"
        );
        assert_eq!(proposed(&[]), "DEFINE EVENT Order.placed {}");
    }

    proptest! {
        #[test]
        fn all_that_was_seen_fits_what_is_proposed(
            data in prop::collection::vec(prop::collection::vec(("[a-d]|a b|null", any_value()), 0..6), 0..6),
        ) {
            let data: Vec<Object> = data.into_iter().map(|members| members.into_iter().collect()).collect();
            let (_, schema) = crate::exec::event_schema::compile(&proposed(&data)).unwrap();
            for members in &data {
                let document = Document::from_object(members).unwrap();
                let found = schema.check(document.raw(), &Limits::default()).unwrap();
                prop_assert!(found.is_empty(), "{:?}", found);
            }
        }
    }
}
