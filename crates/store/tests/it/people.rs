//! Accounts, sessions, teams, invitations, API keys.

use jiff::SignedDuration;
use tieline_store::{Digest, Invited, NewApiKey, NewUser, Role, Session, StoreError, TeamChange, User, Uuid};

use crate::database::{Db, now};

on_both!(
    only_one_of_many_sets_the_service_up,
    a_session_ends_and_is_its_users,
    a_team_keeps_its_last_owner,
    an_invitation_works_once,
    an_api_key_opens_its_business_until_it_is_revoked,
);

fn new<'a>(email: &'a str) -> NewUser<'a> {
    NewUser { email, name: "Ada", password_hash: Some("$argon2id$x") }
}

async fn owner(db: &Db) -> User {
    db.store.set_up(&new("Owner@Example.com"), "Acme", "", now()).await.unwrap().unwrap()
}

async fn only_one_of_many_sets_the_service_up(db: Db) {
    assert!(!db.store.has_users().await.unwrap());
    let addresses: Vec<String> = (0..8).map(|n| format!("u{n}@example.com")).collect();
    let at_once =
        addresses.iter().map(|email| async { db.store.set_up(&new(email), "Acme", "", now()).await.unwrap() });
    let made: Vec<User> = futures_util::future::join_all(at_once).await.into_iter().flatten().collect();
    assert_eq!(made.len(), 1);
    let memberships = db.store.memberships(made[0].id).await.unwrap();
    assert_eq!(memberships.len(), 1);
    assert_eq!((memberships[0].name(), memberships[0].role()), ("Acme", Role::Owner));
    assert_eq!(memberships[0].business(), db.store.own().business());
    let account = db.store.account(&made[0].email.to_uppercase()).await.unwrap().unwrap();
    assert_eq!(account.password_hash.as_deref(), Some("$argon2id$x"));
    assert!(!format!("{account:?}").contains("argon2id"));
}

fn session(user: Uuid) -> Session {
    Session {
        id: Uuid::now_v7(),
        user_id: user,
        created_at: now(),
        last_seen_at: now(),
        expires_at: now() + SignedDuration::from_hours(1),
        address: "127.0.0.1".to_owned(),
        user_agent: "test".to_owned(),
    }
}

async fn a_session_ends_and_is_its_users(db: Db) {
    let user = owner(&db).await;
    let (first, second) = (session(user.id), session(user.id));
    db.store.begin_session(Digest::of("one"), &first, "password").await.unwrap();
    db.store.begin_session(Digest::of("two"), &second, "password").await.unwrap();
    let (found, whose) = db.store.session(Digest::of("one"), now()).await.unwrap().unwrap();
    assert_eq!((found.id, whose.email.as_str()), (first.id, "owner@example.com"));
    assert!(db.store.session(Digest::of("three"), now()).await.unwrap().is_none());
    let later = now() + SignedDuration::from_hours(2);
    assert!(db.store.session(Digest::of("one"), later).await.unwrap().is_none(), "it has ended");
    db.store.touch_session(first.id, later, later + SignedDuration::from_hours(1)).await.unwrap();
    assert!(db.store.session(Digest::of("one"), later).await.unwrap().is_some());
    assert!(!db.store.end_session(Uuid::now_v7(), first.id, "", now()).await.unwrap(), "another user's");
    db.store.set_password(user.id, "$argon2id$y", Some(first.id), "", now()).await.unwrap();
    let left: Vec<Uuid> = db.store.sessions_of(user.id, now()).await.unwrap().iter().map(|s| s.id).collect();
    assert_eq!(left, [first.id], "another password ends the other sessions");
    assert!(db.store.end_session(user.id, first.id, "", now()).await.unwrap());
    assert!(db.store.session(Digest::of("one"), now()).await.unwrap().is_none());
}

async fn a_team_keeps_its_last_owner(db: Db) {
    let first = owner(&db).await;
    let tenant = db.store.own();
    let token = Digest::of("t");
    tenant
        .invite("second@example.com", Role::Owner, token, now(), now() + SignedDuration::from_hours(1))
        .await
        .unwrap();
    let invited = Invited::New(NewUser { email: "", name: "Second", password_hash: None });
    let (_, second) = db.store.accept_invitation(token, invited, "", now()).await.unwrap().unwrap();
    // Both leave at once: one must stay.
    let leave = |user: Uuid| {
        let tenant = tenant.clone();
        async move { tenant.change_member(user, None, now()).await.unwrap() }
    };
    let (a, b) = tokio::join!(leave(first.id), leave(second));
    assert!([a, b].contains(&TeamChange::Done) && [a, b].contains(&TeamChange::LastOwner), "{a:?} {b:?}");
    let left = tenant.members().await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(tenant.change_member(left[0].user.id, Some(Role::Admin), now()).await.unwrap(), TeamChange::LastOwner);
    assert_eq!(tenant.change_member(Uuid::now_v7(), Some(Role::Admin), now()).await.unwrap(), TeamChange::NotFound);
    let gone = if left[0].user.id == first.id { second } else { first.id };
    assert!(db.store.membership(gone, tenant.business()).await.unwrap().is_none());
}

async fn an_invitation_works_once(db: Db) {
    let user = owner(&db).await;
    let tenant = db.store.own();
    let soon = now() + SignedDuration::from_hours(1);
    tenant.invite("a@example.com", Role::Viewer, Digest::of("old"), now(), soon).await.unwrap();
    let made = tenant.invite("A@example.com", Role::Member, Digest::of("new"), now(), soon).await.unwrap();
    assert_eq!(tenant.invitations(now()).await.unwrap().len(), 1, "the second replaced the first");
    assert!(db.store.invitation(Digest::of("old"), now()).await.unwrap().is_none());
    let (found, business) = db.store.invitation(Digest::of("new"), now()).await.unwrap().unwrap();
    assert_eq!((found.id, business.as_str()), (made.id, "Acme"));
    assert!(db.store.invitation(Digest::of("new"), soon).await.unwrap().is_none(), "it has ended");
    let taken = NewUser { email: "", name: "Somebody", password_hash: None };
    let (first, second) = tokio::join!(
        db.store.accept_invitation(Digest::of("new"), Invited::New(taken), "", now()),
        db.store.accept_invitation(Digest::of("new"), Invited::User(user.id), "", now()),
    );
    assert_eq!([&first, &second].iter().filter(|r| r.as_ref().unwrap().is_some()).count(), 1);
    // An address that has an account: nothing is spent.
    tenant.invite("owner@example.com", Role::Member, Digest::of("x"), now(), soon).await.unwrap();
    let refused = db.store.accept_invitation(Digest::of("x"), Invited::New(taken), "", now()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Taken(_)), "{refused}");
    assert!(db.store.invitation(Digest::of("x"), now()).await.unwrap().is_some());
    let open = tenant.invitations(now()).await.unwrap();
    assert!(tenant.take_back_invitation(open[0].id, now()).await.unwrap());
    assert!(!tenant.take_back_invitation(open[0].id, now()).await.unwrap());
}

async fn an_api_key_opens_its_business_until_it_is_revoked(db: Db) {
    let user = owner(&db).await;
    let business = db.store.create_business("Other", user.id, "", now()).await.unwrap();
    let tenant = db.store.as_member(&db.store.membership(user.id, business).await.unwrap().unwrap());
    let ends = now() + SignedDuration::from_hours(1);
    let new =
        NewApiKey { name: "ci", prefix: "tl_abc", digest: Digest::of("k"), role: Role::Member, expires_at: Some(ends) };
    let made = tenant.create_api_key(&new, now()).await.unwrap();
    assert_eq!((made.created_by, made.last_used_at), (Some(user.id), None));
    let (key, opened) = db.store.api_key(Digest::of("k"), now()).await.unwrap().unwrap();
    assert_eq!((key.id, opened.business(), opened.user()), (made.id, business, None));
    assert_eq!(tenant.api_keys(now()).await.unwrap()[0].last_used_at, Some(now()));
    assert!(db.store.api_key(Digest::of("k"), ends).await.unwrap().is_none(), "it has ended");
    assert!(db.store.own().api_keys(now()).await.unwrap().is_empty());
    assert!(!db.store.own().revoke_api_key(made.id, now()).await.unwrap(), "another business's");
    assert!(tenant.revoke_api_key(made.id, now()).await.unwrap());
    assert!(db.store.api_key(Digest::of("k"), now()).await.unwrap().is_none());
    assert!(tenant.api_keys(now()).await.unwrap().is_empty());
}
