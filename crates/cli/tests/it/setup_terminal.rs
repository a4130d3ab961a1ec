//! `tieline setup jwt` with a person at a terminal: a pseudo-terminal that answers the questions.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::consent::allow;
use crate::desk::Desk;
use crate::org::{Org, PROGRAM, run, tieline};

/// A program in a terminal, by `script` (util-linux), which every Debian has.
pub(crate) struct Terminal {
    process: Child,
    keys: ChildStdin,
    screen: Arc<Mutex<String>>,
}

impl Terminal {
    pub(crate) fn open(command: &str, environment: &BTreeMap<String, String>) -> Self {
        let mut process = Command::new("script")
            .args(["--quiet", "--return", "--flush", "--command", command, "/dev/null"])
            .env_clear()
            .envs(environment)
            .envs([("TERM", "xterm-256color"), ("PATH", "/usr/bin:/bin"), ("SHELL", "/bin/sh")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let screen = Arc::new(Mutex::new(String::new()));
        let (mut shown, kept) = (process.stdout.take().unwrap(), screen.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = shown.read(&mut buffer) {
                kept.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
        });
        let keys = process.stdin.take().unwrap();
        Terminal { process, keys, screen }
    }

    /// Waits until the text is on the screen; answers all that is.
    pub(crate) fn sees(&self, text: &str) -> String {
        self.sees_after("", text)
    }

    /// The same, after something else that is there.
    fn sees_after(&self, mark: &str, text: &str) -> String {
        let began = Instant::now();
        loop {
            let screen = self.screen.lock().unwrap().clone();
            if screen.split_once(mark).is_some_and(|(_, after)| after.contains(text)) {
                return screen;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "`{text}` did not come: {screen}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    pub(crate) fn ends(&mut self) -> (i32, String) {
        let code = self.process.wait().unwrap().code().unwrap_or(-1);
        std::thread::sleep(Duration::from_millis(100));
        let screen = self.screen.lock().unwrap().clone();
        (code, screen)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const DOWN: &str = "\x1b[B";

#[test]
fn who_ends_it_at_a_question_has_the_cursor_again() {
    let org = Org::start(&["--contacts", "0"]);
    let desk = Desk::new();
    let home = BTreeMap::from([("HOME".to_owned(), desk.folder.path().display().to_string())]);
    let command = format!("'{PROGRAM}' setup jwt --instance-url {} --output '{}'", org.get("instance_url"), desk.out());
    let mut terminal = Terminal::open(&command, &home);
    terminal.sees("in the browser");
    terminal.types("\x03");
    let (code, screen) = terminal.ends();
    assert_eq!(code, 130, "{screen}");
    let (hidden, shown) = (screen.rfind("\x1b[?25l"), screen.rfind("\x1b[?25h"));
    assert!(hidden.is_some() && shown > hidden, "{screen:?}");
    assert!(!std::path::Path::new(&desk.out()).exists(), "nothing was begun");
}

#[test]
fn a_person_answers_the_questions_and_has_a_login_that_works() {
    let org = Org::start(&["--contacts", "3"]);
    let desk = Desk::new();
    let home = BTreeMap::from([("HOME".to_owned(), desk.folder.path().display().to_string())]);
    org.control("PUT", "setup", &serde_json::json!({"activation_seconds": 3}));
    let command = format!(
        "'{PROGRAM}' setup jwt --instance-url {} --output '{}' --poll-seconds 1 --alias mine",
        org.get("instance_url"),
        desk.out()
    );
    let mut terminal = Terminal::open(&command, &home);
    terminal.sees("Log in as an administrator of the org");
    // Browser, session of sf, user name and password.
    terminal.types(DOWN);
    terminal.types(DOWN);
    terminal.types("\r");
    terminal.sees("User name");
    terminal.types(&format!("{}\r", org.get("username")));
    terminal.sees("Password of");
    terminal.types("mistyped\r");
    // The name is offered again.
    terminal.sees_after("hint: ", "User name");
    terminal.types("\r");
    terminal.sees_after("hint: ", "Password of");
    terminal.types(&format!("{}\r", org.get("password")));
    let waiting = terminal.sees("the org does not know the app yet");
    assert!(!waiting.contains(org.get("password")), "a password is not shown");
    let (code, screen) = terminal.ends();
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("\x1b[32m✓") && screen.contains("The login is ready"), "{screen}");
    let (code, out, err) = run(&mut tieline(&desk.login(), &["query", "--json", "SELECT Id FROM Contact"]));
    assert_eq!((code, out.lines().count()), (0, 3), "{err}");
    let (code, out, err) = run(&mut tieline(&home, &["query", "--json", "SELECT Id FROM Contact"]));
    assert_eq!((code, out.lines().count()), (0, 3), "saved as `mine`, the only one: {err}");

    // Ctrl-C at a question changes nothing, and says so.
    let other = Desk::new();
    let command =
        format!("'{PROGRAM}' setup jwt --instance-url {} --output '{}'", org.get("instance_url"), other.out());
    let mut terminal = Terminal::open(&command, &home);
    terminal.sees("Log in as an administrator of the org");
    terminal.types("\x03");
    let (code, screen) = terminal.ends();
    assert_ne!(code, 0, "{screen}");
    assert!(other.files().is_empty());
}

#[test]
fn a_person_logs_in_by_browser_for_the_setup() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let callback = format!("http://localhost:{port}/OauthRedirect");
    let org = Org::start(&["--contacts", "0", "--callback", &callback]);
    let desk = Desk::new();
    let mut environment = BTreeMap::from([("HOME".to_owned(), desk.folder.path().display().to_string())]);
    for (name, value) in [
        ("SF_CLIENT_ID", org.get("client_id")),
        ("SF_CLIENT_SECRET", org.get("client_secret")),
        ("SF_REDIRECT_URI", &callback),
    ] {
        environment.insert(name.to_owned(), value.to_owned());
    }
    let command = format!(
        "'{PROGRAM}' setup jwt --login browser --no-browser --instance-url {} --output '{}' --poll-seconds 1",
        org.get("instance_url"),
        desk.out()
    );
    let mut terminal = Terminal::open(&command, &environment);
    terminal.sees("waiting for the login in the browser");
    let screen = terminal.sees("/services/oauth2/authorize");
    let page = screen.lines().find(|line| line.contains("/services/oauth2/authorize")).unwrap().trim().to_owned();
    assert!(page.contains("code_challenge_method=S256") && page.contains("prompt=login"), "{page}");
    allow(&org, &page, org.get("username"));
    let (code, screen) = terminal.ends();
    assert_eq!(code, 0, "{screen}");
    assert_eq!(run(&mut tieline(&desk.login(), &["token"])).0, 0);
}
