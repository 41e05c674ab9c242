//! Hints of patterns: what no event is of, in whatever statement a pattern stands.

use super::Binder;
use crate::entity::prefix;
use crate::error::{Error, Result, suggested};
use crate::lang::ast::{Comparison, Expr, ExprKind, Literal, Selector, Span, TextExpr};
use crate::pattern::Pattern;
use crate::plan::fault::nearest;
use crate::store::index::term::Term;
use crate::value::Value;

/// Whether what is not there is told as what is not, or as what may be to come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Now,
    Yet,
}

impl Told {
    /// `no events of …; did you mean …?` with the word for it.
    pub(super) fn of(self, hint: String) -> String {
        match (self, hint.split_once(';')) {
            (Told::Now, _) => hint,
            (Told::Yet, None) => format!("{hint} yet"),
            (Told::Yet, Some((none, meant))) => format!("{none} yet;{meant}"),
        }
    }
}

impl Binder<'_> {
    /// The pattern that a text is; else what is wrong with it, and what was probably meant.
    pub(super) fn pattern_of(&self, text: &str, span: Span) -> Result<Pattern> {
        text.parse().map_err(|error: Error| {
            let meant = self.pattern_elsewhere(text.trim()).and_then(suggested);
            self.fault_meaning(span, error.to_string(), meant)
        })
    }

    /// What names streams or tables elsewhere: `Order`, `order-42`, `$all`, `Order%`.
    fn pattern_elsewhere(&self, text: &str) -> Option<String> {
        let plain = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
        if text == "$all" {
            return Some("'*'".to_owned());
        }
        let text = category(text).unwrap_or(text);
        if plain(text) {
            return Some(format!("'{}.*'", self.kind_like(text)));
        }
        if let Some((kind, id)) = text.split_once('-').filter(|(kind, id)| plain(kind) && !id.is_empty()) {
            let id = if plain(id) { id.to_owned() } else { format!("'{}'", id.replace('\'', "''")) };
            return Some(format!("HISTORY {} {id}", self.kind_like(kind)));
        }
        let stars = text.replace('%', "*");
        (stars != text && stars.parse::<Pattern>().is_ok()).then(|| format!("'{stars}'"))
    }

    /// The kind that is meant by a name in other letters, where there is one.
    fn kind_like(&self, name: &str) -> String {
        let kinds = self.names().ok().and_then(|names| names.kinds().ok()).unwrap_or_default();
        let one = |kind: &&String| {
            kind.eq_ignore_ascii_case(name) || kind.eq_ignore_ascii_case(name.trim_end_matches('s'))
        };
        kinds.iter().find(one).cloned().unwrap_or_else(|| name.to_owned())
    }

    /// A pattern that matches no type in use.
    pub(super) fn unmatched(
        &self,
        selector: &Selector,
        told: Told,
        types: &[(String, Term)],
    ) -> Result<Option<String>> {
        selector.pattern.as_ref().map_or(Ok(None), |text| self.unmatched_text(text, told, types))
    }

    pub(super) fn unmatched_text(
        &self,
        text: &TextExpr,
        told: Told,
        types: &[(String, Term)],
    ) -> Result<Option<String>> {
        Ok(unmatched_part(&self.text(text, "a pattern")?, told, types))
    }

    /// Types that `WHERE` names, and no event has.
    pub(super) fn unmatched_types(
        &self,
        filter: Option<&Expr>,
        told: Told,
        types: &[(String, Term)],
        hints: &mut Vec<String>,
    ) -> Result<()> {
        let mut named = Vec::new();
        filter.into_iter().for_each(|filter| types_named(filter, &mut named));
        for expr in named {
            if let ExprKind::Literal(Literal::Value(Value::Text(text))) = &expr.kind {
                hints.extend(unmatched_part(text, told, types));
            }
        }
        Ok(())
    }
}

/// The first part of a pattern that no type in use matches. Where nothing has happened at all, all is to come.
fn unmatched_part(pattern: &str, told: Told, types: &[(String, Term)]) -> Option<String> {
    let own = |name: &str| name.starts_with('$');
    if told == Told::Yet && types.iter().all(|(name, _)| own(name)) {
        return None;
    }
    for part in pattern.split(',').map(str::trim) {
        let Ok(glob) = part.parse::<Pattern>() else { continue };
        let category = category(part);
        let to_come = category.is_none() && own(part) && (told == Told::Yet || part.contains('*'));
        if to_come || types.iter().any(|(name, _)| glob.matches_text(name)) {
            continue;
        }
        let meant = category.map(str::to_owned).or_else(|| meant_pattern(part, types));
        let meant = meant.map_or(String::new(), |m| format!("; did you mean '{m}'?"));
        let hint = told.of(format!("no events of '{part}'{meant}"));
        return Some(match part.contains('%') {
            true => format!("% is an ordinary character in a pattern, and * any run of them: {hint}"),
            false => hint,
        });
    }
    None
}

/// What KurrentDB's streams of a category or of a type are of: `$ce-Order`, `$et-Order.paid`.
fn category(text: &str) -> Option<&str> {
    ["$ce-", "$et-", "$category-"].iter().find_map(|prefix| text.strip_prefix(prefix))
}

/// What `type` is to be, where a condition is true only then or also then.
fn types_named<'e>(filter: &'e Expr, named: &mut Vec<&'e Expr>) {
    let is_type = |expr: &Expr| matches!(&expr.kind, ExprKind::Field(path) if path.first.text == "type" && path.steps.is_empty());
    match &filter.kind {
        ExprKind::Or(terms) | ExprKind::And(terms) => terms.iter().for_each(|term| types_named(term, named)),
        ExprKind::Compare { left, comparison: Comparison::Equal, right } => {
            named.extend(is_type(left).then_some(&**right));
            named.extend(is_type(right).then_some(&**left));
        }
        ExprKind::In { subject, negated: false, items } if is_type(subject) => named.extend(items),
        ExprKind::Matches { subject, negated: false, pattern } if is_type(subject) => named.push(pattern),
        _ => {}
    }
}

/// The events of a pattern.
pub(super) fn of_pattern(pattern: &TextExpr) -> Selector {
    Selector { pattern: Some(pattern.clone()), tags: Vec::new() }
}

/// The pattern that was probably meant: with another kind before the first dot, or another type.
fn meant_pattern(part: &str, types: &[(String, Term)]) -> Option<String> {
    let names = || types.iter().map(|(name, _)| name.as_str());
    if part.contains('%') {
        let stars = part.replace('%', "*");
        let glob: Pattern = stars.parse().ok()?;
        let is_one = names().any(|name| glob.matches_text(name));
        return if is_one { Some(stars) } else { meant_pattern(&stars, types) };
    }
    if !part.contains('*') {
        return nearest(part, names()).map(str::to_owned);
    }
    let (kind, rest) = part.split_once('.')?;
    let meant = format!("{}.{rest}", nearest(kind, names().map(prefix))?);
    let glob: Pattern = meant.parse().ok()?;
    names().any(|name| glob.matches_text(name)).then_some(meant)
}
