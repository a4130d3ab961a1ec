//! Somebody's own account: where they are signed in, their password, its end.

use super::*;
use crate::world::PASSWORD;

on_both!(sessions_passwords_and_the_account_are_ones_own, whoever_is_in_no_business_makes_one);

const NEXT: &str = "another battery horse";

async fn sessions_passwords_and_the_account_are_ones_own(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let mut person = member(&world, &mut owner, "person@example.com", "member").await;
    let mut phone = world.browser();
    assert_eq!(phone.sign_in("person@example.com", PASSWORD).await.0, 200);
    let mut tablet = world.browser();
    assert_eq!(tablet.sign_in("person@example.com", PASSWORD).await.0, 200);
    let csrf = person.csrf.clone();
    let sessions = person.get("/api/sessions").await.1;
    let other = sessions["sessions"].as_array().unwrap().iter().find(|s| s["current"] == false).unwrap()["id"].clone();
    let other = other.as_str().unwrap();
    let page = look(&mut person, "/account").await.body;
    assert_eq!((page.matches("data-session").count(), page.matches("this browser").count()), (3, 1), "{page}");
    // Nobody ends somebody else's.
    let theirs = owner.csrf.clone();
    let foreign = read(owner.form("/account/sessions/end", &[("csrf", &theirs), ("id", other)]).await).await;
    assert_eq!(foreign.status, 404, "{}", foreign.body);
    let ended = read(person.form("/account/sessions/end", &[("csrf", &csrf), ("id", other)]).await).await;
    assert_eq!(ended.location, "/account?said=session_ended", "{}", ended.body);
    assert_eq!(person.get("/api/sessions").await.1["sessions"].as_array().unwrap().len(), 2);
    let ended = read(person.form("/account/sessions/end-others", &[("csrf", &csrf)]).await).await;
    assert_eq!(ended.location, "/account?said=others_ended", "{}", ended.body);
    assert!(look(&mut person, &ended.location).await.body.contains("Signed out everywhere else."));
    for browser in [&mut phone, &mut tablet] {
        assert_eq!(browser.get("/api/session").await.0, 401);
    }

    let change = async |person: &mut Browser, current: &str, again: &str| {
        let fields = [("csrf", csrf.as_str()), ("current", current), ("new", NEXT), ("again", again)];
        read(person.form("/account/password", &fields).await).await
    };
    let slip = change(&mut person, PASSWORD, "another battery house").await;
    assert_eq!(slip.status, 400, "{}", slip.body);
    assert!(!slip.body.contains(NEXT) && !slip.body.contains(PASSWORD), "a password comes back: {}", slip.body);
    assert_eq!(change(&mut person, "guessed", NEXT).await.status, 403);
    let changed = change(&mut person, PASSWORD, NEXT).await;
    assert_eq!(changed.location, "/account?said=password_changed", "{}", changed.body);
    assert_eq!(world.browser().sign_in("person@example.com", PASSWORD).await.0, 401);

    let delete = async |browser: &mut Browser, csrf: &str, password: &str| {
        read(browser.form("/account/delete", &[("csrf", csrf), ("password", password)]).await).await
    };
    assert_eq!(delete(&mut person, &csrf, PASSWORD).await.status, 403);
    let sole = delete(&mut owner, &theirs, PASSWORD).await;
    assert!(sole.status == 409 && sole.body.contains("data-code=\"last_owner\""), "{}", sole.body);
    let gone = delete(&mut person, &csrf, NEXT).await;
    assert_eq!(gone.location, "/sign-in", "{}", gone.body);
    assert!(person.cookies.is_empty() || person.get("/api/session").await.0 == 401);
    assert_eq!(world.browser().sign_in("person@example.com", NEXT).await.0, 401);
}

async fn whoever_is_in_no_business_makes_one(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let mut person = member(&world, &mut owner, "person@example.com", "member").await;
    let members = owner.get("/api/members").await.1;
    let is_theirs = |member: &&serde_json::Value| member["email"] == "person@example.com";
    let theirs = members["members"].as_array().unwrap().iter().find(is_theirs).unwrap()["id"].clone();
    let path = format!("/api/members/{}", theirs.as_str().unwrap());
    let (status, gone) = owner.call(Method::DELETE, &path, None).await;
    assert_eq!(status, 204, "{gone}");
    assert_eq!(look(&mut person, "/").await.location, "/account");
    let page = look(&mut person, "/account").await.body;
    assert!(page.contains("data-code=\"no_business\"") && page.contains("href=\"#business\""), "{page}");

    let csrf = person.csrf.clone();
    let make = async |person: &mut Browser, csrf: &str, name: &str| {
        read(person.form("/account/business", &[("csrf", csrf), ("name", name)]).await).await
    };
    assert_eq!(make(&mut person, "guessed", "Beta").await.status, 403);
    let nameless = make(&mut person, &csrf, " ").await;
    assert!(nameless.status == 400 && nameless.body.contains("role=\"alert\""), "{}", nameless.body);
    assert_eq!(look(&mut person, "/").await.location, "/account", "one was made of what was refused");
    let made = make(&mut person, &csrf, MARKUP).await;
    assert_eq!(made.location, "/", "{}", made.body);
    let page = look(&mut person, "/team").await.body;
    assert!(page.contains(", owner</small>"), "{page}");
    assert!(page.contains("&#62;&#60;script") && !page.contains("<script>alert"), "{page}");
    assert!(!look(&mut owner, "/team").await.body.contains("person@example.com"), "they see each other");

    // A second one is shown at once, and the first is there to go back to.
    assert_eq!(make(&mut person, &csrf, "Gamma").await.location, "/");
    let page = look(&mut person, "/team").await.body;
    assert!(page.contains("<summary><strong><bdi>Gamma</bdi>"), "{page}");
    assert!(page.contains("To <bdi>&#34;"), "{page}");
}
