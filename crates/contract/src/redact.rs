//! A report that can be shown: without secrets, names, hosts and ids.

use std::sync::LazyLock;

use regex::Regex;

/// What is hidden by its form, and what takes its place.
static FORMS: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    [
        // Session ids and access tokens that are not the one at hand.
        (r"\b00D[A-Za-z0-9]{12,15}![A-Za-z0-9._]+", "<secret>"),
        (r"\bey[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*", "<secret>"),
        (r"\b5Aep[A-Za-z0-9._=]{8,}", "<secret>"),
        (r"\b((?i-u:https?)://)[^/\s\x22'<>\\,)]+", "${1}<host>"),
        (r"\b[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.(?i-u:salesforce|force|salesforce-setup|visualforce|documentforce)\.(?i-u:com)\b", "<host>"),
        (r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", "<address>"),
        // Ids keep their first three characters, which tell the object.
        (r"\b([A-Za-z0-9]{3})[A-Za-z0-9]{12}([A-Za-z0-9]{3})?\b", "ID"),
        (r"\b[A-Za-z0-9_-]{40,}\b", "<long text>"),
    ]
    .into_iter()
    .filter_map(|(form, with)| Regex::new(form).ok().map(|form| (form, with)))
    .collect()
});

/// Knows what must not be told.
#[derive(Debug, Default)]
pub struct Redactor {
    hidden: Vec<(String, String)>,
}

impl Redactor {
    /// One that hides by form only.
    pub fn new() -> Self {
        Self::default()
    }

    /// Hides this text wherever it stands.
    pub fn hide(&mut self, what: &str, text: &str) {
        // What is very short would be found everywhere.
        if text.len() > 3 {
            self.hidden.push((text.to_owned(), format!("<{what}>")));
            // The longest first: an id of 15 characters stands within that of 18.
            self.hidden.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        }
    }

    /// The text without what must not be told.
    ///
    /// ```
    /// use tieline_contract::Redactor;
    ///
    /// let mut redactor = Redactor::new();
    /// redactor.hide("user name", "ada@example.com");
    /// let text = redactor.clean("ada@example.com has 0014S000007NxgWQAS at https://acme.my.salesforce.com/x");
    /// assert_eq!(text, "<user name> has <001…> at https://<host>/x");
    /// ```
    pub fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (hidden, with) in &self.hidden {
            text = text.replace(hidden.as_str(), with);
        }
        for (form, with) in FORMS.iter() {
            text = match *with {
                "ID" => form.replace_all(&text, |found: &regex::Captures<'_>| {
                    let id = &found[0];
                    // Words of fifteen letters are no ids.
                    let is_id = id.bytes().any(|byte| byte.is_ascii_digit());
                    if is_id { format!("<{}…>", &id[..3]) } else { id.to_owned() }
                }),
                with => form.replace_all(&text, with),
            }
            .into_owned();
        }
        // Values of fields such as `refresh_token`, whatever their form.
        tieline_auth::redact::mask(&text).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_understood() {
        assert_eq!(FORMS.len(), 8);
    }

    #[test]
    fn words_stay_and_ids_go() {
        let redactor = Redactor::new();
        assert_eq!(redactor.clean("synchronization of OpportunityName"), "synchronization of OpportunityName");
        assert_eq!(redactor.clean("record with id: 0014S000007NxgW"), "record with id: <001…>");
        assert_eq!(redactor.clean("00D4S000000oz4e!AQ.x_y and acme.my.salesforce.com"), "<secret> and <host>");
        assert_eq!(redactor.clean("/query/01gB000003OCxSPIA1-2000"), "/query/<01g…>-2000");
    }
}
