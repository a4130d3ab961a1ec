//! A definition tried: everything that is wrong with it, or what it would write.

use serde_json::Value;
use tieline_client::{ClientError, Connection};
use tieline_store::sync_work::{Pace, PaceError};

use super::definition::Definition;
use super::describes::Describes;
use super::error::{Flaw, MappingError};
use super::plan::Plan;
use super::preview::{Preview, preview};
use super::schedule::Schedule;

/// Longest name of a mapping, in characters.
const LONGEST_NAME: usize = 100;

/// What came of a trial.
#[derive(Debug, Clone)]
pub struct Checked {
    /// What is wrong, in the order of the definition. Nothing: it can be used.
    pub flaws: Vec<Flaw>,
    /// What it comes to, if it can be used.
    pub plan: Option<Plan>,
    /// What it would write of the first records, if it can be used and rows were asked for.
    pub preview: Option<Preview>,
}

impl Definition {
    /// How often it is read, as the queue has it; none: as often as the service is told.
    ///
    /// # Errors
    /// [`PaceError`] for an expression that is no calendar.
    pub fn pace(&self) -> Result<Option<Pace>, PaceError> {
        match &self.every {
            None => Ok(None),
            Some(Schedule::Every(every)) => Ok(Some(Pace::Every(*every))),
            Some(Schedule::Continuous) => Ok(Some(Pace::Continuous)),
            Some(Schedule::Cron(cron)) => format!("cron {cron}").parse().map(Some),
        }
    }
}

/// Holds a definition against the org, and shows what would be written of so many records ([`MOST_PREVIEWED`] at most).
/// Nothing is written, here or there.
///
/// [`MOST_PREVIEWED`]: super::MOST_PREVIEWED
///
/// # Errors
/// [`ClientError`]; what is wrong with the definition is no error.
pub async fn check(connection: &Connection, definition: Value, rows: usize) -> Result<Checked, ClientError> {
    let refused = |error: MappingError| Checked { flaws: error.flaws, plan: None, preview: None };
    let definition = match Definition::from_json(definition) {
        Ok(definition) => definition,
        Err(error) => return Ok(refused(error)),
    };
    let describes = Describes::load(connection, &definition).await?;
    let plan = match plan_of(&definition, &describes) {
        Ok(plan) => plan,
        Err(error) => return Ok(refused(error)),
    };
    let preview = match rows {
        0 => None,
        rows => Some(preview(connection, &plan, rows).await?),
    };
    Ok(Checked { flaws: Vec::new(), plan: Some(plan), preview })
}

/// What a definition comes to that is about to be kept: with all that [`Plan::new`] says, and what the org has no part in.
pub(crate) fn plan_of(definition: &Definition, describes: &Describes) -> Result<Plan, MappingError> {
    let mut flaws = Vec::new();
    let name = &definition.name;
    if name.trim().is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
        let reason = format!("a name has from 1 to {LONGEST_NAME} characters, without control characters");
        flaws.push(Flaw::new("name", reason));
    } else if holds_nul(&definition.to_json()) {
        flaws.push(Flaw::new("definition", "a text holds the character U+0000, which no database keeps"));
    }
    if let Err(error) = definition.pace() {
        flaws
            .push(Flaw::new("every", error.reason).hint("write `0 6 * * 1-5`: minute, hour, day, month, weekday; UTC"));
    }
    match Plan::new(definition, describes) {
        Ok(plan) if flaws.is_empty() => Ok(plan),
        Ok(_) => Err(MappingError { mapping: name.clone(), flaws }),
        Err(error) => {
            flaws.extend(error.flaws);
            Err(MappingError { mapping: error.mapping, flaws })
        }
    }
}

fn holds_nul(json: &Value) -> bool {
    match json {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(holds_nul),
        Value::Object(object) => object.iter().any(|(key, value)| key.contains('\0') || holds_nul(value)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_org_has_no_part_in_is_told_too() {
        let flaws = |definition: Value| {
            let definition = Definition::from_json(definition).unwrap();
            let error = plan_of(&definition, &Describes::default()).unwrap_err();
            error.flaws.into_iter().map(|flaw| flaw.at).collect::<Vec<_>>()
        };
        assert_eq!(flaws(json!({"name": "a", "object": "X", "every": "61 * * * *"})), ["every", "object"]);
        assert_eq!(flaws(json!({"name": "a\u{7}", "object": "X", "table": "a"})), ["name", "object"]);
        let nul = json!({"name": "a", "object": "X", "columns": [{"constant": "\0", "column": "c"}]});
        assert_eq!(flaws(nul), ["definition", "object"]);
    }
}
