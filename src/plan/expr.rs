//! Expressions with their names looked up.

use std::cmp::Ordering;

use super::field::{Field, Sort};
use super::function::FunctionDef;
use crate::allowance::Allowance;
use crate::entity::Entity;
use crate::event::private::PrivateField;
use crate::lang::ast::{Comparison, Operator};
use crate::pattern::{Pattern, TextPattern};
use crate::time::Timestamp;
use crate::value::Value;

/// A condition on an event.
#[derive(Debug, Clone)]
pub(crate) struct Predicate {
    pub(crate) node: BoundExpr,
    /// As it was written.
    pub(crate) text: String,
}

impl Predicate {
    /// Both.
    pub fn and(self, other: Predicate) -> Predicate {
        let text = format!("({}) AND ({})", self.text, other.text);
        Predicate { node: BoundExpr::And(vec![self.node, other.node]), text }
    }
}

/// A bound expression. Chains are flat, so its depth is the depth of brackets, which the parser caps.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum BoundExpr {
    Constant(Constant),
    /// The instant of the write; in a read `NOW` is a constant.
    Now,
    Field(Field),
    Array(Vec<BoundExpr>),
    Object(Vec<(String, BoundExpr)>),
    Or(Vec<BoundExpr>),
    And(Vec<BoundExpr>),
    Not(Box<BoundExpr>),
    Negate(Box<BoundExpr>),
    Arithmetic {
        first: Box<BoundExpr>,
        rest: Vec<(Operator, BoundExpr)>,
    },
    Compare {
        left: Box<BoundExpr>,
        comparison: Comparison,
        right: Box<BoundExpr>,
    },
    Matches {
        subject: Box<BoundExpr>,
        pattern: Like,
    },
    Contains {
        subject: Box<BoundExpr>,
        item: Box<BoundExpr>,
    },
    Between {
        subject: Box<BoundExpr>,
        low: Box<BoundExpr>,
        high: Box<BoundExpr>,
    },
    In {
        subject: Box<BoundExpr>,
        items: Vec<BoundExpr>,
    },
    IsNull(Box<BoundExpr>),
    /// Whether this field of the event, or one around or within it, is forgotten.
    IsForgotten(PrivateField),
    /// Not of an aggregate: those are slots.
    Call {
        function: &'static FunctionDef,
        arguments: Vec<BoundExpr>,
    },
    Regex {
        subject: Box<BoundExpr>,
        regex: Regex,
    },
    /// What a group has: its keys, then its aggregates.
    Slot {
        index: usize,
        sort: Sort,
    },
}

/// What a text is like.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Like {
    /// The type of an event.
    Type(Pattern),
    /// Any other text.
    Text(TextPattern),
}

impl Like {
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Like::Type(pattern) => pattern.matches_text(text),
            Like::Text(pattern) => pattern.matches(text),
        }
    }
}

/// A regular expression, compiled once. Matching takes, for each byte of the text, a step for each of its states at most.
#[derive(Debug, Clone)]
pub(crate) struct Regex {
    pattern: String,
    /// None where it is too large, and why.
    compiled: Result<Compiled, String>,
}

#[derive(Debug, Clone)]
struct Compiled {
    regex: regex_lite::Regex,
    /// How many states it has, or a few more.
    states: usize,
}

impl Regex {
    /// The longest pattern, and the most bytes that one compiles to.
    const LONGEST: usize = 16 << 10;
    const LARGEST: usize = 256 << 10;
    /// What a state takes.
    const STATE: usize = 32;
    /// What matching holds: for each state, and for each group of each state.
    const HELD: usize = 4 << 20;
    const GROUP: usize = 32;

    /// Compiles it; else what is wrong with it. One that is too large is one that is never found: [`too_large`](Regex::too_large).
    pub fn new(pattern: &str) -> Result<Regex, String> {
        let compiled = match pattern.len() > Regex::LONGEST {
            true => {
                let longest = Regex::LONGEST >> 10;
                Err(format!("it takes {} bytes, and at most {longest} KiB are understood", pattern.len()))
            }
            false => Regex::compiled(pattern)?,
        };
        Ok(Regex { pattern: pattern.to_owned(), compiled })
    }

    fn compiled(pattern: &str) -> Result<Result<Compiled, String>, String> {
        let within = |bytes| regex_lite::RegexBuilder::new(pattern).size_limit(bytes).build();
        let regex = match within(Regex::LARGEST) {
            Ok(regex) => regex,
            Err(error) => {
                let why = error.to_string();
                // What is no regular expression is none at any size.
                return if why.contains("size limit") { Ok(Err(why)) } else { Err(why) };
            }
        };
        // It does not tell how large it is: that is found by what it does not fit into.
        let mut bytes = 128;
        while bytes < Regex::LARGEST && within(bytes).is_err() {
            bytes += bytes / 2;
        }
        let states = bytes / Regex::STATE;
        let groups = regex.captures_len();
        if states * groups * Regex::GROUP > Regex::HELD {
            let why = format!("{groups} groups are too many for what is between them; write (?:…) for those");
            return Ok(Err(why));
        }
        Ok(Ok(Compiled { regex, states }))
    }

    /// Why it is too large to be looked for, if it is.
    pub fn too_large(&self) -> Option<&str> {
        self.compiled.as_ref().err().map(String::as_str)
    }

    /// Whether it is found in a text; none where that would take more steps than there are.
    pub fn is_match(&self, text: &str, allowance: &Allowance) -> Option<bool> {
        let Ok(Compiled { regex, states }) = &self.compiled else {
            allowance.at_once(usize::MAX);
            return None;
        };
        allowance.at_once(text.len().saturating_mul(*states)).then(|| regex.is_match(text))
    }
}

impl PartialEq for Regex {
    fn eq(&self, other: &Regex) -> bool {
        self.pattern == other.pattern
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Constant {
    Value(Value),
    Time(Timestamp),
    /// A length of time in nanoseconds, also backwards.
    Span(i128),
    Entity(Entity),
}

impl BoundExpr {
    pub fn value(value: impl Into<Value>) -> BoundExpr {
        BoundExpr::Constant(Constant::Value(value.into()))
    }

    /// Whether it is the constant null.
    pub fn is_null(&self) -> bool {
        matches!(self, BoundExpr::Constant(Constant::Value(Value::Null)))
    }

    /// What it is known to be, whatever the event.
    pub fn sort(&self) -> Sort {
        match self {
            BoundExpr::Constant(Constant::Time(_)) | BoundExpr::Now => Sort::Time,
            BoundExpr::Constant(Constant::Entity(_)) => Sort::Entity,
            BoundExpr::Field(field) => field.sort(),
            BoundExpr::Slot { sort, .. } => *sort,
            BoundExpr::Call { function, arguments } => function.sort(arguments),
            // The one kind of arithmetic with a time that is a time again; time minus time is not.
            BoundExpr::Arithmetic { first, rest } if first.sort() == Sort::Time => {
                let times = rest.iter().filter(|(_, node)| node.sort() == Sort::Time).count();
                if times == 0 { Sort::Time } else { Sort::Other }
            }
            _ => Sort::Other,
        }
    }

    /// Whether it may be an instant, which a text that says the same equals. What data holds is never one.
    pub fn may_be_time(&self) -> bool {
        match self {
            node if node.sort() == Sort::Time => true,
            BoundExpr::Slot { sort, .. } => *sort == Sort::Other,
            BoundExpr::Call { function, arguments } => function.may_be_time(arguments),
            BoundExpr::Arithmetic { first, rest } => {
                first.may_be_time() || rest.iter().any(|(_, operand)| operand.may_be_time())
            }
            _ => false,
        }
    }

    /// Whether `NOW` of a write is somewhere in it.
    pub fn has_now(&self) -> bool {
        self.any(&mut |node| matches!(node, BoundExpr::Now))
    }

    /// Whether both are the same to the last bit of a float, and in the order of members: `==` looks at neither.
    pub fn is_identical(&self, other: &BoundExpr) -> bool {
        self == other && self.exact_constants() == other.exact_constants()
    }

    /// What `==` does not look at in its constants: the bits of floats, the order of members.
    fn exact_constants(&self) -> Vec<String> {
        fn add(value: &Value, exact: &mut Vec<String>) {
            match value {
                Value::Float(x) => exact.push(x.to_bits().to_string()),
                Value::Array(items) => items.iter().for_each(|item| add(item, exact)),
                Value::Object(members) => members.iter().for_each(|(name, value)| {
                    exact.push(name.to_string());
                    add(value, exact);
                }),
                Value::Null | Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::Text(_) => {}
            }
        }
        let mut exact = Vec::new();
        self.any(&mut |node| {
            if let BoundExpr::Constant(Constant::Value(value)) = node {
                add(value, &mut exact);
            }
            false
        });
        exact
    }

    /// The same, of what is made of each of its parts; none where of one nothing is made, or it is a name.
    pub fn map_parts(&self, make: &mut dyn FnMut(&BoundExpr) -> Option<BoundExpr>) -> Option<BoundExpr> {
        fn all(
            nodes: &[BoundExpr],
            make: &mut dyn FnMut(&BoundExpr) -> Option<BoundExpr>,
        ) -> Option<Vec<BoundExpr>> {
            nodes.iter().map(make).collect()
        }
        let mut one = |node: &BoundExpr| make(node).map(Box::new);
        Some(match self {
            BoundExpr::Constant(_) => self.clone(),
            BoundExpr::Now | BoundExpr::Field(_) | BoundExpr::IsForgotten(_) | BoundExpr::Slot { .. } => {
                return None;
            }
            BoundExpr::Array(nodes) => BoundExpr::Array(all(nodes, make)?),
            BoundExpr::Or(nodes) => BoundExpr::Or(all(nodes, make)?),
            BoundExpr::And(nodes) => BoundExpr::And(all(nodes, make)?),
            BoundExpr::Call { function, arguments } => {
                BoundExpr::Call { function, arguments: all(arguments, make)? }
            }
            BoundExpr::Object(members) => {
                let member = |(name, node): &(String, BoundExpr)| Some((name.clone(), make(node)?));
                BoundExpr::Object(members.iter().map(member).collect::<Option<_>>()?)
            }
            BoundExpr::Not(node) => BoundExpr::Not(one(node)?),
            BoundExpr::Negate(node) => BoundExpr::Negate(one(node)?),
            BoundExpr::IsNull(node) => BoundExpr::IsNull(one(node)?),
            BoundExpr::Regex { subject, regex } => {
                BoundExpr::Regex { subject: one(subject)?, regex: regex.clone() }
            }
            BoundExpr::Matches { subject, pattern } => {
                BoundExpr::Matches { subject: one(subject)?, pattern: pattern.clone() }
            }
            BoundExpr::Arithmetic { first, rest } => {
                let first = one(first)?;
                let operand = |(operator, node): &(Operator, BoundExpr)| Some((*operator, make(node)?));
                BoundExpr::Arithmetic { first, rest: rest.iter().map(operand).collect::<Option<_>>()? }
            }
            BoundExpr::Compare { left, comparison, right } => {
                BoundExpr::Compare { left: one(left)?, comparison: *comparison, right: one(right)? }
            }
            BoundExpr::Contains { subject, item } => {
                BoundExpr::Contains { subject: one(subject)?, item: one(item)? }
            }
            BoundExpr::Between { subject, low, high } => {
                BoundExpr::Between { subject: one(subject)?, low: one(low)?, high: one(high)? }
            }
            BoundExpr::In { subject, items } => {
                BoundExpr::In { subject: one(subject)?, items: all(items, make)? }
            }
        })
    }

    /// Whether something is so of it, or of a part of it.
    pub fn any(&self, is: &mut dyn FnMut(&BoundExpr) -> bool) -> bool {
        is(self)
            || match self {
                BoundExpr::Constant(_)
                | BoundExpr::Now
                | BoundExpr::Field(_)
                | BoundExpr::IsForgotten(_)
                | BoundExpr::Slot { .. } => false,
                BoundExpr::Array(nodes)
                | BoundExpr::Or(nodes)
                | BoundExpr::And(nodes)
                | BoundExpr::Call { arguments: nodes, .. } => nodes.iter().any(|node| node.any(is)),
                BoundExpr::Object(members) => members.iter().any(|(_, node)| node.any(is)),
                BoundExpr::Not(node) | BoundExpr::Negate(node) | BoundExpr::IsNull(node) => node.any(is),
                BoundExpr::Regex { subject, .. } | BoundExpr::Matches { subject, .. } => subject.any(is),
                BoundExpr::Arithmetic { first, rest } => {
                    first.any(is) || rest.iter().any(|(_, node)| node.any(is))
                }
                BoundExpr::Compare { left, right, .. } => left.any(is) || right.any(is),
                BoundExpr::Contains { subject, item } => subject.any(is) || item.any(is),
                BoundExpr::Between { subject, low, high } => subject.any(is) || low.any(is) || high.any(is),
                BoundExpr::In { subject, items } => subject.any(is) || items.iter().any(|node| node.any(is)),
            }
    }
}

/// Whether two values are equal, numbers by what they are worth: 1 = 1.0.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => match (Number::of(a), Number::of(b)) {
            (Some(a), Some(b)) => a.compare(b).is_eq(),
            _ => a == b,
        },
    }
}

/// A number, compared exactly whatever its form.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    /// Of 64 bits, signed or not.
    Integer(i128),
    /// Finite.
    Float(f64),
}

impl Number {
    pub fn of(value: &Value) -> Option<Number> {
        match value {
            Value::Int(n) => Some(Number::Integer((*n).into())),
            Value::UInt(n) => Some(Number::Integer((*n).into())),
            Value::Float(x) => Some(Number::Float(*x)),
            _ => None,
        }
    }

    /// As a value; none where 64 bits cannot hold it.
    pub fn to_value(self) -> Option<Value> {
        match self {
            Number::Integer(n) => {
                i64::try_from(n).map(Value::Int).or_else(|_| u64::try_from(n).map(Value::UInt)).ok()
            }
            Number::Float(x) => x.is_finite().then_some(Value::Float(x)),
        }
    }

    pub fn compare(self, other: Number) -> Ordering {
        match (self, other) {
            (Number::Integer(a), Number::Integer(b)) => a.cmp(&b),
            // No float here is not finite, so this is an order.
            (Number::Float(a), Number::Float(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
            (Number::Integer(a), Number::Float(b)) => integer_to_float(a, b),
            (Number::Float(a), Number::Integer(b)) => integer_to_float(b, a).reverse(),
        }
    }

    /// One step of arithmetic; none where it has no result that 64 bits hold.
    pub fn calculate(self, operator: Operator, other: Number) -> Option<Number> {
        let result = match (self, other) {
            (Number::Integer(a), Number::Integer(b)) => match operator {
                Operator::Add => Number::Integer(a + b),
                Operator::Subtract => Number::Integer(a - b),
                Operator::Multiply => Number::Integer(a.checked_mul(b)?),
                // Division stays whole where it comes out even.
                Operator::Divide if a.checked_rem(b)? == 0 => Number::Integer(a / b),
                Operator::Divide => Number::Float(a as f64 / b as f64),
                Operator::Remainder => Number::Integer(a.checked_rem(b)?),
            },
            (a, b) => {
                let (a, b) = (a.to_float(), b.to_float());
                Number::Float(match operator {
                    Operator::Add => a + b,
                    Operator::Subtract => a - b,
                    Operator::Multiply => a * b,
                    Operator::Divide => a / b,
                    Operator::Remainder => a % b,
                })
            }
        };
        result.to_value().map(|_| result)
    }

    pub fn to_float(self) -> f64 {
        match self {
            Number::Integer(n) => n as f64,
            Number::Float(x) => x,
        }
    }
}

fn integer_to_float(n: i128, x: f64) -> Ordering {
    // Integers here have 64 bits: far below.
    if x.abs() >= 1e30 {
        return if x > 0.0 { Ordering::Less } else { Ordering::Greater };
    }
    n.cmp(&(x.floor() as i128)).then(if x.fract() == 0.0 { Ordering::Equal } else { Ordering::Less })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::index::term::Term;

    fn number() -> impl Strategy<Value = Value> {
        let near = (0u32..64, -3i128..4).prop_map(|(shift, by)| {
            let n = (1i128 << shift) + by;
            i64::try_from(n).map_or_else(|_| Value::from(n as u64), Value::Int)
        });
        let float = (0u32..64, -2i32..3).prop_map(|(shift, by)| {
            Value::Float((1u128 << shift) as f64 * (1.0 + f64::from(by) * f64::EPSILON))
        });
        prop_oneof![any::<i64>().prop_map(Value::Int), any::<u64>().prop_map(Value::from), near, float]
    }

    proptest! {
        /// A filter and an index agree, whichever answers.
        #[test]
        fn numbers_compare_as_they_are_indexed(a in number(), b in number()) {
            let (x, y) = (Number::of(&a).unwrap(), Number::of(&b).unwrap());
            let indexed = Term::tag("x", &a).unwrap().cmp(&Term::tag("x", &b).unwrap());
            prop_assert_eq!(x.compare(y), indexed, "{} {}", a, b);
            prop_assert_eq!(same(&a, &b), indexed.is_eq());
        }

        #[test]
        fn arithmetic_never_panics(a in number(), b in number()) {
            use Operator::*;
            for operator in [Add, Subtract, Multiply, Divide, Remainder] {
                let _ = Number::of(&a).unwrap().calculate(operator, Number::of(&b).unwrap());
            }
        }
    }
}
