//! Where a channel leads: what is sealed in its row.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tieline_auth::Secret;
use tieline_store::alerts::{AlertChannel, ChannelKind};
use tieline_store::{StoreError, Uuid};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// How long messages are still signed with the secret before, too, so that a receiver has time to learn the new one.
const EXCHANGE: SignedDuration = SignedDuration::from_hours(24);

/// All of where a channel leads, in clear. It prints nothing.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Setting {
    /// URL of a webhook, or address of a person.
    to: String,
    /// What a webhook is signed with, the newest first.
    #[serde(default)]
    secrets: Vec<Kept>,
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct Kept {
    secret: String,
    /// None: until it is exchanged. In seconds since 1970.
    until: Option<i64>,
}

impl Setting {
    /// Leads there, signed with this secret, if it is signed.
    pub(crate) fn new(to: &str, secret: Option<&Secret>) -> Self {
        let kept = secret.map(|secret| Kept { secret: secret.expose().to_owned(), until: None });
        Self { to: to.to_owned(), secrets: kept.into_iter().collect() }
    }

    /// What was sealed.
    pub(crate) fn read(channel: &AlertChannel, bytes: &[u8]) -> Result<Self, StoreError> {
        Self::of("alert_channels", channel.id, bytes)
    }

    /// The same of a row of this table.
    pub(crate) fn of(table: &'static str, row: Uuid, bytes: &[u8]) -> Result<Self, StoreError> {
        let reason = "it is not the JSON that was sealed";
        serde_json::from_slice(bytes).map_err(|_| StoreError::Sealed { table, row: row.to_string(), reason })
    }

    pub(crate) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(serde_json::to_vec(self).unwrap_or_default())
    }

    pub(crate) fn to(&self) -> Secret {
        Secret::new(self.to.as_str())
    }

    /// The same, leading elsewhere.
    pub(crate) fn lead_to(&mut self, to: &str) {
        self.to.zeroize();
        to.clone_into(&mut self.to);
    }

    /// Signs with this secret from now on, and for a day with the one before, too.
    pub(crate) fn rotate(&mut self, secret: &Secret, now: Timestamp) {
        self.secrets.retain(|kept| kept.until.is_none());
        for kept in &mut self.secrets {
            kept.until = Some(now.saturating_add(EXCHANGE).unwrap_or(now).as_second());
        }
        self.secrets.insert(0, Kept { secret: secret.expose().to_owned(), until: None });
    }

    /// What a message is signed with now.
    pub(crate) fn secrets(&self, now: Timestamp) -> Vec<Secret> {
        let good = self.secrets.iter().filter(|kept| kept.until.is_none_or(|until| now.as_second() < until));
        good.map(|kept| Secret::new(kept.secret.as_str())).collect()
    }
}

/// What may be shown of where a channel leads: a webhook's host, a mail's address.
pub(crate) fn shown(kind: ChannelKind, to: &str) -> String {
    match kind {
        ChannelKind::Email => to.to_owned(),
        ChannelKind::Webhook | ChannelKind::Slack => {
            url::Url::parse(to).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_before_is_good_for_a_day_and_one_before_that_no_more() {
        let now: Timestamp = "2026-06-01T12:00:00Z".parse().unwrap();
        let mut setting = Setting::new("https://a.example/in?key=k", Some(&Secret::new("one")));
        let exposed = |setting: &Setting, hours: i64| -> Vec<String> {
            let at = now + SignedDuration::from_hours(hours);
            setting.secrets(at).iter().map(|secret| secret.expose().to_owned()).collect()
        };
        setting.rotate(&Secret::new("two"), now);
        assert_eq!(exposed(&setting, 23), ["two", "one"]);
        assert_eq!(exposed(&setting, 24), ["two"]);
        setting.rotate(&Secret::new("three"), now);
        assert_eq!(exposed(&setting, 1), ["three", "two"]);
        assert_eq!(shown(ChannelKind::Slack, "https://hooks.example/services/planted"), "hooks.example");
    }
}
