//! Redirects lead nowhere: a token goes to the host that it was made for, and what was asked there is not asked elsewhere.

use tieline_client::{ClientError, Connection};

use super::call::{ALL, Call};
use crate::server::{Answer, Server, credentials, quick};

#[tokio::test(flavor = "multi_thread")]
async fn no_redirect_is_followed_to_another_host_or_to_the_same() {
    let elsewhere = Server::start(|seen| Answer::json(200, &Call::Limits.good(seen, 0).1)).await;
    for call in ALL {
        for status in [300, 301, 302, 303, 307, 308] {
            let other = elsewhere.url.clone();
            for to in
                [format!("{other}/services/data"), "/services/data/v67.0/limits".to_owned(), other.replace("http:", "")]
            {
                let server = Server::start(move |_| Answer::new(status, &format!("location: {to}\r\n"), "")).await;
                let org = Connection::with(credentials(&server.url), quick()).unwrap();
                let error = call.run(&org).await.unwrap_err();
                assert!(
                    matches!(&error, ClientError::Refused(refusal) if refusal.status == status),
                    "{call:?} {error}"
                );
                assert!(!error.outcome_unknown(), "{call:?}: whoever sends the client away has done nothing");
                assert_eq!(server.seen().len(), 1, "{call:?} {status}");
            }
        }
    }
    assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
}
