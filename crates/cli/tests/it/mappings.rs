//! The life of a mapping by the command line alone: tried, made, read, changed, paused, gone.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::org::{Org, json, run, run_with, tieline};

/// A database of its own, and who is logged in to the org.
struct Desk {
    variables: BTreeMap<String, String>,
    _folder: tempfile::TempDir,
}

impl Desk {
    fn new(org: &Org) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut variables = org.login();
        let file = folder.path().join("t.db").to_str().unwrap().to_owned();
        variables.insert("TIELINE_DATABASE_URL".to_owned(), file);
        Self { variables, _folder: folder }
    }

    /// `tieline sync …` with a definition on standard input; code and both outputs.
    fn sync(&self, arguments: &[&str], input: &str) -> (i32, String, String) {
        let all: Vec<&str> = ["sync"].iter().chain(arguments).copied().collect();
        let mut command = tieline(&self.variables, &all);
        if input.is_empty() { run(&mut command) } else { run_with(&mut command, input) }
    }

    /// The same where it works.
    fn done(&self, arguments: &[&str], input: &str) -> String {
        let (code, out, err) = self.sync(arguments, input);
        assert_eq!(code, 0, "{arguments:?}: {err}");
        out
    }

    /// How the mapping stands.
    fn standing(&self) -> Value {
        let told = self.done(&["status", "--json"], "");
        told.lines().map(json).find(|line| line["mapping"] == "people").unwrap_or_else(|| panic!("{told}"))
    }
}

const PEOPLE: &str = r#"
name = "people"
object = "Contact"
columns = ["LastName", { field = "Email", transforms = ["upper"] }, "Account.Name"]
"#;

#[test]
fn a_mapping_is_tried_made_read_changed_paused_and_deleted() {
    let org = Org::start(&["--contacts", "60"]);
    let desk = Desk::new(&org);

    // What does not fit is told all at once, with what may have been meant; nothing is made.
    let wrong = r#"{"name": "people", "object": "Contact", "columns": ["LastNam", {"field": "Emial"}]}"#;
    let (code, out, err) = desk.sync(&["mappings", "check", "-"], wrong);
    assert!(code == 2 && out.is_empty(), "{code}: {out}");
    assert!(err.contains("LastNam") && err.contains("LastName"), "{err}");
    assert!(err.contains("columns[1].field"), "{err}");
    let (_, out, _) = desk.sync(&["mappings", "check", "-", "--json"], wrong);
    let told = json(&out);
    assert_eq!((&told["valid"], told["flaws"].as_array().unwrap().len()), (&Value::Bool(false), 2), "{told}");
    assert!(!desk.done(&["mappings", "list"], "").contains("people"));

    // What fits is shown as it would be written.
    let told = json(&desk.done(&["mappings", "check", "-", "--rows", "3", "--json"], PEOPLE));
    let rows = told["rows"].as_array().unwrap();
    assert_eq!((rows.len(), &told["failed_cells"]), (3, &Value::from(0)));
    let cell = |row: &Value, column: &str| {
        row["cells"].as_array().unwrap().iter().find(|cell| cell["column"] == column).unwrap().clone()
    };
    let email = cell(&rows[0], "email");
    let source = email["sources"]["Email"].as_str().unwrap();
    assert_eq!(email["value"].as_str().unwrap(), source.to_uppercase());
    assert_ne!(email["value"].as_str().unwrap(), source);
    let shown = desk.done(&["mappings", "check", "-", "--rows", "1"], PEOPLE);
    assert!(shown.contains("in the org") && shown.contains(rows[0]["id"].as_str().unwrap()), "{shown}");
    let bare = desk.done(&["mappings", "check", "-", "--rows", "0"], PEOPLE);
    assert!(bare.contains("account_name") && !bare.contains("in the org"), "{bare}");
    let (code, _, err) = desk.sync(&["mappings", "check", "-", "--rows", "51"], PEOPLE);
    assert!(code == 2 && err.contains("51"), "{err}");

    // Made and read: before the first run nothing is complete, after it all is proven.
    desk.done(&["mappings", "add", "-"], PEOPLE);
    let standing = desk.standing();
    assert_eq!((&standing["state"], &standing["verified_through"]), (&Value::from("initial"), &Value::Null));
    desk.done(&["run", "--mapping", "people", "--once"], "");
    let standing = desk.standing();
    assert_eq!((&standing["state"], &standing["rows"]), (&Value::from("synced"), &Value::from(60)));
    assert!(standing["verified_through"].is_string() && standing["checkpoint"].is_string(), "{standing}");
    assert_eq!(standing["last_run"]["inserted"], 60);
    let table = desk.done(&["status"], "");
    assert!(table.contains("people") && table.contains("verified through") && table.contains("success"), "{table}");

    // Changed: the next run fills what is new, though no record has changed. Another object is another mapping.
    let wider = PEOPLE.replace("\"Account.Name\"", "\"Account.Name\", \"Phone\"");
    let (code, _, err) =
        desk.sync(&["mappings", "change", "people", "-"], &wider.replace("\"Contact\"", "\"Account\""));
    assert!(code != 0 && err.contains("hint:"), "{err}");
    let (code, _, err) = desk.sync(&["mappings", "change", "nobody", "-"], &wider);
    assert!(code != 0 && err.contains("nobody") && err.contains("mappings list"), "{err}");
    let changed = json(&desk.done(&["mappings", "change", "people", "-", "--json"], &wider));
    assert_eq!(changed["name"], "people", "its columns are made by the next run");
    desk.done(&["run", "--mapping", "people", "--once"], "");
    let kept = json(&desk.done(&["mappings", "show", "people"], ""));
    assert!(kept["columns"].to_string().contains("Phone"), "{kept}");
    let file = rusqlite::Connection::open(&desk.variables["TIELINE_DATABASE_URL"]).unwrap();
    let filled: i64 =
        file.query_row("SELECT count(*) FROM people WHERE phone IS NOT NULL", [], |row| row.get(0)).unwrap();
    assert!(filled > 30, "{filled}");

    // At rest: nothing runs, and status says why.
    desk.done(&["mappings", "pause", "people", "--reason", "the org is being migrated"], "");
    let (code, _, err) = desk.sync(&["run", "--mapping", "people", "--once"], "");
    assert!(code != 0 && err.contains("the org is being migrated"), "{err}");
    assert_eq!(desk.standing()["state_reason"], "the org is being migrated");
    assert!(desk.done(&["mappings", "pause", "people"], "").contains("already"));
    desk.done(&["mappings", "resume", "people"], "");
    assert!(desk.done(&["mappings", "resume", "people"], "").contains("not paused"));
    desk.done(&["run", "--mapping", "people", "--once"], "");

    // Gone, once somebody has said that the rows may go.
    let (code, _, err) = desk.sync(&["mappings", "delete", "people"], "");
    assert!(code == 2 && err.contains("60 records") && err.contains("--yes"), "{err}");
    desk.done(&["mappings", "delete", "people", "--yes"], "");
    assert!(!desk.done(&["status", "--json"], "").contains("people"));
}
