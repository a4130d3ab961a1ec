//! `tieline users`: what the operator does with people's accounts, on the database itself.

use clap::Subcommand;
use serde_json::json;
use tieline_auth::{Clock, SystemClock};
use tieline_server::ResetLink;
use tieline_store::{Store, User};

use crate::commands::serve::public_url;
use crate::failure::Failure;
use crate::output::{count, hint, table};
use crate::settings::Database;

/// See who has an account, let somebody in who has lost the password, sign somebody out
#[derive(Subcommand)]
pub(crate) enum Users {
    List(List),
    ResetPassword(ResetPassword),
    EndSessions(EndSessions),
}

/// Show all users
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline users list
  tieline users list --json | jq -r '.users[] | select(.has_password | not) | .email'")]
pub(crate) struct List {
    #[command(flatten)]
    database: Database,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Make a link by which a user sets a new password
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline users reset-password ada@example.com
  APP_URL=https://crm.example.com tieline users reset-password ada@example.com --database-url postgres://tieline@db/tieline

The link works once, within 30 minutes; a second one ends the first. Whoever has it can sign in as that user: send it to
nobody else. When it is used, all sessions of the user end. The audit log has both.")]
pub(crate) struct ResetPassword {
    /// Address of the user
    #[arg(value_name = "EMAIL")]
    email: String,
    #[command(flatten)]
    database: Database,
    /// Where people reach the service [default: APP_URL, NEXT_PUBLIC_APP_URL]
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Sign a user out, in all browsers
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline users end-sessions ada@example.com

The user can sign in again. API keys go on.")]
pub(crate) struct EndSessions {
    /// Address of the user
    #[arg(value_name = "EMAIL")]
    email: String,
    #[command(flatten)]
    database: Database,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

impl Users {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Users::List(command) => command.run().await,
            Users::ResetPassword(command) => command.run().await,
            Users::EndSessions(command) => command.run().await,
        }
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let store = self.database.open_existing().await?;
        let users = store.users(SystemClock::default().now()).await?;
        store.close().await;
        if self.json {
            say!("{}", json!({ "users": users }));
            return Ok(());
        }
        if users.is_empty() {
            say!("Nobody has an account yet.");
            return Ok(());
        }
        let mut shown = table(&["user", "name", "signs in by", "sessions", "businesses"]);
        for user in &users {
            let by = match (user.is_disabled, user.has_password, user.identities > 0) {
                (true, ..) => "nothing: disabled",
                (_, true, true) => "password, provider",
                (_, true, false) => "password",
                (_, false, true) => "provider",
                (_, false, false) => "nothing",
            };
            let (sessions, businesses) = (user.sessions.to_string(), user.businesses.to_string());
            shown.add_row([user.user.email.as_str(), &user.user.name, by, &sessions, &businesses]);
        }
        say!("{shown}");
        Ok(())
    }
}

/// The user of an address.
async fn user(store: &Store, email: &str) -> Result<User, Failure> {
    let none = |why: &str| Failure::usage(format!("the user {email} {why}"), "`tieline users list` shows all users");
    let account = store.account(email.trim()).await?.ok_or_else(|| none("is not there"))?;
    if account.is_disabled {
        return Err(none("may not sign in any more"));
    }
    Ok(account.user)
}

impl ResetPassword {
    async fn run(self) -> Result<(), Failure> {
        let public_url = public_url(self.public_url.as_deref(), &self.database.file()?)?;
        let store = self.database.open_existing().await?;
        let user = user(&store, &self.email).await?;
        let made = ResetLink::make(&store, user.id, SystemClock::default().now()).await;
        let made = made.map_err(|problem| Failure::new(problem.detail().to_owned(), problem.hint().to_owned()))?;
        store.close().await;
        let link = public_url.as_ref().and_then(|url| made.at(url));
        if self.json {
            let token = made.token.expose();
            say!("{}", json!({ "email": user.email, "token": token, "link": link, "expires_at": made.expires_at }));
            return Ok(());
        }
        match link {
            Some(link) => say!("{link}"),
            None => {
                say!("{}", made.token.expose());
                hint("where people reach the service is not known (APP_URL): it is to be entered on its page /reset");
            }
        }
        let until = made.expires_at.strftime("%H:%M UTC");
        note!("{} sets a new password with it, once, until {until}. All their sessions end then.", user.email);
        Ok(())
    }
}

impl EndSessions {
    async fn run(self) -> Result<(), Failure> {
        let store = self.database.open_existing().await?;
        let user = user(&store, &self.email).await?;
        let ended = store.end_sessions_of(user.id, SystemClock::default().now()).await?;
        store.close().await;
        match self.json {
            true => say!("{}", json!({ "email": user.email, "ended": ended })),
            false => say!("Ended {} of {}.", count(ended, "session"), user.email),
        }
        Ok(())
    }
}
