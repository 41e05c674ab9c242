//! Binding of `DEFINE VIEW`, `READ` and `SUBSCRIBE VIEW`.

use indexmap::IndexMap;

use super::expr::NameScope;
use super::shape::Outline;
use super::{BindInput, Binder};
use crate::entity::Entity;
use crate::error::{Error, Result, shorten};
use crate::event::is_built_in;
use crate::lang;
use crate::lang::ast::{
    Clauses, DefinitionStmt, Expr, IdExpr, Name, Path, PointExpr, PointKind, Query, Selector, Span, Stmt,
    Subscribe, TagTest, TextExpr,
};
use crate::plan::expr::{BoundExpr, Predicate};
use crate::plan::fault::nearest;
use crate::plan::find::{Candidates, Find, candidates, key_ranges};
use crate::plan::shape::{OutputColumn, Shape, Shaped, SortKey};
use crate::plan::view::{
    GroupsOf, ReadGroups, ReadView, RowSelection, Selected, ViewPlan, ViewRows, ViewSource,
    ViewSubscriptionPlan,
};
use crate::plan::{
    AccessQuery, By, DefineView, Derived, LogWindow, Parameters, ReadKind, ResolvedPoint, RowLimit, Tagged,
    Test, choose,
};
use crate::store::catalog::DefinedView;
use crate::store::index::term::IndexKey;
use crate::store::snapshot::StateAccess;
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

/// The columns of a view, by their names: what each is worth, for whatever a row is made of.
pub(super) struct Columns {
    view: String,
    nodes: IndexMap<String, BoundExpr>,
}

impl Columns {
    fn of(view: &ViewPlan) -> Columns {
        let nodes = view.columns().iter().map(|column| (column.name.clone(), column.node.clone()));
        Columns { view: view.name.clone(), nodes: nodes.collect() }
    }

    /// The column that is called so, or by such an expression.
    pub fn get(&self, expr: &Expr) -> Option<BoundExpr> {
        match &expr.kind {
            lang::ast::ExprKind::Field(Path { first, steps, .. }) if steps.is_empty() => {
                self.nodes.get(&first.text).cloned()
            }
            lang::ast::ExprKind::Field(_) | lang::ast::ExprKind::Call { .. } => {
                self.nodes.get(&expr.to_string()).cloned()
            }
            _ => None,
        }
    }
}

impl Binder<'_> {
    pub(super) fn define_view(&self, name: &Name, query: &Query) -> Result<DefineView> {
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
        let text = Stmt::Define(DefinitionStmt::View { name: name.clone(), query: said }).to_string();
        // What is kept is the text: it has to mean this again.
        match view_definition(&text) {
            Ok(view) => self.check_columns(&view, query)?,
            Err(error) => {
                let message = format!("{} is not understood ({error})", shorten(&text));
                return Err(self.fault(name.span, message));
            }
        }
        Ok(DefineView { name: name.text.clone(), text, actor: self.context.default_actor.cloned() })
    }

    /// Whoever follows a view tells its rows from what is said about them by names that no row has otherwise.
    fn check_columns(&self, view: &ViewPlan, query: &Query) -> Result<()> {
        let (Query::Events { clauses, .. } | Query::Find { clauses, .. }) = query;
        let of_entities =
            matches!((&view.of, &view.shape), (ViewSource::Entities { .. }, ViewRows::Select(_)));
        for (column, item) in view.columns().iter().zip(clauses.group.iter().chain(&clauses.select)) {
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
            let span = item.alias.as_ref().map_or(item.expr.span, |alias| alias.span);
            return Err(self.fault(span, message));
        }
        Ok(())
    }

    /// A name is one thing.
    fn check_view_name(&self, name: &Name) -> Result<()> {
        let (snapshot, shown) = (self.snapshot()?, crate::entity::NameText(&name.text));
        let catalog = snapshot.indexes();
        if catalog.view(&name.text).is_some() {
            return Ok(());
        }
        let verb = catalog.verb(&name.text).is_some() || snapshot.added_verb(&name.text).is_some();
        let what = match catalog.programs().find(|program| program.name == name.text) {
            _ if verb => "a verb".to_owned(),
            Some(program) => format!("a {}", program.kind.word()),
            None if catalog.model(&name.text).is_some() || snapshot.has_kind(&name.text)? => {
                "a kind of entities".to_owned()
            }
            None => return Ok(()),
        };
        Err(self.fault(name.span, format!("{shown} is {what}: a view needs a name of its own")))
    }

    /// An index may be defined otherwise one day; a view stays what it is.
    fn check_no_index(&self, selector: &Selector) -> Result<()> {
        let catalog = self.snapshot()?.indexes();
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
            if !self.snapshot()?.has_tag(&tag.name.text)? {
                let name = &tag.name;
                let message = format!(
                    "BY {name}: no event was emitted with INDEX BY {name}; WHERE data.{name} asks the event itself"
                );
                return Err(self.fault(tag.span, message));
            }
        }
        Ok(())
    }

    fn check_states_kept(&self, kind: &Name) -> Result<()> {
        let catalog = self.snapshot()?.indexes();
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
        for expr in items.chain(&mut clauses.filter).chain(&mut clauses.having) {
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

    fn view(&self, name: &Name, query: &Query) -> Result<ViewPlan> {
        if name.text.starts_with('$') {
            return Err(self.fault(name.span, "a name that begins with $ is the database's own"));
        }
        let (Query::Events { clauses, .. } | Query::Find { clauses, .. }) = query;
        self.check_clauses(clauses, query)?;
        let names = match query {
            Query::Events { .. } => NameScope::Event,
            Query::Find { .. } => NameScope::Found,
        };
        let predicate = clauses.filter.as_ref().map(|filter| self.predicate(filter, names)).transpose()?;
        let of = match query {
            Query::Events { selector, .. } => ViewSource::Events(Selected {
                pattern: self.pattern(selector)?,
                by: self.tags(selector)?,
                predicate,
                window: self.fixed_window(clauses)?,
            }),
            Query::Find { kind, .. } => {
                self.at(kind.span, Entity::new(&kind.text, "x"))?;
                ViewSource::Entities { kind: kind.text.clone(), predicate }
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
        let mut window = LogWindow::through(u64::MAX);
        match clauses.since.as_ref().map(|point| self.fixed(point)).transpose()? {
            Some(ResolvedPoint::Position(position)) => window.after = position.0,
            Some(ResolvedPoint::Time(time)) => window.since = Some(time),
            None => {}
        }
        match clauses.until.as_ref().map(|point| self.fixed(point)).transpose()? {
            Some(ResolvedPoint::Position(position)) => window.through = position.0,
            Some(ResolvedPoint::Time(time)) => window.before = Some(time),
            None => {}
        }
        Ok(window)
    }

    /// `READ`.
    pub(super) fn read_view(&self, name: &Name, clauses: &Clauses) -> Result<ReadView> {
        let defined = self.defined_view(name)?;
        self.check_read(clauses)?;
        let view =
            Reading { binder: self, defined: &defined, view: view_definition(&defined.text)?, clauses };
        let newer = self.snapshot()?.indexes().view(&name.text).map(|newest| newest.position);
        let newer = newer.filter(|newest| *newest != defined.position);
        if let Some(newer) = newer {
            let shown = crate::entity::NameText(&name.text);
            self.notice(format!(
                "{shown} is as it is defined at {}, until the one of {newer} is complete",
                defined.position
            ));
        }
        let (through, as_of) = self.as_of(clauses.as_of.as_ref(), None)?;
        let rows = view.rows(through.0, as_of)?;
        let kept = self.snapshot()?.until(through).kept_through(defined.position)?;
        Ok(ReadView { view: defined, newer, kept: (kept, through.0), rows })
    }

    /// The view that is to be read.
    fn defined_view(&self, name: &Name) -> Result<std::sync::Arc<DefinedView>> {
        let catalog = self.snapshot()?.indexes();
        if let Some(view) = catalog.usable_view(&name.text) {
            view.view()?;
            return Ok(view.clone());
        }
        let meant = nearest(&name.text, catalog.views().map(|view| view.name.as_str()));
        let message = if catalog.model(&name.text).is_some() || self.snapshot()?.has_kind(&name.text)? {
            format!("{name} is a kind of entities, and no view: FIND {name} reads them")
        } else {
            format!("no view '{}' is defined; SHOW VIEWS tells what there is", name.text)
        };
        Err(self.fault_meaning(
            name.span,
            message,
            meant.map(|name| crate::entity::NameText(name).to_string()),
        ))
    }

    fn check_read(&self, clauses: &Clauses) -> Result<()> {
        let point = |point: &Option<PointExpr>| point.as_ref().map(|point| point.span);
        let defined =
            "belongs in the definition of the view; READ takes WHERE, SELECT, ORDER BY, LIMIT and AS OF";
        let wrong = [
            (clauses.group.first().map(|item| item.expr.span), format!("GROUP BY {defined}")),
            (
                clauses.having.as_ref().map(|having| having.span),
                "HAVING: of rows of a view say WHERE".to_owned(),
            ),
            (point(&clauses.since), format!("SINCE {defined}")),
            (point(&clauses.until), format!("UNTIL {defined}")),
            (point(&clauses.at), "AT: a view tells what the log knew: READ … AS OF a point".to_owned()),
            (
                clauses.last.as_ref().map(super::model::span_of),
                "LAST: of rows of a view say ORDER BY … DESC LIMIT n".to_owned(),
            ),
        ];
        match wrong.into_iter().find_map(|(span, message)| Some((span?, message))) {
            Some((span, message)) => Err(self.fault(span, message)),
            None => Ok(()),
        }
    }

    /// `SUBSCRIBE VIEW`.
    pub(super) fn view_subscription(
        &self,
        subscribe: &Subscribe,
        name: &Name,
    ) -> Result<ViewSubscriptionPlan> {
        if let Some(as_name) = &subscribe.name {
            let message =
                "a view is told as it is, and then as it changes: there is no place to keep for a name";
            return Err(self.fault(as_name.span, message));
        }
        if subscribe.from.is_some() {
            let message =
                "FROM: a view is told as it is now, and then as it changes; READ … AS OF tells what it was";
            return Err(self.fault(name.span, message));
        }
        let clauses = Clauses { filter: subscribe.filter.clone(), ..Clauses::default() };
        Ok(ViewSubscriptionPlan {
            read: self.read_view(name, &clauses)?,
            until: self.until(subscribe)?,
            limit: subscribe.limit.as_ref().map(|limit| self.count(limit, "LIMIT")).transpose()?,
        })
    }

    /// What a name among the columns of a view leads to.
    pub(super) fn column_of_view(&self, columns: &Columns, path: &Path) -> Result<BoundExpr> {
        let written = path.to_string();
        if let Some(node) = columns.nodes.get(&written) {
            return Ok(node.clone());
        }
        let first = &path.first.text;
        let known = columns.nodes.keys().map(String::as_str);
        if columns.nodes.contains_key(first) {
            let message = format!(
                "{first} is a column, and READ takes it whole; the definition of the view may say a part of it in a column of \
                 its own"
            );
            return Err(self.fault(path.first.span, message));
        }
        // A column without a name is called by its text, as `count()`.
        let call = known.clone().find(|column| column.split('(').next() == Some(first.as_str()));
        let meant = call.or_else(|| nearest(first, known.clone()));
        let message = format!(
            "the view {} has no column '{written}'; it has {}",
            crate::entity::NameText(&columns.view),
            known.collect::<Vec<_>>().join(", ")
        );
        Err(self.fault_meaning(path.first.span, message, meant.map(str::to_owned)))
    }

    pub(super) fn aggregate_of_view(&self, function: &str, span: Span) -> Error {
        let message = format!(
            "{function}() is worked out from many rows: it belongs in the definition of the view, and READ takes its columns"
        );
        self.fault(span, message)
    }
}

/// A view that is read.
struct Reading<'b, 's> {
    binder: &'b Binder<'s>,
    defined: &'b std::sync::Arc<DefinedView>,
    view: ViewPlan,
    clauses: &'b Clauses,
}

/// What is asked of the rows.
struct RowClauses {
    predicate: Option<Predicate>,
    columns: Option<Vec<OutputColumn>>,
    /// They are said by `SELECT`.
    selects: bool,
    order: Vec<SortKey>,
    limit: Option<u64>,
}

impl Reading<'_, '_> {
    fn rows(&self, through: u64, as_of: Option<ResolvedPoint>) -> Result<RowSelection> {
        let asked = self.asked()?;
        if let ViewRows::Group(group) = &self.view.shape {
            let of = match &self.view.of {
                ViewSource::Events(events) => GroupsOf::Events(Box::new(events.clone())),
                ViewSource::Entities { kind, predicate } => {
                    GroupsOf::Entities(Box::new(self.find(kind, predicate.clone(), through, as_of)?))
                }
            };
            return Ok(RowSelection::Groups(Box::new(ReadGroups {
                of,
                group: (**group).clone(),
                through,
                latest: as_of.is_none(),
                predicate: asked.predicate,
                order: asked.order,
                limit: asked.limit,
                columns: asked.columns.filter(|_| asked.selects),
            })));
        }
        match &self.view.of {
            ViewSource::Events(events) => {
                self.events(events, asked, through).map(Box::new).map(RowSelection::Each)
            }
            ViewSource::Entities { kind, predicate } => {
                let predicate = both(predicate.clone(), asked.predicate);
                let mut find = self.find(kind, predicate, through, as_of)?;
                find.limit = asked.limit;
                find.shape = match asked.columns {
                    columns if !asked.order.is_empty() => {
                        Some(Shape::Sort { order: asked.order, limit: asked.limit, columns })
                    }
                    columns => columns.map(Shape::Select),
                };
                Ok(RowSelection::Each(Box::new(ReadKind::Find(Box::new(find)))))
            }
        }
    }

    /// What the clauses ask, in terms of what rows are made of.
    fn asked(&self) -> Result<RowClauses> {
        let (binder, clauses) = (self.binder, self.clauses);
        let names = match (&self.view.shape, &self.view.of) {
            (ViewRows::Whole, ViewSource::Events(_)) => NameScope::Event,
            (ViewRows::Whole, ViewSource::Entities { .. }) => NameScope::Found,
            _ => return self.asked_of_columns(),
        };
        let predicate = clauses.filter.as_ref().map(|filter| binder.predicate(filter, names)).transpose()?;
        let Outline { group, columns, order, limit } = binder.outline(clauses, names)?;
        if group.is_some() {
            let item = clauses.select.first().map(|item| item.expr.span);
            let span =
                item.or_else(|| clauses.order.first().map(|order| order.expr.span)).unwrap_or_default();
            return Err(binder.aggregate_of_view("an aggregate", span));
        }
        Ok(RowClauses { predicate, columns, selects: !clauses.select.is_empty(), order, limit })
    }

    fn asked_of_columns(&self) -> Result<RowClauses> {
        let (binder, clauses) = (self.binder, self.clauses);
        let mut columns = Columns::of(&self.view);
        let names = NameScope::Columns(&columns);
        let predicate = clauses.filter.as_ref().map(|filter| binder.predicate(filter, names)).transpose()?;
        let selected = binder.items(&clauses.select, names, "SELECT")?;
        binder.check_names(clauses, &selected)?;
        columns.nodes.extend(selected.iter().map(|column| (column.name.clone(), column.node.clone())));
        let names = NameScope::Columns(&columns);
        let order = clauses.order.iter().map(|order| binder.sort_key(order, names)).collect::<Result<_>>()?;
        let limit = clauses.limit.as_ref().map(|limit| binder.count(limit, "LIMIT")).transpose()?;
        let selects = !selected.is_empty();
        let columns = if selects { selected } else { self.view.columns().to_vec() };
        Ok(RowClauses { predicate, columns: Some(columns), selects, order, limit })
    }

    /// Events that an index of the view leads to.
    fn events(&self, events: &Selected, asked: RowClauses, through: u64) -> Result<ReadKind> {
        let RowClauses { predicate, columns, order, limit, .. } = asked;
        let mut question = AccessQuery {
            pattern: Some(events.pattern.clone()),
            by: Vec::new(),
            predicate,
            window: LogWindow::through(through),
            take: limit.filter(|_| order.is_empty()).map_or(RowLimit::All, RowLimit::First),
            indexed: Vec::new(),
        };
        if let Some(index) = &self.defined.index {
            question.by.push(By::Tag(Tagged {
                name: self.defined.name.clone(),
                test: Test::Is(row_key()),
                times: None,
                index: Some(Derived(index.clone())),
                own: false,
            }));
        }
        let mut chosen = choose(self.binder.snapshot()?, question)?;
        chosen.take = RowLimit::All;
        let first = limit.map_or(RowLimit::All, RowLimit::First);
        if let Some(take) = super::shape::along_the_log(&order, limit, first, false) {
            chosen.take = take;
            return Ok(match columns {
                None => ReadKind::Events(chosen),
                Some(columns) => super::shape::shaped(chosen, Shape::Select(columns)),
            });
        }
        Ok(ReadKind::Shaped(Box::new(Shaped {
            events: chosen,
            shape: Shape::Sort { order, limit, columns },
        })))
    }

    /// Entities that an index of the view leads to.
    fn find(
        &self,
        kind: &str,
        predicate: Option<Predicate>,
        through: u64,
        as_of: Option<ResolvedPoint>,
    ) -> Result<Find> {
        let snapshot = self.binder.snapshot()?;
        let way = if as_of.is_some() { StateAccess::Past } else { snapshot.way_to_states(kind)? };
        // As the query would, or by the index of the view: whatever is less.
        let source = match candidates(snapshot, kind, predicate.as_ref())? {
            Candidates::Index { .. } if as_of.is_some() => Candidates::All,
            source => source,
        };
        let narrows = matches!(&self.view.of, ViewSource::Entities { predicate: Some(_), .. });
        let source = match (source, &self.defined.finder) {
            (Candidates::Ids(ids), _) => Candidates::Ids(ids),
            (source, Some(finder)) if as_of.is_none() && narrows => {
                let ranges = key_ranges(finder, &Test::Is(row_key()));
                match (snapshot.count_found_all(finder, &ranges)?, source) {
                    (Some(own), Candidates::Index { finder, ranges, name, estimate }) if estimate <= own => {
                        Candidates::Index { finder, ranges, name, estimate }
                    }
                    (Some(estimate), _) => {
                        let name = format!("of the view {}", crate::entity::NameText(&self.defined.name));
                        let ranges = ranges.into_iter().chain([finder.faulty()]).collect();
                        Candidates::Index { finder: finder.clone(), ranges, name, estimate }
                    }
                    (None, source) => source,
                }
            }
            (source, _) => source,
        };
        let window = LogWindow::through(through);
        Ok(Find {
            kind: kind.to_owned(),
            window,
            at: None,
            as_of,
            predicate,
            source,
            way,
            limit: None,
            shape: None,
        })
    }
}

/// What holds where both do.
fn both(one: Option<Predicate>, other: Option<Predicate>) -> Option<Predicate> {
    match (one, other) {
        (Some(one), Some(other)) => Some(Predicate {
            text: format!("{} AND {}", one.text, other.text),
            node: BoundExpr::And(vec![one.node, other.node]),
        }),
        (one, other) => one.or(other),
    }
}
