//! `tieline`: the line between software and Salesforce. One file a command, under `commands`.
#[macro_use]
mod output;

mod cells;
mod commands;
mod config;
mod doctor;
mod failure;
mod logging;
mod login;
mod orgs;
mod place;
mod rows;
mod settings;
mod setup;
mod visible;

use clap::{Parser, Subcommand};

use crate::commands::{
    apex, broker, bulk, completions, config as config_command, datacloud, demo, describe, doctor as doctor_command,
    emulate, keys, limits, login as login_command, logout, man, orgs as orgs_command, query, records, request, search,
    serve, setup as setup_command, sync, token, users, whoami, worker,
};

/// The line between software and Salesforce: log in, call, keep a database in step.
///
/// Credentials come from SF_* environment variables or a saved login, never from arguments. No org at hand? `tieline demo`
/// shows everything on this machine, `tieline emulate` starts a local org to develop against.
#[derive(Parser)]
#[command(
    name = "tieline",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 needs a person, 4 transient, 5 partly done, 6 goes on in the org, or nobody knows"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Demo),
    #[command(subcommand)]
    Setup(setup_command::Setup),
    Login(Box<login_command::Login>),
    Logout(logout::Logout),
    Orgs(orgs_command::OrgsCommand),
    Whoami(whoami::Whoami),
    Token(token::Token),
    Doctor(doctor_command::Doctor),
    Query(query::Query),
    Get(records::Get),
    Create(records::Create),
    Update(records::Update),
    Upsert(records::Upsert),
    Delete(records::Delete),
    #[command(subcommand)]
    Bulk(bulk::Bulk),
    Describe(describe::Describe),
    Limits(limits::Limits),
    Search(search::Search),
    Apex(apex::Apex),
    Request(request::Request),
    #[command(subcommand)]
    Datacloud(datacloud::DataCloudCommand),
    #[command(subcommand)]
    Sync(sync::Sync),
    Serve(Box<serve::Serve>),
    Worker(Box<worker::Worker>),
    #[command(subcommand)]
    Config(config_command::Config),
    #[command(subcommand)]
    Keys(keys::Keys),
    #[command(subcommand)]
    Users(users::Users),
    Broker(broker::Broker),
    Emulate(emulate::Emulate),
    Completions(completions::Completions),
    Man(man::Man),
}

fn main() -> std::process::ExitCode {
    let arguments = Arguments::parse();
    // More than one crypto provider in a graph makes rustls guess, and guessing panics.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            note!("error: could not start: {error}");
            return 1.into();
        }
    };
    if let Err(failure) =
        logging::start(matches!(arguments.command, Command::Serve(_) | Command::Worker(_)), runtime.handle())
    {
        return failure.report();
    }
    let outcome = runtime.block_on(async {
        match arguments.command {
            Command::Demo(command) => command.run().await,
            Command::Setup(command) => command.run().await,
            Command::Login(command) => command.run().await,
            Command::Logout(command) => command.run().await,
            Command::Orgs(command) => command.run().await,
            Command::Whoami(command) => command.run().await,
            Command::Doctor(command) => command.run().await,
            Command::Completions(command) => command.run().await,
            Command::Man(command) => command.run().await,
            Command::Emulate(command) => command.run().await,
            Command::Serve(command) => command.run().await,
            Command::Worker(command) => command.run().await,
            Command::Config(command) => command.run().await,
            Command::Keys(command) => command.run().await,
            Command::Users(command) => command.run().await,
            Command::Broker(command) => command.run().await,
            Command::Token(command) => command.run().await,
            Command::Query(command) => command.run().await,
            Command::Get(command) => command.run().await,
            Command::Create(command) => command.run().await,
            Command::Update(command) => command.run().await,
            Command::Upsert(command) => command.run().await,
            Command::Delete(command) => command.run().await,
            Command::Bulk(command) => command.run().await,
            Command::Describe(command) => command.run().await,
            Command::Limits(command) => command.run().await,
            Command::Search(command) => command.run().await,
            Command::Apex(command) => command.run().await,
            Command::Request(command) => command.run().await,
            Command::Datacloud(command) => command.run().await,
            Command::Sync(command) => command.run().await,
        }
    });
    logging::finish();
    // Requests read ahead need not be waited for.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => 0.into(),
        Err(failure) => failure.report(),
    }
}
