//! The team and the settings of a business, to its end.

use super::*;

on_both!(
    the_team_is_invited_changed_and_left,
    a_business_is_renamed_kept_short_and_ended,
    a_person_is_found_and_erased
);

async fn the_team_is_invited_changed_and_left(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let wrong = send(&mut owner, "/team", &[("email", MARKUP), ("role", "admin")]).await;
    assert_eq!(wrong.status, 400);
    assert!(
        wrong.body.contains("value=\"&#34;&#62;") && wrong.body.contains("<option selected>admin"),
        "{}",
        wrong.body
    );
    let made = send(&mut owner, "/team", &[("email", "new@example.com"), ("role", "member")]).await;
    assert_eq!((made.status, made.location.as_str(), made.cache.as_str()), (200, "", "no-store"), "{}", made.body);
    assert!(made.body.contains("nothing was mailed"), "{}", made.body);
    let link = once(&made.body);
    let list = look(&mut owner, "/team").await.body;
    let secret = link.split_once('#').unwrap().1;
    assert!(!list.contains(secret) && list.contains("data-invitation=\"new@example.com\""), "{list}");
    let joined = json!({"token": secret, "name": MARKUP, "password": crate::world::PASSWORD});
    let mut new = world.browser();
    assert_eq!(new.post("/api/invitations/accept", joined).await.0, 200);
    let list = look(&mut owner, "/team").await.body;
    assert!(!list.contains("<script>alert") && !list.contains("data-invitation"), "{list}");

    let made = send(&mut owner, "/team", &[("email", "other@example.com"), ("role", "viewer")]).await;
    let path = format!("/team/invitations/{}/take-back", between(&made.body, "/team/invitations/", "/"));
    assert_eq!(send(&mut owner, &path, &[]).await.location, "/team?said=taken_back");
    let token = once(&made.body).split_once('#').unwrap().1.to_owned();
    let joined = json!({"token": token, "name": "x", "password": crate::world::PASSWORD});
    assert_eq!(world.browser().post("/api/invitations/accept", joined).await.0, 410);

    let members = world.db.store.own().members().await.unwrap();
    let (theirs, ours) = (members[0].user.id, members[1].user.id);
    let role = send(&mut owner, &format!("/team/members/{theirs}/role"), &[("role", "admin")]).await;
    assert_eq!(role.location, "/team?said=role_changed", "{}", role.body);
    for (path, fields) in [("role", vec![("role", "viewer")]), ("remove", vec![])] {
        let last = send(&mut owner, &format!("/team/members/{ours}/{path}"), &fields).await;
        assert!(last.status == 409 && last.body.contains("data-code=\"last_owner\""), "{}", last.body);
    }
    let left = send(&mut new, &format!("/team/members/{theirs}/remove"), &[]).await;
    assert_eq!(left.location, "/?said=left", "{}", left.body);
    assert_eq!(world.db.store.own().members().await.unwrap().len(), 1);
    let home = look(&mut new, "/").await;
    assert_eq!(home.location, "/account", "who is nowhere goes to their account");
}

async fn a_business_is_renamed_kept_short_and_ended(db: Db) {
    let (_world, mut owner, _) = scene(db, 1, to_loopback).await;
    let page = look(&mut owner, "/settings").await.body;
    let sealing = between(&page, "data-sealing=\"", "</tr>");
    assert!(sealing.contains("the connection ") && sealing.contains(">in use<"), "{sealing}");
    // The org's credentials, and the token that is in use.
    let values: u64 = between(sealing, "<td class=\"number\">", "<").parse().unwrap();
    assert!(values >= 1, "{sealing}");
    assert!(page.contains("tieline keys rotate") && page.contains("href=\"/api/export\""), "{page}");

    let none = send(&mut owner, "/settings/name", &[("name", " ")]).await;
    assert_eq!(none.status, 400, "{}", none.body);
    let renamed = send(&mut owner, "/settings/name", &[("name", MARKUP)]).await;
    assert_eq!(renamed.location, "/settings?said=renamed", "{}", renamed.body);
    assert_eq!(owner.get("/api/session").await.1["businesses"][0]["name"], MARKUP);
    let page = look(&mut owner, "/settings").await.body;
    assert!(!page.contains("<script>alert"), "{page}");
    let (_, entries) = owner.get("/api/audit?action=business.updated").await;
    assert_eq!(entries["items"].as_array().unwrap().len(), 1, "{entries}");

    let days =
        |log: &'static str| vec![("log_days", log), ("audit_days", "400"), ("import_days", "90"), ("lead_days", "")];
    let longer = send(&mut owner, "/settings/retention", &days("120")).await;
    assert_eq!(longer.location, "/settings?said=saved", "{}", longer.body);
    for (typed, status) in [("x", 400), ("0", 400), ("7", 200)] {
        let answer = send(&mut owner, "/settings/retention", &days(typed)).await;
        assert_eq!(answer.status, status, "{typed}: {}", answer.body);
        let kept = format!("name=\"log_days\" inputmode=\"numeric\" required value=\"{typed}\"");
        assert!(answer.body.contains(&kept), "{typed}: {}", answer.body);
        assert_eq!(answer.body.contains("cannot be brought back"), status == 200, "{typed}: {}", answer.body);
    }
    assert_eq!(owner.get("/api/retention").await.1["log_days"], 120, "it asks before it takes something out");
    let mut sure = days("7");
    sure.push(("sure", "yes"));
    assert_eq!(send(&mut owner, "/settings/retention", &sure).await.location, "/settings?said=saved");
    assert_eq!(owner.get("/api/retention").await.1["log_days"], 7);

    let slip = send(&mut owner, "/settings/end", &[("name", "Acme")]).await;
    assert_eq!(slip.status, 400, "{}", slip.body);
    let ended = send(&mut owner, "/settings/end", &[("name", MARKUP)]).await;
    assert_eq!(ended.location, "/?said=ended", "{}", ended.body);
    assert_eq!(owner.get("/api/session").await.1["businesses"], json!([]));
}

async fn a_person_is_found_and_erased(db: Db) {
    let (world, mut owner, _) = scene(db, 1, to_loopback).await;
    world.nodes[0].service.run_all().await;
    let contacts = world.db.store.own().recent_contacts(1).await.unwrap();
    let email = contacts[0].row.email.clone().unwrap();
    let path = "/settings/personal-data";
    let nobody = send(&mut owner, path, &[("who", MARKUP), ("go", "find")]).await;
    assert!(!nobody.body.contains("<script>alert"), "{}", nobody.body);
    let kept = send(&mut owner, path, &[("who", &email), ("go", "find")]).await;
    assert!(kept.status == 200 && kept.location.is_empty() && kept.cache == "no-store", "{}", kept.body);
    assert!(kept.body.contains(">1 contact<") && kept.body.contains("source_id"), "{}", kept.body);
    let preview = send(&mut owner, path, &[("who", &email), ("go", "preview")]).await;
    assert!(preview.body.contains("It takes: 1 contact."), "{}", preview.body);
    assert!(!world.db.store.own().recent_contacts(100).await.unwrap().is_empty());
    let slip = send(&mut owner, path, &[("who", &email), ("again", "another"), ("go", "erase")]).await;
    assert_eq!(slip.status, 400, "{}", slip.body);
    let gone = send(&mut owner, path, &[("who", &email), ("again", &email), ("go", "erase")]).await;
    assert!(gone.body.contains("Gone: 1 contact."), "{}", gone.body);
    let id = between(&gone.body, "<code id=\"erasure\">", "<").to_owned();
    let page = look(&mut owner, path).await.body;
    assert!(page.contains(&format!("data-erasure=\"{id}\"")) && !page.contains(&email), "{page}");
    let lifted = send(&mut owner, &format!("{path}/{id}/lift"), &[]).await;
    assert_eq!(lifted.location, format!("{path}?said=lifted"), "{}", lifted.body);
}
