//! The way to the login host: proxy, name, TLS, and what its clock says.

use std::time::Duration;

use jiff::SignedDuration;
use tieline_auth::OrgConfig;
use tieline_auth::http::{api_client, innermost};
use url::{Host, Url};

use super::Check;

/// Clocks further apart than this deserve a word; than the second, an assertion is refused.
const APART: (SignedDuration, SignedDuration) = (SignedDuration::from_secs(30), SignedDuration::from_secs(150));

pub(super) async fn check(config: &OrgConfig) -> Vec<Check> {
    let url = &config.login_url;
    let mut checks = Vec::new();
    let proxy = proxy_for(url);
    match &proxy {
        Some(proxy) => checks.push(Check::pass("proxy", format!("requests go through {proxy}"))),
        None => checks.push(Check::pass("proxy", "none")),
    }
    let host = url.host_str().unwrap_or_default();
    if proxy.is_none() {
        let port = url.port_or_known_default().unwrap_or(443);
        match tokio::time::timeout(
            Duration::from_secs(10),
            tokio::net::lookup_host((host.trim_matches(['[', ']']), port)),
        )
        .await
        {
            Ok(Ok(mut addresses)) => {
                let first =
                    addresses.next().map_or_else(|| "no address".to_owned(), |address| address.ip().to_string());
                checks.push(Check::pass("DNS", format!("{host} is {first}")));
            }
            outcome => {
                let reason = match outcome {
                    Ok(Err(error)) => error.to_string(),
                    _ => "no answer within 10 s".to_owned(),
                };
                let mut check = Check::fail(
                    "DNS",
                    format!("{host} has no address: {reason}"),
                    "check the spelling of SF_LOGIN_URL and this machine's resolver; behind a proxy set HTTPS_PROXY",
                );
                check.code = 4;
                checks.push(check);
                return checks;
            }
        }
    }
    checks.extend(ask(url, proxy.as_deref()).await);
    checks.push(my_domain(url));
    checks
}

/// One request that needs no login.
async fn ask(url: &Url, proxy: Option<&str>) -> Vec<Check> {
    let mut target = url.clone();
    target.set_path("/services/data");
    let answer = match api_client() {
        Ok(client) => client.get(target).timeout(Duration::from_secs(20)).send().await,
        Err(error) => Err(error),
    };
    let plain = url.scheme() == "http";
    let response = match answer {
        Ok(response) => response,
        Err(error) => {
            let hint = match (proxy, plain) {
                (Some(_), _) => "see that the proxy lets you through, or name the host in NO_PROXY",
                (None, true) => "start the local org, or correct SF_LOGIN_URL",
                (None, false) => {
                    "a firewall, a proxy with a certificate authority of its own (SSL_CERT_FILE), or a wrong host: curl -v shows \
                     which"
                }
            };
            let reason = if error.is_timeout() { "no answer within 20 s".to_owned() } else { innermost(&error) };
            let mut check =
                Check::fail("TLS", format!("{} cannot be reached: {reason}", url.host_str().unwrap_or_default()), hint);
            check.code = 4;
            return vec![check];
        }
    };
    let mut checks = vec![if plain {
        Check::pass("TLS", "plain HTTP, on this machine")
    } else {
        Check::pass("TLS", "1.2 or newer, and the host's certificate is trusted")
    }];
    let date = response.headers().get("date").and_then(|date| date.to_str().ok());
    let date = date.and_then(|text| jiff::fmt::rfc2822::parse(text).ok());
    checks.push(match date {
        None => {
            Check::warn("clock", "the host does not tell its time", "compare this machine's clock with another one")
        }
        Some(date) => {
            // The header has whole seconds.
            let skew = date.timestamp().duration_since(crate::login::now());
            let apart = format!(
                "{} s {} the org's",
                skew.as_secs().abs(),
                if skew.is_negative() { "ahead of" } else { "behind" }
            );
            let hint =
                "set this machine's clock by a time server (timedatectl set-ntp true): assertions are dated by it";
            match skew.abs() {
                skew if skew <= APART.0 => Check::pass("clock", format!("{} s apart from the org's", skew.as_secs())),
                skew if skew <= APART.1 => Check::warn("clock", apart, hint),
                _ => Check::fail("clock", apart, hint),
            }
        }
    });
    checks
}

/// Logins at the org's own domain go on when `login` and `test` are closed to it.
fn my_domain(url: &Url) -> Check {
    match url.host() {
        Some(Host::Domain("login.salesforce.com" | "test.salesforce.com")) => Check::warn(
            "My Domain",
            "the login goes through Salesforce's common host, which an org can close for itself",
            "set SF_LOGIN_URL to the org's own domain: https://YOURDOMAIN.my.salesforce.com",
        ),
        Some(Host::Domain(name)) if name != "localhost" => Check::pass("My Domain", format!("logins go to {name}")),
        _ => Check::pass("My Domain", "an org on this machine"),
    }
}

/// The proxy that the HTTP client takes for this host, by the variables that it reads.
fn proxy_for(url: &Url) -> Option<String> {
    let get = |name: &str| {
        let value = std::env::var(name).or_else(|_| std::env::var(name.to_ascii_lowercase()));
        value.ok().filter(|value| !value.is_empty())
    };
    let proxy = get(if url.scheme() == "http" { "HTTP_PROXY" } else { "HTTPS_PROXY" }).or_else(|| get("ALL_PROXY"))?;
    let host = url.host_str()?;
    let without = get("NO_PROXY").unwrap_or_default();
    let direct = without
        .split(',')
        .map(|entry| entry.trim().trim_start_matches("*.").trim_start_matches('.'))
        .any(|entry| entry == "*" || (!entry.is_empty() && (host == entry || host.ends_with(&format!(".{entry}")))));
    // A password may stand in it.
    let shown =
        Url::parse(&proxy).ok().and_then(|url| Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?)));
    (!direct).then(|| shown.unwrap_or_else(|| "a proxy whose address is not a URL".to_owned()))
}
