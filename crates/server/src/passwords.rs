//! Passwords: argon2id, a few at a time.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tieline_auth::Secret;
use tokio::sync::Semaphore;

use crate::problem::Problem;

/// 19 MiB, two passes, one lane. Source: OWASP Password Storage Cheat Sheet, argon2id, second of its equivalent settings.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Shortest password. Source: NIST SP 800-63B-4, 3.1.1.2 (15 characters where it is the only factor); ASVS 5.0 6.2.1
/// asks for 8 at least. We take 12, and refuse the common ones.
pub(crate) const SHORTEST: usize = 12;
/// Longest, so that nobody makes us hash a book. ASVS 5.0 6.2.9 asks for 64 at least.
pub(crate) const LONGEST: usize = 256;

/// Each takes 19 MiB and a core for tens of milliseconds; more at once would let sign-ins starve everything else.
static AT_ONCE: Semaphore = Semaphore::const_new(4);

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Refuses a password that is too short, too long, or what everybody tries first.
pub(crate) fn check(password: &Secret, email: &str) -> Result<(), Problem> {
    let text = password.expose();
    let length = text.chars().count();
    let refuse = |detail: String| Err(Problem::invalid(detail, "a sentence of four words or more is easy to keep"));
    if length < SHORTEST {
        return refuse(format!("the password has {length} characters, and needs {SHORTEST} at least"));
    }
    if text.len() > LONGEST {
        return refuse(format!("the password is longer than {LONGEST} bytes"));
    }
    let lower = text.to_lowercase();
    let mut letters = lower.chars();
    let first = letters.next();
    let local_part = email.split('@').next().unwrap_or_default().to_lowercase();
    let is_weak = letters.all(|letter| Some(letter) == first)
        || COMMON.iter().any(|common| lower.trim_end_matches(|c: char| c.is_ascii_digit() || c == '!') == *common)
        || ["0123456789", "1234567890", "abcdefghijkl", "qwertyuiop"].iter().any(|run| lower.starts_with(run))
        || (local_part.len() >= 4 && lower.replace(&local_part, "").len() < 6);
    if is_weak {
        return refuse("the password is one of those that are tried first".to_owned());
    }
    Ok(())
}

/// Of twelve characters and more, once digits at the end are gone.
const COMMON: [&str; 10] = [
    "password",
    "passwordpassword",
    "passw0rd",
    "administrator",
    "letmeinletmein",
    "welcomewelcome",
    "iloveyou",
    "salesforce",
    "changeme",
    "changemenow",
];

/// The hash, in its text form.
pub(crate) async fn hash(password: Secret) -> Result<String, Problem> {
    run(move || {
        let hashed = argon2().hash_password(password.expose().as_bytes());
        hashed.map(|hash| hash.to_string()).map_err(|e| Problem::internal("a password could not be hashed", &e))
    })
    .await?
}

/// Whether the password is the one that was hashed. Without a hash (no such user) it takes the same time.
pub(crate) async fn verify(password: Secret, hash: Option<String>) -> Result<bool, Problem> {
    run(move || {
        let nobodys = NOBODYS.get_or_init(|| {
            argon2().hash_password(b"nobody has this password").map(|hash| hash.to_string()).unwrap_or_default()
        });
        let exists = hash.is_some();
        let hash = hash.as_deref().unwrap_or(nobodys);
        let fits = PasswordHash::new(hash)
            .is_ok_and(|hash| argon2().verify_password(password.expose().as_bytes(), &hash).is_ok());
        fits && exists
    })
    .await
}

static NOBODYS: std::sync::OnceLock<String> = std::sync::OnceLock::new();

async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let _turn = AT_ONCE.acquire().await.map_err(|e| Problem::internal("passwords cannot be checked", &e))?;
    tokio::task::spawn_blocking(work).await.map_err(|e| Problem::internal("passwords cannot be checked", &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_itself_fits_its_hash() {
        let hash = hash(Secret::new("correct horse battery")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(verify(Secret::new("correct horse battery"), Some(hash.clone())).await.unwrap());
        assert!(!verify(Secret::new("correct horse batterY"), Some(hash)).await.unwrap());
        assert!(!verify(Secret::new("nobody has this password"), None).await.unwrap());
        assert!(!verify(Secret::new("x"), Some("damaged".to_owned())).await.unwrap());
    }

    #[test]
    fn short_long_and_common_passwords_are_refused() {
        for bad in [
            "short",
            "aaaaaaaaaaaaaaaa",
            "Password12345",
            "salesforce2026!",
            "qwertyuiop[]",
            "ada.lovelace1",
            &"x1".repeat(200),
        ] {
            assert!(check(&Secret::new(bad), "Ada.Lovelace@example.com").is_err(), "{bad}");
        }
        for good in ["correct horse battery", "мой пароль длинный", "密码密码密码密码密码密码"]
        {
            check(&Secret::new(good), "ada@example.com").unwrap();
        }
    }
}
