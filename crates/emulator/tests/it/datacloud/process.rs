//! Hyper ends with its org. That it does so too when the org is killed, `cli/tests/it/datacloud.rs` shows with a real one.
#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use tieline_emulator::{DataCloud, Emulator, Options};

use crate::Org;

/// The process that was started with a file of this folder.
fn process_of(folder: &Path) -> Option<PathBuf> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let folder = folder.display().to_string();
    let mut found = processes.filter(|process| {
        std::fs::read(process.join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&folder))
    });
    found.next()
}

fn folder(emulator: &Emulator) -> PathBuf {
    emulator.info().private_key_file.parent().unwrap().to_owned()
}

fn must_end(folder: &Path) {
    for _ in 0..200 {
        if process_of(folder).is_none() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("hyperd goes on");
}

#[tokio::test]
async fn a_stopped_org_leaves_neither_process_nor_files() {
    let Some(org) = Org::with_hyper(10).await else { return };
    let folder = folder(&org.emulator);
    assert!(process_of(&folder).is_some());
    org.emulator.stop().await;
    assert!(process_of(&folder).is_none() && !folder.exists());

    let Some(org) = Org::with_hyper(10).await else { return };
    let folder = self::folder(&org.emulator);
    drop(org);
    must_end(&folder);
}

#[tokio::test]
async fn a_program_that_is_no_hyper_is_told_with_its_words() {
    for (program, words) in [("/bin/false", "ended at once"), ("/nowhere/hyperd", "could not start")] {
        let datacloud = Some(DataCloud { hyperd: Some(program.into()), rows: 0 });
        let started = Emulator::start(Options { contacts: 1, datacloud, ..Options::default() }).await;
        let error = format!("{:#}", started.err().unwrap());
        assert!(error.contains(words) && error.contains("\nhint: "), "{error}");
    }
}
