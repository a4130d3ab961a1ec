//! The setup of a connection in the browser: step by step, resumed anywhere, and by nobody who may not.

use reqwest::{Method, Response, StatusCode};
use serde_json::json;

use crate::accounts::member;
use crate::database::Db;
use crate::world::{Browser, World};

on_both!(
    a_setup_goes_step_by_step_and_is_resumed_anywhere,
    what_is_typed_wrongly_is_told_beside_its_field_and_kept,
    the_secret_of_an_own_app_is_in_no_page,
    a_refused_login_leads_back_to_the_setup,
    an_org_that_was_connected_before_is_one_connection,
    whoever_may_not_set_up_is_told_who_may,
    labels_of_the_org_are_text,
    fields_are_chosen_previewed_and_mapped,
    errors_are_explained_where_they_are_looked_for,
);

const MARKUP: &str = "<img src=x onerror=alert(1)>";

/// A page: its status and text, and where it leads if it is a redirect.
struct Page {
    status: StatusCode,
    text: String,
    to: String,
}

impl Page {
    async fn of(response: Response) -> Self {
        let to = response.headers().get("location").map_or("", |to| to.to_str().unwrap()).to_owned();
        Self { status: response.status(), to, text: response.text().await.unwrap() }
    }

    fn has(&self, part: &str) -> bool {
        self.text.contains(part)
    }

    /// What stands beside a field.
    fn told(&self, id: &str) -> &str {
        let (_, rest) =
            self.text.split_once(&format!("id=\"{id}\"")).unwrap_or_else(|| panic!("no {id}: {}", self.text));
        rest.split_once('>').unwrap().1.split_once("</p>").unwrap().0
    }
}

async fn get(browser: &mut Browser, path: &str) -> Page {
    Page::of(browser.send(Method::GET, path, None).await).await
}

/// A page that is there.
async fn look(browser: &mut Browser, path: &str) -> Page {
    let page = get(browser, path).await;
    assert_eq!(page.status, 200, "{path} leads to `{}`: {}", page.to, page.text);
    page
}

async fn send(browser: &mut Browser, path: &str, fields: &[(&str, &str)]) -> Page {
    let token = token(browser).await;
    let mut all = vec![("csrf", token.as_str())];
    all.extend(fields);
    Page::of(browser.form(path, &all).await).await
}

/// The same, that leads on; answers where to.
async fn leads(browser: &mut Browser, path: &str, fields: &[(&str, &str)]) -> String {
    let page = send(browser, path, fields).await;
    assert_eq!(page.status, 303, "{path}: {}", page.text);
    page.to
}

/// What forms carry, of any page of this session.
async fn token(browser: &mut Browser) -> String {
    let page = get(browser, "/connections").await.text;
    page.split_once("name=\"csrf\" value=\"").unwrap().1.split_once('"').unwrap().0.to_owned()
}

/// An owner at a desk, with the org's address in hand.
async fn scene(db: Db) -> (World, Browser) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    owner.accept = "text/html";
    (world, owner)
}

/// The first two steps. Answers the path of the setup.
async fn begun(world: &World, browser: &mut Browser, name: &str) -> String {
    let org = [("name", name), ("environment", "custom"), ("domain", world.org.info().login_url.as_str())];
    let app = leads(browser, "/connections/new", &org).await;
    let setup = app.strip_suffix("/app").unwrap_or_else(|| panic!("{app}")).to_owned();
    assert_eq!(leads(browser, &app, &[("app", "service")]).await, format!("{setup}/connect"));
    setup
}

/// The login. Answers where the browser comes back to.
async fn logged_in(world: &World, browser: &mut Browser, setup: &str, decision: &str) -> Page {
    let page = send(browser, &format!("{setup}/connect"), &[]).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let url = page.text.split_once("0; url=").unwrap().1.split_once('"').unwrap().0.replace("&#38;", "&");
    let back = world.decide(&url, decision).await;
    get(browser, &back).await
}

/// As far as the objects.
async fn connected(world: &World, browser: &mut Browser) -> String {
    let setup = begun(world, browser, "Salesforce").await;
    let back = logged_in(world, browser, &setup, "allow").await;
    assert_eq!(back.status, 302, "{}", back.text);
    assert!(back.to.starts_with(&format!("{setup}?connected=")), "{}", back.to);
    assert_eq!(get(browser, &back.to).await.to, format!("{setup}/objects"));
    setup
}

async fn a_setup_goes_step_by_step_and_is_resumed_anywhere(db: Db) {
    let (world, mut owner) = scene(db).await;
    let mut admin = member(&world, &mut owner, "admin@example.com", "admin").await;
    admin.accept = "text/html";
    assert!(look(&mut owner, "/").await.has("href=\"/connections/new\""), "the way there");
    assert!(look(&mut owner, "/connections/new").await.has("value=\"Salesforce\""), "a name is there");
    let setup = begun(&world, &mut owner, "Salesforce").await;
    assert!(look(&mut admin, "/connections/new").await.has("value=\"Salesforce 2\""), "and is taken now");

    // Another person, another browser, the same place; and no step before its time.
    let connection = setup.strip_suffix("/setup").unwrap().to_owned();
    for page in ["/connections", "/", connection.as_str()] {
        assert!(look(&mut admin, page).await.has(&format!("href=\"{setup}\"")), "{page} offers to go on");
    }
    let here = |step: &str| format!("{setup}/{step}");
    assert_eq!(get(&mut admin, &setup).await.to, here("connect"));
    for early in ["objects", "fields", "sync"] {
        assert_eq!(get(&mut admin, &here(early)).await.to, here("connect"), "{early}");
    }
    // Back to what was said, which can still be changed.
    assert!(look(&mut admin, &here("org")).await.has("value=\"custom\" checked"), "what was chosen");
    let address = world.org.info().login_url.clone();
    let org = [("name", "Sales"), ("environment", "custom"), ("domain", address.as_str())];
    assert_eq!(leads(&mut admin, &here("org"), &org).await, here("app"));

    let back = logged_in(&world, &mut admin, &setup, "allow").await;
    assert_eq!(get(&mut admin, &back.to).await.to, here("objects"));
    assert_eq!(get(&mut owner, &setup).await.to, here("objects"));
    assert_eq!(get(&mut owner, &here("app")).await.to, here("objects"), "the app belongs to the login");
    let objects = look(&mut owner, &here("objects")).await;
    assert!(objects.has("kept in step already") && objects.has("value=\"Account\""), "{}", objects.text);
    assert!(!objects.has("value=\"Contact\""), "contacts need no choice");

    // A search keeps what is chosen elsewhere.
    let chosen = [("chosen", ""), ("shown", "Account Lead"), ("one", "Account"), ("q", "OPPORTUN"), ("go", "search")];
    let found = send(&mut owner, &here("objects"), &chosen).await;
    assert!(found.has("value=\"Account \"") && found.has("value=\"Opportunity\""), "{}", found.text);
    assert!(!found.has("value=\"Lead\""), "{}", found.text);
    let chosen = [("chosen", "Account"), ("shown", "Opportunity"), ("one", "Opportunity"), ("go", "save")];
    assert_eq!(leads(&mut owner, &here("objects"), &chosen).await, setup);
    assert_eq!(get(&mut admin, &setup).await.to, here("fields"));
    assert!(look(&mut admin, &here("fields")).await.has("1 of 2"));

    // One is made, one is skipped.
    let made = [("object", "Account"), ("table", "account"), ("keep-Name", "on"), ("go", "make")];
    assert_eq!(leads(&mut owner, &here("fields"), &made).await, setup);
    assert!(look(&mut admin, &here("fields")).await.has("2 of 2"), "what another tab made is made");
    assert_eq!(leads(&mut admin, &here("fields"), &made).await, setup, "and is not made twice");
    let skipped = [("object", "Opportunity"), ("go", "skip")];
    assert_eq!(leads(&mut owner, &here("fields"), &skipped).await, setup);
    assert_eq!(get(&mut owner, &setup).await.to, here("sync"));
    let (_, all) = owner.get("/api/mappings").await;
    assert_eq!(all["mappings"].as_array().unwrap().len(), 2, "contacts, and accounts: {all}");

    let sync = look(&mut owner, &here("sync")).await;
    assert!(sync.has("waits for its turn") && !sync.has("Everything is here"), "{}", sync.text);
    assert_eq!(leads(&mut owner, &here("sync"), &[]).await, format!("{}?said=synced", here("sync")));
    world.nodes[0].service.run_all().await;
    let sync = look(&mut owner, &here("sync")).await;
    assert!(sync.has("Everything is here") && sync.has("20 in the table"), "{}", sync.text);

    // It is over when somebody says so.
    assert_eq!(get(&mut admin, &setup).await.to, here("sync"));
    assert_eq!(leads(&mut owner, &here("finish"), &[]).await, format!("{connection}?said=finished"));
    for path in [setup.clone(), here("objects"), here("sync")] {
        assert_eq!(get(&mut admin, &path).await.to, connection, "{path}");
    }
    assert!(!look(&mut admin, &connection).await.has("Go on with the setup"));
}

async fn what_is_typed_wrongly_is_told_beside_its_field_and_kept(db: Db) {
    let (world, mut owner) = scene(db).await;
    for (domain, part) in [
        ("evil.example", "not one of Salesforce"),
        ("http://acme.my.salesforce.com", "only https"),
        ("https://x@acme.my.salesforce.com", "user name"),
        ("203.0.113.7", "address instead of a name"),
        ("acme.lightning.force.com", "people log in at its My Domain"),
        ("", "Type the org"),
    ] {
        let org = [("name", "Name that I typed"), ("environment", "custom"), ("domain", domain)];
        let page = send(&mut owner, "/connections/new", &org).await;
        assert_eq!(page.status, 400, "{domain}");
        assert!(page.told("domain-flaw").contains(part), "{domain}: {}", page.told("domain-flaw"));
        assert!(page.told("name-flaw").is_empty(), "{}", page.text);
        assert!(page.has(&format!("value=\"{domain}\"")) && page.has("value=\"Name that I typed\""), "{}", page.text);
        assert!(page.has("value=\"custom\" checked"));
    }
    // While somebody types, what is wrong is told and what is empty is not; nothing is made.
    let typing = [("name", ""), ("environment", "custom"), ("domain", ""), ("go", "check")];
    let page = send(&mut owner, "/connections/new", &typing).await;
    assert_eq!((page.status.as_u16(), page.told("domain-flaw"), page.told("name-flaw")), (200, "", ""));
    let typing = [("name", "X"), ("environment", "custom"), ("domain", "evil.example"), ("go", "check")];
    let page = send(&mut owner, "/connections/new", &typing).await;
    assert_eq!((page.status.as_u16(), page.told("domain-flaw").is_empty()), (200, false));
    let good = [("name", "X"), ("environment", "sandbox"), ("go", "check")];
    assert_eq!(send(&mut owner, "/connections/new", &good).await.status, 200);
    let (_, all) = owner.get("/api/integrations").await;
    assert_eq!(all["integrations"], json!([]), "{all}");

    let setup = begun(&world, &mut owner, "Salesforce").await;
    let taken = [("name", "Salesforce"), ("environment", "production")];
    let page = send(&mut owner, "/connections/new", &taken).await;
    assert!(page.status == 400 && page.told("name-flaw").contains("already"), "{}", page.text);
    let nameless = [("name", " "), ("environment", "production")];
    let page = send(&mut owner, &format!("{setup}/org"), &nameless).await;
    assert!(page.status == 400 && page.told("name-flaw").contains("1 to 100"), "{}", page.text);
}

async fn the_secret_of_an_own_app_is_in_no_page(db: Db) {
    let (world, mut owner) = scene(db).await;
    let setup = begun(&world, &mut owner, "Salesforce").await;
    let app = format!("{setup}/app");
    let (key, secret) = (world.org.info().client_id.clone(), world.org.info().client_secret.clone());
    let wrong = [("app", "own"), ("client_id", "two words"), ("client_secret", secret.as_str())];
    let page = send(&mut owner, &app, &wrong).await;
    assert!(page.status == 400 && page.told("key-flaw").contains("white space"), "{}", page.text);
    assert!(
        page.has("value=\"two words\"") && page.has("value=\"own\" checked") && !page.has(&secret),
        "{}",
        page.text
    );
    let missing = [("app", "own"), ("client_id", key.as_str()), ("client_secret", "")];
    let page = send(&mut owner, &app, &missing).await;
    assert!(page.status == 400 && page.told("secret-flaw").contains("Paste"), "{}", page.text);
    let same = [("app", "own"), ("client_id", key.as_str()), ("client_secret", key.as_str()), ("go", "check")];
    assert!(send(&mut owner, &app, &same).await.told("secret-flaw").contains("key once more"));

    let own = [("app", "own"), ("client_id", key.as_str()), ("client_secret", secret.as_str())];
    assert_eq!(leads(&mut owner, &app, &own).await, format!("{setup}/connect"));
    let connection = setup.strip_suffix("/setup").unwrap().to_owned();
    for path in [app.as_str(), &format!("{setup}/connect"), &connection, "/connections", "/", "/audit", "/logs"] {
        assert!(!look(&mut owner, path).await.has(&secret), "{path}");
    }
    let page = look(&mut owner, &app).await;
    assert!(page.has(&format!("value=\"{key}\"")) && page.has("One is kept"), "{}", page.text);
    // Kept if nothing else is typed; but another key has another secret.
    assert_eq!(leads(&mut owner, &app, &missing).await, format!("{setup}/connect"));
    let other = [("app", "own"), ("client_id", "AnotherKeyThatIsLongEnough"), ("client_secret", "")];
    assert_eq!(send(&mut owner, &app, &other).await.status, 400);
    // It is the one that logs in.
    let back = logged_in(&world, &mut owner, &setup, "allow").await;
    assert_eq!(back.status, 302, "{}", back.text);
    let (_, all) = owner.get("/api/integrations").await;
    assert_eq!(all["integrations"][0]["own_app"], true, "{all}");

    // And it can be taken out again, as long as nobody has logged in.
    let setup = begun(&world, &mut owner, "Second").await;
    assert_eq!(leads(&mut owner, &format!("{setup}/app"), &own).await, format!("{setup}/connect"));
    assert!(look(&mut owner, &format!("{setup}/connect")).await.has("an app of the org"));
    let back = [("app", "service")];
    assert_eq!(leads(&mut owner, &format!("{setup}/app"), &back).await, format!("{setup}/connect"));
    assert!(look(&mut owner, &format!("{setup}/connect")).await.has("the service's app"));
}

async fn a_refused_login_leads_back_to_the_setup(db: Db) {
    let (world, mut owner) = scene(db).await;
    let setup = begun(&world, &mut owner, "Salesforce").await;
    let back = logged_in(&world, &mut owner, &setup, "deny").await;
    assert!(back.status == 403 && back.has("data-code=\"access_denied\""), "{}", back.text);
    assert!(back.has(&format!("class=\"button\" href=\"{setup}\"")), "{}", back.text);
    assert_eq!(get(&mut owner, &setup).await.to, format!("{setup}/connect"));
    let back = logged_in(&world, &mut owner, &setup, "allow").await;
    assert_eq!(back.status, 302, "{}", back.text);
}

async fn an_org_that_was_connected_before_is_one_connection(db: Db) {
    let (world, mut owner) = scene(db).await;
    let first = connected(&world, &mut owner).await;
    let second = begun(&world, &mut owner, "Once more").await;
    let back = logged_in(&world, &mut owner, &second, "allow").await;
    let to = get(&mut owner, &back.to).await.to;
    assert_eq!(to, format!("{}?said=known_org", first.strip_suffix("/setup").unwrap()));
    assert!(look(&mut owner, &to).await.has("connected before"));
}

async fn whoever_may_not_set_up_is_told_who_may(db: Db) {
    let (world, mut owner) = scene(db).await;
    let setup = connected(&world, &mut owner).await;
    let steps = ["", "/org", "/app", "/connect", "/objects", "/fields", "/sync"].map(|step| format!("{setup}{step}"));
    for role in ["viewer", "member"] {
        let mut other = member(&world, &mut owner, &format!("{role}@example.com"), role).await;
        other.accept = "text/html";
        assert!(!look(&mut other, "/connections").await.has("Go on with the setup"));
        for path in steps.iter().map(String::as_str).chain(["/connections/new"]) {
            let page = get(&mut other, path).await;
            assert!(page.status == 403 && page.has("Owners and admins connect orgs"), "{role} {path}: {}", page.text);
        }
        for step in ["org", "app", "connect", "objects", "fields", "sync", "finish"] {
            assert_eq!(send(&mut other, &format!("{setup}/{step}"), &[]).await.status, 403, "{role} {step}");
        }
        let org = [("name", "Mine"), ("environment", "production")];
        assert_eq!(send(&mut other, "/connections/new", &org).await.status, 403);
        // What explains it is for everybody.
        let guide = look(&mut other, "/home/integrations/salesforce-guide").await;
        let callback = format!("{}/api/integrations/salesforce/callback", world.nodes[0].url);
        assert!(guide.has(&callback) && guide.has("api refresh_token"), "{}", guide.text);
    }
    // A form without the page's token.
    assert_eq!(owner.form(&format!("{setup}/finish"), &[("csrf", "x")]).await.status(), 403);
    // Another business finds none of it.
    let (_, other) = owner.post("/api/businesses", json!({"name": "Other"})).await;
    leads(&mut owner, "/business", &[("id", other["id"].as_str().unwrap())]).await;
    for path in &steps {
        assert_eq!(get(&mut owner, path).await.status, 404, "{path}");
        let sent = send(&mut owner, path, &[]).await.status;
        assert!(sent == 404 || (sent == 405 && *path == setup), "{path}: {sent}");
    }
    let mut outside = world.browser();
    for path in [steps[0].as_str(), "/connections/new", "/help", "/home/integrations/salesforce-guide"] {
        assert_eq!(get(&mut outside, path).await.to, "/sign-in", "{path}");
    }
}

async fn labels_of_the_org_are_text(db: Db) {
    let (world, mut owner) = scene(db).await;
    let field = json!({"name": "Odd__c", "label": MARKUP, "type": "string 80"});
    let object = json!({"name": "Strange__c", "label": MARKUP, "fields": [field]});
    world.control(Method::POST, "objects", object).await;
    let record = json!({"op": "insert", "object": "Strange__c", "fields": {"Odd__c": MARKUP}});
    world.control(Method::POST, "records/write", json!({"writes": [record]})).await;
    let org = [("name", MARKUP), ("environment", "custom"), ("domain", world.org.info().login_url.as_str())];
    let app = leads(&mut owner, "/connections/new", &org).await;
    let setup = app.strip_suffix("/app").unwrap().to_owned();
    leads(&mut owner, &app, &[("app", "service")]).await;
    logged_in(&world, &mut owner, &setup, "allow").await;
    let objects = format!("{setup}/objects");
    let page = look(&mut owner, &format!("{objects}?q={MARKUP}")).await;
    assert!(page.has("Strange__c") && !page.has(MARKUP), "{}", page.text);
    leads(&mut owner, &objects, &[("one", "Strange__c"), ("one", "Nothing__c"), ("one", "Contact"), ("go", "save")])
        .await;
    let fields = format!("{setup}/fields");
    let page = look(&mut owner, &fields).await;
    assert!(
        page.has("1 of 1") && page.has("Odd__c") && !page.has(MARKUP),
        "what is not there is not chosen: {}",
        page.text
    );
    let wanted = [("object", "Strange__c"), ("table", "strange"), ("keep-Odd__c", "on"), ("as-Odd__c", MARKUP)];
    let page = send(&mut owner, &fields, &[&wanted[..], &[("go", "preview"), ("q", MARKUP)]].concat()).await;
    assert!(page.status == 200 && page.has("&#60;img") && !page.has(MARKUP), "{}", page.text);
    let page = send(&mut owner, &fields, &[&wanted[..3], &[("go", "preview")]].concat()).await;
    assert!(page.has("Every value fits") && page.has("&#60;img") && !page.has(MARKUP), "{}", page.text);
    leads(&mut owner, &fields, &[&wanted[..3], &[("go", "make")]].concat()).await;
    assert!(!look(&mut owner, &format!("{setup}/sync")).await.has(MARKUP));
}

async fn fields_are_chosen_previewed_and_mapped(db: Db) {
    let (world, mut owner) = scene(db).await;
    let setup = connected(&world, &mut owner).await;
    leads(&mut owner, &format!("{setup}/objects"), &[("one", "Account"), ("one", "Lead"), ("go", "save")]).await;
    let fields = format!("{setup}/fields");
    let first = look(&mut owner, &fields).await;
    assert!(first.has("name=\"keep-Name\" aria-labelledby=\"f-Name\" checked"), "{}", first.text);
    assert!(first.has("name=\"table\" value=\"account\""), "{}", first.text);
    assert!(!first.has("keep-BillingAddress") && !first.has("keep-Id\""), "what can have no column: {}", first.text);

    let typed = [
        ("object", "Account"),
        ("table", "firms"),
        ("keep-Name", "on"),
        ("as-Name", "firm name"),
        ("clean-Name", "upper"),
        ("keep-Phone", "on"),
        ("clean-Phone", "phone"),
        ("region", "de"),
        ("q", "phone"),
    ];
    let with = |go: &'static str| [&typed[..], &[("go", go)]].concat();
    // A filter hides, and forgets nothing.
    let page = send(&mut owner, &fields, &with("filter")).await;
    assert!(
        page.has("data-words=\"Account Phone Phone\">") && page.has("data-words=\"Account Name Name\" hidden>"),
        "{}",
        page.text
    );
    assert!(page.has("value=\"firm name\"") && page.has("value=\"upper\" selected"), "{}", page.text);
    // What is wrong with a field stands beside it, also if it does not fit to the filter.
    for (go, status) in [("preview", 200), ("make", 422)] {
        let page = send(&mut owner, &fields, &with(go)).await;
        assert_eq!(page.status.as_u16(), status, "{}", page.text);
        assert!(page.told("w-Name").contains("firm name"), "{}", page.told("w-Name"));
        assert!(page.has("data-words=\"Account Name Name\">"), "{}", page.text);
        assert!(
            page.has("value=\"firms\"") && page.has("value=\"phone\" selected") && page.has("value=\"de\""),
            "{}",
            page.text
        );
        assert!(page.has("name=\"keep-Fax\" aria-labelledby=\"f-Fax\">"), "what was unchecked stays so");
    }
    for (table, part) in [("", "Type a name"), ("con tacts", "con tacts"), ("contacts", "built in")] {
        let wrong = [("object", "Account"), ("table", table), ("keep-Name", "on"), ("go", "make")];
        let page = send(&mut owner, &fields, &wrong).await;
        assert_eq!(page.status, 422, "{table}");
        assert!(page.told("table-flaw").contains(part), "{table}: {}", page.told("table-flaw"));
    }
    let nothing = [("object", "Account"), ("table", "firms"), ("new_fields", "on"), ("go", "make")];
    let page = send(&mut owner, &fields, &nothing).await;
    assert!(page.status == 422 && page.has("No field is chosen"), "{}", page.text);
    // The database has a table of that name already.
    let taken = [("object", "Account"), ("table", "leads"), ("keep-Name", "on"), ("go", "make")];
    let page = send(&mut owner, &fields, &taken).await;
    assert!(page.status == 409 && page.has("already") && page.has("value=\"leads\""), "{}", page.text);

    let good: Vec<_> = with("preview").into_iter().filter(|(name, _)| *name != "as-Name").collect();
    let page = send(&mut owner, &fields, &good).await;
    assert!(page.status == 200 && page.has("<th scope=\"col\">phone</th>"), "{}", page.text);
    assert!(!page.has("<th scope=\"col\">fax</th>"), "{}", page.text);
    let good: Vec<_> = with("make").into_iter().filter(|(name, _)| *name != "as-Name").collect();
    leads(&mut owner, &fields, &good).await;
    // All of the next one, but a field, and those to come.
    let page = look(&mut owner, &fields).await;
    let names = page.text.split("name=\"keep-").skip(1).map(|rest| rest.split_once('"').unwrap().0.to_owned());
    let kept: Vec<String> = names.filter(|name| name != "Fax").map(|name| format!("keep-{name}")).collect();
    let mut all: Vec<(&str, &str)> = kept.iter().map(|name| (name.as_str(), "on")).collect();
    all.extend([("object", "Lead"), ("table", "lead"), ("new_fields", "on"), ("clean-Email", "lower"), ("go", "make")]);
    leads(&mut owner, &fields, &all).await;

    let (_, all) = owner.get("/api/mappings").await;
    let mut definitions = Vec::new();
    for mapping in all["mappings"].as_array().unwrap().iter().filter(|mapping| mapping["name"] != "contacts") {
        let (_, one) = owner.get(&format!("/api/mappings/{}", mapping["id"].as_str().unwrap())).await;
        definitions.push(one["definition"].clone());
    }
    let firms = json!({"name": "firms", "object": "Account", "columns": [
        {"field": "Name", "transforms": ["upper"]}, {"field": "Phone", "transforms": [{"phone": "DE"}]},
    ]});
    let lead = json!({"name": "lead", "object": "Lead", "all_fields": true, "ignore": ["Fax"],
        "columns": [{"field": "Email", "transforms": ["lower"]}]});
    assert_eq!(definitions, [firms, lead]);
}

async fn errors_are_explained_where_they_are_looked_for(db: Db) {
    let (world, mut owner) = scene(db).await;
    let mut viewer = member(&world, &mut owner, "viewer@example.com", "viewer").await;
    let all = look(&mut viewer, "/help").await;
    for anchor in ["INVALID_SESSION_ID", "invalid_client_id", "login-rate-exceeded", "redirect_uri_mismatch"] {
        assert!(all.has(&format!("<article id=\"{anchor}\">")), "{anchor}");
    }
    let found = look(&mut viewer, "/help?q=unable_to_lock%20record").await;
    assert!(found.has("id=\"UNABLE_TO_LOCK_ROW\"") && !found.has("id=\"INVALID_SESSION_ID\""), "{}", found.text);
    let none = look(&mut viewer, "/help?q=%3Cimg%20src=x%20onerror=alert(1)%3E").await;
    assert!(none.has("No error has this") && !none.has(MARKUP), "{}", none.text);

    // A connection that fails leads there.
    let setup = connected(&world, &mut owner).await;
    let id = setup.split('/').nth(2).unwrap().parse().unwrap();
    let reason = "REQUEST_LIMIT_EXCEEDED: TotalRequests Limit exceeded.";
    let (store, status) = (world.db.store.own(), tieline_store::Status::Error);
    store.note_integration(id, status, Some(reason), None, crate::database::now()).await.unwrap();
    for path in [setup.strip_suffix("/setup").unwrap(), "/connections"] {
        assert!(look(&mut viewer, path).await.has("href=\"/help#REQUEST_LIMIT_EXCEEDED\""), "{path}");
    }
}
