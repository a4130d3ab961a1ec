//! `tieline login`: log in once, and let every later command use it.

use serde_json::json;
use tieline_auth::grant::begun_login::BegunLogin;
use tieline_auth::{App, Credentials, Grant, Settings};
use tieline_sync::integration;
use url::Url;

use crate::failure::Failure;
use crate::login::{self, Browser, CALLBACK, COMMAND_LINE_APP, Where};
use crate::orgs::{Entry, KeyPlace, Orgs, Variables};
use crate::output;
use crate::settings::saved_org;

/// Log in to an org and keep the login for later commands
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline login                                  production, in the browser
  tieline login --sandbox --alias staging
  tieline login --instance-url https://acme.my.salesforce.com
  SF_CLIENT_ID=3MVG9… tieline login --device     on a machine without a browser
  tieline login --from-environment --alias ci    keep the login of the SF_* variables

The login goes through the Salesforce CLI's app unless --client-id or SF_CLIENT_ID names another
one (with SF_CLIENT_SECRET where it has a secret, and SF_REDIRECT_URI for its callback on this
machine). Credentials are sealed; the key is in the keychain where there is one, else in a file
that only you can read.")]
pub(crate) struct Login {
    #[command(flatten)]
    place: Where,
    /// Name for the org [default: the first part of its host]
    #[arg(long, value_name = "NAME")]
    alias: Option<String>,
    /// Use this org where none is named
    #[arg(long)]
    default: bool,
    /// Show a code to enter in a browser elsewhere
    #[arg(long, conflicts_with = "from_environment")]
    device: bool,
    /// Keep the login that the SF_* variables describe
    #[arg(long)]
    from_environment: bool,
    /// Consumer key of the app to log in with [default: SF_CLIENT_ID, then the Salesforce CLI's app]
    #[arg(long, value_name = "KEY")]
    client_id: Option<String>,
    /// Scopes to ask for
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "api,refresh_token,web")]
    scopes: Vec<String>,
    /// Print the login page's address instead of opening it
    #[arg(long)]
    no_browser: bool,
    /// Where the key is that seals the login [default: the keychain where there is one, else a file]
    #[arg(long, value_enum, value_name = "PLACE", env = "TIELINE_CREDENTIALS", hide_env = true)]
    credentials: Option<KeyPlace>,
    /// Print what was saved as JSON
    #[arg(long)]
    json: bool,
}

impl Login {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut orgs = Orgs::open()?;
        let key = orgs.choose_key(self.credentials)?;
        let (credentials, variables) = if self.from_environment {
            self.of_environment(&orgs, key)?
        } else {
            let app = self.place.app(self.client_id.as_deref())?;
            let begun = self.person(&app).await?;
            let variables = variables_of(&app, &begun);
            let settings = Settings { store: Some(orgs.token_store(key)?), ..Settings::default() };
            (begun.into_credentials(settings).await.map_err(login_error)?, variables)
        };
        if self.from_environment {
            // One that was ended here before may be begun again.
            credentials.reinstate().await?;
        }
        let user = credentials.userinfo().await?;
        let token = credentials.token().await?;
        let entry = Entry::new(&user, token.instance_url(), credentials.config().grant.name(), login::now());
        let alias = self.alias.clone().unwrap_or_else(|| free_alias(&orgs, token.instance_url(), &entry));
        if let Ok((found, old)) = orgs.find(&alias)
            && found == alias
        {
            end(&orgs, &alias, &old, &credentials).await;
        }
        orgs.save(&alias, entry.clone(), &variables, key, self.default)?;
        if self.from_environment {
            // The commands may have another store than this one (TIELINE_TOKEN_STORE).
            let (alias, saved) = orgs.find(&alias)?;
            saved_org(&orgs, &alias, &saved).await?.credentials().reinstate().await?;
        }
        let is_default = orgs.default_alias() == Some(&alias);
        if self.json {
            let told = json!({
                "alias": alias, "username": entry.username, "org_id": entry.org_id, "instance_url": entry.instance_url,
                "grant": entry.grant, "default": is_default, "key": key.in_words(),
            });
            output::line(&told.to_string())?;
            return Ok(());
        }
        say!("Logged in to {} as {}.", entry.instance_url, entry.username);
        let how = if is_default { "the default org".to_owned() } else { format!("--org {alias}") };
        say!("It is saved as `{alias}` ({how}), sealed with a key in {}.", key.in_words());
        if !matches!(
            credentials.config().grant,
            Grant::RefreshToken { .. } | Grant::JwtBearer { .. } | Grant::ClientCredentials
        ) {
            note!(
                "warning: the org gave no refresh token, so this login ends with its session; ask for the scope refresh_token"
            );
        }
        say!("\nTry: tieline query \"SELECT Name FROM Account LIMIT 5\"");
        Ok(())
    }

    async fn person(&self, app: &App) -> Result<BegunLogin, Failure> {
        let scopes: Vec<&str> = self.scopes.iter().map(String::as_str).collect();
        if self.device {
            if app.client_id == COMMAND_LINE_APP {
                return Err(Failure::usage(
                    "the device flow needs an app of your own: orgs block it for the Salesforce CLI's",
                    "name one that has the device flow enabled with --client-id or SF_CLIENT_ID, or log in by browser",
                ));
            }
            return login::device(app, &scopes).await;
        }
        let callback = std::env::var("SF_REDIRECT_URI").ok().filter(|uri| !uri.is_empty());
        let callback = callback.unwrap_or_else(|| CALLBACK.to_owned());
        let callback = Url::parse(&callback).map_err(|e| {
            Failure::usage(
                format!("SF_REDIRECT_URI `{callback}` is not a URL: {e}"),
                format!("write it like {CALLBACK}"),
            )
        })?;
        login::login(
            app,
            Browser { callback, tell_only: self.no_browser, scopes: self.scopes.clone(), login_hint: None },
        )
        .await
    }

    fn of_environment(&self, orgs: &Orgs, key: KeyPlace) -> Result<(Credentials, Variables), Failure> {
        let (login, sealed) = integration::capture(|name| std::env::var(name).ok())?;
        let variables: Variables = serde_json::from_slice(sealed.expose()).map_err(anyhow::Error::from)?;
        let settings = Settings { store: Some(orgs.token_store(key)?), ..Settings::default() };
        Ok((Credentials::with(login.config, settings)?, variables))
    }
}

/// What the next command needs to log in by itself.
fn variables_of(app: &App, begun: &BegunLogin) -> Variables {
    let mut variables = Variables::new();
    let mut set = |name: &str, value: &str| {
        variables.insert(name.to_owned(), value.to_owned());
    };
    set("SF_LOGIN_URL", app.login_url.as_str());
    set("SF_CLIENT_ID", &app.client_id);
    if let Some(secret) = &app.client_secret {
        set("SF_CLIENT_SECRET", secret.expose());
    }
    match &begun.config().grant {
        Grant::RefreshToken { refresh_token } => {
            set("SF_GRANT", "refresh_token");
            set("SF_REFRESH_TOKEN", refresh_token.expose());
        }
        Grant::AccessToken { access_token, instance_url } => {
            set("SF_GRANT", "access_token");
            set("SF_ACCESS_TOKEN", access_token.expose());
            set("SF_INSTANCE_URL", instance_url.as_str());
        }
        _ => {}
    }
    variables
}

/// `acme--dev.sandbox.my.salesforce.com` → `acme--dev`; an address of this machine → `local`.
pub(crate) fn alias_of(instance_url: &Url) -> String {
    match instance_url.host() {
        Some(url::Host::Domain(name)) if name != "localhost" => name.split('.').next().unwrap_or(name).to_owned(),
        _ => "local".to_owned(),
    }
}

/// The org's own name, or with a number where another user of the org has it.
fn free_alias(orgs: &Orgs, instance_url: &Url, entry: &Entry) -> String {
    let name = alias_of(instance_url);
    let is_free = |alias: &String| {
        let same = |old: &Entry| old.user_id == entry.user_id && old.org_id == entry.org_id;
        orgs.entries().all(|(taken, old)| taken != alias || same(old))
    };
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    std::iter::once(name.clone()).chain(numbered).find(is_free).unwrap_or(name)
}

/// A login that is about to be replaced: its refresh token would live on at the org, with nobody who knows it.
async fn end(orgs: &Orgs, alias: &str, old: &Entry, new: &Credentials) {
    let Ok(connection) = saved_org(orgs, alias, old).await else { return };
    let config = connection.credentials().config();
    if !matches!(config.grant, Grant::RefreshToken { .. }) || config.digest() == new.config().digest() {
        return;
    }
    let ended = connection.credentials().revoke().await;
    if !ended.is_ok_and(|report| report.is_complete()) {
        note!(
            "warning: the login before could not be ended at the org; look at the user's OAuth connected apps in Setup"
        );
    }
}

fn login_error(error: tieline_auth::grant::begun_login::LoginError) -> Failure {
    use tieline_auth::grant::begun_login::LoginError;
    match error {
        LoginError::Config(error) => error.into(),
        LoginError::Auth(error) => error.into(),
    }
}
