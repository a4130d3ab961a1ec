//! `tieline sync mappings`: which object goes into which table.

use std::io::Read;

use clap::Subcommand;
use serde_json::{Value, json};
use tieline_auth::{Clock, SystemClock};
use tieline_store::mappings::Mapping;
use tieline_store::records::RecordSource;
use tieline_sync::engine::{change_mapping, create_mapping};
use tieline_sync::mapping::{Checked, Definition, MappingError, Preview, PreviewCell, check};

use super::{all_mappings, integration_from_environment, mapping_named};
use crate::failure::Failure;
use crate::output::{self, count, hint};
use crate::settings::Database;

/// Make, check, see, pause and delete mappings: which object goes into which table
#[derive(Subcommand)]
pub(crate) enum Mappings {
    List(List),
    Add(Add),
    Check(Check),
    Change(Change),
    Show(Show),
    Pause(Pause),
    Resume(Resume),
    Delete(Delete),
}

/// Show all mappings
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline sync mappings list
  tieline sync mappings list --json | jq -r .name")]
pub(crate) struct List {
    #[command(flatten)]
    database: Database,
    /// One JSON object a mapping
    #[arg(long)]
    json: bool,
}

/// Make a mapping and its table
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline sync mappings add accounts.toml
  echo '{\"name\": \"accounts\", \"object\": \"Account\"}' | tieline sync mappings add -

The file is TOML or JSON; docs/mappings.md has an example with every setting. Without columns, every field that can be
read becomes one. The mapping is held against the org first: nothing is made if something does not fit.")]
pub(crate) struct Add {
    /// File of the definition; `-` for standard input
    #[arg(value_name = "FILE")]
    file: String,
    #[command(flatten)]
    database: Database,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Hold a definition against the org, without making anything
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline sync mappings check accounts.toml
  tieline sync mappings check accounts.toml --rows 3 --json | jq '.rows[0].cells[] | {column, value, error}'

Shows the columns that the table would have, everything that does not fit, and records of the org as they would be
written. Nothing is written.")]
pub(crate) struct Check {
    /// File of the definition; `-` for standard input
    #[arg(value_name = "FILE")]
    file: String,
    /// Records that are shown as they would be written
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..=50))]
    rows: u8,
    #[command(flatten)]
    database: Database,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Give a mapping another definition
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline sync mappings change accounts accounts.json

Object and table stay. The next run makes columns that are new and fills them; columns that are left out keep their values,
and are left alone.")]
pub(crate) struct Change {
    /// Name of the mapping
    #[arg(value_name = "NAME")]
    name: String,
    /// File of the definition; `-` for standard input
    #[arg(value_name = "FILE")]
    file: String,
    #[command(flatten)]
    database: Database,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Print a mapping's definition as it is kept
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline sync mappings show accounts > accounts.json")]
pub(crate) struct Show {
    /// Name of the mapping
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    database: Database,
}

/// Pause a mapping: it is not read until somebody resumes it
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline sync mappings pause accounts --reason 'the org is being migrated'

A run under way can write no more; what it has written stays.")]
pub(crate) struct Pause {
    /// Name of the mapping
    #[arg(value_name = "NAME")]
    name: String,
    /// Why, for whoever sees it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    database: Database,
}

/// Have a paused mapping go on
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline sync mappings resume accounts
  tieline sync mappings resume accounts --allow-gone

A comparison that finds much of a table gone pauses its mapping. If the records are really gone, --allow-gone lets the next
comparison say so; if the user may no longer see them, give the right back first.")]
pub(crate) struct Resume {
    /// Name of the mapping
    #[arg(value_name = "NAME")]
    name: String,
    /// What the next comparison finds gone is gone, however much it is
    #[arg(long)]
    allow_gone: bool,
    #[command(flatten)]
    database: Database,
}

/// Delete a mapping, with its table and all rows in it
#[derive(clap::Args)]
#[command(after_help = "Examples:
  tieline sync mappings delete accounts --yes

The org is not touched.")]
pub(crate) struct Delete {
    /// Name of the mapping
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    database: Database,
    /// The table and its rows may go
    #[arg(long)]
    yes: bool,
}

impl Mappings {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Mappings::List(command) => command.run().await,
            Mappings::Add(command) => command.run().await,
            Mappings::Check(command) => command.run().await,
            Mappings::Change(command) => command.run().await,
            Mappings::Show(command) => command.run().await,
            Mappings::Pause(command) => command.run().await,
            Mappings::Resume(command) => command.run().await,
            Mappings::Delete(command) => command.run().await,
        }
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let store = self.database.open_existing().await?;
        let all = all_mappings(&store.own()).await?;
        store.close().await;
        if self.json {
            for (integration, mapping) in &all {
                output::line(&told(&integration.name, mapping).to_string())?;
            }
            return Ok(());
        }
        if all.is_empty() {
            say!("There is no mapping yet.");
            hint("`tieline sync mappings add FILE` makes one");
            return Ok(());
        }
        let mut table = output::table(&["mapping", "integration", "object", "table", "columns", "state"]);
        for (integration, mapping) in &all {
            table.add_row([
                mapping.name.as_str(),
                &integration.name,
                &mapping.object,
                mapping.table.name(),
                &RecordSource::mapping(mapping).columns().len().to_string(),
                mapping.state.name(),
            ]);
        }
        say!("{table}");
        Ok(())
    }
}

fn told(integration: &str, mapping: &Mapping) -> Value {
    json!({
        "id": mapping.id, "name": mapping.name, "integration": integration, "object": mapping.object,
        "table": mapping.table.name(), "columns": RecordSource::mapping(mapping).columns(), "state": mapping.state,
        "state_reason": mapping.state_reason,
    })
}

/// What a file of a definition holds: JSON if it begins as such, else TOML.
fn written(file: &str) -> Result<(String, Value), Failure> {
    let mut text = String::new();
    let shown = if file == "-" { "standard input" } else { file };
    let read = match file {
        "-" => std::io::stdin().lock().read_to_string(&mut text).map(drop),
        path => std::fs::read_to_string(path).map(|found| text = found),
    };
    read.map_err(|error| Failure::usage(format!("could not read {shown}: {error}"), "name a file that is there"))?;
    let json = if text.trim_start().starts_with('{') {
        serde_json::from_str(&text).map_err(|error| {
            Failure::usage(format!("{shown} is no JSON: {error}"), "correct it, or write it as TOML")
        })?
    } else {
        tieline_sync::mapping::json_of_toml(&text)
            .map_err(|error| Failure::usage(format!("{shown}: {error}"), error.hint()))?
    };
    Ok((shown.to_owned(), json))
}

fn definition(file: &str) -> Result<Definition, Failure> {
    let (shown, json) = written(file)?;
    Definition::from_json(json).map_err(|error| Failure::usage(format!("{shown}: {error}"), error.hint()))
}

impl Add {
    async fn run(self) -> Result<(), Failure> {
        let definition = definition(&self.file)?;
        let clock = SystemClock::default();
        let store = self.database.open().await?;
        let tenant = store.own();
        let (integration, connection) = integration_from_environment(&tenant, &clock).await?;
        let made = create_mapping(&connection, &tenant, integration, &definition, clock.now()).await;
        store.close().await;
        let mapping = made?;
        if self.json {
            say!("{}", told(super::DEFAULT, &mapping));
            return Ok(());
        }
        let columns = count(mapping.table.columns().len() as u64, "column");
        say!(
            "The mapping `{}` is made: {} into the table `{}`, {columns}.",
            mapping.name,
            mapping.object,
            mapping.table.name()
        );
        say!("\nTry: tieline sync run --mapping {} --once", mapping.name);
        Ok(())
    }
}

impl Check {
    async fn run(self) -> Result<(), Failure> {
        let (shown, json) = written(&self.file)?;
        let name = json.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let store = self.database.open().await?;
        let (_, connection) = integration_from_environment(&store.own(), &SystemClock::default()).await?;
        let checked = check(&connection, json, self.rows.into()).await;
        store.close().await;
        let Checked { flaws, plan, preview } = checked?;
        let Some(plan) = plan else {
            if self.json {
                say!("{}", json!({"valid": false, "name": name, "flaws": flaws}));
            }
            let error = MappingError { mapping: name, flaws };
            return Err(Failure::usage(format!("{shown}: {error}"), error.hint()));
        };
        if self.json {
            let columns = plan
                .columns
                .iter()
                .enumerate()
                .map(|(n, column)| json!({"name": column.name, "kind": column.kind, "sources": plan.sources(n)}));
            say!(
                "{}",
                json!({
                    "valid": true, "name": plan.name, "object": plan.object, "table": plan.table, "cursor": plan.cursor,
                    "columns": columns.collect::<Vec<_>>(), "warnings": plan.warnings,
                    "rows": preview.as_ref().map(|preview| &preview.rows),
                    "failed_cells": preview.as_ref().map(|preview| preview.failed),
                })
            );
            return Ok(());
        }
        let mut table = output::table(&["column", "kind", "from"]);
        for (n, column) in plan.columns.iter().enumerate() {
            table.add_row([column.name.as_str(), column.kind.name(), &plan.sources(n).join(", ")]);
        }
        say!("{table}");
        for warning in &plan.warnings {
            note!("{warning}");
        }
        if let Some(preview) = preview {
            show(&preview)?;
        }
        Ok(())
    }
}

/// Records as they would be written, one below the other: a table may have hundreds of columns.
fn show(preview: &Preview) -> Result<(), Failure> {
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    for row in &preview.rows {
        let mut table = output::table(&[row.id.as_str(), "in the org", "written", "what is wrong"]);
        let filled = |cell: &&PreviewCell| {
            !cell.value.is_null() || cell.error.is_some() || cell.sources.values().any(|value| !value.is_null())
        };
        for cell in row.cells.iter().filter(filled) {
            let sources: Vec<String> = cell.sources.values().map(text).collect();
            let wrong = cell.error.clone().unwrap_or_default();
            table.add_row([cell.column.clone(), sources.join(", "), text(&cell.value), wrong]);
        }
        output::line("")?;
        say!("{table}");
    }
    match (preview.rows.len(), preview.failed) {
        (0, _) => note!("the org has no such record yet"),
        (_, 0) => {}
        (_, failed) => note!("{} would be left empty, or have the column's default", count(failed, "value")),
    }
    Ok(())
}

impl Change {
    async fn run(self) -> Result<(), Failure> {
        let definition = definition(&self.file)?;
        let clock = SystemClock::default();
        let store = self.database.open_existing().await?;
        let tenant = store.own();
        let mapping = mapping_named(&tenant, &self.name).await?;
        let (_, connection) = integration_from_environment(&tenant, &clock).await?;
        let changed = change_mapping(&connection, &tenant, &mapping, &definition, clock.now()).await;
        store.close().await;
        let changed = changed?;
        if self.json {
            say!("{}", told(super::DEFAULT, &changed));
            return Ok(());
        }
        say!("The mapping `{}` is changed; its next run makes and fills what is new.", changed.name);
        say!("\nTry: tieline sync run --mapping {} --once", changed.name);
        Ok(())
    }
}

impl Show {
    async fn run(self) -> Result<(), Failure> {
        let store = self.database.open_existing().await?;
        let mapping = mapping_named(&store.own(), &self.name).await;
        store.close().await;
        let definition = Definition::of(&mapping?).map_err(tieline_sync::SyncError::from)?;
        say!("{}", serde_json::to_string_pretty(&definition.to_json()).unwrap_or_default());
        Ok(())
    }
}

impl Pause {
    async fn run(self) -> Result<(), Failure> {
        let store = self.database.open_existing().await?;
        let tenant = store.own();
        let mapping = mapping_named(&tenant, &self.name).await?;
        let now = SystemClock::default().now();
        let paused = tenant.pause_mapping(&mapping, self.reason.as_deref(), now).await?;
        store.close().await;
        match paused {
            true => say!("The mapping `{}` is paused.", mapping.name),
            false => say!("The mapping `{}` was paused already.", mapping.name),
        }
        Ok(())
    }
}

impl Resume {
    async fn run(self) -> Result<(), Failure> {
        let store = self.database.open_existing().await?;
        let tenant = store.own();
        let mapping = mapping_named(&tenant, &self.name).await?;
        let resumed = tenant.resume_mapping(&mapping, self.allow_gone, SystemClock::default().now()).await?;
        store.close().await;
        match resumed {
            true => say!("The mapping `{}` goes on with its next run.", mapping.name),
            false => say!("The mapping `{}` is not paused.", mapping.name),
        }
        Ok(())
    }
}

impl Delete {
    async fn run(self) -> Result<(), Failure> {
        let store = self.database.open_existing().await?;
        let tenant = store.own();
        let mapping = mapping_named(&tenant, &self.name).await?;
        if !self.yes && !mapping.is_contacts() {
            let rows = tenant.count_present(&mapping).await?;
            store.close().await;
            return Err(Failure::usage(
                format!("the table `{}` would go with {}", mapping.table.name(), count(rows, "record")),
                "say --yes if that is right",
            ));
        }
        tenant.delete_mapping(&mapping, SystemClock::default().now()).await?;
        store.close().await;
        say!("The mapping `{}` and its table are gone.", mapping.name);
        Ok(())
    }
}
