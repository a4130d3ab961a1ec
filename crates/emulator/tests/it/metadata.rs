//! The Metadata API by plain HTTP, in the words of real clients; and what a deploy changes in the org.

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;

use crate::{JWT, Org, answer, sign};

const META: &str = "xmlns=\"http://soap.sforce.com/2006/04/metadata\"";

fn zip(files: &[(&str, String)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn manifest(types: &[(&str, &str)]) -> (&'static str, String) {
    let types: String = types
        .iter()
        .map(|(name, member)| format!("<types><members>{member}</members><name>{name}</name></types>"))
        .collect();
    ("package.xml", format!("<?xml version=\"1.0\"?><Package {META}>{types}<version>66.0</version></Package>"))
}

fn file(root: &str, inner: &str) -> String {
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root} {META}>{inner}</{root}>")
}

/// A key file and the certificate over it.
fn pair(folder: &Path) -> (std::path::PathBuf, String) {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap().pem();
    let path = folder.join(format!("{}.pem", fastrand::u64(..)));
    std::fs::write(&path, key.serialize_pem()).unwrap();
    (path, certificate)
}

/// The five files of an external client app whose users a permission set pre-authorises.
fn external_app(certificate: &str, set: &str) -> Vec<u8> {
    let of = "<externalClientApplication>Job</externalClientApplication><label>Job</label>";
    zip(&[
        manifest(&[
            ("ExternalClientApplication", "Job"),
            ("ExtlClntAppOauthSettings", "Job_oauth"),
            ("ExtlClntAppGlobalOauthSettings", "Job_glbloauth"),
            ("ExtlClntAppOauthConfigurablePolicies", "Job_oauthPlcy"),
            ("ExtlClntAppConfigurablePolicies", "Job_plcy"),
        ]),
        (
            "externalClientApps/Job.eca",
            file(
                "ExternalClientApplication",
                "<contactEmail>a@b.example</contactEmail><distributionState>Local</distributionState><label>Job</label>",
            ),
        ),
        (
            "extlClntAppOauthSettings/Job_oauth.ecaOauth",
            file(
                "ExtlClntAppOauthSettings",
                &format!("<commaSeparatedOauthScopes>Api, RefreshToken</commaSeparatedOauthScopes>{of}"),
            ),
        ),
        (
            "extlClntAppGlobalOauthSets/Job_glbloauth.ecaGlblOauth",
            file(
                "ExtlClntAppGlobalOauthSettings",
                &format!("<callbackUrl>https://a.example/cb</callbackUrl><certificate>{certificate}</certificate>{of}"),
            ),
        ),
        (
            "extlClntAppOauthPolicies/Job_oauthPlcy.ecaOauthPlcy",
            file(
                "ExtlClntAppOauthConfigurablePolicies",
                &format!(
                    "<commaSeparatedPermissionSet>{set}</commaSeparatedPermissionSet>{of}<permittedUsersPolicyType>AdminApprovedPreAuthorized</permittedUsersPolicyType>"
                ),
            ),
        ),
        (
            "extlClntAppPolicies/Job_plcy.ecaPlcy",
            file("ExtlClntAppConfigurablePolicies", &format!("{of}<isEnabled>true</isEnabled>")),
        ),
    ])
}

/// The text of the first element of that name.
fn text<'a>(xml: &'a str, name: &str) -> &'a str {
    let start = xml.find(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name} in {xml}")) + name.len() + 2;
    &xml[start..start + xml[start..].find(&format!("</{name}>")).unwrap()]
}

impl Org {
    /// As jsforce and the Salesforce CLI send it.
    async fn soap_as(&self, token: &str, operation: &str) -> (u16, String) {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Header {META}><SessionHeader><sessionId>{token}</sessionId>\
             </SessionHeader></soapenv:Header><soapenv:Body {META}>{operation}</soapenv:Body></soapenv:Envelope>"
        );
        let request = self.http.post(self.url("/services/Soap/m/67.0")).header("SOAPAction", "\"\"").body(body);
        let response = request.header("content-type", "text/xml; charset=UTF-8").send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn soap(&self, operation: &str) -> String {
        let (status, body) = self.soap_as(&self.emulator.info().access_token, operation).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Deploys and answers the result's XML.
    async fn deploy(&self, zip: &[u8], options: &str) -> String {
        let zip = STANDARD.encode(zip);
        let answer = self
            .soap(&format!("<deploy><ZipFile>{zip}</ZipFile><DeployOptions>{options}</DeployOptions></deploy>"))
            .await;
        self.status(text(&answer, "id")).await
    }

    async fn status(&self, id: &str) -> String {
        self.soap(&format!("<checkDeployStatus><asyncProcessId>{id}</asyncProcessId><includeDetails>true</includeDetails></checkDeployStatus>")).await
    }

    async fn succeeds(&self, zip: &[u8]) -> String {
        let result =
            self.deploy(zip, "<rollbackOnError>true</rollbackOnError><singlePackage>true</singlePackage>").await;
        assert_eq!((text(&result, "status"), text(&result, "success")), ("Succeeded", "true"), "{result}");
        result
    }

    /// The problem of a deploy that has to fail.
    async fn fails(&self, zip: &[u8]) -> String {
        let result = self.deploy(zip, "<singlePackage>true</singlePackage>").await;
        assert_eq!(text(&result, "status"), "Failed", "{result}");
        text(&result, "problem").replace("&apos;", "'")
    }

    async fn setup(&self, change: Value) {
        let url = format!("{}/setup", self.emulator.info().control_url);
        assert_eq!(self.http.put(url).json(&change).send().await.unwrap().status(), 204, "{change}");
    }

    async fn clock(&self, seconds: i64) {
        let url = format!("{}/clock", self.emulator.info().control_url);
        self.http.put(url).json(&json!({"advance_seconds": seconds})).send().await.unwrap();
    }

    async fn retrieve(&self, types: &[(&str, &str)]) -> (BTreeMap<String, String>, String) {
        let list: String = types
            .iter()
            .map(|(name, member)| format!("<types><members>{member}</members><name>{name}</name></types>"))
            .collect();
        // jsforce calls the element `request`, the WSDL `retrieveRequest`.
        let answer = self.soap(&format!("<retrieve><request><apiVersion>67.0</apiVersion><singlePackage>true</singlePackage><unpackaged>{list}</unpackaged></request></retrieve>")).await;
        let id = text(&answer, "id");
        let answer = self
            .soap(&format!("<checkRetrieveStatus><asyncProcessId>{id}</asyncProcessId></checkRetrieveStatus>"))
            .await;
        let bytes = STANDARD.decode(text(&answer, "zipFile")).unwrap();
        let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let mut files = BTreeMap::new();
        for at in 0..archive.len() {
            let mut file = archive.by_index(at).unwrap();
            let mut content = String::new();
            file.read_to_string(&mut content).unwrap();
            files.insert(file.enclosed_name().unwrap().display().to_string(), content);
        }
        (files, answer)
    }

    async fn create(&self, object: &str, fields: Value) -> Value {
        let request = self.http.post(self.url(&format!("/services/data/v67.0/sobjects/{object}"))).json(&fields);
        let (status, body) =
            answer(request.bearer_auth(&self.emulator.info().access_token).send().await.unwrap()).await;
        assert_eq!(status, 201, "{body}");
        body["id"].clone()
    }

    async fn jwt(&self, key: &Path, client_id: &str, username: &str) -> (u16, Value) {
        let claims =
            json!({"iss": client_id, "sub": username, "aud": "https://login.salesforce.com", "exp": 4_102_444_800u64});
        self.token(&[("grant_type", JWT), ("assertion", &sign(key, &claims))]).await
    }

    async fn permission_set(&self, name: &str) -> String {
        let path = format!("permissionsets/{name}.permissionset");
        let set = file("PermissionSet", "<hasActivationRequired>false</hasActivationRequired><label>Access</label>");
        self.succeeds(&zip(&[manifest(&[("PermissionSet", name)]), (&path, set)])).await;
        let (_, found) =
            self.get(&format!("/services/data/v67.0/query?q=SELECT+Id+FROM+PermissionSet+WHERE+Name='{name}'")).await;
        found["records"][0]["Id"].as_str().unwrap().to_owned()
    }

    async fn consumer_key(&self) -> String {
        let (files, _) = self.retrieve(&[("ExtlClntAppGlobalOauthSettings", "*")]).await;
        text(&files["extlClntAppGlobalOauthSets/Job_glbloauth.ecaGlblOauth"], "consumerKey").to_owned()
    }
}

const SECRETS_ON: &str = "enableConsumerSecretApiAccess";

fn secrets(on: bool) -> Vec<u8> {
    let settings = file("ExternalClientAppSettings", &format!("<{SECRETS_ON}>{on}</{SECRETS_ON}>"));
    zip(&[manifest(&[("Settings", "ExternalClientApp")]), ("settings/ExternalClientApp.settings", settings)])
}

#[tokio::test]
async fn an_external_client_app_logs_people_in_once_it_is_deployed_active_and_approved() {
    let org = Org::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (key, certificate) = pair(folder.path());
    let set = org.permission_set("Job_Access").await;
    let app = external_app(&certificate, &set);
    // Without the switch the org takes no global OAuth settings, and the whole deploy leaves nothing behind.
    assert!(org.fails(&app).await.contains("Consumer Secrets"));
    assert!(
        !org.soap("<listMetadata><queries><type>ExternalClientApplication</type></queries></listMetadata>")
            .await
            .contains("<result>")
    );
    org.succeeds(&secrets(true)).await;
    org.setup(json!({"activation_seconds": 300})).await;

    // A check changes nothing.
    let checked = org.deploy(&app, "<checkOnly>true</checkOnly>").await;
    assert_eq!(
        (text(&checked, "status"), text(&checked, "checkOnly"), text(&checked, "numberComponentsDeployed")),
        ("Succeeded", "true", "5")
    );
    assert!(
        !org.soap("<listMetadata><queries><type>ExternalClientApplication</type></queries></listMetadata>")
            .await
            .contains("<result>")
    );
    org.succeeds(&app).await;
    let client_id = org.consumer_key().await;
    org.succeeds(&secrets(false)).await;
    let (files, told) = org.retrieve(&[("ExtlClntAppGlobalOauthSettings", "*")]).await;
    assert!(
        !files.values().any(|f| f.contains(&client_id)) && told.contains("<problem>"),
        "the org keeps them to itself again"
    );

    let admin = org.emulator.info().username.clone();
    let error = |body: &Value| body["error"].as_str().unwrap_or_default().to_owned();
    assert_eq!(error(&org.jwt(&key, &client_id, &admin).await.1), "invalid_client_id", "not known yet");
    org.clock(301).await;
    let (_, refused) = org.jwt(&key, &client_id, &admin).await;
    assert_eq!(
        (error(&refused).as_str(), refused["error_description"].as_str().unwrap()),
        ("invalid_app_access", "user is not admin approved to access this app")
    );
    let (_, me) = org.get("/services/oauth2/userinfo").await;
    org.create("PermissionSetAssignment", json!({"PermissionSetId": set, "AssigneeId": me["user_id"]})).await;
    let (status, token) = org.jwt(&key, &client_id, &admin).await;
    assert_eq!((status, token["scope"].as_str()), (200, Some("api")), "{token}");
    let (other, other_certificate) = pair(folder.path());
    assert_eq!(error(&org.jwt(&other, &client_id, &admin).await.1), "invalid_grant", "another key's signature");

    // Another certificate becomes known after the same delay; until then the old one counts.
    org.succeeds(&secrets(true)).await;
    org.succeeds(&external_app(&other_certificate, &set)).await;
    assert_eq!(org.consumer_key().await, client_id, "the key is chosen once");
    assert_eq!((org.jwt(&key, &client_id, &admin).await.0, org.jwt(&other, &client_id, &admin).await.0), (200, 400));
    org.clock(301).await;
    assert_eq!((org.jwt(&key, &client_id, &admin).await.0, org.jwt(&other, &client_id, &admin).await.0), (400, 200));

    // What is deleted is known no more, and its tokens are dead.
    let list = "<types><members>Job</members><name>ExternalClientApplication</name></types>";
    let gone = zip(&[manifest(&[]), ("destructiveChanges.xml", format!("<Package {META}>{list}</Package>"))]);
    org.succeeds(&gone).await;
    assert_eq!(error(&org.jwt(&other, &client_id, &admin).await.1), "invalid_client_id");
    let request =
        org.http.get(org.url("/services/data/v67.0/limits")).bearer_auth(token["access_token"].as_str().unwrap());
    assert_eq!(request.send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn files_that_a_real_org_would_refuse_are_refused() {
    let org = Org::start().await;
    org.succeeds(&secrets(true)).await;
    let (_, certificate) = pair(tempfile::tempdir().unwrap().path());
    let set = |inner: &str| {
        zip(&[manifest(&[("PermissionSet", "A")]), ("permissionsets/A.permissionset", file("PermissionSet", inner))])
    };
    let connected = zip(&[
        manifest(&[("ConnectedApp", "Old")]),
        (
            "connectedApps/Old.connectedApp",
            file("ConnectedApp", "<contactEmail>a@b.example</contactEmail><label>Old</label>"),
        ),
    ]);
    for (zip, problem) in [
        (zip(&[("classes/A.cls", String::new())]), "No package.xml found"),
        (b"this is no zip file".to_vec(), "the zip file cannot be read"),
        (zip(&[manifest(&[("Bacon", "A")])]), "Unknown type name 'Bacon' specified in package.xml"),
        (
            zip(&[manifest(&[("PermissionSet", "A")])]),
            "was named in package.xml, but was not found in zipped directory",
        ),
        (set("<label>A</label><bacon>1</bacon>"), "metadata}bacon invalid at this location in type PermissionSet"),
        (set("<description>no label</description>"), "Required field is missing: label"),
        (
            set("<label>A</label><userPermissions><enabled>true</enabled><name>FlyToTheMoon</name></userPermissions>"),
            "Unknown user permission: FlyToTheMoon",
        ),
        (set("<label>A"), "Error parsing file"),
        (connected.clone(), "You can't create connected apps"),
        (external_app(&certificate, "0PS000000000000AAA"), "no PermissionSet with id 0PS000000000000AAA found"),
        (external_app("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", ""), "certificate isn't valid"),
    ] {
        let said = org.fails(&zip).await;
        assert!(said.contains(problem), "`{said}` should say `{problem}`");
    }
    org.setup(json!({"settings": {"ExternalClientApp": {"enableExternalClientApps": false}}})).await;
    assert!(org.fails(&external_app(&certificate, "")).await.contains("Not available for deploy"));
    org.setup(json!({"connected_app_creation": true})).await;
    org.succeeds(&connected).await;
    org.setup(json!({"connected_app_creation": false})).await;
    org.succeeds(&connected).await; // one that is there may be changed
    org.setup(json!({"problems": [{"type": "PermissionSet", "problem": "as the test says"}]})).await;
    assert_eq!(org.fails(&set("<label>A</label>")).await, "as the test says");
}

#[tokio::test]
async fn deploys_by_rest_take_the_parts_under_the_names_of_documents_and_clients() {
    let org = Org::start().await;
    let set = file("PermissionSet", "<label>A</label>");
    let body = zip(&[manifest(&[("PermissionSet", "A")]), ("permissionsets/A.permissionset", set)]);
    let token = org.emulator.info().access_token.clone();
    let url = org.url("/services/data/v67.0/metadata/deployRequest");
    for (json_part, file_name) in [("json", "deploy.zip"), ("entity_content", "package.xml")] {
        let options = json!({"deployOptions": {"checkOnly": true, "rollbackOnError": true}}).to_string();
        let zip =
            reqwest::multipart::Part::bytes(body.clone()).file_name(file_name).mime_str("application/zip").unwrap();
        let options = reqwest::multipart::Part::text(options).mime_str("application/json").unwrap();
        let form = reqwest::multipart::Form::new().part("file", zip).part(json_part, options);
        let (status, told) =
            answer(org.http.post(&url).bearer_auth(&token).multipart(form).send().await.unwrap()).await;
        assert_eq!(
            (status, &told["deployResult"]["done"], &told["deployResult"]["checkOnly"]),
            (201, &json!(false), &json!(true)),
            "{told}"
        );
        let id = told["id"].as_str().unwrap();
        assert!(id.starts_with("0Af"));
        let (_, told) = org.get(&format!("/services/data/v67.0/metadata/deployRequest/{id}?includeDetails=true")).await;
        let result = &told["deployResult"];
        assert_eq!(
            (&result["status"], &result["details"]["componentFailures"]),
            (&json!("Succeeded"), &json!([])),
            "{told}"
        );
        assert_eq!(result["details"]["componentSuccesses"].as_array().unwrap().len(), 2, "package.xml is among them");
        // It is over.
        let cancel = org
            .http
            .patch(format!("{url}/{id}"))
            .bearer_auth(&token)
            .json(&json!({"deployResult": {"status": "Canceling"}}));
        let (status, error) = answer(cancel.send().await.unwrap()).await;
        assert_eq!((status, &error[0]["message"]), (400, &json!("Deployment already completed")));
    }
    org.setup(json!({"deploy_seconds": 60})).await;
    let answered =
        org.soap(&format!("<deploy><ZipFile>{}</ZipFile><DeployOptions/></deploy>", STANDARD.encode(&body))).await;
    let id = text(&answered, "id").to_owned();
    assert_eq!(text(&org.status(&id).await, "status"), "InProgress");
    org.soap(&format!("<cancelDeploy><String>{id}</String></cancelDeploy>")).await;
    org.clock(61).await;
    let result = org.status(&id).await;
    assert_eq!((text(&result, "status"), text(&result, "success")), ("Canceled", "false"));
}

#[tokio::test]
async fn single_components_are_created_read_changed_listed_and_deleted() {
    let org = Org::start().await;
    let create = |name: &str| {
        format!(
            "<createMetadata><metadata xsi:type=\"PermissionSet\"><fullName>{name}</fullName><label>One &amp; only</label></metadata></createMetadata>"
        )
    };
    assert_eq!(text(&org.soap(&create("One")).await, "success"), "true");
    let again = org.soap(&create("One")).await;
    assert_eq!(
        (text(&again, "success"), text(&again, "message")),
        ("false", "The PermissionSet named One already exists")
    );
    let read =
        "<readMetadata><type>PermissionSet</type><fullNames>One</fullNames><fullNames>Two</fullNames></readMetadata>";
    let read = org.soap(read).await;
    assert!(
        read.contains(
            "<records xsi:type=\"PermissionSet\"><fullName>One</fullName><label>One &amp; only</label></records>"
        ),
        "{read}"
    );
    let settings = org
        .soap("<readMetadata><type>ConnectedAppSettings</type><fullNames>ConnectedApp</fullNames></readMetadata>")
        .await;
    assert_eq!(text(&settings, "enableAdminApprovedAppsOnly"), "false");
    let list = org
        .soap(
            "<listMetadata><queries><type>PermissionSet</type></queries><asOfVersion>67.0</asOfVersion></listMetadata>",
        )
        .await;
    assert_eq!(
        (text(&list, "fullName"), text(&list, "fileName")),
        ("One", "unpackaged/permissionsets/One.permissionset")
    );
    let described = org.soap("<describeMetadata><asOfVersion>67.0</asOfVersion></describeMetadata>").await;
    assert!(described.contains("<directoryName>externalClientApps</directoryName><inFolder>false</inFolder><metaFile>false</metaFile><suffix>eca</suffix>"));
    let delete = "<deleteMetadata><type>PermissionSet</type><fullNames>One</fullNames></deleteMetadata>";
    assert_eq!(text(&org.soap(delete).await, "success"), "true");
    assert_eq!(text(&org.soap(delete).await, "success"), "false");
    assert!(
        org.soap("<listMetadata><queries><type>PermissionSet</type></queries></listMetadata>")
            .await
            .contains("<listMetadataResponse/>")
    );
}

#[tokio::test]
async fn who_may_not_is_told_by_a_fault_of_the_recorded_shape() {
    let org = Org::start().await;
    let (status, fault) = org.soap_as("00Dnobody", "<describeMetadata/>").await;
    assert_eq!((status, text(&fault, "faultcode")), (500, "sf:INVALID_SESSION_ID"), "{fault}");
    assert!(text(&fault, "faultstring").starts_with("INVALID_SESSION_ID: Invalid Session ID found in SessionHeader"));
    let info = org.emulator.info();
    let form = [
        ("grant_type", "password"),
        ("client_id", &info.client_id),
        ("client_secret", &info.client_secret),
        ("username", "standard@local.tieline.test"),
        ("password", &info.password),
    ];
    let (_, token) = org.token(&form).await;
    let token = token["access_token"].as_str().unwrap();
    let (status, fault) = org.soap_as(token, "<describeMetadata/>").await;
    assert_eq!((status, text(&fault, "faultcode")), (500, "sf:INSUFFICIENT_ACCESS"));
    let request = org.http.get(org.url("/services/data/v67.0/metadata/deployRequest/0Af")).bearer_auth(token);
    let (status, error) = answer(request.send().await.unwrap()).await;
    assert_eq!((status, &error[0]["errorCode"]), (403, &json!("INSUFFICIENT_ACCESS")));
    let (status, fault) = org.soap_as(&info.access_token, "<bacon/>").await;
    assert_eq!((status, text(&fault, "faultcode")), (500, "sf:INVALID_OPERATION"));
}

#[tokio::test]
async fn login_by_soap_answers_in_the_order_that_clients_count_on() {
    let org = Org::start().await;
    let login = async |version: &str, password: &str| {
        let body = format!(
            "<se:Envelope xmlns:se=\"http://schemas.xmlsoap.org/soap/envelope/\"><se:Header/><se:Body><login xmlns=\"urn:partner.soap.sforce.com\">\
             <username>{}</username><password>{password}</password></login></se:Body></se:Envelope>",
            org.emulator.info().username
        );
        let request =
            org.http.post(org.url(&format!("/services/Soap/u/{version}"))).header("SOAPAction", "\"\"").body(body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let password = org.emulator.info().password.clone();
    let (status, answer) = login("64.0", &password).await;
    assert_eq!(status, 200, "{answer}");
    // Children 3, 4 and 6 of the result, and 8 of userInfo: what a client of Salesforce's own takes by number.
    let order = [
        "<metadataServerUrl>",
        "<passwordExpired>",
        "<sandbox>",
        "<serverUrl>",
        "<sessionId>",
        "<userId>",
        "<userInfo>",
    ];
    let places: Vec<usize> = order.iter().map(|tag| answer.find(tag).unwrap()).collect();
    assert!(places.is_sorted(), "{answer}");
    let request = org.http.get(org.url("/services/data/v67.0/limits")).bearer_auth(text(&answer, "sessionId"));
    assert_eq!(request.send().await.unwrap().status(), 200);
    let (status, fault) = login("64.0", "wrong").await;
    assert_eq!(
        (status, text(&fault, "faultcode"), text(&fault, "sf:exceptionCode")),
        (500, "sf:INVALID_LOGIN", "INVALID_LOGIN")
    );
    assert_eq!(login("65.0", &password).await.0, 500, "the call ended with version 64");
    org.setup(json!({"soap_login": false})).await;
    assert_eq!(login("64.0", &password).await.0, 500);
}

const EXTERNAL_ID: &str = "<fields><fullName>Ext__c</fullName><externalId>true</externalId><label>External</label>\
    <length>80</length><type>Text</type><unique>true</unique></fields>";

#[tokio::test]
async fn a_deployed_external_id_is_one_that_records_are_upserted_by() {
    let org = Org::start().await;
    let object = |fields: &str| ("objects/Contact.object", file("CustomObject", fields));
    let package = |fields: &str| zip(&[manifest(&[("CustomField", "Contact.Ext__c")]), object(fields)]);
    let result = org.succeeds(&package(EXTERNAL_ID)).await;
    assert_eq!(text(&result, "fullName"), "Contact.Ext__c");
    assert!(text(&result, "id").starts_with("00N"), "{result}");
    let made = org.patch("/sobjects/Contact/Ext__c/one", json!({"LastName": "x"})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let again = org.post("/sobjects/Contact", json!({"LastName": "y", "Ext__c": "ONE"})).await;
    assert_eq!(again.body[0]["errorCode"], "DUPLICATE_VALUE");
    let (files, _) = org.retrieve(&[("CustomField", "Contact.Ext__c")]).await;
    assert!(files["objects/Contact.object"].contains("<fields><fullName>Ext__c</fullName>"), "{files:?}");
    for (fields, problem) in [
        (
            "",
            "An object 'Contact.Ext__c' of type CustomField was named in package.xml, but was not found in zipped directory",
        ),
        (&EXTERNAL_ID.replace("<length>80</length>", ""), "Must specify 'length' for a CustomField of type Text"),
        (&EXTERNAL_ID.replace(">Text<", ">Checkbox<"), "Cannot update a field to a Checkbox from something else"),
        (
            &EXTERNAL_ID.replace("unique>", "only>"),
            "Error parsing file: Element {http://soap.sforce.com/2006/04/metadata}only invalid at this location in type CustomField",
        ),
    ] {
        assert_eq!(org.fails(&package(fields)).await, problem);
    }
    let gone = "<deleteMetadata><type>CustomField</type><fullNames>Contact.Ext__c</fullNames></deleteMetadata>";
    assert_eq!(text(&org.soap(gone).await, "success"), "true");
    assert_eq!(org.patch("/sobjects/Contact/Ext__c/one", json!({"LastName": "x"})).await.status, 404);
}

#[tokio::test]
async fn an_object_comes_with_its_fields() {
    let org = Org::start().await;
    let head = "<deploymentStatus>Deployed</deploymentStatus><label>Thing</label><pluralLabel>Things</pluralLabel>\
        <nameField><label>Name</label><type>Text</type></nameField><sharingModel>ReadWrite</sharingModel>";
    let lookup = "<fields><fullName>Owner_Account__c</fullName><label>Account</label><type>Lookup</type>\
        <referenceTo>Account</referenceTo><relationshipName>Things</relationshipName></fields>";
    let object = file("CustomObject", &format!("{head}{EXTERNAL_ID}{lookup}"));
    org.succeeds(&zip(&[manifest(&[("CustomObject", "Thing__c")]), ("objects/Thing__c.object", object)])).await;
    let account = org.make("Account", json!({"Name": "a"})).await;
    let body = json!({"Name": "t", "Ext__c": "1", "Owner_Account__c": account});
    let thing = org.make("Thing__c", body).await;
    let (_, children) = org.get(&format!("/services/data/v67.0/sobjects/Account/{account}/Things__r")).await;
    assert_eq!(children["records"][0]["Id"], json!(thing), "{children}");
    // As jsforce adds one field.
    let field = "<createMetadata><metadata xsi:type=\"CustomField\"><fullName>Thing__c.Size__c</fullName><label>Size</label>\
        <type>Number</type><precision>18</precision><scale>2</scale></metadata></createMetadata>";
    assert_eq!(text(&org.soap(field).await, "success"), "true");
    let changed = org.patch(&format!("/sobjects/Thing__c/{thing}"), json!({"Size__c": 1.5})).await;
    assert_eq!(changed.status, 204);
}

#[tokio::test]
async fn a_formula_comes_by_deploy_too() {
    let org = Org::start().await;
    let create = |formula: &str| {
        format!(
            "<createMetadata><metadata xsi:type=\"CustomField\"><fullName>Contact.Shout__c</fullName><label>Shout</label>\
             <type>Text</type><formula>{formula}</formula></metadata></createMetadata>"
        )
    };
    let refused = org.soap(&create("Nothing__c &amp; '!'")).await;
    assert_eq!(text(&refused, "success"), "false", "{refused}");
    assert!(refused.contains("Field Nothing__c does not exist. Check spelling."), "{refused}");
    let made = org.soap(&create("UPPER(LastName) &amp; '!'")).await;
    assert_eq!(text(&made, "success"), "true", "{made}");
    org.make("Contact", json!({"LastName": "ada"})).await;
    let (_, found) = org.get("/services/data/v67.0/query?q=SELECT+Shout__c+FROM+Contact+WHERE+LastName='ada'").await;
    assert_eq!(found["records"][0]["Shout__c"], "ADA!");
    let gone = "<deleteMetadata><type>CustomField</type><fullNames>Contact.Shout__c</fullNames></deleteMetadata>";
    assert_eq!(text(&org.soap(gone).await, "success"), "true");
    assert_eq!(org.get("/services/data/v67.0/query?q=SELECT+Shout__c+FROM+Contact").await.0, 400);
}
