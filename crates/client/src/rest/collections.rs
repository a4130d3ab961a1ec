//! Many records in few calls: sObject collections, in pieces of 200, in order.

use std::collections::VecDeque;

use futures_util::{Stream, StreamExt, stream};
use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::sobject::{SaveResult, segment};
use crate::connection::Connection;
use crate::error::ClientError;
use crate::request::Request;

/// Records in one call. Source: REST API Developer Guide, "sObject Collections".
pub const COLLECTION: usize = 200;
/// Records in one call that reads; the same source.
const READ_AT_ONCE: usize = 2_000;

/// What a record that fails means for those that were sent with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AllOrNone {
    /// Nothing: each is written or not.
    #[default]
    Each,
    /// None of the same 200 is written. Those before are, and those after will be: a transaction does not go beyond one
    /// call.
    PerCall,
}

/// What one call of a collection does.
#[derive(Debug, Clone)]
enum Kind {
    Create,
    Update,
    Upsert { object: String, field: String },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    all_or_none: bool,
    records: &'a [Map<String, Value>],
}

impl Connection {
    /// Creates any number of records of one object and answers what became of each, in order. A stream: 200 are taken from
    /// `records` and sent when their first result is asked for.
    ///
    /// ```no_run
    /// # async fn example(org: tieline_client::Connection) -> Result<(), tieline_client::ClientError> {
    /// use futures_util::TryStreamExt;
    /// use tieline_client::AllOrNone;
    ///
    /// let people = (0..1_000).map(|n| serde_json::json!({"LastName": format!("Person {n}")}));
    /// let mut results = std::pin::pin!(org.create_many("Contact", people, AllOrNone::Each));
    /// while let Some(result) = results.try_next().await? {
    ///     println!("{:?} {:?}", result.id, result.errors);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Items are as [`Connection::send`]; nothing follows an error. When an answer was lost, the error says that the
    /// outcome is unknown: that of the 200 records which follow the last result. They are not sent again.
    pub fn create_many<R: Serialize>(
        &self,
        object: &str,
        records: impl IntoIterator<Item = R, IntoIter: Send> + Send,
        all_or_none: AllOrNone,
    ) -> impl Stream<Item = Result<SaveResult, ClientError>> + Send {
        self.write_many(Kind::Create, object, records, all_or_none)
    }

    /// Changes any number of records of one object; each has its `Id` among its fields. Otherwise as
    /// [`Connection::create_many`], and repeated after a lost answer.
    pub fn update_many<R: Serialize>(
        &self,
        object: &str,
        records: impl IntoIterator<Item = R, IntoIter: Send> + Send,
        all_or_none: AllOrNone,
    ) -> impl Stream<Item = Result<SaveResult, ClientError>> + Send {
        self.write_many(Kind::Update, object, records, all_or_none)
    }

    /// Creates or changes any number of records of one object by an external id, which each has among its fields. Otherwise
    /// as [`Connection::create_many`], and repeated after a lost answer: a record that the first attempt created is then
    /// told as changed. By the field `Id` records without one are created, and so nothing is repeated.
    pub fn upsert_many<R: Serialize>(
        &self,
        object: &str,
        field: &str,
        records: impl IntoIterator<Item = R, IntoIter: Send> + Send,
        all_or_none: AllOrNone,
    ) -> impl Stream<Item = Result<SaveResult, ClientError>> + Send {
        let kind = Kind::Upsert { object: object.to_owned(), field: field.to_owned() };
        self.write_many(kind, object, records, all_or_none)
    }

    fn write_many<R: Serialize>(
        &self,
        kind: Kind,
        object: &str,
        records: impl IntoIterator<Item = R, IntoIter: Send> + Send,
        all_or_none: AllOrNone,
    ) -> impl Stream<Item = Result<SaveResult, ClientError>> + Send {
        let (connection, object) = (self.clone(), object.to_owned());
        let records = records.into_iter().map(move |record| {
            let mut written = Map::from_iter([("attributes".to_owned(), serde_json::json!({"type": &object}))]);
            match serde_json::to_value(&record) {
                Ok(Value::Object(fields)) => {
                    // Records that were read have attributes too: of the version and of one id.
                    written.extend(fields.into_iter().filter(|(key, _)| key != "attributes"));
                    Ok(written)
                }
                Ok(_) => Err("a record must be an object with fields".to_owned()),
                Err(error) => Err(format!("a record cannot be written as JSON: {error}")),
            }
        });
        in_pieces(
            records,
            COLLECTION,
            move |piece| {
                let (connection, kind) = (connection.clone(), kind.clone());
                async move { connection.write_piece(&kind, &piece, all_or_none).await }
            },
            self.org(),
        )
    }

    async fn write_piece(
        &self,
        kind: &Kind,
        records: &[Map<String, Value>],
        all_or_none: AllOrNone,
    ) -> Result<Vec<SaveResult>, ClientError> {
        let body = Body { all_or_none: all_or_none == AllOrNone::PerCall, records };
        let (method, path) = match kind {
            Kind::Create => (Method::POST, "composite/sobjects".to_owned()),
            Kind::Update => (Method::PATCH, "composite/sobjects".to_owned()),
            Kind::Upsert { object, field } => {
                (Method::PATCH, format!("composite/sobjects/{}/{}", segment(object), segment(field)))
            }
        };
        // By `Id`, a record without one is created, and a second time created again.
        let by_id = matches!(kind, Kind::Upsert { field, .. } if field.eq_ignore_ascii_case("Id"));
        let request = self.json(method, &path, &body)?;
        let request = if by_id { request.repeatable(false) } else { request };
        let results: Vec<SaveResult> = self.send_json(&request).await?;
        self.one_for_each(&request, records.len(), results)
    }

    /// A result too few or too many, and nobody knows which is whose.
    fn one_for_each<T>(&self, request: &Request, sent: usize, results: Vec<T>) -> Result<Vec<T>, ClientError> {
        if results.len() == sent {
            return Ok(results);
        }
        Err(self.unreadable_answer(request, &format!("it holds {} results for {sent} records", results.len())))
    }

    /// Moves any number of records to the recycle bin, of any objects.
    ///
    /// # Errors
    /// As [`Connection::create_many`]. Repeated after a lost answer; a record that the first attempt deleted is told as a
    /// success then.
    pub fn delete_many(
        &self,
        ids: impl IntoIterator<Item = String, IntoIter: Send> + Send,
        all_or_none: AllOrNone,
    ) -> impl Stream<Item = Result<SaveResult, ClientError>> + Send {
        let connection = self.clone();
        let ids = ids.into_iter().map(Ok);
        in_pieces(
            ids,
            COLLECTION,
            move |piece: Vec<String>| {
                let connection = connection.clone();
                async move { connection.delete_piece(&piece, all_or_none).await }
            },
            self.org(),
        )
    }

    async fn delete_piece(&self, ids: &[String], all_or_none: AllOrNone) -> Result<Vec<SaveResult>, ClientError> {
        let listed = segment(&ids.join(","));
        let all = all_or_none == AllOrNone::PerCall;
        let request =
            Request::new(Method::DELETE, self.data_path(&format!("composite/sobjects?ids={listed}&allOrNone={all}")));
        let results = match self.send_json::<Vec<SaveResult>>(&request.clone().repeatable(false)).await {
            Err(error) if error.outcome_unknown() => {
                let mut results: Vec<SaveResult> = self.send_json(&request).await?;
                for (result, id) in results.iter_mut().zip(ids) {
                    if result.errors.iter().any(|error| error.code == "ENTITY_IS_DELETED") {
                        let done = SaveResult {
                            id: Some(id.clone()),
                            success: true,
                            errors: Vec::new(),
                            created: None,
                            more: Map::new(),
                        };
                        *result = done;
                    }
                }
                results
            }
            other => other?,
        };
        self.one_for_each(&request, ids.len(), results)
    }

    /// Reads fields of any number of records by their ids, in order; `None` for one that is not there.
    ///
    /// # Errors
    /// As [`Connection::create_many`].
    pub fn read_many<T: DeserializeOwned + Send + 'static>(
        &self,
        object: &str,
        ids: impl IntoIterator<Item = String, IntoIter: Send> + Send,
        fields: &[&str],
    ) -> impl Stream<Item = Result<Option<T>, ClientError>> + Send {
        let connection = self.clone();
        let object = segment(object);
        let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
        in_pieces(
            ids.into_iter().map(Ok),
            READ_AT_ONCE,
            move |piece: Vec<String>| {
                let (connection, object, fields) = (connection.clone(), object.clone(), fields.clone());
                async move {
                    let body = serde_json::json!({"ids": piece, "fields": fields});
                    let request =
                        connection.json(Method::POST, &format!("composite/sobjects/{object}"), &body)?.reading();
                    let records: Vec<Option<T>> = connection.send_json(&request).await?;
                    connection.one_for_each(&request, piece.len(), records)
                }
            },
            self.org(),
        )
    }
}

/// Takes so many at a time, lets `send` send them, and answers one result after the other.
fn in_pieces<I, T, F>(
    items: impl Iterator<Item = Result<I, String>> + Send,
    size: usize,
    send: impl Fn(Vec<I>) -> F + Send,
    org: &str,
) -> impl Stream<Item = Result<T, ClientError>> + Send
where
    I: Send,
    T: Send,
    F: Future<Output = Result<Vec<T>, ClientError>> + Send,
{
    struct State<I, T, S> {
        items: Option<I>,
        send: S,
        ready: VecDeque<T>,
        /// Found while a piece was put together; told once the records before it were sent.
        failed: Option<String>,
        org: String,
    }
    let state = State { items: Some(items), send, ready: VecDeque::new(), failed: None, org: org.to_owned() };
    stream::unfold(state, move |mut state| async move {
        loop {
            if let Some(result) = state.ready.pop_front() {
                return Some((Ok(result), state));
            }
            if let Some(reason) = state.failed.take() {
                let org = state.org.clone();
                return Some((Err(ClientError::Input { org, reason }), state));
            }
            let mut piece = Vec::new();
            for item in state.items.as_mut()?.by_ref().take(size) {
                match item {
                    Ok(item) => piece.push(item),
                    Err(reason) => {
                        state.failed = Some(reason);
                        break;
                    }
                }
            }
            if piece.len() < size {
                state.items = None;
            }
            if piece.is_empty() && state.failed.is_none() {
                return None;
            }
            if piece.is_empty() {
                continue;
            }
            match (state.send)(piece).await {
                Ok(results) => state.ready = results.into(),
                Err(error) => {
                    state.items = None;
                    state.failed = None;
                    return Some((Err(error), state));
                }
            }
        }
    })
    .fuse()
}
