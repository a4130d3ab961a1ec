//! What a caller sends: small bodies whole, so that the call can be repeated; others as they come.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::StatusCode;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use tieline_client::Once;

use crate::problem::Problem;

/// Bodies up to this are kept until the call has succeeded.
pub(super) const KEPT: usize = 1024 * 1024;
/// Largest body. Source: Bulk API 2.0 takes 150 MB a job, once it is encoded in base64.
pub(super) const LARGEST: u64 = 150_000_000;
/// For how long a caller may be silent in the middle of a body.
const SILENCE: Duration = Duration::from_secs(60);

/// A caller's body.
pub(super) enum Upload {
    Nothing,
    Kept(Bytes),
    Passing { once: Once, fault: Fault },
}

/// Why a body broke off that was being passed on, as far as it is the caller's doing.
#[derive(Clone, Default)]
pub(super) struct Fault(Arc<OnceLock<Why>>);

#[derive(Debug, Clone, Copy)]
enum Why {
    TooLarge,
    Silent,
    BrokenOff,
}

impl Fault {
    fn set(&self, why: Why) -> std::io::Error {
        std::io::Error::other(format!("{:?}", self.0.get_or_init(|| why)))
    }

    /// The problem, if there was one.
    pub(super) fn problem(&self) -> Option<Problem> {
        self.0.get().map(|why| why.problem())
    }
}

impl Why {
    fn problem(self) -> Problem {
        let hint = "send data for Bulk API jobs in several jobs";
        match self {
            Why::TooLarge => Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                format!("the body is longer than {LARGEST} bytes"),
                hint,
            ),
            Why::Silent => Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "body_timeout",
                format!("nothing of the body came for {SILENCE:?}"),
                "send it without pauses; the org has got no whole request",
            ),
            Why::BrokenOff => Problem::invalid("the body broke off", "send it again"),
        }
    }
}

impl Upload {
    /// Takes a body.
    ///
    /// # Errors
    /// 413, 408 and 400, each before the org has seen anything.
    pub(super) async fn take(body: Body) -> Result<Self, Problem> {
        let length = body.size_hint().exact();
        if length.is_some_and(|length| length > LARGEST) {
            return Err(Why::TooLarge.problem());
        }
        let fault = Fault::default();
        let mut pieces = Box::pin(watched(body, fault.clone()));
        let mut first = BytesMut::new();
        // What is told to be long is passed on from its first byte on.
        while length.is_none_or(|length| length <= KEPT as u64) && first.len() <= KEPT {
            let piece = pieces.next().await.transpose();
            match piece.map_err(|_| fault.problem().unwrap_or_else(|| Why::BrokenOff.problem()))? {
                Some(piece) => first.extend_from_slice(&piece),
                None if first.is_empty() => return Ok(Self::Nothing),
                None => return Ok(Self::Kept(first.freeze())),
            }
        }
        let head = (!first.is_empty()).then(|| Ok(first.freeze()));
        let once = Once::new(stream::iter(head).chain(pieces), length);
        Ok(Self::Passing { once, fault })
    }
}

/// The body's pieces, counted, each awaited for so long and no longer.
fn watched(body: Body, fault: Fault) -> impl stream::Stream<Item = Result<Bytes, std::io::Error>> + Send {
    stream::try_unfold((body.into_data_stream(), 0_u64, fault), async |(mut pieces, taken, fault)| {
        let piece = match tokio::time::timeout(SILENCE, pieces.try_next()).await {
            Err(_) => return Err(fault.set(Why::Silent)),
            Ok(Err(_)) => return Err(fault.set(Why::BrokenOff)),
            Ok(Ok(None)) => return Ok(None),
            Ok(Ok(Some(piece))) => piece,
        };
        let taken = taken + piece.len() as u64;
        if taken > LARGEST {
            return Err(fault.set(Why::TooLarge));
        }
        Ok(Some((piece, (pieces, taken, fault))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(count: usize, size: usize) -> Body {
        let piece = Bytes::from(vec![b'a'; size]);
        Body::from_stream(stream::iter((0..count).map(move |_| Ok::<_, std::io::Error>(piece.clone()))))
    }

    #[tokio::test]
    async fn small_bodies_are_kept_and_large_ones_pass() {
        assert!(matches!(Upload::take(Body::empty()).await.unwrap(), Upload::Nothing));
        assert!(matches!(Upload::take(pieces(16, 65_536)).await.unwrap(), Upload::Kept(all) if all.len() == KEPT));
        let Upload::Passing { once, fault } = Upload::take(pieces(40, 65_536)).await.unwrap() else { panic!() };
        let all: Vec<Bytes> = once.try_collect().await.unwrap();
        assert_eq!(all.iter().map(Bytes::len).sum::<usize>(), 40 * 65_536);
        assert!(fault.problem().is_none());
        let Upload::Passing { once, fault } = Upload::take(pieces(151, 1_000_000)).await.unwrap() else { panic!() };
        assert!(once.try_fold(0, async |all, piece| Ok(all + piece.len())).await.is_err());
        assert_eq!(fault.problem().unwrap().status(), 413);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_falls_silent_is_not_waited_for() {
        let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(Upload::take(body).await.err().unwrap().status(), 408);
    }
}
