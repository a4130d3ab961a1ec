//! The elements that each type takes. A real org refuses a file with an element that it does not know, so a misspelt name
//! must not pass here.
//!
//! Source: the Metadata API WSDL (v66) and Developer Guide, as far as `reference/wire.md` §5.4 and §5.5 list them.

use super::types::{
    CERTIFICATE, CONNECTED_APP, CUSTOM_FIELD, CUSTOM_OBJECT, EXTERNAL_APP, GLOBAL_OAUTH, OAUTH_POLICIES,
    OAUTH_SETTINGS, PERMISSION_SET, POLICIES,
};

pub(super) struct Form {
    pub(super) known: &'static str,
    pub(super) required: &'static [&'static str],
}

pub(super) fn of(type_name: &str) -> Option<Form> {
    let (known, required): (_, &[&str]) = match type_name {
        EXTERNAL_APP => (
            "contactEmail contactPhone description distributionState iconUrl infoUrl isProtected label logoUrl managedType \
             orgScopedExternalApp",
            &["contactEmail", "distributionState", "label"],
        ),
        GLOBAL_OAUTH => (
            "callbackUrl certificate consumerKey consumerSecret externalClientApplication idTokenConfig \
             isClientCredentialsFlowEnabled isCodeCredFlowEnabled isCodeCredPostOnly isConsumerSecretOptional \
             isDeviceFlowEnabled isEnforceRefreshTokenTTL isIntrospectAllTokens isNamedUserJwtEnabled isPkceRequired \
             isRefreshTokenRotationEnabled isSecretRequiredForRefreshToken isSecretRequiredForTokenExchange \
             isTokenExchangeEnabled label shouldRotateConsumerKey shouldRotateConsumerSecret",
            &["callbackUrl", "externalClientApplication", "label"],
        ),
        OAUTH_SETTINGS => (
            "assetTokenAudiences assetTokenIncludeAttributes assetTokenIncludeCustomPerms assetTokenSigningCertId \
             assetTokenValidityInMinutes clientAssertionCertificate commaSeparatedCustomScopes commaSeparatedOauthScopes \
             customAttributes externalClientApplication isFirstPartyAppEnabled label oauthLink singleLogoutUrl \
             trustedIpRanges",
            &["externalClientApplication", "label"],
        ),
        OAUTH_POLICIES => (
            "apexHandler clientCredentialsFlowUser commaSeparatedCustomScopes commaSeparatedPermissionSet \
             commaSeparatedProfile customAttributes executeHandlerAs externalClientApplication guestJwtTimeout \
             ipRelaxationPolicyType isClientCredentialsFlowEnabled isGuestCodeCredFlowEnabled isNamedUserJwtEnabled \
             isTokenExchangeFlowEnabled label namedUserJwtTimeout permittedUsersPolicyType policyAction \
             refreshTokenPolicyType refreshTokenValidityPeriod refreshTokenValidityUnit requiredSessionLevel \
             sessionTimeoutInMinutes singleLogoutUrl startUrl",
            &["externalClientApplication"],
        ),
        POLICIES => (
            "externalClientApplication isCanvasPluginEnabled isEnabled isMobilePluginEnabled isNotificationPluginEnabled \
             isOauthPluginEnabled isPushPluginEnabled isSamlPluginEnabled label startPage startUrl",
            &["externalClientApplication", "isEnabled"],
        ),
        CONNECTED_APP => (
            "attributes canvas canvasConfig contactEmail contactPhone description iconUrl infoUrl ipRanges label logoUrl \
             mobileAppConfig mobileStartUrl oauthConfig oauthPolicy permissionSetName plugin pluginExecutionUser \
             profileName samlConfig sessionPolicy startUrl",
            &["contactEmail", "label"],
        ),
        "oauthConfig" => (
            "assetTokenConfig callbackUrl certificate consumerKey consumerSecret idTokenConfig isAdminApproved \
             isClientCredentialEnabled isCodeCredentialEnabled isCodeCredentialPostOnly isConsumerSecretOptional \
             isIntrospectAllTokens isNamedUserJwtEnabled isPkceRequired isRefreshTokenRotationEnabled \
             isSecretRequiredForRefreshToken isSecretRequiredForTokenExchange isTokenExchangeEnabled \
             oauthClientCredentialUser scopes singleLogoutUrl",
            &["callbackUrl"],
        ),
        "oauthPolicy" => ("ipRelaxation isTokenExchangeFlowEnabled refreshTokenPolicy singleLogoutUrl", &[]),
        PERMISSION_SET => (
            "agentAccesses applicationVisibilities classAccesses customMetadataTypeAccesses customPermissions \
             customSettingAccesses description externalCredentialPrincipalAccesses externalDataSourceAccesses \
             fieldPermissions flowAccesses hasActivationRequired label license objectPermissions pageAccesses \
             recordTypeVisibilities tabSettings userLicense userPermissions",
            &["label"],
        ),
        CUSTOM_OBJECT => (
            "actionOverrides allowInChatterGroups compactLayoutAssignment deploymentStatus description enableActivities \
             enableBulkApi enableEnhancedLookup enableFeeds enableHistory enableLicensing enableReports enableSearch \
             enableSharing enableStreamingApi externalSharingModel fields label nameField pluralLabel searchLayouts \
             sharingModel startsWith visibility",
            &[],
        ),
        CUSTOM_FIELD => (
            "caseSensitive defaultValue deleteConstraint description displayFormat externalId formula \
             formulaTreatBlanksAs inlineHelpText label length maskChar maskType precision referenceTo relationshipLabel \
             relationshipName relationshipOrder reparentableMasterDetail required scale trackFeedHistory trackHistory \
             summarizedField summaryFilterItems summaryForeignKey summaryOperation trackTrending type unique valueSet \
             visibleLines writeRequiresMasterRead",
            &["label", "type"],
        ),
        CERTIFICATE => (
            "caSigned encryptedWithPlatformEncryption expirationDate keySize masterLabel privateKeyExportable",
            &["masterLabel"],
        ),
        _ => return None,
    };
    Some(Form { known, required })
}

/// The values that an element takes, and the name of the list.
pub(super) fn values(type_name: &str, element: &str) -> Option<(&'static str, &'static [&'static str])> {
    Some(match (type_name, element) {
        (EXTERNAL_APP, "distributionState") => {
            ("ExtlClntAppDistState", &["Local", "Packaged", "Managed", "AutoInstalled"])
        }
        (OAUTH_POLICIES, "permittedUsersPolicyType") => {
            ("PermittedUsersPolicyType", &["AllSelfAuthorized", "AdminApprovedPreAuthorized"])
        }
        (OAUTH_POLICIES, "ipRelaxationPolicyType") => {
            ("IpRelaxationPolicyType", &["Enforce", "Bypass", "Bypass_2factor", "Enforce_RelaxRefresh"])
        }
        (OAUTH_POLICIES, "refreshTokenPolicyType") => {
            ("RefreshTokenPolicyType", &["Infinite", "Zero", "SpecificLifetime", "SpecificInactivity"])
        }
        ("oauthPolicy", "ipRelaxation") => {
            ("ConnectedAppOauthIpRelaxation", &["ENFORCE", "BYPASS_2FACTOR", "BYPASS", "ENFORCE_RELAXREFRESH"])
        }
        _ => return None,
    })
}

/// OAuth scopes by their metadata names. The pairing follows the names; `Basic` is the identity URL with its profile.
pub(super) const SCOPES: [(&str, &[&str]); 20] = [
    ("Basic", &["id"]),
    ("Api", &["api"]),
    ("Web", &["web"]),
    ("Full", &["full"]),
    ("Chatter", &["chatter_api"]),
    ("CustomApplications", &["visualforce"]),
    ("RefreshToken", &["refresh_token"]),
    ("OpenID", &["openid"]),
    ("Profile", &["profile"]),
    ("Email", &["email"]),
    ("Address", &["address"]),
    ("Phone", &["phone"]),
    ("OfflineAccess", &["offline_access"]),
    ("CustomPermissions", &["custom_permissions"]),
    ("Wave", &["wave_api"]),
    ("Lightning", &["lightning"]),
    ("Content", &["content"]),
    ("CDPIngest", &["cdp_ingest_api"]),
    ("CDPQuery", &["cdp_query_api"]),
    ("CDPProfile", &["cdp_profile_api"]),
];
