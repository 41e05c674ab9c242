//! What the data of an event is to be, as a statement says it.

use super::{AssignClause, Expr, Name, Path, Span, TextExpr, TypeRef};

/// `DEFINE EVENT`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EventDefinitionStmt {
    pub(crate) event_type: TypeRef,
    pub(crate) body: SchemaBody,
    /// Members that are not named are refused.
    pub(crate) strict: bool,
    /// What does not fit is told, and appended all the same.
    pub(crate) warn: bool,
    pub(crate) upcast: Option<UpcastClause>,
}

/// `UPCAST`: how the data of events of the version before is read. All is worked out from it as it was, then set, then deleted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UpcastClause {
    pub(crate) set: Vec<AssignClause>,
    pub(crate) delete: Vec<Path>,
    pub(crate) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SchemaBody {
    Members(Vec<MemberClause>),
    /// `FROM SCHEMA`: a text of JSON Schema.
    Json(TextExpr),
}

/// `total: number CHECK data.total >= 0`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MemberClause {
    pub(crate) key: Name,
    pub(crate) data_type: DataTypeExpr,
    pub(crate) check: Option<Expr>,
}

/// `text`, `[text]`, `{zip: text}`, each with `?` behind it where it may be missing or null.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DataTypeExpr {
    pub(crate) kind: DataTypeKind,
    pub(crate) optional: bool,
    pub(crate) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum DataTypeKind {
    Named(Name),
    Array(Box<DataTypeExpr>),
    Object(Vec<MemberClause>),
}

impl EventDefinitionStmt {
    /// All that is asked with `CHECK`, in order.
    pub(crate) fn checks(&self) -> Vec<&Expr> {
        let mut checks = Vec::new();
        if let SchemaBody::Members(members) = &self.body {
            members.iter().for_each(|member| member.add_checks(&mut checks));
        }
        checks
    }
}

impl MemberClause {
    fn add_checks<'a>(&'a self, checks: &mut Vec<&'a Expr>) {
        self.data_type.add_checks(checks);
        checks.extend(&self.check);
    }
}

impl DataTypeExpr {
    fn add_checks<'a>(&'a self, checks: &mut Vec<&'a Expr>) {
        match &self.kind {
            DataTypeKind::Named(_) => {}
            DataTypeKind::Array(item) => item.add_checks(checks),
            DataTypeKind::Object(members) => members.iter().for_each(|member| member.add_checks(checks)),
        }
    }
}
