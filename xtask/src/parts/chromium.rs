//! The part `chromium`: Debian's browser, and fonts so that its pictures of pages can be read.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result};

use super::apt;
use crate::steps::{answer, say, say_loudly};

/// Where Debian puts the browser.
const BROWSER: &str = "/usr/bin/chromium";

/// Fonts for the scripts and pictures that the tests write.
const FONTS: [&str; 3] = ["fonts-noto-core", "fonts-noto-color-emoji", "fonts-noto-cjk"];

/// Makes the browser ready.
pub(super) fn find_or_install(root: &Path) -> Result<Vec<(&'static str, OsString)>> {
    let mut missing = apt::missing(&FONTS);
    if browser_version().is_some() {
        // Without the fonts the page works all the same: only its pictures have empty boxes in them.
        if !missing.is_empty()
            && let Err(error) = apt::install(root, &missing)
        {
            say_loudly(&format!("chromium: goes on without fonts: {error:#}"));
        }
    } else {
        missing.push("chromium");
        apt::install(root, &missing)?;
    }
    let version = browser_version().with_context(|| {
        format!("{BROWSER} does not run\nhint: see what `{BROWSER} --version` says, or `apt-get install --reinstall chromium`")
    })?;
    say(&format!("chromium: ready ({version})"));
    Ok(vec![("TIELINE_TEST_CHROMIUM", OsString::from(BROWSER))])
}

/// What the browser calls itself, if it runs.
fn browser_version() -> Option<String> {
    answer(BROWSER, &["--version"])
}
