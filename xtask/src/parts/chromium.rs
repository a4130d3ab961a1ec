//! The part `chromium`: Debian's browser without a window, and fonts so that its pictures of pages can be read.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result};

use super::apt;
use crate::steps::{answer, say, say_loudly};

/// The browser without the part that draws windows. The whole one draws its own even where nobody sees it: on two processors
/// without a graphics card that takes most of one of them while a page loads.
const SHELL: &str = "/usr/bin/chromium-headless-shell";

/// The whole browser, which does as well.
const WHOLE: &str = "/usr/bin/chromium";

/// Fonts for the scripts and pictures that the tests write.
const FONTS: [&str; 3] = ["fonts-noto-core", "fonts-noto-color-emoji", "fonts-noto-cjk"];

/// Makes the browser ready.
pub(super) fn find_or_install(root: &Path) -> Result<Vec<(&'static str, OsString)>> {
    let mut missing = apt::missing(&FONTS);
    if version(SHELL).is_none() {
        missing.push("chromium-headless-shell");
    }
    if !missing.is_empty()
        && let Err(error) = apt::install(root, &missing)
    {
        // Without the fonts the page works all the same: only its pictures have empty boxes in them.
        if version(SHELL).or_else(|| version(WHOLE)).is_none() {
            return Err(error);
        }
        say_loudly(&format!("chromium: goes on without {}: {error:#}", missing.join(" ")));
    }
    let (browser, version) =
        [SHELL, WHOLE].into_iter().find_map(|browser| Some((browser, version(browser)?))).with_context(|| {
            format!(
                "{SHELL} does not run\n\
                 hint: see what `{SHELL} --version` says, or `apt-get install --reinstall chromium-headless-shell`"
            )
        })?;
    say(&format!("chromium: ready ({browser}, {version})"));
    Ok(vec![("TIELINE_TEST_CHROMIUM", OsString::from(browser))])
}

/// What a browser calls itself, if it runs.
fn version(browser: &str) -> Option<String> {
    answer(browser, &["--version"])
}
