//! The app as metadata files: five for an external client app, one for a connected app.
//!
//! Element names, folders and suffixes: Metadata API Developer Guide (v66, v262). The order of elements is theirs too.

use tieline_client::metadata::Package;

use super::plan::{AppKind, Plan};

/// The version that the files are written for: all of their elements are there, and orgs of today still take it.
pub(crate) const VERSION: &str = "66.0";

/// An older version, in which the switch for consumer keys is there for certain: newer documents call it deprecated
/// (Metadata API Developer Guide, v260).
pub(crate) const SWITCH_VERSION: &str = "60.0";

/// Metadata types and names of what an external client app consists of, in the order in which they depend on each other.
pub(crate) fn parts(plan: &Plan) -> Vec<(&'static str, String)> {
    let name = &plan.name;
    match plan.kind {
        AppKind::ConnectedApp => vec![("ConnectedApp", name.clone())],
        AppKind::Eca => vec![
            ("ExternalClientApplication", name.clone()),
            ("ExtlClntAppOauthSettings", format!("{name}_oauth")),
            ("ExtlClntAppGlobalOauthSettings", format!("{name}_glbloauth")),
            ("ExtlClntAppOauthConfigurablePolicies", format!("{name}_oauthPlcy")),
            ("ExtlClntAppConfigurablePolicies", format!("{name}_plcy")),
        ],
    }
}

fn folder_and_suffix(type_name: &str) -> (&'static str, &'static str) {
    match type_name {
        "ExternalClientApplication" => ("externalClientApps", "eca"),
        "ExtlClntAppOauthSettings" => ("extlClntAppOauthSettings", "ecaOauth"),
        "ExtlClntAppGlobalOauthSettings" => ("extlClntAppGlobalOauthSets", "ecaGlblOauth"),
        "ExtlClntAppOauthConfigurablePolicies" => ("extlClntAppOauthPolicies", "ecaOauthPlcy"),
        "ExtlClntAppConfigurablePolicies" => ("extlClntAppPolicies", "ecaPlcy"),
        "ConnectedApp" => ("connectedApps", "connectedApp"),
        "PermissionSet" => ("permissionsets", "permissionset"),
        _ => ("settings", "settings"),
    }
}

/// Elements with their values, one a line.
struct File {
    root: String,
    lines: String,
}

impl File {
    fn new(root: &str) -> Self {
        Self { root: root.to_owned(), lines: String::new() }
    }

    fn line(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.lines.push_str(&format!("    <{name}>{}</{name}>\n", escape(&value.to_string())));
        self
    }

    /// A group of elements.
    fn group(mut self, name: &str, inner: File) -> Self {
        self.lines.push_str(&format!("    <{name}>\n"));
        for line in inner.lines.lines() {
            // A certificate's lines are text, where an indent would count.
            let indent = if line.starts_with("    <") { "    " } else { "" };
            self.lines.push_str(&format!("{indent}{line}\n"));
        }
        self.lines.push_str(&format!("    </{name}>\n"));
        self
    }

    fn text(self) -> String {
        let Self { root, lines } = self;
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root} xmlns=\"http://soap.sforce.com/2006/04/metadata\">\n{lines}</{root}>\n"
        )
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn add(package: &mut Package, type_name: &str, name: &str, file: File) {
    let (folder, suffix) = folder_and_suffix(type_name);
    package.add(type_name, name, &format!("{folder}/{name}.{suffix}"), file.text());
}

const DESCRIPTION: &str = "Lets an integration log in by JWT bearer. Made by tieline setup jwt.";

/// The app with its certificate (PEM). `permission_set` is the id that policies refer to; the files of a connected app name
/// it instead.
pub(crate) fn app(plan: &Plan, scopes: &[&str], certificate: &str, permission_set: Option<&str>) -> Package {
    let mut package = Package::new(VERSION);
    let parts = parts(plan);
    let rotates = plan.wants_refresh_token();
    let callbacks = plan.callbacks.join("\n");
    let header =
        |root: &str| File::new(root).line("contactEmail", &plan.contact_email).line("description", DESCRIPTION);
    match plan.kind {
        AppKind::Eca => {
            let of_app = |root: &str| File::new(root).line("externalClientApplication", &plan.name);
            let label = |what: &str| format!("{} {what}", plan.name);
            let users = if plan.self_authorize { "AllSelfAuthorized" } else { "AdminApprovedPreAuthorized" };
            let mut policies = File::new("ExtlClntAppOauthConfigurablePolicies");
            if let Some(id) = permission_set {
                policies = policies.line("commaSeparatedPermissionSet", id);
            }
            policies = policies
                .line("externalClientApplication", &plan.name)
                .line("ipRelaxationPolicyType", if plan.enforce_ip { "Enforce" } else { "Bypass" })
                .line("label", label("OAuth policies"))
                .line("permittedUsersPolicyType", users)
                .line("refreshTokenPolicyType", "Infinite");
            let files = [
                header("ExternalClientApplication")
                    .line("distributionState", "Local")
                    .line("isProtected", false)
                    .line("label", &plan.name),
                File::new("ExtlClntAppOauthSettings")
                    .line("commaSeparatedOauthScopes", scopes.join(", "))
                    .line("externalClientApplication", &plan.name)
                    .line("label", label("OAuth settings")),
                File::new("ExtlClntAppGlobalOauthSettings")
                    .line("callbackUrl", &callbacks)
                    .line("certificate", certificate.trim_end())
                    .line("externalClientApplication", &plan.name)
                    .line("isConsumerSecretOptional", false)
                    .line("isIntrospectAllTokens", false)
                    .line("isPkceRequired", true)
                    .line("isRefreshTokenRotationEnabled", rotates)
                    .line("isSecretRequiredForRefreshToken", true)
                    .line("label", label("global OAuth settings")),
                policies,
                of_app("ExtlClntAppConfigurablePolicies")
                    .line("isEnabled", true)
                    .line("isOauthPluginEnabled", true)
                    .line("label", label("policies")),
            ];
            for ((type_name, name), file) in parts.iter().zip(files) {
                add(&mut package, type_name, name, file);
            }
        }
        AppKind::ConnectedApp => {
            let mut oauth = File::new("")
                .line("callbackUrl", &callbacks)
                .line("certificate", certificate.trim_end())
                .line("isAdminApproved", !plan.self_authorize)
                .line("isConsumerSecretOptional", false)
                .line("isIntrospectAllTokens", false)
                .line("isPkceRequired", rotates)
                .line("isRefreshTokenRotationEnabled", rotates)
                .line("isSecretRequiredForRefreshToken", true);
            for scope in scopes {
                oauth = oauth.line("scopes", scope);
            }
            let policy = File::new("")
                .line("ipRelaxation", if plan.enforce_ip { "ENFORCE" } else { "BYPASS" })
                .line("refreshTokenPolicy", "infinite");
            let mut file = header("ConnectedApp")
                .line("label", &plan.name)
                .group("oauthConfig", oauth)
                .group("oauthPolicy", policy);
            if let Some(set) = plan.permission_set() {
                file = file.line("permissionSetName", set);
            }
            add(&mut package, "ConnectedApp", &plan.name, file);
        }
    }
    package
}

/// The permission set that pre-authorises its holders. It grants nothing else.
pub(crate) fn permission_set(plan: &Plan, name: &str) -> Package {
    let mut package = Package::new(VERSION);
    let file = File::new("PermissionSet")
        .line("description", format!("Pre-authorises its holders for {}. Grants nothing else.", plan.name))
        .line("hasActivationRequired", false)
        .line("label", format!("{} access", plan.name.replace('_', " ")));
    add(&mut package, "PermissionSet", name, file);
    package
}

/// The switch that lets consumer keys out by the Metadata API. On for the deploy alone: while it is on, whoever may change
/// metadata can read the secrets of all external client apps.
pub(crate) fn secrets_switch(on: bool) -> Package {
    let mut package = Package::new(SWITCH_VERSION);
    let file = File::new("ExternalClientAppSettings").line("enableConsumerSecretApiAccess", on);
    add(&mut package, "Settings", "ExternalClientApp", file);
    package
}

/// Deletes the app with all its parts, those that depend on others first.
pub(crate) fn removal(plan: &Plan) -> Package {
    let mut package = Package::new(VERSION);
    for (type_name, name) in parts(plan).iter().rev() {
        package.delete(type_name, name);
    }
    package
}

/// Deletes the permission set.
pub(crate) fn permission_set_removal(name: &str) -> Package {
    let mut package = Package::new(VERSION);
    package.delete("PermissionSet", name);
    package
}
