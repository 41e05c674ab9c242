//! Binding of calls: which function, of what, and what it is worth already.

use super::Binder;
use super::expr::NameScope;
use crate::allowance::Allowance;
use crate::error::{Result, shorten};
use crate::lang::ast::{Expr, Name, Span};
use crate::plan::datum::{Datum, calculate, negated};
use crate::plan::expr::{BoundExpr, Constant, Regex};
use crate::plan::fault::nearest;
use crate::plan::function::{self, AggregateKind, FUNCTIONS, Fraction, FunctionBody, FunctionDef};
use crate::value::Value;

impl Binder<'_> {
    pub(super) fn call(
        &self,
        name: &Name,
        arguments: &[Expr],
        span: Span,
        names: NameScope,
    ) -> Result<BoundExpr> {
        let function = self.function(name)?;
        self.count_arguments(function, arguments, span)?;
        match (function.work, arguments) {
            (FunctionBody::Aggregate(kind), _) => self.aggregate((function, kind), arguments, span, names),
            (FunctionBody::Regex, [subject, pattern]) => self.regex(subject, pattern, names),
            (FunctionBody::IsForgotten, [field]) => self.is_forgotten(field, span, names),
            _ => {
                let nodes = self.arguments(function, arguments, names)?;
                self.worked_out(function, nodes, span, names)
            }
        }
    }

    fn function(&self, name: &Name) -> Result<&'static FunctionDef> {
        if let Some(function) = function::named(&name.text) {
            return Ok(function);
        }
        let all = FUNCTIONS.iter().map(|function| function.name);
        let meant = elsewhere(&name.text).or_else(|| nearest(&name.text, all));
        let message = format!("there is no function '{}'", shorten(&name.text));
        Err(self.fault_meaning(name.span, message, meant.map(str::to_owned)))
    }

    fn count_arguments(&self, function: &FunctionDef, arguments: &[Expr], span: Span) -> Result<()> {
        let FunctionDef { name, least, most, .. } = *function;
        let found = arguments.len();
        if (least..=most).contains(&found) {
            return Ok(());
        }
        let of = |n: usize| if n == 1 { "1 argument".to_owned() } else { format!("{n} arguments") };
        let taken = match most {
            usize::MAX => format!("{} or more", of(least)),
            _ if least == most => of(least),
            _ => format!("{least} to {}", of(most)),
        };
        let message = format!("{name} takes {taken}, found {found}: {}", function.form());
        let several = match name {
            "min" => Some("least"),
            "max" => Some("greatest"),
            _ => None,
        };
        Err(self.fault_meaning(span, message, several.filter(|_| found > 1).map(str::to_owned)))
    }

    fn arguments(
        &self,
        function: &FunctionDef,
        arguments: &[Expr],
        names: NameScope,
    ) -> Result<Vec<BoundExpr>> {
        let Some(from) = function.compares_from() else {
            return arguments.iter().map(|argument| self.expr(argument, names)).collect();
        };
        let (before, beside) = arguments.split_at(from.min(arguments.len()));
        let mut nodes =
            before.iter().map(|argument| self.expr(argument, names)).collect::<Result<Vec<_>>>()?;
        nodes.extend(self.beside_all(&beside.iter().collect::<Vec<_>>(), names)?);
        Ok(nodes)
    }

    /// The call; or what it is worth, where that is known.
    fn worked_out(
        &self,
        function: &'static FunctionDef,
        mut nodes: Vec<BoundExpr>,
        span: Span,
        names: NameScope,
    ) -> Result<BoundExpr> {
        if function.name == "bucket"
            && let Some(BoundExpr::Constant(width)) = nodes.get(1)
            && !is_width(width)
        {
            let message = "bucket: expected a width over 0: a length of time like 1h, 'month', 'quarter', 'year', or a number";
            return Err(self.fault(span, message));
        }
        if let Some(zone) = function.zone().and_then(|at| nodes.get(at)) {
            match zone {
                BoundExpr::Constant(Constant::Value(Value::Text(name))) => drop(self.zone(span, name)?),
                BoundExpr::Constant(_) => {
                    let message = format!("{}: expected a zone like 'Europe/Berlin'", function.name);
                    return Err(self.fault(span, message));
                }
                _ => {}
            }
        }
        let work = match function.work {
            FunctionBody::Plain(_) | FunctionBody::Making(_) => function.work,
            FunctionBody::If => {
                return Ok(match nodes.as_slice() {
                    [BoundExpr::Constant(condition), yes, no] => {
                        let holds = matches!(condition, Constant::Value(Value::Bool(true)));
                        if holds { yes.clone() } else { no.clone() }
                    }
                    _ => BoundExpr::Call { function, arguments: nodes },
                });
            }
            _ => {
                // The nulls before the first that is none say nothing.
                nodes.retain(|node| !node.is_null());
                return Ok(match nodes.first() {
                    None => BoundExpr::value(Value::Null),
                    Some(first @ BoundExpr::Constant(_)) => first.clone(),
                    Some(_) => BoundExpr::Call { function, arguments: nodes },
                });
            }
        };
        let Some(given) = constants(&nodes) else {
            return Ok(BoundExpr::Call { function, arguments: nodes });
        };
        let result = work.of(&given, &self.allowance);
        match self.allowance.over() {
            Some(over) if self.is_new => {
                return Err(self.fault(span, format!("{}: {}", function.name, self.allowance.told(over))));
            }
            // It is worked out when it is asked for.
            Some(_) => return Ok(BoundExpr::Call { function, arguments: nodes }),
            None => {}
        }
        match result {
            Some(result) => Ok(BoundExpr::Constant(result.into_constant())),
            None if matches!(names, NameScope::None) => {
                let given: Vec<String> = given.iter().map(Datum::glimpse).collect();
                let message =
                    format!("expected {}, found {}({})", function.form(), function.name, given.join(", "));
                Err(self.fault(span, message))
            }
            // There it is an error, if it is ever needed.
            None if matches!(
                names,
                NameScope::Fold | NameScope::Verb | NameScope::Reaction | NameScope::Schedule
            ) =>
            {
                Ok(BoundExpr::Call { function, arguments: nodes })
            }
            None => Ok(BoundExpr::value(Value::Null)),
        }
    }

    /// The second argument of a percentile.
    fn fraction(&self, part: &Expr) -> Result<Fraction> {
        let number = match self.expr(part, NameScope::None)? {
            BoundExpr::Constant(Constant::Value(value)) => value.as_f64(),
            _ => None,
        };
        number
            .and_then(Fraction::new)
            .ok_or_else(|| self.fault(part.span, "percentile: expected a part from 0 to 1, like 0.95"))
    }

    fn regex(&self, subject: &Expr, pattern: &Expr, names: NameScope) -> Result<BoundExpr> {
        let subject = self.expr(subject, names)?;
        let BoundExpr::Constant(Constant::Value(Value::Text(text))) = self.expr(pattern, names)? else {
            let message = "regex: expected a regular expression in quotes, like '^A[0-9]+$'";
            return Err(self.fault(pattern.span, message));
        };
        let regex = Regex::new(&text)
            .map_err(|why| self.fault(pattern.span, format!("no regular expression: {why}")))?;
        if let Some(why) = regex.too_large().filter(|_| self.is_new) {
            return Err(self.fault(pattern.span, format!("no regular expression: {why}")));
        }
        if let BoundExpr::Constant(Constant::Value(Value::Text(subject))) = &subject
            && let Some(found) = regex.is_match(subject, &Allowance::default())
        {
            return Ok(BoundExpr::value(found));
        }
        Ok(BoundExpr::Regex { subject: Box::new(subject), regex })
    }

    /// An aggregate is a slot of the group that is being bound.
    fn aggregate(
        &self,
        (function, kind): (&'static FunctionDef, AggregateKind),
        arguments: &[Expr],
        span: Span,
        names: NameScope,
    ) -> Result<BoundExpr> {
        let name = function.name;
        let kind = match arguments {
            [_, part] => AggregateKind::Percentile(self.fraction(part)?),
            _ => kind,
        };
        match names {
            NameScope::Frame(frame) => {
                let inside = if frame.found { NameScope::InsideFound } else { NameScope::Inside };
                let argument = arguments.first().map(|argument| self.expr(argument, inside)).transpose()?;
                let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
                let text = format!("{name}({})", arguments.join(", "));
                Ok(frame.aggregate((function, kind), argument, text))
            }
            NameScope::Inside | NameScope::InsideFound => {
                let message = format!("{name}() within an aggregate: aggregates do not nest");
                Err(self.fault(span, message))
            }
            NameScope::Columns(_) => Err(self.aggregate_of_view(name, span)),
            NameScope::Event => {
                let message = format!(
                    "{name}() is worked out from many events: it belongs in SELECT, HAVING or ORDER BY"
                );
                Err(self.fault(span, message))
            }
            NameScope::Found | NameScope::State => {
                let message = format!(
                    "{name}() is worked out from many entities: it belongs in SELECT, HAVING or ORDER BY of FIND"
                );
                Err(self.fault(span, message))
            }
            NameScope::Fold => {
                let message =
                    format!("{name}() is worked out from many events, and SET sees one, and the state");
                Err(self.fault(span, message))
            }
            NameScope::Verb => {
                let message =
                    format!("{name}() is worked out from many events, and a verb sees what they made: state");
                Err(self.fault(span, message))
            }
            NameScope::Reaction => {
                let message = format!(
                    "{name}() is worked out from many events, and a reaction sees one, and the state"
                );
                Err(self.fault(span, message))
            }
            NameScope::None | NameScope::Schedule => {
                let message = format!("{name}() is worked out from many events, and there are none here");
                Err(self.fault(span, message))
            }
        }
    }
}

/// Arithmetic of constants is a constant; where it has no result it is left to tell so when it is run.
pub(super) fn folded(node: BoundExpr) -> BoundExpr {
    let worth = match &node {
        BoundExpr::Negate(inner) => match &**inner {
            BoundExpr::Constant(constant) => negated(&Datum::constant(constant)),
            _ => None,
        },
        BoundExpr::Arithmetic { first, rest } => match &**first {
            BoundExpr::Constant(first) => {
                let first = Datum::constant(first);
                rest.iter().try_fold(first, |left, (operator, operand)| match operand {
                    BoundExpr::Constant(right) => calculate(&left, *operator, &Datum::constant(right)),
                    _ => None,
                })
            }
            _ => None,
        },
        _ => None,
    };
    worth.map(|datum| BoundExpr::Constant(datum.into_constant())).unwrap_or(node)
}

fn constants(nodes: &[BoundExpr]) -> Option<Vec<Datum<'_>>> {
    fn constant(node: &BoundExpr) -> Option<Datum<'_>> {
        match node {
            BoundExpr::Constant(constant) => Some(Datum::constant(constant)),
            _ => None,
        }
    }
    nodes.iter().map(constant).collect()
}

fn is_width(constant: &Constant) -> bool {
    match constant {
        Constant::Span(nanos) => *nanos > 0,
        Constant::Value(value @ (Value::Int(_) | Value::UInt(_) | Value::Float(_))) => {
            value.as_f64().is_some_and(|width| width > 0.0)
        }
        Constant::Value(Value::Text(unit)) => function::is_calendar_unit(unit),
        _ => false,
    }
}

/// What other languages call it.
fn elsewhere(name: &str) -> Option<&'static str> {
    Some(match name.to_ascii_lowercase().as_str() {
        "average" | "mean" => "avg",
        "percentile_cont" | "quantile" | "quantile_cont" | "perc" => "percentile",
        "std" | "stdev" | "stddev_samp" | "stdev_samp" => "stddev",
        "len" | "size" | "char_length" | "cardinality" => "length",
        "substr" | "mid" => "substring",
        "ifnull" | "nvl" | "isnull" => "coalesce",
        "iif" | "case" => "if",
        "date_trunc" | "time_bucket" | "trunc" => "bucket",
        "lcase" => "lower",
        "ucase" => "upper",
        "ceiling" => "ceil",
        "dow" | "dayofweek" => "weekday",
        "cast" | "to_text" | "str" | "string" => "text",
        "to_number" | "int" | "float" => "number",
        "to_timestamp" | "datetime" => "time",
        "regexp" | "regexp_like" | "rlike" => "regex",
        "push" | "array_append" | "add" => "append",
        "remove" | "array_remove" | "pull" | "delete" => "without",
        "unique" | "array_distinct" | "array_union" => "union",
        "json_merge_patch" | "merge_patch" | "assign" => "merge",
        "json_set" | "set" => "put",
        "json_extract" | "element_at" | "nth" => "get",
        "current_timestamp" => "NOW",
        "type_of" | "type" => "typeof",
        _ => return None,
    })
}
