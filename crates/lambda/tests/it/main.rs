//! The broker as programs meet it, on real sockets, against a local org.

#![expect(clippy::print_stderr, reason = "a test says aloud what it skips")]

mod answers;
mod environment;
mod faults;
mod fleet;
mod guarded;
mod handlers;
mod home;
mod lifecycle;
mod listening;
mod measured;
mod moto;
mod node_package;
#[path = "../../../cli/tests/it/parts.rs"]
mod parts;
mod project;
mod python_package;
mod rotated;
mod secrets;
mod signed;
mod world;

/// The extension that the tests run.
fn extension() -> std::path::PathBuf {
    env!("CARGO_BIN_EXE_tieline-extension").into()
}
