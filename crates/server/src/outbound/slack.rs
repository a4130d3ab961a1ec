//! Alerts as messages of a Slack-shaped incoming webhook (Slack, Mattermost, Discord's `/slack` and others): JSON with
//! `text` for notifications and `blocks` for the channel.
//!
//! Limits and escapes: <https://docs.slack.dev/reference/block-kit/blocks/section-block>, `…/header-block`, and
//! <https://docs.slack.dev/messaging/formatting-message-text> ("Escaping text"). Slack refuses a message whole that is too
//! long in one place, so texts are cut.

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};
use tieline_auth::Secret;
use url::Url;

use super::Outcome;
use super::sender::Sender;

/// A section's text, in characters.
const SECTION: usize = 3000;
/// A header's text.
const HEADER: usize = 150;
/// One field of a section.
const FIELD: usize = 2000;
/// Fields of a section.
const FIELDS: usize = 10;
/// Blocks of a message.
const BLOCKS: usize = 50;
/// A link's label, here: room for it and a long URL in a section.
const LABEL: usize = 75;

/// What a message says. All of it is plain text; nothing in it is taken for a mention, a link or a command.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// The first line, in bold.
    pub header: String,
    /// What happened.
    pub text: String,
    /// Names and values, in two columns.
    pub fields: Vec<(String, String)>,
    /// A label, and the http or https URL of a page that says more.
    pub link: Option<(String, Url)>,
}

impl Message {
    /// The message as Slack takes it.
    ///
    /// ```
    /// use tieline_server::outbound::slack::Message;
    /// let message = Message { header: "Sync".into(), text: "a < b & <!channel>".into(), ..Message::default() };
    /// let body = message.body();
    /// assert_eq!(body["text"], "Sync: a &lt; b &amp; &lt;!channel&gt;");
    /// assert_eq!(body["blocks"][1]["text"]["text"], "a &lt; b &amp; &lt;!channel&gt;");
    /// ```
    pub fn body(&self) -> Value {
        let mut blocks = Vec::new();
        let header = escaped(&one_line(&self.header), HEADER);
        if !header.is_empty() {
            blocks.push(json!({"type": "header", "text": {"type": "plain_text", "text": header, "emoji": false}}));
        }
        let text = escaped(self.text.trim(), SECTION);
        if !text.is_empty() {
            blocks.push(json!({"type": "section", "text": mrkdwn(&text)}));
        }
        let link = self.link.as_ref().and_then(|(label, url)| link(label, url));
        // The link has its place even where there are too many fields.
        let room = BLOCKS - blocks.len() - usize::from(link.is_some());
        for fields in self.fields.chunks(FIELDS).take(room) {
            let fields: Vec<Value> = fields.iter().map(|(name, value)| field(name, value)).collect();
            blocks.push(json!({"type": "section", "fields": fields}));
        }
        if let Some(link) = link {
            blocks.push(json!({"type": "section", "text": mrkdwn(&link)}));
        }
        let parts = [one_line(&self.header), self.text.trim().to_owned()];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        json!({"text": escaped(&parts.join(": "), SECTION), "blocks": blocks})
    }
}

/// `verbatim` keeps Slack from making links and mentions of what looks like one.
fn mrkdwn(text: &str) -> Value {
    json!({"type": "mrkdwn", "text": text, "verbatim": true})
}

fn field(name: &str, value: &str) -> Value {
    let name = escaped(&one_line(name), HEADER);
    mrkdwn(&format!("*{name}*\n{}", escaped(value.trim(), FIELD - HEADER - "**\n".len())))
}

/// `<url|label>`, if it is a page and fits.
fn link(label: &str, url: &Url) -> Option<String> {
    if !matches!(url.scheme(), "http" | "https") {
        return None;
    }
    // A `|` ends the URL. The parser has escaped `<` and `>` wherever they may stand, but for fragments of old.
    let url = url.as_str().replace('|', "%7C").replace('<', "%3C").replace('>', "%3E").replace('&', "&amp;");
    let label = escaped(&one_line(label), LABEL);
    let link = if label.is_empty() { format!("<{url}>") } else { format!("<{url}|{label}>") };
    (width(&link) <= SECTION).then_some(link)
}

fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// As Slack may count: in UTF-16, which is never less than in characters.
fn width(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// The text with its control characters escaped, cut so that it fits and no escape is cut in two.
fn escaped(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut used, mut fitting) = (0, 0);
    for c in text.chars() {
        let end = out.len();
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
        used += width(&out[end..]);
        if used > most {
            out.truncate(fitting);
            out.push('…');
            break;
        }
        // Room for the ellipsis.
        if used < most {
            fitting = out.len();
        }
    }
    out
}

/// Sends such messages.
#[derive(Debug, Clone)]
pub struct Slack {
    sender: Sender,
}

impl Slack {
    /// Through this sender.
    pub fn new(sender: Sender) -> Self {
        Self { sender }
    }

    /// One attempt. The URL is all that it takes to write to the channel, so it is a secret. Slack answers 429 with
    /// `Retry-After`, 410 for a channel that was archived, and 403 or 404 for a webhook that was withdrawn.
    pub async fn deliver(&self, url: &Secret, message: &Message) -> Outcome {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        self.sender.post(url, headers, message.body().to_string().into()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_a_command() {
        let evil = "<!channel> <@U1> <https://evil.example|https://good.example> a & b &lt;\r\u{0}";
        let message = Message {
            header: format!("{evil}\n\n2"),
            text: evil.to_owned(),
            fields: vec![(evil.to_owned(), evil.to_owned())],
            link: Some((evil.to_owned(), "https://t.example/a|b?x=<y>&z=1#<p>|q".parse().unwrap())),
        };
        let body = message.body();
        let told = "&lt;!channel&gt; &lt;@U1&gt; &lt;https://evil.example|https://good.example&gt; a &amp; b &amp;lt;";
        assert_eq!(body["blocks"][0]["text"]["text"], format!("{told} 2"));
        assert_eq!(body["blocks"][0]["text"]["type"], "plain_text");
        assert_eq!(body["blocks"][1]["text"]["text"].as_str().unwrap().trim_end(), told);
        assert_eq!(body["blocks"][1]["text"]["verbatim"], true);
        let link = body["blocks"][3]["text"]["text"].as_str().unwrap();
        assert!(link.starts_with("<https://t.example/a%7Cb?x=%3Cy%3E&amp;z=1#%3Cp%3E%7Cq|&lt;!channel"), "{link}");
        for text in texts(&body) {
            let inner = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(&text);
            assert!(!inner.contains(['<', '>', '\r', '\0']), "{text}");
        }
    }

    fn texts(value: &Value) -> Vec<String> {
        match value {
            Value::String(text) => vec![text.clone()],
            Value::Array(items) => items.iter().flat_map(texts).collect(),
            Value::Object(fields) => fields.values().flat_map(texts).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn everything_fits_slacks_limits() {
        for long in ["x".repeat(9000), "&".repeat(9000), "😀".repeat(9000), "<😀>".repeat(4000)] {
            let message = Message {
                header: long.clone(),
                text: long.clone(),
                fields: vec![(long.clone(), long.clone()); 1000],
                link: Some((long.clone(), "https://t.example/".parse().unwrap())),
            };
            let body = message.body();
            let blocks = body["blocks"].as_array().unwrap();
            assert_eq!(blocks.len(), BLOCKS);
            let fits = |text: &Value, most: usize| {
                let text = text.as_str().unwrap();
                let entities = text.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "");
                assert!(!entities.contains('&'), "an escape was cut in two: {}", &text[text.len() - 12..]);
                assert!(width(text) <= most && text.contains('…'), "{} of {most}", width(text));
            };
            fits(&blocks[0]["text"]["text"], 150);
            fits(&blocks[1]["text"]["text"], 3000);
            fits(&blocks[2]["fields"][9]["text"], 2000);
            assert!(blocks[2]["fields"].as_array().unwrap().len() <= 10);
            fits(&blocks[49]["text"]["text"], 3000);
            assert!(blocks[49]["text"]["text"].as_str().unwrap().starts_with("<https://t.example/|"));
            fits(&body["text"], 3000);
        }
    }

    #[test]
    fn what_fits_exactly_is_not_cut() {
        assert_eq!(escaped(&"x".repeat(150), 150), "x".repeat(150));
        assert_eq!(escaped(&"x".repeat(151), 150), format!("{}…", "x".repeat(149)));
        assert_eq!(escaped("abc&", 8), "abc&amp;");
        assert_eq!(escaped("abc&", 7), "abc…");
        assert_eq!(escaped("ab😀😀", 6), "ab😀😀");
        assert_eq!(escaped("ab😀😀", 5), "ab😀…");
    }

    #[test]
    fn what_is_empty_makes_no_block() {
        assert_eq!(Message::default().body(), json!({"text": "", "blocks": []}));
        let link =
            |url: &str| Message { link: Some((String::new(), url.parse().unwrap())), ..Message::default() }.body();
        assert_eq!(link("https://t.example/")["blocks"][0]["text"]["text"], "<https://t.example/>");
        assert_eq!(link("javascript:alert(1)")["blocks"], json!([]));
        assert_eq!(link(&format!("https://t.example/{}", "x".repeat(3000)))["blocks"], json!([]));
    }
}
