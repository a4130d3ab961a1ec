//! How many rows a step has: as many as the database writes in the time that a step should take.

use std::time::Duration;

use super::EngineCare;

/// Records of a page: the least that a step has, because less is not read at once either.
const PAGE: usize = 2_000;

/// It. A run begins with as many as are allowed, and learns from each step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portion(usize);

impl Portion {
    pub(super) fn of(care: &EngineCare) -> Self {
        Self(care.step_rows)
    }

    pub(super) fn rows(self) -> usize {
        self.0
    }

    /// Says how long a step has taken. A step that took too long halves the next one at least by as much as it was too long;
    /// one that was quick lets the next have twice as many.
    pub(super) fn took(&mut self, rows: usize, took: Duration, care: &EngineCare) {
        let is_too_long = took > care.step_time;
        // Of a few rows most of the time is the transaction's own.
        if rows < PAGE.min(self.0) && !is_too_long {
            return;
        }
        let in_time = care.step_time.as_secs_f64() / took.as_secs_f64().max(1e-6) * rows as f64;
        let most = care.step_rows.min(self.0.saturating_mul(2));
        self.0 = (in_time as usize).clamp(PAGE.min(most), most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(steps: &[(usize, u64)]) -> usize {
        let care = EngineCare { step_rows: 20_000, step_time: Duration::from_secs(2), ..EngineCare::default() };
        let mut portion = Portion::of(&care);
        for (rows, milliseconds) in steps {
            portion.took(*rows, Duration::from_millis(*milliseconds), &care);
        }
        portion.rows()
    }

    #[test]
    fn a_quick_database_gets_all_that_is_allowed() {
        assert_eq!(after(&[]), 20_000);
        assert_eq!(after(&[(20_000, 300), (20_000, 0)]), 20_000);
    }

    #[test]
    fn a_slow_one_gets_what_it_writes_in_time_and_never_less_than_a_page() {
        assert_eq!(after(&[(20_000, 8_000)]), 5_000);
        assert_eq!(after(&[(20_000, 60_000)]), 2_000);
    }

    #[test]
    fn one_that_recovers_gets_more_again_by_and_by() {
        let slow = (20_000, 20_000);
        assert_eq!(after(&[slow, (2_000, 20)]), 4_000);
        assert_eq!(after(&[slow, (2_000, 20), (4_000, 20), (8_000, 20), (16_000, 20)]), 20_000);
    }

    #[test]
    fn a_few_rows_tell_nothing_unless_even_they_took_too_long() {
        assert_eq!(after(&[(3, 900)]), 20_000);
        assert_eq!(after(&[(3, 9_000)]), 2_000);
    }
}
