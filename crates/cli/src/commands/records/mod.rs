//! `tieline get`, `create`, `update`, `upsert`, `delete`: single records, and many by collections.

mod change;
mod create;
mod delete;
mod fields;
mod get;
mod input;
mod outcome;
mod upsert;

pub(crate) use change::Update;
pub(crate) use create::Create;
pub(crate) use delete::Delete;
pub(crate) use fields::object;
pub(crate) use get::Get;
pub(crate) use input::text;
pub(crate) use upsert::Upsert;
