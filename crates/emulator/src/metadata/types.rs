//! The metadata types that the org knows, with their places in a package.
//!
//! Folders and suffixes: `describeMetadata` of a real org, as the Salesforce CLI's registry records it.

pub(crate) struct Type {
    pub(crate) name: &'static str,
    pub(crate) folder: &'static str,
    pub(crate) suffix: &'static str,
    /// Content and `-meta.xml` are two files.
    pub(crate) meta_file: bool,
    /// Key prefix of a component's id.
    pub(crate) prefix: &'static str,
}

const fn row(name: &'static str, folder: &'static str, suffix: &'static str, prefix: &'static str) -> Type {
    Type { name, folder, suffix, meta_file: false, prefix }
}

pub(crate) const EXTERNAL_APP: &str = "ExternalClientApplication";
pub(crate) const OAUTH_SETTINGS: &str = "ExtlClntAppOauthSettings";
pub(crate) const GLOBAL_OAUTH: &str = "ExtlClntAppGlobalOauthSettings";
pub(crate) const OAUTH_POLICIES: &str = "ExtlClntAppOauthConfigurablePolicies";
pub(crate) const POLICIES: &str = "ExtlClntAppConfigurablePolicies";
pub(crate) const CONNECTED_APP: &str = "ConnectedApp";
pub(crate) const CUSTOM_OBJECT: &str = "CustomObject";
pub(crate) const CUSTOM_FIELD: &str = "CustomField";
pub(crate) const PERMISSION_SET: &str = "PermissionSet";
pub(crate) const CERTIFICATE: &str = "Certificate";
pub(crate) const SETTINGS: &str = "Settings";

/// In the order in which a deploy applies them: what others refer to comes first. The key prefixes of the external
/// client app's parts are made up; nothing depends on them.
pub(crate) const TYPES: [Type; 11] = [
    row(SETTINGS, "settings", "settings", "0cm"),
    Type { name: CERTIFICATE, folder: "certs", suffix: "crt", meta_file: true, prefix: "0P1" },
    row(CUSTOM_OBJECT, "objects", "object", "01I"),
    // Stands in the file of its object.
    row(CUSTOM_FIELD, "objects", "object", "00N"),
    row(PERMISSION_SET, "permissionsets", "permissionset", "0PS"),
    row(CONNECTED_APP, "connectedApps", "connectedApp", "0H4"),
    row(EXTERNAL_APP, "externalClientApps", "eca", "0xI"),
    row(OAUTH_SETTINGS, "extlClntAppOauthSettings", "ecaOauth", "0xJ"),
    row(GLOBAL_OAUTH, "extlClntAppGlobalOauthSets", "ecaGlblOauth", "0xK"),
    row(OAUTH_POLICIES, "extlClntAppOauthPolicies", "ecaOauthPlcy", "0xL"),
    row(POLICIES, "extlClntAppPolicies", "ecaPlcy", "0xM"),
];

pub(crate) fn by_name(name: &str) -> Option<&'static Type> {
    // A single feature's settings are of a type of their own when they are read, and `Settings` in a package.
    let name = if name.len() > SETTINGS.len() && name.ends_with(SETTINGS) && !name.starts_with("Extl") {
        SETTINGS
    } else {
        name
    };
    TYPES.iter().find(|t| t.name == name)
}

impl Type {
    /// The component's file below the package's root.
    pub(crate) fn path(&self, full_name: &str) -> String {
        let file = if self.name == CUSTOM_FIELD { full_name.split('.').next().unwrap_or(full_name) } else { full_name };
        format!("{}/{file}.{}", self.folder, self.suffix)
    }

    /// The root element of the component's file.
    pub(crate) fn root(&self, full_name: &str) -> String {
        if self.name == SETTINGS { format!("{full_name}Settings") } else { self.name.to_owned() }
    }
}
