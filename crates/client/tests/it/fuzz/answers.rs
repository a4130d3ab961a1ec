//! Errors, datetimes and ids as they come.

use jiff::Timestamp;
use tieline_client::fuzzing::refused;
use tieline_client::id::{is_id, same, to_18};
use tieline_client::metadata::Element;
use tieline_client::{ClientError, parse_datetime, session};

use super::run;

#[test]
fn any_body_is_an_error_of_that_status() {
    let seeds: [&[u8]; 7] = [
        br#"[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID","fields":["a"]}]"#,
        br#"{"hasErrors":true,"results":[{"referenceId":"r","errors":[{"statusCode":"X","message":"y","fields":null}]}]}"#,
        br#"["/services/data/v67.0/sobjects/T/1","/2"]"#,
        b"<soapenv:Envelope><soapenv:Body><soapenv:Fault><faultcode>sf:X</faultcode><faultstring>X: y</faultstring></soapenv:Fault></soapenv:Body></soapenv:Envelope>",
        b"<error xmlns=\"x\"><exceptionCode>InvalidSessionId</exceptionCode><exceptionMessage>a&amp;b</exceptionMessage></error>",
        b"<html>&nbsp;Down</html>",
        b"Bad_OAuth_Token",
    ];
    run("errors", &seeds, |body| {
        for status in [300, 400, 401, 403, 404, 500, 503] {
            let error = refused(status, body);
            let ClientError::Refused(refusal) = &error else { panic!("{error:?}") };
            assert!(refusal.status == status && refusal.body() == body);
            assert!(!refusal.message.is_empty() && !error.hint().is_empty() && !error.outcome_unknown());
            let _ = (error.to_string(), error.needs_person(), error.is_transient());
            session::is_expired(status, body);
        }
        let _ = Element::parse(&String::from_utf8_lossy(body));
    });
}

#[test]
fn a_datetime_is_the_moment_that_it_names() {
    let seeds: [&[u8]; 5] = [
        b"2024-01-02T03:04:05.678+0000",
        b"2024-01-02T03:04:05Z",
        b"2024-01-02T05:04:05.678+02:00",
        b"-009999-01-01T00:00:00-2359",
        "日本+00é0".as_bytes(),
    ];
    run("datetimes", &seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Some(at) = parse_datetime(&text) {
            assert_eq!(parse_datetime(&at.to_string()), Some(at));
        }
        // Any moment, in each form, in a zone of any offset.
        let number = bytes.iter().fold(0i64, |sum, byte| sum.wrapping_mul(257).wrapping_add(i64::from(*byte)));
        let at = Timestamp::from_millisecond(number.rem_euclid(4_102_444_800_000)).unwrap();
        let minutes = number.rem_euclid(27 * 60) - 12 * 60;
        let local = at + jiff::SignedDuration::from_mins(minutes);
        let (sign, ahead) = (if minutes < 0 { '-' } else { '+' }, minutes.abs());
        let local = local.strftime("%Y-%m-%dT%H:%M:%S.%3f");
        for form in [
            format!("{local}{sign}{:02}{:02}", ahead / 60, ahead % 60),
            format!("{local}{sign}{:02}:{:02}", ahead / 60, ahead % 60),
            at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
        ] {
            assert_eq!(parse_datetime(&form), Some(at), "{form}");
        }
    });
}

#[test]
fn an_id_stays_what_it_is_in_any_case() {
    let seeds: [&[u8]; 4] =
        [b"0014S000007NxgW", b"0014S000007NxgWQAS", b"001ZM000001n4n5yaa", "00é4S000007Nxg".as_bytes()];
    run("ids", &seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let Some(whole) = to_18(&text) else {
            assert!(!is_id(&text) && !same(&text, &text));
            return;
        };
        assert!(whole.len() == 18 && whole[..15].eq_ignore_ascii_case(&text[..15]));
        for spelled in [whole.clone(), whole.to_lowercase(), whole.to_uppercase(), whole[..15].to_owned()] {
            assert_eq!(to_18(&spelled).as_deref(), Some(whole.as_str()), "{spelled}");
            assert!(same(&spelled, &text));
        }
        // One character more or less in capitals is another record.
        for at in (0..15).filter(|at| whole.as_bytes()[*at].is_ascii_alphabetic()) {
            let mut other = whole[..15].to_owned().into_bytes();
            other[at] ^= 0x20;
            assert!(!same(std::str::from_utf8(&other).unwrap(), &whole), "{at}");
        }
    });
}
