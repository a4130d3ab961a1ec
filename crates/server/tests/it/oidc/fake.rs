//! A provider of ours that lies on demand, written from the standards and with nothing of the service's own code.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tieline_auth::{Clock, ManualClock};
use url::Url;

/// How it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    /// Not at all.
    None,
    Nonce,
    NoNonce,
    AlgorithmNone,
    /// A MAC with the public key, as its set shows it, for a secret.
    MacOfPublicKey,
    MacOfClientSecret,
    Audience,
    TwoAudiences,
    AuthorizedParty,
    Issuer,
    Expired,
    Future,
    UnknownKey,
    /// Signed by a key of somebody else's, under the name of the provider's.
    ForeignSignature,
    ClaimsChangedAfter,
    AccessToken,
    /// The userinfo endpoint tells of somebody else.
    OtherPerson,
    /// Its key set is a redirect.
    KeysElsewhere,
    /// Its token endpoint never ends its answer.
    Endless,
}

pub(super) struct Fake {
    pub(super) issuer: String,
    pub(super) lie: Mutex<Lie>,
    /// What it says of whoever signs in.
    pub(super) person: Mutex<Value>,
    /// Whether addresses are behind the userinfo endpoint.
    pub(super) thin: Mutex<bool>,
    /// Whether it looks at verifier and client before it gives tokens.
    pub(super) careful: Mutex<bool>,
    pub(super) key_sets: AtomicU32,
    pub(super) exchanges: AtomicU32,
    pub(super) clock: OnceLock<Arc<ManualClock>>,
    keys: Mutex<(EcdsaKeyPair, String)>,
    codes: Mutex<HashMap<String, (String, String)>>,
}

impl Fake {
    pub(super) async fn start() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Arc::new(Self {
            issuer: format!("http://{}", listener.local_addr().unwrap()),
            lie: Mutex::new(Lie::None),
            person: Mutex::new(
                json!({"sub": "s1", "email": "owner@example.com", "email_verified": true, "name": "Ada"}),
            ),
            thin: Mutex::new(false),
            careful: Mutex::new(true),
            key_sets: AtomicU32::new(0),
            exchanges: AtomicU32::new(0),
            clock: OnceLock::new(),
            keys: Mutex::new((key(), "k1".to_owned())),
            codes: Mutex::default(),
        });
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(configuration))
            .route("/jwks", get(key_set))
            .route("/elsewhere", get(honest_key_set))
            .route("/token", post(token))
            .route("/userinfo", get(userinfo))
            .with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        fake
    }

    pub(super) fn lie(&self, lie: Lie) {
        *self.lie.lock().unwrap() = lie;
    }

    pub(super) fn person(&self, person: Value) {
        *self.person.lock().unwrap() = person;
    }

    pub(super) fn rotate(&self, kid: &str) {
        *self.keys.lock().unwrap() = (key(), kid.to_owned());
    }

    /// What happens at the sign-in page: the query that the browser is sent back with.
    pub(super) fn sign_in(&self, page: &Url) -> String {
        let query: HashMap<String, String> = page.query_pairs().into_owned().collect();
        assert_eq!((query["response_type"].as_str(), query["client_id"].as_str()), ("code", "tieline"));
        assert_eq!(
            (query["code_challenge_method"].as_str(), query["scope"].as_str()),
            ("S256", "openid email profile")
        );
        assert!(query["redirect_uri"].ends_with("/sign-in/callback"), "{page}");
        let code = format!("code-{}", self.codes.lock().unwrap().len());
        let kept = (query["nonce"].clone(), query["code_challenge"].clone());
        self.codes.lock().unwrap().insert(code.clone(), kept);
        format!("state={}&code={code}", query["state"])
    }

    fn public_key(&self) -> Value {
        let keys = self.keys.lock().unwrap();
        let point = keys.0.public_key().as_ref();
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "kid": keys.1, "use": "sig", "alg": "ES256",
            "x": part(&point[1..33]), "y": part(&point[33..65])})
    }

    fn id_token(&self, nonce: &str, lie: Lie) -> String {
        let now = self.clock.get().unwrap().now().as_second();
        let mut header = json!({"alg": "ES256", "typ": "JWT", "kid": self.keys.lock().unwrap().1});
        let mut claims = json!({"iss": self.issuer, "aud": "tieline", "exp": now + 300, "iat": now, "nonce": nonce});
        for (key, value) in self.person.lock().unwrap().as_object().unwrap() {
            if key == "sub" || !*self.thin.lock().unwrap() {
                claims[key] = value.clone();
            }
        }
        match lie {
            Lie::Nonce => claims["nonce"] = json!("another"),
            Lie::NoNonce => drop(claims.as_object_mut().unwrap().remove("nonce")),
            Lie::Audience => claims["aud"] = json!("another"),
            Lie::TwoAudiences => claims["aud"] = json!(["tieline", "another"]),
            Lie::AuthorizedParty => claims["azp"] = json!("another"),
            Lie::Issuer => claims["iss"] = json!("http://127.0.0.1:1"),
            Lie::Expired => claims["exp"] = json!(now - 300),
            Lie::Future => claims["iat"] = json!(now + 300),
            Lie::UnknownKey => header["kid"] = json!("k9"),
            Lie::AccessToken => header["typ"] = json!("at+jwt"),
            Lie::AlgorithmNone => header["alg"] = json!("none"),
            Lie::MacOfPublicKey | Lie::MacOfClientSecret => header["alg"] = json!("HS256"),
            _ => {}
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let mut message = format!("{}.{}", part(&header), part(&claims));
        let mac = |secret: &[u8]| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes()).as_ref().to_vec()
        };
        let sign = |key: &EcdsaKeyPair| key.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec();
        let signature = match lie {
            Lie::AlgorithmNone => Vec::new(),
            Lie::MacOfPublicKey => mac(self.public_key().to_string().as_bytes()),
            Lie::MacOfClientSecret => mac(SECRET.as_bytes()),
            Lie::ForeignSignature => sign(&key()),
            _ => sign(&self.keys.lock().unwrap().0),
        };
        if lie == Lie::ClaimsChangedAfter {
            claims["sub"] = json!("s9");
            message = format!("{}.{}", part(&header), part(&claims));
        }
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

pub(super) const SECRET: &str = "planted: s%cret/+";

fn key() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()
}

async fn configuration(State(fake): State<Arc<Fake>>) -> Json<Value> {
    let at = |path: &str| format!("{}{path}", fake.issuer);
    Json(json!({
        "issuer": fake.issuer, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"),
        "jwks_uri": at("/jwks"), "userinfo_endpoint": at("/userinfo"), "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"], "id_token_signing_alg_values_supported": ["ES256"],
    }))
}

async fn key_set(State(fake): State<Arc<Fake>>) -> Response {
    fake.key_sets.fetch_add(1, Ordering::Relaxed);
    if *fake.lie.lock().unwrap() == Lie::KeysElsewhere {
        return Redirect::temporary("/elsewhere").into_response();
    }
    Json(json!({"keys": [fake.public_key()]})).into_response()
}

async fn honest_key_set(State(fake): State<Arc<Fake>>) -> Json<Value> {
    Json(json!({"keys": [fake.public_key()]}))
}

async fn token(
    State(fake): State<Arc<Fake>>,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    fake.exchanges.fetch_add(1, Ordering::Relaxed);
    let lie = *fake.lie.lock().unwrap();
    if lie == Lie::Endless {
        let chunks = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 65_536]));
        return axum::body::Body::from_stream(chunks).into_response();
    }
    let denied = |error: &str| (StatusCode::BAD_REQUEST, Json(json!({"error": error}))).into_response();
    let careful = *fake.careful.lock().unwrap();
    // A careful one takes a code once.
    let kept = match careful {
        true => fake.codes.lock().unwrap().remove(&form["code"]),
        false => fake.codes.lock().unwrap().get(&form["code"]).cloned(),
    };
    let Some((nonce, challenge)) = kept else { return denied("invalid_grant") };
    let sent = headers.get("authorization").map(|value| value.to_str().unwrap().replace("Basic ", ""));
    let pair = sent.map(|sent| String::from_utf8(STANDARD.decode(sent).unwrap()).unwrap());
    if careful && pair.as_deref() != Some("tieline:planted%3A+s%25cret%2F%2B") {
        return denied("invalid_client");
    }
    let computed = URL_SAFE_NO_PAD.encode(digest(&SHA256, form["code_verifier"].as_bytes()));
    if careful && computed != challenge {
        return denied("invalid_grant");
    }
    Json(json!({"token_type": "Bearer", "access_token": "planted-access", "id_token": fake.id_token(&nonce, lie)}))
        .into_response()
}

async fn userinfo(State(fake): State<Arc<Fake>>, headers: HeaderMap) -> Response {
    if headers.get("authorization").is_none_or(|value| value != "Bearer planted-access") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let mut person = fake.person.lock().unwrap().clone();
    if *fake.lie.lock().unwrap() == Lie::OtherPerson {
        person["sub"] = json!("s9");
    }
    Json(person).into_response()
}
