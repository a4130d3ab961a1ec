//! The command line itself: help, completions, manual pages, colours, widths.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use crate::org::{Org, PROGRAM, run, tieline};

/// Every command, by asking each for its subcommands.
fn commands() -> Vec<Vec<String>> {
    let mut all = Vec::new();
    let mut open = vec![Vec::<String>::new()];
    while let Some(path) = open.pop() {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("--help");
        let (code, help, _) = run(&mut tieline([], &arguments));
        assert_eq!(code, 0, "{path:?}");
        let list = help.split("\nCommands:\n").nth(1).unwrap_or_default().split("\n\n").next().unwrap_or_default();
        for line in list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
            let name = line.split_whitespace().next().unwrap();
            if name != "help" {
                open.push([&path[..], &[name.to_owned()]].concat());
            }
        }
        all.push(path);
    }
    all
}

#[test]
fn every_command_explains_itself_with_examples_that_parse() {
    let all = commands();
    assert!(all.len() >= 18, "{all:?}");
    for path in all.iter().filter(|path| !path.is_empty()) {
        let arguments: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let (_, help, _) = run(&mut tieline([], &arguments));
        let group = help.contains("\nCommands:\n") && !help.contains("\nOptions:\n      --json");
        assert!(group || help.contains("Examples:\n"), "{path:?} has no examples: {help}");
        assert!(help.lines().all(|line| line.chars().count() <= 132), "{path:?}: lines that fit: {help}");
        // The examples are commands that there are, with options that there are.
        for line in help.split("Examples:\n").nth(1).unwrap_or_default().lines().take_while(|line| !line.is_empty()) {
            let command = line.trim().split("   ").next().unwrap();
            let Some(at) = command.find("tieline ") else { continue };
            let command = command[at..].split(['|', '>', ';']).next().unwrap();
            let words: Vec<&str> =
                command.split_whitespace().skip(1).map(|word| word.trim_end_matches([')', '"'])).collect();
            for option in words.iter().filter(|word| word.starts_with("--")) {
                assert!(
                    help.contains(option.trim_end_matches([')', '"'])),
                    "{path:?}: {option} of `{line}` is not among the options"
                );
            }
            assert_eq!(words[..path.len()], path.iter().map(String::as_str).collect::<Vec<_>>()[..], "{line}");
        }
    }
}

#[test]
fn completion_scripts_are_taken_by_the_shells_and_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script, _) = run(&mut tieline([], &["completions", shell]));
        assert_eq!(code, 0, "{shell}");
        for word in ["rotate-certificate", "doctor", "--min-ttl", "--self-authorize"] {
            assert!(script.contains(word.trim_start_matches("--")), "{shell} does not know {word}");
        }
    }
    // bash is everywhere: it really completes.
    let (_, script, _) = run(&mut tieline([], &["completions", "bash"]));
    let test = format!(
        "{script}\nCOMP_WORDS=(tieline setup rot); COMP_CWORD=2; _tieline tieline rot setup; echo \"${{COMPREPLY[@]}}\""
    );
    // A file: it is longer than an argument may be.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("completes.bash");
    std::fs::write(&file, test).unwrap();
    let output = Command::new("bash").arg("--norc").arg(&file).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "rotate-certificate",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn manual_pages_cover_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    let (code, _, err) = run(&mut tieline([], &["man", "--output", pages.to_str().unwrap()]));
    assert_eq!(code, 0, "{err}");
    for path in commands() {
        let name = [&["tieline".to_owned()], &path[..]].concat().join("-");
        let page = std::fs::read_to_string(pages.join(format!("{name}.1"))).unwrap_or_else(|e| panic!("{name}.1: {e}"));
        assert!(page.starts_with(".ie") || page.contains(".TH"), "{name}: {page}");
    }
    let (code, page, _) = run(&mut tieline([], &["man"]));
    assert!(code == 0 && page.contains(".TH tieline 1") && page.contains("Exit codes"), "{page}");
    // A pipe that closes early is no failure.
    let mut child = tieline([], &["man"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

/// Runs a command in a terminal of that width.
fn in_terminal(columns: u32, environment: &BTreeMap<String, String>, command: &str) -> String {
    let command = format!("stty cols {columns} rows 40; {command}");
    let output = Command::new("script")
        .args(["--quiet", "--return", "--flush", "--command", &command, "/dev/null"])
        .env_clear()
        .envs([("TERM", "xterm-256color"), ("PATH", "/usr/bin:/bin"), ("SHELL", "/bin/sh")])
        .envs(environment)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn colours_and_tables_follow_the_terminal_its_width_and_no_color() {
    let org = Org::start(&["--contacts", "3"]);
    let login = org.login();
    let soql = "SELECT Id, Name, Email, Account.Name, Phone FROM Contact";
    let query = format!("'{PROGRAM}' query \"{soql}\"");
    let wide = |text: &str| text.lines().map(|line| line.trim_end().chars().count()).max().unwrap_or(0);
    let narrow = in_terminal(60, &login, &query);
    assert!(wide(&narrow) <= 60, "a table is as wide as the terminal: {narrow}");
    assert!(wide(&in_terminal(200, &login, &query)) > 60);
    // Into a pipe nothing is wrapped and nothing coloured: other programs read it.
    let (_, out, err) = run(&mut tieline(&login, &["query", soql]));
    assert!(wide(&out) > 60 && !out.contains('\x1b') && !err.contains('\x1b'), "{out}");

    let failing = format!("'{PROGRAM}' query 'SELECT Bacon FROM Contact'");
    let coloured = in_terminal(100, &login, &failing);
    assert!(coloured.contains("\x1b[31m\x1b[1merror:\x1b[0m") && coloured.contains("hint:\x1b[0m"), "{coloured:?}");
    let mut plain = login.clone();
    plain.insert("NO_COLOR".to_owned(), "1".to_owned());
    let uncoloured = in_terminal(100, &plain, &failing);
    assert!(
        uncoloured.contains("error: ") && uncoloured.contains("hint: ") && !uncoloured.contains("\x1b["),
        "{uncoloured:?}"
    );
    let doctor = in_terminal(100, &plain, &format!("'{PROGRAM}' doctor"));
    assert!(doctor.contains("pass  login") && !doctor.contains("\x1b["), "{doctor:?}");
    assert!(in_terminal(100, &login, &format!("'{PROGRAM}' doctor")).contains("\x1b[32mpass\x1b[0m"));
}
