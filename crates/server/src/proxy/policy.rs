//! What an integration allows: `proxy` and `api_reserve` of its config.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tieline_client::Reserve;
use utoipa::ToSchema;

use crate::problem::Problem;

/// What may be called through an integration's proxy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProxyMode {
    /// Nothing.
    Off,
    /// GET and HEAD.
    Read,
    /// Everything.
    #[default]
    Write,
}

impl ProxyMode {
    /// Its name in the config.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Read => "read",
            Self::Write => "write",
        }
    }

    pub(super) fn allows(self, changes: bool) -> Result<(), Problem> {
        let detail = match (self, changes) {
            (Self::Write, _) | (Self::Read, false) => return Ok(()),
            (Self::Off, _) => "the proxy of this integration is switched off",
            (Self::Read, true) => "the proxy of this integration only reads",
        };
        let hint = "an admin changes it: PATCH /api/integrations/{id} with {\"proxy\": \"write\"}";
        Err(Problem::forbidden("proxy_off", detail, hint))
    }
}

/// What a config says. What nobody can read allows nothing.
pub(crate) fn mode_of(config: &Value) -> ProxyMode {
    match config.get("proxy") {
        None | Some(Value::Null) => ProxyMode::default(),
        Some(value) => serde_json::from_value(value.clone()).unwrap_or(ProxyMode::Off),
    }
}

/// API calls that are left to others: a number, or per cent such as `20%`.
pub(crate) fn reserve_of(config: &Value) -> Reserve {
    let text = match config.get("api_reserve") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => return Reserve::None,
    };
    text.parse().unwrap_or_else(|reason: &str| {
        tracing::warn!(text, reason, "the integration's api_reserve cannot be read, and none is kept");
        Reserve::None
    })
}

/// The same as somebody writes it.
///
/// # Errors
/// 400.
pub(crate) fn checked_reserve(text: &str) -> Result<String, Problem> {
    let text = text.trim();
    match text.parse::<Reserve>() {
        _ if text.len() > 20 => {
            Err(Problem::invalid("`api_reserve` is too long", "give calls, or per cent such as 20%"))
        }
        Ok(_) => Ok(text.to_owned()),
        Err(reason) => Err(Problem::invalid("`api_reserve` cannot be read", reason)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn configs_are_read() {
        for (config, mode) in [
            (json!({}), ProxyMode::Write),
            (json!({"proxy": "read"}), ProxyMode::Read),
            (json!({"proxy": "off"}), ProxyMode::Off),
            (json!({"proxy": "wirte"}), ProxyMode::Off),
        ] {
            assert_eq!(mode_of(&config), mode, "{config}");
        }
        assert_eq!(reserve_of(&json!({"api_reserve": 500})), Reserve::Calls(500));
        assert_eq!(reserve_of(&json!({"api_reserve": "20%"})), Reserve::Percent(20.0));
        assert_eq!(reserve_of(&json!({})), Reserve::None);
        assert!(checked_reserve("101%").is_err() && checked_reserve("-1").is_err());
    }
}
