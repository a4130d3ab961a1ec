//! What is secret is in the answer that makes it, and in nothing that comes after.

use axum::http::StatusCode;
use axum::response::IntoResponse;

use super::*;
use crate::outbound::webhooks::receiver;

on_both!(a_key_is_shown_once_and_followed_by_another, signing_secrets_and_urls_are_shown_once_or_never);

async fn a_key_is_shown_once_and_followed_by_another(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let made = send(&mut owner, "/keys", &[("name", MARKUP), ("role", "member"), ("ends", "2099-01-01")]).await;
    assert_eq!((made.status, made.location.as_str(), made.cache.as_str()), (200, "", "no-store"), "{}", made.body);
    let key = once(&made.body);
    assert!(key.starts_with("tl_") && made.body.contains("curl -H"), "{}", made.body);
    assert!(!made.body.contains("<script>alert"), "a name is text");
    let works = async |key: &str| {
        let http = reqwest::Client::builder().build().unwrap();
        let answer = http.get(format!("{}/api/imports", world.nodes[0].url)).bearer_auth(key).send().await.unwrap();
        answer.status().as_u16()
    };
    assert_eq!(works(&key).await, 200);
    let list = look(&mut owner, "/keys").await.body;
    assert!(!list.contains(&key) && list.contains(&key[..9]), "{list}");
    assert!(!list.contains("<script>alert") && list.contains("2099-01-02 00:00:00 UTC"), "{list}");

    // Its successor does the same; the old one works until it is revoked.
    let id = between(&list, "name=\"after\" value=\"", "\"").to_owned();
    let next = send(&mut owner, "/keys", &[("after", &id)]).await;
    let second = once(&next.body);
    assert_ne!(second, key);
    let (_, all) = owner.get("/api/keys").await;
    assert_eq!(all["keys"][1]["name"], format!("{MARKUP} 2"));
    assert_eq!(all["keys"][1]["role"], "member");
    assert_eq!((works(&key).await, works(&second).await), (200, 200));
    let revoked = send(&mut owner, &format!("/keys/{id}/revoke"), &[]).await;
    assert_eq!((revoked.status, revoked.location.as_str()), (303, "/keys?said=revoked"));
    assert_eq!((works(&key).await, works(&second).await), (401, 200));
    let entries = owner.get("/api/audit").await.1.to_string();
    assert!(!entries.contains(&key) && !entries.contains(&second), "{entries}");

    // A mistake keeps what was typed.
    let past = send(&mut owner, "/keys", &[("name", MARKUP), ("role", "admin"), ("ends", "2001-01-01")]).await;
    assert_eq!(past.status, 400);
    assert!(
        past.body.contains("value=\"2001-01-01\"") && past.body.contains("<option selected>admin"),
        "{}",
        past.body
    );
    assert!(past.body.contains("value=\"&#34;&#62;&#60;script"), "{}", past.body);
    let wrong = send(&mut owner, "/keys", &[("name", "x"), ("role", "admin"), ("ends", "tomorrow")]).await;
    assert!(wrong.status == 400 && wrong.body.contains("the last day is no date"), "{}", wrong.body);
}

async fn signing_secrets_and_urls_are_shown_once_or_never(db: Db) {
    let (_world, mut owner, (mapping, _)) = scene(db, 1, to_loopback).await;
    let (address, seen) = receiver("127.0.0.1", || StatusCode::NO_CONTENT.into_response()).await;
    let url = format!("http://{address}/in?key=planted");

    let fields = [("kind", "webhook"), ("name", MARKUP), ("url", url.as_str())];
    let made = send(&mut owner, "/alerts/channels/new", &fields).await;
    assert_eq!((made.status, made.cache.as_str()), (200, "no-store"), "{}", made.body);
    let secret = once(&made.body);
    assert!(secret.starts_with("whsec_"), "{secret}");
    let list = look(&mut owner, "/alerts/channels").await.body;
    let channel = format!("/alerts/channels/{}", between(&list, "data-channel=\"", "\""));
    let mapping = mapping.id.to_string();
    let fields = [("mapping", mapping.as_str()), ("url", url.as_str()), ("fields", "name"), ("records", "yes")];
    let made = send(&mut owner, "/webhooks", &fields).await;
    let other = once(&made.body);
    let webhook = format!("/webhooks/{}", between(&look(&mut owner, "/webhooks").await.body, "data-webhook=\"", "\""));

    for (path, secret, fields) in
        [(&channel, secret, vec![("name", MARKUP)]), (&webhook, other, vec![("fields", "name, amount")])]
    {
        let page = look(&mut owner, path).await;
        assert_eq!(page.status, 200);
        for hidden in [secret.as_str(), "planted", "<script>alert", "data-once"] {
            assert!(!page.body.contains(hidden), "{path} shows {hidden}");
        }
        let sent = seen.count();
        let tested = send(&mut owner, path, &[("go", "test")]).await;
        assert!(tested.body.contains("data-outcome=\"delivered\"") && tested.body.contains("204"), "{}", tested.body);
        assert_eq!(seen.count(), sent + 1);
        let rotated = send(&mut owner, path, &[("go", "rotate")]).await;
        assert_eq!((rotated.status, rotated.cache.as_str()), (200, "no-store"));
        let new = once(&rotated.body);
        assert!(new.starts_with("whsec_") && new != secret, "{new}");
        let again = look(&mut owner, path).await.body;
        assert!(!again.contains(&new) && !again.contains(&secret), "{again}");
        // What is saved, and what is not.
        let mut save = vec![("go", "save")];
        save.extend(fields);
        let saved = send(&mut owner, path, &save).await;
        assert_eq!((saved.status, saved.location.clone()), (303, format!("{path}?said=saved")), "{}", saved.body);
        save.push(("url", "https://10.0.0.1/planted"));
        let refused = send(&mut owner, path, &save).await;
        assert!(refused.status == 400 && !refused.body.contains("planted"), "{}", refused.body);
        for go in ["off", "on"] {
            assert_eq!(send(&mut owner, path, &[("go", go)]).await.status, 303, "{go}");
            let enabled = owner.get(&format!("/api{path}")).await.1["enabled"].clone();
            assert_eq!(enabled, json!(go == "on"), "{path}");
        }
    }
    let rewound = send(&mut owner, &webhook, &[("go", "rewind"), ("to", "beginning")]).await;
    assert_eq!(rewound.location, format!("{webhook}?said=rewound"), "{}", rewound.body);
    let nowhere = send(&mut owner, &webhook, &[("go", "rewind"), ("to", "time"), ("time", "yesterday")]).await;
    assert_eq!(nowhere.status, 400, "{}", nowhere.body);

    // A new one that is refused: what is no secret stays typed.
    let fields = [("kind", "webhook"), ("name", "kept"), ("url", "https://localhost/planted")];
    let refused = send(&mut owner, "/alerts/channels/new", &fields).await;
    assert!(refused.status == 400 && refused.body.contains("value=\"kept\""), "{}", refused.body);
    assert!(!refused.body.contains("planted"), "{}", refused.body);
    let mail = [("kind", "email"), ("name", "kept"), ("to", "ops@example.com")];
    let refused = send(&mut owner, "/alerts/channels/new", &mail).await;
    assert!(refused.status == 409 && refused.body.contains("value=\"ops@example.com\""), "{}", refused.body);

    // Rules lead to it.
    let id = channel.rsplit('/').next().unwrap();
    let rule = [("kind", "api_budget"), ("number", "95"), ("quiet", "900"), ("enabled", "yes"), ("channel", id)];
    assert_eq!(send(&mut owner, "/alerts/rules/new", &rule).await.location, "/alerts/rules?said=rule_made");
    let list = look(&mut owner, "/alerts/rules").await.body;
    assert!(list.contains("from 95 % on") && list.contains("15 min") && !list.contains("<script>alert"), "{list}");
    let path = format!("/alerts/rules/{}", between(&list, "data-rule=\"", "\""));
    let many = send(&mut owner, &path, &[("number", "101"), ("quiet", "3600"), ("channel", id)]).await;
    assert!(many.status == 400 && many.body.contains("value=\"101\""), "{}", many.body);
    assert!(many.body.contains("<option value=\"3600\" selected>"), "{}", many.body);
    let saved = send(&mut owner, &path, &[("number", "50"), ("quiet", "3600")]).await;
    assert_eq!(saved.location, "/alerts/rules?said=saved", "{}", saved.body);
    let (_, rules) = owner.get("/api/alerts/rules").await;
    let rule = &rules["rules"][0];
    assert_eq!((&rule["percent"], &rule["enabled"], &rule["channels"]), (&json!(50), &json!(false), &json!([])));
    assert_eq!(send(&mut owner, &format!("{path}/delete"), &[]).await.location, "/alerts/rules?said=deleted");
    for path in [channel, webhook] {
        assert_eq!(send(&mut owner, &format!("{path}/delete"), &[]).await.status, 303);
        assert_eq!(look(&mut owner, &path).await.status, 404);
    }
}
