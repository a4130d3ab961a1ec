//! The Metadata API: the org's setup as files.
//!
//! A [`Package`] goes in by [`Connection::deploy`] (REST, `metadata/deployRequest`) and comes out by
//! [`Connection::retrieve`] (SOAP, for there is no other way). Single components are read by
//! [`Connection::read_metadata`] and listed by [`Connection::list_metadata`].
//!
//! ```no_run
//! # async fn example(org: tieline_client::Connection) -> Result<(), Box<dyn std::error::Error>> {
//! use tieline_client::Wait;
//! use tieline_client::metadata::{DeployOptions, Package};
//!
//! let mut package = Package::new("67.0");
//! package.add("PermissionSet", "Nightly", "permissionsets/Nightly.permissionset", "<PermissionSet …");
//! let id = org.deploy(&package, DeployOptions { check_only: true, ..DeployOptions::default() }).await?;
//! let outcome = org.wait_for_deploy(&id, &Wait::default(), |_| {}).await?;
//! for failure in outcome.failures() {
//!     println!("{}: {}", failure.full_name, failure.problem);
//! }
//! # Ok(()) }
//! ```
//!
//! Source: Metadata API Developer Guide and WSDL, v66.

mod deploy;
mod package;
mod read;
mod retrieve;
pub(crate) mod soap;
mod xml;

pub use deploy::{ComponentMessage, DeployOptions, DeployResult, TestLevel};
pub use package::Package;
pub use read::{FileProperties, MetadataType};
pub use retrieve::Retrieved;
pub use xml::Element;

#[expect(unused_imports, reason = "the module's documentation names it")]
use crate::connection::Connection;
