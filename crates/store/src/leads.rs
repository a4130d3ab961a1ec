//! Leads: people of a business that came from a source, whom it works with here.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::duplicates::{self, Subject};
use crate::error::StoreError;
use crate::open::Tenant;
use crate::pages::{Cursor, Page};
use crate::sql::{Row, Value};

/// Characters of a search that are looked at. SQLite refuses patterns of more than 50,000 bytes
/// (<https://sqlite.org/limits.html>, 9), and no name, address or company is as long as this.
const SEARCHED: usize = 1_000;

/// Where a lead came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceType {
    /// An org.
    Salesforce,
    /// A HubSpot portal.
    Hubspot,
    /// A file.
    Csv,
    /// Somebody's hand.
    Manual,
}

impl SourceType {
    /// Its name in the database and in the API.
    pub fn name(self) -> &'static str {
        match self {
            SourceType::Salesforce => "salesforce",
            SourceType::Hubspot => "hubspot",
            SourceType::Csv => "csv",
            SourceType::Manual => "manual",
        }
    }

    /// From its name.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [SourceType::Salesforce, SourceType::Hubspot, SourceType::Csv, SourceType::Manual];
        all.into_iter().find(|source| source.name() == name)
    }
}

/// How a lead stands to its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyncStatus {
    /// As the source had it at `last_synced_at`.
    Synced,
    /// To be read again.
    Pending,
    /// The source could not be read.
    Error,
}

impl SyncStatus {
    fn from_name(name: &str) -> Self {
        match name {
            "synced" => SyncStatus::Synced,
            "pending" => SyncStatus::Pending,
            _ => SyncStatus::Error,
        }
    }
}

/// A lead as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lead {
    /// UUID.
    pub id: Uuid,
    /// The integration that brought it; none once that is gone.
    pub integration_id: Option<Uuid>,
    /// Where it came from.
    pub source_type: SourceType,
    /// The source's id.
    pub source_id: String,
    /// Given name.
    pub first_name: Option<String>,
    /// Family name.
    pub last_name: Option<String>,
    /// Full name, as the source writes it.
    pub name: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// Phone number, as written.
    pub phone: Option<String>,
    /// Name of the company.
    pub company: Option<String>,
    /// Job title.
    pub title: Option<String>,
    /// The source's other fields: a JSON object.
    pub source_metadata: serde_json::Value,
    /// Labels, each once.
    pub tags: Vec<String>,
    /// Fields of the business's own: a JSON object.
    pub custom_fields: serde_json::Value,
    /// The campaign that it belongs to.
    pub campaign: Option<String>,
    /// How it stands to its source.
    pub sync_status: SyncStatus,
    /// When this version came from the source.
    pub last_synced_at: Timestamp,
    /// When it came first.
    pub created_at: Timestamp,
    /// When it last changed here.
    pub updated_at: Timestamp,
    /// The lead that it has become a part of.
    pub merged_into: Option<Uuid>,
    /// The source's stamp of this version.
    #[serde(skip)]
    pub(crate) source_stamp: Option<Timestamp>,
    /// Which fields are shown of which other lead.
    #[serde(skip)]
    pub(crate) merged_fields: Option<serde_json::Value>,
}

/// Which leads are meant; what is none of these is not asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeadFilter<'a> {
    /// Of this campaign.
    pub campaign: Option<&'a str>,
    /// From this kind of source.
    pub source_type: Option<SourceType>,
    /// With this text, in whatever case, within name, e-mail or company.
    pub text: Option<&'a str>,
}

impl Lead {
    /// What a search looks at: no search goes across its lines.
    pub(crate) fn search_text(&self) -> String {
        let name = match &self.name {
            Some(name) => name.to_lowercase(),
            None => {
                let names: Vec<&str> =
                    [&self.first_name, &self.last_name].into_iter().flatten().map(|n| &**n).collect();
                names.join(" ").to_lowercase()
            }
        };
        let other = |text: &Option<String>| text.as_deref().unwrap_or_default().to_lowercase();
        format!("{name}\n{}\n{}", other(&self.email), other(&self.company))
    }
}

/// A pattern of LIKE (with `ESCAPE '\'`) for text that holds this, of which no character is a wildcard.
fn containing(text: &str) -> String {
    let mut pattern = "%".to_owned();
    for c in text.to_lowercase().chars().take(SEARCHED) {
        if matches!(c, '\\' | '%' | '_') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern + "%"
}

impl Tenant {
    /// A page of the leads that a filter means, newest first: at most `limit`, from behind the cursor. One that has become
    /// a part of another is found as that one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn leads(
        &self,
        filter: &LeadFilter<'_>,
        cursor: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<Lead>, StoreError> {
        let mut sql = "SELECT * FROM leads WHERE business_id = $1 AND merged_into IS NULL".to_owned();
        let mut values: Vec<Value> = vec![self.business().into()];
        let mut also = |condition: &dyn Fn(usize) -> String, more: Vec<Value>| {
            sql.push_str(" AND ");
            sql.push_str(&condition(values.len() + 1));
            values.extend(more);
        };
        if let Some(campaign) = filter.campaign {
            also(&|n| format!("campaign = ${n}"), vec![campaign.into()]);
        }
        if let Some(source) = filter.source_type {
            also(&|n| format!("source_type = ${n}"), vec![source.name().into()]);
        }
        if let Some(text) = filter.text {
            // PostgreSQL takes no NUL, and no text has one.
            let pattern = containing(&text.replace('\0', "\n"));
            let like = |n: usize| format!("search_text LIKE ${n} ESCAPE '\\'");
            let part = |n: usize| {
                format!(
                    "SELECT merged_into FROM leads WHERE business_id = $1 AND merged_into IS NOT NULL AND {}",
                    like(n)
                )
            };
            also(&|n| format!("({} OR id IN ({}))", like(n), part(n)), vec![pattern.into()]);
        }
        if let Some(Cursor { at, id }) = cursor {
            also(&|n| format!("(created_at, id) < (${n}, ${})", n + 1), vec![at.into(), id.into()]);
        }
        sql.push_str(&format!(" ORDER BY created_at DESC, id DESC LIMIT ${}", values.len() + 1));
        values.push(i64::from(limit).saturating_add(1).into());
        let mut tx = self.read("listing the leads").await?;
        let rows = tx.query(sql).bind_all(values).all().await?;
        let leads = rows.iter().map(lead).collect::<Result<Vec<_>, _>>()?;
        let leads = duplicates::composed_leads(&mut tx, self.business(), leads).await?;
        Ok(Page::of(leads, limit, |lead| Cursor { at: lead.created_at, id: lead.id }))
    }

    /// One lead by its id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn lead(&self, id: Uuid) -> Result<Option<Lead>, StoreError> {
        let mut tx = self.read("reading a lead").await?;
        let row = tx
            .query("SELECT * FROM leads WHERE business_id = $1 AND id = $2")
            .bind(self.business())
            .bind(id)
            .optional()
            .await?;
        let lead = row.as_ref().map(lead).transpose()?;
        Ok(duplicates::composed_leads(&mut tx, self.business(), lead.into_iter().collect()).await?.pop())
    }

    /// One lead by where it came from; the one that it has become a part of, if it has.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn lead_of_source(&self, source_type: SourceType, source_id: &str) -> Result<Option<Lead>, StoreError> {
        let mut tx = self.read("looking for a lead").await?;
        let row = tx
            .query("SELECT id FROM leads WHERE business_id = $1 AND source_type = $2 AND source_id = $3")
            .bind(self.business())
            .bind(source_type.name())
            .bind(source_id)
            .optional()
            .await?;
        let Some(row) = row else { return Ok(None) };
        let id: Uuid = row.get("id")?;
        let standing = duplicates::roots(&mut tx, self.business(), Subject::Lead, &[id]).await?[&id];
        drop(tx);
        self.lead(standing).await
    }

    /// Which of these ids of a source are leads already, with the ids of the leads that stand for them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn leads_of_sources(
        &self,
        source_type: SourceType,
        source_ids: Vec<String>,
    ) -> Result<HashMap<String, Uuid>, StoreError> {
        let mut tx = self.read("looking for leads").await?;
        let rows = tx
            .query(
                "SELECT source_id, id FROM leads WHERE business_id = $1 AND source_type = $2 AND source_id = ANY($3)",
            )
            .bind(self.business())
            .bind(source_type.name())
            .bind(source_ids)
            .all()
            .await?;
        let ids: Vec<Uuid> = rows.iter().map(|row| row.get("id")).collect::<Result<_, _>>()?;
        let standing = duplicates::roots(&mut tx, self.business(), Subject::Lead, &ids).await?;
        rows.iter().map(|row| Ok((row.get("source_id")?, standing[&row.get::<Uuid>("id")?]))).collect()
    }

    /// How many leads there are, without those that have become parts of others.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_leads(&self) -> Result<i64, StoreError> {
        let mut tx = self.read("counting the leads").await?;
        // As contacts are counted: what is read are only the leads that have become parts of others.
        tx.query(
            "SELECT (SELECT count(*) FROM leads WHERE business_id = $1)
                  - (SELECT count(*) FROM leads WHERE business_id = $1 AND merged_into IS NOT NULL) AS n",
        )
        .bind(self.business())
        .value("n")
        .await
    }
}

pub(crate) fn lead(row: &Row) -> Result<Lead, StoreError> {
    Ok(Lead {
        id: row.get("id")?,
        integration_id: row.find("integration_id")?,
        // The tables take no other names.
        source_type: SourceType::from_name(&row.get::<String>("source_type")?).unwrap_or(SourceType::Manual),
        source_id: row.get("source_id")?,
        first_name: row.find("first_name")?,
        last_name: row.find("last_name")?,
        name: row.find("name")?,
        email: row.find("email")?,
        phone: row.find("phone")?,
        company: row.find("company")?,
        title: row.find("title")?,
        source_metadata: row.get("source_metadata")?,
        tags: tags(&row.get("tags")?),
        custom_fields: row.get("custom_fields")?,
        campaign: row.find("campaign")?,
        sync_status: SyncStatus::from_name(&row.get::<String>("sync_status")?),
        last_synced_at: row.get("last_synced_at")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
        merged_into: row.find("merged_into")?,
        source_stamp: row.find("source_stamp")?,
        merged_fields: row.find("merged_fields")?,
    })
}

/// A JSON array of texts.
pub(crate) fn tags(json: &serde_json::Value) -> Vec<String> {
    json.as_array().into_iter().flatten().filter_map(|tag| tag.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_of_a_search_is_a_wildcard() {
        assert_eq!(containing("100%_\\ Ä"), "%100\\%\\_\\\\ ä%");
        assert_eq!(containing(&"x".repeat(2_000)).len(), SEARCHED + 2);
    }

    #[test]
    fn each_source_has_the_name_that_the_tables_take() {
        for name in ["salesforce", "hubspot", "csv", "manual"] {
            assert_eq!(SourceType::from_name(name).unwrap().name(), name);
        }
        assert_eq!(SourceType::from_name("Salesforce"), None);
    }
}
