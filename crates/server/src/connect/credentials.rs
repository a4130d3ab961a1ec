//! What an integration logs in with: the `SF_*` settings of its login, sealed in its row.

use std::collections::BTreeMap;

use tieline_auth::{ConfigError, Secret};
use tieline_store::{Credentials, Integration, StoreError, Tenant, Uuid};
use zeroize::Zeroize;

use crate::service::SalesforceApp;

/// The settings in clear. They print nothing.
#[derive(Default)]
pub(crate) struct LoginSettings(BTreeMap<String, String>);

impl Drop for LoginSettings {
    fn drop(&mut self) {
        self.0.values_mut().for_each(Zeroize::zeroize);
    }
}

/// Opens an integration's settings; there are none before anybody has given any.
pub(crate) async fn open(tenant: &Tenant, id: Uuid) -> Result<LoginSettings, StoreError> {
    let Some(sealed) = tenant.open_credentials(id).await? else { return Ok(LoginSettings::default()) };
    let settings = serde_json::from_slice(sealed.expose()).map_err(|_| StoreError::Sealed {
        table: "integrations",
        row: id.to_string(),
        reason: "it is not the JSON that was sealed",
    })?;
    Ok(LoginSettings(settings))
}

/// The same to put others in their place: what does not open (a lost key, another row's) is as good as nothing.
pub(crate) async fn open_to_replace(tenant: &Tenant, id: Uuid) -> Result<LoginSettings, StoreError> {
    match open(tenant, id).await {
        Err(error @ StoreError::Sealed { .. }) => {
            tracing::warn!(%error, "credentials that do not open are replaced");
            Ok(LoginSettings::default())
        }
        opened => opened,
    }
}

impl LoginSettings {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Sets a value, or with `None` takes it out.
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>) {
        if let Some(mut old) = self.0.remove(name) {
            old.zeroize();
        }
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.to_owned());
        }
    }

    /// The app of the integration's own row, if it has one; else the service's.
    ///
    /// Key and secret stay together: a row that names a key has the secret of that key, or none.
    pub(crate) fn app(&self, service: Option<&SalesforceApp>) -> Result<SalesforceApp, ConfigError> {
        match (self.get("SF_CLIENT_ID"), service) {
            (Some(client_id), _) => Ok(SalesforceApp {
                client_id: client_id.to_owned(),
                client_secret: self.get("SF_CLIENT_SECRET").map(Secret::new),
            }),
            (None, Some(app)) => Ok(app.clone()),
            (None, None) => Err(ConfigError::new(
                "there is no app to log in through: neither has this integration one, nor the service",
                "give the integration the consumer key and secret of an app, or set SALESFORCE_CLIENT_ID and SALESFORCE_CLIENT_SECRET",
            )),
        }
    }

    /// Fills in the service's app where the row names none. Tokens belong to the app that they were granted to.
    pub(crate) fn with_app_of(
        &mut self,
        service: Option<&SalesforceApp>,
        integration: &Integration,
    ) -> Result<(), ConfigError> {
        if self.get("SF_CLIENT_ID").is_some() || self.get("SF_REFRESH_TOKEN").is_none() {
            return Ok(());
        }
        let app = self.app(service)?;
        let granted_to = integration.config["client_id"].as_str().unwrap_or(&app.client_id);
        if granted_to != app.client_id {
            return Err(ConfigError::new(
                format!(
                    "the integration `{}` was connected through the app {granted_to}, and the service has another one now",
                    integration.name
                ),
                "connect it again, or give the service its old SALESFORCE_CLIENT_ID back",
            ));
        }
        self.set("SF_CLIENT_ID", Some(&app.client_id));
        self.set("SF_CLIENT_SECRET", app.client_secret.as_ref().map(Secret::expose));
        Ok(())
    }

    /// As it is given to the store, which seals it.
    pub(crate) fn to_credentials(&self) -> Credentials {
        Credentials::new(serde_json::to_vec(&self.0).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_and_secret_come_from_one_place() {
        let service = SalesforceApp { client_id: "env".to_owned(), client_secret: Some(Secret::new("env-secret")) };
        let mut row = LoginSettings::default();
        assert_eq!(row.app(Some(&service)).unwrap().client_id, "env");
        assert!(row.app(None).is_err());
        row.set("SF_CLIENT_ID", Some("own"));
        let own = row.app(Some(&service)).unwrap();
        assert_eq!((own.client_id.as_str(), own.client_secret.is_none()), ("own", true), "not the service's secret");
        row.set("SF_CLIENT_SECRET", Some("own-secret"));
        assert_eq!(row.app(Some(&service)).unwrap().client_secret.unwrap().expose(), "own-secret");
    }
}
