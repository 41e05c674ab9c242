//! Statements that are run by another process: what is to be known of them on the way, and where what it finds wrong stands here.

use super::Statement;
use crate::error::{Error, Result, SyntaxFault};
use crate::lang::ast::{ActStmt, Admin, ReadStmt, Stmt, TextExpr, WriteStmt};
use crate::plan::Parameters;

impl Statement {
    /// The name under which it subscribes, if it does.
    pub(crate) fn subscription_name(&self) -> Option<&str> {
        match &self.tree.statement {
            Stmt::Read(ReadStmt::Subscribe(subscribe)) => {
                subscribe.name.as_ref().map(|name| name.text.as_str())
            }
            _ => None,
        }
    }

    /// The text to send, and its parameters. A path is one of the folder of this program, not of the one that runs the statement.
    pub(crate) fn to_send(&self, parameters: &Parameters) -> Result<(String, Parameters)> {
        let names_a_key = matches!(
            &self.tree.statement,
            Stmt::Admin(Admin::Rekey { .. } | Admin::SignHead { .. } | Admin::Backup { key: Some(_), .. })
        );
        if names_a_key {
            let expected =
                "the process that has the file open: what is in its environment is no key of this one";
            return Err(Error::invalid("a statement with a key", expected, "one that is attached to it"));
        }
        let Stmt::Admin(Admin::Backup { to, .. }) = &self.tree.statement else {
            return Ok((self.text().to_owned(), parameters.clone()));
        };
        let absolute = |path: &str| match std::path::absolute(path) {
            Ok(path) => Ok(path.to_string_lossy().into_owned()),
            Err(error) => Err(Error::io("asking for the folder of this program", error)),
        };
        match to {
            TextExpr::Param(param) => match parameters.get(&param.name).and_then(|path| path.as_text()) {
                Some(path) => {
                    let path = absolute(path)?;
                    Ok((self.text().to_owned(), parameters.clone().set(&param.name, path)))
                }
                None => Ok((self.text().to_owned(), parameters.clone())),
            },
            TextExpr::Literal { text, span } => {
                let mut statement = self.tree.statement.clone();
                if let Stmt::Admin(Admin::Backup { to, .. }) = &mut statement {
                    *to = TextExpr::Literal { text: absolute(text)?, span: *span };
                }
                Ok((statement.to_string(), parameters.clone()))
            }
        }
    }

    /// A place in the text of this statement alone, in the whole text that it was parsed from.
    pub(crate) fn in_whole_text(&self, fault: SyntaxFault) -> SyntaxFault {
        let start = self.tree.span.range().start;
        let before = self.text.get(..start).unwrap_or_default();
        let begun = before.rsplit('\n').next().unwrap_or_default();
        let first = fault.line == 1;
        let source_line = match first {
            true => self.text.get(before.len() - begun.len()..).and_then(|rest| rest.lines().next()),
            false => None,
        };
        SyntaxFault {
            offset: start + fault.offset,
            line: fault.line + before.matches('\n').count(),
            column: fault.column + if first { begun.chars().count() } else { 0 },
            source_line: source_line.map_or(fault.source_line, str::to_owned),
            statement: self.number,
            ..fault
        }
    }

    /// Whether it appends without a look at anything: it takes as long as the disk does, and nobody could end it meanwhile.
    pub(crate) fn waits_for_disk_alone(&self) -> bool {
        match &self.tree.statement {
            Stmt::Write(WriteStmt::Act(ActStmt::Emit(emit))) => emit.facts.expect.is_empty(),
            _ => false,
        }
    }

    /// Whether it subscribes without a name: nothing is kept of it.
    pub(crate) fn is_unnamed_subscription(&self) -> bool {
        self.is_subscription() && self.subscription_name().is_none()
    }
}
