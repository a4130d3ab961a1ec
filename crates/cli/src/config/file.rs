//! The configuration file: TOML, with nothing secret in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml_edit::{Document, Value};

use crate::failure::Failure;

/// The file of a folder that is read unasked.
pub(crate) const USUAL: &str = "tieline.toml";

/// What a key holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    /// A file, seen from the configuration's folder.
    File,
    Number,
    Truth,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Text => "a text",
            Kind::File => "the name of a file",
            Kind::Number => "a whole number from 0",
            Kind::Truth => "true or false",
        }
    }
}

/// Every key that there is.
const KEYS: [(&str, &str, Kind); 23] = [
    ("serve", "listen", Kind::Text),
    ("serve", "public_url", Kind::Text),
    ("serve", "every", Kind::Number),
    ("serve", "lookback", Kind::Number),
    ("serve", "lag", Kind::Number),
    ("serve", "allow_loopback", Kind::Truth),
    ("serve", "no_sign_in", Kind::Truth),
    ("serve", "trusted_proxies", Kind::Text),
    ("serve", "rate_limits", Kind::Text),
    ("database", "url", Kind::Text),
    ("database", "master_key_file", Kind::File),
    ("salesforce", "client_id", Kind::Text),
    ("salesforce", "client_secret_file", Kind::File),
    ("salesforce", "redirect_uri", Kind::Text),
    ("oidc", "issuer", Kind::Text),
    ("oidc", "client_id", Kind::Text),
    ("oidc", "client_secret_file", Kind::File),
    ("oidc", "name", Kind::Text),
    ("oidc", "trust_email", Kind::Truth),
    ("oidc", "only", Kind::Truth),
    ("alerts", "allow", Kind::Text),
    ("alerts", "mail_url_file", Kind::File),
    ("alerts", "mail_from", Kind::Text),
];

/// Words in a key's name that say it is a secret, unless it ends in `_file`.
const SECRET: [&str; 4] = ["secret", "password", "token", "key"];

/// What a configuration file says; nothing, where there is none.
#[derive(Debug, Default)]
pub(crate) struct File {
    path: Option<PathBuf>,
    values: BTreeMap<(&'static str, &'static str), Value>,
}

impl File {
    /// Reads the file that was named, or the usual one of this folder if it is there.
    pub(crate) fn load(named: Option<&Path>) -> Result<Self, Failure> {
        let path = match named {
            Some(path) => path,
            None if Path::new(USUAL).is_file() => Path::new(USUAL),
            None => return Ok(Self::default()),
        };
        let text = std::fs::read_to_string(path).map_err(|e| {
            Failure::usage(
                format!("could not read the configuration file {}: {e}", path.display()),
                "name a file that is there with --config or TIELINE_CONFIG",
            )
        })?;
        Self::read(path, &text)
    }

    fn read(path: &Path, text: &str) -> Result<Self, Failure> {
        let bad = |at: Option<std::ops::Range<usize>>, what: String, hint: String| {
            let line = at.map(|at| format!(", line {}", text[..at.start.min(text.len())].matches('\n').count() + 1));
            Failure::usage(format!("{}{}: {what}", path.display(), line.unwrap_or_default()), hint)
        };
        let document = Document::parse(text).map_err(|error| {
            // Its own text quotes the line, where a secret may be.
            let what = error.message().lines().next().unwrap_or("it is no TOML").to_owned();
            bad(
                error.span(),
                what,
                "write it as `key = \"text\"` under a [section]; docs/keys.md has an example".into(),
            )
        })?;
        let mut values = BTreeMap::new();
        for (section, item) in document.as_table() {
            let Some(table) = item.as_table_like().filter(|_| KEYS.iter().any(|(known, ..)| *known == section)) else {
                let sections = ["serve", "database", "salesforce", "oidc", "alerts"];
                let what = match item.is_value() && !sections.contains(&section) {
                    true => format!("`{section}` stands outside of a section"),
                    false => format!("there is no section [{section}]"),
                };
                return Err(bad(item.span(), what, format!("did you mean [{}]?", nearest(section, sections))));
            };
            for (key, item) in table.iter() {
                let at = table.key(key).and_then(|key| key.span()).or(item.span());
                let known = KEYS.iter().find(|(of, known, _)| *of == section && *known == key);
                let Some(&(section, key, kind)) = known else {
                    if let Some(instead) = secret(section, key) {
                        return Err(bad(
                            at,
                            format!("`{section}.{key}` is a secret, and secrets do not belong here"),
                            instead,
                        ));
                    }
                    let keys = KEYS.iter().filter(|(of, ..)| *of == section).map(|(_, key, _)| *key);
                    let hint = format!("did you mean `{}`?", nearest(key, keys));
                    return Err(bad(at, format!("there is no `{key}` in [{section}]"), hint));
                };
                let value = item.as_value().filter(|value| match kind {
                    Kind::Text | Kind::File => value.as_str().is_some_and(|text| !text.trim().is_empty()),
                    Kind::Number => value.as_integer().is_some_and(|number| number >= 0),
                    Kind::Truth => value.as_bool().is_some(),
                });
                let Some(value) = value else {
                    let hint = format!("`{key}` takes {}", kind.name());
                    return Err(bad(at, format!("`{section}.{key}` has a value of another kind"), hint));
                };
                if (section, key) == ("database", "url") && value.as_str().is_some_and(has_password) {
                    return Err(bad(
                        at,
                        "the password of `database.url` is a secret, and secrets do not belong here".into(),
                        "leave it out and set PGPASSWORD or PGPASSFILE, or give the whole URL in TIELINE_DATABASE_URL"
                            .into(),
                    ));
                }
                values.insert((section, key), value.clone());
            }
        }
        Ok(Self { path: Some(path.to_owned()), values })
    }

    /// The file, if there is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// How many keys it holds.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    fn get(&self, section: &'static str, key: &'static str) -> Option<&Value> {
        debug_assert!(KEYS.iter().any(|(of, known, _)| (*of, *known) == (section, key)), "{section}.{key}");
        self.values.get(&(section, key))
    }

    pub(crate) fn text(&self, section: &'static str, key: &'static str) -> Option<String> {
        self.get(section, key)?.as_str().map(|text| text.trim().to_owned())
    }

    pub(crate) fn number(&self, section: &'static str, key: &'static str) -> Option<u64> {
        self.get(section, key)?.as_integer().map(i64::unsigned_abs)
    }

    pub(crate) fn truth(&self, section: &'static str, key: &'static str) -> bool {
        self.get(section, key).and_then(Value::as_bool).unwrap_or(false)
    }

    /// A file, whose name is seen from the configuration's folder.
    pub(crate) fn file(&self, section: &'static str, key: &'static str) -> Option<PathBuf> {
        Some(self.beside(Path::new(&self.text(section, key)?)))
    }

    pub(crate) fn beside(&self, path: &Path) -> PathBuf {
        let folder = self.path.as_deref().and_then(Path::parent);
        folder.map_or_else(|| path.to_owned(), |folder| folder.join(path))
    }
}

/// What to write instead of a secret.
fn secret(section: &str, key: &str) -> Option<String> {
    let is = !key.ends_with("_file") && SECRET.iter().any(|word| key.contains(word));
    is.then(|| match (section, key) {
        ("salesforce", _) => "write client_secret_file = \"FILE\", or set SALESFORCE_CLIENT_SECRET".to_owned(),
        ("oidc", _) => "write client_secret_file = \"FILE\", or set TIELINE_OIDC_CLIENT_SECRET".to_owned(),
        ("database", key) if key.contains("key") => {
            "write master_key_file = \"FILE\", or set TIELINE_MASTER_KEY".to_owned()
        }
        ("database", _) => "set PGPASSWORD or PGPASSFILE".to_owned(),
        _ => "set it as an environment variable".to_owned(),
    })
}

fn has_password(url: &str) -> bool {
    let parameter = url.split(['?', '&']).skip(1).any(|pair| pair.starts_with("password="));
    parameter || url::Url::parse(url).is_ok_and(|url| url.password().is_some())
}

/// The name that a mistyped one is likely to be.
fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> &'a str {
    names.into_iter().min_by_key(|name| distance(wanted, name)).unwrap_or_default()
}

/// How many letters must be put in, taken out or changed (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<File, Failure> {
        File::read(Path::new("/etc/tieline/tieline.toml"), text)
    }

    #[test]
    fn every_key_is_read_and_files_are_seen_from_the_folder_of_the_configuration() {
        let file = read(
            "# ours\n[serve]\nlisten = \"0.0.0.0:80\"\nevery = 60\nno_sign_in = true\n\n[database]\nurl = \"postgres://t@db/t\"\n\
             master_key_file = \"keys\"\n[salesforce]\nclient_secret_file = \"/run/secret\"\n",
        )
        .unwrap();
        assert_eq!(file.text("serve", "listen").as_deref(), Some("0.0.0.0:80"));
        assert_eq!((file.number("serve", "every"), file.truth("serve", "no_sign_in")), (Some(60), true));
        assert_eq!((file.number("serve", "lag"), file.truth("serve", "allow_loopback")), (None, false));
        assert_eq!(file.file("database", "master_key_file").unwrap(), Path::new("/etc/tieline/keys"));
        assert_eq!(file.file("salesforce", "client_secret_file").unwrap(), Path::new("/run/secret"));
        assert_eq!(file.len(), 6);
        assert_eq!(read("").unwrap().len(), 0);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_what_was_meant() {
        for (text, said, hint) in [
            ("[serve]\n\nlistn = \"x\"", "line 3: there is no `listn` in [serve]", "`listen`"),
            ("[databse]\nurl = \"x\"", "there is no section [databse]", "[database]"),
            ("listen = \"x\"", "line 1: `listen` stands outside of a section", "[serve]"),
            ("[serve]\nevery = \"60\"", "line 2: `serve.every` has a value of another kind", "a whole number"),
            ("[serve]\nevery = -1", "line 2: `serve.every`", "a whole number"),
            ("[serve]\nlisten = \" \"", "line 2: `serve.listen`", "a text"),
            ("[serve]\nno_sign_in = 1", "line 2: `serve.no_sign_in`", "true or false"),
            ("serve = 1", "line 1: there is no section [serve]", "[serve]"),
            ("[serve]\nevery = 1\nevery = 2", "line 3: ", "[section]"),
            ("[serve\n", "line 1: ", "[section]"),
        ] {
            let failure = read(text).unwrap_err();
            let (message, told) = (failure.message(), failure.hint().unwrap());
            assert!(message.starts_with("/etc/tieline/tieline.toml, ") && message.contains(said), "{text}: {message}");
            assert!(told.contains(hint) && failure.code() == 2, "{text}: {told}");
        }
    }

    #[test]
    fn s37_a_secret_is_refused_and_not_repeated() {
        for (text, hint) in [
            ("[salesforce]\nclient_secret = \"planted\"", "client_secret_file"),
            ("[oidc]\nclient_secret = \"planted\"", "TIELINE_OIDC_CLIENT_SECRET"),
            ("[database]\nmaster_key = \"planted\"", "master_key_file"),
            ("[database]\npassword = \"planted\"", "PGPASSWORD"),
            ("[database]\nurl = \"postgres://t:planted@db/t\"", "TIELINE_DATABASE_URL"),
            ("[database]\nurl = \"postgres://t@db/t?sslmode=require&password=planted\"", "TIELINE_DATABASE_URL"),
            ("[serve]\nsetup_token = \"planted\"", "environment"),
            ("[salesforce]\nclient_secret = planted", "[section]"),
        ] {
            let failure = read(text).unwrap_err();
            assert!(failure.hint().unwrap().contains(hint), "{text}: {failure:?}");
            assert!(!format!("{failure:?}").contains("planted"), "{failure:?}");
        }
    }

    #[test]
    fn the_nearest_name_is_the_one_with_the_fewest_changes() {
        assert_eq!(nearest("publicurl", ["listen", "public_url", "every"]), "public_url");
        assert_eq!((distance("kitten", "sitting"), distance("", "abc"), distance("abc", "abc")), (3, 3, 0));
    }
}
