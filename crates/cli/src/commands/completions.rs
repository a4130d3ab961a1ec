//! `tieline completions`: what a shell needs to complete commands and options.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::failure::Failure;

/// Print a completion script for a shell
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline completions bash > /etc/bash_completion.d/tieline
  tieline completions zsh > \"${fpath[1]}/_tieline\"
  tieline completions fish > ~/.config/fish/completions/tieline.fish")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::Arguments::command(), "tieline", &mut script);
        crate::output::line(String::from_utf8_lossy(&script).trim_end())?;
        Ok(())
    }
}
