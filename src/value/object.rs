//! Objects: named values in the order they were written. Nearly all have a few members, which lie one behind the other; of many, a table of hashes
//! tells where each is.

use std::fmt;
use std::ops::Index;

use indexmap::{IndexMap, map};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Value;

/// More members than these are found by their hashes.
const FEW: usize = if cfg!(test) { 3 } else { 16 };

/// The members of an object, in the order they were written; equal in any order.
///
/// ```
/// use bygone::{Object, Value};
/// let mut order = Object::from_iter([("total".to_owned(), Value::from(10))]);
/// assert_eq!(order.insert("paid".to_owned(), true.into()), None);
/// assert_eq!(order.get("total"), Some(&Value::from(10)));
/// assert_eq!(order.keys().collect::<Vec<_>>(), ["total", "paid"]);
/// ```
#[derive(Clone)]
pub struct Object(MemberList);

#[derive(Clone)]
enum MemberList {
    Few(Vec<(String, Value)>),
    Many(Box<IndexMap<String, Value>>),
}

impl Default for Object {
    fn default() -> Object {
        Object::new()
    }
}

impl Object {
    /// One without members.
    #[must_use]
    pub const fn new() -> Object {
        Object(MemberList::Few(Vec::new()))
    }

    /// One without members, and with room for so many.
    #[must_use]
    pub fn with_capacity(members: usize) -> Object {
        Object(match members {
            0..=FEW => MemberList::Few(Vec::with_capacity(members)),
            _ => MemberList::Many(Box::new(IndexMap::with_capacity(members))),
        })
    }

    /// How many members it has.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            MemberList::Few(members) => members.len(),
            MemberList::Many(members) => members.len(),
        }
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The member of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        match &self.0 {
            MemberList::Few(members) => {
                members.iter().find(|(known, _)| known == name).map(|(_, value)| value)
            }
            MemberList::Many(members) => members.get(name),
        }
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        match &mut self.0 {
            MemberList::Few(members) => {
                members.iter_mut().find(|(known, _)| known == name).map(|(_, value)| value)
            }
            MemberList::Many(members) => members.get_mut(name),
        }
    }

    /// Whether there is a member of this name.
    #[must_use]
    pub fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The member at a place.
    #[must_use]
    pub fn get_index(&self, at: usize) -> Option<(&String, &Value)> {
        match &self.0 {
            MemberList::Few(members) => members.get(at).map(|(name, value)| (name, value)),
            MemberList::Many(members) => members.get_index(at),
        }
    }

    /// Puts a member behind the others, or in the place of the one of this name, which is given back.
    pub fn insert(&mut self, name: String, value: Value) -> Option<Value> {
        let at = self.make_room(&name);
        match &mut self.0 {
            MemberList::Few(members) => match members.get_mut(at) {
                Some((_, known)) => Some(std::mem::replace(known, value)),
                None => {
                    members.push((name, value));
                    None
                }
            },
            MemberList::Many(members) => members.insert(name, value),
        }
    }

    /// The member of this name; one that is made, behind the others, if there was none.
    pub(crate) fn member_or(&mut self, name: String, make: impl FnOnce() -> Value) -> &mut Value {
        let at = self.make_room(&name);
        match &mut self.0 {
            MemberList::Few(members) => {
                if at == members.len() {
                    members.push((name, make()));
                }
                &mut members[at].1
            }
            MemberList::Many(members) => members.entry(name).or_insert_with(make),
        }
    }

    /// Where the member of this name is among few, or is to be, behind the others: where they would be more than few, they are many from now on.
    fn make_room(&mut self, name: &str) -> usize {
        let MemberList::Few(members) = &mut self.0 else { return 0 };
        let at = members.iter().position(|(known, _)| known == name).unwrap_or(members.len());
        if at == FEW {
            let mut many = IndexMap::with_capacity(2 * FEW);
            many.extend(std::mem::take(members));
            self.0 = MemberList::Many(Box::new(many));
        }
        at
    }

    /// Takes a member away; those behind it move up.
    pub fn shift_remove(&mut self, name: &str) -> Option<Value> {
        match &mut self.0 {
            MemberList::Few(members) => {
                let at = members.iter().position(|(known, _)| known == name)?;
                Some(members.remove(at).1)
            }
            MemberList::Many(members) => members.shift_remove(name),
        }
    }

    /// Takes away the members that are not wanted.
    pub fn retain(&mut self, mut wants: impl FnMut(&String, &mut Value) -> bool) {
        match &mut self.0 {
            MemberList::Few(members) => members.retain_mut(|(name, value)| wants(name, value)),
            MemberList::Many(members) => members.retain(|name, value| wants(name, value)),
        }
    }

    /// Puts the members into the order of their names.
    pub fn sort_keys(&mut self) {
        match &mut self.0 {
            MemberList::Few(members) => members.sort_unstable_by(|(a, _), (b, _)| a.cmp(b)),
            MemberList::Many(members) => members.sort_unstable_keys(),
        }
    }

    /// The members, in their order.
    #[must_use]
    pub fn iter(&self) -> ObjectIter<'_> {
        ObjectIter(match &self.0 {
            MemberList::Few(members) => MemberIter::Few(members.iter()),
            MemberList::Many(members) => MemberIter::Many(members.iter()),
        })
    }

    /// The same, their values to be changed.
    pub fn iter_mut(&mut self) -> ObjectIterMut<'_> {
        ObjectIterMut(match &mut self.0 {
            MemberList::Few(members) => MemberIter::Few(members.iter_mut()),
            MemberList::Many(members) => MemberIter::Many(members.iter_mut()),
        })
    }

    fn take_apart(self) -> ObjectIntoIter {
        ObjectIntoIter(match self.0 {
            MemberList::Few(members) => MemberIter::Few(members.into_iter()),
            MemberList::Many(members) => MemberIter::Many(members.into_iter()),
        })
    }

    /// The names, in their order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &String> + ExactSizeIterator {
        self.iter().map(|(name, _)| name)
    }

    /// The values, in their order.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Value> + ExactSizeIterator {
        self.iter().map(|(_, value)| value)
    }

    /// The same, to be changed.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Value> + ExactSizeIterator {
        self.iter_mut().map(|(_, value)| value)
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Object) -> bool {
        // Nearly always they are in one order. No value is compared twice: what nests would be at each level.
        if self.keys().eq(other.keys()) {
            return self.values().eq(other.values());
        }
        self.len() == other.len() && self.iter().all(|(name, value)| other.get(name) == Some(value))
    }
}

impl Index<&str> for Object {
    type Output = Value;

    /// # Panics
    /// If there is no member of this name.
    fn index(&self, name: &str) -> &Value {
        self.get(name).expect("an object has the member that is indexed")
    }
}

impl Extend<(String, Value)> for Object {
    fn extend<I: IntoIterator<Item = (String, Value)>>(&mut self, members: I) {
        members.into_iter().for_each(|(name, value)| drop(self.insert(name, value)));
    }
}

impl FromIterator<(String, Value)> for Object {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(members: I) -> Object {
        let members = members.into_iter();
        let mut object = Object::with_capacity(members.size_hint().0.min(FEW));
        object.extend(members);
        object
    }
}

impl<const N: usize> From<[(String, Value); N]> for Object {
    fn from(members: [(String, Value); N]) -> Object {
        members.into_iter().collect()
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Object(members) => Ok(members),
            other => Err(serde::de::Error::custom(format!("expected an object, found {}", other.kind()))),
        }
    }
}

/// Goes through either.
#[derive(Debug, Clone)]
enum MemberIter<F, M> {
    Few(F),
    Many(M),
}

/// The members of an object, in their order.
#[derive(Debug, Clone)]
pub struct ObjectIter<'o>(MemberIter<std::slice::Iter<'o, (String, Value)>, map::Iter<'o, String, Value>>);

/// The same, their values to be changed.
#[derive(Debug)]
pub struct ObjectIterMut<'o>(
    MemberIter<std::slice::IterMut<'o, (String, Value)>, map::IterMut<'o, String, Value>>,
);

/// The members of an object that is taken apart.
#[derive(Debug)]
pub struct ObjectIntoIter(MemberIter<std::vec::IntoIter<(String, Value)>, map::IntoIter<String, Value>>);

macro_rules! goes_through {
    ([$($life:tt)*] $object:ty, $name:ident, $item:ty, $members:ident, $few:expr) => {
        impl<$($life)*> Iterator for $name<$($life)*> {
            type Item = $item;

            fn next(&mut self) -> Option<Self::Item> {
                match &mut self.0 {
                    MemberIter::Few(members) => members.next().map($few),
                    MemberIter::Many(members) => members.next(),
                }
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                match &self.0 {
                    MemberIter::Few(members) => members.size_hint(),
                    MemberIter::Many(members) => members.size_hint(),
                }
            }
        }

        impl<$($life)*> DoubleEndedIterator for $name<$($life)*> {
            fn next_back(&mut self) -> Option<Self::Item> {
                match &mut self.0 {
                    MemberIter::Few(members) => members.next_back().map($few),
                    MemberIter::Many(members) => members.next_back(),
                }
            }
        }

        impl<$($life)*> ExactSizeIterator for $name<$($life)*> {}

        impl<$($life)*> IntoIterator for $object {
            type Item = $item;
            type IntoIter = $name<$($life)*>;

            fn into_iter(self) -> Self::IntoIter {
                self.$members()
            }
        }
    };
}

goes_through!(['o] &'o Object, ObjectIter, (&'o String, &'o Value), iter, |(name, value)| (name, value));
goes_through!(['o] &'o mut Object, ObjectIterMut, (&'o String, &'o mut Value), iter_mut, |(name, value)| (&*name, value));
goes_through!([] Object, ObjectIntoIter, (String, Value), take_apart, |member| member);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u8, u8),
        Member(u8, u8),
        Remove(u8),
        RetainUnder(u8),
        Sort,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0u8..9, any::<u8>()).prop_map(|(name, value)| Step::Insert(name, value)),
            2 => (0u8..9, any::<u8>()).prop_map(|(name, value)| Step::Member(name, value)),
            3 => (0u8..9).prop_map(Step::Remove),
            1 => any::<u8>().prop_map(Step::RetainUnder),
            1 => Just(Step::Sort),
        ]
    }

    fn name(of: u8) -> String {
        format!("m{of}")
    }

    proptest! {
        /// However many members there are, it is a map in the order of what came first.
        #[test]
        fn it_does_as_a_map_in_order_does(steps in prop::collection::vec(step(), 0..40)) {
            let (mut object, mut model) = (Object::new(), IndexMap::<String, Value>::new());
            for step in steps {
                match step {
                    Step::Insert(of, value) => {
                        prop_assert_eq!(object.insert(name(of), value.into()), model.insert(name(of), value.into()));
                    }
                    Step::Member(of, value) => {
                        *object.member_or(name(of), Value::default) = value.into();
                        *model.entry(name(of)).or_default() = value.into();
                    }
                    Step::Remove(of) => prop_assert_eq!(object.shift_remove(&name(of)), model.shift_remove(&name(of))),
                    Step::RetainUnder(most) => {
                        object.retain(|_, value| *value != Value::from(most) && value.as_i64() < Some(most.into()));
                        model.retain(|_, value| *value != Value::from(most) && value.as_i64() < Some(most.into()));
                    }
                    Step::Sort => {
                        object.sort_keys();
                        model.sort_unstable_keys();
                    }
                }
                prop_assert!(object.iter().eq(model.iter()) && object.iter().rev().eq(model.iter().rev()));
                prop_assert_eq!(object.len(), model.len());
                for of in 0..9 {
                    prop_assert_eq!(object.get(&name(of)), model.get(&name(of)));
                    prop_assert_eq!(object.get_mut(&name(of)), model.get_mut(&name(of)));
                    prop_assert_eq!(object.get_index(of.into()), model.get_index(of.into()));
                }
            }
            // In any order, and whatever it once had.
            let other: Object = model.iter().rev().map(|(name, value)| (name.clone(), value.clone())).collect();
            prop_assert_eq!(&object, &other);
            prop_assert!(object.clone().into_iter().eq(model.clone()));
            if let Some((first, _)) = model.first() {
                let mut less = object.clone();
                less.shift_remove(first);
                prop_assert_ne!(&less, &other);
                *less.member_or(first.clone(), Value::default) = "else".into();
                prop_assert_ne!(&less, &other);
            }
        }
    }

    #[test]
    fn however_deep_they_nest_each_value_is_compared_once() {
        let nested = |last: i64, turned: bool| {
            let mut value = Value::from(last);
            for _ in 0..100 {
                let (a, b) = (("a".to_owned(), value), ("b".to_owned(), Value::from(1)));
                value = Value::Object(if turned { [b, a] } else { [a, b] }.into());
            }
            value
        };
        assert_ne!(nested(0, false), nested(1, false));
        assert_ne!(nested(0, false), nested(1, true));
        assert_eq!(nested(0, false), nested(0, true));
    }

    #[test]
    fn a_value_is_no_larger_than_a_text_and_its_tag() {
        assert_eq!(size_of::<Object>(), size_of::<Vec<Value>>());
        assert!(size_of::<Value>() <= size_of::<String>() + 8);
    }
}
