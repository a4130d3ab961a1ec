//! An expectation: a sentence about Salesforce, where it comes from, what it needs, and how it is tried.

use std::fmt;
use std::pin::Pin;

use crate::case::Case;

/// What an expectation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// The token endpoint.
    Logins,
    /// What a token opens, and how it ends.
    Tokens,
    /// Refusals that any resource may give, and what every answer carries.
    Errors,
    /// Versions, resources, limits.
    Limits,
    /// SOQL.
    Queries,
    /// Pages of a query.
    Locators,
    /// Describes.
    Describes,
    /// Single records.
    Records,
    /// Records by external id.
    Upserts,
    /// Up to 200 records at a time.
    Collections,
    /// Requests made of requests.
    Composite,
    /// SOSL.
    Search,
    /// What was changed and deleted.
    Changes,
    /// Bulk API 2.0, in.
    BulkIngest,
    /// Bulk API 2.0, out; and the first Bulk API's refusal.
    BulkQuery,
    /// The org's setup.
    Metadata,
    /// The org's own code.
    Apex,
    /// The Tooling API.
    Tooling,
}

impl Area {
    /// All of them, in the order of the report.
    pub const ALL: [Area; 18] = [
        Area::Logins,
        Area::Tokens,
        Area::Errors,
        Area::Limits,
        Area::Queries,
        Area::Locators,
        Area::Describes,
        Area::Records,
        Area::Upserts,
        Area::Collections,
        Area::Composite,
        Area::Search,
        Area::Changes,
        Area::BulkIngest,
        Area::BulkQuery,
        Area::Metadata,
        Area::Apex,
        Area::Tooling,
    ];
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Area::Logins => "logins",
            Area::Tokens => "tokens",
            Area::Errors => "errors",
            Area::Limits => "limits",
            Area::Queries => "queries",
            Area::Locators => "locators",
            Area::Describes => "describes",
            Area::Records => "records",
            Area::Upserts => "upserts",
            Area::Collections => "collections",
            Area::Composite => "composite",
            Area::Search => "search",
            Area::Changes => "changes",
            Area::BulkIngest => "bulk ingest",
            Area::BulkQuery => "bulk query",
            Area::Metadata => "metadata",
            Area::Apex => "apex",
            Area::Tooling => "tooling",
        })
    }
}

/// How we came to expect it, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// An answer of a real org, recorded in a public repository.
    Recorded,
    /// Other people's clients were seen to rely on it.
    Observed,
    /// Salesforce's documents say so.
    Documented,
    /// The source of a client or an SDK reads it so.
    Source,
    /// People have reported it.
    Reported,
    /// Believed, and not looked up.
    Memory,
    /// A guess.
    Unverified,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Evidence::Recorded => "recorded",
            Evidence::Observed => "seen in what clients do",
            Evidence::Documented => "documented",
            Evidence::Source => "read in a client's source",
            Evidence::Reported => "reported",
            Evidence::Memory => "from memory",
            Evidence::Unverified => "unverified",
        })
    }
}

/// What an expectation needs in order to be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Need {
    /// It writes records, and deletes them.
    Write,
    /// It sends deploys that change nothing.
    Deploy,
    /// A login that can be repeated: anything but a given access token.
    Login,
    /// The grant `jwt-bearer`.
    Jwt,
    /// The grant `refresh_token`, and an app that does not rotate.
    RefreshToken,
    /// The grant `client_credentials`.
    ClientCredentials,
    /// The consumer key of the app.
    App,
    /// The consumer secret of the app.
    Secret,
    /// Control over the org, which only the emulator gives.
    Control,
}

impl Need {
    /// Why an expectation with this need is not tried where it is not met.
    pub fn unmet(self) -> &'static str {
        match self {
            Need::Write => "it writes records, and this run only reads",
            Need::Deploy => "it sends deploys; ask for them with --deploy",
            Need::Login => "it needs a login that can be repeated, and this run has a given access token",
            Need::Jwt => "it needs the login by JWT bearer",
            Need::RefreshToken => "it needs the login by refresh token, of an app that does not rotate them",
            Need::ClientCredentials => "it needs the login by client credentials",
            Need::App => "it needs the app's consumer key (SF_CLIENT_ID)",
            Need::Secret => "it needs the app's consumer secret (SF_CLIENT_SECRET)",
            Need::Control => "it needs control over the org's clock and limits, as only the emulator gives it",
        }
    }
}

/// Why a check did not end well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unmet {
    /// The org is not as expected.
    Different {
        /// What was expected.
        expected: String,
        /// What was seen.
        seen: String,
    },
    /// The org cannot tell: something is missing that the expectation rests on.
    NotApplicable(String),
}

/// What a check answers: a detail worth telling, or why not.
pub(crate) type Checked = Result<String, Unmet>;

/// A check under way.
pub(crate) type Checking<'a> = Pin<Box<dyn Future<Output = Checked> + 'a>>;

/// How an expectation is tried.
pub(crate) type Check = for<'a> fn(&'a Case<'a>) -> Checking<'a>;

/// A sentence about Salesforce that can be tried.
#[derive(Clone)]
pub struct Expectation {
    /// The sentence.
    pub name: &'static str,
    /// What it is about.
    pub area: Area,
    /// Section of our notes on the wire.
    pub section: &'static str,
    /// How we came to expect it.
    pub evidence: Evidence,
    /// What it needs.
    pub needs: Vec<Need>,
    pub(crate) check: Check,
}

impl Expectation {
    pub(crate) fn new(
        area: Area,
        name: &'static str,
        (section, evidence): (&'static str, Evidence),
        check: Check,
    ) -> Self {
        Self { name, area, section, evidence, needs: Vec::new(), check }
    }

    pub(crate) fn needs(mut self, need: Need) -> Self {
        self.needs.push(need);
        self
    }

    /// Where it comes from, in words.
    pub fn source(&self) -> String {
        format!("wire notes {}, {}", self.section, self.evidence)
    }
}

impl fmt::Debug for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expectation").field("name", &self.name).field("area", &self.area).finish_non_exhaustive()
    }
}

/// Fails the check unless `condition` holds.
pub(crate) fn that(condition: bool, expected: impl fmt::Display, seen: impl fmt::Display) -> Result<(), Unmet> {
    if condition { Ok(()) } else { Err(Unmet::Different { expected: expected.to_string(), seen: seen.to_string() }) }
}

/// Fails the check unless two things are the same.
pub(crate) fn same<T, U>(what: &str, seen: T, expected: U) -> Result<(), Unmet>
where
    T: fmt::Debug + PartialEq<U>,
    U: fmt::Debug,
{
    that(seen == expected, format_args!("{what} {expected:?}"), format_args!("{seen:?}"))
}

/// The org lacks what the expectation rests on.
pub(crate) fn not_applicable<T>(why: impl Into<String>) -> Result<T, Unmet> {
    Err(Unmet::NotApplicable(why.into()))
}
