//! Merge patches (RFC 7396) put together as they are stored: what the last of them says of each member is kept as bytes, and decoded
//! once, where somebody asks for the value.
//!
//! It is for objects of few members, as those of most entities are: they are looked for one after another, first where they were in
//! the patch before, and no name is hashed. Whoever puts patches together applies what there is by then as soon as it
//! [is full](ComposedPatch::is_full), and merges one that it [does not take](ComposedPatch::add) by itself.

use smol_str::SmolStr;

use super::read::Seen;
use super::{Raw, RawKind};
use crate::error::Result;
use crate::value::{MAX_DEPTH, Object, Value};

/// How many members an object of a patch has at most, and from how many on one of what is put together is full.
const MOST: usize = 31;

/// What several merge patches do, one after another.
#[derive(Debug, Default)]
pub(crate) struct ComposedPatch {
    /// What is new comes in this order.
    members: Vec<ComposedMember>,
    /// There is a patch; it may have no members.
    begun: bool,
    /// One of the objects has many members.
    full: bool,
}

#[derive(Debug)]
struct ComposedMember {
    name: SmolStr,
    /// It was taken away and came again: it stands behind those that were there before.
    moved: bool,
    change: MemberChange,
}

#[derive(Debug)]
enum MemberChange {
    Remove,
    /// A value that is no object, as it is stored.
    Put(Vec<u8>),
    /// Into the object that is there; or a new one, where there is something else or nothing.
    Merge(ComposedPatch),
    /// Into a new object, whatever is there.
    Replace(ComposedPatch),
}

impl ComposedPatch {
    /// Whether there is no patch yet. One without members makes an object of what is none.
    pub fn is_empty(&self) -> bool {
        !self.begun
    }

    /// Whether it is to be applied before more is added: it has so many members that one of them takes long to find.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Adds a patch behind those before it. Not if it is none, or of many members, or cannot be decoded: then nothing is changed,
    /// and it says so.
    pub fn add(&mut self, patch: Raw) -> bool {
        let is_object = matches!(patch.form(), Some((RawKind::Map(_), _)));
        let fits = is_object && (self.fits_as_before(patch) || behind(patch, MAX_DEPTH, MOST).is_some());
        if fits {
            self.compose(patch);
        }
        fits
    }

    /// Whether a patch names what is known, in the order in which it is known, as the next one mostly does: its names are text and
    /// differ, then, and only its values need to be looked at.
    fn fits_as_before(&self, patch: Raw) -> bool {
        let Some((RawKind::Map(count), mut rest)) = patch.form() else { return false };
        let mut known = self.members.iter();
        (0..count).all(|_| {
            let Some((name, value)) = Raw(rest).text() else { return false };
            if !known.any(|member| member.name.as_bytes() == name) {
                return false;
            }
            match behind(Raw(value), MAX_DEPTH - 1, MOST) {
                Some(behind) => rest = behind,
                None => return false,
            }
            true
        })
    }

    fn compose(&mut self, patch: Raw) {
        let mut next = 0;
        self.begun = true;
        for (name, value) in members(patch) {
            next = self.change(name, value, next);
        }
    }

    /// Takes in what is said of a member, which is looked for at a place first; tells where the next one is likely to be.
    fn change(&mut self, name: &[u8], value: &[u8], near: usize) -> usize {
        let is_it = |member: &ComposedMember| member.name.as_bytes() == name;
        let known = match self.members.get(near) {
            Some(member) if is_it(member) => Some(near),
            _ => self.members.iter().position(is_it),
        };
        let Some(at) = known else {
            let change = match PatchKind::of(value) {
                PatchKind::Null => MemberChange::Remove,
                PatchKind::Object => MemberChange::Merge(self.composed(value)),
                PatchKind::Other => MemberChange::Put(value.to_vec()),
            };
            return self.push(SmolStr::new(String::from_utf8_lossy(name)), false, change);
        };
        let kind = PatchKind::of(value);
        if kind != PatchKind::Null && matches!(self.members[at].change, MemberChange::Remove) {
            let change = match kind {
                PatchKind::Object => MemberChange::Replace(self.composed(value)),
                _ => MemberChange::Put(value.to_vec()),
            };
            let ComposedMember { name, .. } = self.members.remove(at);
            self.push(name, true, change);
            // The next one stands where it was.
            return at;
        }
        let change = &mut self.members[at].change;
        match (kind, &mut *change) {
            (PatchKind::Null, _) => *change = MemberChange::Remove,
            (PatchKind::Other, MemberChange::Put(bytes)) => {
                bytes.clear();
                bytes.extend_from_slice(value);
            }
            (PatchKind::Other, _) => *change = MemberChange::Put(value.to_vec()),
            (PatchKind::Object, MemberChange::Merge(patch) | MemberChange::Replace(patch)) => {
                patch.compose(Raw(value));
                self.full |= patch.full;
            }
            (PatchKind::Object, MemberChange::Put(_) | MemberChange::Remove) => {
                let composed = self.composed(value);
                self.members[at].change = MemberChange::Replace(composed);
            }
        }
        at + 1
    }

    fn push(&mut self, name: SmolStr, moved: bool, change: MemberChange) -> usize {
        self.members.push(ComposedMember { name, moved, change });
        self.full |= self.members.len() > MOST;
        self.members.len()
    }

    /// A patch of its own, within this one.
    fn composed(&mut self, patch: &[u8]) -> ComposedPatch {
        let mut composed = ComposedPatch::default();
        composed.compose(Raw(patch));
        self.full |= composed.full;
        composed
    }

    /// Merges all of it into a value, as if one patch had been after another.
    pub fn apply_to(self, value: &mut Value) -> Result<()> {
        if !matches!(value, Value::Object(_)) {
            *value = Value::Object(Object::with_capacity(self.members.len()));
        }
        let Value::Object(members) = value else { return Ok(()) };
        for ComposedMember { name, moved, change } in self.members {
            if moved {
                members.shift_remove(name.as_str());
            }
            match change {
                MemberChange::Remove => drop(members.shift_remove(name.as_str())),
                MemberChange::Put(bytes) => drop(members.insert(name.into(), Raw(&bytes).to_value()?)),
                MemberChange::Merge(patch) => {
                    patch.apply_to(members.member_or(name.into(), Value::default))?
                }
                MemberChange::Replace(patch) => {
                    let mut object = Value::Null;
                    patch.apply_to(&mut object)?;
                    members.insert(name.into(), object);
                }
            }
        }
        Ok(())
    }
}

/// What a value is to a merge patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PatchKind {
    Null,
    Object,
    Other,
}

impl PatchKind {
    fn of(value: &[u8]) -> PatchKind {
        match value.first() {
            Some(0xc0) => PatchKind::Null,
            Some(0x80..=0x8f | 0xde | 0xdf) => PatchKind::Object,
            _ => PatchKind::Other,
        }
    }
}

/// The members of an object that was looked through before: names, and values as they are stored.
fn members<'a>(object: Raw<'a>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let (count, mut rest) = match object.form() {
        Some((RawKind::Map(count), rest)) => (count, rest),
        _ => (0, [].as_slice()),
    };
    (0..count).map_while(move |_| {
        let (name, value) = Raw(rest).text()?;
        rest = Raw(value).skip()?;
        Some((name, &value[..value.len() - rest.len()]))
    })
}

/// What follows a value, where it can be decoded as [`Raw::to_value`] does and no object of it has more than so many members; of
/// those in arrays any may be as large as they are.
fn behind(raw: Raw<'_>, depth_left: usize, most: usize) -> Option<&[u8]> {
    let (kind, rest) = raw.form()?;
    match kind {
        RawKind::Null | RawKind::Bool(_) | RawKind::Int(_) | RawKind::UInt(_) => Some(rest),
        RawKind::Float(number) => number.is_finite().then_some(rest),
        RawKind::Text(text) => is_text(text).then_some(rest),
        RawKind::Array(count) => {
            let depth_left = depth_left.checked_sub(1)?;
            (0..count).try_fold(rest, |rest, _| behind(Raw(rest), depth_left, usize::MAX))
        }
        RawKind::Map(count) => {
            let depth_left = depth_left.checked_sub(1)?;
            if count > most {
                return None;
            }
            let (begin, mut rest, mut seen) = (rest, rest, Seen::new(count));
            for _ in 0..count {
                let (name, value) = Raw(rest).text()?;
                if !is_text(name) || seen.twice(name, begin) {
                    return None;
                }
                rest = behind(Raw(value), depth_left, most)?;
            }
            Some(rest)
        }
    }
}

fn is_text(bytes: &[u8]) -> bool {
    bytes.is_ascii() || std::str::from_utf8(bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::tests::any_value;

    fn encoded(value: &Value) -> Vec<u8> {
        rmp_serde::to_vec(value).unwrap()
    }

    /// Patches that often speak of the same members, and nest.
    fn any_patch() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            2 => Just(Value::Null),
            2 => (0i64..4).prop_map(Value::from),
            1 => any_value(),
        ];
        let object = |inner: BoxedStrategy<Value>, most: usize| {
            prop::collection::vec(("[a-d]|\\PC{0,2}", inner), 0..most)
                .prop_map(|members| Value::Object(members.into_iter().collect()))
        };
        let inner = leaf.prop_recursive(3, 20, 5, move |inner| object(inner.boxed(), 5)).boxed();
        object(inner, 6)
    }

    /// Members of many names: more than are put together.
    fn wide_patch() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(Value::Null), (0i64..4).prop_map(Value::from)];
        let members = prop::collection::vec(("[a-z][0-2]?", leaf), 0..2 * MOST);
        members.prop_map(|members| Value::Object(members.into_iter().collect()))
    }

    /// Merges patches into a value as whoever folds does, so many at a time at most. In JSON, which tells the order of members.
    fn composed(mut value: Value, patches: &[Value], at_a_time: usize) -> String {
        let mut pending = ComposedPatch::default();
        let mut count = 0;
        for patch in patches {
            let bytes = encoded(patch);
            if pending.add(Raw(&bytes)) {
                count += 1;
                if pending.is_full() || count == at_a_time {
                    std::mem::take(&mut pending).apply_to(&mut value).unwrap();
                    count = 0;
                }
                continue;
            }
            assert!(patch.as_object().is_none_or(is_wide), "{patch} is taken");
            std::mem::take(&mut pending).apply_to(&mut value).unwrap();
            value.merge(patch.clone());
        }
        if !pending.is_empty() {
            pending.apply_to(&mut value).unwrap();
        }
        value.to_string()
    }

    fn is_wide(members: &Object) -> bool {
        let within = |value: &Value| value.as_object().is_some_and(is_wide);
        members.len() > MOST || members.values().any(within)
    }

    fn one_by_one(mut value: Value, patches: &[Value]) -> String {
        for patch in patches {
            // What has no members makes an object, too.
            value.merge(patch.clone());
        }
        value.to_string()
    }

    #[test]
    fn what_is_taken_away_and_comes_again_stands_behind_the_others() {
        let patches = [r#"{"a":1,"b":{"x":1}}"#, r#"{"a":null,"b":5}"#, r#"{"a":2,"b":{"y":null,"z":1}}"#];
        let patches = patches.map(|patch| patch.parse::<Value>().unwrap());
        for (base, expected) in [
            ("null", r#"{"b":{"z":1},"a":2}"#),
            (r#"{"a":0,"b":{"w":1},"c":3}"#, r#"{"b":{"z":1},"c":3,"a":2}"#),
        ] {
            assert_eq!(composed(base.parse().unwrap(), &patches, usize::MAX), expected);
            assert_eq!(one_by_one(base.parse().unwrap(), &patches), expected);
        }
    }

    #[test]
    fn an_object_of_many_members_is_not_looked_for_in_a_row() {
        let wide =
            |count: usize| Value::Object((0..count).map(|n| (format!("m{n}"), Value::from(1))).collect());
        let mut pending = ComposedPatch::default();
        assert!(!pending.add(Raw(&encoded(&wide(MOST + 1)))));
        let within = Value::Object(Object::from_iter([("inner".to_owned(), wide(MOST + 1))]));
        assert!(!pending.add(Raw(&encoded(&within))));
        assert!(pending.is_empty());
        let in_array = Value::Array(vec![wide(MOST + 1)]);
        assert!(
            pending.add(Raw(&encoded(&Value::Object(Object::from_iter([("list".to_owned(), in_array)])))))
        );
        assert!(!pending.is_full());
        for n in 0..=MOST {
            let one = Value::Object(Object::from_iter([(format!("n{n}"), Value::Null)]));
            let inner = Value::Object(Object::from_iter([("inner".to_owned(), one)]));
            assert!(pending.add(Raw(&encoded(&inner))));
        }
        assert!(pending.is_full(), "what is taken away is remembered, too");
    }

    proptest! {
        #[test]
        fn patches_put_together_do_what_each_does_after_the_other(
            base in prop_oneof![Just(Value::Null), any_patch(), any_value()],
            patches in prop::collection::vec(prop_oneof![9 => any_patch(), 1 => any_value()], 1..12),
            at_a_time in prop_oneof![Just(usize::MAX), 1usize..5],
        ) {
            prop_assert_eq!(composed(base.clone(), &patches, at_a_time), one_by_one(base, &patches));
        }

        #[test]
        fn objects_of_many_members_are_merged_as_they_were(
            base in prop_oneof![Just(Value::Null), wide_patch()],
            patches in prop::collection::vec(wide_patch(), 1..8),
        ) {
            prop_assert_eq!(composed(base.clone(), &patches, usize::MAX), one_by_one(base, &patches));
        }

        #[test]
        fn what_is_taken_can_be_decoded(
            patch in any_patch(),
            damaged in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
            length in any::<prop::sample::Index>(),
            cut: bool,
        ) {
            let mut bytes = encoded(&patch);
            for (at, byte) in damaged {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if cut {
                bytes.truncate(length.index(bytes.len()));
            }
            let mut pending = ComposedPatch::default();
            let decoded = Raw(&bytes).to_value();
            if pending.add(Raw(&bytes)) {
                let mut value = Value::Null;
                let mut expected = Value::Null;
                pending.apply_to(&mut value).unwrap();
                expected.merge(decoded.unwrap());
                prop_assert_eq!(value.to_string(), expected.to_string());
            } else {
                // That it takes what it should is seen where nothing is damaged.
                prop_assert!(pending.is_empty());
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut pending = ComposedPatch::default();
            pending.add(Raw(&bytes));
            let mut value = Value::Null;
            prop_assert!(pending.apply_to(&mut value).is_ok());
        }
    }
}
