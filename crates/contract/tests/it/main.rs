//! The suite on the emulator: everything holds, and it can fail.

mod holds;
mod shows_differences;
mod told;
mod world;
