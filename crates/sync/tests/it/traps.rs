//! Each trap of the list has its tests, and the list in docs/sync.md names tests that are there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What the sync of one direction must not fall into; the others belong to writing back and to change events.
fn traps() -> impl Iterator<Item = u32> {
    (1..=30).chain(37..=43)
}

/// Names of functions in sources of Rust below a folder.
fn functions(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let after = text.split("fn ").skip(1);
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            names.extend(after.filter_map(|rest| rest.split(|c| !is_name(c)).next().map(str::to_owned)));
        }
    }
}

/// The number in a test's name: `t23_…`, `s33_t43_…`.
fn number(name: &str) -> Option<u32> {
    name.split('_').take(2).find_map(|part| part.strip_prefix('t')?.parse().ok())
}

#[test]
fn each_trap_has_its_tests_and_the_list_names_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let mut names = BTreeSet::new();
    functions(&root.join("crates"), &mut names);
    let listed: BTreeMap<u32, Vec<&str>> = include_str!("../../../../docs/sync.md")
        .lines()
        .filter_map(|line| {
            let (trap, tests) = line.strip_prefix("| T")?.split_once(' ')?;
            Some((trap.parse().ok()?, tests.split('`').skip(1).step_by(2).collect()))
        })
        .collect();
    assert_eq!(listed.keys().copied().collect::<Vec<_>>(), traps().collect::<Vec<_>>());
    for (trap, tests) in &listed {
        for test in tests {
            assert!(names.contains(*test), "T{trap}: there is no test `{test}`");
        }
        assert!(tests.iter().any(|test| number(test) == Some(*trap)), "T{trap}: none of its tests has its number");
    }
}
