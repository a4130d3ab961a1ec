//! `/.well-known/openid-configuration`.

use serde_json::{Value, json};

pub(crate) fn configuration(base: &str) -> Value {
    let endpoint = |name: &str| format!("{base}/services/oauth2/{name}");
    json!({
        "issuer": base,
        "authorization_endpoint": endpoint("authorize"),
        "token_endpoint": endpoint("token"),
        "revocation_endpoint": endpoint("revoke"),
        "userinfo_endpoint": endpoint("userinfo"),
        "introspection_endpoint": endpoint("introspect"),
        "jwks_uri": format!("{base}/id/keys"),
        "scopes_supported": ["api", "web", "full", "id", "openid", "profile", "email", "refresh_token", "offline_access"],
        "response_types_supported": ["code", "token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic", "private_key_jwt"],
    })
}
