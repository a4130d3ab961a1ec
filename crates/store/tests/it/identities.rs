//! Identities of providers, sign-ins under way, and passwords set anew.

use jiff::SignedDuration;
use tieline_store::audit::AuditFilter;
use tieline_store::{
    Digest, Invited, NewIdentity, NewSignIn, NewUser, NoSignIn, Role, Session, StoreError, Unlinked, User, Uuid, WaysIn,
};

use crate::database::{Db, now};

on_both!(
    a_sign_in_is_taken_once_by_its_browser,
    an_identity_is_one_users_and_shows_in_the_audit_log,
    the_last_way_in_is_not_taken_off,
    an_invitation_is_taken_up_with_an_identity_or_not_at_all,
    a_reset_link_works_once_and_ends_all_sessions,
);

const ISSUER: &str = "https://id.example.com";
const PASSWORD_TOO: WaysIn<'_> = WaysIn { issuer: Some(ISSUER), password: true };

fn identity(subject: &str) -> NewIdentity<'_> {
    NewIdentity { issuer: ISSUER, subject, email: Some("ada@example.com") }
}

async fn owner(db: &Db) -> User {
    let new = NewUser { email: "owner@example.com", name: "Ada", password_hash: Some("$argon2id$x") };
    db.store.set_up(&new, "Acme", "", now()).await.unwrap().unwrap()
}

async fn actions(db: &Db) -> Vec<String> {
    let entries = db.store.audit_entries(&AuditFilter::default(), None, 50).await.unwrap();
    entries.into_iter().rev().map(|entry| entry.action).collect()
}

async fn a_sign_in_is_taken_once_by_its_browser(db: Db) {
    let user = owner(&db).await;
    let begin = async |state: &str| {
        let new = NewSignIn {
            state: Digest::of(state),
            browser: Digest::of("browser"),
            issuer: ISSUER,
            user: Some(user.id),
            invitation: Some(Digest::of("invitation")),
            return_to: "/leads",
            expires_at: now() + SignedDuration::from_mins(10),
        };
        db.store.begin_sign_in(&new, now()).await.unwrap();
    };
    let take = async |state: &str, browser: &str, minutes: i64| {
        let at = now() + SignedDuration::from_mins(minutes);
        db.store.take_sign_in(Digest::of(state), Digest::of(browser), at).await.unwrap()
    };
    begin("one").await;
    assert_eq!(take("two", "browser", 1).await.unwrap_err(), NoSignIn::Unknown);
    assert_eq!(take("one", "another", 1).await.unwrap_err(), NoSignIn::OtherBrowser);
    let taken = take("one", "browser", 9).await.unwrap();
    assert_eq!((taken.issuer.as_str(), taken.return_to.as_str(), taken.user), (ISSUER, "/leads", Some(user.id)));
    assert!(taken.invitation.is_some_and(|digest| digest == Digest::of("invitation")));
    assert_eq!(take("one", "browser", 9).await.unwrap_err(), NoSignIn::Unknown, "it is used up");
    begin("late").await;
    assert_eq!(take("late", "browser", 10).await.unwrap_err(), NoSignIn::Unknown, "it has ended");
    begin("many").await;
    let at_once = (0..8).map(|_| take("many", "browser", 1));
    let taken = futures_util::future::join_all(at_once).await;
    assert_eq!(taken.iter().filter(|taken| taken.is_ok()).count(), 1, "one of many takes it");
}

async fn an_identity_is_one_users_and_shows_in_the_audit_log(db: Db) {
    let user = owner(&db).await;
    assert!(db.store.account_by_identity(&identity("s1"), now()).await.unwrap().is_none());
    let linked = db.store.link_identity(user.id, &identity("s1"), Some("192.0.2.1"), now()).await.unwrap();
    let again = db.store.link_identity(user.id, &identity("s1"), None, now()).await.unwrap();
    assert_eq!(linked.id, again.id);
    assert_eq!(actions(&db).await, ["service.set_up", "identity.linked"], "what was there already is no change");
    let other = second(&db).await;
    let taken = db.store.link_identity(other, &identity("s1"), None, now()).await.unwrap_err();
    assert!(matches!(taken, StoreError::Taken(_)), "{taken}");
    // The same subject at another provider is somebody else.
    let elsewhere = NewIdentity { issuer: "https://id.example.org", ..identity("s1") };
    assert!(db.store.account_by_identity(&elsewhere, now()).await.unwrap().is_none());
    let later = now() + SignedDuration::from_hours(1);
    let told = NewIdentity { email: Some("new@example.com"), ..identity("s1") };
    let found = db.store.account_by_identity(&told, later).await.unwrap().unwrap();
    assert_eq!(found.user.id, user.id);
    assert_eq!(found.user.email, "owner@example.com", "the account's address is its own");
    let listed = db.store.identities_of(user.id).await.unwrap();
    assert_eq!((listed[0].email.as_deref(), listed[0].last_used_at), (Some("new@example.com"), Some(later)));
}

async fn second(db: &Db) -> Uuid {
    let token = Digest::of("t");
    let ends = now() + SignedDuration::from_hours(1);
    db.store.own().invite("second@example.com", Role::Member, token, now(), ends).await.unwrap();
    let invited = Invited::New(NewUser { email: "", name: "Second", password_hash: None });
    db.store.accept_invitation(token, invited, "", now()).await.unwrap().unwrap().1
}

async fn the_last_way_in_is_not_taken_off(db: Db) {
    let user = owner(&db).await;
    let second = second(&db).await;
    let unlink = async |user: Uuid, id: Uuid, ways: WaysIn<'_>| {
        db.store.unlink_identity(user, id, ways, None, now()).await.unwrap()
    };
    let own = db.store.link_identity(user.id, &identity("s1"), None, now()).await.unwrap().id;
    let theirs = db.store.link_identity(second, &identity("s2"), None, now()).await.unwrap().id;
    assert_eq!(unlink(user.id, theirs, PASSWORD_TOO).await, Unlinked::NotFound, "another user's");
    assert_eq!(unlink(second, theirs, PASSWORD_TOO).await, Unlinked::LastWayIn, "no password");
    let only = WaysIn { password: false, ..PASSWORD_TOO };
    assert_eq!(unlink(user.id, own, only).await, Unlinked::LastWayIn, "passwords are off");
    assert_eq!(unlink(user.id, own, PASSWORD_TOO).await, Unlinked::Done);
    let old = NewIdentity { issuer: "https://old.example.com", ..identity("s2") };
    db.store.link_identity(second, &old, None, now()).await.unwrap();
    assert_eq!(
        unlink(second, theirs, PASSWORD_TOO).await,
        Unlinked::LastWayIn,
        "the other provider is not asked any more"
    );
    let more = db.store.link_identity(second, &identity("s3"), None, now()).await.unwrap().id;
    let at_once = [theirs, more].map(|id| unlink(second, id, PASSWORD_TOO));
    let mut ended = futures_util::future::join_all(at_once).await;
    ended.sort_by_key(|ended| *ended == Unlinked::LastWayIn);
    assert_eq!(ended, [Unlinked::Done, Unlinked::LastWayIn], "two at once leave one");
    assert_eq!(actions(&db).await.iter().filter(|action| *action == "identity.unlinked").count(), 2);
}

async fn an_invitation_is_taken_up_with_an_identity_or_not_at_all(db: Db) {
    let user = owner(&db).await;
    db.store.link_identity(user.id, &identity("s1"), None, now()).await.unwrap();
    let (token, ends) = (Digest::of("t"), now() + SignedDuration::from_hours(1));
    db.store.own().invite("new@example.com", Role::Member, token, now(), ends).await.unwrap();
    let accept = async |subject: &str| {
        let new = Invited::New(NewUser { email: "", name: "New", password_hash: None });
        db.store.accept_invitation_with_identity(token, new, &identity(subject), None, now()).await
    };
    let taken = accept("s1").await.unwrap_err();
    assert!(matches!(taken, StoreError::Taken(_)), "{taken}");
    assert!(db.store.account("new@example.com").await.unwrap().is_none(), "nothing of it was kept");
    let (invitation, new) = accept("s9").await.unwrap().unwrap();
    assert_eq!((invitation.email.as_str(), invitation.role), ("new@example.com", Role::Member));
    let found = db.store.account_by_identity(&identity("s9"), now()).await.unwrap().unwrap();
    assert_eq!((found.user.id, found.password_hash), (new, None));
    assert!(accept("s9").await.unwrap().is_none(), "it works once");
}

async fn a_reset_link_works_once_and_ends_all_sessions(db: Db) {
    let user = owner(&db).await;
    let session = Session {
        id: Uuid::now_v7(),
        user_id: user.id,
        created_at: now(),
        last_seen_at: now(),
        expires_at: now() + SignedDuration::from_hours(1),
        address: String::new(),
        user_agent: String::new(),
    };
    db.store.begin_session(Digest::of("session"), &session, "password").await.unwrap();
    let ends = now() + SignedDuration::from_mins(30);
    let begin =
        async |token: &str| db.store.begin_password_reset(user.id, Digest::of(token), now(), ends).await.unwrap();
    let reset =
        async |token: &str, at| db.store.reset_password(Digest::of(token), "$argon2id$y", None, at).await.unwrap();
    begin("first").await;
    begin("second").await;
    assert!(reset("first", now()).await.is_none(), "the second link ends the first");
    assert!(reset("second", ends).await.is_none(), "it has ended");
    assert!(db.store.password_reset(Digest::of("second"), ends).await.unwrap().is_none());
    begin("third").await;
    let named = db.store.password_reset(Digest::of("third"), now()).await.unwrap().unwrap();
    assert_eq!(named.email, "owner@example.com");
    let listed = db.store.users(now()).await.unwrap();
    assert_eq!((listed[0].sessions, listed[0].identities, listed[0].businesses), (1, 0, 1));
    assert!(listed[0].has_password && !listed[0].is_disabled);
    assert_eq!(reset("third", now()).await.unwrap().id, user.id);
    assert!(reset("third", now()).await.is_none(), "it works once");
    let account = db.store.account_of(user.id).await.unwrap().unwrap();
    assert_eq!(account.password_hash.as_deref(), Some("$argon2id$y"));
    assert!(db.store.session(Digest::of("session"), now()).await.unwrap().is_none(), "the sessions have ended");
    db.store.begin_session(Digest::of("again"), &Session { id: Uuid::now_v7(), ..session }, "password").await.unwrap();
    assert_eq!(db.store.end_sessions_of(user.id, now()).await.unwrap(), 1);
    let told = actions(&db).await;
    assert_eq!(told.iter().filter(|action| *action == "password.reset_created").count(), 3);
    assert_eq!(told[told.len() - 3..], ["password.reset", "session.started", "session.ended"]);
}
