//! What a gRPC status means to the caller.

use prost::Message;
use tonic::{Code, Status};

use super::Ask;
use crate::error::{DataCloudError, QueryRefused, Refusal};
use crate::proto::{ErrorInfo, RpcStatus};

/// An error for a status that stays. With Hyper's own details it is about the statement.
pub(crate) fn refused(org: &str, ask: &Ask<'_>, status: &Status) -> DataCloudError {
    let info = RpcStatus::decode(status.details()).ok().and_then(|details| {
        let any = details.details.into_iter().find(|any| any.type_url.ends_with("hyperdb.grpc.v1.ErrorInfo"))?;
        ErrorInfo::decode(&*any.value).ok()
    });
    let Some(info) = info else {
        let code = status.code();
        let (hint, passing, needs_person) = meaning(code);
        return DataCloudError::Refused(Box::new(Refusal {
            org: org.to_owned(),
            what: ask.what.to_owned(),
            code: name(code).to_owned(),
            message: if status.message().is_empty() { "no reason" } else { status.message() }.to_owned(),
            hint,
            passing,
            needs_person,
        }));
    };
    let some = |text: String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let source = status.metadata().get("x-hyperdb-error-source").and_then(|value| value.to_str().ok());
    let by_user = match source {
        Some(source) => source == "user",
        None if !info.error_source.is_empty() => info.error_source.eq_ignore_ascii_case("user"),
        // By the codes that blame the caller.
        None => matches!(status.code(), Code::InvalidArgument | Code::FailedPrecondition | Code::NotFound),
    };
    DataCloudError::Query(Box::new(QueryRefused {
        org: org.to_owned(),
        what: ask.what.to_owned(),
        message: if info.primary_message.is_empty() { status.message().to_owned() } else { info.primary_message },
        sqlstate: info.sqlstate,
        suggestion: some(info.customer_hint),
        // The place once more, drawn by the server.
        detail: some(info.customer_detail).filter(|detail| !detail.starts_with("line ")),
        position: info
            .position
            .map(|at| at.error_begin_character_offset as usize..at.error_end_character_offset as usize),
        by_user,
        sql: ask.sql.to_owned(),
    }))
}

/// The next act; whether it passes by itself; whether it needs a person.
fn meaning(code: Code) -> (&'static str, bool, bool) {
    match code {
        Code::Unauthenticated => {
            ("Data Cloud refuses even a fresh token: check that the user may use this data space", false, true)
        }
        Code::PermissionDenied => {
            ("see that the app has the scope cdp_query_api, and the user access to the data space", false, true)
        }
        Code::NotFound => ("the query's result may have expired: run the query again", false, false),
        Code::ResourceExhausted => ("try again later; many queries may be running", true, false),
        Code::Aborted | Code::Internal => ("try again; if it stays, ask Salesforce with the query's id", true, false),
        _ => ("see docs/datacloud.md", false, false),
    }
}

/// As gRPC's documentation writes it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
