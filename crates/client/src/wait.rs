//! Waiting for what the org works at.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::ClientError;

/// How to wait for a job, a deploy or a retrieve: at first it is looked at often, then less and less.
///
/// ```
/// use std::time::Duration;
/// use tieline_client::Wait;
///
/// let ten_minutes = Wait { at_most: Some(Duration::from_secs(600)), ..Wait::default() };
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wait {
    /// Between the first two looks.
    pub first: Duration,
    /// Between looks at most. Each wait is half as long again as the one before.
    pub longest: Duration,
    /// For how long in all. Without a bound it is waited until the job has ended.
    pub at_most: Option<Duration>,
}

impl Default for Wait {
    fn default() -> Self {
        Self { first: Duration::from_millis(500), longest: Duration::from_secs(20), at_most: None }
    }
}

/// A wait under way.
#[derive(Debug)]
pub(crate) struct Waiting {
    begun: Instant,
    pause: Duration,
    wait: Wait,
}

impl Wait {
    pub(crate) fn begin(&self) -> Waiting {
        Waiting { begun: Instant::now(), pause: self.first, wait: *self }
    }
}

impl Waiting {
    /// Waits until the next look, or says that the time is over and what was seen last.
    pub(crate) async fn pause(&mut self, org: &str, job: &str, state: &str) -> Result<(), ClientError> {
        let left = self.wait.at_most.map(|limit| limit.saturating_sub(self.begun.elapsed()));
        if left == Some(Duration::ZERO) {
            let (org, job, state) = (org.to_owned(), job.to_owned(), state.to_owned());
            return Err(ClientError::StillRunning { org, job, state, waited: self.begun.elapsed() });
        }
        tokio::time::sleep(left.map_or(self.pause, |left| self.pause.min(left))).await;
        self.pause = self.pause.mul_f64(1.5).min(self.wait.longest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_grow_up_to_the_longest_and_end_with_the_time() {
        let wait = Wait {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(3),
            at_most: Some(Duration::from_secs(12)),
        };
        let (mut waiting, mut at) = (wait.begin(), Vec::new());
        let begun = Instant::now();
        let error = loop {
            match waiting.pause("acme", "750", "InProgress").await {
                Ok(()) => at.push(begun.elapsed().as_millis()),
                Err(error) => break error,
            }
        };
        assert_eq!(at, [1_000, 2_500, 4_750, 7_750, 10_750, 12_000]);
        assert!(matches!(error, ClientError::StillRunning { waited, .. } if waited == Duration::from_secs(12)));
    }
}
