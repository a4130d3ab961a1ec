//! The transcripts in the documentation are what the program really prints.
//!
//! Each block marked `console` in docs/cli.md, docs/setup.md and docs/keys.md is run, line by line behind `$ `, by a shell in a folder and
//! home of its own, against a local org; what changes from run to run is written as in the page. A line `? N` is the exit
//! code. `TIELINE_UPDATE_TRANSCRIPTS=1` writes the pages anew instead: read the difference before it is committed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;

use crate::org::{Org, PROGRAM};

/// The port that the pages give their local org.
const ORG: &str = "http://127.0.0.1:8090";

struct Shell {
    org: Org,
    folder: tempfile::TempDir,
    /// Commands that change the shell, for those that come after.
    before: Vec<String>,
    masks: Vec<(Regex, &'static str)>,
}

impl Shell {
    fn new() -> Self {
        let masks = [
            (r"3MVG9[\w.]{20,}", "3MVG9…"),
            (r"00D\w{12,15}![\w.]{20,}", "00D…!…"),
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "2026-11-24T12:00:00Z"),
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", "2026-11-24T12:00:00.000+0000"),
            (r"until \d{4}-\d\d-\d\d", "until 2027-11-25"),
            (r"ends in \d{4,} days", "ends in 755724 days"),
            (r"ends in 36\d days", "ends in 365 days"),
            (r"\d+ ms", "4 ms"),
            (r"\d+ of 1000000 left", "999900 of 1000000 left"),
            (r"has used \d+ of 1000000", "has used 54 of 1000000"),
            (r"/tmp/tieline-[\w-]+", "/tmp/tieline-demo"),
            (r"http://127\.0\.0\.1:\d+", ORG),
            (r"state=[\w-]+", "state=…"),
            (r"code_challenge=[\w-]+", "code_challenge=…"),
            (r"local:[0-9a-f]{16}", "local:9a2db2e23f1504cd"),
        ];
        let masks = masks.map(|(pattern, text)| (Regex::new(pattern).unwrap(), text)).into();
        let org = Org::start(&["--contacts", "3"]);
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("acme")).unwrap();
        Shell { org, folder, before: Vec::new(), masks }
    }

    /// What the command prints, with its exit code if that is not 0.
    fn run(&mut self, command: &str) -> String {
        let changes = ["export ", "unset ", "set ", ". ", "cd "].iter().any(|start| command.starts_with(start));
        let script = format!("{}\n{command}", self.before.join("\n"));
        let home = self.folder.path();
        let path = format!("{}:/usr/bin:/bin", Path::new(PROGRAM).parent().unwrap().display());
        let output = Command::new("sh")
            .args(["-c", &format!("exec 2>&1\n{script}")])
            .current_dir(home.join("acme"))
            .env_clear()
            .envs([("PATH", path.as_str()), ("HOME", home.to_str().unwrap()), ("TMPDIR", "/tmp")])
            .envs([("ORG", self.org.get("instance_url")), ("ORG_TOKEN", self.org.get("access_token"))])
            .envs([("ORG_KEY", self.org.get("private_key_file")), ("ORG_CLIENT_ID", self.org.get("client_id"))])
            .envs([("ORG_USER", self.org.get("username"))])
            .output()
            .unwrap();
        if changes {
            self.before.push(command.to_owned());
        }
        let mut text = String::from_utf8(output.stdout).unwrap();
        let key_folder = Path::new(self.org.get("private_key_file")).parent().unwrap().display().to_string();
        for (real, shown) in [(key_folder.as_str(), "/tmp/tieline-org"), (home.to_str().unwrap(), "/home/you")] {
            text = text.replace(real, shown);
        }
        for (mask, shown) in &self.masks {
            text = mask.replace_all(&text, *shown).into_owned();
        }
        let mut lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        while lines.last().is_some_and(|line| line.is_empty()) {
            lines.pop();
        }
        let mut text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        match output.status.code() {
            Some(0) => {}
            code => text.push_str(&format!("? {}\n", code.unwrap_or(-1))),
        }
        text
    }
}

fn page(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

/// Runs a page; answers it as it is and as it should be, and the commands in it.
fn rerun(name: &str) -> (String, String, Vec<String>) {
    let text = std::fs::read_to_string(page(name)).unwrap();
    let mut shell = Shell::new();
    let (mut made, mut commands) = (String::new(), Vec::new());
    let mut inside = false;
    for line in text.lines() {
        let fence = line.starts_with("```");
        let command = line.strip_prefix("$ ").filter(|_| inside);
        if let Some(command) = command {
            commands.push(command.to_owned());
            made.push_str(&format!("{line}\n{}", shell.run(command)));
        } else if !inside || fence {
            made.push_str(&format!("{line}\n"));
        }
        if fence {
            inside = line == "```console";
        }
    }
    (text, made, commands)
}

fn is_true(name: &str) -> Vec<String> {
    let (text, made, commands) = rerun(name);
    if std::env::var_os("TIELINE_UPDATE_TRANSCRIPTS").is_some() {
        std::fs::write(page(name), made).unwrap();
        return commands;
    }
    for (number, (is, should)) in text.lines().zip(made.lines()).enumerate() {
        assert_eq!(is, should, "docs/{name}, line {}: the program prints something else", number + 1);
    }
    assert_eq!(text.lines().count(), made.lines().count(), "docs/{name}");
    commands
}

#[test]
fn the_transcripts_of_the_documentation_are_what_the_program_prints() {
    let commands = [is_true("setup.md"), is_true("cli.md"), is_true("keys.md")].concat();
    // Every command has one; those that run until they are stopped are shown in their own pages.
    let shown: BTreeSet<&str> = commands
        .iter()
        .filter_map(|line| line.split("tieline ").nth(1))
        .filter_map(|rest| rest.split_whitespace().next())
        .collect();
    for command in [
        "apex",
        "bulk",
        "completions",
        "config",
        "create",
        "delete",
        "demo",
        "describe",
        "doctor",
        "get",
        "keys",
        "limits",
        "login",
        "logout",
        "man",
        "orgs",
        "query",
        "request",
        "search",
        "setup",
        "sync",
        "token",
        "update",
        "upsert",
        "users",
        "whoami",
    ] {
        assert!(
            shown.contains(command),
            "`tieline {command}` has no transcript in docs/cli.md, docs/setup.md or docs/keys.md"
        );
    }
}
