//! What is left of somebody who was erased: digests of their source ids and of their address, by which the next sync or
//! import knows them.
//!
//! A digest is HMAC-SHA256 under a random key of the business's, which is sealed. Who has the database without its
//! master key cannot try addresses or ids out: there are few enough of either to try them all.
//!
//! Nobody slips through between the look and the write: whoever writes people holds the business's row (`hold`) from
//! before the look to the end of the transaction, and whoever erases waits for all of them and keeps new ones waiting
//! (`hold_alone`).

use std::collections::HashSet;

use aws_lc_rs::{hmac, rand};
use jiff::Timestamp;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{addresses, folded};
use crate::contacts::ContactRow;
use crate::error::StoreError;
use crate::keys::{Cell, in_use};
use crate::leads::SourceType;
use crate::object_tables::{ObjectTable, Rows};
use crate::open::Tenant;
use crate::sql::Tx;

/// Digests of one question.
const CHUNK: usize = 2_000;

/// The key of a business's digests, if it has one yet.
pub(crate) struct Markers(Option<Digests>);

/// What makes digests.
pub(crate) struct Digests(hmac::Key);

impl Digests {
    pub(crate) fn of_source(&self, kind: &str, id: &str) -> String {
        self.digest(&format!("source\0{kind}\0{id}"))
    }

    pub(crate) fn of_email(&self, email: &str) -> String {
        self.digest(&format!("email\0{}", folded(email)))
    }

    /// Of what a row is matched by, its first half. `what` says of which rows and by which of their keys.
    pub(crate) fn of_match(&self, what: &str, kind: &str, text: &str) -> String {
        let mut digest = self.digest(&format!("match\0{what}\0{kind}\0{text}"));
        digest.truncate(32);
        digest
    }

    fn digest(&self, text: &str) -> String {
        let tag = hmac::sign(&self.0, text.as_bytes());
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Keeps whoever erases waiting to the transaction's end. It belongs at its beginning.
pub(crate) async fn hold(tx: &mut Tx, business: Uuid) -> Result<(), StoreError> {
    tx.query("SELECT id FROM businesses WHERE id = $1 FOR SHARE").bind(business).optional().await.map(drop)
}

/// Waits for all who hold, and keeps others waiting to the transaction's end. Rows that refer to the business are
/// written meanwhile all the same: that is another lock.
pub(crate) async fn hold_alone(tx: &mut Tx, business: Uuid) -> Result<(), StoreError> {
    tx.query("UPDATE businesses SET name = name WHERE id = $1").bind(business).execute().await.map(drop)
}

impl Markers {
    /// The source ids of these contacts that belong to somebody who was erased. `None`: somebody was erased since the
    /// key was looked for; begin again. The transaction must [`hold`].
    pub(crate) async fn erased<'r>(
        &self,
        tx: &mut Tx,
        business: Uuid,
        contacts: impl Iterator<Item = &'r ContactRow>,
    ) -> Result<Option<HashSet<String>>, StoreError> {
        let records = contacts.map(|row| (row.source_id.as_str(), row.email.as_deref().into_iter().collect()));
        self.erased_records(tx, business, records).await
    }

    /// The same of records with their addresses.
    pub(crate) async fn erased_records<'r>(
        &self,
        tx: &mut Tx,
        business: Uuid,
        records: impl Iterator<Item = (&'r str, Vec<&'r str>)>,
    ) -> Result<Option<HashSet<String>>, StoreError> {
        let mut erased = HashSet::new();
        let any =
            tx.query("SELECT digest FROM erased_persons WHERE business_id = $1 LIMIT 1").bind(business).optional();
        if any.await?.is_none() {
            return Ok(Some(erased));
        }
        let Some(digests) = &self.0 else { return Ok(None) };
        let mut of: Vec<(String, &str)> = Vec::new();
        for (id, emails) in records {
            of.push((digests.of_source(SourceType::Salesforce.name(), id), id));
            of.extend(emails.into_iter().map(|email| (digests.of_email(email), id)));
        }
        for chunk in of.chunks(CHUNK) {
            let asked: Vec<String> = chunk.iter().map(|(digest, _)| digest.clone()).collect();
            let known = tx
                .query("SELECT digest FROM erased_persons WHERE business_id = $1 AND digest = ANY($2)")
                .bind(business)
                .bind(asked)
                .all()
                .await?;
            let known: HashSet<String> = known.iter().map(|row| row.get("digest")).collect::<Result<_, _>>()?;
            let theirs = chunk.iter().filter(|(digest, _)| known.contains(digest));
            erased.extend(theirs.map(|(_, id)| (*id).to_owned()));
        }
        Ok(Some(erased))
    }
}

impl Tenant {
    /// What knows who was erased. To be asked for before the transaction: opening the key may take a key service.
    pub(crate) async fn markers(&self) -> Result<Markers, StoreError> {
        let mut refused = None;
        loop {
            let mut tx = self.read("reading the key of erased persons").await?;
            let row = tx
                .query("SELECT sealed FROM erasure_keys WHERE business_id = $1")
                .bind(self.business())
                .optional()
                .await?;
            drop(tx);
            let Some(row) = row else { return Ok(Markers(None)) };
            let sealed: Vec<u8> = row.get("sealed")?;
            match self.unseal(self.place_of_key(), &sealed).await {
                // Sealed anew meanwhile, unless it is what it was.
                Err(StoreError::Sealed { .. }) if refused.as_ref() != Some(&sealed) => refused = Some(sealed),
                opened => return Ok(Markers(Some(Digests(hmac::Key::new(hmac::HMAC_SHA256, &opened?))))),
            }
        }
    }

    /// Of rows with the columns of this table, the ids of those that belong to somebody who was erased: the table is to
    /// have nothing of them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn erased_among(&self, table: &ObjectTable, rows: &Rows) -> Result<HashSet<String>, StoreError> {
        let columns = addresses(table);
        // It ends: a key that is there stays.
        loop {
            let markers = self.markers().await?;
            let mut tx = self.read("looking for erased persons").await?;
            let records = (0..rows.len()).map(|row| {
                let emails = columns.iter().filter_map(|column| rows.text(row, *column)).collect();
                (rows.id(row), emails)
            });
            if let Some(erased) = markers.erased_records(&mut tx, self.business(), records).await? {
                return Ok(erased);
            }
        }
    }

    /// The columns by which a table's records are known as somebody's who was erased, by their places; none if nobody was.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn erased_are_known_by(&self, table: &ObjectTable) -> Result<Vec<usize>, StoreError> {
        let mut tx = self.read("looking for erased persons").await?;
        let any = tx
            .query("SELECT digest FROM erased_persons WHERE business_id = $1 LIMIT 1")
            .bind(self.business())
            .optional()
            .await?;
        Ok(if any.is_some() { addresses(table) } else { Vec::new() })
    }

    /// The same for whoever erases: the key is made where there is none.
    pub(crate) async fn digests(&self, now: Timestamp) -> Result<Digests, StoreError> {
        loop {
            if let Markers(Some(digests)) = self.markers().await? {
                return Ok(digests);
            }
            let mut key = Zeroizing::new([0; 32]);
            let no_randomness = |_| StoreError::Sealed {
                table: "erasure_keys",
                row: self.business().to_string(),
                reason: "the system gives no randomness",
            };
            rand::fill(&mut *key).map_err(no_randomness)?;
            let sealed = self.seal(self.place_of_key(), &*key).await?;
            let mut tx = self.write("keeping the key of erased persons").await?;
            // The business before the data key, as everybody takes them.
            tx.query("SELECT id FROM businesses WHERE id = $1 FOR NO KEY UPDATE")
                .bind(self.business())
                .optional()
                .await?;
            if in_use(&mut tx, &sealed).await? {
                // Whoever was first wins.
                tx.query(
                    "INSERT INTO erasure_keys (business_id, sealed, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                )
                .bind(self.business())
                .bind(sealed)
                .bind(now)
                .execute()
                .await?;
                tx.commit().await?;
            }
        }
    }

    fn place_of_key(&self) -> Cell {
        Cell { table: "erasure_keys", column: "sealed", row: self.business(), owner: self.business() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_hmac_sha256_of_its_kind_and_text() {
        let digests = Digests(hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]));
        assert_eq!(digests.of_email(" Ada@Example.com"), digests.of_email("ada@example.com"));
        assert_ne!(digests.of_source("csv", "ada@example.com"), digests.of_email("ada@example.com"));
        assert_ne!(digests.of_source("csv", "1"), digests.of_source("manual", "1"));
        let other = Digests(hmac::Key::new(hmac::HMAC_SHA256, &[8; 32]));
        assert_ne!(digests.of_email("ada@example.com"), other.of_email("ada@example.com"), "each business has its own");
    }
}
