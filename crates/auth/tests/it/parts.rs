//! Real parts that a test needs and `cargo xtask test` provides.

use std::path::PathBuf;

/// The file or folder that a variable names. `None` where the part was skipped on purpose, said loudly.
///
/// # Panics
/// When the part is neither there nor skipped: a suite must not pass because something is missing.
pub(crate) fn part(name: &str, variable: &str) -> Option<PathBuf> {
    if std::env::var("TIELINE_TEST_SKIP").is_ok_and(|skip| skip.split(',').any(|s| s.trim() == name)) {
        eprintln!("SKIPPED: this test needs `{name}`, which was skipped");
        return None;
    }
    let path = std::env::var_os(variable).map(PathBuf::from);
    let path = path.unwrap_or_else(|| {
        panic!("this test needs `{name}` ({variable}): run it by `cargo xtask test`, which installs it")
    });
    assert!(path.exists(), "{variable} names {}, which is not there", path.display());
    Some(path)
}
