//! Whether the chains are whole, and how they are thinned out without breaking.

use jiff::Timestamp;
use uuid::Uuid;

use super::{Action, Actor, Entry, append, audit_entry, chain, of};
use crate::error::StoreError;
use crate::open::{Store, Tenant};
use crate::sql::{Row, Tx};

/// Entries that are read at once.
const PAGE: u32 = 500;

/// How a chain was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verification {
    /// Every entry is the one that was written, and none is missing but those that were thinned out.
    Verified {
        /// How many there are.
        entries: i64,
        /// Position of the newest, and its digest. Kept elsewhere, they show later that the chain was not written anew.
        head: (i64, [u8; 32]),
    },
    /// Somebody has been at it.
    Broken {
        /// Where.
        position: i64,
        /// What is wrong there.
        reason: &'static str,
    },
}

impl Tenant {
    /// Reads the whole chain of the business and follows its digests.
    ///
    /// # Errors
    /// [`StoreError`]: it could not be read, which says nothing of it.
    pub async fn verify_audit(&self) -> Result<Verification, StoreError> {
        verify(&Chain::Business(self)).await
    }
}

impl Store {
    /// The same with the service's own chain.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn verify_audit(&self) -> Result<Verification, StoreError> {
        verify(&Chain::Service(self)).await
    }

    /// Takes out the oldest entries of all chains, up to the first that happened at `before` or later; how many. What is
    /// left can be verified as before: of the last entry that goes the digest is kept. A chain that is broken among the
    /// entries that were to go keeps them, for they are the evidence.
    ///
    /// # Errors
    /// [`StoreError`]; what has gone by then is gone.
    pub async fn thin_audit(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut tx = self.read("listing the audit log's chains").await?;
        let chains = tx.query("SELECT business_id FROM audit_chains").all().await?;
        drop(tx);
        let mut removed = 0;
        for chain in &chains {
            let business: Option<Uuid> = chain.find("business_id")?;
            while let Some(n) = self.thin_page(business, before, None).await? {
                removed += n;
            }
        }
        Ok(removed)
    }

    /// The same with one chain, which tells of it: an entry with each page of entries that go.
    pub(crate) async fn sweep_audit(
        &self,
        business: Option<Uuid>,
        before: Timestamp,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let mut removed = 0;
        while let Some(n) = self.thin_page(business, before, Some(now)).await? {
            removed += n;
        }
        Ok(removed)
    }

    /// None: there is nothing more to take out. `told`: when an entry is to say so.
    async fn thin_page(
        &self,
        business: Option<Uuid>,
        before: Timestamp,
        told: Option<Timestamp>,
    ) -> Result<Option<u64>, StoreError> {
        let mut tx = self.write("thinning out the audit log").await?;
        // The lock of the chain: another node may be at the same.
        let lock = format!("UPDATE audit_chains SET head_position = head_position WHERE {} RETURNING *", of(business));
        let Some(ends) = tx.query(lock).bind(business).optional().await? else { return Ok(None) };
        let ends = Ends::of(&ends)?;
        let mut link = ends.anchor.clone();
        let mut is_broken = None;
        for row in page(&mut tx, business, 0, ends.head.0).await? {
            if row.get::<Timestamp>("at")? >= before {
                break;
            }
            match follow(&link, business, &row)? {
                Ok(next) => link = next,
                Err(reason) => {
                    is_broken = Some(reason);
                    break;
                }
            }
        }
        if let Some(reason) = is_broken {
            let business = business.map(|id| id.to_string());
            tracing::error!(business, position = link.0 + 1, reason, "the audit log is broken: it is not thinned out");
        }
        if link.0 == ends.anchor.0 {
            return Ok(None);
        }
        let removed = tx
            .query(format!("DELETE FROM audit_log WHERE {} AND position <= $2", of(business)))
            .bind(business)
            .bind(link.0)
            .execute()
            .await?;
        tx.query(format!("UPDATE audit_chains SET anchor_position = $2, anchor_digest = $3 WHERE {}", of(business)))
            .bind(business)
            .bind(link.0)
            .bind(link.1)
            .execute()
            .await?;
        if let Some(now) = told {
            let detail = serde_json::json!({"audit": removed, "through": link.0});
            let entry = Entry { detail, ..Entry::new(Actor::System, Action::RetentionSwept) };
            append(&mut tx, business, &entry, now).await?;
        }
        tx.commit().await?;
        Ok(is_broken.is_none().then_some(removed))
    }
}

/// A position with the digest of the entry there.
type Link = (i64, Vec<u8>);

struct Ends {
    anchor: Link,
    head: Link,
}

impl Ends {
    fn of(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            anchor: (row.get("anchor_position")?, row.get("anchor_digest")?),
            head: (row.get("head_position")?, row.get("head_digest")?),
        })
    }
}

/// Whose chain, and how it is read.
enum Chain<'s> {
    Business(&'s Tenant),
    Service(&'s Store),
}

impl Chain<'_> {
    fn business(&self) -> Option<Uuid> {
        match self {
            Chain::Business(tenant) => Some(tenant.business()),
            Chain::Service(_) => None,
        }
    }

    async fn begin(&self) -> Result<Tx, StoreError> {
        match self {
            Chain::Business(tenant) => tenant.read("verifying the audit log").await,
            Chain::Service(store) => store.read("verifying the audit log").await,
        }
    }
}

async fn verify(chain: &Chain<'_>) -> Result<Verification, StoreError> {
    loop {
        let (anchor, found) = verify_once(chain).await?;
        if matches!(found, Verification::Verified { .. }) {
            return Ok(found);
        }
        // What is missing may have been thinned out meanwhile.
        let (ends, _) = ends(&mut chain.begin().await?, chain.business()).await?;
        if ends.map_or(0, |ends| ends.anchor.0) == anchor {
            return Ok(found);
        }
    }
}

/// What was found, and the anchor that it began from. Pages are transactions of their own: a long one would keep a
/// database from tidying up.
async fn verify_once(chain: &Chain<'_>) -> Result<(i64, Verification), StoreError> {
    let business = chain.business();
    let (ends, newest) = ends(&mut chain.begin().await?, business).await?;
    let Some(Ends { anchor, head }) = ends else {
        let found = match newest {
            None => Verification::Verified { entries: 0, head: (0, super::chain::BEGINNING) },
            Some(position) => Verification::Broken { position, reason: "the chain's own row is gone" },
        };
        return Ok((0, found));
    };
    let begun = anchor.0;
    let broken = |position, reason| Ok((begun, Verification::Broken { position, reason }));
    if let Some(position) = newest.filter(|newest| *newest > head.0) {
        return broken(position, "it stands behind the end of the chain");
    }
    // From the very beginning: an entry before the anchor is one too many.
    let (mut link, mut after) = (anchor, i64::MIN);
    loop {
        let page = page(&mut chain.begin().await?, business, after, head.0).await?;
        for row in &page {
            match follow(&link, business, row)? {
                Ok(next) => link = next,
                Err(reason) => return broken(row.get::<i64>("position")?.min(link.0 + 1), reason),
            }
        }
        after = link.0;
        if page.len() < PAGE as usize {
            break;
        }
    }
    if link.0 != head.0 {
        return broken(link.0 + 1, "the newest entries are missing");
    }
    match <[u8; 32]>::try_from(head.1.as_slice()) {
        Ok(digest) if link.1 == head.1 => {
            Ok((begun, Verification::Verified { entries: head.0 - begun, head: (head.0, digest) }))
        }
        _ => broken(head.0, "it is not the entry that the chain ends with"),
    }
}

/// Both ends of a chain, and the position of the newest entry, at the same moment.
async fn ends(tx: &mut Tx, business: Option<Uuid>) -> Result<(Option<Ends>, Option<i64>), StoreError> {
    let row = tx
        .query(format!(
            "SELECT c.*, n.newest FROM (SELECT max(position) AS newest FROM audit_log WHERE {of}) AS n
             LEFT JOIN (SELECT * FROM audit_chains WHERE {of}) AS c ON true",
            of = of(business)
        ))
        .bind(business)
        .one()
        .await?;
    let ends = match row.find::<i64>("head_position")? {
        Some(_) => Some(Ends::of(&row)?),
        None => None,
    };
    Ok((ends, row.find("newest")?))
}

async fn page(tx: &mut Tx, business: Option<Uuid>, after: i64, through: i64) -> Result<Vec<Row>, StoreError> {
    tx.query(format!(
        "SELECT * FROM audit_log WHERE {} AND position > $2 AND position <= $3 ORDER BY position LIMIT $4",
        of(business)
    ))
    .bind(business)
    .bind(after)
    .bind(through)
    .bind(PAGE)
    .all()
    .await
}

/// The next link, or why this row is none.
fn follow(link: &Link, business: Option<Uuid>, row: &Row) -> Result<Result<Link, &'static str>, StoreError> {
    let entry = audit_entry(row)?;
    if entry.position <= link.0 {
        return Ok(Err("it stands before the beginning of the chain"));
    }
    if entry.position != link.0 + 1 {
        return Ok(Err("it is missing"));
    }
    let digest: Vec<u8> = row.get("digest")?;
    if chain::digest(&link.1, business, &entry).as_slice() != digest {
        return Ok(Err("it is not what was written, or follows another entry"));
    }
    Ok(Ok((entry.position, digest)))
}
