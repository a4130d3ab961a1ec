//! Several writes that are kept or given up together.

use std::collections::HashMap;

use super::Org;
use crate::api_error::ApiError;
use crate::records::Write;

/// What the org's memory was like when the transaction began; SQLite remembers the rows.
pub(super) struct Transaction {
    next_number: HashMap<String, u64>,
    records_written: u64,
    emails: usize,
    purged: usize,
    /// What was written, to be made visible later, if a commit delay is set.
    pub(super) writes: Vec<Write>,
}

impl Org {
    /// Begins a transaction, inside of another one if need be.
    pub(crate) fn begin(&mut self) -> Result<(), ApiError> {
        self.db.execute_batch(&format!("SAVEPOINT level{}", self.transactions.len()))?;
        self.transactions.push(Transaction {
            next_number: self.next_number.clone(),
            records_written: self.ledger.records_written,
            emails: self.ledger.emails.len(),
            purged: self.purged.len(),
            writes: Vec::new(),
        });
        Ok(())
    }

    /// Keeps what was written since `begin`.
    pub(crate) fn commit(&mut self) -> Result<(), ApiError> {
        let Some(done) = self.transactions.pop() else { return Ok(()) };
        let level = self.transactions.len();
        if let Some(outer) = self.transactions.last_mut() {
            outer.writes.extend(done.writes);
        } else if !done.writes.is_empty() {
            // Seen by the transaction itself, and by others when the delay is over.
            self.db.execute_batch(&format!("ROLLBACK TO level{level}"))?;
            self.purged.truncate(done.purged);
            let at = self.now() + self.commit_delay;
            self.pending.extend(done.writes.into_iter().map(|write| (at, write)));
        }
        self.db.execute_batch(&format!("RELEASE level{level}"))?;
        Ok(())
    }

    /// Gives up what was written since `begin`: rows, numbers, mails.
    pub(crate) fn roll_back(&mut self) -> Result<(), ApiError> {
        let Some(given_up) = self.transactions.pop() else { return Ok(()) };
        let level = self.transactions.len();
        self.db.execute_batch(&format!("ROLLBACK TO level{level}; RELEASE level{level}"))?;
        self.next_number = given_up.next_number;
        self.ledger.records_written = given_up.records_written;
        self.ledger.emails.truncate(given_up.emails);
        self.purged.truncate(given_up.purged);
        Ok(())
    }

    /// Ends what a call left open that broke down half-way.
    pub(crate) fn abandon_transactions(&mut self) {
        while !self.transactions.is_empty() {
            if let Err(error) = self.roll_back() {
                tracing::error!(?error, "a transaction could not be rolled back");
            }
        }
    }
}
