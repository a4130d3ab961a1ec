//! Connections to orgs, opened at their first use and kept.

use tieline_auth::ConfigError;
use tieline_client::Connection;
use tieline_store::audit::{Action, Actor, Entry};
use tieline_store::{Integration, Status, Tenant};
use tieline_sync::SyncError;
use tieline_sync::integration::{self, Login};

use super::Service;
use crate::connect::credentials;

impl Service {
    /// The connection of an integration, opened at its first use. Where the integration's credentials name no app of
    /// its own, it is the service's.
    ///
    /// # Errors
    /// When somebody has disconnected it, or its credentials cannot be opened or lead to no login.
    pub async fn connection(&self, tenant: &Tenant, integration: &Integration) -> Result<Connection, SyncError> {
        if integration.status == Status::Inactive {
            return Err(ConfigError::new(
                format!("the integration `{}` is disconnected", integration.name),
                "connect it again",
            )
            .into());
        }
        self.open(tenant, integration).await
    }

    /// The connection of an integration that may be shut already, to end its tokens at the org. `None`, if there are
    /// none that could be ended: it has no login left.
    pub(crate) async fn open_to_end(
        &self,
        tenant: &Tenant,
        integration: &Integration,
    ) -> Result<Option<Connection>, SyncError> {
        let settings = credentials::open(tenant, integration.id).await?;
        let logs_in = ["SF_REFRESH_TOKEN", "SF_USERNAME", "SF_ACCESS_TOKEN", "SF_GRANT"];
        if !logs_in.iter().any(|name| settings.get(name).is_some()) && integration.status == Status::Inactive {
            return Ok(None);
        }
        self.open(tenant, integration).await.map(Some)
    }

    async fn open(&self, tenant: &Tenant, integration: &Integration) -> Result<Connection, SyncError> {
        // Another generation has other credentials: what was opened before is left to whoever still holds it.
        let alias = connection_alias(integration);
        if let Some(connection) = self.0.connections.get(&alias) {
            return Ok(connection);
        }
        let login = self.login(tenant, integration).await?;
        let mut tokens = self.0.settings.tokens.clone();
        if tokens.store.is_none() {
            tokens.store = Some(tenant.token_store(integration).await?);
        }
        Ok(self.0.connections.get_or_open(&alias, || login.connect(tokens))?)
    }

    async fn login(&self, tenant: &Tenant, integration: &Integration) -> Result<Login, SyncError> {
        let mut settings = credentials::open(tenant, integration.id).await?;
        let (id, entry) = (integration.id.to_string(), Entry::new(Actor::System, Action::CredentialRead));
        tenant.audit(&entry.on("integration", &id), self.now()).await?;
        settings.with_app_of(self.0.settings.app.as_ref(), integration)?;
        let mut login = integration::login_of(&integration.name, &settings.to_credentials())?;
        login.config.hosts.loopback = self.0.settings.allow_loopback;
        login.options.reserve = crate::proxy::reserve_of(&integration.config);
        Ok(login)
    }

    /// Forgets what was opened for an integration on this node.
    pub(crate) fn forget(&self, integration: &Integration) {
        self.0.connections.forget(&connection_alias(integration));
    }

    /// The connection, if it was used already.
    pub(crate) fn open_connection(&self, integration: &Integration) -> Option<Connection> {
        self.0.connections.get(&connection_alias(integration))
    }
}

fn connection_alias(integration: &Integration) -> String {
    // So is the reserve: another one is another connection, on every node.
    let reserve = integration.config.get("api_reserve").map(ToString::to_string).unwrap_or_default();
    format!("{}:{}:{reserve}", integration.id, integration.generation)
}
