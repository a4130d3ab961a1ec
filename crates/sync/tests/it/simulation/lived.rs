//! A life from its beginning to its end.

use super::life::{Act, Life, Run};
use super::promises::Broken;
use super::stage::Stage;
use crate::database::Db;

/// What became of a life: the database, to be used again, or the promise that was broken and what had happened.
pub(super) type Lived = Result<Db, (Broken, Vec<String>)>;

/// Lives a life.
pub(super) async fn live(db: Db, life: &Life, aloud: bool) -> Lived {
    let mut stage = Stage::set(db, life, aloud).await;
    let line = format!("{life:?}");
    stage.note(line.split_once(", acts:").map_or(line.clone(), |(head, _)| head.to_owned()));
    let outcome = stage.live().await;
    match outcome {
        Ok(()) => Ok(stage.strike().await),
        Err(broken) => Err((broken, stage.log)),
    }
}

impl Stage {
    async fn live(&mut self) -> Result<(), Broken> {
        for act in &self.life.acts.clone() {
            match act {
                Act::Run(run) => {
                    self.run_and_look(run).await?;
                }
                act => self.act(act).await,
            }
        }
        self.end().await
    }

    /// A run, and whether all promises are kept after it. Answers whether it ended well.
    async fn run_and_look(&mut self, run: &Run) -> Result<bool, Broken> {
        let before = self.truth().await.0;
        let walking = self.mapping().await.standing.progress.walk.is_some();
        let undisturbed = !self.ails && run.failpoint.is_none() && run.meanwhile.is_empty();
        // Who hides a record in the middle of the comparison has the last word.
        let hidden_before = self.hidden.clone();
        let ending = self.run(run).await;
        self.note(format!("{run:?}"));
        let how = match &ending {
            super::runs::Ending::Killed => "killed".to_owned(),
            super::runs::Ending::Ended(outcome) => match &**outcome {
                Ok(report) => {
                    let run = &report.run;
                    let rows = (run.rows_read, run.inserted, run.updated, run.deleted, run.drift_found);
                    format!("{rows:?} through {:?} verified {:?}", report.checkpoint, report.verified_through)
                }
                Err(error) if undisturbed && !Self::is_fair(error) => {
                    return Err(format!("nothing stood in its way, and yet the run failed: {error}"));
                }
                Err(error) => format!("failed: {error}"),
            },
        };
        self.note(format!("  → {how}"));
        if let Some(broken) = self.broken.take() {
            return Err(format!("when another run had overtaken this one: {broken}"));
        }
        if ending.is_ok() && run.compare && !walking && run.meanwhile.is_empty() {
            self.hidden.retain(|id| !hidden_before.contains(id) || self.unseen.contains(id));
        }
        self.keep_promises(Some(&before).filter(|_| ending.is_ok())).await?;
        Ok(ending.is_ok())
    }

    /// All that was wrong is over, some time has passed: in a few runs the table is as the org.
    async fn end(&mut self) -> Result<(), Broken> {
        self.note("the end".to_owned());
        self.act(&Act::Calm).await;
        self.world.control(reqwest::Method::DELETE, "permissions", serde_json::json!({})).await;
        self.unseen.clear();
        self.act(&Act::Skew(0)).await;
        while !self.open.is_empty() {
            let act = if self.open.len().is_multiple_of(3) { Act::RollBack(0) } else { Act::Commit(0) };
            self.act(&act).await;
        }
        self.pass(1_200).await;
        let last = Run {
            step_rows: 1_000,
            step_bytes: 8 << 20,
            bulk: self.life.seed.is_multiple_of(2),
            verify: true,
            compare: false,
            refresh: false,
            describe: true,
            reload: false,
            allow_gone: true,
            failpoint: None,
            meanwhile: Vec::new(),
        };
        // A job that takes its time may want another run.
        if !self.run_and_look(&last).await? {
            self.run_and_look(&last).await?;
        }
        if !self.odd_parents && self.now < 15 * 86_400 {
            self.parents_followed().await?;
        }
        let last = Run { compare: true, refresh: true, describe: false, ..last };
        if !self.run_and_look(&last).await? || self.keep_all_promises().await.is_err() {
            self.run_and_look(&last).await?;
            self.keep_all_promises().await?;
        }
        let report = self.run(&last).await;
        let super::runs::Ending::Ended(outcome) = report else { return Err("killed by nobody".to_owned()) };
        match *outcome {
            Ok(report) if (report.run.inserted, report.run.updated, report.run.drift_found) == (0, 0, 0) => Ok(()),
            Ok(report) => Err(format!("once more, nothing has changed, and yet: {:?}", report.run)),
            Err(error) => Err(format!("the last run of all failed: {error}")),
        }
    }
}
