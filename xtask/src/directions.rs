//! Which crate may depend on which: the drawing in ARCHITECTURE.md, held by a test.

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    /// Folder under `crates`, and all that it may use of our own crates. `emulator` stands for Salesforce: it must
    /// be able to disagree with us.
    const ALLOWED: [(&str, &[&str]); 10] = [
        ("auth", &[]),
        ("client", &["auth"]),
        ("datacloud", &["auth"]),
        ("store", &["auth"]),
        ("sync", &["auth", "client", "store"]),
        ("server", &["auth", "client", "store", "sync"]),
        ("lambda", &["auth", "client"]),
        ("cli", &["auth", "client", "datacloud", "store", "sync", "server", "lambda", "emulator"]),
        ("contract", &["auth", "client"]),
        ("emulator", &[]),
    ];

    #[test]
    fn crates_depend_on_each_other_only_as_drawn() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
        let folders: BTreeSet<String> =
            std::fs::read_dir(&crates).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(folders, ALLOWED.iter().map(|(folder, _)| (*folder).to_owned()).collect(), "draw the new crate");
        for (folder, allowed) in ALLOWED {
            let manifest = std::fs::read_to_string(crates.join(folder).join("Cargo.toml")).unwrap();
            // What only tests use may point anywhere: tests of `client` run against `emulator`.
            let dependencies = manifest.split("[dev-dependencies]").next().unwrap();
            for line in dependencies.lines() {
                if let Some(used) = line.strip_prefix("tieline-").and_then(|rest| rest.split(['.', ' ', '=']).next()) {
                    assert!(allowed.contains(&used), "crates/{folder} must not depend on crates/{used}");
                }
            }
        }
        let emulator = std::fs::read_to_string(crates.join("emulator/Cargo.toml")).unwrap();
        assert!(!emulator.lines().any(|line| line.starts_with("tieline-")), "not even in the emulator's tests");
    }
}
