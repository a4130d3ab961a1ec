//! The org's API budget, as each answer tells it.

use reqwest::header::HeaderMap;

/// Calls used and allowed within 24 hours, from `Sforce-Limit-Info: api-usage=18/5000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct ApiUsage {
    /// Calls made by everybody in the org.
    pub used: u64,
    /// Calls allowed.
    pub allowed: u64,
}

pub(crate) fn usage(headers: &HeaderMap) -> Option<ApiUsage> {
    let value = headers.get("sforce-limit-info")?.to_str().ok()?;
    // With limits per app the header goes on: `api-usage=25/5000; per-app-api-usage=17/250(appName=x)`.
    let (used, allowed) = value.split(';').find_map(|part| part.trim().strip_prefix("api-usage="))?.split_once('/')?;
    Some(ApiUsage { used: used.trim().parse().ok()?, allowed: allowed.trim().parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_read_with_and_without_app_limits() {
        for value in ["api-usage=25/5000", "api-usage=25/5000; per-app-api-usage=17/250(appName=sample-connected-app)"]
        {
            let headers = HeaderMap::from_iter([("sforce-limit-info".parse().unwrap(), value.parse().unwrap())]);
            assert_eq!(usage(&headers), Some(ApiUsage { used: 25, allowed: 5000 }), "{value}");
        }
        assert_eq!(usage(&HeaderMap::new()), None);
    }
}
