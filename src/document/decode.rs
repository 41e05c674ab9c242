//! Values, decoded by their forms: what is read most is spared the way through serde.

use super::raw::{Raw, RawKind};
use crate::value::{MAX_DEPTH, Object, Value};

/// For how many items or members room is made before they are there.
const ROOM: usize = 256;

impl Raw<'_> {
    /// This value alone; none where something is wrong with it, which the decoder of [`to_value`](Raw::to_value) can tell.
    pub(super) fn decoded(self) -> Option<Value> {
        value(self.0, MAX_DEPTH).map(|(value, _)| value)
    }
}

/// A value of so many levels at most, and what follows it.
fn value(bytes: &[u8], left: usize) -> Option<(Value, &[u8])> {
    let (form, mut rest) = Raw(bytes).form()?;
    let value = match form {
        RawKind::Null => Value::Null,
        RawKind::Bool(b) => Value::Bool(b),
        RawKind::Int(n) => Value::Int(n),
        RawKind::UInt(n) => Value::UInt(n),
        RawKind::Float(x) => Value::Float(Some(x).filter(|x| x.is_finite())?),
        RawKind::Text(text) => Value::Text(std::str::from_utf8(text).ok()?.to_owned()),
        // The count is what the bytes say, and may be wrong at each of many levels: so room is made for some, and more as they come.
        RawKind::Array(count) => {
            let left = left.checked_sub(1)?;
            let mut items = Vec::with_capacity(count.min(ROOM));
            for _ in 0..count {
                let (item, after) = value(rest, left)?;
                items.push(item);
                rest = after;
            }
            Value::Array(items)
        }
        RawKind::Map(count) => {
            let left = left.checked_sub(1)?;
            let mut members = Object::with_capacity(count.min(ROOM));
            for _ in 0..count {
                let (name, after) = Raw(rest).text()?;
                let (member, after) = value(after, left)?;
                let name = std::str::from_utf8(name).ok()?.to_owned();
                if members.insert(name, member).is_some() {
                    return None;
                }
                rest = after;
            }
            Value::Object(members)
        }
    };
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::tests::any_value;

    fn by_serde(bytes: &[u8]) -> Option<Value> {
        rmp_serde::from_slice(bytes).ok()
    }

    proptest! {
        #[test]
        fn forms_are_decoded_as_serde_decodes_them(value in any_value()) {
            let bytes = rmp_serde::to_vec(&value).unwrap();
            prop_assert_eq!(Raw(&bytes).decoded(), Some(value));
        }

        /// Bytes that are nearly right: what is decoded is what serde makes of it, and nothing else is.
        #[test]
        fn what_serde_refuses_is_not_decoded(
            value in any_value(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        ) {
            let mut bytes = rmp_serde::to_vec(&value).unwrap();
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Some(decoded) = Raw(&bytes).decoded() {
                prop_assert_eq!(by_serde(&bytes), Some(decoded));
            }
        }
    }

    /// Each of many levels says that it has as many as there can be: there is no room for all of them.
    #[test]
    fn counts_that_are_wrong_at_each_level_take_no_memory() {
        for head in [&[0xdd, 0xff, 0xff, 0xff, 0xff][..], &[0xdf, 0xff, 0xff, 0xff, 0xff, 0xa0]] {
            for behind in [0, 16 << 20] {
                let bytes = [head.repeat(MAX_DEPTH - 1), vec![0xc1; behind]].concat();
                assert!(Raw(&bytes).decoded().is_none());
            }
        }
    }

    #[test]
    fn what_is_nested_too_deep_or_named_twice_is_refused() {
        let nested = |levels: usize| [vec![0x91; levels], vec![0xc0]].concat();
        assert!(Raw(&nested(MAX_DEPTH)).decoded().is_some() && by_serde(&nested(MAX_DEPTH)).is_some());
        assert!(Raw(&nested(MAX_DEPTH + 1)).decoded().is_none());
        assert!(Raw(&nested(MAX_DEPTH + 1)).to_value().is_err());
        let twice = [0x82, 0xa1, b'a', 1, 0xa1, b'a', 2];
        assert!(Raw(&twice).decoded().is_none());
        assert!(Raw(&twice).to_value().unwrap_err().to_string().contains("twice"));
    }
}
