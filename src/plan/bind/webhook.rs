//! Binding of `DEFINE WEBHOOK`.

use super::Binder;
use super::expr::NameScope;
use super::reaction::alone;
use crate::entity::Position;
use crate::error::{Error, Result, shorten};
use crate::event::EventFormat;
use crate::lang;
use crate::lang::ast::{DefinitionStmt, PointExpr, PointKind, Start, Stmt, WebhookDefinitionStmt};
use crate::plan::subscription::SubscriptionPlan;
use crate::plan::webhook::{Url, Webhook, form};
use crate::plan::write::Define;
use crate::store::catalog::ProgramKind;

/// What is defined of a webhook, from the canonical text of the statement. It means the same whatever the log holds.
pub(crate) fn webhook_definition(text: &str) -> Result<Webhook> {
    let parsed = lang::parse_one(text)?;
    let Stmt::Define(DefinitionStmt::Webhook(webhook)) = &parsed.statement else {
        return Err(Error::invalid("the definition of a webhook", "DEFINE WEBHOOK …", shorten(text)));
    };
    alone(text, |binder| binder.webhook(webhook))
}

impl Binder<'_> {
    pub(super) fn define_webhook(&self, webhook: &WebhookDefinitionStmt) -> Result<Define> {
        let mut said = webhook.clone();
        said.pattern = self.said_text(&webhook.pattern, "ON")?;
        said.to = self.said_text(&webhook.to, "TO")?;
        said.form = webhook.form.as_ref().map(|form| self.said_text(form, "AS")).transpose()?;
        said.secret = webhook.secret.as_ref().map(|secret| self.said_text(secret, "SECRET")).transpose()?;
        if let Some(start @ Start::Point(PointExpr { span, .. })) = &webhook.from {
            let kind = PointKind::Position(self.start(start)?);
            said.from = Some(Start::Point(PointExpr { kind, span: *span }));
        }
        // What is wrong is told of the text as it was said.
        self.definition().webhook(&said)?;
        self.check_free_name(&webhook.name, ProgramKind::Webhook.word())?;
        if let Some(filter) = &mut said.filter {
            self.put_values(filter)?;
        }
        self.program(ProgramKind::Webhook, &webhook.name, DefinitionStmt::Webhook(said), webhook_definition)
    }

    fn webhook(&self, webhook: &WebhookDefinitionStmt) -> Result<Webhook> {
        self.defined_name(&webhook.name, "a webhook")?;
        let filter = webhook.filter.as_ref();
        let events = SubscriptionPlan {
            predicate: filter.map(|filter| self.predicate(filter, NameScope::Event)).transpose()?,
            from: webhook.from.as_ref().map(|start| self.place(start)).transpose()?,
            ..SubscriptionPlan::of(self.pattern_text(&webhook.pattern, "ON")?)
        };
        let to = self.text(&webhook.to, "TO")?;
        // Before an @ may be a password.
        let to = match to.contains('@') {
            true => self.hiding(&webhook.to, Url::new(&to))?,
            false => self.at(webhook.to.span(), Url::new(&to))?,
        };
        let form = match &webhook.form {
            Some(said) => self.at(said.span(), form(&self.text(said, "AS")?))?,
            None => EventFormat::Event,
        };
        let secret = webhook.secret.as_ref();
        let secret = secret.map(|said| self.secret(said, "SECRET", "env:HOOK_SECRET")).transpose()?;
        Ok(Webhook { name: webhook.name.text.clone(), events, to, form, secret })
    }

    /// Where it begins: the text that is kept has the place itself.
    fn place(&self, start: &Start) -> Result<Position> {
        match start {
            Start::Beginning(_) => Ok(Position::START),
            Start::Point(PointExpr { kind: PointKind::Position(position), .. }) => Ok(*position),
            Start::Point(point) => {
                Err(self.fault(point.span, "FROM: expected START or a position like #7 in what is kept"))
            }
        }
    }
}
