//! The second step: the app through which people log in, the service's or one of the org's own.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;
use tieline_auth::Secret;
use tieline_store::Uuid;

use super::{Instead, Scene, Step, StepLine};
use crate::accounts::SecretText;
use crate::connect::authorize::Asked;
use crate::connect::credentials;
use crate::extract::{Body, Path};
use crate::integrations::{self, IntegrationChange, OwnApp};
use crate::pages::frame::Frame;
use crate::pages::visit::{Sent, Visit};
use crate::problem::Problem;

/// Shorter ones are cut off, or something else.
const SHORTEST_KEY: usize = 10;

/// What the form sends.
#[derive(Deserialize)]
pub(crate) struct Form {
    #[serde(default)]
    app: String,
    #[serde(default)]
    client_id: String,
    client_secret: Option<SecretText>,
    #[serde(default)]
    go: String,
}

#[derive(Default)]
struct Flaws {
    client_id: String,
    client_secret: String,
}

#[derive(Template)]
#[template(path = "setup_app.html")]
struct Page {
    frame: Frame,
    steps: Vec<StepLine>,
    id: Uuid,
    /// The key of the service's app, if it has one.
    service_app: Option<String>,
    own: bool,
    client_id: String,
    /// Whether a secret is kept.
    has_secret: bool,
    asked: Asked,
    flaws: Flaws,
    problem: Option<Problem>,
}

/// The app of the connection's own that is kept: its key, and whether there is a secret. The secret itself goes nowhere.
async fn kept(scene: &Scene) -> Result<Option<(String, bool)>, Problem> {
    let settings = credentials::open_to_replace(&scene.visit.caller.tenant, scene.id()).await?;
    let key = settings.get("SF_CLIENT_ID").map(str::to_owned);
    Ok(key.map(|key| (key, settings.get("SF_CLIENT_SECRET").is_some())))
}

async fn page(
    scene: &Scene,
    own: bool,
    client_id: String,
    flaws: Flaws,
    problem: Option<Problem>,
) -> Result<Html<String>, Instead> {
    let page = Page {
        frame: scene.frame().await?,
        steps: scene.steps(Step::App),
        id: scene.id(),
        service_app: scene.visit.service.settings().app.as_ref().map(|app| app.client_id.clone()),
        own,
        client_id,
        has_secret: kept(scene).await?.is_some_and(|(_, has_secret)| has_secret),
        asked: Asked::of(&scene.visit.service)?,
        flaws,
        problem,
    };
    Ok(Html(page.render()?))
}

/// The form.
pub(crate) async fn app(visit: Visit, Path(id): Path<Uuid>) -> Result<Response, Instead> {
    let scene = Scene::at(visit, id, Step::App).await?;
    let kept = kept(&scene).await?;
    let own = kept.is_some() || scene.visit.service.settings().app.is_none();
    let client_id = kept.map(|(key, _)| key).unwrap_or_default();
    Ok(page(&scene, own, client_id, Flaws::default(), None).await?.into_response())
}

/// What is wrong with a consumer key, by its looks.
fn flaw_of_key(key: &str) -> Option<&'static str> {
    let is_all = |fits: fn(&u8) -> bool| key.as_bytes().iter().all(fits);
    Some(match key {
        "" => "Paste the consumer key: it stands on the app's page under Consumer Key and Secret.",
        key if key.contains(char::is_whitespace) => {
            "There is white space in it. Copy the key once more, with its copy button."
        }
        _ if !is_all(u8::is_ascii_graphic) => "There is a character in it that no key has. Copy it once more.",
        key if key.len() > 512 => "It is too long for a consumer key.",
        key if key.len() < SHORTEST_KEY => "It is too short for a consumer key. Copy all of it.",
        _ if is_all(u8::is_ascii_digit) || (key.len() == 64 && is_all(u8::is_ascii_hexdigit)) => {
            "This looks like the consumer secret. The key is the other one of the two."
        }
        _ => return None,
    })
}

fn flaw_of_secret(secret: &str, key: &str) -> Option<&'static str> {
    Some(match secret {
        "" => "Paste the consumer secret: it stands below the key.",
        secret if secret == key => "This is the consumer key once more. The secret is the other one of the two.",
        secret if secret.contains(char::is_whitespace) => {
            "There is white space in it. Copy the secret once more, with its copy button."
        }
        secret if !secret.bytes().all(|b| b.is_ascii_graphic()) || secret.len() > 512 => {
            "It holds what no secret holds. Copy it once more."
        }
        _ => return None,
    })
}

/// Keeps which app it is.
pub(crate) async fn choose(Path(id): Path<Uuid>, sent: Sent<Form>) -> Result<Response, Instead> {
    let Sent { visit, form } = sent;
    let scene = Scene::at(visit, id, Step::App).await?;
    let (kept, own) = (kept(&scene).await?, form.app == "own");
    let key = form.client_id.trim().to_owned();
    let secret = form.client_secret.unwrap_or(SecretText(Secret::new("")));
    let secret = Secret::new(secret.0.expose().trim());
    let is_check = form.go == "check";
    let stays = secret.expose().is_empty() && kept.as_ref().is_some_and(|(before, _)| *before == key);
    let mut flaws = Flaws::default();
    if own {
        let told = |flaw: Option<&'static str>, is_empty: bool| {
            flaw.filter(|_| !(is_check && is_empty)).unwrap_or_default().to_owned()
        };
        flaws.client_id = told(flaw_of_key(&key), key.is_empty());
        if !stays {
            flaws.client_secret = told(flaw_of_secret(secret.expose(), &key), secret.expose().is_empty());
        }
    }
    if is_check {
        return Ok(page(&scene, own, key, flaws, None).await?.into_response());
    }
    if !flaws.client_id.is_empty() || !flaws.client_secret.is_empty() {
        return Ok((StatusCode::BAD_REQUEST, page(&scene, own, key, flaws, None).await?).into_response());
    }
    let (service, caller) = (scene.visit.service.clone(), scene.visit.caller.clone());
    let saved = match (own, kept) {
        (true, _) if stays => Ok(()),
        (true, _) => {
            let change = IntegrationChange::app(OwnApp::new(key.clone(), secret));
            let changed = integrations::change_integration(State(service), caller, Path(id), Body(change));
            changed.await.map(drop)
        }
        (false, _) if service.settings().app.is_none() => Err(Problem::conflict(
            "app_missing",
            "the service has no app of its own",
            "take an app of this org, or ask whoever runs the service to set SALESFORCE_CLIENT_ID",
        )),
        (false, Some(_)) => integrations::take_out_app(&service, &caller, id).await,
        (false, None) => Ok(()),
    };
    if let Err(problem) = saved {
        let status = problem.status();
        return Ok((status, page(&scene, own, key, Flaws::default(), Some(problem)).await?).into_response());
    }
    scene.keep(&super::Chosen { app: true, ..scene.chosen.clone() }).await?;
    Ok(Redirect::to(&Step::Login.path(id)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_told_by_its_looks() {
        let hex = "0123456789abcdef".repeat(4);
        for (key, part) in [
            ("", "Paste"),
            ("3MVG9 abc def ghi", "white space"),
            ("3MVG9…abcdefghij", "no key has"),
            ("3MVG9", "too short"),
            ("1234567890123456789", "looks like the consumer secret"),
            (hex.as_str(), "looks like the consumer secret"),
        ] {
            assert!(flaw_of_key(key).unwrap().contains(part), "{key}");
        }
        assert!(flaw_of_key(&"x".repeat(513)).is_some());
        assert!(flaw_of_key("3MVG9abcDEF._ghi12345").is_none());
        assert!(flaw_of_secret("abcdefghijk", "abcdefghijk").unwrap().contains("key once more"));
        assert!(flaw_of_secret(&hex, "3MVG9abcDEF._ghi12345").is_none());
    }
}
