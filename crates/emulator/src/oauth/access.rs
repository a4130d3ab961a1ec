//! Whether an app may act for a user at all: the app's policy, and the org's.

use super::OAuthError;
use super::app::App;
use crate::org::Org;

/// The user has approved the app, or an admin has for him.
pub(crate) fn is_approved(org: &Org, app: &App, user_id: &str) -> bool {
    if app.policy.admin_approved {
        return is_listed(org, app, user_id).unwrap_or(false);
    }
    org.approvals.contains(&(app.client_id.clone(), user_id.to_owned()))
}

fn is_listed(org: &Org, app: &App, user_id: &str) -> rusqlite::Result<bool> {
    let mut sets = org
        .db
        .prepare_cached("SELECT \"PermissionSetId\" FROM \"PermissionSetAssignment\" WHERE \"AssigneeId\" = ?")?;
    let sets: Vec<String> = sets.query_map([user_id], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let profile =
        "SELECT \"Name\" FROM \"Profile\" WHERE \"Id\" = (SELECT \"ProfileId\" FROM \"User\" WHERE \"Id\" = ?)";
    let profile: String = org.db.query_row(profile, [user_id], |row| row.get(0))?;
    Ok(sets.iter().any(|set| app.policy.permission_sets.contains(set)) || app.policy.profiles.contains(&profile))
}

/// What the policies say, before a token is issued.
pub(crate) fn check(org: &Org, app: &App, user_id: &str) -> Result<(), OAuthError> {
    // API Access Control: apps that no admin has approved are shut out. By which words, no source tells; the code is in
    // the server's own list.
    if org.setting("ConnectedApp", "enableAdminApprovedAppsOnly") && !app.policy.admin_approved {
        return Err(OAuthError("app_blocked", "this app is blocked by admin"));
    }
    if app.policy.admin_approved && !is_approved(org, app, user_id) {
        return Err(OAuthError("invalid_app_access", "user is not admin approved to access this app"));
    }
    Ok(())
}
