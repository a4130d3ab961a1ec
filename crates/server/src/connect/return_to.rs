//! Where a browser goes once it has logged in: a place of ours, and never another site's.

use url::Url;

/// The path with query and fragment, if it leads to a page of this origin; else the start.
///
/// Everything is resolved as a browser would resolve it: `//evil.example`, `/\evil.example` and `/\t/evil.example` all
/// lead to another host.
pub(crate) fn checked(wanted: &str, public_url: &Url) -> String {
    let start = || "/".to_owned();
    if wanted.len() > 2_000 || !wanted.starts_with('/') || wanted.chars().any(char::is_control) {
        return start();
    }
    let Ok(resolved) = public_url.join(wanted) else { return start() };
    if resolved.origin() != public_url.origin() || !resolved.username().is_empty() {
        return start();
    }
    let path = &resolved[url::Position::BeforePath..];
    // `/.//evil.example` is of this origin, and its path alone is not.
    if path.starts_with("//") || path.starts_with("/\\") { start() } else { path.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_are_gone_back_to() {
        let ours: Url = "https://app.example.com/".parse().unwrap();
        for good in ["/", "/integrations?tab=logs#top", "/a%2F%2Fb", "/a/../b?x=//y"] {
            let back = checked(good, &ours);
            assert!(back.starts_with('/'), "{good}");
            assert_eq!(ours.join(&back).unwrap(), ours.join(good).unwrap());
        }
        for bad in [
            "",
            "https://evil.example/",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "/\\/evil.example",
            "/\t/evil.example",
            "\\\\evil.example",
            "/\n//evil.example",
            "/.//evil.example",
            "/x/..//evil.example",
            "javascript:alert(1)",
            "evil.example",
            "http:evil.example",
            "@evil.example",
        ] {
            let back = checked(bad, &ours);
            let lands = ours.join(&back).unwrap();
            assert_eq!(lands.host_str(), Some("app.example.com"), "{bad} → {back}");
            assert!(!back.starts_with("//"), "{bad} → {back}");
        }
    }
}
