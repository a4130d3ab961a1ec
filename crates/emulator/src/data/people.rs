//! The org itself: its Organization row, its users, its app with key and certificate, and first tokens.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use jiff::Timestamp;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use rusqlite::types::Value as SqlValue;
use serde_json::{Map, Value, json};

use crate::OrgInfo;
use crate::oauth::app::{App, Policy};
use crate::oauth::grants::Session;
use crate::oauth::random_token;
use crate::org::Org;
use crate::records::{self, Write};

/// A user who has approved the app.
const ADMIN: &str = "admin@local.tieline.test";
/// One who has not.
const UNAPPROVED: &str = "unapproved@local.tieline.test";
/// One who approved it and was frozen later.
const INACTIVE: &str = "inactive@local.tieline.test";
/// What the tokens that exist from the start may do.
const FIRST_SCOPE: &str = "refresh_token web api";
/// One who may not change the org, and has approved the app.
const STANDARD: &str = "standard@local.tieline.test";
/// The password of all four.
const PASSWORD: &str = "local-org-1";

pub(crate) fn populate(org: &mut Org, folder: &Path, callback_urls: Vec<String>) -> anyhow::Result<OrgInfo> {
    organization(org)?;
    let mut body = json!({"Name": "System Administrator", "UserType": "Standard", "UserLicenseId": null});
    let object = org.schema.object("Profile").context("Profile is a standard object")?;
    for field in object.fields.iter().filter(|field| field.name.starts_with("Permissions")) {
        body[&field.name] = json!(true);
    }
    let profile = create(org, "Profile", body)?;
    let plain = create(
        org,
        "Profile",
        json!({"Name": "Standard User", "UserType": "Standard", "PermissionsApiEnabled": true}),
    )?;
    let admin = user(org, ADMIN, "Ada", "Local", &profile, true)?;
    org.admin_id.clone_from(&admin);
    let unapproved = user(org, UNAPPROVED, "Una", "Proved", &profile, true)?;
    let inactive = user(org, INACTIVE, "Ina", "Ktiv", &profile, false)?;
    let standard = user(org, STANDARD, "Stan", "Dard", &plain, true)?;

    let lent = LentKey::take()?;
    let key = lent.0.as_ref().context("a key that was just taken")?;
    for id in [&admin, &unapproved, &inactive, &standard] {
        org.passwords.insert(id.clone(), PASSWORD.to_owned());
    }
    let mut policy = Policy::new(callback_urls, ADMIN);
    if org.datacloud.is_some() {
        policy.scopes.extend(crate::datacloud::SCOPES.map(str::to_owned));
    }
    let app = App {
        name: "tieline local app".to_owned(),
        // The shape of a consumer key: a fixed beginning, then characters that are never the same twice.
        client_id: format!("3MVG9{}", random_token(80)),
        client_secret: random_token(64),
        public_key: Some(key.public_der.clone()),
        initial: policy.clone(),
        policy,
        made_by: None,
        active_from: Timestamp::MIN,
    };
    org.approvals.extend([&admin, &inactive, &standard].map(|user| (app.client_id.clone(), user.clone())));
    let (scope, now) = (first_scope(org), org.now());
    let (family, refresh_token) = org.grants.open_family(&admin, &app.client_id, &scope, now);
    let access_token = org.open_session(Session {
        user_id: admin,
        client_id: app.client_id.clone(),
        scope,
        family: Some(family),
        by_password: false,
        opened: now,
        last_used: now,
    });
    let info = OrgInfo {
        login_url: org.base_url.clone(),
        instance_url: org.base_url.clone(),
        client_id: app.client_id.clone(),
        client_secret: app.client_secret.clone(),
        username: ADMIN.to_owned(),
        password: PASSWORD.to_owned(),
        private_key_file: folder.join("private_key.pem"),
        certificate_file: folder.join("public.crt"),
        refresh_token,
        access_token,
        control_url: format!("{}{}", org.base_url, crate::control::PATH),
        datacloud_url: org.datacloud.as_ref().map(|datacloud| datacloud.url.clone()),
        ca_file: None,
    };
    org.apps.push(app);
    org.apps.push(command_line_app());
    write_private(&info.private_key_file, &key.private_pem)?;
    std::fs::write(&info.certificate_file, &key.certificate_pem)?;
    org.app_key = Some(lent);
    Ok(info)
}

/// What a token may do that nobody has asked for by a login.
pub(crate) fn first_scope(org: &Org) -> String {
    match org.datacloud {
        Some(_) => format!("{FIRST_SCOPE} {}", crate::datacloud::SCOPES.join(" ")),
        None => FIRST_SCOPE.to_owned(),
    }
}

fn create(org: &mut Org, object: &str, body: Value) -> anyhow::Result<String> {
    let Value::Object(body) = body else { anyhow::bail!("a record is an object") };
    let known: Map<String, Value> = {
        let object = org.schema.object(object).context("the object is a standard one")?;
        body.into_iter().filter(|(key, _)| object.field(key).is_some()).collect()
    };
    let author = org.admin_id.clone();
    // References to users and licences that are not rows of this org are not checked against anything.
    org.create(object, &known, &author, true)
        .map_err(|e| anyhow::anyhow!("could not create the first {object}: {}", e.message))
}

/// The app of Salesforce's own command line, which every org knows: public, with a fixed name and a fixed callback.
fn command_line_app() -> App {
    let policy = Policy {
        scopes: ["refresh_token", "api", "web", "id", "full"].map(str::to_owned).into(),
        secret_required_for_refresh: false,
        client_credentials_user: None,
        password_flow: false,
        // Gone from the command line, and blocked by orgs, since 2025.
        device_flow: false,
        ..Policy::new(Vec::new(), "")
    };
    App {
        name: "Salesforce CLI".to_owned(),
        client_id: "PlatformCLI".to_owned(),
        client_secret: random_token(64),
        public_key: None,
        initial: policy.clone(),
        policy,
        made_by: None,
        active_from: Timestamp::MIN,
    }
}

fn organization(org: &mut Org) -> anyhow::Result<()> {
    let text = |t: &str| SqlValue::Text(t.to_owned());
    let columns = [
        ("Id", text(&org.id)),
        ("Name", text("tieline local org")),
        ("OrganizationType", text("Developer Edition")),
        ("InstanceName", text("LOCAL1")),
        ("LanguageLocaleKey", text("en_US")),
        ("IsSandbox", SqlValue::Integer(0)),
        ("CreatedDate", text("2020-01-01T00:00:00.000+0000")),
        ("LastModifiedDate", text("2020-01-01T00:00:00.000+0000")),
        ("SystemModstamp", text("2020-01-01T00:00:00.000+0000")),
    ];
    let write = Write::Insert {
        object: "Organization".to_owned(),
        id: org.id.clone(),
        columns: columns.into_iter().map(|(c, v)| (c.to_owned(), v)).collect(),
    };
    records::apply(&org.db, &write).map_err(|e| anyhow::anyhow!("could not create the Organization: {}", e.message))
}

fn user(org: &mut Org, username: &str, first: &str, last: &str, profile: &str, active: bool) -> anyhow::Result<String> {
    create(
        org,
        "User",
        json!({
            "Username": username, "FirstName": first, "LastName": last, "Email": username,
            "Alias": first.to_lowercase(), "CommunityNickname": first, "IsActive": active, "ProfileId": profile,
            "TimeZoneSidKey": "GMT", "LocaleSidKey": "en_US", "EmailEncodingKey": "UTF-8", "LanguageLocaleKey": "en_US",
            "UserType": "Standard", "CreatedDate": "2020-01-01T00:00:00Z", "LastModifiedDate": "2020-01-01T00:00:00Z",
            "SystemModstamp": "2020-01-01T00:00:00Z",
        }),
    )
}

/// An RSA key that no other living org of this process has. It takes longer to make than all the rest of a start, and
/// tests start many orgs, one after the other: an org that has ended leaves its key to the next.
pub(crate) struct LentKey(Option<AppKey>);

/// A key, a self-signed certificate over it, and the public half as PKCS#1 DER.
struct AppKey {
    private_pem: String,
    certificate_pem: String,
    public_der: Vec<u8>,
}

/// Keys of orgs that have ended.
static FREE_KEYS: Mutex<Vec<AppKey>> = Mutex::new(Vec::new());

impl LentKey {
    fn take() -> anyhow::Result<Self> {
        let free = FREE_KEYS.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Ok(LentKey(Some(free.map_or_else(AppKey::new, Ok)?)))
    }
}

impl Drop for LentKey {
    fn drop(&mut self) {
        FREE_KEYS.lock().unwrap_or_else(PoisonError::into_inner).extend(self.0.take());
    }
}

impl AppKey {
    fn new() -> anyhow::Result<Self> {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, "tieline local org app");
        let certificate = parameters.self_signed(&key)?;
        let (private_pem, certificate_pem) = (key.serialize_pem(), certificate.pem());
        Ok(AppKey { private_pem, certificate_pem, public_der: key.public_key_raw().to_vec() })
    }
}

fn write_private(file: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file_handle = options.open(file).with_context(|| format!("could not write {}", file.display()))?;
    file_handle.write_all(text.as_bytes())?;
    Ok(())
}
