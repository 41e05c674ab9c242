//! `DEFINE EVENT` as text.

use super::expr::KeyText;
use super::{CommaList, Display, Formatter, fmt, listed, optional};
use crate::lang::ast::*;

impl Display for EventDefinitionStmt {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "EVENT {} ", self.event_type)?;
        match &self.body {
            SchemaBody::Members(members) => write!(f, "{{{}}}", CommaList(members))?,
            SchemaBody::Json(text) => write!(f, "FROM SCHEMA {text}")?,
        }
        f.write_str(if self.strict { " STRICT" } else { "" })?;
        f.write_str(if self.warn { " WARN" } else { "" })?;
        self.upcast.as_ref().map_or(Ok(()), |upcast| write!(f, " {upcast}"))
    }
}

impl Display for UpcastClause {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("UPCAST")?;
        listed(f, "SET", &self.set)?;
        listed(f, "DELETE", &self.delete)
    }
}

impl Display for MemberClause {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", KeyText(&self.key), self.data_type)?;
        optional(f, "CHECK", self.check.as_ref())
    }
}

impl Display for DataTypeExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            DataTypeKind::Named(name) => write!(f, "{name}")?,
            DataTypeKind::Array(item) => write!(f, "[{item}]")?,
            DataTypeKind::Object(members) => write!(f, "{{{}}}", CommaList(members))?,
        }
        f.write_str(if self.optional { "?" } else { "" })
    }
}
