//! From a login to a Data Cloud token, in two stages that are cached apart.
//!
//! | situation | what is sent |
//! | --- | --- |
//! | Data Cloud token fresh | nothing |
//! | under 300 s left, or over 900 s old | the exchange, with the login's token as it is |
//! | refused by Data Cloud | the exchange, with the login's token as it is |
//! | login's token past its likely life | a login, the exchange |
//! | the org refuses the exchange | a login, the exchange once more |
//! | the exchange fails for a passing reason | the exchange again, after a pause; the token at hand serves meanwhile |
//!
//! Sources of the numbers: Salesforce's own client for Hyper (tableau/hyper-api-rust) renews by the same two bounds; the age
//! counts because each exchange shows whether the login below still lives.

use std::sync::Arc;
use std::time::Duration;

use tieline_auth::second_stage::{Exchange, SecondStage};
use tieline_auth::{AuthError, ConfigError, Credentials, Grant, OrgConfig, Reuse, Settings, Stats, Token};

use crate::config::{LIKELY_VALID, SalesforceAuthConfig};
use crate::token::DataCloudToken;

/// A token with less time left is replaced.
pub const RENEW_WITH_LESS_THAN: Duration = Duration::from_secs(300);
/// A token older than this is replaced.
pub const RENEW_AFTER: Duration = Duration::from_secs(900);
/// Life of a token whose response tells none.
const DEFAULT_LIFE: Duration = Duration::from_secs(1_800);

/// Both stages of one login. Cheap to clone; clones share both tokens, and so do processes with the same token store.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use tieline_datacloud::{AuthMode, DataCloudTokenProvider, SalesforceAuthConfig};
///
/// let key = std::fs::read_to_string("private.key")?;
/// let config = SalesforceAuthConfig::new("https://login.salesforce.com", "3MVG9…")?
///     .auth_mode(AuthMode::private_key("user@example.com", &key)?);
/// let provider = DataCloudTokenProvider::new(config)?;
/// let token = provider.get_token().await?;
/// println!("calls go to {}", token.tenant_url());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct DataCloudTokenProvider {
    stage: SecondStage,
    dataspace: Option<Arc<str>>,
}

/// The name for it in programs with many tasks: a [`DataCloudTokenProvider`] may be shared as it is.
pub type SharedTokenProvider = DataCloudTokenProvider;

impl DataCloudTokenProvider {
    /// A provider of this process alone. Nothing is sent yet.
    ///
    /// # Errors
    /// When the configuration cannot lead to a login.
    pub fn new(config: SalesforceAuthConfig) -> Result<Self, ConfigError> {
        Self::with(config, Settings::default())
    }

    /// A provider with a token store, a clock, or other patience.
    ///
    /// # Errors
    /// As [`DataCloudTokenProvider::new`].
    pub fn with(config: SalesforceAuthConfig, settings: Settings) -> Result<Self, ConfigError> {
        let credentials = Credentials::with(config.org()?, config.settle(settings)?)?;
        Ok(Self::of(credentials, config.dataspace.as_deref()))
    }

    /// A provider for an org by any grant, such as [`OrgConfig::from_env`]. The login's token is kept while it is likely to
    /// live, unless the configuration has chosen something else than the usual for its grant.
    ///
    /// # Errors
    /// As [`DataCloudTokenProvider::new`].
    pub fn for_org(mut org: OrgConfig, dataspace: Option<&str>, settings: Settings) -> Result<Self, ConfigError> {
        if org.reuse_is_usual() && !matches!(org.grant, Grant::AccessToken { .. }) {
            org.reuse = Reuse::For(LIKELY_VALID);
        }
        Ok(Self::of(Credentials::with(org, settings)?, dataspace))
    }

    /// A provider on top of credentials that are there already, of any grant. How long their token is kept is their
    /// policy: one that asks for a new login every few minutes does so here too.
    pub fn of(credentials: Credentials, dataspace: Option<&str>) -> Self {
        let fields = dataspace.map(|name| ("dataspace", name.to_owned())).into_iter().collect();
        let exchange = Exchange {
            name: "datacloud",
            task: "get a Data Cloud token for",
            path: "/services/a360/token",
            grant_type: "urn:salesforce:grant-type:external:cdp",
            fields,
            reuse: RENEW_AFTER,
            margin: RENEW_WITH_LESS_THAN,
            default_life: DEFAULT_LIFE,
            hint: "see that the org has Data Cloud, that the app has the scope cdp_query_api (cdp_ingest_api to send data), \
                   and that the user has a Data Cloud permission set",
        };
        Self { stage: SecondStage::new(credentials, exchange), dataspace: dataspace.map(Into::into) }
    }

    /// A token to call with: the one at hand, or a new one. Ask again for every call; asking is cheap.
    ///
    /// # Errors
    /// The login's failure or the exchange's, the same for all who waited for it.
    pub async fn get_token(&self) -> Result<DataCloudToken, AuthError> {
        self.stage.token().await.map(DataCloudToken::new)
    }

    /// A new Data Cloud token; the login's token is kept if it may live. However many ask at once, one request is made.
    ///
    /// # Errors
    /// As [`DataCloudTokenProvider::get_token`].
    pub async fn refresh_token(&self) -> Result<DataCloudToken, AuthError> {
        self.stage.renewed().await.map(DataCloudToken::new)
    }

    /// New tokens of both stages. However many ask at once, one request of each kind is made.
    ///
    /// # Errors
    /// As [`DataCloudTokenProvider::get_token`].
    pub async fn force_refresh(&self) -> Result<DataCloudToken, AuthError> {
        self.stage.renewed_with_login().await.map(DataCloudToken::new)
    }

    /// The token at hand, if there is a fresh one: no waiting, no request.
    pub fn cached_token(&self) -> Option<DataCloudToken> {
        self.stage.cached_token().map(DataCloudToken::new)
    }

    /// Data Cloud has refused this token: nobody here uses it any more. Whoever comes late with an older one changes
    /// nothing.
    pub fn refused(&self, token: &DataCloudToken) {
        self.stage.refused(token.inner());
    }

    /// Drops the Data Cloud token at hand: the next asker looks at the token store, and then asks the org.
    pub fn clear_cache(&self) {
        self.stage.forget();
    }

    /// The first stage.
    pub fn credentials(&self) -> &Credentials {
        self.stage.credentials()
    }

    /// The data space that tokens are for, if not the default one.
    pub fn dataspace(&self) -> Option<&str> {
        self.dataspace.as_deref()
    }

    /// What the second stage has done so far.
    pub fn stats(&self) -> Stats {
        self.stage.stats()
    }

    pub(crate) fn org(&self) -> &str {
        &self.credentials().config().alias
    }

    pub(crate) async fn token(&self) -> Result<Arc<Token>, AuthError> {
        self.stage.token().await
    }

    pub(crate) fn refused_inner(&self, token: &Token) {
        self.stage.refused(token);
    }
}
