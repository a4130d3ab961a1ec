//! What a setup asks of the org, and changes in it, besides deploys.

use serde::Deserialize;
use serde_json::json;
use tieline_client::{ClientError, Connection, Options, soql};

use super::metadata::SWITCH_VERSION;
use crate::failure::Failure;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) is_active: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Organization {
    pub(crate) organization_type: Option<String>,
    pub(crate) is_sandbox: bool,
    pub(crate) name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    id: String,
}

async fn rows<T: serde::de::DeserializeOwned + Send + 'static>(
    org: &Connection,
    query: &str,
) -> Result<Vec<T>, ClientError> {
    let mut pages = org.query_pages::<T>(query);
    let mut all = Vec::new();
    while let Some(page) = pages.next().await? {
        all.extend(page.records);
    }
    Ok(all)
}

pub(crate) async fn organization(org: &Connection) -> Result<Organization, Failure> {
    let found = rows(org, "SELECT OrganizationType, IsSandbox, Name FROM Organization").await?.pop();
    found.ok_or_else(|| {
        Failure::new("the org tells nothing of itself", "use a user who may see the Organization object")
    })
}

/// The user whom the app is to log in.
pub(crate) async fn user(org: &Connection, username: &str) -> Result<User, Failure> {
    let query = format!("SELECT Id, IsActive FROM User WHERE Username = {}", soql::text(username));
    let user: User = rows(org, &query).await?.pop().ok_or_else(|| {
        Failure::usage(
            format!("the org has no user `{username}`"),
            "name an existing one with --username: its login name, which need not be its e-mail address",
        )
    })?;
    if !user.is_active {
        return Err(Failure::needs_person(
            format!("the user `{username}` is not active"),
            "activate it in Setup (Users), or name another one with --username",
        ));
    }
    Ok(user)
}

pub(crate) async fn permission_set(org: &Connection, name: &str) -> Result<Option<String>, Failure> {
    let query = format!("SELECT Id FROM PermissionSet WHERE Name = {}", soql::text(name));
    Ok(rows::<Row>(org, &query).await?.pop().map(|row| row.id))
}

/// Who holds the permission set: ids of the assignments, of one user or of all.
pub(crate) async fn assignments(org: &Connection, set: &str, user: Option<&str>) -> Result<Vec<String>, Failure> {
    let mut query = format!("SELECT Id FROM PermissionSetAssignment WHERE PermissionSetId = {}", soql::text(set));
    if let Some(user) = user {
        query.push_str(&format!(" AND AssigneeId = {}", soql::text(user)));
    }
    Ok(rows::<Row>(org, &query).await?.into_iter().map(|row| row.id).collect())
}

/// Gives the user the permission set.
pub(crate) async fn assign(org: &Connection, set: &str, user: &str) -> Result<(), Failure> {
    let created = org.create("PermissionSetAssignment", &json!({"PermissionSetId": set, "AssigneeId": user})).await;
    match created {
        Ok(_) => Ok(()),
        // Sent, and no answer came: what is there now counts.
        Err(error @ ClientError::Unreachable { .. }) => match assignments(org, set, Some(user)).await?.is_empty() {
            false => Ok(()),
            true => Err(Failure::repeatable(error)),
        },
        Err(error) => {
            Err(Failure::repeatable(error)
                .or("give the user the permission set in Setup, and run the same command again"))
        }
    }
}

/// The switch that lets consumer keys out; `None` where the user may not see it, or the org has it no more.
pub(crate) async fn secrets_are_on(org: &Connection) -> Result<Option<bool>, Failure> {
    // As the version writes it that still has it.
    let options = Options { api_version: SWITCH_VERSION.into(), ..Options::default() };
    let old = Connection::with(org.credentials().clone(), options)?;
    let settings = match old.read_metadata("ExternalClientAppSettings", &["ExternalClientApp"]).await {
        Ok(mut settings) => settings.pop(),
        Err(ClientError::Refused(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let switch = settings.filter(|settings| settings.child("enableConsumerSecretApiAccess").is_some());
    Ok(switch.map(|settings| settings.flag("enableConsumerSecretApiAccess")))
}

/// API Access Control is on: apps that no admin has approved are shut out.
pub(crate) async fn only_approved_apps(org: &Connection) -> Option<bool> {
    let settings = org.read_metadata("ConnectedAppSettings", &["ConnectedApp"]).await.ok()?.pop()?;
    Some(settings.flag("enableAdminApprovedAppsOnly"))
}
