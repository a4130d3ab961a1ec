//! Pairs as they are listed, and one with both rows side by side.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value as Json;
use uuid::Uuid;

use super::merged::taken_fields;
use super::{Duplicate, DuplicateState, FIELDS, Subject};
use crate::error::StoreError;
use crate::leads::{SourceType, tags};
use crate::open::Tenant;
use crate::pages::{Cursor, Page};
use crate::sql::{Row, Tx, Value};

/// Pairs that are told of one row. A value that more rows share makes none.
const MOST_OF_ONE: u32 = 50;

/// Which pairs are meant; what is none of these is not asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct DuplicateFilter<'a> {
    /// That stand so.
    pub state: Option<DuplicateState>,
    /// That the rule of this name has found.
    pub rule: Option<&'a str>,
}

/// One row of a pair.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    /// UUID.
    pub id: Uuid,
    /// The integration that brought it; none once that is gone.
    pub integration_id: Option<Uuid>,
    /// Where it came from.
    pub source_type: SourceType,
    /// The source's id.
    pub source_id: String,
    /// Its [`FIELDS`], in their order, as they are shown.
    pub fields: [Option<String>; FIELDS.len()],
    /// The row that it has become a part of.
    pub merged_into: Option<Uuid>,
    /// When this version came from the source.
    pub last_synced_at: Timestamp,
    /// When it came first.
    pub created_at: Timestamp,
}

/// A pair with both rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DuplicatePair {
    /// The pair.
    pub duplicate: Duplicate,
    /// Its rows, in its order.
    pub sides: [Side; 2],
    /// The fields in which they differ.
    pub differing: Vec<&'static str>,
}

impl Tenant {
    /// A page of pairs, newest first: at most `limit`, from behind the cursor.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn duplicates(
        &self,
        filter: &DuplicateFilter<'_>,
        cursor: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<Duplicate>, StoreError> {
        let mut sql = "SELECT * FROM duplicates WHERE business_id = $1".to_owned();
        let mut values: Vec<Value> = vec![self.business().into(), i64::from(limit).saturating_add(1).into()];
        for (column, value) in [("state", filter.state.map(DuplicateState::name)), ("rule", filter.rule)] {
            if let Some(value) = value {
                // PostgreSQL takes no NUL, and no name has one.
                values.push(value.replace('\0', "\n").into());
                sql.push_str(&format!(" AND {column} = ${}", values.len()));
            }
        }
        if let Some(Cursor { at, id }) = cursor {
            sql.push_str(&format!(" AND (created_at, id) < (${}, ${})", values.len() + 1, values.len() + 2));
            values.extend::<[Value; 2]>([at.into(), id.into()]);
        }
        sql.push_str(" ORDER BY created_at DESC, id DESC LIMIT $2");
        let mut tx = self.read("listing the duplicates").await?;
        let rows = tx.query(sql).bind_all(values).all().await?;
        let pairs = rows.iter().map(duplicate).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(pairs, limit, |pair| Cursor { at: pair.created_at, id: pair.id }))
    }

    /// One pair with both rows.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn duplicate(&self, id: Uuid) -> Result<Option<DuplicatePair>, StoreError> {
        let mut tx = self.snapshot("reading a duplicate").await?;
        let row = tx
            .query("SELECT * FROM duplicates WHERE business_id = $1 AND id = $2")
            .bind(self.business())
            .bind(id)
            .optional()
            .await?;
        let Some(duplicate) = row.as_ref().map(duplicate).transpose()? else { return Ok(None) };
        let mut sides = Vec::new();
        for id in duplicate.rows {
            sides.extend(self.side(&mut tx, duplicate.subject, id).await?);
        }
        // A row takes its pairs along.
        let Ok(sides) = <[Side; 2]>::try_from(sides) else { return Ok(None) };
        let differs = |n: &usize| sides[0].fields[*n] != sides[1].fields[*n];
        let differing = (0..FIELDS.len()).filter(differs).map(|n| FIELDS[n]).collect();
        Ok(Some(DuplicatePair { duplicate, sides, differing }))
    }

    /// The pairs that a row is one of, newest first, the newest few.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn duplicates_of(&self, subject: Subject, row: Uuid) -> Result<Vec<Duplicate>, StoreError> {
        let half = |side: char| {
            let kind = subject.name();
            format!("SELECT * FROM duplicates WHERE business_id = $1 AND {kind}_{side} = $2")
        };
        let mut tx = self.read("listing the duplicates of a row").await?;
        // Each by an index of its own.
        let rows = tx.query(format!("{} UNION ALL {} LIMIT $3", half('a'), half('b')));
        let rows = rows.bind(self.business()).bind(row).bind(MOST_OF_ONE).all().await?;
        let mut pairs = rows.iter().map(duplicate).collect::<Result<Vec<_>, _>>()?;
        pairs.sort_by_key(|pair| std::cmp::Reverse((pair.created_at, pair.id)));
        Ok(pairs)
    }

    async fn side(&self, tx: &mut Tx, subject: Subject, id: Uuid) -> Result<Option<Side>, StoreError> {
        let sql = format!("SELECT * FROM {} WHERE business_id = $1 AND id = $2", subject.table());
        let Some(row) = tx.query(sql).bind(self.business()).bind(id).optional().await? else {
            return Ok(None);
        };
        let mut fields = <[Option<String>; FIELDS.len()]>::default();
        let mut taken = taken_fields(tx, self.business(), subject, &row).await?;
        for (n, name) in FIELDS.iter().enumerate() {
            fields[n] = match taken.remove(*name) {
                Some(field) => field,
                None => row.find(name)?,
            };
        }
        Ok(Some(Side {
            id,
            integration_id: row.find("integration_id")?,
            // The tables take no other names.
            source_type: SourceType::from_name(&row.get::<String>("source_type")?).unwrap_or(SourceType::Manual),
            source_id: row.get("source_id")?,
            fields,
            merged_into: row.find("merged_into")?,
            last_synced_at: row.get("last_synced_at")?,
            created_at: row.get("created_at")?,
        }))
    }
}

pub(super) fn duplicate(row: &Row) -> Result<Duplicate, StoreError> {
    let contacts: Option<Uuid> = row.find("contact_a")?;
    let (subject, rows) = match contacts {
        Some(a) => (Subject::Contact, [a, row.get("contact_b")?]),
        None => (Subject::Lead, [row.get("lead_a")?, row.get("lead_b")?]),
    };
    // Of each key its kind; a digest has no colon.
    let kind = |key: String| key.rsplit_once(':').map(|(kind, _)| kind.to_owned()).unwrap_or(key);
    let mut agreed: Vec<String> = tags(&row.get("agreed")?).into_iter().map(kind).collect();
    agreed.dedup();
    Ok(Duplicate {
        id: row.get("id")?,
        subject,
        rows,
        rule: row.get("rule")?,
        agreed,
        state: DuplicateState::from_name(&row.get::<String>("state")?),
        kept_id: row.find("kept_id")?,
        merged_id: row.find("merged_id")?,
        fields: row.find::<Json>("fields")?.as_ref().map(tags).unwrap_or_default(),
        cause: row.find("cause")?,
        decided_by: row.find("decided_by")?,
        decided_at: row.find("decided_at")?,
        created_at: row.get("created_at")?,
    })
}
