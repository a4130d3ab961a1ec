//! What `tieline setup` makes, in the hands of the programs that people have: the Salesforce CLI, jsforce, simple-salesforce.

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use serde_json::json;

use crate::desk::Desk;
use crate::org::{Org, json as parse, run, tieline};
use crate::parts::part;

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// The Salesforce CLI in a home of its own, which it shares with `tieline`.
fn sf(desk: &Desk, program: &Path) -> Command {
    let home = desk.folder.path();
    let mut command = Command::new(program);
    command.env_clear().envs([
        ("PATH", format!("{}:/usr/bin:/bin", program.parent().unwrap().display())),
        ("HOME", home.display().to_string()),
        ("TMPDIR", home.display().to_string()),
    ]);
    command.envs([
        ("SF_DISABLE_TELEMETRY", "true"),
        ("SF_SKIP_NEW_VERSION_CHECK", "true"),
        ("SF_AUTOUPDATE_DISABLE", "true"),
        ("SF_USE_GENERIC_UNIX_KEYCHAIN", "true"),
        ("SF_DISABLE_DNS_CHECK", "true"),
        ("SF_DOMAIN_RETRY", "0"),
    ]);
    command.current_dir(home);
    command
}

fn answered(command: &mut Command) -> serde_json::Value {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    parse(&text[text.find('{').unwrap_or_else(|| panic!("{text}"))..])
}

/// A package with one permission set.
fn package() -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let meta = "xmlns=\"http://soap.sforce.com/2006/04/metadata\"";
    for (name, content) in [
        (
            "package.xml",
            format!(
                "<Package {meta}><types><members>Zipped</members><name>PermissionSet</name></types><version>66.0</version></Package>"
            ),
        ),
        ("permissionsets/Zipped.permissionset", format!("<PermissionSet {meta}><label>Zipped</label></PermissionSet>")),
    ] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn the_salesforce_cli_takes_the_metadata_and_logs_in_with_the_app() {
    let Some(program) = part("sf", "TIELINE_TEST_SF") else { return };
    let org = Org::start(&["--contacts", "4"]);
    let desk = Desk::new();
    let home = desk.folder.path();

    // Its own source tools read the metadata, as files and back.
    for (kind, folder) in [("eca", "eca"), ("connected-app", "app")] {
        let project = home.join(folder);
        let package = project.join("mdapi");
        let (_, out, _) =
            run(&mut tieline([], &["setup", "jwt", "--dry-run", "--json", "--app", kind, "--output", "/nowhere"]));
        let deploys = parse(&out)["deploys"].clone();
        let files = deploys.as_array().unwrap().iter().find(|d| {
            d["deploy"].as_str().unwrap().starts_with("the external")
                || d["deploy"].as_str().unwrap().starts_with("the connected")
        });
        let files = files.unwrap()["files"].as_object().unwrap().clone();
        for (path, content) in &files {
            let file = package.join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, content.as_str().unwrap()).unwrap();
        }
        let described =
            json!({"packageDirectories": [{"path": "force-app", "default": true}], "sourceApiVersion": "66.0"});
        std::fs::create_dir_all(project.join("force-app")).unwrap();
        std::fs::write(project.join("sfdx-project.json"), described.to_string()).unwrap();
        let convert = |arguments: &[&str]| {
            answered(
                sf(&desk, &program).current_dir(&project).args(["project", "convert"]).args(arguments).arg("--json"),
            )
        };
        let source = convert(&["mdapi", "--root-dir", "mdapi", "--output-dir", "force-app"]);
        assert_eq!(source["result"].as_array().unwrap().len(), files.len() - 1, "{source}");
        convert(&["source", "--root-dir", "force-app", "--output-dir", "back"]);
        for path in files.keys().filter(|path| *path != "package.xml") {
            let found =
                std::fs::read_to_string(project.join("back").join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
            let squeezed = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(squeezed(&found), squeezed(files[path].as_str().unwrap()), "{path}");
        }
    }

    // The setup borrows its session: the CLI hides the token, and has a command that shows it.
    answered(sf(&desk, &program).env("SF_ACCESS_TOKEN", org.get("access_token")).args([
        "org",
        "login",
        "access-token",
        "--instance-url",
        org.get("instance_url"),
        "--no-prompt",
        "--alias",
        "admin",
        "--json",
    ]));
    let out = desk.out();
    let mut setup = Command::new(crate::org::PROGRAM);
    let theirs = sf(&desk, &program);
    setup.env_clear().envs(theirs.get_envs().filter_map(|(name, value)| Some((name, value?))));
    setup.args([
        "setup",
        "jwt",
        "--login",
        "sf",
        "--from",
        "admin",
        "--non-interactive",
        "--json",
        "--output",
        &out,
        "--poll-seconds",
        "1",
    ]);
    let (code, told, err) = run(&mut setup);
    assert_eq!(code, 0, "{told}{err}");
    let told = parse(&told);

    // The app that it made, in the CLI's own JWT login; and the CLI's query with it.
    let key = Path::new(&out).join("private_key.pem");
    let login = answered(sf(&desk, &program).args([
        "org",
        "login",
        "jwt",
        "--username",
        org.get("username"),
        "--jwt-key-file",
        key.to_str().unwrap(),
        "--client-id",
        told["app"]["client_id"].as_str().unwrap(),
        "--instance-url",
        org.get("instance_url"),
        "--alias",
        "made",
        "--json",
    ]));
    assert_eq!(login["result"]["username"], org.get("username"), "{login}");
    // And its own deploys and lists go through the Metadata API.
    let listed = answered(sf(&desk, &program).args([
        "org",
        "list",
        "metadata",
        "--metadata-type",
        "ExternalClientApplication",
        "--target-org",
        "made",
        "--json",
    ]));
    assert_eq!(listed["result"][0]["fullName"], "JWT_Lambda_Integration", "{listed}");
    let project = home.join("eca");
    std::fs::create_dir_all(project.join("force-app/main/permissionsets")).unwrap();
    let set =
        "<PermissionSet xmlns=\"http://soap.sforce.com/2006/04/metadata\"><label>From the CLI</label></PermissionSet>";
    std::fs::write(project.join("force-app/main/permissionsets/Cli.permissionset-meta.xml"), set).unwrap();
    let deployed = answered(sf(&desk, &program).current_dir(&project).args([
        "project",
        "deploy",
        "start",
        "--source-dir",
        "force-app/main/permissionsets",
        "--target-org",
        "made",
        "--json",
    ]));
    assert_eq!(deployed["result"]["status"], "Succeeded", "{deployed}");
}

/// Older versions of the Salesforce CLI print the token with the org's other data. They are too large to install for one
/// line of output: this is that line, as the CLI's documentation has it.
#[test]
fn a_session_in_the_older_output_of_the_salesforce_cli_is_found_too() {
    use std::os::unix::fs::PermissionsExt;
    let org = Org::start(&["--contacts", "0"]);
    let desk = Desk::new();
    let program = desk.folder.path().join("sf");
    let shown = json!({"status": 0, "result": {
        "id": "00DEm0000000001MAA", "accessToken": org.get("access_token"), "instanceUrl": org.get("instance_url"),
        "username": org.get("username"), "connectedStatus": "Connected", "alias": "admin",
    }, "warnings": []});
    std::fs::write(
        &program,
        format!("#!/bin/sh\n[ \"$1 $2\" = 'org display' ] || exit 1\ncat <<'END'\n{shown}\nEND\n"),
    )
    .unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let home = desk.folder.path().display().to_string();
    let environment = [("PATH".to_owned(), format!("{home}:/usr/bin:/bin")), ("HOME".to_owned(), home)];
    let out = desk.out();
    let arguments =
        ["setup", "jwt", "--login", "sf", "--non-interactive", "--json", "--output", &out, "--poll-seconds", "1"];
    let (code, out, err) = run(&mut tieline(environment.iter().map(|(k, v)| (k, v)), &arguments));
    assert_eq!(code, 0, "{out}{err}");
    // Without any Salesforce CLI it says so.
    let bare = [("PATH".to_owned(), "/nowhere".to_owned())];
    let (code, _, err) =
        run(&mut tieline(bare.iter().map(|(k, v)| (k, v)), &["setup", "jwt", "--login", "sf", "--non-interactive"]));
    assert!(code == 1 && err.contains("`sf`) is not installed here"), "{err}");
}

#[test]
fn jsforce_logs_in_with_the_app_and_uses_the_metadata_api() {
    let Some(node) = part("node", "TIELINE_TEST_NODE") else { return };
    let org = Org::start(&["--contacts", "4"]);
    let desk = Desk::new();
    desk.done(&org, &["--username", org.get("username")]);
    let config = Path::new(&desk.out()).join("jwt-config.json");
    let (code, out, err) = run(Command::new(&node).arg(script("jsforce_jwt.mjs")).env("JWT_CONFIG", config));
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!((&parse(&out)["username"], &parse(&out)["contacts"]), (&json!(org.get("username")), &json!(4)));

    let mut metadata = Command::new(&node);
    metadata
        .arg(script("jsforce_metadata.mjs"))
        .envs([("SF_INSTANCE_URL", org.get("instance_url")), ("SF_ACCESS_TOKEN", org.get("access_token"))]);
    metadata.env("PACKAGE_ZIP", base64::engine::general_purpose::STANDARD.encode(package()));
    let (code, out, err) = run(&mut metadata);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(parse(&out)["outcomes"], json!({"soap": 2, "rest": 2}), "the set and package.xml");
}

#[test]
fn simple_salesforce_logs_in_with_the_app_and_deploys() {
    let Some(python) = part("python", "TIELINE_TEST_PYTHON") else { return };
    // It speaks HTTPS only.
    let org = Org::start(&["--tls", "--contacts", "4"]);
    let desk = Desk::new();
    let (code, out, err) =
        run(desk.setup(&org, &["--username", org.get("username")]).env("SSL_CERT_FILE", org.get("ca_file")));
    assert_eq!(code, 0, "{out}{err}");
    let zip = desk.folder.path().join("package.zip");
    std::fs::write(&zip, package()).unwrap();
    let mut client = Command::new(python);
    client
        .arg(script("simple_salesforce_jwt.py"))
        .env("REQUESTS_CA_BUNDLE", org.get("ca_file"))
        .env("PACKAGE_ZIP_FILE", &zip);
    let (code, out, err) = run(client.env("JWT_CONFIG", Path::new(&desk.out()).join("jwt-config.json")));
    assert_eq!(code, 0, "{out}{err}");
    let told = parse(&out);
    assert_eq!((&told["contacts"], &told["deploy"]), (&json!(4), &json!("Succeeded")), "{told}");
}
