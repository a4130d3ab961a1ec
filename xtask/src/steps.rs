//! Steps: telling what is about to be done, and running other programs.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How many lines of a failed program's output are shown.
const SHOWN_LINES: usize = 40;

/// Says in one line what is about to be done.
pub(crate) fn say(step: &str) {
    eprintln!("==> {step}");
}

/// Says something that must not be missed, set apart from other output.
pub(crate) fn say_loudly(text: &str) {
    eprintln!("\n!!! {}\n", text.trim_end().replace('\n', "\n!!! "));
}

/// Runs a program whose output the developer wants to see as it comes.
pub(crate) fn run_shown(command: &mut Command) -> Result<()> {
    let line = command_line(command);
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("could not start `{line}`"))?;
    succeeded(&line, status)
}

/// An error if a program whose output was shown did not succeed.
fn succeeded(line: &str, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("`{line}` failed ({status})\nhint: its own output above tells why");
    }
    Ok(())
}

/// Runs a program whose output goes to a file, and shows the end of it only if the program failed.
pub(crate) fn run_logged(command: &mut Command, log: &Path) -> Result<()> {
    let line = command_line(command);
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder).with_context(|| format!("could not make the folder {}", folder.display()))?;
    }
    let file = File::create(log).with_context(|| format!("could not write {}", log.display()))?;
    let errors = file.try_clone().with_context(|| format!("could not write {}", log.display()))?;
    let status = command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .status()
        .with_context(|| format!("could not start `{line}`"))?;
    if !status.success() {
        let output = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        eprintln!("{}", last_lines(&output, SHOWN_LINES));
        bail!("`{line}` failed ({status})\nhint: all it wrote is in {}", log.display());
    }
    Ok(())
}

/// A program that runs beside this one, and is stopped if nobody waits for its end.
pub(crate) struct Meanwhile {
    child: Child,
    line: String,
}

impl Meanwhile {
    /// Starts a program whose output the developer wants to see as it comes.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let line = command_line(command);
        let child = command.stdin(Stdio::null()).spawn().with_context(|| format!("could not start `{line}`"))?;
        Ok(Self { child, line })
    }

    /// Waits for its end, and fails if it did.
    pub(crate) fn end(mut self) -> Result<()> {
        let line = &self.line;
        let status = self.child.wait().with_context(|| format!("could not wait for `{line}`"))?;
        succeeded(line, status)
    }
}

impl Drop for Meanwhile {
    fn drop(&mut self) {
        // What has ended needs no end, and there is nobody to tell of another error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a program writes to its standard output, or nothing if it cannot be run or fails.
pub(crate) fn answer(program: impl AsRef<OsStr>, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The cargo that runs this program, so that no other toolchain comes into play.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

/// A time span as the developer reads it: `8.4 s` or `3 min 07 s`.
pub(crate) fn readable_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 {
        return format!("{:.1} s", duration.as_secs_f64());
    }
    format!("{} min {:02} s", seconds / 60, seconds % 60)
}

/// A command as one would type it, near enough for a message.
fn command_line(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        line.push(' ');
        line.push_str(&arg.to_string_lossy());
    }
    line
}

/// The last lines of a text.
fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_readable() {
        assert_eq!(readable_duration(Duration::from_millis(8_440)), "8.4 s");
        assert_eq!(readable_duration(Duration::from_secs(187)), "3 min 07 s");
    }

    #[test]
    fn a_failed_program_names_its_log() {
        let folder = std::env::temp_dir().join(format!("tieline-xtask-{}", std::process::id()));
        let log = folder.join("failed.log");
        let error = run_logged(Command::new("sh").args(["-c", "echo broken; exit 3"]), &log).unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("hint: "), "{error}");
        assert_eq!(fs::read_to_string(&log).unwrap(), "broken\n");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn only_the_end_of_an_output_is_kept() {
        assert_eq!(last_lines("a\nb\nc", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
    }
}
