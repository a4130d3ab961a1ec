//! Answers that break off, that are not what they say, or that come from somebody else.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{StreamExt, stream};
use serde_json::Value;
use tieline_client::{ClientError, Connection, Options, Timeouts};

use super::call::{ALL, Call, Times, spoiled};
use crate::server::{Answer, End, Seen, Server, credentials, quick};

/// Many at a time: each waits for sockets, mostly.
const AT_ONCE: usize = 16;

/// The bytes of the n-th right answer.
fn bytes(call: Call, n: usize) -> Vec<u8> {
    let path = if n == 0 { String::new() } else { "01g".to_owned() };
    let (status, body) = call.good(&Seen { path, ..Seen::default() }, 0);
    Answer::json(status, &body).bytes
}

fn body(call: Call, n: usize) -> Vec<u8> {
    let whole = bytes(call, n);
    let at = whole.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    whole[at..].to_vec()
}

/// One read and one write meet every byte, those that go the same way every third.
fn step(call: Call) -> usize {
    if matches!(call, Call::Limits | Call::Create) { 1 } else { 3 }
}

/// The calls with the requests that they consist of.
fn requests() -> impl Iterator<Item = (Call, usize)> {
    ALL.into_iter().map(|call| (call, 0)).chain([(Call::Query, 1)])
}

#[tokio::test(flavor = "multi_thread")]
async fn t22_an_answer_cut_at_any_byte_by_a_close_or_a_reset_is_no_answer() {
    let cases = requests().flat_map(|(call, first)| {
        let ends = [End::Close, End::Reset].into_iter();
        ends.flat_map(move |end| {
            (0..bytes(call, first).len()).step_by(step(call)).map(move |at| (call, first, end, at))
        })
    });
    stream::iter(cases)
        .for_each_concurrent(AT_ONCE, async |(call, first, end, at)| {
            let verdict = spoiled(call, first, Times::Once, true, move |answer| answer.cut(at, end)).await;
            verdict.healed(&(first, end, at));
        })
        .await;
    // And for ever: an error that says that nothing came, after as many attempts as were allowed.
    for (call, first) in requests() {
        for at in [0, 1, 20, bytes(call, first).len() - 1] {
            let verdict = spoiled(call, first, Times::Always, true, move |answer| answer.cut(at, End::Reset)).await;
            let error = verdict.failed(true, &at);
            // What nobody knows the outcome of does not heal by being sent again.
            let heals = error.is_transient() != error.outcome_unknown();
            assert!(matches!(error, ClientError::Unreachable { .. }) && heals, "{error}");
            // A delete is sent once on its own, and then as often as a call that may be repeated.
            let attempts = if call == Call::Delete { 4 } else { 3 };
            assert_eq!(verdict.requests, if call.is_post() { 1 } else { attempts + first }, "{call:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_gzip_and_chunks_that_end_too_early_are_asked_for_again() {
    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(body).unwrap();
        gzip.finish().unwrap()
    }
    fn chunks(body: &[u8]) -> Vec<u8> {
        let (a, b) = body.split_at(body.len() / 2);
        let mut out = Vec::new();
        for part in [a, b] {
            out.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
            out.extend_from_slice(part);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"0\r\n\r\n");
        out
    }
    type Form = (&'static str, fn(&[u8]) -> Vec<u8>, &'static str, bool);
    let forms: [Form; 5] = [
        // With a length that fits what is sent, it looks complete.
        ("json", |body| body.to_vec(), "", true),
        ("gzip", gzip, "content-encoding: gzip\r\n", true),
        ("json to the end", |body| body.to_vec(), "", false),
        ("gzip to the end", gzip, "content-encoding: gzip\r\n", false),
        ("chunks", chunks, "transfer-encoding: chunked\r\n", false),
    ];
    let cases = requests().filter(|(call, first)| !body(*call, *first).is_empty()).flat_map(|(call, first)| {
        forms.into_iter().flat_map(move |form| {
            (0..form.1(&body(call, first)).len()).step_by(step(call)).map(move |at| (call, first, form, at))
        })
    });
    stream::iter(cases)
        .for_each_concurrent(AT_ONCE, async |(call, first, (name, form, header, length), at)| {
            let verdict = spoiled(call, first, Times::Once, true, move |_| {
                let part = form(&body(call, first))[..at].to_vec();
                match length {
                    true => Answer::new(200, header, part),
                    false => {
                        let head = format!("HTTP/1.1 200 OK\r\n{header}\r\n");
                        Answer { end: End::Close, ..Answer::raw([head.as_bytes(), &part].concat()) }
                    }
                }
            })
            .await;
            // The rest of a gzip's or a chunked body's end may be missing when all of the JSON is there.
            match &verdict.outcome {
                Ok(_) => verdict.check(true, &(name, at)),
                Err(_) => verdict.healed(&(name, at)),
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_the_orgs_or_of_a_gateways_is_told_as_what_it_is() {
    const JSON: &str = r#"[{"errorCode":"SERVER_UNAVAILABLE","message":"Server Unavailable"}]"#;
    const HTML: &str = "<html><body><h1>Bad gateway</h1></body></html>";
    for call in ALL {
        for (status, body) in
            [500, 502, 503, 504, 420].into_iter().flat_map(|status| [(status, JSON), (status, HTML), (status, "")])
        {
            // A status of 500 and above may come after the work was done; 420 says that there is no such org.
            for carries_out in [false, true].into_iter().filter(|done| !done || status >= 500) {
                let answer = move |_| Answer::new(status, "content-type: text/html\r\n", body);
                let of = (status, body, carries_out);
                let once = spoiled(call, 0, Times::Once, carries_out, answer).await;
                let passes = matches!(status, 502..=504) && !call.is_post() || call == Call::Delete && status >= 500;
                once.check(status >= 500, &of);
                assert_eq!(once.outcome.is_ok(), passes, "{call:?} {of:?} {:?}", once.outcome);
                let always = spoiled(call, 0, Times::Always, carries_out, answer).await;
                let error = always.failed(status >= 500, &of);
                assert!(matches!(error, ClientError::Refused(refusal) if refusal.status == status), "{error}");
                assert!(!call.is_post() || always.requests == 1);
            }
        }
        // 429 is refused work: even a create is sent again.
        let answer = |_| Answer::new(429, "retry-after: 0\r\n", "");
        let once = spoiled(call, 0, Times::Once, false, answer).await;
        assert!(once.outcome.is_ok(), "{call:?} {:?}", once.outcome);
        once.check(false, &429);
        let always = spoiled(call, 0, Times::Always, false, answer).await;
        assert_eq!((always.requests, always.done), (3, 0));
        assert!(always.failed(false, &429).is_transient());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_of_the_orgs_does_not_pass_for_one() {
    const LOGIN: &str = "<!DOCTYPE html><html><form action=\"/login\"></form></html>";
    for call in ALL {
        let page = |_| Answer::new(200, "content-type: text/html\r\n", LOGIN);
        for carries_out in [false, true] {
            let verdict = spoiled(call, 0, Times::Always, carries_out, page).await;
            assert!(matches!(verdict.failed(true, &"login page"), ClientError::Unreadable { .. }), "{call:?}");
        }
        // JSON is JSON, whatever it is called.
        let misnamed = |answer: Answer| {
            let text = String::from_utf8(answer.bytes).unwrap();
            Answer::raw(text.replace("application/json", "text/plain"))
        };
        let verdict = spoiled(call, 0, Times::Always, true, misnamed).await;
        assert!(verdict.outcome.is_ok(), "{call:?} {:?}", verdict.outcome);
        verdict.check(true, &"content type");
        // Answers on the way to an answer are passed over.
        for before in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"] {
            let verdict =
                spoiled(call, 0, Times::Always, true, move |a| Answer::raw([before.as_bytes(), &a.bytes].concat()))
                    .await;
            assert!(verdict.outcome.is_ok(), "{call:?} {before} {:?}", verdict.outcome);
            verdict.check(true, &before);
        }
        // Two lengths: which of them holds?
        if !body(call, 0).is_empty() {
            let twice = |answer: Answer| {
                let text = String::from_utf8(answer.bytes).unwrap();
                Answer::raw(text.replacen("content-length", "content-length: 2\r\ncontent-length", 1))
                    .cut(usize::MAX, End::Close)
            };
            spoiled(call, 0, Times::Always, true, twice).await.failed(true, &"two lengths");
        }
        let nonsense = |_| Answer::raw("SSH-2.0-OpenSSH_9.2\r\n").cut(usize::MAX, End::Close);
        spoiled(call, 0, Times::Always, true, nonsense).await.failed(true, &"another protocol");
        // Nobody asked for another protocol, and whether the org did anything before it offered one is not known.
        let switch = |_| Answer::raw("HTTP/1.1 101 Switching Protocols\r\n\r\n").cut(usize::MAX, End::Close);
        spoiled(call, 0, Times::Always, true, switch).await.failed(true, &101);
        let unchanged = |_| Answer::raw("HTTP/1.1 304 Not Modified\r\n\r\n");
        spoiled(call, 0, Times::Always, true, unchanged).await.failed(true, &304);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_org_may_be_slow_and_one_that_falls_silent_is_given_up() {
    for call in [Call::Limits, Call::Create] {
        let slow = |answer| Answer { pause: Duration::from_micros(200), ..answer };
        let verdict = spoiled(call, 0, Times::Always, true, slow).await;
        assert!(verdict.outcome.is_ok(), "{:?}", verdict.outcome);
        verdict.check(true, &"slow");
        for bytes in [0, 10, 60] {
            let server = Server::start(move |seen| {
                let answer = Answer::json(200, &call.good(seen, 0).1).cut(bytes, End::Keep);
                Answer { pause: Duration::ZERO, ..answer }
            })
            .await;
            let timeouts = Timeouts { idle: Duration::from_millis(40), ..Timeouts::default() };
            let org = Connection::with(credentials(&server.url), Options { timeouts, ..quick() }).unwrap();
            let error = call.run(&org).await.unwrap_err();
            assert!(matches!(&error, ClientError::Unreachable { reason, .. } if reason.contains("in time")), "{error}");
            assert_eq!(
                (server.seen().len(), error.outcome_unknown()),
                if call.is_post() { (1, true) } else { (3, false) }
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_on_a_connection_that_the_org_closes_at_that_moment_is_not_sent_twice() {
    for end in [End::Close, End::Reset] {
        let server = Server::start(move |seen| match seen.method.as_str() {
            "POST" => Answer::raw("").cut(0, end),
            _ => Answer::json(200, &serde_json::json!({})),
        })
        .await;
        let org = Connection::with(credentials(&server.url), quick()).unwrap();
        // The first call leaves its connection in the pool.
        org.limits().await.unwrap();
        let error = Call::Create.run(&org).await.unwrap_err();
        assert!(error.outcome_unknown(), "{error}");
        assert_eq!(server.seen().iter().filter(|seen| seen.method == "POST").count(), 1);
    }
    // Nobody listens: certainly not carried out, and sent again all the same.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let org = crate::server::connect(&format!("http://127.0.0.1:{port}"));
    let error = org.create("Contact", &Value::Null).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { attempts: 3, outcome_unknown: false, .. }), "{error:?}");
}
