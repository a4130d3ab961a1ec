//! The app and its permission set in the org: whether they are there, how they get there, and the app's consumer key.

use tieline_client::metadata::Element;
use tieline_client::{ClientError, Connection};

use super::plan::{AppKind, Plan};
use super::say::Say;
use super::state::{Done, State};
use super::{deploy, metadata, org};
use crate::failure::Failure;

/// The app is in the org, whatever the state says.
pub(crate) async fn app_is_there(admin: &Connection, plan: &Plan) -> Result<bool, Failure> {
    let type_name = match plan.kind {
        AppKind::Eca => "ExternalClientApplication",
        AppKind::ConnectedApp => "ConnectedApp",
    };
    match admin.list_metadata(type_name).await {
        // Names in an org differ in more than case.
        Ok(apps) => Ok(apps.iter().any(|app| app.full_name.eq_ignore_ascii_case(&plan.name))),
        Err(error @ ClientError::Refused(_)) => Err(Failure::from(error)
            .or("log in for the setup as an administrator, who has Customize Application and Modify Metadata")),
        Err(error) => Err(error.into()),
    }
}

/// Makes the permission set, unless it is there. Answers whether it was made.
pub(crate) async fn permission_set(
    admin: &Connection,
    state: &mut State,
    plan: &Plan,
    name: &str,
    say: Say,
) -> Result<bool, Failure> {
    let there = org::permission_set(admin, name).await?;
    let (id, changed) = match there {
        Some(id) => (id, false),
        None => {
            state.permission_set_is_ours = true;
            state.save()?;
            let deployed =
                deploy::deploy(admin, &metadata::permission_set(plan, name), "the permission set", say).await;
            if let Err(failure) = deployed {
                // Refused for certain: there is nothing of ours to remove.
                if !failure.is_transient() && matches!(org::permission_set(admin, name).await, Ok(None)) {
                    state.permission_set_is_ours = false;
                    state.save()?;
                }
                return Err(failure);
            }
            let id = org::permission_set(admin, name).await?.ok_or_else(|| {
                Failure::transient(
                    format!("the permission set {name} was deployed, and the org does not show it"),
                    "run the same command again in a moment: it goes on from here",
                )
            })?;
            (id, true)
        }
    };
    state.permission_set_id = Some(id);
    state.mark(Done::PermissionSet)?;
    say.done(format!("permission set: {name}"));
    Ok(changed)
}

/// Deploys the app, with the switch on that it needs.
pub(crate) async fn deploy_app(
    admin: &Connection,
    state: &mut State,
    plan: &Plan,
    certificate: &str,
    say: Say,
) -> Result<(), Failure> {
    let scopes = plan.metadata_scopes()?;
    if plan.kind == AppKind::Eca {
        open_secrets(admin, state, say).await?;
    }
    let set = state.permission_set_id.as_deref().filter(|_| !plan.self_authorize);
    let package = metadata::app(plan, &scopes, certificate, set);
    deploy::deploy(admin, &package, &format!("the {}", plan.kind_in_words()), say).await?;
    Ok(())
}

/// Written down before it is done: an interrupted run must know that the switch is on.
async fn open_secrets(admin: &Connection, state: &mut State, say: Say) -> Result<(), Failure> {
    // Where the switch is not there (any more), or is on by somebody else's wish, it is left alone.
    match org::secrets_are_on(admin).await? {
        Some(false) => {}
        Some(true) => {
            say.warn(
                "the org lets consumer secrets out by the Metadata API already, and will go on to: if nobody needs that, switch \
                 it off in Setup, External Client Apps, Settings",
            );
            return Ok(());
        }
        None => return Ok(()),
    }
    state.secrets_are_on = true;
    state.save()?;
    let opened = deploy::deploy(admin, &metadata::secrets_switch(true), "the switch for consumer keys", say).await;
    if let Err(failure) = opened {
        if failure.is_transient() || org::secrets_are_on(admin).await? == Some(true) {
            return Err(failure);
        }
        // Refused for certain: a person may still tell the key.
        say.warn(format!("{}: the org will not tell the consumer key", failure.message()));
        state.secrets_are_on = false;
        return state.save();
    }
    say.note("the org lets consumer secrets out by the Metadata API until the app is deployed");
    Ok(())
}

/// Off again, if it was we who switched it on.
pub(crate) async fn close_secrets(admin: &Connection, state: &mut State, say: Say) -> Result<(), Failure> {
    if !state.secrets_are_on {
        return Ok(());
    }
    let closed = deploy::deploy(admin, &metadata::secrets_switch(false), "the switch for consumer keys", say).await;
    if let Err(failure) = closed {
        // Refused because there is nothing to switch off (any more)? Asked afterwards: one that was sent before may have
        // been under way.
        if !failure.is_transient() && org::secrets_are_on(admin).await? != Some(true) {
            state.secrets_are_on = false;
            return state.save();
        }
        say.warn(
            "the org's setting \"Allow access to OAuth consumer secrets via Metadata API\" is still on: switch it off in Setup, \
             External Client Apps, Settings, or run the same command again",
        );
        return Err(failure);
    }
    say.note("the org keeps consumer secrets to itself again");
    state.secrets_are_on = false;
    state.save()
}

/// A consumer key, and whether it is a person who has told it.
pub(crate) struct ClientId {
    pub(crate) id: String,
    pub(crate) was_told: bool,
}

/// The consumer key that the org has chosen. It is told in the deployed file, where the org lets it out at all; else a
/// person has told it.
pub(crate) async fn client_id(admin: &Connection, plan: &Plan, told: Option<String>) -> Result<ClientId, Failure> {
    let parts = metadata::parts(plan);
    let (type_name, name, path) = match plan.kind {
        AppKind::ConnectedApp => (parts[0].0, parts[0].1.as_str(), "oauthConfig/consumerKey"),
        AppKind::Eca => (parts[2].0, parts[2].1.as_str(), "consumerKey"),
    };
    let retrieved = admin.retrieve(&[(type_name, &[name])]).await?;
    let file = retrieved.files.iter().find(|(path, _)| path.contains(name)).map(|(_, content)| content);
    let file = file.and_then(|content| Element::parse(std::str::from_utf8(content).ok()?).ok());
    if let Some(key) = file.as_ref().and_then(|file| file.at(path)) {
        return Ok(ClientId { id: key.to_owned(), was_told: false });
    }
    told.map(|id| ClientId { id, was_told: true }).ok_or_else(|| {
        let reason = retrieved.problems.first().map_or_else(String::new, |problem| format!(" ({problem})"));
        Failure::needs_person(
            format!("the app is deployed, and the org does not tell its consumer key{reason}"),
            format!(
                "copy it from Setup, External Client App Manager, {}, Settings, OAuth Settings, Consumer Key and Secret; then run \
                 the same command again with SF_CLIENT_ID set to it",
                plan.name
            ),
        )
    })
}
