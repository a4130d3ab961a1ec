//! The least of a life that still breaks a promise.

use super::life::Life;
use super::{POSTGRES, once};

/// Lives that are tried at most.
const TRIES: usize = 120;

/// Leaves out acts, many at a time and then one by one, as long as the life fails without them.
pub(super) async fn least(life: &Life) -> Life {
    let (mut least, mut tries) = (life.clone(), 0);
    let mut db = None;
    let mut size = least.acts.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < least.acts.len() && tries < TRIES {
            let mut shorter = least.clone();
            shorter.acts.drain(at..(at + size).min(shorter.acts.len()));
            tries += 1;
            if once(&mut db, life.seed.is_multiple_of(POSTGRES), &shorter, false).await.is_err() {
                least = shorter;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    least
}
