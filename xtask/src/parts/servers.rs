//! The parts `redis`, `postgres`, `pgbouncer`, `proxy` and `keychain`: servers from Debian. Each test starts its own, in a folder of its own
//! and on a port or socket of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::apt;
use crate::steps::say;

/// Redis, for the token store.
pub(super) fn redis(root: &Path) -> Result<Vec<(&'static str, OsString)>> {
    let server = PathBuf::from("/usr/bin/redis-server");
    installed(root, "redis", &["redis-server"], &server)?;
    Ok(vec![("TIELINE_TEST_REDIS", server.into_os_string())])
}

/// PostgreSQL: the folder with `initdb` and `pg_ctl`, of the newest version that is installed.
pub(super) fn postgres(root: &Path) -> Result<Vec<(&'static str, OsString)>> {
    if newest_postgres().is_none() {
        apt::install(root, &["postgresql"])?;
    }
    let folder = newest_postgres().context(
        "PostgreSQL was installed, and /usr/lib/postgresql has no initdb\nhint: apt-get install --reinstall postgresql",
    )?;
    say(&format!("postgres: ready ({})", folder.display()));
    Ok(vec![("TIELINE_TEST_POSTGRES", folder.into_os_string())])
}

/// PgBouncer, for what must work where a connection belongs to nobody for longer than a transaction.
pub(super) fn pgbouncer(root: &Path) -> Result<Vec<(&'static str, OsString)>> {
    let program = PathBuf::from("/usr/sbin/pgbouncer");
    installed(root, "pgbouncer", &["pgbouncer"], &program)?;
    Ok(vec![("TIELINE_TEST_PGBOUNCER", program.into_os_string())])
}

/// nginx, which stands for the reverse proxy that a service runs behind.
pub(super) fn proxy(root: &Path) -> Result<Vec<(&'static str, OsString)>> {
    let program = PathBuf::from("/usr/sbin/nginx");
    installed(root, "proxy", &["nginx"], &program)?;
    Ok(vec![("TIELINE_TEST_NGINX", program.into_os_string())])
}

/// A Secret Service and a session bus to reach it by.
pub(super) fn keychain(root: &Path) -> Result<Vec<(&'static str, OsString)>> {
    let daemon = PathBuf::from("/usr/bin/gnome-keyring-daemon");
    installed(root, "keychain", &["gnome-keyring", "dbus"], &daemon)?;
    Ok(vec![("TIELINE_TEST_KEYCHAIN", daemon.into_os_string())])
}

/// Installs the packages where the program is not there.
fn installed(root: &Path, part: &str, packages: &[&str], program: &Path) -> Result<()> {
    if !program.exists() || !apt::missing(packages).is_empty() {
        apt::install(root, packages)?;
    }
    anyhow::ensure!(
        program.exists(),
        "{} was installed, and {} is not there\nhint: apt-get install --reinstall {}",
        packages.join(" "),
        program.display(),
        packages.join(" ")
    );
    say(&format!("{part}: ready ({})", program.display()));
    Ok(())
}

fn newest_postgres() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let number = |folder: &PathBuf| folder.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse::<u32>().ok());
    let newest = versions.filter_map(|entry| Some(entry.ok()?.path())).max_by_key(number)?;
    Some(newest.join("bin")).filter(|bin| bin.join("initdb").exists())
}
