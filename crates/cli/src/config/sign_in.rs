//! The provider that people may sign in with, from environment and file.

use tieline_auth::Secret;
use tieline_server::OpenIdProvider;

use super::File;
use crate::failure::Failure;

/// What is set of the provider; nothing, where nothing is.
pub(crate) fn open_id(file: &File) -> Result<Option<OpenIdProvider>, Failure> {
    let text = |name: &str, key: &'static str| variable(name).or_else(|| file.text("oidc", key));
    let (issuer, client_id) = (text("TIELINE_OIDC_ISSUER", "issuer"), text("TIELINE_OIDC_CLIENT_ID", "client_id"));
    let name = text("TIELINE_OIDC_NAME", "name");
    let secret = secret(file)?;
    let (trust_email, only) =
        (truth(file, "TIELINE_OIDC_TRUST_EMAIL", "trust_email")?, truth(file, "TIELINE_OIDC_ONLY", "only")?);
    let (Some(issuer), Some(client_id)) = (&issuer, &client_id) else {
        let is_any_set = issuer.is_some() || client_id.is_some() || secret.is_some() || trust_email || only;
        return match is_any_set {
            false => Ok(None),
            true => Err(Failure::usage(
                "signing in with a provider is set in part: it needs its issuer and a client id",
                "set TIELINE_OIDC_ISSUER and TIELINE_OIDC_CLIENT_ID, or `issuer` and `client_id` under [oidc] (docs/sign-in.md)",
            )),
        };
    };
    let mut told = OpenIdProvider::new(issuer.clone(), client_id.clone())?;
    (told.client_secret, told.trust_email, told.only) = (secret, trust_email, only);
    if let Some(name) = name {
        if name.chars().count() > 60 || name.chars().any(char::is_control) {
            return Err(Failure::usage(
                "TIELINE_OIDC_NAME is longer than 60 characters or holds line breaks",
                "give what the button is to call the provider: Example ID",
            ));
        }
        told.name = name;
    }
    Ok(Some(told))
}

fn secret(file: &File) -> Result<Option<Secret>, Failure> {
    if let Some(secret) = variable("TIELINE_OIDC_CLIENT_SECRET") {
        return Ok(Some(Secret::new(secret)));
    }
    let Some(path) = file.file("oidc", "client_secret_file") else { return Ok(None) };
    let text = std::fs::read_to_string(&path).map_err(|e| {
        Failure::usage(
            format!("could not read the provider's client secret from {}: {e}", path.display()),
            "check `oidc.client_secret_file`, and that this user may read it",
        )
    })?;
    Ok(Some(Secret::new(text.trim().to_owned())))
}

fn truth(file: &File, name: &str, key: &'static str) -> Result<bool, Failure> {
    let Some(told) = variable(name) else { return Ok(file.truth("oidc", key)) };
    match told.trim() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(Failure::usage(format!("{name} is `{told}`, which is neither true nor false"), "write true or false")),
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}
