//! The difference of two states, as JSON Patch (RFC 6902).

use crate::value::{Object, Value};

/// What makes `after` of `before`. Objects are compared member by member, arrays as a whole.
pub(super) fn diff(before: &Value, after: &Value) -> Vec<Value> {
    let mut changes = Vec::new();
    compare(before, after, &mut String::new(), &mut changes);
    changes
}

fn compare(before: &Value, after: &Value, path: &mut String, changes: &mut Vec<Value>) {
    if before == after {
        return;
    }
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        changes.push(change("replace", path, Some(after)));
        return;
    };
    let length = path.len();
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        step(path, name);
        changes.push(change("remove", path, None));
        path.truncate(length);
    }
    for (name, value) in new {
        step(path, name);
        match old.get(name) {
            Some(before) => compare(before, value, path, changes),
            None => changes.push(change("add", path, Some(value))),
        }
        path.truncate(length);
    }
}

fn step(path: &mut String, name: &str) {
    path.push('/');
    path.push_str(&name.replace('~', "~0").replace('/', "~1"));
}

fn change(op: &str, path: &str, value: Option<&Value>) -> Value {
    let mut change = Object::new();
    change.insert("op".to_owned(), op.into());
    change.insert("path".to_owned(), path.into());
    change.extend(value.map(|value| ("value".to_owned(), value.clone())));
    Value::Object(change)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_a_patch() {
        for (before, after, patch) in [
            ("{}", "{}", "[]"),
            ("null", r#"{"a":1}"#, r#"[{"op":"replace","path":"","value":{"a":1}}]"#),
            (
                r#"{"a":1,"b":{"c":1,"d":2}}"#,
                r#"{"b":{"c":3,"e/f":[1]}}"#,
                r#"[{"op":"remove","path":"/a"},{"op":"remove","path":"/b/d"},{"op":"replace","path":"/b/c","value":3},{"op":"add","path":"/b/e~1f","value":[1]}]"#,
            ),
        ] {
            let changes = diff(&before.parse().unwrap(), &after.parse().unwrap());
            assert_eq!(Value::Array(changes).to_string(), patch);
        }
    }
}
