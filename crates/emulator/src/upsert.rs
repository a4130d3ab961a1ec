//! A record by one of its external ids: changed if there is one, made if there is none.

use serde_json::{Map, Value};

use crate::api_error::ApiError;
use crate::org::Org;

pub(crate) struct Upserted {
    pub(crate) id: String,
    pub(crate) created: bool,
}

/// Writes `body` to the record whose `field` is `key`. The field may stand in the body too.
pub(crate) fn upsert(
    org: &mut Org,
    object: &str,
    field: &str,
    key: &str,
    body: &Map<String, Value>,
    user_id: &str,
) -> Result<Upserted, ApiError> {
    let described = org.object(object)?;
    let field = described.field(field).filter(|f| f.external_id || f.id_lookup).ok_or_else(|| {
        let message = format!("Provided external ID field does not exist or is not accessible: {field}");
        ApiError::new(404, "NOT_FOUND", message)
    })?;
    let name = field.name.clone();
    let alive = if described.field("IsDeleted").is_some() { " AND \"IsDeleted\" = 0" } else { "" };
    // Two are enough to know that it is not one; five to name some.
    let sql = format!("SELECT \"Id\" FROM \"{}\" WHERE \"{name}\" = ?{alive} LIMIT 5", described.name);
    let mut found: Vec<String> = {
        let mut statement = org.db.prepare_cached(&sql)?;
        let ids = statement.query_map([key], |row| row.get(0))?;
        ids.collect::<Result<_, _>>()?
    };
    let mut body = body.clone();
    body.retain(|key, _| !key.eq_ignore_ascii_case(&name));
    match (found.pop(), found.is_empty()) {
        (Some(id), true) => {
            org.update(object, &id, &body, user_id)?;
            Ok(Upserted { id, created: false })
        }
        (Some(last), false) => {
            found.push(last);
            let message = format!("{name}: more than one record found for external id field: [{}]", found.join(", "));
            Err(ApiError::bad("DUPLICATE_EXTERNAL_ID", message).on_fields(&[&name]))
        }
        (None, _) => {
            body.insert(name, Value::String(key.to_owned()));
            Ok(Upserted { id: org.create(object, &body, user_id, false)?, created: true })
        }
    }
}
