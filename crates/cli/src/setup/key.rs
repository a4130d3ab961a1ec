//! The key pair: made here, found here, or kept by a service; and the certificate over it that the app gets.

use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    CertificateParams, DnType, KeyPair, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize, SignatureAlgorithm, SigningKey,
};
use serde::{Deserialize, Serialize};
use tieline_auth::PrivateKey;
use tieline_auth::aws::Aws;
use tieline_auth::aws::kms::KmsKey;
use tieline_auth::certificate::Certificate;
use tieline_auth::environment::transit;
use tieline_auth::token_store::keychain;

use crate::failure::Failure;
use crate::orgs::write_whole;

/// Where the private key is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "place", rename_all = "snake_case")]
pub(crate) enum Place {
    /// In a file of mode 0600 in the output folder.
    File { file: String, certificate: String },
    /// In the operating system's keychain, under this name.
    Keychain { name: String, certificate: String },
    /// In Vault's or OpenBao's transit engine, which it never leaves.
    Transit { key: String, version: u64, certificate: String },
    /// In AWS KMS, which it never leaves.
    Kms { key: String, certificate: String },
}

/// The key as it is asked for on the command line: `file`, `keychain`, `transit:MOUNT/NAME`, `kms:KEY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    File,
    Keychain,
    Transit(String),
    Kms(String),
}

impl std::str::FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "file" => Ok(Wanted::File),
            None if text == "keychain" => Ok(Wanted::Keychain),
            Some(("transit", key)) if key.contains('/') => Ok(Wanted::Transit(key.to_owned())),
            Some(("kms", key)) if !key.is_empty() => Ok(Wanted::Kms(key.to_owned())),
            _ => Err("write file, keychain, transit:MOUNT/NAME, or kms:KEY".to_owned()),
        }
    }
}

impl Wanted {
    /// Where a key is going to be: `name` tells it from others in a keychain, `infix` from another pair in the folder.
    /// The version of a service's key is not known before it is asked.
    pub(crate) fn place(&self, name: &str, infix: &str) -> Place {
        let certificate = format!("public{infix}.crt");
        match self {
            Wanted::File => Place::File { file: format!("private_key{infix}.pem"), certificate },
            Wanted::Keychain => Place::Keychain { name: format!("{name}{infix}"), certificate },
            Wanted::Transit(key) => Place::Transit { key: key.clone(), version: 0, certificate },
            Wanted::Kms(key) => Place::Kms { key: key.clone(), certificate },
        }
    }

    pub(crate) fn fits(&self, place: &Place) -> bool {
        match (self, place) {
            (Wanted::File, Place::File { .. }) | (Wanted::Keychain, Place::Keychain { .. }) => true,
            (Wanted::Transit(wanted), Place::Transit { key, .. }) | (Wanted::Kms(wanted), Place::Kms { key, .. }) => {
                wanted == key
            }
            _ => false,
        }
    }
}

/// A key with its certificate, ready to use.
pub(crate) struct Pair {
    pub(crate) key: PrivateKey,
    pub(crate) certificate_pem: String,
    pub(crate) certificate: Certificate,
    pub(crate) place: Place,
    /// Key or certificate was made just now.
    pub(crate) is_new: bool,
}

/// How a new pair is to be.
pub(crate) struct Shape<'a> {
    pub(crate) folder: &'a Path,
    /// The certificate's subject.
    pub(crate) name: &'a str,
    pub(crate) bits: usize,
    pub(crate) days: i64,
    pub(crate) now: Timestamp,
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Place {
    pub(crate) fn certificate(&self) -> &str {
        match self {
            Place::File { certificate, .. }
            | Place::Keychain { certificate, .. }
            | Place::Transit { certificate, .. }
            | Place::Kms { certificate, .. } => certificate,
        }
    }

    /// What belongs to it here: files by their names, and `keychain:NAME`. A service's key is not ours to keep or remove.
    pub(crate) fn things(&self) -> Vec<String> {
        let mut things = vec![self.certificate().to_owned()];
        match self {
            Place::File { file, .. } => things.push(file.clone()),
            Place::Keychain { name, .. } => things.push(format!("{IN_KEYCHAIN}{name}")),
            Place::Transit { .. } | Place::Kms { .. } => {}
        }
        things
    }

    /// The kind of place, for another pair of the same kind.
    pub(crate) fn wanted(&self) -> Wanted {
        match self {
            Place::File { .. } => Wanted::File,
            Place::Keychain { .. } => Wanted::Keychain,
            Place::Transit { key, .. } => Wanted::Transit(key.clone()),
            Place::Kms { key, .. } => Wanted::Kms(key.clone()),
        }
    }

    /// For people, and for the report.
    pub(crate) fn in_words(&self, folder: &Path) -> String {
        match self {
            Place::File { file, .. } => folder.join(file).display().to_string(),
            Place::Keychain { name, .. } => format!("the keychain (`{name}`)"),
            Place::Transit { key, version, .. } => format!("the key service ({key}, version {version})"),
            Place::Kms { key, .. } => format!("AWS KMS ({key})"),
        }
    }

    /// The variable that names the key in an environment, and its value.
    pub(crate) fn variable(&self, folder: &Path) -> (&'static str, String) {
        match self {
            Place::File { file, .. } => ("SF_PRIVATE_KEY_FILE", absolute(&folder.join(file)).display().to_string()),
            Place::Keychain { name, .. } => ("TIELINE_SIGNING_KEY", format!("keychain:{name}")),
            Place::Transit { key, version, .. } => ("TIELINE_SIGNING_KEY", format!("transit:{key}@{version}")),
            Place::Kms { key, .. } => ("TIELINE_SIGNING_KEY", format!("kms:{key}")),
        }
    }

    /// Opens the pair.
    pub(crate) async fn open(&self, folder: &Path) -> Result<Pair, Failure> {
        let key = match self {
            Place::File { file, .. } => PrivateKey::from_pem(&read(&folder.join(file))?)?,
            Place::Keychain { name, .. } => {
                let pem = keychain::read(&keychain::private_key(name)).map_err(no_keychain)?;
                let gone = || {
                    Failure::new(
                        format!("the keychain has no key `{name}` any more"),
                        "undo the setup (--undo), and begin again",
                    )
                };
                PrivateKey::from_pem(&pem.ok_or_else(gone)?)?
            }
            Place::Transit { key, version, .. } => transit(&variable, key)?.key(Some(*version)).await?.0,
            Place::Kms { key, .. } => KmsKey::key(Aws::from_env()?, key).await?,
        };
        let path = folder.join(self.certificate());
        let certificate_pem = read(&path)?;
        let certificate = Certificate::from_pem(&certificate_pem)?;
        if !certificate.belongs_to(&key) {
            return Err(mismatch(&path, &self.in_words(folder)));
        }
        Ok(Pair { key, certificate_pem, certificate, place: self.clone(), is_new: false })
    }
}

/// How a key in the keychain stands among what was made here.
const IN_KEYCHAIN: &str = "keychain:";

/// Whether one of a place's things is there.
pub(crate) fn is_there(folder: &Path, thing: &str) -> Result<bool, Failure> {
    match thing.strip_prefix(IN_KEYCHAIN) {
        Some(name) => Ok(keychain::read(&keychain::private_key(name)).map_err(no_keychain)?.is_some()),
        None => Ok(folder.join(thing).exists()),
    }
}

/// Removes things that were made here; what is gone already is no error.
pub(crate) fn remove(folder: &Path, things: &[String]) -> Result<(), Failure> {
    for thing in things {
        if let Some(name) = thing.strip_prefix(IN_KEYCHAIN) {
            keychain::remove(&keychain::private_key(name)).map_err(no_keychain)?;
            continue;
        }
        match std::fs::remove_file(folder.join(thing)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::new(format!("could not remove {thing}: {error}"), "remove it by hand"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn mismatch(certificate: &Path, key: &str) -> Failure {
    Failure::new(
        format!("the certificate {} was not made for the private key in {key}", certificate.display()),
        "name a folder where both belong together with --output, or move the two away and let setup make new ones",
    )
}

fn no_keychain(error: tieline_auth::token_store::TokenStoreError) -> Failure {
    Failure::new(
        format!("the keychain cannot be used: {}", error.reason),
        "unlock the keychain; on a machine without one keep the key in a file: --key file",
    )
}

pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|e| {
        Failure::new(
            format!("could not read {}: {e}", path.display()),
            "put it back, or undo the setup (--undo) and begin again",
        )
    })
}

/// Finds the pair that the place has already, or makes one. Nothing that is there is overwritten.
pub(crate) async fn ensure(place: &Place, shape: &Shape<'_>) -> Result<Pair, Failure> {
    let mut is_new = false;
    let unwritten = |path: &Path, e: std::io::Error| {
        Failure::new(format!("could not write {}: {e}", path.display()), "name a folder of your own with --output")
    };
    let mut place = place.clone();
    let key = match &mut place {
        Place::File { file, .. } => {
            let path = shape.folder.join(file);
            if !path.exists() {
                // On its own first: a crash after this line leaves a key that the next run finds.
                write_whole(&path, new_key(shape.bits)?.as_bytes()).map_err(|e| unwritten(&path, e))?;
                is_new = true;
            }
            only_mine(&path)?;
            PrivateKey::from_pem(&read(&path)?)?
        }
        Place::Keychain { name, .. } => {
            let entry = keychain::private_key(name);
            match keychain::read(&entry).map_err(no_keychain)? {
                Some(pem) => PrivateKey::from_pem(&pem)?,
                None => {
                    let pem = new_key(shape.bits)?;
                    keychain::write(&entry, &pem).map_err(no_keychain)?;
                    is_new = true;
                    PrivateKey::from_pem(&pem)?
                }
            }
        }
        Place::Transit { key, version, .. } => {
            let service = transit(&variable, key)?;
            service.create(shape.bits).await?;
            let (key, found) = service.key(Some(*version).filter(|version| *version > 0)).await?;
            *version = found;
            key
        }
        // Made by whoever may make keys in the account; its users may only sign.
        Place::Kms { key, .. } => KmsKey::key(Aws::from_env()?, key).await?,
    };
    let path = shape.folder.join(place.certificate());
    if !path.exists() {
        let pem = self_signed(&key, shape)?;
        write_whole(&path, pem.as_bytes()).map_err(|e| unwritten(&path, e))?;
        readable(&path)?;
        is_new = true;
    }
    let certificate_pem = read(&path)?;
    let certificate = Certificate::from_pem(&certificate_pem)?;
    if !certificate.belongs_to(&key) {
        return Err(mismatch(&path, &place.in_words(shape.folder)));
    }
    Ok(Pair { key, certificate_pem, certificate, place, is_new })
}

/// A version of a service's key that is newer than the given one: the newest there, or a new one. Others stay.
pub(crate) async fn newer_version(place: &str, than: u64) -> Result<u64, Failure> {
    let service = transit(&variable, place)?;
    let newest = service.key(None).await?.1;
    if newest > than {
        return Ok(newest);
    }
    service.rotate().await?;
    Ok(service.key(None).await?.1)
}

fn new_key(bits: usize) -> Result<String, Failure> {
    let size = match bits {
        2_048 => RsaKeySize::_2048,
        3_072 => RsaKeySize::_3072,
        _ => RsaKeySize::_4096,
    };
    let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size);
    Ok(pair.map_err(|e| anyhow::anyhow!("could not make an RSA key: {e}"))?.serialize_pem())
}

/// The key of others is not used silently: a file that others can read is refused.
fn only_mine(path: &Path) -> Result<(), Failure> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(Failure::new(
                format!("the private key {} can be read by others (mode {mode:o})", path.display()),
                format!("chmod 600 {}", path.display()),
            ));
        }
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// A certificate is public, and read by other tools.
fn readable(path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// A key wherever it is, as the certificate's maker wants it.
struct Signer<'a>(&'a PrivateKey);

impl PublicKeyData for Signer<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().unwrap_or_default()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

impl SigningKey for Signer<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        // The maker waits for its signature, and a key service answers by network.
        let signed = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(self.0.sign(message)));
        signed.map_err(|e| {
            tracing::error!("{e}");
            rcgen::Error::RemoteKeyError
        })
    }
}

fn self_signed(key: &PrivateKey, shape: &Shape<'_>) -> Result<String, Failure> {
    let day = |at: Timestamp| {
        let date = at.to_zoned(TimeZone::UTC).date();
        rcgen::date_time_ymd(i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, shape.name);
    // From midnight on: clocks that differ must not make it begin tomorrow.
    parameters.not_before = day(shape.now);
    parameters.not_after = day(shape.now + SignedDuration::from_hours(24 * (shape.days + 1)));
    let certificate = parameters.self_signed(&Signer(key));
    let certificate = certificate.map_err(|e| {
        Failure::new(
            format!("could not make the certificate: {e}"),
            "see that the key can sign: TIELINE_LOG=debug tells more",
        )
    })?;
    Ok(certificate.pem())
}
