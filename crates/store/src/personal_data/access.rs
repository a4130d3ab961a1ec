//! All that is kept of a person, for them to have.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Person, TEXTS, find, folded, naming, objects};
use crate::audit::Action;
use crate::error::StoreError;
use crate::export::as_json;
use crate::open::Tenant;

/// What is kept of a person: each row as an export has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PersonData {
    /// Contacts, tombstones included.
    pub contacts: Vec<Value>,
    /// Leads.
    pub leads: Vec<Value>,
    /// Rows of imports.
    pub import_rows: Vec<Value>,
    /// Lines of the integrations' log that name the person.
    pub logs: Vec<Value>,
    /// Open invitations to the address.
    pub invitations: Vec<Value>,
    /// Records of mappings: `{"table": …, "row": {…}}`.
    pub objects: Vec<Value>,
}

impl PersonData {
    fn counts(&self) -> Value {
        json!({
            "contacts": self.contacts.len(), "leads": self.leads.len(), "import_rows": self.import_rows.len(),
            "logs": self.logs.len(), "invitations": self.invitations.len(), "objects": self.objects.len(),
        })
    }
}

impl Tenant {
    /// Reads all that is kept of a person. That it was read stands in the audit log; whose it was does not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn person_data(&self, person: &Person<'_>, now: Timestamp) -> Result<PersonData, StoreError> {
        let mut tx = self.write("reading what is kept of a person").await?;
        let tables = objects::tables(&mut tx, self.business()).await?;
        let found = find(&mut tx, self.business(), person, &tables).await?;
        let mut data = PersonData::default();
        for (table, rows) in &found.objects {
            data.objects.extend(rows.iter().map(|row| json!({"table": table, "row": row})));
        }
        for (table, ids, into) in
            [("contacts", &found.contacts, &mut data.contacts), ("leads", &found.leads, &mut data.leads)]
        {
            let rows = tx
                .query(format!("SELECT * FROM {table} WHERE business_id = $1 AND id = ANY($2) ORDER BY id"))
                .bind(self.business())
                .bind(ids.clone())
                .all()
                .await?;
            into.extend(rows.iter().map(|row| as_json(table, row)).collect::<Result<Vec<_>, _>>()?);
        }
        let rows = tx
            .query(
                "SELECT * FROM import_rows WHERE business_id = $1 AND (source_id = ANY($2) OR lead_id = ANY($3))
                 ORDER BY import_id, position",
            )
            .bind(self.business())
            .bind(found.imported())
            .bind(found.leads.clone())
            .all()
            .await?;
        data.import_rows = rows.iter().map(|row| as_json("import_rows", row)).collect::<Result<_, _>>()?;
        let texts: Vec<&String> = found.texts.iter().collect();
        for texts in texts.chunks(TEXTS) {
            let (conditions, values) = naming(&["message", "detail"], texts);
            let rows = tx
                .query(format!(
                    "SELECT * FROM integration_logs WHERE business_id = $1 AND ({conditions}) ORDER BY at, id"
                ))
                .bind(self.business())
                .bind_all(values)
                .all()
                .await?;
            for row in &rows {
                let line = as_json("integration_logs", row)?;
                // Another of the person's names may have led to it already.
                if !data.logs.contains(&line) {
                    data.logs.push(line);
                }
            }
        }
        if let Person::Email(email) = person {
            let rows = tx
                .query("SELECT * FROM invitations WHERE business_id = $1 AND email = $2")
                .bind(self.business())
                .bind(folded(email))
                .all()
                .await?;
            data.invitations = rows.iter().map(|row| as_json("invitations", row)).collect::<Result<_, _>>()?;
        }
        self.note(&mut tx, Action::ContactRead, None, data.counts(), now).await?;
        tx.commit().await?;
        Ok(data)
    }
}
