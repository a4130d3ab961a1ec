//! The tenant's objects: their columns, and how they are filled from the org's own records.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::Engine;
use crate::org::Org;

/// The kinds of columns, with what Hyper and the metadata API call them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Text,
    Whole,
    Double,
    Decimal,
    Time,
    Date,
    Boolean,
}

impl Kind {
    fn sql(self) -> &'static str {
        match self {
            Kind::Text => "varchar",
            Kind::Whole => "bigint",
            Kind::Double => "double precision",
            Kind::Decimal => "numeric(18,2)",
            Kind::Time => "timestamp with time zone",
            Kind::Date => "date",
            Kind::Boolean => "boolean",
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) kind: Kind,
}

const fn column(name: &'static str, label: &'static str, kind: Kind) -> Column {
    Column { name, label, kind }
}

/// Where the rows of an object come from.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// A query over the org's own tables; dates are in the form of the REST API.
    Records(&'static str),
    /// A series of numbers, computed by Hyper.
    Series(&'static str),
    /// Only ingestion fills it.
    Ingested,
}

#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    /// `Profile`, `Engagement` or `Related`.
    pub(super) category: &'static str,
    /// The first of them is the primary key.
    pub(super) columns: &'static [Column],
    /// A column, and the object and column to which it refers.
    pub(super) parent: Option<(&'static str, &'static str, &'static str)>,
    source: Source,
}

impl Table {
    /// `CREATE TABLE`; only the key must have a value.
    fn create(&self) -> String {
        format!("create table \"{}\" ({})", self.name, self.definitions())
    }

    /// The columns as `CREATE TABLE` lists them.
    pub(super) fn definitions(&self) -> String {
        let columns = self.columns.iter().enumerate().map(|(at, column)| {
            let must = if at == 0 { " not null" } else { "" };
            format!("\"{}\" {}{must}", column.name, column.kind.sql())
        });
        columns.collect::<Vec<_>>().join(", ")
    }
}

/// Names of objects and fields are those of the standard data model; the lake objects' are as a CRM connector makes them.
pub(super) const TABLES: [Table; 7] = [
    Table {
        name: "ssot__Individual__dlm",
        label: "Individual",
        category: "Profile",
        columns: &[
            column("ssot__Id__c", "Individual Id", Kind::Text),
            column("ssot__FirstName__c", "First Name", Kind::Text),
            column("ssot__LastName__c", "Last Name", Kind::Text),
            column("ssot__TitleName__c", "Title", Kind::Text),
            column("ssot__CreatedDate__c", "Created Date", Kind::Time),
            column("ssot__LastModifiedDate__c", "Last Modified Date", Kind::Time),
        ],
        parent: None,
        source: Source::Records(
            "SELECT \"Id\", \"FirstName\", \"LastName\", \"Title\", \"CreatedDate\", \"LastModifiedDate\" FROM \"Contact\"",
        ),
    },
    Table {
        name: "ssot__ContactPointEmail__dlm",
        label: "Contact Point Email",
        category: "Related",
        columns: &[
            column("ssot__Id__c", "Contact Point Email Id", Kind::Text),
            column("ssot__PartyId__c", "Party", Kind::Text),
            column("ssot__EmailAddress__c", "Email Address", Kind::Text),
            column("ssot__CreatedDate__c", "Created Date", Kind::Time),
        ],
        parent: Some(("ssot__PartyId__c", "ssot__Individual__dlm", "ssot__Id__c")),
        source: Source::Records(
            "SELECT \"Id\" || '-email', \"Id\", \"Email\", \"CreatedDate\" FROM \"Contact\" WHERE \"Email\" IS NOT NULL",
        ),
    },
    Table {
        name: "ssot__Account__dlm",
        label: "Account",
        category: "Profile",
        columns: &[
            column("ssot__Id__c", "Account Id", Kind::Text),
            column("ssot__Name__c", "Account Name", Kind::Text),
            column("ssot__NumberOfEmployees__c", "Number of Employees", Kind::Whole),
            column("ssot__CreatedDate__c", "Created Date", Kind::Time),
            column("ssot__LastModifiedDate__c", "Last Modified Date", Kind::Time),
        ],
        parent: None,
        source: Source::Records(
            "SELECT \"Id\", \"Name\", \"NumberOfEmployees\", \"CreatedDate\", \"LastModifiedDate\" FROM \"Account\"",
        ),
    },
    Table {
        name: "Contact_Home__dll",
        label: "Contact_Home",
        category: "Profile",
        columns: &[
            column("Id__c", "Contact ID", Kind::Text),
            column("FirstName__c", "First Name", Kind::Text),
            column("LastName__c", "Last Name", Kind::Text),
            column("Email__c", "Email", Kind::Text),
            column("AccountId__c", "Account ID", Kind::Text),
            column("CreatedDate__c", "Created Date", Kind::Time),
            column("SystemModstamp__c", "System Modstamp", Kind::Time),
        ],
        parent: Some(("AccountId__c", "Account_Home__dll", "Id__c")),
        source: Source::Records(
            "SELECT \"Id\", \"FirstName\", \"LastName\", \"Email\", \"AccountId\", \"CreatedDate\", \"SystemModstamp\" FROM \"Contact\"",
        ),
    },
    Table {
        name: "Account_Home__dll",
        label: "Account_Home",
        category: "Profile",
        columns: &[
            column("Id__c", "Account ID", Kind::Text),
            column("Name__c", "Account Name", Kind::Text),
            column("Industry__c", "Industry", Kind::Text),
            column("CreatedDate__c", "Created Date", Kind::Time),
            column("SystemModstamp__c", "System Modstamp", Kind::Time),
        ],
        parent: None,
        source: Source::Records(
            "SELECT \"Id\", \"Name\", \"Industry\", \"CreatedDate\", \"SystemModstamp\" FROM \"Account\"",
        ),
    },
    Table {
        name: "WebEngagement__dll",
        label: "WebEngagement",
        category: "Engagement",
        columns: &[
            column("id__c", "id", Kind::Whole),
            column("amount__c", "amount", Kind::Double),
            column("page__c", "page", Kind::Text),
            column("at__c", "at", Kind::Time),
            column("day__c", "day", Kind::Date),
            column("revenue__c", "revenue", Kind::Decimal),
            column("converted__c", "converted", Kind::Boolean),
        ],
        parent: None,
        source: Source::Series(
            "g, case when g % 17 = 0 then null else g * 1.25 end, '/pages/' || (g % 1000), \
             timestamptz '2024-01-01 00:00:00+00' + g * interval '1 second', date '2024-01-01' + cast(g % 366 as integer), \
             case when g % 5 = 0 then null else cast(g % 100000 as numeric(18,2)) / 100 end, g % 3 = 0",
        ),
    },
    Table {
        name: "page_view_tieline_events__dll",
        label: "page_view_tieline_events",
        category: "Engagement",
        columns: &[
            column("id__c", "id", Kind::Text),
            column("at__c", "at", Kind::Time),
            column("page__c", "page", Kind::Text),
            column("seconds__c", "seconds", Kind::Double),
        ],
        parent: None,
        source: Source::Ingested,
    },
];

/// Writes the org's records into files that [`fill`] reads.
///
/// # Errors
/// When the org's tables cannot be read, or a file cannot be written.
pub(super) fn export(org: &Org, folder: &Path) -> anyhow::Result<()> {
    for table in TABLES {
        if let Source::Records(query) = table.source {
            let path = file(folder, &table);
            export_one(org, query, &path).with_context(|| format!("could not write {}", path.display()))?;
        }
    }
    Ok(())
}

fn file(folder: &Path, table: &Table) -> PathBuf {
    folder.join("files").join(format!("{}.csv", table.name))
}

fn export_one(org: &Org, query: &str, path: &Path) -> anyhow::Result<()> {
    let mut file = csv::Writer::from_path(path)?;
    let mut statement = org.db.prepare(query)?;
    let columns = statement.column_count();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        for at in 0..columns {
            let text: Option<String> = match row.get_ref(at)? {
                rusqlite::types::ValueRef::Null => None,
                rusqlite::types::ValueRef::Integer(number) => Some(number.to_string()),
                rusqlite::types::ValueRef::Real(number) => Some(number.to_string()),
                other => Some(other.as_str()?.to_owned()),
            };
            // How the REST API ends a datetime; ISO 8601 wants a colon, or this.
            let text = text.unwrap_or_default().replace(".000+0000", ".000Z");
            file.write_field(text)?;
        }
        file.write_record(None::<&[u8]>)?;
    }
    file.flush()?;
    Ok(())
}

/// Makes the database with all its tables.
///
/// # Errors
/// When Hyper refuses, which would be a mistake here.
pub(super) async fn fill(engine: &Engine, rows: usize) -> anyhow::Result<()> {
    engine.must_run(&format!("create database {}", identifier(&engine.database())), false).await?;
    for table in TABLES {
        engine.must_run(&table.create(), true).await?;
        match table.source {
            Source::Records(_) => {
                let path = file(&engine.folder, &table);
                let sql = format!("copy \"{}\" from {} with (format csv)", table.name, literal(&path));
                engine.must_run(&sql, true).await?;
                // Clients could read it.
                std::fs::remove_file(&path).with_context(|| format!("could not remove {}", path.display()))?;
            }
            Source::Series(columns) if rows > 0 => {
                let sql =
                    format!("insert into \"{}\" select {columns} from generate_series(1, {rows}) g(g)", table.name);
                engine.must_run(&sql, true).await?;
            }
            Source::Series(_) | Source::Ingested => {}
        }
    }
    Ok(())
}

fn identifier(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('"', "\"\""))
}

pub(super) fn literal(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "''"))
}
