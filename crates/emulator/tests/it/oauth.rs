//! The OAuth endpoints by plain HTTP. Bodies are those of Salesforce's documents and recordings.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use url::Url;

use crate::{Org, answer};

const CALLBACK: &str = "http://localhost:1717/OauthRedirect";
const EXPIRED: &str = "expired access/refresh token";

impl Org {
    pub(crate) fn of_app<'a>(&'a self, fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let info = self.emulator.info();
        let own = [("client_id", info.client_id.as_str()), ("client_secret", info.client_secret.as_str())];
        own.into_iter().chain(fields.iter().copied()).collect()
    }

    async fn refresh(&self, token: &str) -> (u16, Value) {
        self.token(&self.of_app(&[("grant_type", "refresh_token"), ("refresh_token", token)])).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> u16 {
        let url = format!("{}/{path}", self.emulator.info().control_url);
        self.http.put(url).json(&body).send().await.unwrap().status().as_u16()
    }

    pub(crate) async fn post_control(&self, path: &str, body: Value) -> (u16, Value) {
        let url = format!("{}/{path}", self.emulator.info().control_url);
        answer(self.http.post(url).json(&body).send().await.unwrap()).await
    }

    pub(crate) async fn ledger(&self) -> Value {
        let url = format!("{}/ledger", self.emulator.info().control_url);
        answer(self.http.get(url).send().await.unwrap()).await.1
    }

    pub(crate) async fn works(&self, token: &str) -> bool {
        let url = self.url("/services/data/v67.0/limits");
        self.http.get(url).bearer_auth(token).send().await.unwrap().status() == 200
    }

    async fn introspect(&self, token: &str, proven: bool) -> Value {
        let form = if proven { self.of_app(&[("token", token)]) } else { vec![("token", token)] };
        let request = self.http.post(self.url("/services/oauth2/introspect")).form(&form);
        answer(request.send().await.unwrap()).await.1
    }

    fn authorize(&self, fields: &[(&str, &str)]) -> Url {
        let mut url: Url = self.url("/services/oauth2/authorize").parse().unwrap();
        let own = [("response_type", "code"), ("client_id", self.emulator.info().client_id.as_str())];
        url.query_pairs_mut().extend_pairs(own).append_pair("redirect_uri", CALLBACK).extend_pairs(fields);
        url
    }

    /// Signs in as the admin; the cookie.
    async fn sign_in(&self) -> String {
        let page = self.quiet().get(self.authorize(&[])).send().await.unwrap().text().await.unwrap();
        let form = page.split_once("name=\"form\" value=\"").unwrap().1.split('"').next().unwrap();
        let info = self.emulator.info();
        let fields = [("form", form), ("username", &info.username), ("password", &info.password)];
        let response = self.quiet().post(self.url("/login")).form(&fields).send().await.unwrap();
        assert_eq!(response.status(), 302);
        let cookie = response.headers()["set-cookie"].to_str().unwrap();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
        cookie.split(';').next().unwrap().to_owned()
    }

    fn quiet(&self) -> reqwest::Client {
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap()
    }

    /// Where a signed-in browser is sent.
    async fn sent_to(&self, url: Url, cookie: &str) -> Url {
        let response = self.quiet().get(url).header("cookie", cookie).send().await.unwrap();
        assert_eq!(response.status(), 302, "{}", response.text().await.unwrap());
        response.headers()["location"].to_str().unwrap().parse().unwrap()
    }

    async fn code(&self, fields: &[(&str, &str)]) -> String {
        let cookie = self.sign_in().await;
        pair(&self.sent_to(self.authorize(fields), &cookie).await, "code").unwrap()
    }
}

fn pair(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn refused(body: &Value, error: &str, description: &str) {
    assert_eq!(body, &json!({"error": error, "error_description": description}));
}

#[tokio::test]
async fn a_rotated_token_works_once_and_its_replay_ends_the_family() {
    let org = Org::start().await;
    let first = org.emulator.info().refresh_token.clone();
    let (status, body) = org.refresh(&first).await;
    assert!(status == 200 && body.get("refresh_token").is_none(), "without rotation there is no new one: {body}");
    assert_eq!(org.put("app", json!({"rotation": true})).await, 204);
    let (_, body) = org.refresh(&first).await;
    let second = body["refresh_token"].as_str().unwrap().to_owned();
    let access = body["access_token"].as_str().unwrap().to_owned();
    let (_, body) = org.refresh(&second).await;
    let third = body["refresh_token"].as_str().unwrap().to_owned();
    assert!(org.works(&access).await, "an access token outlives the refresh token it came from");
    let (status, body) = org.refresh(&second).await;
    assert_eq!(status, 400);
    refused(&body, "invalid_grant", EXPIRED);
    refused(&org.refresh(&third).await.1, "invalid_grant", EXPIRED);
    assert!(!org.works(&access).await, "all access tokens of the family ended");
    let ledger = org.ledger().await;
    assert_eq!(ledger["spent_refresh_tokens_replayed"], 1);
    assert_eq!(ledger["refresh_families"], json!({"alive": 0, "revoked": 1}));
    // Another family is not touched by it.
    let other = org.post_control("refresh-tokens", json!({})).await.1["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(org.refresh(&other).await.0, 200);
}

#[tokio::test]
async fn a_user_has_five_live_families_of_an_app_and_the_sixth_ends_the_oldest() {
    let org = Org::start().await;
    for _ in 0..4 {
        org.post_control("refresh-tokens", json!({})).await;
    }
    assert_eq!(org.refresh(&org.emulator.info().refresh_token).await.0, 200);
    org.post_control("refresh-tokens", json!({})).await;
    refused(&org.refresh(&org.emulator.info().refresh_token).await.1, "invalid_grant", EXPIRED);
}

#[tokio::test]
async fn a_code_needs_its_verifier_its_redirect_and_is_good_once() {
    let org = Org::start().await;
    let verifier = "v".repeat(43);
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
    let with = [
        ("code_challenge", challenge.as_str()),
        ("state", "s & t"),
        ("scope", "api refresh_token openid"),
        ("nonce", "n1"),
    ];
    let public = [("client_id", org.emulator.info().client_id.as_str())];
    let swap = async |code: &str, verifier: &str, redirect: &str| {
        let fields = [("code", code), ("code_verifier", verifier), ("redirect_uri", redirect)];
        let form: Vec<_> = public.into_iter().chain(fields).chain([("grant_type", "authorization_code")]).collect();
        org.token(&form).await
    };
    refused(&swap(&org.code(&with).await, "", CALLBACK).await.1, "invalid_grant", "invalid code verifier");
    refused(&swap(&org.code(&with).await, &"w".repeat(43), CALLBACK).await.1, "invalid_grant", "invalid code verifier");
    let other = swap(&org.code(&with).await, &verifier, "http://localhost:1/other").await.1;
    refused(&other, "redirect_uri_mismatch", "redirect_uri must match configuration");

    let code = org.code(&with).await;
    assert!(code.ends_with("=="), "as real codes do");
    let (status, body) = swap(&code, &verifier, CALLBACK).await;
    assert_eq!(status, 200, "a public client with PKCE needs no secret: {body}");
    assert!(body["refresh_token"].as_str().unwrap().starts_with("5Aep861") && body.get("expires_in").is_none());
    let id_token = body["id_token"].as_str().unwrap().split('.').nth(1).unwrap().to_owned();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(id_token).unwrap()).unwrap();
    assert_eq!((&claims["nonce"], &claims["aud"]), (&json!("n1"), &json!(org.emulator.info().client_id)));
    refused(&swap(&code, &verifier, CALLBACK).await.1, "invalid_grant", "invalid authorization code");

    let late = org.code(&with).await;
    org.put("clock", json!({"advance_seconds": 901})).await;
    refused(&swap(&late, &verifier, CALLBACK).await.1, "invalid_grant", "expired authorization code");
    refused(&swap(&org.code(&[]).await, "", CALLBACK).await.1, "invalid_client", "invalid client credentials");
}

#[tokio::test]
async fn the_authorize_page_sends_errors_where_they_belong() {
    let org = Org::start().await;
    for (change, text) in [
        (("client_id", "3MVG9unknown"), "error=invalid_client_id&error_description=client%20identifier%20invalid"),
        (
            ("redirect_uri", "https://evil.example"),
            "error=redirect_uri_mismatch&error_description=redirect_uri%20must%20match%20configuration",
        ),
        (("response_type", "magic"), "error=unsupported_response_type"),
    ] {
        let mut url = org.authorize(&[]);
        let pairs: Vec<_> = url.query_pairs().map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
        url.query_pairs_mut().clear();
        for (key, value) in &pairs {
            url.query_pairs_mut().append_pair(key, if key == change.0 { change.1 } else { value });
        }
        let response = org.quiet().get(url).send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.headers()["content-type"].as_bytes()), (400, &b""[..]));
        let body = response.text().await.unwrap();
        assert!(body.starts_with(text), "{body}");
    }
    let cookie = org.sign_in().await;
    org.put("app", json!({"pkce_required": true})).await;
    for (fields, error) in [
        (&[("state", "s1")][..], "invalid_request"),
        (&[("state", "s1"), ("code_challenge", "c"), ("scope", "magic")], "invalid_scope"),
        (
            &[("state", "s1"), ("code_challenge", "c"), ("immediate", "true"), ("prompt", "consent")],
            "immediate_unsuccessful",
        ),
    ] {
        let sent = org.sent_to(org.authorize(fields), &cookie).await;
        assert!(sent.as_str().starts_with(CALLBACK), "{sent}");
        assert_eq!((pair(&sent, "error").as_deref(), pair(&sent, "state").as_deref()), (Some(error), Some("s1")));
    }
    org.put("app", json!({"pkce_required": false})).await;
    let sent = org.sent_to(org.authorize(&[("response_type", "token")]), &cookie).await;
    let fragment = sent.fragment().unwrap_or_default();
    assert!(
        sent.query().is_none() && fragment.starts_with("access_token=00D"),
        "the implicit flow answers after #: {sent}"
    );
}

#[tokio::test]
async fn a_form_of_consent_counts_once_and_only_here() {
    let org = Org::start().await;
    let cookie = org.sign_in().await;
    let url = org.authorize(&[("prompt", "consent")]);
    let page = org.quiet().get(url).header("cookie", &cookie).send().await.unwrap().text().await.unwrap();
    assert!(
        page.contains("<strong>tieline local app</strong> is asking to") && page.contains("(refresh_token)"),
        "{page}"
    );
    let form = page.split_once("name=\"form\" value=\"").unwrap().1.split('"').next().unwrap().to_owned();
    let press = async |form: &str, decision: &str| {
        let request = org.quiet().post(org.url("/services/oauth2/consent"));
        request.form(&[("form", form), ("decision", decision)]).send().await.unwrap()
    };
    assert_eq!(press("made-up", "allow").await.status(), 403);
    let denied = press(&form, "deny").await;
    let sent: Url = denied.headers()["location"].to_str().unwrap().parse().unwrap();
    assert_eq!(pair(&sent, "error").as_deref(), Some("access_denied"));
    assert_eq!(pair(&sent, "error_description").as_deref(), Some("end-user denied authorization"));
    assert_eq!(press(&form, "allow").await.status(), 403, "it was used");
}

#[tokio::test]
async fn grants_without_a_person_are_checked() {
    let org = Org::start().await;
    let info = org.emulator.info();
    let grant = async |fields: &[(&str, &str)]| org.token(&org.of_app(fields)).await;
    assert_eq!(grant(&[("grant_type", "client_credentials")]).await.0, 200);
    let basic = org.http.post(org.url("/services/oauth2/token")).basic_auth(&info.client_id, Some(&info.client_secret));
    assert_eq!(answer(basic.form(&[("grant_type", "client_credentials")]).send().await.unwrap()).await.0, 200);
    let public = org.token(&[("grant_type", "client_credentials"), ("client_id", &info.client_id)]).await;
    refused(&public.1, "invalid_client", "invalid client credentials");
    org.put("app", json!({"client_credentials_user": null, "password_flow": false})).await;
    let none = grant(&[("grant_type", "client_credentials")]).await.1;
    refused(&none, "invalid_grant", "no client credentials user enabled");
    let password =
        [("grant_type", "password"), ("username", info.username.as_str()), ("password", info.password.as_str())];
    refused(&grant(&password).await.1, "oauth_flow_disabled", "username-password flow disabled");
    org.put("app", json!({"password_flow": true, "exchange_subjects": {"theirs": info.username}})).await;
    assert_eq!(grant(&password).await.0, 200);
    let wrong = [password[0], password[1], ("password", "wrong")];
    refused(&grant(&wrong).await.1, "invalid_grant", "authentication failure");
    const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
    let exchange = async |token, kind| {
        grant(&[("grant_type", EXCHANGE), ("subject_token", token), ("subject_token_type", kind)]).await
    };
    assert_eq!(exchange("theirs", "urn:ietf:params:oauth:token-type:jwt").await.0, 200);
    assert_eq!(exchange("other", "urn:ietf:params:oauth:token-type:jwt").await.1["error"], "invalid_grant");
    assert_eq!(exchange("theirs", "jwt").await.1["error"], "invalid_request");
    org.post_control("users/freeze", json!({"username": info.username, "active": false})).await;
    refused(&grant(&password).await.1, "invalid_grant", "inactive user");
    refused(&grant(&[("grant_type", "magic")]).await.1, "unsupported_grant_type", "grant type not supported");
}

#[tokio::test]
async fn a_device_is_told_to_wait_slow_down_and_give_up() {
    let org = Org::start().await;
    let id = &org.emulator.info().client_id;
    let start = [("response_type", "device_code"), ("client_id", id.as_str()), ("scope", "api")];
    let (status, body) = org.token(&start).await;
    assert_eq!((status, &body["interval"]), (200, &json!(5)));
    assert_eq!(body["verification_uri"], org.url("/setup/connect"));
    assert_eq!(body["user_code"].as_str().unwrap().len(), 8);
    let code = body["device_code"].as_str().unwrap().to_owned();
    let poll = async || org.token(&[("grant_type", "device"), ("client_id", id), ("code", &code)]).await.1;
    assert_eq!(poll().await["error"], "authorization_pending");
    assert_eq!(poll().await["error"], "slow_down");
    org.put("clock", json!({"advance_seconds": 6})).await;
    assert_eq!(poll().await["error"], "authorization_pending");
    org.put("clock", json!({"advance_seconds": 601})).await;
    assert_eq!(poll().await["error"], "invalid_grant");
    // The Salesforce CLI's library begins with a multipart form.
    let body = format!(
        "--b\r\nContent-Disposition: form-data; name=\"response_type\"\r\n\r\ndevice_code\r\n--b\r\nContent-Disposition: form-data; name=\"client_id\"\r\n\r\n{id}\r\n--b--\r\n"
    );
    let request =
        org.http.post(org.url("/services/oauth2/token")).header("content-type", "multipart/form-data; boundary=b");
    assert_eq!(answer(request.body(body).send().await.unwrap()).await.0, 200);
}

#[tokio::test]
async fn introspection_and_revocation_tell_what_lives() {
    let org = Org::start().await;
    let info = org.emulator.info();
    org.put("limits", json!({"token_life_seconds": 60})).await;
    let access = org.refresh(&info.refresh_token).await.1["access_token"].as_str().unwrap().to_owned();
    let told = org.introspect(&access, true).await;
    assert_eq!(
        (&told["active"], &told["token_type"], &told["username"]),
        (&json!(true), &json!("access_token"), &json!(info.username))
    );
    let life = told["exp"].as_i64().unwrap() - told["iat"].as_i64().unwrap();
    assert!((59..=61).contains(&life), "{told}");
    assert_eq!(org.introspect(&access, false).await, json!({"active": false}), "the app must prove itself");
    assert_eq!(org.introspect(&info.refresh_token, true).await["token_type"], "refresh_token");
    org.put("clock", json!({"advance_seconds": 61})).await;
    assert_eq!(org.introspect(&access, true).await, json!({"active": false}));
    assert!(!org.works(&access).await, "its life is over, however much it was used");

    org.put("limits", json!({"token_life_seconds": null})).await;
    let access = org.refresh(&info.refresh_token).await.1["access_token"].as_str().unwrap().to_owned();
    let revoke = async |token: &str| {
        let request = org.http.post(org.url("/services/oauth2/revoke")).form(&[("token", token)]);
        answer(request.send().await.unwrap()).await
    };
    assert_eq!(revoke(&access).await, (200, json!("")));
    assert_eq!(org.refresh(&info.refresh_token).await.0, 200, "an access token's end leaves the refresh token");
    let access = org.refresh(&info.refresh_token).await.1["access_token"].as_str().unwrap().to_owned();
    assert_eq!(revoke(&info.refresh_token).await.0, 200);
    assert!(!org.works(&access).await, "a refresh token's end is that of its access tokens");
    assert_eq!(revoke("unknown").await, (400, json!("error=invalid_token&error_description=invalid%20token")));
    let url = org.url(&format!("/services/oauth2/revoke?token={}&callback=done", info.access_token));
    assert!(answer(org.http.get(url).send().await.unwrap()).await.0 == 400, "it ended with its family");
}

#[tokio::test]
async fn an_assertion_too_far_ahead_is_refused_only_where_the_app_says_so() {
    let org = Org::start().await;
    let info = org.emulator.info();
    let claims = json!({"iss": info.client_id, "sub": info.username, "aud": info.login_url, "exp": 4_000_000_000i64});
    let assertion = org.assertion(&claims);
    let form = [("grant_type", crate::JWT), ("assertion", assertion.as_str())];
    assert_eq!(org.token(&form).await.0, 200);
    org.put("app", json!({"jwt_max_seconds_ahead": 300})).await;
    refused(&org.token(&form).await.1, "invalid_grant", "expired authorization code");
    org.post_control("reset", json!({})).await;
    assert_eq!(org.token(&form).await.0, 200, "a reset brings the policy back");
    // The client may prove itself by an assertion instead of a secret.
    let own = json!({"iss": info.client_id, "sub": info.client_id, "aud": org.url("/services/oauth2/token"), "exp": 4_000_000_000i64});
    let own = org.assertion(&own);
    let form = [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", own.as_str()),
    ];
    assert_eq!(org.token(&form).await.0, 200);
}
