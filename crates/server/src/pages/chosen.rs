//! What is chosen from a list of several pages: each page sends along what was chosen on those before it.

use std::collections::HashSet;

/// All that is chosen, once each, in the order in which it was: of what was chosen before and is shown on this page only what
/// still is. Names are words without white space.
pub(crate) fn all_chosen(before: &str, shown: &str, here: &[String]) -> Vec<String> {
    let shown: HashSet<&str> = shown.split_whitespace().collect();
    let still: HashSet<&str> = here.iter().map(String::as_str).collect();
    let before = before.split_whitespace().filter(|name| !shown.contains(name) || still.contains(name));
    let mut seen = HashSet::new();
    let all = before.chain(here.iter().map(String::as_str)).filter(|name| seen.insert(*name));
    all.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::all_chosen;

    #[test]
    fn what_was_chosen_on_other_pages_stays_and_what_is_taken_back_goes() {
        let here = ["e".to_owned(), "c".to_owned()];
        assert_eq!(all_chosen("z b c", "b c d e", &here), ["z", "c", "e"]);
    }
}
