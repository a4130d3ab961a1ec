//! What comes from outside, in every form that chance makes of it.
//!
//! Each target is a function of bytes. It is run for `TIELINE_FUZZ_SECONDS` (2 unless told otherwise) on seeds that are
//! changed at random; when it fails it names a seed, and `TIELINE_FUZZ_SEED=…` begins with that.

mod answers;
mod csv;
mod found;
mod locators;
mod soql;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// For how long.
fn time() -> Duration {
    Duration::from_secs(setting("TIELINE_FUZZ_SECONDS").unwrap_or(2))
}

/// Where to begin.
fn first_seed() -> u64 {
    setting("TIELINE_FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..))
}

/// Runs a target on changed seeds until the time is over.
fn run(name: &str, seeds: &[&[u8]], target: impl Fn(&[u8])) {
    let begun = Instant::now();
    seeds.iter().for_each(|seed| target(seed));
    let mut seed = first_seed();
    let mut count = 0;
    while count == 0 || begun.elapsed() < time() {
        let input = changed(&mut fastrand::Rng::with_seed(seed), seeds);
        if let Err(failure) = catch_unwind(AssertUnwindSafe(|| target(&input))) {
            let said = failure.downcast_ref::<String>().cloned();
            let said =
                said.or_else(|| failure.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
            panic!("{name}: TIELINE_FUZZ_SEED={seed}: \"{}\": {said}", input.escape_ascii());
        }
        seed = seed.wrapping_add(1);
        count += 1;
    }
    assert!(count > 10 || time().is_zero(), "{name} is too slow: {count} runs");
}

/// One of the seeds, or two of them, with some changes.
fn changed(rng: &mut fastrand::Rng, seeds: &[&[u8]]) -> Vec<u8> {
    let pick = |rng: &mut fastrand::Rng| seeds[rng.usize(..seeds.len())];
    let mut bytes = pick(rng).to_vec();
    for _ in 0..rng.usize(1..9) {
        let at = rng.usize(..=bytes.len());
        let to = (at + rng.usize(..8)).min(bytes.len());
        match rng.u8(..9) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..to)),
            2 => bytes.insert(at, rng.u8(..)),
            3 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
            4 => {
                let copy = bytes[at..to].to_vec();
                bytes.splice(at..at, copy);
            }
            5 => {
                let other = pick(rng);
                let from = rng.usize(..=other.len());
                bytes.splice(at..at, other[from..(from + rng.usize(..16)).min(other.len())].iter().copied());
            }
            6 => {
                const TOKENS: [&[u8]; 16] = [
                    b"\"",
                    b"\"\"",
                    b"'",
                    b"\\",
                    b"\\u0041",
                    b"\n",
                    b"\r\n",
                    b"\xef\xbb\xbf",
                    b"\xef\xbc\xa1",
                    b",",
                    b":a",
                    b"%",
                    b"_",
                    b"\0",
                    "é\u{85}".as_bytes(),
                    "\u{10ffff}".as_bytes(),
                ];
                bytes.splice(at..at, TOKENS[rng.usize(..TOKENS.len())].iter().copied());
            }
            _ => {
                let c = rng.char(..);
                bytes.splice(at..at, c.encode_utf8(&mut [0; 4]).bytes());
            }
        }
    }
    bytes
}

#[test]
fn a_failure_names_a_seed_that_fails_again() {
    let target = |input: &[u8]| assert!(!input.contains(&b'%'), "percent");
    let failure = catch_unwind(|| run("own", &[b"abc"], target)).unwrap_err();
    let said = failure.downcast_ref::<String>().unwrap();
    let seed = said.split("TIELINE_FUZZ_SEED=").nth(1).unwrap().split(':').next().unwrap().parse().unwrap();
    assert!(changed(&mut fastrand::Rng::with_seed(seed), &[b"abc"]).contains(&b'%'), "{said}");
}
