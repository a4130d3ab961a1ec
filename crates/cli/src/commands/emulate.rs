//! `tieline emulate`: a local org.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use tieline_emulator::{DataCloud, Emulator, Options, hyper};

use crate::commands::stopped;
use crate::failure::Failure;
use crate::output;

/// Start a Salesforce org on localhost that real clients accept
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline emulate                                  generated people, companies and leads
  tieline emulate --port 8090 --data ./records     with the records of a folder
  tieline emulate --tls --json                     HTTPS, for clients that insist on it; credentials as JSON
  tieline emulate --datacloud                      with a Data Cloud, whose queries a real Hyper answers

With the printed variables set, any client can log in: `tieline query 'SELECT Name FROM Contact LIMIT 5'`.
What the control URL offers (clock, faults, delayed commits, …) is in docs/emulator.md.")]
pub(crate) struct Emulate {
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// HTTPS with a certificate authority made for this run
    #[arg(long)]
    tls: bool,
    /// Folder of sObject tree files (*.json) and CSV files to load
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How many contacts to generate
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    contacts: usize,
    /// Where browser logins may return to; repeat it for more [default: http://localhost:1717/OauthRedirect]
    #[arg(long = "callback", value_name = "URL")]
    callback_urls: Vec<String>,
    /// With a Data Cloud; fetches its query engine with pip if TIELINE_HYPERD names none
    #[arg(long)]
    datacloud: bool,
    /// Print the credentials as one JSON line
    #[arg(long)]
    json: bool,
}

impl Emulate {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.port);
        let datacloud = if self.datacloud {
            let hyperd = tokio::task::spawn_blocking(hyperd).await.map_err(anyhow::Error::from)??;
            Some(DataCloud { hyperd: Some(hyperd), ..DataCloud::default() })
        } else {
            None
        };
        let org = Emulator::start(Options {
            listen,
            tls: self.tls,
            contacts: self.contacts,
            data: self.data,
            callback_urls: self.callback_urls,
            datacloud,
        })
        .await?;
        let info = org.info();
        if self.json {
            let json = serde_json::to_string(info).map_err(anyhow::Error::from)?;
            output::line(&json)?;
        } else {
            say!("A local org is ready at {}. Log in with:\n", info.login_url);
            say!("export SF_LOGIN_URL={}", info.login_url);
            say!("export SF_CLIENT_ID={}", info.client_id);
            say!("export SF_USERNAME={}", info.username);
            say!("export SF_PRIVATE_KEY_FILE={}", info.private_key_file.display());
            if let Some(ca) = &info.ca_file {
                say!("export SSL_CERT_FILE={}", ca.display());
            }
            if let Some(url) = &info.datacloud_url {
                say!("\nData Cloud: {url}   Tokens for it: POST {}/services/a360/token", info.instance_url);
            }
            say!(
                "\nControl: {}   Client secret, refresh token and the rest: --json   Ctrl-C stops it.",
                info.control_url
            );
        }
        stopped().await;
        org.stop().await;
        Ok(())
    }
}

/// The query engine: found, or fetched.
fn hyperd() -> anyhow::Result<PathBuf> {
    let variable = |name: &str| std::env::var_os(name);
    match hyper::find(variable)? {
        Some(program) => Ok(program),
        None => hyper::fetch(variable, |step| note!("{step}")),
    }
}
