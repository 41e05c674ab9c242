//! `FROM SCHEMA`: JSON Schema as the members of `DEFINE EVENT`.
//!
//! What is kept is the definition in words of the language, so nothing of JSON Schema is needed to read it. What has no such words is
//! refused by its name; only what is asked of the items of an array is left out, and told.

use std::fmt::Write as _;

use crate::entity::NameText;
use crate::error::{Error, Result, shorten};
use crate::lang;
use crate::lang::ast::{DefinitionStmt, MemberClause, SchemaBody, Stmt};
use crate::plan::field::{FieldPath, FieldStep};
use crate::value::{MAX_DEPTH, Object, Value};

/// How many schemas one may come to where parts of it are referred to.
const MOST: usize = 10_000;

/// What says nothing of what fits.
const ANNOTATIONS: [&str; 12] = [
    "$schema",
    "$id",
    "$comment",
    "$defs",
    "definitions",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
];

/// What a schema comes to.
pub(super) struct FromJson {
    pub members: Vec<MemberClause>,
    pub strict: bool,
    /// What was left out.
    pub notices: Vec<String>,
}

/// The members that a text of JSON Schema tells of.
pub(super) fn members_of_json(json: &str) -> Result<FromJson> {
    let root: Value = json.parse()?;
    let mut reader =
        Reader { root: &root, left_out: Vec::new(), open: None, strict: None, schemas: 0, depth: 0 };
    let schema = reader.schema(&root, &mut Vec::new(), false)?;
    if !schema.kind.starts_with('{') {
        return Err(unsupported(
            &[],
            "an object with properties, as the data of an event is one",
            &schema.kind,
        ));
    }
    if let (Some(open), Some(strict)) = (&reader.open, &reader.strict) {
        return Err(Error::invalid(
            "additionalProperties",
            "false for all objects of the schema (STRICT), or for none",
            format!("false for {strict} and not for {open}"),
        ));
    }
    let text = format!("DEFINE EVENT A.b {}", schema.kind);
    let parsed = lang::parse_one(&text)?;
    let Stmt::Define(DefinitionStmt::Event(event)) = parsed.statement else {
        return Err(Error::invalid("a JSON Schema", "one with a form in DEFINE EVENT", shorten(json)));
    };
    let SchemaBody::Members(members) = event.body else { return Err(unsupported(&[], "members", "none")) };
    Ok(FromJson { members, strict: reader.strict.is_some(), notices: reader.left_out })
}

/// A schema as a type of data, and what has to hold of it beside that.
#[derive(Debug, Clone)]
struct Said {
    kind: String,
    optional: bool,
    checks: Vec<String>,
}

struct Reader<'a> {
    root: &'a Value,
    left_out: Vec<String>,
    /// An object of which other members are allowed, and one of which they are not.
    open: Option<String>,
    strict: Option<String>,
    /// How many were read so far.
    schemas: usize,
    /// How many of them are within each other, or refer to each other.
    depth: usize,
}

fn path(way: &[FieldStep]) -> String {
    FieldPath("data", way).to_string()
}

fn unsupported(way: &[FieldStep], expected: &str, found: &str) -> Error {
    Error::invalid(format!("the schema of {}", path(way)), expected, shorten(found))
}

/// A text as the language writes it.
fn quoted(text: &str) -> String {
    match text.contains(char::is_control) {
        true => Value::from(text).to_string(),
        false => format!("'{}'", text.replace('\'', "''")),
    }
}

/// A scalar as the language writes it.
fn literal(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(quoted(text)),
        Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::Float(_) => {
            Some(value.to_string().to_uppercase())
        }
        _ => None,
    }
}

impl<'a> Reader<'a> {
    /// What a schema at a place says. Within an array nothing can be asked beside types.
    fn schema(&mut self, schema: &'a Value, way: &mut Vec<FieldStep>, in_array: bool) -> Result<Said> {
        (self.schemas, self.depth) = (self.schemas + 1, self.depth + 1);
        if self.depth > MAX_DEPTH || self.schemas > MOST {
            return Err(unsupported(way, "one that does not refer to itself", "too many schemas"));
        }
        let said = self.said(schema, way, in_array);
        self.depth -= 1;
        said
    }

    fn said(&mut self, schema: &'a Value, way: &mut Vec<FieldStep>, in_array: bool) -> Result<Said> {
        let members = match schema {
            Value::Bool(true) => {
                return Ok(Said { kind: "any".to_owned(), optional: true, checks: Vec::new() });
            }
            Value::Object(members) => members,
            other => return Err(unsupported(way, "an object", &other.to_string())),
        };
        if let Some(of) = self.referred(members, way)? {
            return self.schema(of, way, in_array);
        }
        if let Some((inner, optional)) = alternative(members, way)? {
            let said = self.schema(inner, way, in_array)?;
            return Ok(Said { optional: said.optional || optional, ..said });
        }
        let (named, null) = types(members, way)?;
        let mut said = Said { kind: "any".to_owned(), optional: null, checks: Vec::new() };
        said.kind = match named.as_deref() {
            Some("string") if is_time(members) => "time".to_owned(),
            Some("string") => "text".to_owned(),
            Some(same @ ("number" | "integer" | "boolean")) => same.to_owned(),
            Some("array") => self.array(members, way)?,
            Some("object") => self.object(members, way, in_array)?,
            Some(other) => return Err(unsupported(way, "a type of JSON Schema", other)),
            None if members.contains_key("properties") => self.object(members, way, in_array)?,
            None => {
                said.optional |= !members.contains_key("enum") && !members.contains_key("const");
                "any".to_owned()
            }
        };
        for (name, value) in members {
            self.condition(name, value, way, &mut said)?;
        }
        if in_array && !said.checks.is_empty() {
            let what = said.checks.drain(..).collect::<Vec<_>>().join(" and ");
            self.left_out.push(format!("left out: {what}; CHECK has no name for the items of an array"));
        }
        Ok(said)
    }

    /// The schema that one refers to.
    fn referred(&mut self, members: &'a Object, way: &[FieldStep]) -> Result<Option<&'a Value>> {
        let Some(reference) = members.get("$ref") else { return Ok(None) };
        let missing = || {
            unsupported(way, "a $ref to a part of the same schema, like #/$defs/Item", &reference.to_string())
        };
        let steps = reference.as_text().and_then(|text| text.strip_prefix("#/")).ok_or_else(missing)?;
        let found = steps
            .split('/')
            .try_fold(self.root, |value, step| value.get(&step.replace("~1", "/").replace("~0", "~")));
        let others = members.keys().find(|name| *name != "$ref" && !ANNOTATIONS.contains(&name.as_str()));
        match others {
            Some(other) => Err(unsupported(way, "nothing beside $ref", other)),
            None => found.map(Some).ok_or_else(missing),
        }
    }

    fn array(&mut self, members: &'a Object, way: &mut Vec<FieldStep>) -> Result<String> {
        let Some(items) = members.get("items") else { return Ok("array".to_owned()) };
        way.push(FieldStep::Element(0));
        let item = self.schema(items, way, true)?;
        way.pop();
        Ok(format!("[{}{}]", item.kind, if item.optional { "?" } else { "" }))
    }

    fn object(&mut self, members: &'a Object, way: &mut Vec<FieldStep>, in_array: bool) -> Result<String> {
        let properties: Vec<(&String, &'a Value)> = match members.get("properties") {
            Some(Value::Object(properties)) => properties.iter().collect(),
            None if members.get("additionalProperties") != Some(&Value::Bool(false)) && !way.is_empty() => {
                return Ok("object".to_owned());
            }
            None => Vec::new(),
            Some(other) => return Err(unsupported(way, "properties that are an object", &other.to_string())),
        };
        match members.get("additionalProperties") {
            Some(Value::Bool(false)) => self.strict = self.strict.take().or_else(|| Some(path(way))),
            None | Some(Value::Bool(true)) => self.open = self.open.take().or_else(|| Some(path(way))),
            Some(other) => {
                return Err(unsupported(
                    way,
                    "additionalProperties true or false beside properties",
                    &other.to_string(),
                ));
            }
        }
        let required = members.get("required").and_then(Value::as_array).unwrap_or_default();
        let is_named = |wanted: &&str| properties.iter().any(|(name, _)| name == wanted);
        if let Some(name) = required.iter().filter_map(Value::as_text).find(|name| !is_named(name)) {
            return Err(unsupported(way, "required members among the properties", name));
        }
        let mut text = String::from("{");
        for (at, (name, schema)) in properties.into_iter().enumerate() {
            way.push(FieldStep::Member(name.clone()));
            let said = self.schema(schema, way, in_array)?;
            way.pop();
            let optional = said.optional || !required.iter().any(|wanted| wanted.as_text() == Some(name));
            // A String takes all.
            let _ = write!(text, "{}{}: {}", if at > 0 { ", " } else { "" }, quoted(name), said.kind);
            text.push_str(if optional { "?" } else { "" });
            if !said.checks.is_empty() {
                let _ = write!(text, " CHECK {}", said.checks.join(" AND "));
            }
        }
        text.push('}');
        Ok(text)
    }

    /// What one keyword asks of a value.
    fn condition(&mut self, name: &str, value: &Value, way: &[FieldStep], said: &mut Said) -> Result<()> {
        let number = || literal(value).filter(|_| value.as_f64().is_some());
        let compared = |sign: &str| Some(format!("{} {sign} {}", path(way), number()?));
        let length = |sign: &str| Some(format!("length({}) {sign} {}", path(way), number()?));
        let check = match name {
            "minimum" => compared(">="),
            "maximum" => compared("<="),
            "exclusiveMinimum" => compared(">"),
            "exclusiveMaximum" => compared("<"),
            "minLength" | "minItems" | "minProperties" => length(">="),
            "maxLength" | "maxItems" | "maxProperties" => length("<="),
            "multipleOf" => number().map(|of| format!("{} % {of} = 0", path(way))),
            "pattern" => value.as_text().map(|text| format!("regex({}, {})", path(way), quoted(text))),
            "const" => literal(value).map(|text| format!("{} = {text}", path(way))),
            "enum" => {
                let items = value.as_array().unwrap_or_default();
                said.optional |= items.contains(&Value::Null);
                let items = items.iter().filter(|item| **item != Value::Null).map(literal);
                let items: Option<Vec<String>> = items.collect();
                items
                    .filter(|items| !items.is_empty())
                    .map(|items| format!("{} IN ({})", path(way), items.join(", ")))
            }
            "type" | "items" | "properties" | "required" | "additionalProperties" | "format" => return Ok(()),
            // Of types that schemas are derived from, and of forms to fill in.
            _ if ANNOTATIONS.contains(&name) || name.starts_with("x-") => return Ok(()),
            _ => {
                let expected = "keywords that CHECK has words for";
                return Err(unsupported(way, expected, &NameText(name).to_string()));
            }
        };
        let wrong = || unsupported(way, &format!("a value that fits {name}"), &value.to_string());
        said.checks.push(check.ok_or_else(wrong)?);
        Ok(())
    }
}

/// The one schema that is left of several, and whether null is another.
fn alternative<'a>(members: &'a Object, way: &[FieldStep]) -> Result<Option<(&'a Value, bool)>> {
    let Some((name, several)) =
        ["anyOf", "oneOf", "allOf"].iter().find_map(|name| Some((*name, members.get(name)?)))
    else {
        return Ok(None);
    };
    let several = several.as_array().unwrap_or_default();
    let is_null = |schema: &&Value| schema.get("type") == Some(&Value::from("null"));
    let left: Vec<&Value> = several.iter().filter(|schema| !is_null(schema)).collect();
    let others = members.keys().find(|other| *other != name && !ANNOTATIONS.contains(&other.as_str()));
    match (left.as_slice(), others) {
        ([one], None) => Ok(Some((*one, left.len() < several.len()))),
        (_, Some(other)) => Err(unsupported(way, &format!("nothing beside {name}"), other)),
        _ => Err(unsupported(
            way,
            &format!("{name} of one schema, or of one and null"),
            &format!("{} of them", several.len()),
        )),
    }
}

/// The type that a schema names, and whether null is another.
fn types(members: &Object, way: &[FieldStep]) -> Result<(Option<String>, bool)> {
    let named = match members.get("type") {
        None => return Ok((None, false)),
        Some(Value::Text(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_text).collect(),
        Some(other) => return Err(unsupported(way, "a type, or several", &other.to_string())),
    };
    let left: Vec<&str> = named.iter().copied().filter(|name| *name != "null").collect();
    match left.as_slice() {
        [one] => Ok((Some((*one).to_owned()), left.len() < named.len())),
        _ => Err(unsupported(way, "one type, or one and null", &named.join(", "))),
    }
}

fn is_time(members: &Object) -> bool {
    matches!(members.get("format").and_then(Value::as_text), Some("date-time" | "date"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(json: &str) -> String {
        let found = members_of_json(json).unwrap_or_else(|error| panic!("{json}: {error}"));
        let members: Vec<String> = found.members.iter().map(ToString::to_string).collect();
        format!("{{{}}}{}", members.join(", "), if found.strict { " STRICT" } else { "" })
    }

    #[test]
    fn json_schema_becomes_members() {
        let order = r##"{
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Placed",
            "type": "object",
            "required": ["customer", "total", "items", "state"],
            "properties": {
                "customer": {"type": "string", "minLength": 1, "description": "who"},
                "total": {"type": "number", "minimum": 0, "exclusiveMaximum": 1e6},
                "items": {"type": "array", "items": {"$ref": "#/$defs/Item"}, "minItems": 1},
                "state": {"enum": ["open", "it's"]},
                "at": {"type": "string", "format": "date-time"},
                "note": {"type": ["string", "null"], "pattern": "^a"},
                "address": {"anyOf": [{"$ref": "#/$defs/Address"}, {"type": "null"}]},
                "the rest": true
            },
            "$defs": {
                "Item": {"type": "object", "properties": {"sku": {"type": "string"}, "n": {"type": "integer"}}, "required": ["sku"]},
                "Address": {"type": "object", "properties": {"zip": {"type": "string", "maxLength": 5}}, "required": ["zip"]}
            }
        }"##;
        assert_eq!(
            definition(order),
            "{customer: text CHECK length(data.customer) >= 1, total: number CHECK data.total >= 0 AND data.total < 1000000.0, \
             items: [{sku: text, n: integer?}] CHECK length(data.items) >= 1, state: any CHECK data.state IN ('open', 'it''s'), \
             at: time?, note: text? CHECK regex(data.note, '^a'), address: {zip: text CHECK length(data.address.zip) <= 5}?, \
             'the rest': any?}"
        );
        assert_eq!(definition(r#"{"type": "object", "additionalProperties": false}"#), "{} STRICT");
        assert_eq!(
            definition(r#"{"properties": {"x": {"type": "object"}, "y": {"type": "array"}}}"#),
            "{x: object?, y: array?}"
        );
    }

    #[test]
    fn what_is_asked_of_items_is_left_out_and_told() {
        let found = members_of_json(
            r#"{"type": "object", "properties": {"n": {"type": "array", "items": {"type": "integer", "minimum": 0}}}}"#,
        )
        .unwrap();
        assert_eq!(found.notices, ["left out: data.n[0] >= 0; CHECK has no name for the items of an array"]);
    }

    #[test]
    fn what_has_no_words_here_is_refused_by_its_name() {
        for (json, told) in [
            ("5", "an object"),
            (r#"{"type": "string"}"#, "an object with properties"),
            (r#"{"type": "object", "patternProperties": {}}"#, "patternProperties"),
            (
                r#"{"properties": {"x": {"oneOf": [{"type": "string"}, {"type": "number"}]}}}"#,
                "oneOf of one schema",
            ),
            (r#"{"properties": {"x": {"type": ["string", "number"]}}}"#, "one type, or one and null"),
            (r#"{"properties": {"x": {"$ref": "other.json"}}}"#, "a $ref to a part of the same schema"),
            (r##"{"properties": {"x": {"$ref": "#"}}}"##, "a $ref to a part of the same schema"),
            (r##"{"properties": {"x": {"$ref": "#/properties/x"}}}"##, "one that does not refer to itself"),
            (r#"{"properties": {"x": {"enum": [[1]]}}}"#, "a value that fits enum"),
            (r#"{"properties": {"x": {"minimum": "a"}}}"#, "a value that fits minimum"),
            (r#"{"required": ["y"], "properties": {"x": true}}"#, "required members among the properties"),
            (
                r#"{"additionalProperties": false, "properties": {"x": {"properties": {"y": true}}}}"#,
                "false for all objects of the schema",
            ),
            (
                r#"{"properties": {"x": {"properties": {}, "additionalProperties": {"type": "string"}}}}"#,
                "additionalProperties",
            ),
        ] {
            let error = match members_of_json(json) {
                Err(error) => error.to_string(),
                Ok(_) => panic!("{json}"),
            };
            assert!(error.contains(told), "{json}: {error}");
        }
    }

    #[test]
    fn one_that_grows_without_end_is_refused() {
        // Each part refers twice to the next: as many as two to the power of sixty.
        let parts: Vec<String> = (0..60)
            .map(|at| {
                let next = at + 1;
                format!(
                    r##""p{at}": {{"type": "object", "properties": {{"a": {{"$ref": "#/$defs/p{next}"}}, "b": {{"$ref": "#/$defs/p{next}"}}}}}}"##
                )
            })
            .collect();
        let json = format!(
            r##"{{"properties": {{"x": {{"$ref": "#/$defs/p0"}}}}, "$defs": {{{}, "p60": {{"type": "string"}}}}}}"##,
            parts.join(", ")
        );
        assert!(members_of_json(&json).is_err());
    }
}
