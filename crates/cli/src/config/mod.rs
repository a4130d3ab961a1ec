//! Configuration of the service: a file, over it the environment, over that what stands on the command line.

pub(crate) mod check;
mod file;
mod sign_in;

use std::path::PathBuf;

use clap::Args;

pub(crate) use file::{File, USUAL};
pub(crate) use sign_in::open_id;

use crate::failure::Failure;

/// Where the configuration file is.
#[derive(Args)]
pub(crate) struct ConfigFile {
    /// Configuration file [default: tieline.toml in this folder, if it is there]
    #[arg(long, value_name = "FILE", env = "TIELINE_CONFIG", hide_env = true)]
    config: Option<PathBuf>,
}

impl ConfigFile {
    pub(crate) fn load(&self) -> Result<File, Failure> {
        File::load(self.config.as_deref().filter(|path| !path.as_os_str().is_empty()))
    }
}
