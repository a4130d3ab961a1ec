//! Where a credential may be sent: Salesforce's domains over HTTPS, loopback where allowed, and what the
//! configuration adds. Checked on the parsed URL, on a dot boundary, before a connection is made.

use url::{Host, Url};

use crate::error::HostRefused;

/// Domains on which orgs and login hosts live. Source: the list in Salesforce's own CLI library
/// (sfdx-core, `sfdcUrl.ts`), less the ones that serve no API.
const SALESFORCE: [&str; 8] = [
    "salesforce.com",
    "force.com",
    "cloudforce.com",
    "database.com",
    "salesforce.mil",
    "crmforce.mil",
    "sfcrmproducts.cn",
    "sfcrmapps.cn",
];

/// The hosts that may see a token.
///
/// ```
/// use tieline_auth::AllowedHosts;
/// let hosts = AllowedHosts::default();
/// assert!(hosts.check(&"https://acme.my.salesforce.com".parse().unwrap()).is_ok());
/// assert!(hosts.check(&"https://evilsalesforce.com".parse().unwrap()).is_err());
/// assert!(hosts.check(&"http://acme.my.salesforce.com".parse().unwrap()).is_err());
/// ```
#[derive(Debug, Clone)]
pub struct AllowedHosts {
    /// Plain HTTP (and HTTPS) to this machine. On by default; a service that takes URLs from others turns it
    /// off.
    pub loopback: bool,
    /// Domains beyond Salesforce's own; each allows itself and what lies below it, over HTTPS.
    pub extra: Vec<String>,
}

impl Default for AllowedHosts {
    fn default() -> Self {
        Self { loopback: true, extra: Vec::new() }
    }
}

impl AllowedHosts {
    /// Passes a URL that a credential may be sent to.
    ///
    /// # Errors
    /// [`HostRefused`] names the URL's host and the reason.
    pub fn check(&self, url: &Url) -> Result<(), HostRefused> {
        let refuse = |reason| Err(HostRefused { host: url.host_str().unwrap_or("").to_owned(), reason });
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("a user name inside the URL hides the real host");
        }
        if url.host().is_none() {
            return refuse("it has no host");
        }
        if is_loopback(url) {
            return if self.loopback { Ok(()) } else { refuse("loopback is not allowed here") };
        }
        if url.scheme() != "https" {
            return refuse("only https is allowed");
        }
        let Some(Host::Domain(name)) = url.host() else {
            return refuse("an address instead of a name");
        };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let within = |domain: &str| name == domain || name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        if SALESFORCE.into_iter().any(within) || self.extra.iter().any(|d| within(&d.to_ascii_lowercase())) {
            Ok(())
        } else {
            refuse("it is not one of Salesforce's domains")
        }
    }
}

/// The URL's host is this machine: `localhost`, or an address of loopback.
///
/// ```
/// let local = |url: &str| tieline_auth::host::is_loopback(&url.parse().unwrap());
/// assert!(local("http://127.0.0.1:8080") && local("http://[::1]/x") && local("http://localhost"));
/// assert!(!local("http://localhost.example") && !local("http://0.0.0.0"));
/// ```
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_salesforce_and_loopback_pass() {
        let hosts = AllowedHosts::default();
        for url in [
            "https://login.salesforce.com",
            "https://acme--dev.sandbox.my.salesforce.com/services",
            "https://ACME.My.Salesforce.COM",
            "https://x.crmforce.mil",
            "http://127.0.0.1:8080",
            "http://[::1]:8080",
            "http://localhost:1",
        ] {
            assert!(hosts.check(&url.parse().unwrap()).is_ok(), "{url}");
        }
        for url in [
            "https://evilcrmforce.mil",
            "https://salesforce.com.evil.example",
            "https://login.salesforce.com@evil.example",
            "https://user:pw@acme.my.salesforce.com",
            "https://203.0.113.7",
            "https://[2001:db8::1]",
            "http://login.salesforce.com",
            "ftp://login.salesforce.com",
            "https://localhost.evil.example",
        ] {
            assert!(hosts.check(&url.parse().unwrap()).is_err(), "{url}");
        }
        let strict = AllowedHosts { loopback: false, extra: vec!["example.org".to_owned()] };
        assert!(strict.check(&"http://127.0.0.1".parse().unwrap()).is_err());
        assert!(strict.check(&"https://sf.example.org".parse().unwrap()).is_ok());
        assert!(strict.check(&"https://badexample.org".parse().unwrap()).is_err());
    }
}
