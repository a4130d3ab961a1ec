//! A certificate that is replaced before it ends: by a second app, and by cut-over.

use std::path::Path;

use serde_json::json;

use crate::desk::{Desk, Environment, apps, assert_untouched, secrets_are_on};
use crate::org::{Org, json as parse, run, tieline};
use crate::setup_interrupted::kill_at;

#[test]
fn a_certificate_is_rotated_by_a_second_app_without_a_moment_without_login() {
    let org = Org::start(&["--contacts", "0"]);
    let desk = Desk::new();
    let rotate = |more: &[&'static str]| [&["rotate-certificate"], more].concat();
    desk.refused(&mut desk.setup(&org, &rotate(&[])), 2, "holds no finished setup", "--output");
    let first = desk.done(&org, &[]);
    let old_login = desk.login();
    let kept = Desk::new();
    std::fs::create_dir(kept.out()).unwrap();
    std::fs::copy(Path::new(&desk.out()).join("private_key.pem"), Path::new(&kept.out()).join("private_key.pem"))
        .unwrap();
    assert_eq!(desk.done(&org, &rotate(&["--if-due"]))["rotated"], false, "a year is left");
    // Killed at each request, and run again.
    org.control("PUT", "setup", &json!({"activation_seconds": 1}));
    for nth in [1, 4, 7, 10, 13, 16, 19, 22] {
        kill_at(&org, &mut desk.setup(&org, &rotate(&[])), nth);
        assert_eq!(
            run(&mut tieline(&desk.login(), &["token"])).0,
            0,
            "killed at request {nth}: what the files name logs in"
        );
    }
    let told = desk.done(&org, &rotate(&[]));
    assert!(!secrets_are_on(&org));
    let new_login = desk.login();
    assert_ne!(
        (&old_login["SF_CLIENT_ID"], &old_login["SF_PRIVATE_KEY_FILE"]),
        (&new_login["SF_CLIENT_ID"], &new_login["SF_PRIVATE_KEY_FILE"])
    );
    for login in [&old_login, &new_login] {
        assert_eq!(run(&mut tieline(login, &["token"])).0, 0, "both are good: {told}");
    }
    assert_eq!(
        apps(&org),
        ["JWT_Lambda_Integration", "JWT_Lambda_Integration_2", "Salesforce CLI", "tieline local app"]
    );
    assert_eq!(desk.done(&org, &rotate(&[]))["changed"], false);
    assert_eq!(desk.done(&org, &rotate(&["--retire"]))["retired"], "JWT_Lambda_Integration");
    assert_eq!(run(&mut tieline(&new_login, &["token"])).0, 0);
    // The old app is gone, even for who has kept the key.
    let mut kept_login = old_login.clone();
    kept_login
        .insert("SF_PRIVATE_KEY_FILE".to_owned(), Path::new(&kept.out()).join("private_key.pem").display().to_string());
    let (code, _, err) = run(&mut tieline(&kept_login, &["token"]));
    assert!(code == 3 && err.contains("client identifier invalid"), "{err}");
    assert_ne!(first["app"]["client_id"], parse(&desk.read("jwt-config.json"))["clientId"]);
    // The setup knows its app under the second name, and the next rotation goes back to the first.
    assert_eq!(desk.done(&org, &[])["changed"], false);
    desk.done(&org, &rotate(&[]));
    desk.done(&org, &rotate(&["--retire"]));
    assert_eq!(apps(&org), ["JWT_Lambda_Integration", "Salesforce CLI", "tieline local app"]);
    desk.done(&org, &["--undo"]);
    assert_untouched(&org);
    assert!(desk.files().is_empty());
}

#[test]
fn a_cut_over_is_put_back_when_the_new_certificate_does_not_come_to_work() {
    let org = Org::start(&["--contacts", "0"]);
    let desk = Desk::new();
    desk.done(&org, &[]);
    let before = (desk.login(), desk.files());
    let cut_over = ["rotate-certificate", "--cut-over", "--wait-seconds", "2"];
    // The org never takes it (within the patience), and the old one is known all the time.
    org.control("PUT", "setup", &json!({"activation_seconds": 3_600}));
    desk.refused(&mut desk.setup(&org, &cut_over), 4, "did not work within 2 s", "the old certificate works");
    assert_eq!((desk.login(), desk.files()), before, "nothing has changed");
    assert!(!secrets_are_on(&org));
    org.control("PUT", "clock", &json!({"advance_seconds": 3_601}));
    assert_eq!(run(&mut tieline(&desk.login(), &["token"])).0, 0, "and it still logs in");
    org.control("PUT", "setup", &json!({"activation_seconds": 0}));
    let told = desk.done(&org, &cut_over);
    assert_eq!(
        (&told["rotated"], &told["client_id"]),
        (&json!(true), &json!(before.0["SF_CLIENT_ID"])),
        "the same app"
    );
    assert_eq!(run(&mut tieline(&desk.login(), &["token"])).0, 0);
    assert_eq!(
        desk.files(),
        [".env.jwt", ".tieline-setup.json", "jwt-config.json", "private_key_2.pem", "public_2.crt"]
    );
    assert_eq!(apps(&org), ["JWT_Lambda_Integration", "Salesforce CLI", "tieline local app"]);
}

#[test]
fn a_key_that_was_brought_along_is_never_taken_for_a_new_one() {
    let org = Org::start(&["--contacts", "0"]);
    let desk = Desk::new();
    std::fs::create_dir(desk.out()).unwrap();
    let own = Path::new(&desk.out()).join("private_key.pem");
    std::fs::copy(org.get("private_key_file"), &own).unwrap();
    desk.done(&org, &[]);
    let mut seen = vec![desk.login()["SF_CLIENT_ID"].clone()];
    for number in ["2", "3", "2"] {
        desk.done(&org, &["rotate-certificate"]);
        desk.done(&org, &["rotate-certificate", "--retire"]);
        assert!(
            desk.login()["SF_PRIVATE_KEY_FILE"].ends_with(&format!("private_key_{number}.pem")),
            "{:?}",
            desk.login()
        );
        assert_eq!(run(&mut tieline(&desk.login(), &["token"])).0, 0);
        seen.push(desk.login()["SF_CLIENT_ID"].clone());
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 4, "a new app each time");
    desk.done(&org, &["--undo"]);
    assert_eq!(desk.files(), ["private_key.pem"], "it stays where it was");
    assert_untouched(&org);
}

#[test]
fn an_app_that_is_gone_after_a_rotation_is_made_again_with_the_rotated_key() {
    let org = Org::start(&["--contacts", "0"]);
    let desk = Desk::new();
    desk.done(&org, &[]);
    desk.done(&org, &["rotate-certificate"]);
    desk.done(&org, &["rotate-certificate", "--retire"]);
    // Somebody deletes it in Setup; the run that makes it again is killed while it waits.
    let gone = Desk::new();
    std::fs::create_dir(gone.out()).unwrap();
    std::fs::copy(
        Path::new(&desk.out()).join(".tieline-setup.json"),
        Path::new(&gone.out()).join(".tieline-setup.json"),
    )
    .unwrap();
    gone.done(&org, &["--undo"]);
    org.control("PUT", "setup", &json!({"activation_seconds": 3_600}));
    assert_eq!(run(&mut desk.setup(&org, &["--wait-seconds", "1"])).0, 4);
    org.control("PUT", "clock", &json!({"advance_seconds": 3_601}));
    desk.done(&org, &[]);
    assert!(desk.login()["SF_PRIVATE_KEY_FILE"].ends_with("private_key_2.pem"));
    assert_eq!(run(&mut tieline(&desk.login(), &["token"])).0, 0);
}

#[test]
fn a_saved_login_follows_the_rotation_and_goes_with_the_setup() {
    let org = Org::start(&["--contacts", "0"]);
    let desk = Desk::new();
    let home: Environment = [("HOME".to_owned(), desk.folder.path().display().to_string())].into();
    let works = |arguments: &[&str]| {
        let (code, out, err) = run(&mut tieline(&home, arguments));
        assert_eq!(code, 0, "{out}{err}");
        out
    };
    desk.done(&org, &["--alias", "first"]);
    works(&["whoami", "--org", "first"]);
    let orgs = desk.folder.path().join(".local/state/tieline/orgs.json");
    let before = std::fs::read(&orgs).unwrap();
    desk.done(&org, &["rotate-certificate"]);
    // Killed before anything but the state named the new key: the next run brings the rest up to it, by whatever name.
    std::fs::write(&orgs, before).unwrap();
    works(&["orgs", "rename", "first", "acme"]);
    std::fs::remove_file(Path::new(&desk.out()).join(".env.jwt")).unwrap();
    assert_eq!(desk.done(&org, &["rotate-certificate"])["changed"], true);
    assert_eq!(run(&mut tieline(&desk.login(), &["token"])).0, 0);
    assert_eq!(parse(&works(&["orgs", "--json"])).as_array().unwrap().len(), 1, "no second one is made");
    works(&["whoami", "--org", "acme"]);
    // Nobody saws off the branch that he sits on.
    let saved = ["rotate-certificate", "--retire", "--login", "saved"];
    desk.done(&org, &saved); // the saved login is the new app by now, and the old one goes
    works(&["token", "--org", "acme"]);
    works(&["whoami", "--org", "acme"]);
    desk.done(&org, &["rotate-certificate", "--cut-over"]);
    works(&["whoami", "--org", "acme"]);
    assert_eq!(parse(&works(&["doctor", "--org", "acme", "--json"]))["result"], "pass");
    desk.refused(
        &mut desk.setup(&org, &["--undo", "--login", "saved"]),
        2,
        "the very app that is to be removed",
        "--login browser",
    );
    desk.done(&org, &["--undo"]);
    assert_eq!(works(&["orgs", "--json"]).trim(), "[]");
    assert_untouched(&org);
}

#[test]
fn an_app_of_somebody_else_s_is_neither_taken_nor_removed() {
    let org = Org::start(&["--contacts", "0"]);
    let (desk, other) = (Desk::new(), Desk::new());
    desk.done(&org, &["--name", "Nightly"]);
    // Another setup has the name that the second app would have; names differ in more than case.
    org.control("PUT", "setup", &json!({"connected_app_creation": true}));
    other.refused(&mut other.setup(&org, &["--name", "nightly"]), 2, "called nightly already", "--name");
    other.refused(&mut other.setup(&org, &["--name", "Nightly_2"]), 2, "cannot be the name of an app", "_2 at the end");
    assert!(other.files().is_empty(), "a name that is taken leaves no trace");
    std::fs::create_dir_all(other.out()).unwrap();
    let state =
        desk.read(".tieline-setup.json").replace("\"Nightly\"", "\"Nightly_2\"").replace("\"app\"", "\"assigned\"");
    std::fs::write(Path::new(&other.out()).join(".tieline-setup.json"), state).unwrap();
    for file in ["private_key.pem", "public.crt"] {
        std::fs::copy(Path::new(&desk.out()).join(file), Path::new(&other.out()).join(file)).unwrap();
    }
    other.done(&org, &["--name", "Nightly"]);
    assert!(apps(&org).contains(&"Nightly_2".to_owned()));
    desk.refused(&mut desk.setup(&org, &["rotate-certificate"]), 2, "called Nightly_2 already", "--cut-over");
    desk.done(&org, &["rotate-certificate", "--cut-over"]);
    desk.done(&org, &["--undo"]);
    assert!(
        apps(&org).contains(&"Nightly_2".to_owned()) && !apps(&org).contains(&"Nightly".to_owned()),
        "{:?}",
        apps(&org)
    );
}

#[test]
fn a_rotation_that_cannot_go_on_is_begun_in_the_other_way() {
    let org = Org::start(&["--contacts", "0"]);
    let desk = Desk::new();
    let cut_over = ["rotate-certificate", "--cut-over"];
    org.control("PUT", "setup", &json!({"connected_app_creation": true}));
    let user = "standard@local.tieline.test";
    desk.done(&org, &["--app", "connected-app", "--username", user]);
    // The org makes no second one any more, and takes a new certificate for the one that is there.
    org.control("PUT", "setup", &json!({"connected_app_creation": false}));
    desk.refused(&mut desk.setup(&org, &["rotate-certificate"]), 3, "did not take the connected app", "--app");
    desk.done(&org, &cut_over);
    assert_eq!(run(&mut tieline(&desk.login(), &["token"])).0, 0);
    assert_eq!(
        desk.read(".tieline-setup.json").matches("private_key").count(),
        2,
        "the key that came to nothing is gone"
    );

    // The old login does not work any more, so there is nothing to cut over from.
    org.control("POST", "users/freeze", &json!({"username": user, "active": false}));
    let (code, _, err) = run(&mut desk.setup(&org, &cut_over));
    assert!(code == 3 && err.contains("run this without --cut-over"), "{code} {err}");
    org.control("POST", "users/freeze", &json!({"username": user, "active": true}));
    org.control("PUT", "setup", &json!({"connected_app_creation": true, "activation_seconds": 3_600}));
    assert_eq!(run(&mut desk.setup(&org, &["rotate-certificate", "--wait-seconds", "1"])).0, 4);
    desk.refused(&mut desk.setup(&org, &cut_over), 2, "a rotation of the other kind", "without --cut-over");

    // The second app is removed while it is waited for: it is made again.
    let second = Desk::new();
    let mut state: serde_json::Value = parse(&desk.read(".tieline-setup.json"));
    state["plan"] = state["rotating"]["plan"].take();
    (state["rotating"], state["permission_set_is_ours"]) = (json!(null), json!(false));
    (state["client_id"], state["made"]) = (json!(null), json!([]));
    std::fs::create_dir(second.out()).unwrap();
    std::fs::write(Path::new(&second.out()).join(".tieline-setup.json"), state.to_string()).unwrap();
    second.done(&org, &["--undo"]);
    assert!(!apps(&org).contains(&"JWT_Lambda_Integration_2".to_owned()));
    org.control("PUT", "setup", &json!({"activation_seconds": 0}));
    desk.done(&org, &["rotate-certificate"]);
    assert_eq!(run(&mut tieline(&desk.login(), &["token"])).0, 0);
    desk.refused(&mut desk.setup(&org, &cut_over), 2, "still waits to be retired", "--retire");
    desk.done(&org, &["--undo"]);
    assert_untouched(&org);
}
