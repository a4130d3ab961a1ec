//! `tieline man`: manual pages.

use std::path::PathBuf;

use anyhow::Context;
use clap::CommandFactory;

use crate::failure::Failure;

/// Print the manual page, or write the pages of all commands to a folder
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline man | man -l -
  tieline man --output /usr/local/share/man/man1")]
pub(crate) struct Man {
    /// Folder for the pages of all commands (tieline.1, tieline-query.1, …)
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

impl Man {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let command = crate::Arguments::command();
        match self.output {
            None => {
                let mut page = Vec::new();
                clap_mangen::Man::new(command).render(&mut page)?;
                crate::output::line(String::from_utf8_lossy(&page).trim_end())?;
            }
            Some(folder) => {
                std::fs::create_dir_all(&folder).with_context(|| format!("could not make {}", folder.display()))?;
                clap_mangen::generate_to(command, &folder)
                    .with_context(|| format!("could not write to {}", folder.display()))?;
                note!("the manual pages are in {}", folder.display());
            }
        }
        Ok(())
    }
}
