//! Sample records of public projects: loaded into the org, synced, and compared byte for byte with their files.

use std::path::{Path, PathBuf};

use futures_util::TryStreamExt;
use serde_json::Value;
use tieline_store::{Contact, Store};

use crate::org::{Org, run, tieline};

/// The folder of samples: beside the repository, or where the test command found it.
fn samples() -> Option<PathBuf> {
    let given = std::env::var_os("TIELINE_TEST_FIXTURES").map(PathBuf::from);
    let path = given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures"));
    if !path.is_dir() {
        eprintln!("SKIPPED: the folder of sample records ({}) is not here", path.display());
        return None;
    }
    Some(path)
}

type Person = (Option<String>, String, Option<String>, Option<String>, Option<String>);

/// First name, last name, e-mail, phone and title of every contact in a CSV or tree file, read by this test itself.
fn expected(file: &Path) -> Vec<Person> {
    let bytes = std::fs::read(file).unwrap();
    let mut people = Vec::new();
    let mut push = |get: &dyn Fn(&str) -> Option<String>| {
        let field = |name: &str| get(name).filter(|v| !v.is_empty());
        if let Some(last) = field("LastName") {
            people.push((field("FirstName"), last, field("Email"), field("Phone"), field("Title")));
        }
    };
    if file.extension().is_some_and(|e| e == "json") {
        let json: Value = serde_json::from_slice(&bytes).unwrap();
        let mut stack: Vec<&Value> = json["records"].as_array().into_iter().flatten().collect();
        while let Some(record) = stack.pop() {
            if record["attributes"]["type"] == "Contact" {
                let fields = record.as_object().unwrap();
                push(&|name| {
                    Some(fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?.1.as_str()?.to_owned())
                });
            }
            let children = record.as_object().unwrap().values().filter_map(|v| v["records"].as_array());
            stack.extend(children.flatten());
        }
    } else {
        let text = String::from_utf8(bytes).unwrap_or_else(|e| e.into_bytes().iter().map(|b| char::from(*b)).collect());
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let headers = reader.headers().unwrap().clone();
        for row in reader.records() {
            let row = row.unwrap();
            push(&|name| row.get(headers.iter().position(|h| h.eq_ignore_ascii_case(name))?).map(str::to_owned));
        }
    }
    people
}

#[test]
fn sample_records_arrive_byte_for_byte() {
    let Some(samples) = samples() else { return };
    for (folder, contacts) in [
        ("trailheadapps+dreamhouse-lwc/data", vec!["contacts-data.json"]),
        ("trailheadapps+apex-recipes/data", vec!["Contacts.csv", "Contacts.json"]),
        ("SalesforceFoundation+NPSP/dev_org", vec!["Contact.csv"]),
        ("trailheadapps+easy-spaces-lwc/data", vec!["Contacts.json"]),
        (
            "salesforcecli+plugin-data/nut",
            vec!["accounts-contacts-tree.json", "accounts-only.json", "contacts-only-2.json"],
        ),
    ] {
        let folder = samples.join(folder);
        let mut wanted: Vec<Person> = contacts.iter().flat_map(|file| expected(&folder.join(file))).collect();
        let org_folder = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            let is_wanted = contacts.contains(&name.as_str());
            if is_wanted || (entry.path().is_file() && !name.to_lowercase().contains("contact")) {
                std::fs::copy(entry.path(), org_folder.path().join(name)).unwrap();
            }
        }
        let mut found = people(org_folder.path());
        wanted.sort();
        found.sort();
        assert!(!wanted.is_empty());
        let differs = found.iter().zip(&wanted).find(|(a, b)| a != b);
        assert!(
            found == wanted,
            "{}: {} found, {} wanted, first difference {differs:?}",
            folder.display(),
            found.len(),
            wanted.len()
        );
    }
}

/// Our own file with what samples seldom hold all at once, in Latin-1 and in UTF-8.
#[test]
fn emoji_right_to_left_latin_1_nulls_and_quotes_arrive_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let utf8 = "\u{feff}LastName,FirstName,Email,Phone,Title\r\n\"O'Brien \"\"Bob\"\"\",👩‍🚀 Zoë,zoe@example.com,,\"line\nbreak, comma\"\r\nالعربي,,,+966 1,مدير\r\nכהן,\u{200f}שרה,,,NULL\r\n";
    std::fs::write(folder.path().join("Contact.csv"), utf8).unwrap();
    let latin1: Vec<u8> = "LastName,Title\nM\u{fc}ller,Gesch\u{e4}ftsf\u{fc}hrer\n".chars().map(|c| c as u8).collect();
    std::fs::write(folder.path().join("Contacts.csv"), latin1).unwrap();
    let person = |last: &str, first: Option<&str>, email: Option<&str>, phone: Option<&str>, title: &str| -> Person {
        let own = |text: Option<&str>| text.map(str::to_owned);
        (own(first), last.to_owned(), own(email), own(phone), Some(title.to_owned()))
    };
    let mut wanted = vec![
        person("O'Brien \"Bob\"", Some("👩‍🚀 Zoë"), Some("zoe@example.com"), None, "line\nbreak, comma"),
        person("العربي", None, None, Some("+966 1"), "مدير"),
        person("כהן", Some("\u{200f}שרה"), None, None, "NULL"),
        person("Müller", None, None, None, "Geschäftsführer"),
    ];
    let mut found = people(folder.path());
    wanted.sort();
    found.sort();
    assert_eq!(found, wanted);
}

/// Loads a folder into an org, syncs it, and reads the database.
fn people(folder: &Path) -> Vec<Person> {
    let org = Org::start(&["--contacts", "0", "--data", folder.to_str().unwrap()]);
    let work = tempfile::tempdir().unwrap();
    let database = work.path().join("t.db");
    let (code, _, err) =
        run(&mut tieline(&org.login(), &["sync", "run", "--once", "--database-url", database.to_str().unwrap()]));
    assert_eq!(code, 0, "{err}");
    crate::crashes::assert_equal(&org, &database);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = Store::open(&database).await.unwrap();
        let rows: Vec<Contact> = store.own().contacts().try_collect().await.unwrap();
        rows.into_iter()
            .map(|c| (c.row.first_name, c.row.last_name.unwrap(), c.row.email, c.row.phone, c.row.title))
            .collect()
    })
}

#[test]
fn metadata_types_and_deploy_results_are_those_of_the_recordings() {
    let Some(samples) = samples() else { return };
    // Folder and suffix of each type that the local org has, as a real org's describeMetadata has them.
    let recorded = std::fs::read(samples.join("forcedotcom+source-deploy-retrieve/describeMetadata.json")).unwrap();
    let recorded: Value = serde_json::from_slice(&recorded).unwrap();
    let org = Org::start(&["--contacts", "0"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let types = runtime.block_on(async {
        let token = tieline_auth::Secret::new(org.get("access_token"));
        let instance_url = org.get("instance_url").parse().unwrap();
        let grant = tieline_auth::Grant::AccessToken { access_token: token, instance_url };
        let config = tieline_auth::OrgConfig::new(org.get("instance_url"), "", grant).unwrap();
        let credentials = tieline_auth::Credentials::new(config).unwrap();
        tieline_client::Connection::new(credentials).unwrap().describe_metadata().await.unwrap()
    });
    assert!(types.len() >= 8, "{types:?}");
    for of in &types {
        // Settings are one type in a package, and one for each feature in the recording.
        let name = if of.name == "Settings" { "ConnectedAppSettings" } else { &of.name };
        let wanted = &recorded[name];
        assert_eq!(
            (&wanted["directoryName"], &wanted["suffix"]),
            (&of.directory.clone().into(), &of.suffix.clone().into()),
            "{name}"
        );
        assert_eq!(wanted["metaFile"], of.meta_file, "{name}");
    }
    // Results of real deploys, in whatever form the org has written them.
    let folder = samples.join("salesforcecli+plugin-deploy-retrieve/deploy");
    for (file, success, failures) in [
        ("failed.json", false, 1),
        ("successSync.json", true, 0),
        ("passedTest.json", false, 1),
        ("successRecentValidation.json", true, 0),
    ] {
        let text = std::fs::read(folder.join(file)).unwrap();
        let result: tieline_client::metadata::DeployResult =
            serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!((result.success, result.failures().len()), (success, failures), "{file}");
    }
}
