//! `tieline setup`: from an org without an app to a login that works; interrupted, refused, undone, rotated.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::desk::{Desk, apps, assert_untouched, secrets_are_on};
use crate::org::{Org, json as parse, run, tieline};

#[test]
fn from_nothing_to_a_query_and_back() {
    let org = Org::start(&["--contacts", "4"]);
    let desk = Desk::new();
    let told = desk.done(&org, &["--username", org.get("username")]);
    assert_eq!(
        (&told["app"]["kind"], &told["app"]["name"], &told["changed"]),
        (&json!("eca"), &json!("JWT_Lambda_Integration"), &json!(true))
    );
    assert_eq!(told["verified"]["exchange"], true, "{told}");
    assert_eq!(told["verified"]["userinfo"]["username"], org.get("username"));
    assert!(told["verified"]["limits"]["Remaining"].as_u64().unwrap() > 0);
    assert_eq!(desk.files(), [".env.jwt", ".tieline-setup.json", "jwt-config.json", "private_key.pem", "public.crt"]);
    let mode = |name: &str| std::fs::metadata(Path::new(&desk.out()).join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(["private_key.pem", ".env.jwt", "public.crt"].map(mode), [0o600, 0o600, 0o644]);

    // The app as it was asked for, and as the org has it.
    let app = &org.control("GET", "apps", &Value::Null)["JWT_Lambda_Integration"];
    assert_eq!((&app["client_id"], &app["admin_approved"]), (&told["app"]["client_id"], &json!(true)));
    assert_eq!(
        (&app["pkce_required"], &app["rotation"]),
        (&json!(true), &json!(true)),
        "a refresh token may be asked for"
    );
    assert_eq!(app["scopes"], json!(["api", "refresh_token", "id", "profile", "email"]));
    assert_eq!(app["callback_urls"], json!(["https://login.salesforce.com/services/oauth2/success"]));
    assert!(!secrets_are_on(&org), "the switch is off again");

    // What it wrote is a login, for this program and for a shell.
    let (code, out, err) = run(&mut tieline(&desk.login(), &["query", "--json", "SELECT Id FROM Contact"]));
    assert_eq!((code, out.lines().count()), (0, 4), "{err}");
    let config = parse(&desk.read("jwt-config.json"));
    assert_eq!((&config["clientId"], &config["username"]), (&told["app"]["client_id"], &json!(org.get("username"))));
    let shell = "set -a; . \"$1/.env.jwt\"; set +a; exec \"$2\" whoami --json";
    let mut sourced = Command::new("sh");
    sourced.env_clear().args(["-c", shell, "sh", &desk.out(), crate::org::PROGRAM]);
    let (code, out, err) = run(&mut sourced);
    assert_eq!(code, 0, "{err}");
    assert_eq!(parse(&out)["username"], org.get("username"));

    // What it remembers is no secret.
    let state = desk.read(".tieline-setup.json");
    for secret in [org.get("access_token"), "PRIVATE KEY", app["client_secret"].as_str().unwrap()] {
        assert!(!state.contains(secret), "{state}");
    }

    // A second run changes nothing.
    let deploys = org.ledger()["deploys"].clone();
    let before: Vec<String> = desk.files().iter().map(|name| desk.read(name)).collect();
    let again = desk.done(&org, &["--username", org.get("username")]);
    assert_eq!((&again["changed"], &again["app"]["client_id"]), (&json!(false), &told["app"]["client_id"]));
    assert_eq!(org.ledger()["deploys"], deploys);
    assert_eq!(desk.files().iter().map(|name| desk.read(name)).collect::<Vec<_>>(), before);

    let removed = desk.done(&org, &["--undo"]);
    assert!(removed["removed"].as_array().unwrap().len() >= 5, "{removed}");
    assert_untouched(&org);
    assert!(desk.files().is_empty());
    desk.refused(&mut desk.setup(&org, &["--undo"]), 2, "holds no setup to undo", "--output");
}

#[test]
fn a_connected_app_where_the_org_still_makes_them() {
    let org = Org::start(&["--contacts", "0"]);
    let desk = Desk::new();
    let connected = ["--app", "connected-app", "--stage", "prod", "--scopes", "api,id", "--enforce-ip"];
    desk.refused(
        &mut desk.setup(&org, &connected),
        3,
        "did not take the connected app",
        "leave out --app connected-app",
    );
    org.control("PUT", "setup", &json!({"connected_app_creation": true}));
    let told = desk.done(&org, &connected);
    assert_eq!((&told["app"]["kind"], &told["app"]["name"]), (&json!("connected-app"), &json!("JWT_Lambda_Prod")));
    let app = &org.control("GET", "apps", &Value::Null)["JWT_Lambda_Prod"];
    assert_eq!((&app["rotation"], &app["scopes"]), (&json!(false), &json!(["api", "id"])));
    assert_eq!(run(&mut tieline(&desk.login(), &["token"])).0, 0);
    desk.done(&org, &["--undo"]);
    assert_untouched(&org);
}

#[test]
fn the_org_takes_its_time_and_a_later_run_goes_on() {
    let org = Org::start(&["--contacts", "0"]);
    let desk = Desk::new();
    org.control("PUT", "setup", &json!({"activation_seconds": 3_600, "deploy_seconds": 1}));
    let (code, out, err) = run(&mut desk.setup(&org, &["--wait-seconds", "2"]));
    assert_eq!((code, out.as_str()), (4, ""), "{err}");
    for said in [
        "deploying the permission set: InProgress",
        "… the org does not know the app yet (it takes 2 to 10 minutes)",
        "client identifier invalid",
        "hint: ",
        "run the same command again to go on waiting",
    ] {
        assert!(err.contains(said), "`{said}` is missing in {err}");
    }
    let deploys = org.ledger()["deploys"].clone();
    org.control("PUT", "clock", &json!({"advance_seconds": 3_601}));
    let told = desk.done(&org, &[]);
    assert_eq!(
        (&told["verified"]["exchange"], &org.ledger()["deploys"]),
        (&json!(true), &deploys),
        "nothing is deployed again"
    );
}

#[test]
fn what_an_org_can_refuse_is_met_with_the_right_hint() {
    let org = Org::start(&["--contacts", "0"]);
    let desk = Desk::new();
    let reset = || drop(org.control("POST", "reset", &Value::Null));

    // Nobody to ask, and nothing to log in with.
    let mut nothing = tieline(&desk.environment(&[]), &["setup", "jwt", "--non-interactive", "--output", &desk.out()]);
    desk.refused(&mut nothing, 2, "nobody can be asked", "SF_ACCESS_TOKEN");
    desk.refused(desk.setup(&org, &[]).env("SF_ACCESS_TOKEN", ""), 2, "set, and empty", "has worked");
    let secure = org.get("instance_url").replace("http:", "https:");
    let login = desk.environment(&[("SF_USERNAME", org.get("username")), ("SF_PASSWORD", "x")]);
    let arguments = ["setup", "jwt", "--non-interactive", "--login", "password", "--instance-url", &secure, "--output"];
    desk.refused(
        &mut tieline(&login, &[&arguments[..], &[&desk.out()]].concat()),
        4,
        "cannot be reached",
        "does not speak HTTPS",
    );
    assert!(!Path::new(&desk.out()).exists(), "nothing is left of what did not begin");
    // A user who may not change metadata.
    let standard = [
        ("SF_LOGIN_URL", org.get("login_url")),
        ("SF_CLIENT_ID", org.get("client_id")),
        ("SF_CLIENT_SECRET", org.get("client_secret")),
        ("SF_USERNAME", "standard@local.tieline.test"),
        ("SF_PASSWORD", org.get("password")),
    ];
    let arguments = ["setup", "jwt", "--login", "password", "--non-interactive", "--output", &desk.out()];
    desk.refused(&mut tieline(&desk.environment(&standard), &arguments), 3, "INSUFFICIENT_ACCESS", "administrator");
    // A token that has ended.
    let dead =
        desk.environment(&[("SF_ACCESS_TOKEN", "00DEm0000000001!dead"), ("SF_INSTANCE_URL", org.get("instance_url"))]);
    let arguments = ["setup", "jwt", "--non-interactive", "--output", &desk.out()];
    desk.refused(&mut tieline(&dead, &arguments), 3, "no longer valid", "SF_ACCESS_TOKEN");
    // Users who are not there, or not active.
    desk.refused(
        &mut desk.setup(&org, &["--username", "nobody@example.org"]),
        2,
        "has no user `nobody@example.org`",
        "--username",
    );
    let elsewhere = Desk::new();
    elsewhere.refused(
        &mut elsewhere.setup(&org, &["--username", "inactive@local.tieline.test"]),
        3,
        "is not active",
        "activate it",
    );

    // External client apps are switched off.
    let desk = Desk::new();
    org.control("PUT", "setup", &json!({"settings": {"ExternalClientApp": {"enableExternalClientApps": false}}}));
    desk.refused(&mut desk.setup(&org, &[]), 3, "Not available for deploy", "External Client Apps, Settings");
    assert!(!secrets_are_on(&org), "also when the deploy fails, the switch goes off");
    reset();
    // A component that the org does not take, in its own words.
    org.control(
        "PUT",
        "setup",
        &json!({"problems": [{"type": "ExtlClntAppOauthConfigurablePolicies", "problem": "the moon is full"}]}),
    );
    desk.refused(&mut desk.setup(&org, &[]), 3, "JWT_Lambda_Integration_oauthPlcy: the moon is full", "--dry-run");
    reset();
    // The org does not tell the consumer key (newer orgs): a person does.
    org.control("PUT", "setup", &json!({"tells_consumer_keys": false}));
    desk.refused(&mut desk.setup(&org, &[]), 3, "does not tell its consumer key", "SF_CLIENT_ID");
    let client_id =
        org.control("GET", "apps", &Value::Null)["JWT_Lambda_Integration"]["client_id"].as_str().unwrap().to_owned();
    // Mistyped, and then right.
    let waits = ["--wait-seconds", "1"];
    let (code, _, err) = run(desk.setup(&org, &waits).env("SF_CLIENT_ID", "3MVG9mistyped"));
    assert!(code == 4 && err.contains("3MVG9mistyped"), "{code} {err}");
    let (code, out, err) = run(desk.setup(&org, &[]).env("SF_CLIENT_ID", &client_id));
    assert_eq!(code, 0, "{out}{err}");
    reset();

    // A certificate that belongs to another key.
    let mixed = Desk::new();
    std::fs::create_dir(mixed.out()).unwrap();
    std::fs::copy(org.get("certificate_file"), Path::new(&mixed.out()).join("public.crt")).unwrap();
    mixed.refused(
        &mut mixed.setup(&org, &["--name", "Mixed"]),
        1,
        "was not made for the private key",
        "belong together",
    );
    // A key that others can read is not used.
    let open = Desk::new();
    std::fs::create_dir(open.out()).unwrap();
    let key = Path::new(&open.out()).join("private_key.pem");
    std::fs::copy(org.get("private_key_file"), &key).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    open.refused(&mut open.setup(&org, &["--name", "Open"]), 1, "can be read by others (mode 644)", "chmod 600");
    // With the mode put right, the key that was there is used, and stays when the setup goes.
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    open.done(&org, &["--name", "Open"]);
    open.done(&org, &["--undo"]);
    assert_eq!(open.files(), ["private_key.pem"]);

    // An app of that name is there, and is not from here.
    let second = Desk::new();
    second.refused(&mut second.setup(&org, &[]), 2, "called JWT_Lambda_Integration already", "--name");
    // Another setup in the same folder.
    desk.refused(
        &mut desk.setup(&org, &["--name", "Other"]),
        2,
        "holds the setup of JWT_Lambda_Integration",
        "--output",
    );
    desk.refused(&mut desk.setup(&org, &["--enforce-ip"]), 2, "with other settings", "--undo");
    // Options that cannot be.
    second.refused(&mut second.setup(&org, &["--name", "no spaces"]), 2, "cannot be the name of an app", "underscores");
    second.refused(&mut second.setup(&org, &["--scopes", "refresh_token"]), 2, "without the scope `api`", "--scopes");
    second.refused(&mut second.setup(&org, &["--scopes", "api,bacon"]), 2, "`bacon` is not a scope", "refresh_token");
}

#[test]
fn a_login_that_does_not_come_to_work_ends_with_what_the_org_says_and_what_to_do() {
    let org = Org::start(&["--contacts", "0"]);
    for (error, description, said, hinted) in [
        (
            "invalid_app_access",
            "user is not admin approved to access this app",
            "the org does not know yet that the user is pre-authorised",
            "add a permission set or profile of the user to the app",
        ),
        (
            "invalid_grant",
            "invalid assertion",
            "the org does not take the certificate yet",
            "does not belong to the certificate",
        ),
        (
            "invalid_grant",
            "user hasn't approved this consumer",
            "the user is pre-authorised",
            "pre-authorise the user for the app",
        ),
    ] {
        let desk = Desk::new();
        let body = json!({"error": error, "error_description": description});
        let fault = json!({"path": "/services/oauth2/token", "times": 0, "status": 400, "body": body});
        org.control("POST", "faults", &fault);
        let (code, _, err) = run(&mut desk.setup(&org, &["--wait-seconds", "1"]));
        org.control("DELETE", "faults", &Value::Null);
        assert_eq!(code, 4, "{err}");
        for text in [said, description, hinted, "run the same command again to go on waiting"] {
            assert!(err.contains(text), "{description}: `{text}` is missing in {err}");
        }
        assert!(!secrets_are_on(&org), "the switch does not wait for the login");
        // The next run has nothing to do but to log in.
        let deploys = org.ledger()["deploys"].clone();
        assert_eq!(
            (&desk.done(&org, &[])["changed"], &org.ledger()["deploys"]),
            (&json!(true), &deploys),
            "the files are new"
        );
        desk.done(&org, &["--undo"]);
    }
    // What waiting does not cure ends at once.
    let desk = Desk::new();
    let (code, _, err) = run(desk.setup(&org, &[]).env("SF_AUDIENCE", "https://example.org"));
    assert!(code == 3 && err.contains("audience is invalid") && !err.contains("the next look"), "{err}");
}

#[test]
fn who_must_approve_the_app_is_told_and_api_access_control_is_noticed() {
    let org = Org::start(&["--contacts", "0"]);
    let desk = Desk::new();
    let own = ["--self-authorize", "--username", "unapproved@local.tieline.test"];
    org.control("PUT", "setup", &json!({"settings": {"ConnectedApp": {"enableAdminApprovedAppsOnly": true}}}));
    desk.refused(&mut desk.setup(&org, &own), 3, "API Access Control is on", "without --self-authorize");
    org.control("POST", "reset", &Value::Null);
    let (code, _, err) = run(&mut desk.setup(&org, &own));
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("/services/oauth2/authorize?response_type=code") && err.contains("press Allow"), "{err}");
    // The user opens the page and allows it; the next run finds it so.
    let page = err.lines().find(|line| line.contains("/services/oauth2/authorize")).unwrap();
    crate::consent::allow(&org, page.trim(), "unapproved@local.tieline.test");
    let told = desk.done(&org, &own);
    assert_eq!(
        (&told["permission_set"], &told["user"]["username"]),
        (&Value::Null, &json!("unapproved@local.tieline.test"))
    );
    // A pre-authorised app is let in while API Access Control is on.
    org.control("PUT", "setup", &json!({"settings": {"ConnectedApp": {"enableAdminApprovedAppsOnly": true}}}));
    let approved = Desk::new();
    approved.done(&org, &["--name", "Approved"]);
    // The self-authorised one is shut out now, and doctor says by what.
    let (code, out, _) = run(&mut tieline(&desk.login(), &["doctor"]));
    assert_eq!(code, 3);
    assert!(out.contains("fail  API access") && out.contains("app_blocked"), "{out}");
}

#[test]
fn dry_run_prints_the_metadata_and_touches_nothing() {
    let desk = Desk::new();
    let arguments = ["setup", "jwt", "--dry-run", "--json", "--output", &desk.out()];
    let (code, out, err) = run(&mut tieline(&desk.environment(&[]), &arguments));
    assert_eq!(code, 0, "{err}");
    let deploys = parse(&out)["deploys"].clone();
    let names: Vec<_> =
        deploys.as_array().unwrap().iter().map(|deploy| deploy["deploy"].as_str().unwrap().to_owned()).collect();
    assert_eq!(
        names,
        [
            "the permission set",
            "the switch for consumer keys, on",
            "the external client app",
            "the switch for consumer keys, off again"
        ]
    );
    let files = deploys[2]["files"].as_object().unwrap();
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        [
            "externalClientApps/JWT_Lambda_Integration.eca",
            "extlClntAppGlobalOauthSets/JWT_Lambda_Integration_glbloauth.ecaGlblOauth",
            "extlClntAppOauthPolicies/JWT_Lambda_Integration_oauthPlcy.ecaOauthPlcy",
            "extlClntAppOauthSettings/JWT_Lambda_Integration_oauth.ecaOauth",
            "extlClntAppPolicies/JWT_Lambda_Integration_plcy.ecaPlcy",
            "package.xml",
        ]
    );
    let policies = files["extlClntAppOauthPolicies/JWT_Lambda_Integration_oauthPlcy.ecaOauthPlcy"].as_str().unwrap();
    assert!(
        policies.contains("<permittedUsersPolicyType>AdminApprovedPreAuthorized<")
            && policies.contains("<ipRelaxationPolicyType>Bypass<"),
        "{policies}"
    );
    assert!(desk.files().is_empty());
    let (code, out, _) =
        run(&mut tieline(&desk.environment(&[]), &["setup", "jwt", "--dry-run", "--app", "connected-app"]));
    assert_eq!((code, out.contains("## connectedApps/JWT_Lambda_Integration.connectedApp")), (0, true), "{out}");
}

#[test]
fn by_hand_with_the_way_told_and_the_outcome_verified() {
    let org = Org::start(&["--contacts", "0"]);
    let desk = Desk::new();
    let manual = ["--manual", "--username", org.get("username")];
    let (code, _, err) = run(&mut desk.setup(&org, &manual));
    assert_eq!(code, 3, "{err}");
    for said in [
        "External Client App Manager, New External Client App",
        "Enable JWT Bearer Flow",
        "public.crt",
        "Relax IP restrictions",
    ] {
        assert!(err.contains(said), "`{said}` is missing in {err}");
    }
    // Somebody clicks: here another desk with the same key does it.
    let other = Desk::new();
    std::fs::create_dir(other.out()).unwrap();
    for name in ["private_key.pem", "public.crt"] {
        std::fs::copy(Path::new(&desk.out()).join(name), Path::new(&other.out()).join(name)).unwrap();
    }
    let made = other.done(&org, &["--username", org.get("username")]);
    let (code, out, err) =
        run(desk.setup(&org, &manual).env("SF_CLIENT_ID", made["app"]["client_id"].as_str().unwrap()));
    assert_eq!(code, 0, "{err}");
    assert_eq!(parse(&out)["verified"]["exchange"], true);
    assert_eq!(run(&mut tieline(&desk.login(), &["token"])).0, 0);
    // Nothing of it stays: neither the files nor the saved login.
    let (code, _, err) =
        run(desk.setup(&org, &[&manual[..], &["--alias", "byhand"]].concat()).env_remove("SF_ACCESS_TOKEN"));
    assert_eq!(code, 0, "{err}");
    assert!(run(&mut tieline(&desk.environment(&[]), &["orgs", "--json"])).1.contains("byhand"));
    let another = ["--manual", "--username", "standard@local.tieline.test"];
    desk.refused(&mut desk.setup(&org, &another), 2, "with the user", "--output");
    desk.done(&org, &["--undo"]);
    assert!(desk.files().is_empty(), "{:?}", desk.files());
    assert_eq!(run(&mut tieline(&desk.environment(&[]), &["orgs", "--json"])).1.trim(), "[]");
}

#[test]
fn what_was_mistyped_by_hand_is_put_right_by_the_next_run() {
    let (org, other) = (Org::start(&["--contacts", "0"]), Org::start(&["--contacts", "0"]));
    let desk = Desk::new();
    let (code, _, err) = run(&mut desk.setup(&other, &["--manual", "--username", "nobody@example.com"]));
    assert_eq!(code, 3, "{err}");
    let helper = Desk::new();
    std::fs::create_dir(helper.out()).unwrap();
    for name in ["private_key.pem", "public.crt"] {
        std::fs::copy(Path::new(&desk.out()).join(name), Path::new(&helper.out()).join(name)).unwrap();
    }
    let made = helper.done(&org, &[]);
    let manual = ["--manual", "--username", org.get("username")];
    let client_id = made["app"]["client_id"].as_str().unwrap();
    let (code, _, err) = run(desk.setup(&org, &manual).env("SF_CLIENT_ID", client_id));
    assert_eq!(code, 0, "{err}");
    assert_eq!(run(&mut tieline(&desk.login(), &["token"])).0, 0);
}

#[test]
fn what_is_somebody_s_already_is_neither_overwritten_nor_removed() {
    let org = Org::start(&["--contacts", "0"]);
    let desk = Desk::new();
    std::fs::create_dir(desk.out()).unwrap();
    let file = Path::new(&desk.out()).join(".env.jwt");
    std::fs::write(&file, "SF_CLIENT_ID=mine\n").unwrap();
    desk.refused(&mut desk.setup(&org, &[]), 2, "was not written by this setup", "--output");
    assert_eq!(
        (desk.files(), std::fs::read_to_string(&file).unwrap()),
        (vec![".env.jwt".to_owned()], "SF_CLIENT_ID=mine\n".to_owned())
    );
    std::fs::remove_file(&file).unwrap();

    // A saved login of the same name: another user's.
    let home = desk.environment(&[]);
    let other = [
        ("SF_LOGIN_URL", org.get("login_url")),
        ("SF_CLIENT_ID", org.get("client_id")),
        ("SF_USERNAME", org.get("username")),
        ("SF_PRIVATE_KEY_FILE", org.get("private_key_file")),
    ];
    let login = ["login", "--from-environment", "--alias", "acme"];
    let (code, _, err) = run(&mut tieline(&desk.environment(&other), &login));
    assert_eq!(code, 0, "{err}");
    desk.refused(
        &mut desk.setup(&org, &["--alias", "acme"]),
        2,
        "`acme` is another saved login",
        "tieline logout --org acme",
    );
    desk.done(&org, &["--alias", "app"]);
    // What somebody adds to the file stays in it.
    let text = desk.read(".env.jwt") + "VAULT_ADDR=https://vault.example\n# mine\n";
    std::fs::write(&file, text.replace("SF_USERNAME=", "SF_USERNAME=x")).unwrap();
    assert_eq!(desk.done(&org, &["--alias", "app"])["changed"], true);
    assert_eq!(desk.read(".env.jwt"), text);
    assert_eq!(desk.done(&org, &[])["changed"], false);
    desk.done(&org, &["--undo"]);
    let (_, orgs, _) = run(&mut tieline(&home, &["orgs", "--json"]));
    assert!(orgs.contains("acme") && !orgs.contains("\"app\""), "{orgs}");
}

#[test]
fn an_org_that_does_not_let_the_switch_be_set_is_set_up_with_a_person_s_help() {
    let org = Org::start(&["--contacts", "0"]);
    let desk = Desk::new();
    let name = ["--name", "Other"];
    let problem = json!([{"type": "Settings", "problem": "not available in this org"}]);
    org.control("PUT", "setup", &json!({"problems": problem}));
    let refused =
        || desk.refused(&mut desk.setup(&org, &name), 3, "is not enabled", "allow access to OAuth consumer secrets");
    refused();
    refused();
    // A person sets it, and after the setup takes it back.
    let switch = |on: bool| json!({"settings": {"ExternalClientApp": {"enableConsumerSecretApiAccess": on}}});
    org.control("PUT", "setup", &switch(true));
    let (code, _, err) = run(&mut desk.setup(&org, &name));
    assert!(code == 0 && err.contains("switch it off in Setup"), "{err}");
    assert!(secrets_are_on(&org), "it is not ours");
    assert_eq!(desk.done(&org, &[])["app"]["name"], "Other", "the folder's setup keeps its name");
    org.control("PUT", "setup", &switch(false));
    desk.done(&org, &["--undo"]);
    assert_untouched(&org);
}

#[test]
fn a_choice_that_leads_elsewhere_than_the_login_is_refused() {
    let (org, other) = (Org::start(&["--contacts", "0"]), Org::start(&["--contacts", "0"]));
    let desk = Desk::new();
    desk.done(&org, &["--alias", "here"]);
    let elsewhere = Desk::new();
    let home = desk.folder.path().display().to_string();
    let out = elsewhere.out();
    let setup = |more: &[&str]| {
        let mut arguments = vec!["setup", "jwt", "--non-interactive", "--output", &out];
        arguments.extend(more);
        tieline([(&"HOME".to_owned(), &home)], &arguments)
    };
    let there = other.get("instance_url");
    for (more, code, said, hinted) in [
        (&["--login", "saved", "--instance-url", there][..], 2, "--instance-url names", "leave --instance-url out"),
        (&["--from", "here"], 2, "--from names an org", "--login saved"),
        (&["--login", "browser"], 2, "needs somebody", "SF_ACCESS_TOKEN"),
        (&["--login", "saved", "--sandbox"], 2, "is no sandbox", "leave --sandbox out"),
        (&["--login", "saved", "--callback", "nonsense"], 2, "cannot be a callback URL", "https://"),
        (&["--login", "saved", "--contact-email", "nonsense"], 2, "is no e-mail address", "--contact-email"),
    ] {
        elsewhere.refused(&mut setup(more), code, said, hinted);
    }
    assert!(elsewhere.files().is_empty() && apps(&other) == ["Salesforce CLI", "tieline local app"]);
    // The folder knows its org: nobody has to name it again.
    let arguments = ["setup", "jwt", "--undo", "--non-interactive", "--login", "password", "--output", &desk.out()];
    let password = desk.environment(&[("SF_USERNAME", org.get("username")), ("SF_PASSWORD", org.get("password"))]);
    let (code, out, err) = run(&mut tieline(&password, &arguments));
    assert_eq!(code, 0, "{out}{err}");
    assert_untouched(&org);
}
