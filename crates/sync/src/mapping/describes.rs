//! The describes that a definition is held against: the object's, and those of the parents whose fields it names.

use std::collections::BTreeMap;
use std::sync::Arc;

use tieline_client::rest::describe::{Describe, FieldDescribe};
use tieline_client::{ClientError, Connection};

use super::definition::Definition;

/// Describes by the names of their objects.
#[derive(Debug, Clone, Default)]
pub struct Describes {
    objects: BTreeMap<String, Arc<Describe>>,
    /// Names of the org's objects, where one was asked for that it does not have.
    known: Vec<String>,
}

impl FromIterator<Arc<Describe>> for Describes {
    fn from_iter<I: IntoIterator<Item = Arc<Describe>>>(describes: I) -> Self {
        let keyed = |describe: Arc<Describe>| (describe.name.to_ascii_lowercase(), describe);
        Self { objects: describes.into_iter().map(keyed).collect(), known: Vec::new() }
    }
}

impl FromIterator<Describe> for Describes {
    fn from_iter<I: IntoIterator<Item = Describe>>(describes: I) -> Self {
        describes.into_iter().map(Arc::new).collect()
    }
}

impl Describes {
    /// An object's, by its name in any case.
    pub fn get(&self, object: &str) -> Option<&Arc<Describe>> {
        self.objects.get(&object.to_ascii_lowercase())
    }

    /// All of them.
    pub fn objects(&self) -> impl Iterator<Item = &Arc<Describe>> {
        self.objects.values()
    }

    /// Names of objects that there are, as far as they are known.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let described = self.objects.values().map(|describe| describe.name.as_str());
        self.known.iter().map(String::as_str).chain(described)
    }

    /// Asks the org for those that a definition needs. They are remembered for an hour, as
    /// [`Connection::describe`] does it.
    ///
    /// # Errors
    /// As [`Connection::describe`]; an object that the org does not have is no error here, but for
    /// [`Plan::new`](super::Plan::new).
    pub async fn load(connection: &Connection, definition: &Definition) -> Result<Self, ClientError> {
        Self::ask(connection, definition, false).await
    }

    /// The same as they are now: the org is asked for each whether it has changed.
    ///
    /// # Errors
    /// As [`Describes::load`].
    pub async fn load_now(connection: &Connection, definition: &Definition) -> Result<Self, ClientError> {
        Self::ask(connection, definition, true).await
    }

    async fn ask(connection: &Connection, definition: &Definition, now: bool) -> Result<Self, ClientError> {
        let mut this = Self::default();
        if !this.learn(connection, &definition.object, now).await? {
            let all = connection.describe_global().await?;
            this.known = all.iter().map(|object| object.name.clone()).collect();
            return Ok(this);
        }
        for path in definition.paths().chain(definition.refresh.iter().cloned()) {
            let mut object = definition.object.clone();
            let mut relationships: Vec<&str> = path.split('.').collect();
            relationships.pop();
            for relationship in relationships {
                let Some(parent) = this.get(&object).and_then(|describe| only_parent(describe, relationship)) else {
                    break;
                };
                if !this.learn(connection, &parent, now).await? {
                    break;
                }
                object = parent;
            }
        }
        Ok(this)
    }

    /// False if the org has no such object, or the user may not see it.
    async fn learn(&mut self, connection: &Connection, object: &str, now: bool) -> Result<bool, ClientError> {
        if self.get(object).is_some() {
            return Ok(true);
        }
        let asked = if now { connection.describe_now(object).await } else { connection.describe(object).await };
        match asked {
            Ok(describe) => {
                self.objects.insert(object.to_ascii_lowercase(), describe);
                Ok(true)
            }
            Err(error) if error.salesforce_code() == Some("NOT_FOUND") => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The field by which a relationship goes.
pub(super) fn reference<'d>(describe: &'d Describe, relationship: &str) -> Option<&'d FieldDescribe> {
    let named = |field: &&FieldDescribe| {
        field.relationship_name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(relationship))
    };
    describe.fields.iter().find(named)
}

/// The object that a relationship leads to, if it is one.
fn only_parent(describe: &Describe, relationship: &str) -> Option<String> {
    match reference(describe, relationship)?.reference_to.as_slice() {
        [object] => Some(object.clone()),
        _ => None,
    }
}
