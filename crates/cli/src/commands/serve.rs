//! `tieline serve`: the integration service.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use tieline_auth::{Secret, SystemClock};
use tieline_server::client_address::{Network, Trusted};
use tieline_server::limits::{Class, Classes};
use tieline_server::outbound::address::{Allowed, Policy};
use tieline_server::outbound::settings::{Outbound, Relay};
use tieline_server::telemetry::Metrics;
use tieline_server::{SalesforceApp, Service, Settings};
use tieline_store::Store;
use tieline_sync::integration;
use tokio::net::TcpListener;
use url::Url;

use crate::commands::worker::Syncs;
use crate::commands::{stopped, sync};
use crate::config::{File, open_id};
use crate::failure::Failure;
use crate::settings::{Care, Database};

/// Run the integration service: connect orgs, keep a database in step, pages and API
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline serve
  tieline serve --listen 127.0.0.1:8080 --every 60 --database-url sqlite:people.db
  APP_URL=https://crm.example.com tieline serve --listen 0.0.0.0:7400 --database-url postgres://tieline@db/tieline

The first start prints a token, with which the first user is made at /setup.
SALESFORCE_CLIENT_ID and SALESFORCE_CLIENT_SECRET name the app that orgs are connected through, SALESFORCE_REDIRECT_URI its
callback URL (default: APP_URL/api/integrations/salesforce/callback).
TIELINE_OIDC_ISSUER, TIELINE_OIDC_CLIENT_ID and TIELINE_OIDC_CLIENT_SECRET name a provider that people may sign in with,
TIELINE_OIDC_NAME what its button says: docs/sign-in.md.
TIELINE_METRICS_TOKEN is what GET /metrics asks for (without it, this machine alone may read it), TIELINE_LOG_FORMAT=json
writes one JSON object a line, and the OTEL_* variables switch traces on: docs/logging.md, docs/metrics.md.
TIELINE_SMTP_URL (smtps://user:password@host:465) and TIELINE_SMTP_FROM name the relay for alerts by mail, TIELINE_ALERT_ALLOW
hosts and networks that alerts may reach beyond public ones (relay.inner.example, 10.1.0.0/16): docs/alerts.md.
TIELINE_RATE_LIMITS changes limits (api=1000/1h,pages=off), TIELINE_TRUSTED_PROXIES names the proxies that are believed when they
say who asks (10.0.0.0/8).
A file tieline.toml (or --config FILE) may say the same, secrets aside; `tieline config check` tries it all.
The SF_* variables, if set, are saved (sealed) as the integration `default`; later starts need them no more.")]
pub(crate) struct Serve {
    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:7400]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Where people reach it: https://… [default: APP_URL, NEXT_PUBLIC_APP_URL, or the address on loopback]
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    #[command(flatten)]
    syncs: Syncs,
    /// Leave syncs and imports to nodes of `tieline worker`
    #[arg(long)]
    no_worker: bool,
    /// Allow orgs on this machine over plain HTTP, such as a local one
    #[arg(long)]
    allow_loopback: bool,
    /// Nobody signs in: for whoever sits at this machine alone
    #[arg(long)]
    no_sign_in: bool,
    /// Seconds in which requests are still taken when the service is being stopped, for load balancers to notice
    #[arg(long, value_name = "SECONDS", env = "TIELINE_DRAIN_SECONDS", default_value_t = 0)]
    drain: u64,
    /// Seconds that an import waits whose worker was killed, before another one goes on with it
    #[arg(long, value_name = "SECONDS", env = "TIELINE_IMPORT_LEASE_SECONDS", default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(3..=3600))]
    import_lease: u64,
    /// Continue traces of `traceparent` headers: only behind a proxy that removes those of strangers
    #[arg(long, env = "TIELINE_TRUST_TRACEPARENT")]
    trust_traceparent: bool,
    #[command(flatten)]
    pub(crate) database: Database,
    #[command(flatten)]
    care: Care,
}

impl Serve {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        leave_no_core();
        let file = self.database.file()?;
        let (told, listen) = (self.told_url(&file)?, self.listen(&file)?);
        self.check(&file, told.as_ref())?;
        let (app, redirect_uri) = (Self::app(&file)?, Self::redirect_uri(&file)?);
        let open_id = open_id(&file)?;
        let store = self.database.resolved(&file).open().await?;
        // What the environment says must be right; nothing at all is fine.
        if integration::is_any_set(|name| std::env::var(name).ok()) {
            sync::integration_from_environment(&store.own(), &SystemClock::default()).await?;
        }
        let listener = TcpListener::bind(listen).await.with_context(|| format!("could not listen on {listen}"))?;
        let address = listener.local_addr()?;
        let public_url = match told {
            Some(url) => url,
            None => Url::parse(&format!("http://{address}")).context("the address makes no URL")?,
        };
        let settings = Settings {
            sign_in: !self.no_sign_in(&file),
            open_id,
            app,
            redirect_uri,
            every: self.syncs.every(&file),
            syncs: (!self.no_worker).then(|| self.syncs.worker()),
            imports: !self.no_worker,
            window: self.care.window_with(&file),
            allow_loopback: self.allow_loopback || file.truth("serve", "allow_loopback"),
            classes: classes(&file)?,
            trusted: trusted(&file)?,
            metrics: Some(Metrics::install(variable("TIELINE_METRICS_TOKEN").map(Secret::new))?),
            trust_traceparent: self.trust_traceparent,
            outbound: outbound(&file)?,
            drain: Duration::from_secs(self.drain),
            import_lease: Duration::from_secs(self.import_lease),
            ..Settings::new(public_url.clone())
        };
        let service = Service::new(store.clone(), settings)?;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            %address,
            public_url = %public_url.origin().ascii_serialization(),
            database = store.place(),
            sign_in = !self.no_sign_in(&file),
            traces = crate::logging::is_tracing(),
            "started"
        );
        say!("tieline is ready at http://{address}");
        if public_url.scheme() == "https" && trusted(&file)?.networks.is_empty() {
            note!(
                "warning: no proxy is trusted, so that all clients of the proxy before this service share one limit; \
                 hint: TIELINE_TRUSTED_PROXIES=<its address>"
            );
        }
        if !self.no_sign_in(&file) {
            say_how_to_set_up(&service, &store, &public_url).await?;
        }
        tieline_server::serve(listener, service, stopped()).await?;
        store.close().await;
        Ok(())
    }

    fn no_sign_in(&self, file: &File) -> bool {
        self.no_sign_in || file.truth("serve", "no_sign_in")
    }

    pub(crate) fn listen(&self, file: &File) -> Result<SocketAddr, Failure> {
        let text = match (self.listen, file.text("serve", "listen")) {
            (Some(listen), _) => return Ok(listen),
            (None, None) => return Ok(SocketAddr::from(([127, 0, 0, 1], 7400))),
            (None, Some(text)) => text,
        };
        text.parse().map_err(|_| {
            Failure::usage(
                format!("`serve.listen` is `{text}`, which is no address with a port"),
                "write it like 127.0.0.1:7400, or [::]:7400",
            )
        })
    }

    pub(crate) fn told_url(&self, file: &File) -> Result<Option<Url>, Failure> {
        public_url(self.public_url.as_deref(), file)
    }

    /// Signing in needs HTTPS, except on this machine; and without signing in it is for this machine alone.
    pub(crate) fn check(&self, file: &File, public_url: Option<&Url>) -> Result<(), Failure> {
        let listen = self.listen(file)?;
        let is_local = listen.ip().is_loopback();
        if self.no_sign_in(file) && !is_local {
            return Err(Failure::usage(
                format!(
                    "without sign-in the service shows people's data to everybody, so it cannot listen on {listen}"
                ),
                "leave --no-sign-in out, or listen on 127.0.0.1",
            ));
        }
        match public_url {
            _ if self.no_sign_in(file) && open_id(file)?.is_some() => Err(Failure::usage(
                "nobody signs in, and a provider to sign in with is set",
                "leave --no-sign-in or the TIELINE_OIDC_* variables out",
            )),
            None if !is_local => Err(Failure::usage(
                format!("the service listens on {listen}, and does not know where people reach it"),
                "set APP_URL=https://… (or --public-url): a proxy that speaks HTTPS stands before it",
            )),
            Some(url) if url.scheme() != "https" && !tieline_auth::host::is_loopback(url) => Err(Failure::usage(
                format!("the public URL {url} is not https, and passwords and sessions would travel in the clear"),
                "put a proxy that speaks HTTPS before it, and set APP_URL=https://…",
            )),
            _ => Ok(()),
        }
    }

    /// The app that orgs are connected through.
    pub(crate) fn app(file: &File) -> Result<Option<SalesforceApp>, Failure> {
        let Some(client_id) = variable("SALESFORCE_CLIENT_ID").or_else(|| file.text("salesforce", "client_id")) else {
            return Ok(None);
        };
        let client_secret = match (variable("SALESFORCE_CLIENT_SECRET"), file.file("salesforce", "client_secret_file"))
        {
            (Some(secret), _) => Some(Secret::new(secret)),
            (None, Some(path)) => {
                let text = std::fs::read_to_string(&path).map_err(|e| {
                    Failure::usage(
                        format!("could not read the app's secret from {}: {e}", path.display()),
                        "check `salesforce.client_secret_file`, and that this user may read it",
                    )
                })?;
                Some(Secret::new(text.trim().to_owned()))
            }
            (None, None) => None,
        };
        Ok(Some(SalesforceApp { client_id, client_secret }))
    }

    pub(crate) fn redirect_uri(file: &File) -> Result<Option<Url>, Failure> {
        let told = variable("SALESFORCE_REDIRECT_URI").or_else(|| file.text("salesforce", "redirect_uri"));
        let Some(text) = told else { return Ok(None) };
        let url = Url::parse(&text).map_err(|e| {
            Failure::usage(
                format!("SALESFORCE_REDIRECT_URI `{text}` is not a URL: {e}"),
                "copy it from the app's callback URLs, to the letter",
            )
        })?;
        Ok(Some(url))
    }
}

/// Where people reach the service, if that is told.
pub(crate) fn public_url(argument: Option<&str>, file: &File) -> Result<Option<Url>, Failure> {
    let names = ["APP_URL", "NEXT_PUBLIC_APP_URL"];
    let told = argument.map(str::to_owned).or_else(|| names.iter().find_map(|name| variable(name)));
    let Some(told) = told.or_else(|| file.text("serve", "public_url")) else { return Ok(None) };
    let url = Url::parse(&told).ok().filter(|url| url.has_host() && matches!(url.scheme(), "https" | "http"));
    url.map(Some).ok_or_else(|| {
        Failure::usage(format!("the public URL `{told}` is no web address"), "write it like https://crm.example.com")
    })
}

/// What a crash would write of this process's memory holds keys and tokens. A limit of zero keeps the kernel from writing a
/// file; that the process is not dumpable keeps it from handing the memory to a program that collects cores, which no limit
/// does (core(5)), and other processes of the same user from reading it (ptrace(2)).
pub(crate) fn leave_no_core() {
    #[cfg(unix)]
    {
        let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
        if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Core, none) {
            tracing::warn!(%error, "a crash may write this process's memory to a file");
        }
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "a crash may show this process's memory to a program that collects cores");
    }
}

/// Limits that are not the usual ones: `api=1000/1h, pages=off`.
pub(crate) fn classes(file: &File) -> Result<Classes, Failure> {
    let mut classes = Classes::default();
    let told = variable("TIELINE_RATE_LIMITS").or_else(|| file.text("serve", "rate_limits")).unwrap_or_default();
    for entry in told.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let names = Class::ALL.map(Class::name).join(", ");
        let (name, limit) = entry.split_once('=').unwrap_or((entry, ""));
        let class = Class::from_name(name.trim()).ok_or_else(|| {
            Failure::usage(
                format!("TIELINE_RATE_LIMITS names the class `{name}`, which there is not"),
                format!("one of {names}: api=1000/1h, pages=off"),
            )
        })?;
        classes.set(class, limit.trim()).map_err(|e| {
            Failure::usage(format!("TIELINE_RATE_LIMITS: {e}"), "write it like api=1000/1h, pages=off".to_owned())
        })?;
    }
    Ok(classes)
}

/// The proxies that are believed when they say who asks: `10.0.0.0/8, 2001:db8::/32`.
pub(crate) fn trusted(file: &File) -> Result<Trusted, Failure> {
    let told =
        variable("TIELINE_TRUSTED_PROXIES").or_else(|| file.text("serve", "trusted_proxies")).unwrap_or_default();
    let networks = told.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::parse);
    let networks = networks.collect::<Result<Vec<Network>, _>>().map_err(|e| {
        Failure::usage(
            format!("TIELINE_TRUSTED_PROXIES: {e}"),
            "write networks like 10.0.0.0/8, or addresses".to_owned(),
        )
    })?;
    Ok(Trusted { networks, ..Trusted::default() })
}

/// Where alerts may be sent beyond public hosts, and the relay for mail.
pub(crate) fn outbound(file: &File) -> Result<Outbound, Failure> {
    let told = variable("TIELINE_ALERT_ALLOW").or_else(|| file.text("alerts", "allow")).unwrap_or_default();
    let allow = told.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::parse);
    let allow = allow.collect::<Result<Vec<Allowed>, _>>().map_err(|e| {
        Failure::usage(
            format!("TIELINE_ALERT_ALLOW: {e}"),
            "write hosts and networks, with commas between them".to_owned(),
        )
    })?;
    let url = match (variable("TIELINE_SMTP_URL"), file.file("alerts", "mail_url_file")) {
        (Some(url), _) => Some(url),
        (None, Some(path)) => Some(std::fs::read_to_string(&path).map_err(|e| {
            Failure::usage(
                format!("could not read the mail relay's URL from {}: {e}", path.display()),
                "check `alerts.mail_url_file`, and that this user may read it",
            )
        })?),
        (None, None) => None,
    };
    let from = variable("TIELINE_SMTP_FROM").or_else(|| file.text("alerts", "mail_from"));
    let mail = match (url, from) {
        (Some(url), Some(from)) => Some(Relay { url: Secret::new(url.trim()), from }),
        (None, None) => None,
        (Some(_), None) => {
            return Err(Failure::usage(
                "a mail relay is named, but nobody whom its mail comes from",
                "set TIELINE_SMTP_FROM, such as `tieline <alerts@example.com>`",
            ));
        }
        (None, Some(_)) => {
            return Err(Failure::usage(
                "TIELINE_SMTP_FROM says whom mail comes from, but no relay is named",
                "set TIELINE_SMTP_URL, such as smtps://user:password@host:465",
            ));
        }
    };
    let outbound = Outbound { policy: Policy { allow }, mail, names: None };
    match outbound.mailer(std::sync::Arc::new(SystemClock::default())) {
        Ok(_) => Ok(outbound),
        Err(e) => Err(Failure::usage(e.to_string(), "correct TIELINE_SMTP_URL and TIELINE_SMTP_FROM".to_owned())),
    }
}

pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// Whoever can read this may make the first user.
async fn say_how_to_set_up(service: &Service, store: &Store, public_url: &Url) -> Result<(), Failure> {
    if store.has_users().await? {
        return Ok(());
    }
    let token = service.setup_token(variable("TIELINE_SETUP_TOKEN").map(Secret::new));
    let token = token.map_err(|problem| Failure::new(problem.detail().to_owned(), problem.hint().to_owned()))?;
    let page = public_url.join("/setup").unwrap_or_else(|_| public_url.clone());
    say!("Nobody has an account yet. Make the first one at {page} with the setup token {}", token.expose());
    Ok(())
}
