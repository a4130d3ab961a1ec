use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tieline_auth::{ManualClock, Secret};
use tieline_server::outbound::Outcome;
use tieline_server::outbound::address::Policy;
use tieline_server::outbound::email::{Mail, Mailer};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

const MAIL: Mail<'static> =
    Mail { id: "run-1", to: "ops@example.com", subject: "Sync failed", text: "3 records\r\n.\r\nRSET\r\n" };

/// What a relay says at one point instead of taking the mail: the command that it answers so, and the reply.
pub(crate) type Instead = (&'static str, &'static str);

/// A relay that speaks as much SMTP as a mail needs (RFC 5321, 4.1), and keeps what it is told.
pub(crate) async fn relay(instead: Option<Instead>) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, heard) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
    let kept = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = converse(BufReader::new(stream), instead, &kept).await;
        }
    });
    (port, heard)
}

async fn converse(
    mut stream: BufReader<tokio::net::TcpStream>,
    instead: Option<Instead>,
    heard: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let reply = |command: &str, usual: &str| match instead {
        Some((at, reply)) if command.starts_with(at) => format!("{reply}\r\n"),
        _ => format!("{usual}\r\n"),
    };
    let greeting = reply("greeting", "220 relay.test ESMTP");
    if greeting.starts_with("hang up") {
        return Ok(());
    }
    if greeting.starts_with("silence") {
        std::future::pending::<()>().await;
    }
    stream.write_all(greeting.as_bytes()).await?;
    let (mut line, mut data) = (String::new(), false);
    while stream.read_line(&mut line).await? > 0 {
        let said = std::mem::take(&mut line).trim_end_matches(['\r', '\n']).to_owned();
        heard.lock().unwrap().push(said.clone());
        let usual = if data {
            if said != "." {
                continue;
            }
            data = false;
            reply("end of data", "250 2.0.0 queued")
        } else {
            match said.split([' ', ':']).next().unwrap_or_default() {
                "EHLO" => reply("EHLO", "250-relay.test\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN"),
                "AUTH" => reply("AUTH", "235 2.7.0 accepted"),
                "DATA" => {
                    data = instead.is_none_or(|(at, _)| at != "DATA");
                    reply("DATA", "354 go ahead")
                }
                "QUIT" => reply("QUIT", "221 bye"),
                _ => reply(&said, "250 ok"),
            }
        };
        stream.write_all(usual.as_bytes()).await?;
    }
    Ok(())
}

fn mailer(url: &str) -> Mailer {
    let clock = Arc::new(ManualClock::at("2026-06-01T12:00:00Z".parse().unwrap()));
    let from = "Tieline <alerts@tieline.example>";
    Mailer::from_url(&Secret::new(url), from, &Policy::default(), clock).unwrap()
}

#[tokio::test]
async fn a_relay_takes_a_mail() {
    let (port, heard) = relay(None).await;
    let outcome = mailer(&format!("smtp://us%40er:pl%3Aanted@127.0.0.1:{port}/alerts.example")).send(&MAIL).await;
    assert_eq!(outcome, Outcome::Delivered { status: 250 });
    let heard = heard.lock().unwrap().clone();
    assert_eq!(heard[0], "EHLO alerts.example");
    let login = heard[1].strip_prefix("AUTH PLAIN ").unwrap();
    assert_eq!(STANDARD.decode(login).unwrap(), b"\0us@er\0pl:anted");
    assert!(heard[2].starts_with("MAIL FROM:<alerts@tieline.example>"), "{heard:?}");
    assert_eq!(heard[3], "RCPT TO:<ops@example.com>");
    for line in [
        "Subject: Sync failed",
        "Message-ID: <run-1@tieline.example>",
        "Date: Mon, 01 Jun 2026 12:00:00 +0000",
        "Auto-Submitted: auto-generated",
    ] {
        assert!(heard.iter().any(|said| said == line), "{line}: {heard:?}");
    }
    assert!(heard.iter().any(|said| said == ".."), "{heard:?}");
    assert_eq!(heard.iter().filter(|said| *said == ".").count(), 1, "a dot of the text ended the mail: {heard:?}");
}

#[tokio::test]
async fn each_reply_has_its_outcome() {
    for (at, reply, again) in [
        ("greeting", "421 4.3.2 shutting down", true),
        ("greeting", "554 5.3.2 no service", false),
        ("greeting", "hang up", true),
        ("greeting", "+OK this is POP", true),
        ("AUTH", "454 4.7.0 later", true),
        ("AUTH", "535 5.7.8 wrong", false),
        ("MAIL", "452 4.3.1 full", true),
        ("RCPT", "450 4.2.1 busy, greylisted", true),
        ("RCPT", "550 5.1.1 no such user", false),
        ("RCPT", "421 4.7.0 too many", true),
        ("DATA", "554 5.5.1 no", false),
        ("end of data", "451 4.3.0 disk", true),
        ("end of data", "552 5.3.4 too big", false),
    ] {
        let (port, _) = relay(Some((at, reply))).await;
        let outcome = mailer(&format!("smtp://user:planted@127.0.0.1:{port}")).send(&MAIL).await;
        let (retry, reason) = match &outcome {
            Outcome::Retry { after: None, reason } => (true, reason),
            Outcome::Failed { reason } => (false, reason),
            other => panic!("{at} {reply}: {other:?}"),
        };
        assert_eq!(retry, again, "{at} {reply}: {outcome:?}");
        assert!(reason.contains("127.0.0.1") && !reason.contains("planted"), "{reason}");
        let numbered = reply.starts_with(['4', '5']);
        assert!(!numbered || (reason.contains(&reply[..3]) && reason.contains(&reply[10..])), "{reply}: {reason}");
    }
}

#[tokio::test]
async fn without_tls_nothing_is_said_that_matters() {
    for scheme in ["smtp://user:planted@127.0.0.1:PORT?tls=required", "smtps://user:planted@127.0.0.1:PORT"] {
        let (port, heard) = relay(None).await;
        let url = scheme.replace("PORT", &port.to_string());
        let outcome = mailer(&url).within(Duration::from_secs(2)).send(&MAIL).await;
        assert!(matches!(outcome, Outcome::Failed { .. } | Outcome::Retry { .. }), "{outcome:?}");
        let heard = heard.lock().unwrap().clone();
        assert!(!heard.iter().any(|said| said.starts_with("AUTH") || said.starts_with("MAIL")), "{heard:?}");
    }
}

#[tokio::test]
async fn a_relay_that_is_not_there_or_silent_is_tried_again() {
    let (port, _) = relay(Some(("greeting", "silence"))).await;
    let silent = mailer(&format!("smtp://127.0.0.1:{port}")).within(Duration::from_millis(200));
    let outcome = silent.send(&MAIL).await;
    assert!(matches!(&outcome, Outcome::Retry { reason, .. } if reason.contains("took longer")), "{outcome:?}");

    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let outcome = mailer(&format!("smtp://127.0.0.1:{closed}")).send(&MAIL).await;
    assert!(matches!(&outcome, Outcome::Retry { reason, .. } if reason.contains("refused")), "{outcome:?}");
}

#[tokio::test]
async fn a_recipient_or_subject_adds_no_line() {
    let (port, heard) = relay(None).await;
    let mailer = mailer(&format!("smtp://127.0.0.1:{port}"));
    for to in ["ops@example.com\r\nRCPT TO:<two@example.com>", "ops@example.com>\r\nDATA", "Ops <ops@example.com>"] {
        let outcome = mailer.send(&Mail { to, ..MAIL }).await;
        assert!(matches!(&outcome, Outcome::Failed { reason } if reason.contains("as recipient")), "{outcome:?}");
    }
    assert_eq!(heard.lock().unwrap().len(), 0);
    let subject = "Sync\r\nBcc: two@example.com\r\n\r\nbody\r\n.\r\nMAIL FROM:<evil@example.com>";
    assert_eq!(mailer.send(&Mail { subject, ..MAIL }).await, Outcome::Delivered { status: 250 });
    let heard = heard.lock().unwrap().clone();
    assert_eq!(heard.iter().filter(|said| said.starts_with("MAIL FROM")).count(), 1);
    assert!(!heard.iter().any(|said| said.starts_with("Bcc")), "{heard:?}");
}
