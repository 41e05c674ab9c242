//! What there is to tell of webhooks.

use super::answer::Row;
use super::aside;
use super::show::fields;
use crate::error::Result;
use crate::plan;
use crate::plan::webhook::form_name;
use crate::store::catalog::ProgramKind;
use crate::store::cursor::Follower;
use crate::store::snapshot::Snapshot;
use crate::value::Value;

/// `SHOW WEBHOOKS`: each with where it is in the log, and what stands in its way.
pub(super) fn show(snapshot: &Snapshot) -> Result<impl Iterator<Item = Result<Row>> + Send + 'static> {
    let mut rows = Vec::new();
    for program in snapshot.indexes().programs().filter(|program| program.kind == ProgramKind::Webhook) {
        let webhook = plan::webhook_definition(&program.text)?;
        let who = Follower::Program(program.position);
        let cursor = snapshot.cursors().get(&who)?;
        let start = webhook.events.from.unwrap_or(program.position).0;
        let position = cursor.map_or(start, |cursor| cursor.position);
        let aside = aside::set_aside(snapshot, program)?;
        let last = aside.last_key_value().map(|(position, aside)| format!("#{position}: {}", aside.error));
        let trouble = snapshot.cursors().trouble(&who).or(last);
        rows.push(Ok(fields([
            ("name", program.name.as_str().into()),
            ("on", webhook.events.pattern.to_string().into()),
            ("to", webhook.to.to_string().into()),
            ("as", form_name(webhook.form).into()),
            ("signed", webhook.secret.is_some().into()),
            ("position", position.into()),
            ("lag", snapshot.head().0.saturating_sub(position).into()),
            ("setAside", (aside.len() as u64).into()),
            ("trouble", trouble.map_or(Value::Null, Value::from)),
            ("running", snapshot.cursors().reader(&who).is_some().into()),
        ])));
    }
    Ok(rows.into_iter())
}
