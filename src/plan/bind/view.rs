//! Binding of `DEFINE VIEW`.

use super::expr::NameScope;
use super::shape::Outline;
use super::{BindInput, Binder};
use crate::entity::{Entity, Position};
use crate::error::{Error, MissingItem, Result, shorten};
use crate::event::is_built_in;
use crate::lang;
use crate::lang::ast::{
    Clauses, DefinitionStmt, IdExpr, Name, PointExpr, PointKind, Query, Selector, Stmt, TagTest, TextExpr,
};
use crate::plan::fault::nearest;
use crate::plan::moment::ResolvedPoint;
use crate::plan::parameters::Parameters;
use crate::plan::view::{Selected, ViewPlan, ViewRows, ViewSource};
use crate::plan::window::LogWindow;
use crate::plan::write::{Define, Defined};
use crate::store::index::term::IndexKey;
use crate::time::Timestamp;
use crate::value::Value;

/// What is defined of a view, from the canonical text of the statement. It means the same whatever the log holds.
pub(crate) fn view_definition(text: &str) -> Result<ViewPlan> {
    let parsed = lang::parse_one(text)?;
    let Stmt::Define(DefinitionStmt::View { name, query }) = &parsed.statement else {
        return Err(Error::invalid("the definition of a view", "DEFINE VIEW …", shorten(text)));
    };
    let parameters = Parameters::new();
    let said =
        BindInput { text, statement: 1, parameters: &parameters, default_actor: None, now: Timestamp::MIN };
    Binder::new(said, None).view(name, query)
}

/// What an index of a view holds its rows under.
pub(crate) fn row_key() -> IndexKey {
    IndexKey::Value(Value::Bool(true))
}

impl Binder<'_> {
    pub(super) fn define_view(&self, name: &Name, query: &Query) -> Result<Define> {
        self.definition().view(name, query)?;
        self.check_view_name(name)?;
        match query {
            Query::Events { selector, clauses } => {
                self.check_no_index(selector)?;
                // What is asked for anew from time to time is a place that there is.
                for point in [&clauses.since, &clauses.until].into_iter().flatten() {
                    if let ResolvedPoint::Position(position) = self.fixed(point)? {
                        self.position(position, point.span)?;
                    }
                }
            }
            Query::Find { kind, .. } => self.check_states_kept(kind)?,
        }
        let mut said = query.clone();
        self.put_query_values(&mut said)?;
        let said = DefinitionStmt::View { name: name.clone(), query: said };
        let (text, view) = self.said_again(name, said, view_definition)?;
        self.check_columns(&view, query)?;
        Ok(self.defined(name, Defined::View, text))
    }

    /// Whoever follows a view tells its rows from what is said about them by names that no row has otherwise.
    fn check_columns(&self, view: &ViewPlan, query: &Query) -> Result<()> {
        let (Query::Events { clauses, .. } | Query::Find { clauses, .. }) = query;
        let of_entities =
            matches!((&view.of, &view.shape), (ViewSource::Entities { .. }, ViewRows::Select(_)));
        let items = clauses.group.iter().chain(&clauses.select);
        let said = items.map(|item| item.alias.as_ref().map_or(item.expr.span, |alias| alias.span));
        // Where nothing says what a row is, it is what items and their places are called.
        let names =
            clauses.unnest.iter().flat_map(|unnest| std::iter::once(&unnest.alias).chain(&unnest.place));
        for (column, span) in view.columns().iter().zip(said.chain(names.map(|name| name.span))) {
            let tells = match column.name.as_str() {
                "removed" => "that a row is no more",
                "mark" => "how far it has come",
                "target" if of_entities && column.text != "target" => "which entity a row is of",
                _ => continue,
            };
            let message = format!(
                "{}: SUBSCRIBE VIEW tells by this name {tells}; give the column another one with AS",
                column.name
            );
            return Err(self.fault(span, message));
        }
        Ok(())
    }

    /// A name is one thing.
    fn check_view_name(&self, name: &Name) -> Result<()> {
        let (names, shown) = (self.names()?, crate::entity::NameText(&name.text));
        let catalog = names.catalog();
        if catalog.view(&name.text).is_some() {
            return Ok(());
        }
        let verb = catalog.verb(&name.text).is_some() || names.added_verb(&name.text).is_some();
        let what = match catalog.programs().find(|program| program.name == name.text) {
            _ if verb => "a verb".to_owned(),
            Some(program) => format!("a {}", program.kind.word()),
            None if catalog.model(&name.text).is_some() || names.has_kind(&name.text)? => {
                "a kind of entities".to_owned()
            }
            None => return Ok(()),
        };
        Err(self.fault(name.span, format!("{shown} is {what}: a view needs a name of its own")))
    }

    /// An index may be defined otherwise one day; a view stays what it is.
    fn check_no_index(&self, selector: &Selector) -> Result<()> {
        let catalog = self.names()?.catalog();
        for tag in &selector.tags {
            if matches!(tag.test, TagTest::Is(_)) || is_built_in(&tag.name.text) {
                continue;
            }
            if let Some(index) = catalog.get(&tag.name.text) {
                let message = format!(
                    "BY {}: an index answers it, which may be defined otherwise or dropped, and a view is to stay what it is; \
                     WHERE {} says the same of the event itself",
                    tag.name,
                    index.text()
                );
                return Err(self.fault(tag.span, message));
            }
            if !self.names()?.has_tag(&tag.name.text)? {
                let name = &tag.name;
                let message = format!(
                    "BY {name}: no event was emitted with INDEX BY {name}; WHERE data.{name} asks the event itself"
                );
                let item = MissingItem::Name { sort: "index", name: name.text.clone() };
                return Err(self.missing_meaning(tag.span, item, message, None));
            }
        }
        Ok(())
    }

    fn check_states_kept(&self, kind: &Name) -> Result<()> {
        let catalog = self.names()?.catalog();
        if catalog.model(&kind.text).is_some() {
            return Ok(());
        }
        let meant = nearest(&kind.text, catalog.models().map(|model| model.kind.as_str()));
        let message = format!(
            "the states of {kind} are not kept: DEFINE ENTITY {kind} keeps them, as a view of them needs"
        );
        Err(self.fault_meaning(
            kind.span,
            message,
            meant.map(|name| crate::entity::NameText(name).to_string()),
        ))
    }

    /// Puts the values of parameters where they stand.
    fn put_query_values(&self, query: &mut Query) -> Result<()> {
        let clauses = match query {
            Query::Events { selector, clauses } => {
                if let Some(pattern) = &mut selector.pattern {
                    *pattern =
                        TextExpr::Literal { text: self.text(pattern, "a pattern")?, span: pattern.span() };
                }
                for tag in &mut selector.tags {
                    match &mut tag.test {
                        TagTest::Compare(_, expr) => self.put_values(expr)?,
                        TagTest::In(exprs) => exprs.iter_mut().try_for_each(|expr| self.put_values(expr))?,
                        TagTest::Between(low, high) => {
                            self.put_values(low)?;
                            self.put_values(high)?;
                        }
                        TagTest::Is(id) => *id = IdExpr::Text { text: self.id(id)?, span: id.span() },
                    }
                }
                clauses
            }
            Query::Find { clauses, .. } => clauses,
        };
        let items = clauses.group.iter_mut().chain(&mut clauses.select).map(|item| &mut item.expr);
        let unnested = clauses.unnest.iter_mut().filter_map(|unnest| unnest.filter.as_mut());
        for expr in items.chain(&mut clauses.filter).chain(&mut clauses.having).chain(unnested) {
            self.put_values(expr)?;
        }
        for point in [&mut clauses.since, &mut clauses.until].into_iter().flatten() {
            if let PointKind::Param(_) = &point.kind {
                point.kind = match self.fixed(point)? {
                    ResolvedPoint::Time(time) => PointKind::Time(time),
                    ResolvedPoint::Position(position) => PointKind::Position(position),
                };
            }
        }
        Ok(())
    }

    pub(super) fn view(&self, name: &Name, query: &Query) -> Result<ViewPlan> {
        if name.text.starts_with('$') {
            return Err(self.fault(name.span, "a name that begins with $ is the database's own"));
        }
        let (Query::Events { clauses, .. } | Query::Find { clauses, .. }) = query;
        self.check_clauses(clauses, query)?;
        let names = match query {
            Query::Events { .. } => NameScope::Event,
            Query::Find { .. } => NameScope::Found,
        };
        self.name_unnested(clauses)?;
        let predicate = clauses.filter.as_ref().map(|filter| self.predicate(filter, names)).transpose()?;
        let unnest = self.unnest(clauses, names)?;
        let of = match query {
            Query::Events { selector, .. } => ViewSource::Events(Selected {
                pattern: self.pattern(selector)?,
                by: self.tags(selector)?,
                predicate,
                window: self.fixed_window(clauses)?,
                unnest,
            }),
            Query::Find { kind, .. } => {
                self.at(kind.span, Entity::new(&kind.text, "x"))?;
                ViewSource::Entities { kind: kind.text.clone(), predicate, unnest }
            }
        };
        let Outline { group, columns, .. } = self.outline(clauses, names)?;
        let shape = match (group, columns) {
            (Some(group), _) => ViewRows::Group(Box::new(group)),
            (None, Some(columns)) => ViewRows::Select(columns),
            (None, None) => ViewRows::Whole,
        };
        Ok(ViewPlan { name: name.text.clone(), of, shape })
    }

    /// A view is a function of the log: whoever reads it says which part of it, and in which order.
    fn check_clauses(&self, clauses: &Clauses, query: &Query) -> Result<()> {
        let finds = matches!(query, Query::Find { .. });
        let read = |clause: &str| {
            format!("{clause} is for whoever reads the view: READ … {clause} …; a view holds all of its rows")
        };
        let moving = |clause: &str| {
            format!("{clause} in a view: it follows the log to its head, and READ … AS OF tells what it was")
        };
        let spans = [
            (clauses.order.first().map(|order| order.expr.span), read("ORDER BY")),
            (clauses.limit.as_ref().map(super::model::span_of), read("LIMIT")),
            (clauses.last.as_ref().map(super::model::span_of), moving("LAST")),
            (clauses.as_of.as_ref().map(|point| point.span), moving("AS OF")),
            (clauses.at.as_ref().map(|point| point.span), moving("AT")),
            (clauses.raw, "RAW in a view: a view is of events as they are read".to_owned()),
            (
                clauses.since.as_ref().or(clauses.until.as_ref()).filter(|_| finds).map(|point| point.span),
                "SINCE and UNTIL are for events; FIND tells what entities are".to_owned(),
            ),
        ];
        match spans.into_iter().find_map(|(span, message)| Some((span?, message))) {
            Some((span, message)) => Err(self.fault(span, message)),
            None => Ok(()),
        }
    }

    /// A point that means the same at any time.
    fn fixed(&self, point: &PointExpr) -> Result<ResolvedPoint> {
        let time = |text: &str| text.parse().ok().map(ResolvedPoint::Time);
        let found = match &point.kind {
            PointKind::Time(time) => Some(ResolvedPoint::Time(*time)),
            PointKind::Text(text) => time(text),
            PointKind::Position(position) => Some(ResolvedPoint::Position(*position)),
            PointKind::Param(param) => match self.parameter(param)? {
                Value::Text(text) => time(text),
                Value::Int(n) if *n >= 0 => {
                    Some(ResolvedPoint::Position(crate::entity::Position(n.unsigned_abs())))
                }
                _ => None,
            },
            PointKind::Now | PointKind::Ago(_) | PointKind::Version(_) => None,
        };
        found.ok_or_else(|| {
            let message = "a view means the same at any time: expected a time like 2024-01-01, or a position";
            self.fault(point.span, message)
        })
    }

    fn fixed_window(&self, clauses: &Clauses) -> Result<LogWindow> {
        let mut window = LogWindow::through(Position::MAX);
        match clauses.since.as_ref().map(|point| self.fixed(point)).transpose()? {
            Some(ResolvedPoint::Position(position)) => window.after = position,
            Some(ResolvedPoint::Time(time)) => window.since = Some(time),
            None => {}
        }
        match clauses.until.as_ref().map(|point| self.fixed(point)).transpose()? {
            Some(ResolvedPoint::Position(position)) => window.through = position,
            Some(ResolvedPoint::Time(time)) => window.before = Some(time),
            None => {}
        }
        Ok(window)
    }
}
