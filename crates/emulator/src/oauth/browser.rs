//! People at browsers: who is signed in, and which forms may be sent back.

use std::collections::HashMap;

use super::random_token;

/// Name of the cookie. Its value is worth nothing outside this org.
pub(crate) const COOKIE: &str = "local_sid";

/// What a form was made for.
#[derive(Debug, Clone)]
pub(crate) enum Purpose {
    /// Somebody is to sign in, and then goes to this path.
    SignIn { next: String },
    /// A signed-in user decides about an authorization request (its query string).
    Authorize { query: String, user_id: String },
    /// A signed-in user decides about a device.
    Device { user_code: String, user_id: String },
}

#[derive(Default)]
pub(crate) struct Browsers {
    signed_in: HashMap<String, String>,
    /// By a token in the form: good once, so that no other page can send it, nor anybody twice.
    forms: HashMap<String, Purpose>,
}

impl Browsers {
    /// A cookie for the user.
    pub(crate) fn sign_in(&mut self, user_id: &str) -> String {
        let cookie = random_token(40);
        self.signed_in.insert(cookie.clone(), user_id.to_owned());
        cookie
    }

    pub(crate) fn user(&self, cookie: Option<&str>) -> Option<String> {
        self.signed_in.get(cookie?).cloned()
    }

    pub(crate) fn form(&mut self, purpose: Purpose) -> String {
        let token = random_token(40);
        self.forms.insert(token.clone(), purpose);
        token
    }

    pub(crate) fn used(&mut self, token: &str) -> Option<Purpose> {
        self.forms.remove(token)
    }
}
