//! What the database itself saw of the queue and of the runs, in the order in which it was committed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::servers::Postgres;

/// Notes each change of a row of the two tables. A row's number is taken while the row is held, and that of a run while the
/// mapping's checkpoint is: numbers of a mapping are in the order of its commits.
const NOTES: &str = "
    CREATE TABLE told (n bigserial PRIMARY KEY, of text NOT NULL, old jsonb, new jsonb NOT NULL);
    CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
    BEGIN
        INSERT INTO told (of, old, new)
        VALUES (TG_TABLE_NAME, CASE WHEN TG_OP = 'UPDATE' THEN to_jsonb(OLD) END, to_jsonb(NEW));
        RETURN NULL;
    END $$;
    CREATE TRIGGER told AFTER INSERT OR UPDATE ON sync_work FOR EACH ROW EXECUTE FUNCTION tell();
    CREATE TRIGGER told AFTER INSERT OR UPDATE ON runs FOR EACH ROW EXECUTE FUNCTION tell();";

struct Told {
    of: String,
    old: Value,
    new: Value,
}

pub(super) struct History(Vec<Told>);

/// What the history says in figures.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) ticks: usize,
    pub(super) taken_over: usize,
    pub(super) requests: usize,
    pub(super) retries: usize,
    pub(super) steps: usize,
    /// Of each business: how often its work was taken, and the longest that something that was ready waited.
    pub(super) turns: BTreeMap<String, (usize, SignedDuration)>,
}

impl History {
    /// From now on everything is noted.
    pub(super) fn begin(database: &Postgres) {
        database.sql(NOTES);
    }

    pub(super) fn read(database: &Postgres) -> Self {
        let told =
            database.sql("SELECT json_build_object('of', of, 'old', old, 'new', new)::text FROM told ORDER BY n");
        let told = told.lines().map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            Told { of: line["of"].as_str().unwrap().to_owned(), old: line["old"].take(), new: line["new"].take() }
        });
        Self(told.collect())
    }

    /// Holds it against what decision 0017 promises; what is wrong, a line each.
    pub(super) fn check(&self, every: i64) -> (Figures, Vec<String>) {
        let (mut figures, mut wrong) = (Figures::default(), Vec::new());
        let mut ticks = BTreeSet::new();
        for Told { old, new, .. } in self.0.iter().filter(|told| told.of == "sync_work" && !told.old.is_null()) {
            let fences = (number(old, "fence"), number(new, "fence"));
            let of = format!("{} {}", text(new, "kind"), text(new, "id"));
            let ticked = old["due_at"] != new["due_at"];
            if fences.0 == fences.1 {
                // A tick is moved on by nobody but whoever takes it; who says how often begins anew.
                if ticked && old["pace"] == new["pace"] {
                    wrong.push(format!("{of}: a tick was moved without being taken: {old} {new}"));
                }
                continue;
            }
            let (Some(started), Some(ready)) = (at(new, "started_at"), at(old, "ready_at")) else {
                wrong.push(format!("{of}: it was taken and was not ready: {old} {new}"));
                continue;
            };
            if fences.1 != fences.0 + 1 || ready > started {
                wrong.push(format!("{of}: it was taken before it was ready: {old} {new}"));
            }
            let due = at(old, "due_at").filter(|due| *due <= started);
            let (held, asked) = (at(old, "leased_until"), number(old, "requested") > number(old, "taken"));
            match due {
                Some(due) => {
                    let pace = text(new, "pace").strip_prefix("every ").map_or(every, |every| every.parse().unwrap());
                    let next = at(new, "due_at").unwrap();
                    let on = next.duration_since(due).as_millis();
                    if !ticks.insert((text(new, "id").to_owned(), due)) {
                        wrong.push(format!("{of}: the tick of {due} happened twice"));
                    }
                    // On the same grid, and those that were missed are one.
                    if next <= started
                        || on % i128::from(pace * 1_000) != 0
                        || on > i128::from(pace * 1_000) + started.duration_since(due).as_millis()
                    {
                        wrong.push(format!("{of}: after the tick of {due}, at {started}, comes {next}: every {pace}"));
                    }
                    figures.ticks += 1;
                }
                None if ticked => wrong.push(format!("{of}: a tick was taken before its time: {old} {new}")),
                None => {}
            }
            match held {
                Some(until) if until > started => {
                    wrong.push(format!("{of}: it was taken from somebody who had it: {old} {new}"))
                }
                Some(_) => figures.taken_over += 1,
                None if asked => figures.requests += 1,
                None if due.is_some() => {}
                None if at(old, "retry_at").is_some() => figures.retries += 1,
                None => wrong.push(format!("{of}: it was taken, and nothing was to do: {old} {new}")),
            }
            let turns = figures.turns.entry(text(new, "business_id").to_owned()).or_default();
            turns.0 += 1;
            turns.1 = turns.1.max(started.duration_since(ready));
        }
        self.check_runs(&mut figures, &mut wrong);
        (figures, wrong)
    }

    /// Each run has the next fence, and once it has begun no run before it writes.
    fn check_runs(&self, figures: &mut Figures, wrong: &mut Vec<String>) {
        let mut newest: BTreeMap<&str, (i64, &str)> = BTreeMap::new();
        let of_mappings = self.0.iter().filter(|told| told.of == "runs" && told.new["mapping_id"].is_string());
        for Told { old, new, .. } in of_mappings {
            let (mapping, run) = (text(new, "mapping_id"), (number(new, "fence"), text(new, "id")));
            if old.is_null() {
                let before = newest.insert(mapping, run).map_or(0, |(fence, _)| fence);
                if before + 1 != run.0 {
                    wrong.push(format!("{mapping}: after the fence {before} a run began with {}", run.0));
                }
            } else if old["state"] == new["state"] {
                figures.steps += 1;
                if newest[mapping] != run {
                    wrong.push(format!("{mapping}: the run {run:?} wrote after {:?} had begun", newest[mapping]));
                }
            }
        }
    }
}

fn text<'v>(row: &'v Value, column: &str) -> &'v str {
    row[column].as_str().unwrap_or_default()
}

fn number(row: &Value, column: &str) -> i64 {
    row[column].as_i64().unwrap()
}

fn at(row: &Value, column: &str) -> Option<Timestamp> {
    row[column].as_str().map(|at| at.parse().unwrap())
}
