//! What has been granted: access tokens, and refresh tokens in families. One approval opens one family; all
//! that it brings (the refresh tokens of a rotation, the access tokens they were exchanged for) ends with it.
//!
//! Families and spent tokens are kept until the org stops, so that a replay is recognised however late.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use super::random_token;

/// A session ends after two hours without a call, the default of an org.
pub(crate) const SESSION_TIMEOUT: SignedDuration = SignedDuration::from_hours(2);

/// Live families of one user and app. A further one ends the oldest.
const FAMILIES: usize = 5;

/// What stands behind an access token.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) user_id: String,
    pub(crate) client_id: String,
    pub(crate) scope: String,
    pub(crate) family: Option<usize>,
    /// Came from the username-password flow, which Data Cloud treats apart.
    pub(crate) by_password: bool,
    pub(crate) opened: Timestamp,
    pub(crate) last_used: Timestamp,
}

#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) user_id: String,
    pub(crate) client_id: String,
    pub(crate) scope: String,
    pub(crate) opened: Timestamp,
    /// The one refresh token that is not spent.
    token: String,
    alive: bool,
}

pub(crate) struct Grants {
    pub(crate) session_timeout: SignedDuration,
    /// An absolute end of access tokens, whatever their use.
    pub(crate) token_life: Option<SignedDuration>,
    sessions: HashMap<String, Session>,
    families: Vec<Family>,
    /// Refresh tokens, spent ones too, and their families.
    refresh_tokens: HashMap<String, usize>,
}

impl Default for Grants {
    fn default() -> Self {
        Grants {
            session_timeout: SESSION_TIMEOUT,
            token_life: None,
            sessions: HashMap::new(),
            families: Vec::new(),
            refresh_tokens: HashMap::new(),
        }
    }
}

impl Grants {
    pub(crate) fn open_session(&mut self, token: String, session: Session) {
        self.sessions.insert(token, session);
    }

    pub(crate) fn came_by_password(&mut self, token: &str) {
        if let Some(session) = self.sessions.get_mut(token) {
            session.by_password = true;
        }
    }

    fn is_live(&self, session: &Session, now: Timestamp) -> bool {
        now.duration_since(session.last_used) <= self.session_timeout
            && self.token_life.is_none_or(|life| now.duration_since(session.opened) <= life)
    }

    /// When the session ends if nothing more is called.
    pub(crate) fn end(&self, session: &Session) -> Timestamp {
        let after = |at: Timestamp, life: SignedDuration| at.checked_add(life).unwrap_or(Timestamp::MAX);
        let idle = after(session.last_used, self.session_timeout);
        self.token_life.map_or(idle, |life| idle.min(after(session.opened, life)))
    }

    /// The live session of a token, whose timeout does not move.
    pub(crate) fn peek(&self, token: &str, now: Timestamp) -> Option<&Session> {
        self.sessions.get(token).filter(|session| self.is_live(session, now))
    }

    /// The live session of a token, whose timeout moves.
    pub(crate) fn session(&mut self, token: &str, now: Timestamp) -> Option<&Session> {
        if self.peek(token, now).is_none() {
            self.sessions.remove(token);
        }
        let session = self.sessions.get_mut(token)?;
        session.last_used = now;
        Some(session)
    }

    pub(crate) fn live_sessions(&self, now: Timestamp) -> usize {
        self.sessions.values().filter(|session| self.is_live(session, now)).count()
    }

    pub(crate) fn end_all_sessions(&mut self) {
        self.sessions.clear();
    }

    /// Sessions and refresh tokens of everybody.
    pub(crate) fn end_all(&mut self) {
        self.sessions.clear();
        for family in &mut self.families {
            family.alive = false;
        }
    }

    pub(crate) fn end_sessions_of(&mut self, user_id: &str) {
        self.sessions.retain(|_, session| session.user_id != user_id);
    }

    /// A new family and its first refresh token.
    pub(crate) fn open_family(&mut self, user: &str, client: &str, scope: &str, now: Timestamp) -> (usize, String) {
        let of_both = |f: &Family| f.alive && f.user_id == user && f.client_id == client;
        let live: Vec<usize> = (0..self.families.len()).filter(|id| of_both(&self.families[*id])).collect();
        for id in live.iter().take((live.len() + 1).saturating_sub(FAMILIES)) {
            self.revoke_family(*id);
        }
        let id = self.families.len();
        let token = new_refresh_token();
        self.families.push(Family {
            user_id: user.to_owned(),
            client_id: client.to_owned(),
            scope: scope.to_owned(),
            opened: now,
            token: token.clone(),
            alive: true,
        });
        self.refresh_tokens.insert(token.clone(), id);
        (id, token)
    }

    /// The live family of a refresh token that is not spent.
    pub(crate) fn family(&self, token: &str) -> Option<(usize, &Family)> {
        let id = *self.refresh_tokens.get(token)?;
        let family = self.families.get(id)?;
        (family.alive && family.token == token).then_some((id, family))
    }

    /// The family, dead or alive, in which the token was spent.
    pub(crate) fn family_that_spent(&self, token: &str) -> Option<(usize, &Family)> {
        let id = *self.refresh_tokens.get(token)?;
        let family = self.families.get(id)?;
        (family.token != token).then_some((id, family))
    }

    /// Spends the family's refresh token; answers the next one.
    pub(crate) fn rotate(&mut self, id: usize) -> String {
        let token = new_refresh_token();
        self.families[id].token.clone_from(&token);
        self.refresh_tokens.insert(token.clone(), id);
        token
    }

    pub(crate) fn revoke_family(&mut self, id: usize) {
        self.families[id].alive = false;
        self.sessions.retain(|_, session| session.family != Some(id));
    }

    /// Ends an access token alone, or a refresh token with its family; false when there is no such token.
    pub(crate) fn revoke(&mut self, token: &str) -> bool {
        if self.sessions.remove(token).is_some() {
            return true;
        }
        let family = self.family(token).map(|(id, _)| id);
        if let Some(id) = family {
            self.revoke_family(id);
        }
        family.is_some()
    }

    /// Ends all that an app was granted: it is gone.
    pub(crate) fn end_app(&mut self, client_id: &str) {
        for id in 0..self.families.len() {
            if self.families[id].client_id == client_id {
                self.revoke_family(id);
            }
        }
        self.sessions.retain(|_, session| session.client_id != client_id);
    }

    /// How many families live, and how many do not any more.
    pub(crate) fn families(&self) -> (usize, usize) {
        let alive = self.families.iter().filter(|f| f.alive).count();
        (alive, self.families.len() - alive)
    }
}

fn new_refresh_token() -> String {
    format!("5Aep861{}", random_token(80))
}
