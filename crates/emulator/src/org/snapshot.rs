//! All records as the org truly has them, past SOQL, permissions and sharing.

use serde_json::json;

use super::Org;
use crate::api_error::ApiError;
use crate::schema::{Field, SObject};
use crate::soql::field_sql;
use crate::soql::plan::render_of;
use crate::soql::run::write_value;

impl Org {
    /// A line of JSON for each record, the deleted ones too, ordered by object and id; with `purged` also for those that
    /// are gone for good. What an open transaction has written is not there yet. No names: all objects.
    pub(crate) fn snapshot(&mut self, objects: &[String], purged: bool) -> Result<Vec<u8>, ApiError> {
        self.as_system(|org| {
            let mut wanted: Vec<&SObject> = Vec::new();
            for name in objects {
                wanted.push(org.object(name)?);
            }
            if objects.is_empty() {
                wanted.extend(org.schema.objects());
            }
            let mut out = Vec::new();
            for object in wanted {
                org.write_records(object, &mut out)?;
                for row in org.purged.iter().filter(|row| purged && row.object == object.name) {
                    let line = json!({
                        "attributes": {"type": row.object, "purged": true}, "Id": row.id, "deletedDate": row.at,
                    });
                    out.extend(line.to_string().into_bytes());
                    out.push(b'\n');
                }
            }
            Ok(out)
        })
    }

    fn write_records(&self, object: &SObject, out: &mut Vec<u8>) -> Result<(), ApiError> {
        let fields: Vec<&Field> = object.fields.iter().collect();
        let columns: Vec<String> = fields.iter().map(|field| field_sql("t0", object, field)).collect();
        let sql = format!("SELECT {} FROM main.\"{}\" t0 ORDER BY t0.\"Id\"", columns.join(", "), object.name);
        let mut statement = self.db.prepare_cached(&sql)?;
        let mut rows = statement.query([])?;
        let begin = format!(r#"{{"attributes":{{"type":"{}"}}"#, object.name);
        while let Some(row) = rows.next()? {
            out.extend(begin.as_bytes());
            for (at, field) in fields.iter().enumerate() {
                out.extend(format!(",\"{}\":", field.name).as_bytes());
                write_value(out, row.get_ref(at)?, render_of(&field.kind));
            }
            out.extend(b"}\n");
        }
        Ok(())
    }
}
