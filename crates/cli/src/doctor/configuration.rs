//! What can be seen without asking anybody: the settings, the key, its certificate.

use std::path::{Path, PathBuf};

use tieline_auth::aws::Aws;
use tieline_auth::aws::kms::KmsKey;
use tieline_auth::certificate::{Certificate, Expiry};
use tieline_auth::environment::complete_grants;
use tieline_auth::{Grant, OrgConfig, PrivateKey};

use super::Check;
use crate::settings::Chosen;
use crate::setup::in_words;

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

pub(super) async fn check(config: &OrgConfig, certificate: Option<PathBuf>, chosen: &Chosen) -> Vec<Check> {
    let mut checks = Vec::new();
    let what = format!("{} at {}", config.grant.name(), config.login_url.as_str().trim_end_matches('/'));
    let sets = complete_grants(|name| std::env::var(name).ok());
    checks.push(match sets.as_slice() {
        _ if chosen.alias.is_some() => Check::pass("configuration", format!("{what}, saved as `{}`", config.alias)),
        [used, rest @ ..] if !rest.is_empty() && variable("SF_GRANT").is_none() => Check::warn(
            "configuration",
            format!("{what}; {} is taken, and {} could be used too", used, rest.join(", ")),
            format!("unset what is not meant, or say it: SF_GRANT={used}"),
        ),
        _ => Check::pass("configuration", what),
    });
    if let Grant::JwtBearer { key, .. } = &config.grant {
        checks.extend(key_and_certificate(key, certificate, chosen).await);
    }
    checks
}

async fn key_and_certificate(key: &PrivateKey, certificate: Option<PathBuf>, chosen: &Chosen) -> Vec<Check> {
    // Of the login that is looked at, not of another one in the environment.
    let told = |name: &str| match chosen.alias {
        Some(_) => chosen.variables.get(name).cloned(),
        None => variable(name),
    };
    // A key service tells the public half; the key that only signs does not have it.
    let place = told("TIELINE_SIGNING_KEY").filter(|_| key.public_key().is_none());
    let asked = match place.as_deref().and_then(|place| place.split_once(':')) {
        Some(("transit", place)) => {
            let (place, version) = place.split_once('@').unwrap_or((place, ""));
            let service = tieline_auth::environment::transit(&variable, place);
            match service {
                Ok(service) => service.key(version.parse().ok()).await.map(|(key, _)| key),
                Err(error) => Err(error),
            }
        }
        Some(("kms", id)) => match Aws::from_env() {
            Ok(aws) => KmsKey::key(aws, id).await,
            Err(error) => Err(error),
        },
        _ => Ok(key.clone()),
    };
    let key = match asked {
        Ok(key) => key,
        Err(error) => return vec![Check::failed("private key", error.into())],
    };
    // An RSA public key in PKCS#1 is its modulus and a few bytes.
    let bits = key.public_key().map_or(0, |public| (public.len().saturating_sub(14)) / 32 * 256);
    let mut checks =
        vec![Check::pass("private key", if bits > 0 { format!("RSA, about {bits} bits") } else { "RSA".to_owned() })];
    let Some(path) =
        certificate.or_else(|| find_certificate(&key, told("SF_PRIVATE_KEY_FILE"), chosen.alias.is_some()))
    else {
        checks.push(Check::warn(
            "certificate",
            "none that fits the key was found, so nobody knows when it ends",
            "name it with --certificate (the file that the app has)",
        ));
        return checks;
    };
    let read = std::fs::read_to_string(&path).map_err(|e| e.to_string());
    let certificate = read.and_then(|pem| Certificate::from_pem(&pem).map_err(|e| e.to_string()));
    checks.push(match certificate {
        Err(reason) => Check::fail(
            "certificate",
            format!("{}: {reason}", path.display()),
            "name the file that the app has with --certificate",
        ),
        Ok(certificate) if !certificate.belongs_to(&key) => Check::fail(
            "certificate",
            format!("{} was not made for this private key", path.display()),
            "the app needs the certificate of this key: upload it, or use the key that belongs to the certificate",
        ),
        Ok(certificate) => by_expiry(&certificate, &path),
    });
    checks
}

fn by_expiry(certificate: &Certificate, path: &Path) -> Check {
    let expiry = certificate.expiry(crate::login::now());
    let detail = format!("{} fits the key and {}", path.display(), in_words(expiry));
    let hint = "tieline setup rotate-certificate makes a new one without an interruption";
    match expiry {
        Expiry::Far { .. } => Check::pass("certificate", detail),
        Expiry::Soon { .. } | Expiry::Now { .. } => Check::warn("certificate", detail, hint),
        Expiry::Expired { .. } => Check::fail("certificate", detail, hint),
    }
}

/// The certificate beside the key that was made for it; if none was, the one that `jwt-config.json` names (any other may be
/// of something else). A key that is in no file was set up in the current folder, if nothing says otherwise.
fn find_certificate(key: &PrivateKey, key_file: Option<String>, saved: bool) -> Option<PathBuf> {
    let folder = match &key_file {
        Some(file) => Path::new(file).parent()?.to_owned(),
        None if saved => return None,
        None => PathBuf::from("."),
    };
    let told = std::fs::read(folder.join("jwt-config.json")).ok();
    let told: Option<serde_json::Value> = told.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let named = told.as_ref().and_then(|config| config["certificateFile"].as_str()).map(PathBuf::from);
    let beside = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut beside: Vec<PathBuf> = beside.filter(|path| path.extension().is_some_and(|end| end == "crt")).collect();
    beside.sort();
    let named = named.filter(|path| path.exists());
    let fits = |path: &PathBuf| {
        let pem = std::fs::read_to_string(path).unwrap_or_default();
        Certificate::from_pem(&pem).is_ok_and(|certificate| certificate.belongs_to(key))
    };
    named.iter().chain(&beside).find(|path| fits(path)).cloned().or(named)
}
