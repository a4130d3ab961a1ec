//! The parts that the tests need besides Rust: other peoples' programs, and recorded files.

mod apt;
mod chromium;
mod deploy;
mod node;
pub(crate) mod python;
mod servers;
mod sf;

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub(crate) use node::bench_modules;
pub(crate) use python::bench_python;

use crate::steps::say;

/// Something that the tests need besides Rust, which the developer may choose to do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// Node 22 with jsforce and playwright-core.
    Node,
    /// A virtual environment with simple-salesforce.
    Python,
    /// The browser that opens Tieline's page.
    Chromium,
    /// Redis.
    Redis,
    /// PostgreSQL.
    Postgres,
    /// PgBouncer, a pool of connections in front of PostgreSQL.
    Pgbouncer,
    /// nginx, a reverse proxy in front of the service.
    Proxy,
    /// A keychain of the kind that Linux desktops have.
    Keychain,
    /// The Salesforce CLI.
    Sf,
    /// OpenBao, for keys that never leave it.
    Openbao,
    /// moto, which stands for AWS.
    Moto,
    /// Schemathesis, which tests a service against its OpenAPI document.
    Schemathesis,
    /// oidc-provider, which people sign in with.
    Oidc,
    /// SAM, CDK and linters, for what is deployed to AWS.
    Deploy,
    /// Hyper, which answers queries to Data Cloud.
    Hyper,
    /// The recorded files next to the repository.
    Fixtures,
}

impl Part {
    /// Every part, in the order in which they are made ready.
    pub(crate) const ALL: [Self; 16] = [
        Self::Node,
        Self::Python,
        Self::Chromium,
        Self::Redis,
        Self::Postgres,
        Self::Pgbouncer,
        Self::Proxy,
        Self::Keychain,
        Self::Sf,
        Self::Openbao,
        Self::Moto,
        Self::Schemathesis,
        Self::Oidc,
        Self::Deploy,
        Self::Hyper,
        Self::Fixtures,
    ];

    /// The part's name on the command line and in `TIELINE_TEST_SKIP`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Python => "python",
            Self::Chromium => "chromium",
            Self::Redis => "redis",
            Self::Postgres => "postgres",
            Self::Pgbouncer => "pgbouncer",
            Self::Proxy => "proxy",
            Self::Keychain => "keychain",
            Self::Sf => "sf",
            Self::Openbao => "openbao",
            Self::Moto => "moto",
            Self::Schemathesis => "schemathesis",
            Self::Oidc => "oidc",
            Self::Deploy => "deploy",
            Self::Hyper => "hyper",
            Self::Fixtures => "fixtures",
        }
    }

    /// The names of all parts, for a message.
    pub(crate) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What came of looking for a part.
pub(crate) enum Found {
    /// It is ready, and these variables tell the tests where.
    Here(Vec<(&'static str, OsString)>),
    /// It is not there, for this reason, and no command could install it.
    CannotBeInstalled(String),
}

/// Makes one part ready, installing it if it is missing.
pub(crate) fn find_or_install(part: Part, root: &Path) -> Result<Found> {
    match part {
        Part::Node => node::find_or_install(root).map(Found::Here),
        Part::Python => python::find_or_install(root).map(Found::Here),
        Part::Chromium => chromium::find_or_install(root).map(Found::Here),
        Part::Redis => servers::redis(root).map(Found::Here),
        Part::Postgres => servers::postgres(root).map(Found::Here),
        Part::Pgbouncer => servers::pgbouncer(root).map(Found::Here),
        Part::Proxy => servers::proxy(root).map(Found::Here),
        Part::Keychain => servers::keychain(root).map(Found::Here),
        Part::Sf => sf::find_or_install(root).map(Found::Here),
        Part::Openbao => python::openbao(root).map(Found::Here),
        Part::Moto => python::moto(root).map(Found::Here),
        Part::Schemathesis => python::schemathesis(root).map(Found::Here),
        Part::Oidc => node::oidc(root).map(Found::Here),
        Part::Deploy => deploy::find_or_install(root).map(Found::Here),
        Part::Hyper => python::hyper(root).map(Found::Here),
        Part::Fixtures => Ok(find_fixtures(root)),
    }
}

/// The folder for everything that is installed for the tests; `cargo clean` removes it too.
pub(crate) fn parts_folder(root: &Path) -> PathBuf {
    root.join("target/parts")
}

/// Looks for the recorded files next to the repository.
fn find_fixtures(root: &Path) -> Found {
    let folder = root.parent().unwrap_or(root).join("shared/fixtures");
    if !folder.is_dir() {
        return Found::CannotBeInstalled(format!("there is no folder {}", folder.display()));
    }
    say(&format!("fixtures: found in {}", folder.display()));
    Found::Here(vec![("TIELINE_TEST_FIXTURES", folder.into_os_string())])
}

/// Whether the stamp in a part's folder names exactly the wanted versions.
fn is_stamped(folder: &Path, wanted: &str) -> bool {
    fs::read_to_string(folder.join("stamp")).is_ok_and(|stamp| stamp == wanted)
}

/// Writes the stamp, which is the last step of an install.
fn write_stamp(folder: &Path, wanted: &str) -> Result<()> {
    let stamp = folder.join("stamp");
    fs::write(&stamp, wanted).with_context(|| format!("could not write {}", stamp.display()))
}

/// Makes a part's folder new and empty, so that nothing of an older or broken install stays.
fn empty_folder(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("could not remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("could not make the folder {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_holds_for_its_versions_only() {
        let folder = std::env::temp_dir().join(format!("tieline-xtask-stamp-{}", std::process::id()));
        empty_folder(&folder).unwrap();
        assert!(!is_stamped(&folder, "a 1"));
        write_stamp(&folder, "a 1").unwrap();
        assert!(is_stamped(&folder, "a 1"));
        assert!(!is_stamped(&folder, "a 2"));
        empty_folder(&folder).unwrap();
        assert!(!is_stamped(&folder, "a 1"));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn missing_fixtures_are_no_error() {
        let found = find_fixtures(Path::new("/nowhere/tieline"));
        assert!(matches!(found, Found::CannotBeInstalled(reason) if reason.contains("/nowhere/shared/fixtures")));
    }
}
