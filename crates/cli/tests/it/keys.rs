//! Master keys, as an administrator changes them: made, added, rotated, retired; on real key services too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;
use tieline_auth::aws::Service;
use tieline_store::{Credentials, Store, Uuid};

use crate::moto::Moto;
use crate::org;
use crate::servers::Postgres;

#[path = "../../../auth/tests/it/key_services.rs"]
#[allow(dead_code, unused_imports, unexpected_cfgs, reason = "written for another crate's tests, which use more of it")]
mod key_services;

struct Place {
    folder: tempfile::TempDir,
    environment: BTreeMap<String, String>,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), environment: BTreeMap::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program in the folder.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        org::run(org::tieline(&self.environment, arguments).current_dir(self.folder.path()))
    }

    fn does(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {out}{err}");
        out
    }

    fn status(&self, more: &[&str]) -> Vec<serde_json::Value> {
        let out = self.does(&[&["keys", "status", "--json"], more].concat());
        org::json(&out)["keys"].as_array().unwrap().clone()
    }

    async fn save(&self, name: &str) -> Uuid {
        let store = Store::open_with_key(&self.path("tieline.db"), &self.path("tieline.db.key")).await.unwrap();
        let now = "2026-06-01T12:00:00Z".parse().unwrap();
        let id = store.own().save_integration(name, &Credentials::new(b"hidden".to_vec()), now).await.unwrap();
        store.close().await;
        id
    }
}

fn mode(path: &Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions()) & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_beside_sqlite_is_replaced_in_four_steps() {
    let place = Place::new();
    let out = place.does(&["keys", "init", "tieline.db.key"]);
    assert!(out.contains("with the key local:") && mode(&place.path("tieline.db.key")) == 0o600, "{out}");
    let (code, _, err) = place.run(&["keys", "init", "tieline.db.key"]);
    assert!(code == 2 && err.contains("is there already") && err.contains("hint: "), "{err}");

    let ids = [place.save("one").await, place.save("two").await];
    let first = place.status(&[])[0]["name"].as_str().unwrap().to_owned();
    let (code, _, err) = place.run(&["keys", "retire", &first]);
    assert!(code == 1 && err.contains("wraps new data keys"), "{err}");

    // A token store reads a file of one key.
    let mut shared = Place { folder: tempfile::tempdir().unwrap(), environment: BTreeMap::new() };
    shared.does(&["keys", "init", "key"]);
    shared.environment.insert("TIELINE_TOKEN_STORE".to_owned(), "file:tokens".to_owned());
    shared.environment.insert("TIELINE_MASTER_KEY_FILE".to_owned(), "key".to_owned());
    let (code, _, err) = shared.run(&["keys", "add"]);
    assert!(code == 2 && err.contains("TIELINE_TOKEN_STORE") && err.contains("a key file of its own"), "{err}");

    let out = place.does(&["keys", "add"]);
    let order =
        ["restart them all", "keys rotate", &format!("keys retire {first}")].map(|step| out.find(step).unwrap());
    assert!(order.is_sorted(), "{out}");
    assert_eq!(mode(&place.path("tieline.db.key")), 0o600);
    let keys = place.status(&[]);
    assert_eq!((&keys[0]["primary"], &keys[0]["data_keys"]), (&json!(true), &json!(0)));
    assert_eq!((&keys[1]["name"], &keys[1]["data_keys"], &keys[1]["needed"]), (&json!(first), &json!(2), &json!(true)));
    let (code, _, err) = place.run(&["keys", "retire", &first]);
    assert!(code == 1 && err.contains("2 data keys are wrapped with it") && err.contains("keys rotate"), "{err}");
    assert!(
        std::fs::read_to_string(place.path("tieline.db.key")).unwrap().lines().count() == 2,
        "it stays in the file"
    );

    let out = place.does(&["keys", "rotate", "--data-keys", "--json"]);
    let done = org::json(&out);
    assert_eq!((&done["rewrapped"], &done["renewed"], &done["left"]), (&json!(2), &json!(2), &json!(0)));
    assert_eq!(done["unneeded"], json!([first]));
    let out = place.does(&["keys", "rotate"]);
    assert!(out.contains("Brought 0 data keys") && out.contains(&format!("tieline keys retire {first}")), "{out}");

    let out = place.does(&["keys", "retire", &first]);
    assert!(out.contains("Removed"), "{out}");
    assert_eq!(place.status(&[]).len(), 1);
    let store = Store::open_with_key(&place.path("tieline.db"), &place.path("tieline.db.key")).await.unwrap();
    for id in ids {
        assert_eq!(store.own().open_credentials(id).await.unwrap().unwrap().expose(), b"hidden");
    }
    let (code, _, err) = place.run(&["keys", "retire", &first]);
    assert!(code == 2 && err.contains("there is no key"), "{err}");
    let (code, _, err) = place.run(&["keys", "rotate", "--data-keys", "--older-than", "2100-01-01T00:00:00Z"]);
    assert!(code == 2 && err.contains("still to come"), "{err}");
}

/// A file of schema 1, where the master key sealed everything itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_schema_1_is_needed_until_its_values_are_sealed_anew() {
    let place = Place::new();
    let id = place.save("old").await;
    let key = tieline_auth::sealing::MasterKey::load(&place.path("tieline.db.key")).unwrap();
    let row = format!("integrations:00000000-0000-7000-8000-000000000001:{id}");
    let database = rusqlite::Connection::open(place.path("tieline.db")).unwrap();
    database.execute("UPDATE integrations SET credentials = ?1", [key.seal(b"hidden", &row).unwrap()]).unwrap();
    database.execute("DELETE FROM data_keys", []).unwrap();
    drop(database);

    place.does(&["keys", "add"]);
    let keys = place.status(&[]);
    assert_eq!((&keys[1]["data_keys"], &keys[1]["old_values"]), (&json!(0), &json!(1)));
    let first = keys[1]["name"].as_str().unwrap();
    let (code, _, err) = place.run(&["keys", "retire", first]);
    assert!(code == 1 && err.contains("1 values are sealed with it"), "{err}");
    let done = org::json(&place.does(&["keys", "rotate", "--json"]));
    assert_eq!((&done["resealed"], &done["left"]), (&json!(1), &json!(0)));
    place.does(&["keys", "retire", first]);
    let store = Store::open_with_key(&place.path("tieline.db"), &place.path("tieline.db.key")).await.unwrap();
    assert_eq!(store.own().open_credentials(id).await.unwrap().unwrap().expose(), b"hidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_move_from_a_file_to_openbao_and_on_to_kms_and_each_old_one_is_retired() {
    let Some(bao) = key_services::OpenBao::start().await else { return };
    let Some(moto) = Moto::start().await else { return };
    bao.key("tieline", "aes256-gcm96").await;
    let made = moto.admin(Service::Kms, "CreateKey", json!({})).await;
    let kms = format!("kms:{}", made["KeyMetadata"]["KeyId"].as_str().unwrap());
    let mut place = Place::new();
    place.environment.extend(moto.variables.clone());
    place.environment.insert("BAO_ADDR".to_owned(), bao.address.clone());
    place.environment.insert("BAO_TOKEN".to_owned(), bao.root().to_owned());
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(place.save(&format!("org {n}")).await);
    }
    let file = place.path("tieline.db.key");
    let mut before = place.status(&[])[0]["name"].as_str().unwrap().to_owned();
    for entry in ["transit:transit/tieline", &kms] {
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{entry}\n{text}")).unwrap();
        let done = org::json(&place.does(&["keys", "rotate", "--json"]));
        assert_eq!((&done["rewrapped"], &done["unneeded"]), (&json!(5), &json!([before])), "{entry}");
        place.does(&["keys", "retire", &before]);
        let keys = place.status(&[]);
        assert_eq!((keys.len(), &keys[0]["name"], &keys[0]["canary"]), (1, &json!(entry), &json!("opens")));
        entry.clone_into(&mut before);
    }
    drop(bao);
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), kms);
    let ring = tieline_auth::keyring::Keyring::from_spec(&kms, {
        let variables = moto.variables.clone();
        move |name| variables.get(name).cloned()
    });
    let store = Store::open_with_ring(&place.path("tieline.db"), ring.unwrap()).await.unwrap();
    for id in ids {
        assert_eq!(store.own().open_credentials(id).await.unwrap().unwrap().expose(), b"hidden");
    }
    store.close().await;
    // Away: transient, and the hint says what to see to.
    drop(moto);
    let (code, _, err) = place.run(&["keys", "status"]);
    assert!(code == 4 && err.contains(&kms) && err.contains("hint: "), "{code} {err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_takes_keys_from_a_file_or_the_environment() {
    let Some(server) = Postgres::start() else { return };
    let mut place = Place::new();
    place.environment.insert("TIELINE_DATABASE_URL".to_owned(), server.url.clone());
    let (code, _, err) = place.run(&["keys", "status"]);
    assert!(code == 2 && err.contains("needs a master key") && err.contains("tieline keys init"), "{err}");
    let file = ["--master-key-file", "ring"];
    let (code, _, err) = place.run(&["keys", "status", "--master-key-file", "ring"]);
    assert!(code == 2 && err.contains("ring is not there"), "{err}");
    place.does(&["keys", "init", "ring"]);
    let first = place.status(&file)[0]["name"].as_str().unwrap().to_owned();
    place.does(&[&["keys", "add"][..], &file].concat());
    place.does(&[&["keys", "rotate"][..], &file].concat());
    place.does(&[&["keys", "retire", &first][..], &file].concat());
    let text = std::fs::read_to_string(place.path("ring")).unwrap();
    place.environment.insert("TIELINE_MASTER_KEY".to_owned(), text.trim().to_owned());
    assert_eq!(place.status(&[]).len(), 1);
    let (code, _, err) = place.run(&["keys", "add"]);
    assert!(code == 2 && err.contains("TIELINE_MASTER_KEY") && err.contains("by hand"), "{err}");
}
