//! The pages of mappings and runs: who may what there, what is typed and told, and what waits for a decision.

use reqwest::Method;
use serde_json::{Value, json};

use crate::accounts::member;
use crate::database::Db;
use crate::mappings::{made, one, scene};
use crate::world::{Browser, World};

const MARKUP: &str = "\"><img src=x onerror=alert(1)>";

/// A page: its status and its text.
async fn page(browser: &mut Browser, path: &str) -> (u16, String) {
    let answer = browser.send(Method::GET, path, None).await;
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// The token of the forms in a page.
async fn token(browser: &mut Browser, path: &str) -> String {
    let (_, text) = page(browser, path).await;
    let rest = text.split("name=\"csrf\" value=\"").nth(1).unwrap_or_else(|| panic!("no form in {text}"));
    rest.split('"').next().unwrap().to_owned()
}

/// Sends a form with the token of the first page; status, where it leads to, and the text.
async fn sent(browser: &mut Browser, path: &str, fields: &[(&str, &str)]) -> (u16, String, String) {
    let csrf = token(browser, "/mappings").await;
    let mut all = vec![("csrf", csrf.as_str())];
    all.extend_from_slice(fields);
    let answer = browser.form(path, &all).await;
    let to = answer.headers().get("location").map(|to| to.to_str().unwrap().to_owned()).unwrap_or_default();
    (answer.status().as_u16(), to, answer.text().await.unwrap())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&#38;").replace('<', "&#60;").replace('>', "&#62;").replace('"', "&#34;")
}

async fn run(world: &World) {
    world.nodes[0].service.run_all().await;
}

#[tokio::test]
async fn flaws_are_told_at_their_rows_and_what_was_typed_stays() {
    let (world, mut owner, integration) = scene(Db::sqlite().await, 1).await;
    let (status, text) = page(&mut owner, "/mappings/new").await;
    assert_eq!((status, text.as_str()), (303, ""), "there is one connection alone");
    let (status, text) = page(&mut owner, &format!("/mappings/new?connection={integration}")).await;
    assert!(status == 200 && text.contains("&#38;object=Account\"") | text.contains("&object=Account\""), "{text}");
    let (_, text) = page(&mut owner, &format!("/mappings/new?connection={integration}&object=contact")).await;
    assert!(text.contains("value=\"contact_crm\""), "contact is a name that is taken: {text}");
    assert!(text.contains("<option value=\"Account.Name\">"), "fields of parents are offered");
    let typed = [
        ("connection", integration.as_str()),
        ("object", "Contact"),
        ("as", "form"),
        ("name", MARKUP),
        ("table", "people"),
        ("every", "soon"),
        ("lookback", "20m"),
        ("columns.0.source", "field"),
        ("columns.0.from", "LastNam"),
        ("columns.0.column", "family"),
        ("columns.4.source", "field"),
        ("columns.4.from", "Phone"),
        ("columns.4.step", "trim"),
        ("columns.4.step", "lowr"),
        ("columns.4.step", ""),
        ("columns.4.kind", "text"),
        ("columns.4.default", "none"),
        ("columns.5.source", "field"),
        ("columns.5.from", ""),
        ("columns.7.source", "template"),
        ("columns.7.from", "{FirstName} {Nothing}"),
        ("columns.7.column", "full"),
    ];
    for (act, expected) in [("check", 200), ("save", 422)] {
        let fields: Vec<(&str, &str)> = typed.into_iter().chain([("act", act)]).collect();
        let (status, _, text) = sent(&mut owner, "/mappings/new", &fields).await;
        assert_eq!(status, expected, "{text}");
        // A row in which nothing stands is none.
        for at in ["every", "columns[0].field", "columns[1].transforms[1]", "columns[2].template"] {
            assert!(text.contains(&format!("data-flaw=\"{}\"", escaped(at))), "{at}: {text}");
        }
        assert_eq!(text.matches("data-flaw=").count(), 4, "{text}");
        assert!(text.contains("did you mean `LastName`?") && text.contains("`soon` is neither"), "{text}");
        assert!(text.contains("`lowr` is no transform"), "{text}");
        assert!(!text.contains("<img") && text.contains(&escaped(MARKUP)), "{text}");
        for value in ["LastNam", "family", "lowr", "20m", "{FirstName} {Nothing}", "none"] {
            assert!(text.contains(&format!("value=\"{}\"", escaped(value))), "{value}: {text}");
        }
        assert!(text.contains("name=\"columns.0.from\" value=\"LastNam\" list=\"fields\" autocomplete=\"off\" spellcheck=\"false\" aria-invalid"), "{text}");
    }
    for (act, rows) in [("add", 5), ("remove 1", 3), ("remove 9", 4), ("step 0", 4)] {
        let fields: Vec<(&str, &str)> = typed.into_iter().chain([("act", act)]).collect();
        let (status, _, text) = sent(&mut owner, "/mappings/new", &fields).await;
        assert_eq!((status, text.matches("<legend>").count()), (200, rows), "{act}: {text}");
        assert!(text.contains("value=\"LastNam\"") && !text.contains("data-flaw"), "{act}: {text}");
    }
    let (status, _, text) = sent(
        &mut owner,
        "/mappings/new",
        &[("connection", &integration), ("as", "text"), ("text", "name ="), ("act", "save")],
    )
    .await;
    assert!(status == 422 && text.contains("this is no TOML") && text.contains("name =</textarea>"), "{text}");
    assert_eq!(world.db.store.own().every_mapping().await.unwrap().len(), 1, "nothing was made");
}

#[tokio::test]
async fn a_mapping_is_made_by_the_form_changed_as_text_and_deleted_by_its_name() {
    let (world, mut owner, integration) = scene(Db::sqlite().await, 1).await;
    let form = [
        ("connection", integration.as_str()),
        ("object", "Contact"),
        ("as", "form"),
        ("name", "people"),
        ("every", "15m"),
        ("columns.0.source", "field"),
        ("columns.0.from", "LastName"),
        ("columns.0.step", "upper"),
        ("columns.1.source", "field"),
        ("columns.1.from", "Account.Name"),
        ("columns.2.source", "field"),
        ("columns.2.from", "Phone"),
        ("columns.2.column", "day"),
        ("columns.2.step", "date %d.%m.%Y"),
        ("columns.3.source", "constant"),
        ("columns.3.from", "7"),
        ("columns.3.column", "seven"),
    ];
    let with = |act: &'static str| form.into_iter().chain([("act", act)]).collect::<Vec<_>>();
    let (status, _, text) = sent(&mut owner, "/mappings/new", &with("check")).await;
    assert!(status == 200 && text.contains("data-preview") && !text.contains("data-flaw"), "{text}");
    assert!(text.contains("<td class=\"failed\">") && text.contains("no place in the column"), "{text}");
    let (status, to, text) = sent(&mut owner, "/mappings/new", &with("save")).await;
    assert_eq!(status, 303, "{text}");
    let path = to.strip_suffix("?said=mapped").unwrap().to_owned();
    let id = path.rsplit('/').next().unwrap().to_owned();
    let definition = one(&mut owner, &id).await["definition"].clone();
    assert_eq!(
        definition["columns"],
        json!([
            {"field": "LastName", "transforms": ["upper"]}, {"field": "Account.Name"},
            {"field": "Phone", "column": "day", "transforms": [{"date": "%d.%m.%Y"}]}, {"constant": 7, "column": "seven"},
        ])
    );
    // Once more of that name: what is typed stays.
    let (status, _, text) = sent(&mut owner, "/mappings/new", &with("save")).await;
    assert!(status == 409 && text.contains("data-code=\"taken\"") && text.contains("value=\"LastName\""), "{text}");
    run(&world).await;
    let (_, text) = page(&mut owner, &path).await;
    assert!(text.contains("data-mapping-state=\"synced\"") && text.contains("always 7"), "{text}");
    assert!(text.contains("date %d.%m.%Y") && text.contains("<code>account_name</code>"), "{text}");
    assert!(text.contains("Values that do not fit") && !text.contains("None. Each value"), "{text}");
    let (_, text) = page(&mut owner, &format!("{path}/edit")).await;
    assert!(
        text.contains("value=\"date %d.%m.%Y\"") && !text.contains("name=\"table\" value=\"people\" maxlength"),
        "{text}"
    );
    // As text: all that the form has, and it is changed there.
    let edit = format!("{path}/edit");
    let (status, _, text) = sent(&mut owner, &edit, &with("text")).await;
    assert!(status == 200 && text.contains("transforms = [{ date = &#34;%d.%m.%Y&#34; }]"), "{text}");
    let changed = "name = \"people\"\r\nobject = \"Contact\"\r\ncolumns = [\"LastName\",\r\n\"Email\"]";
    let as_text = |act: &'static str, text: &'static str| [("as", "text"), ("text", text), ("act", act)];
    let (_, _, text) = sent(
        &mut owner,
        &edit,
        &as_text("form", "name = \"people\"\nobject = \"Contact\"\ncolumns = [\"LastName\", \"Email\"]"),
    )
    .await;
    assert!(text.contains("value=\"Email\"") && text.matches("<legend>").count() == 2, "{text}");
    let (_, _, text) = sent(&mut owner, &edit, &as_text("form", "name = \"people\"\nobject = \"Contact\"\ncolumns = [{ template = \"\"\"{LastName}\n\"\"\", column = \"x\" }]")).await;
    assert!(text.contains("<textarea") && text.contains("nothing of it gets lost"), "{text}");
    let (status, _, text) = sent(&mut owner, &edit, &as_text("save", "name = \"people\"\nobject = \"Account\"")).await;
    assert!(status == 422 && text.contains("cannot become one of <code>Account</code>"), "{text}");
    let (status, to, text) = sent(&mut owner, &edit, &as_text("save", changed)).await;
    assert_eq!((status, to), (303, format!("{path}?said=redefined")), "{text}");
    assert_eq!(one(&mut owner, &id).await["left_out"], json!(["account_name", "day", "seven"]));
    let (status, _, text) = sent(&mut owner, &format!("{path}/delete"), &[("name", MARKUP)]).await;
    assert!(status == 400 && text.contains("nothing was deleted") && !text.contains("<img"), "{text}");
    assert!(text.contains(&format!("data-at=\"{path}\"")), "it looks for what is new where the page is: {text}");
    let (status, to, _) = sent(&mut owner, &format!("{path}/delete"), &[("name", "people")]).await;
    assert_eq!((status, to.as_str()), (303, "/mappings?said=deleted"));
    assert_eq!(page(&mut owner, &path).await.0, 404);
}

#[tokio::test]
async fn whoever_may_not_is_told_who_may_and_nothing_happens() {
    let (world, mut owner, integration) = scene(Db::sqlite().await, 1).await;
    let columns = json!([{"constant": MARKUP, "column": "c"}]);
    let definition = json!({"name": MARKUP, "object": "Contact", "table": "people", "columns": columns});
    let id = made(&mut owner, &integration, definition).await;
    run(&world).await;
    let last = one(&mut owner, &id).await["last_run"]["id"].as_str().unwrap().to_owned();
    let (one_path, edit) = (format!("/mappings/{id}"), format!("/mappings/{id}/edit"));
    let new = format!("/mappings/new?connection={integration}&object=Contact");
    let mut viewer = member(&world, &mut owner, "viewer@example.com", "viewer").await;
    let mut of_team = member(&world, &mut owner, "member@example.com", "member").await;
    for (path, as_viewer) in [
        ("/mappings", 200),
        (one_path.as_str(), 200),
        ("/runs", 200),
        (&format!("/runs/{last}"), 200),
        (&edit, 403),
        (&new, 403),
    ] {
        for (browser, expected) in [(&mut viewer, as_viewer), (&mut of_team, 200)] {
            let (status, text) = page(browser, path).await;
            assert_eq!(status, expected, "{path}: {text}");
            assert!(!text.contains("<img"), "a name is text: {path}: {text}");
        }
    }
    let (_, text) = page(&mut viewer, &one_path).await;
    assert!(text.contains("Members of your team can run it") && !text.contains("Delete for good"), "{text}");
    let (_, text) = page(&mut of_team, &edit).await;
    assert!(text.contains("An admin of your team can save it") && !text.contains("value=\"save\""), "{text}");
    let form = [
        ("connection", integration.as_str()),
        ("object", "Contact"),
        ("as", "form"),
        ("name", "typed"),
        ("all_fields", "yes"),
    ];
    let with = |act: &'static str| form.into_iter().chain([("act", act)]).collect::<Vec<_>>();
    let of = |rest: &str| format!("{one_path}/{rest}");
    for (path, fields, as_viewer, as_member) in [
        ("/mappings/new".to_owned(), with("check"), 403, 200),
        ("/mappings/new".to_owned(), with("save"), 403, 403),
        (edit.clone(), with("check"), 403, 200),
        (edit.clone(), with("save"), 403, 403),
        (of("run"), vec![("what", "")], 403, 303),
        (of("run"), vec![("what", "compare")], 403, 303),
        (of("run"), vec![("what", "reload")], 403, 403),
        (of("pause"), vec![("reason", "x")], 403, 403),
        (of("resume"), vec![("gone", "yes")], 403, 403),
        (of("delete"), vec![("name", MARKUP)], 403, 403),
        (format!("/runs/{last}/again"), vec![], 403, 303),
    ] {
        for (browser, expected) in [(&mut viewer, as_viewer), (&mut of_team, as_member)] {
            let (status, _, text) = sent(browser, &path, &fields).await;
            assert_eq!(status, expected, "{path} {fields:?}: {text}");
            if expected == 403 {
                assert!(
                    text.contains("data-code=\"role_required\"") && text.contains("ask an owner or admin"),
                    "{text}"
                );
            }
        }
        // Another session's form, or none.
        let answer = owner.form(&path, &[("csrf", "x")]).await;
        assert_eq!(answer.status(), 403, "{path}");
        let (status, _, _) = {
            let answer = world.browser().form(&path, &[]).await;
            (answer.status().as_u16(), (), ())
        };
        assert_eq!(status, 303, "{path}: who is out is sent to sign in");
    }
    let (_, _, text) = sent(&mut of_team, "/mappings/new", &with("save")).await;
    assert!(text.contains("value=\"typed\""), "{text}");
    // The contacts are built in.
    let (status, text) = page(&mut owner, &format!("/mappings/{integration}/edit")).await;
    assert!(status == 409 && text.contains("built in"), "{text}");
    let (status, _, text) = sent(&mut owner, &format!("/mappings/{integration}/delete"), &[("name", "contacts")]).await;
    assert!(status == 409 && text.contains("built_in"), "{text}");
    assert!(page(&mut owner, &format!("/mappings/{integration}")).await.1.contains("It is built in"));
    // Another business.
    let (_, other) = owner.post("/api/businesses", json!({"name": "Other"})).await;
    let (status, _, _) = sent(&mut owner, "/business", &[("id", other["id"].as_str().unwrap())]).await;
    assert_eq!(status, 303);
    for path in [
        one_path.clone(),
        edit.clone(),
        new.clone(),
        format!("/mappings/new?connection={integration}"),
        format!("/runs/{last}"),
    ] {
        let (status, text) = page(&mut owner, &path).await;
        assert!(status == 404 && !text.contains("people"), "{path}: {text}");
    }
    for path in [
        of("run"),
        of("pause"),
        of("resume"),
        of("delete"),
        edit.clone(),
        "/mappings/new".to_owned(),
        format!("/runs/{last}/again"),
    ] {
        let (status, _, text) = sent(&mut owner, &path, &with("check")).await;
        assert_eq!(status, 404, "{path}: {text}");
    }
    let (_, text) = page(&mut owner, &format!("/runs?mapping={id}")).await;
    assert!(!text.contains("data-run="), "{text}");
    assert_eq!(world.db.store.own().every_mapping().await.unwrap().len(), 2);
}

#[tokio::test]
async fn much_that_is_gone_waits_for_a_decision() {
    let (world, mut owner, integration) = scene(Db::sqlite().await, 1).await;
    let insert = |n: usize| json!({"op": "insert", "object": "Account", "fields": {"Name": format!("firm {n}")}});
    world.control(Method::POST, "records/write", json!({"writes": (0..120).map(insert).collect::<Vec<_>>()})).await;
    let id = made(&mut owner, &integration, json!({"name": "firms", "object": "Account", "columns": ["Name"]})).await;
    run(&world).await;
    let (_, records) = owner.get(&format!("/api/mappings/{id}/records?limit=100")).await;
    let ids: Vec<&Value> = records["items"].as_array().unwrap().iter().map(|record| &record["id"]).collect();
    world.control(Method::PUT, "sharing", json!({"object": "Account", "ids": ids, "visible": false})).await;
    let path = format!("/mappings/{id}");
    let (status, to, _) = sent(&mut owner, &format!("{path}/run"), &[("what", "compare")]).await;
    assert_eq!((status, to), (303, format!("{path}?said=asked")));
    run(&world).await;
    let mut of_team = member(&world, &mut owner, "member@example.com", "member").await;
    let (_, text) = page(&mut of_team, "/mappings").await;
    assert!(text.contains(&format!("data-held=\"{id}\"")) && text.contains("firms</bdi>: 100 of "), "{text}");
    let (_, text) = page(&mut of_team, &path).await;
    assert!(text.contains("100 of ") && text.contains("An admin of your team can decide"), "{text}");
    let (_, text) = page(&mut owner, &path).await;
    assert!(text.contains("They are gone: mark them") && text.contains("Compare again"), "{text}");
    assert!(!text.contains("Run now"), "it rests: {text}");
    // Nothing is said of them: the question comes back.
    let (status, to, _) = sent(&mut owner, &format!("{path}/resume"), &[]).await;
    assert_eq!((status, to), (303, format!("{path}?said=resumed")));
    run(&world).await;
    assert_eq!(one(&mut owner, &id).await["held"]["records"], 100);
    let (status, _, _) = sent(&mut owner, &format!("{path}/resume"), &[("gone", "yes")]).await;
    assert_eq!(status, 303);
    run(&world).await;
    let found = one(&mut owner, &id).await;
    assert_eq!((&found["state"], &found["held"]), (&json!("synced"), &Value::Null));
    assert!(!page(&mut owner, "/mappings").await.1.contains("data-held="));
    // It is not paused any more: what it is told does nothing.
    let (status, _, text) = sent(&mut owner, &format!("{path}/resume"), &[]).await;
    assert!(status == 409 && text.contains("not_paused"), "{text}");
    let (status, _, _) = sent(&mut owner, &format!("{path}/pause"), &[("reason", MARKUP)]).await;
    assert_eq!(status, 303);
    let (_, text) = page(&mut owner, &path).await;
    assert!(text.contains(&escaped(MARKUP)) && !text.contains("<img") && text.contains("Resume"), "{text}");
}

#[tokio::test]
async fn runs_tell_what_they_did_and_why_they_failed() {
    let (world, mut owner, integration) = scene(Db::sqlite().await, 1).await;
    let columns = json!(["LastName", {"field": "Phone", "transforms": [{"date": "%d.%m.%Y"}], "column": "day"}]);
    let id = made(&mut owner, &integration, json!({"name": "people", "object": "Contact", "columns": columns})).await;
    let firms =
        made(&mut owner, &integration, json!({"name": "firms", "object": "Account", "columns": ["Name"]})).await;
    let body = json!([{"errorCode": "MALFORMED_QUERY", "message": format!("unexpected {MARKUP}")}]);
    let fault = json!({"path": "/services/data/", "query": "FROM Account", "status": 400, "times": 0, "body": body});
    world.control(Method::POST, "faults", fault).await;
    run(&world).await;
    let (_, text) = page(&mut owner, "/runs").await;
    assert!(
        text.contains(">people</bdi>") && text.contains(">firms</bdi>") && text.contains(">contacts</bdi>"),
        "{text}"
    );
    let (_, text) = page(&mut owner, "/runs?state=failed").await;
    assert_eq!(text.matches("data-run=").count(), 1, "{text}");
    assert!(text.contains("MALFORMED_QUERY") && !text.contains("<img"), "{text}");
    let (_, text) = page(&mut owner, &format!("/runs?mapping={id}&state=failed")).await;
    assert!(text.contains("No run stands so"), "{text}");
    assert_eq!(page(&mut owner, "/runs?cursor=x").await.0, 400);
    let failed = one(&mut owner, &firms).await["last_run"]["id"].as_str().unwrap().to_owned();
    let (_, text) = page(&mut owner, &format!("/runs/{failed}")).await;
    assert!(text.contains("MALFORMED_QUERY") && text.contains("What to do:") && !text.contains("<img"), "{text}");
    assert!(text.contains("ended: failed") && text.contains("sync error"), "{text}");
    assert!(page(&mut owner, &format!("/mappings/{firms}")).await.1.contains("It fails since"));
    world.control(Method::DELETE, "faults", json!({})).await;
    let (status, to, _) = sent(&mut owner, &format!("/runs/{failed}/again"), &[]).await;
    assert_eq!((status, to), (303, format!("/mappings/{firms}?said=asked")));
    run(&world).await;
    assert_eq!(one(&mut owner, &firms).await["last_run"]["state"], "success");
    // Those of the run that met them last.
    let (_, errors) = owner.get(&format!("/api/mappings/{id}/errors?limit=1")).await;
    let (record, met) = (&errors["items"][0]["record_id"], errors["items"][0]["run_id"].as_str().unwrap());
    let (_, text) = page(&mut owner, &format!("/runs/{met}")).await;
    assert!(text.contains("Values that did not fit") && text.contains(record.as_str().unwrap()), "{text}");
    let (_, text) = page(&mut owner, "/").await;
    assert!(text.contains(&format!("href=\"/mappings/{id}\"")) && text.contains("href=\"/runs/"), "{text}");
}
