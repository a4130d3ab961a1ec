//! Who somebody is here, once the provider has said who they are there.

use serde_json::json;
use tieline_store::audit::{Action, Actor, Entry};
use tieline_store::{Account, Digest, Invited, NewIdentity, NewUser, TakenSignIn, User};

use super::exchange::Person;
use super::refusal::Refusal;
use super::settings::OpenIdProvider;
use crate::accounts::checked_name;
use crate::caller::SignedIn;
use crate::problem::Problem;
use crate::service::Service;

/// What came of it.
pub(super) enum Arrived {
    /// A session is to begin.
    As(User),
    /// Who is signed in already can sign in with the identity from now on.
    Linked,
}

/// Finds or makes the account, as far as the person may have one.
pub(super) async fn arrive(
    service: &Service,
    told: &OpenIdProvider,
    taken: &TakenSignIn,
    person: &Person,
    signed_in: Result<SignedIn, Problem>,
    address: &str,
) -> Result<Arrived, Refusal> {
    let identity = NewIdentity { issuer: &told.issuer, subject: &person.subject, email: person.email.as_deref() };
    let visit = Visit { service, told, person, identity, address };
    if let Some(user) = taken.user {
        // Whoever has begun it must still be the one who sits there: the identity becomes a key to their account.
        signed_in.ok().filter(|signed_in| signed_in.user.id == user).ok_or_else(Refusal::other_user)?;
        service.store().link_identity(user, &identity, Some(address), service.now()).await?;
        return Ok(Arrived::Linked);
    }
    let known = service.store().account_by_identity(&identity, service.now()).await?;
    let account = match (taken.invitation, known) {
        (Some(invitation), known) => visit.join(invitation, known).await?,
        (None, Some(account)) => account,
        (None, None) => visit.by_address().await?.ok_or_else(|| Refusal::unknown(&told.name))?,
    };
    match account.is_disabled {
        true => Err(Refusal::disabled()),
        false => Ok(Arrived::As(account.user)),
    }
}

struct Visit<'a> {
    service: &'a Service,
    told: &'a OpenIdProvider,
    person: &'a Person,
    identity: NewIdentity<'a>,
    address: &'a str,
}

impl Visit<'_> {
    /// The account with the address that the provider vouches for, where the operator trusts it in that. It is linked.
    async fn by_address(&self) -> Result<Option<Account>, Refusal> {
        let Some(email) =
            self.person.email.as_deref().filter(|_| self.told.trust_email && self.person.is_email_verified)
        else {
            return Ok(None);
        };
        let store = self.service.store();
        let Some(account) = store.account(email).await?.filter(|account| !account.is_disabled) else { return Ok(None) };
        store.link_identity(account.user.id, &self.identity, Some(self.address), self.service.now()).await?;
        Ok(Some(account))
    }

    /// Takes an invitation up. It is for an address, and the provider must vouch for that one.
    async fn join(&self, token: Digest, known: Option<Account>) -> Result<Account, Refusal> {
        let (store, now) = (self.service.store(), self.service.now());
        let (invitation, _) = store.invitation(token, now).await?.ok_or_else(Refusal::invitation_ended)?;
        let email = self.person.email.as_deref().filter(|_| self.person.is_email_verified);
        let email = email.ok_or_else(|| Refusal::unverified(&self.told.name))?;
        if email != invitation.email {
            return Err(Refusal::other_address(&self.told.name, email));
        }
        let known = match known {
            // The account's own address is what its owner is invited by.
            Some(account) if account.user.email != invitation.email => {
                return Err(Refusal::other_address(&self.told.name, &account.user.email));
            }
            Some(account) => Some(account),
            None => self.by_address().await?,
        };
        if known.as_ref().is_some_and(|account| account.is_disabled) {
            return Err(Refusal::disabled());
        }
        let name = self.person.name.as_deref().and_then(|name| checked_name("name", name).ok());
        let name = name.unwrap_or_else(|| email.split('@').next().unwrap_or_default().chars().take(100).collect());
        let who = match &known {
            Some(account) => Invited::User(account.user.id),
            None => Invited::New(NewUser { email, name: &name, password_hash: None }),
        };
        let joined = store.accept_invitation_with_identity(token, who, &self.identity, Some(self.address), now).await?;
        let (_, user) = joined.ok_or_else(Refusal::invitation_ended)?;
        store.account_of(user).await?.ok_or_else(Refusal::invitation_ended)
    }
}

/// Writes down that somebody was not signed in.
pub(super) async fn noted(service: &Service, refusal: &Refusal, address: &str) {
    let entry = Entry {
        outcome: tieline_store::audit::Outcome::Failure,
        detail: json!({"method": "oidc", "code": refusal.code()}),
        address: Some(address),
        ..Entry::new(Actor::Anonymous, Action::SessionFailed)
    };
    if let Err(error) = service.store().audit(&entry, service.now()).await {
        tracing::error!(%error, "a sign-in that failed could not be noted");
    }
}
