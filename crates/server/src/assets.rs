//! The files that pages load: compiled in, and nobody is asked who they are.
//!
//! Their addresses tell what is in them (`/assets/page.css?v=…`). A browser keeps what it got by such an address for as long
//! as it likes, and asks anew when a new version of the program has another address for it: no page is shown in a style that
//! was kept from another version, and from the second page on there is nothing to wait for but the page.

use std::sync::LazyLock;

use aws_lc_rs::digest;
use axum::extract::RawQuery;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A file.
pub(crate) struct Asset {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
    /// What tells this text from another one.
    version: LazyLock<String>,
}

macro_rules! asset {
    ($file:literal, $kind:literal) => {{
        const TEXT: &str = include_str!(concat!("../assets/", $file));
        Asset {
            path: concat!("/assets/", $file),
            kind: concat!($kind, "; charset=utf-8"),
            text: TEXT,
            version: LazyLock::new(|| version(TEXT)),
        }
    }};
}

pub(crate) static PAGE_CSS: Asset = asset!("page.css", "text/css");
pub(crate) static LIVE_JS: Asset = asset!("live.js", "text/javascript");
pub(crate) static JOIN_JS: Asset = asset!("join.js", "text/javascript");

/// All of them.
pub(crate) static ALL: [&Asset; 3] = [&PAGE_CSS, &LIVE_JS, &JOIN_JS];

fn version(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    URL_SAFE_NO_PAD.encode(&digest.as_ref()[..9])
}

impl Asset {
    /// Where it is served.
    pub(crate) fn path(&self) -> &'static str {
        self.path
    }

    /// What a page asks for it by.
    pub(crate) fn address(&self) -> String {
        format!("{}?v={}", self.path, *self.version)
    }

    /// The file. By the address of another version, which a page of another node may have, it is not kept: it is not what
    /// that address means.
    pub(crate) async fn serve(&'static self, RawQuery(query): RawQuery) -> Response {
        let kept = match query.as_deref().and_then(|query| query.strip_prefix("v=")) {
            Some(version) if version == *self.version => "public, max-age=31536000, immutable",
            Some(_) => "no-store",
            None => "max-age=300",
        };
        ([(CONTENT_TYPE, self.kind), (CACHE_CONTROL, kept)], self.text).into_response()
    }
}
