//! From keys to pairs: who shares a key, which rule that fits, and what is kept of it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::merged::{Went, root, went};
use super::normal::Matched;
use super::rules::MatchRules;
use super::scan::{BatchOutcome, Groups, Keys, column, keys_of};
use super::{DuplicateState, Subject};
use crate::error::StoreError;
use crate::open::Tenant;
use crate::sql::{Row, Tx};

/// Rows with one value, from which on it is no sign of one person: a switchboard, an address of an office. It also
/// bounds the pairs that a row may have.
const COMMON: i64 = 20;

/// Two rows that stand for themselves, the lesser id first.
type Pair = (Uuid, Uuid);

/// A pair that is kept.
struct Kept {
    id: Uuid,
    pair: Pair,
    rule: String,
    agreed: BTreeSet<String>,
    state: DuplicateState,
}

fn pair(one: Uuid, other: Uuid) -> Pair {
    if one < other { (one, other) } else { (other, one) }
}

fn written(keys: &Keys) -> BTreeSet<String> {
    keys.iter().map(|(kind, digest)| format!("{kind}:{digest}")).collect()
}

impl Tenant {
    /// Brings the pairs of these rows up to date.
    pub(super) async fn pair_rows(
        &self,
        tx: &mut Tx,
        subject: Subject,
        by: &MatchRules,
        rows: &[Matched],
        now: Timestamp,
    ) -> Result<BatchOutcome, StoreError> {
        let mut outcome = BatchOutcome::default();
        let mut went = went(tx, self.business(), subject, rows.iter().map(|row| row.id)).await?;
        let deleted: HashSet<Uuid> = rows.iter().filter(|row| row.deleted).map(|row| row.id).collect();
        let stood: BTreeSet<Uuid> = went.values().filter(|id| deleted.contains(id)).copied().collect();
        outcome.ended.extend(stood);
        // Whoever is one of them by a merge has the pairs of all.
        let here: HashSet<Uuid> = rows.iter().map(|row| root(&went, row.id)).collect();
        let mut mine: HashSet<Uuid> = rows.iter().map(|row| row.id).collect();
        mine.extend(went.keys().chain(&here).filter(|id| here.contains(&root(&went, **id))));
        let found = self.candidates(tx, subject, by, &mine, &mut went, &mut outcome.common).await?;
        let kept = self.kept(tx, subject, &here, found.keys(), &went).await?;
        let mut no: HashMap<Pair, BTreeSet<String>> = HashMap::new();
        for one in kept.iter().filter(|one| one.state == DuplicateState::Dismissed) {
            no.entry(pair(root(&went, one.pair.0), root(&went, one.pair.1))).or_default().extend(one.agreed.clone());
        }
        let known: HashMap<Pair, &Kept> = kept.iter().map(|one| (one.pair, one)).collect();
        for (rows, (rule, keys)) in &found {
            let agreed = written(keys);
            // Somebody has said of all that agrees that it is two persons all the same.
            if no.get(rows).is_some_and(|no| agreed.is_subset(no)) {
                continue;
            }
            outcome.found +=
                u64::from(self.keep(tx, subject, *rows, rule, &agreed, known.get(rows).copied(), now).await?);
        }
        let touched = |one: &&Kept| here.contains(&one.pair.0) || here.contains(&one.pair.1);
        let stale: Vec<Uuid> = kept
            .iter()
            .filter(touched)
            .filter(|one| one.state == DuplicateState::Open && !found.contains_key(&one.pair))
            .map(|one| one.id)
            .collect();
        if !stale.is_empty() {
            tx.query("DELETE FROM duplicates WHERE business_id = $1 AND id = ANY($2) AND state = 'open'")
                .bind(self.business())
                .bind(stale)
                .execute()
                .await?;
        }
        Ok(outcome)
    }

    /// The pairs that a rule fits, each with the first that does and the keys that agree.
    async fn candidates(
        &self,
        tx: &mut Tx,
        subject: Subject,
        by: &MatchRules,
        mine: &HashSet<Uuid>,
        merges: &mut Went,
        common: &mut u64,
    ) -> Result<BTreeMap<Pair, (String, Keys)>, StoreError> {
        let groups = self.groups(tx, subject, mine, common).await?;
        let everybody: BTreeSet<Uuid> = groups.values().flatten().copied().collect();
        merges.extend(went(tx, self.business(), subject, everybody.iter().copied()).await?);
        let went: &Went = merges;
        let keys = keys_of(tx, self.business(), subject, everybody.into_iter().collect()).await?;
        let mut agreed: BTreeMap<Pair, Keys> = BTreeMap::new();
        for rows in groups.values() {
            for one in rows.iter().filter(|row| mine.contains(row)) {
                for other in rows {
                    let (a, b) = (root(went, *one), root(went, *other));
                    if a == b {
                        continue;
                    }
                    if let (Some(ours), Some(theirs)) = (keys.get(one), keys.get(other)) {
                        let both = ours.intersection(theirs).cloned();
                        agreed.entry(pair(a, b)).or_default().extend(both);
                    }
                }
            }
        }
        let mut found = BTreeMap::new();
        for (rows, keys) in agreed {
            let has = |kind: &String| keys.iter().any(|(agreed, _)| agreed == kind);
            if let Some(rule) = by.rules.iter().find(|rule| rule.kinds().iter().all(has)) {
                found.insert(rows, (rule.name.clone(), keys));
            }
        }
        // Neither may be taken out before the pair is written; whoever takes rows out by age holds nothing else.
        let ends: BTreeSet<Uuid> = found.keys().flat_map(|(a, b)| [*a, *b]).collect();
        let there = tx
            .query(format!(
                "SELECT id FROM {} WHERE business_id = $1 AND id = ANY($2) ORDER BY id FOR KEY SHARE",
                subject.table()
            ))
            .bind(self.business())
            .bind(ends.into_iter().collect::<Vec<_>>())
            .all()
            .await?;
        let there: HashSet<Uuid> = there.iter().map(|row| row.get("id")).collect::<Result<_, _>>()?;
        found.retain(|(a, b), _| there.contains(a) && there.contains(b));
        Ok(found)
    }

    /// Who shares a value with one of these rows, where few enough do.
    async fn groups(
        &self,
        tx: &mut Tx,
        subject: Subject,
        mine: &HashSet<Uuid>,
        common: &mut u64,
    ) -> Result<Groups, StoreError> {
        let column = column(subject);
        let counted = tx
            .query(format!(
                "SELECT k.digest AS digest, (SELECT count(*) FROM (SELECT 1 AS one FROM match_keys AS m
                    WHERE m.business_id = $1 AND m.digest = k.digest LIMIT $3) AS few) AS n
                 FROM (SELECT DISTINCT digest FROM match_keys WHERE business_id = $1 AND {column} = ANY($2)) AS k"
            ))
            .bind(self.business())
            .bind(mine.iter().copied().collect::<Vec<_>>())
            .bind(COMMON + 1)
            .all()
            .await?;
        let mut shared: Vec<String> = Vec::new();
        for row in &counted {
            match row.get::<i64>("n")? {
                2..=COMMON => shared.push(row.get("digest")?),
                n => *common += u64::from(n > COMMON),
            }
        }
        let mut groups = Groups::new();
        if shared.is_empty() {
            return Ok(groups);
        }
        let rows = tx
            .query(format!(
                "SELECT digest, {column} AS row_id FROM match_keys WHERE business_id = $1 AND digest = ANY($2)"
            ))
            .bind(self.business())
            .bind(shared)
            .all()
            .await?;
        for row in &rows {
            groups.entry(row.get("digest")?).or_default().push(row.get("row_id")?);
        }
        Ok(groups)
    }

    /// The pairs that are kept of these rows, and of all that were found beside them.
    async fn kept(
        &self,
        tx: &mut Tx,
        subject: Subject,
        here: &HashSet<Uuid>,
        found: impl Iterator<Item = &Pair>,
        went: &Went,
    ) -> Result<Vec<Kept>, StoreError> {
        let (a, b) = sides(subject);
        let mut ids: BTreeSet<Uuid> = here.clone().into_iter().collect();
        ids.extend(found.flat_map(|(a, b)| [*a, *b]));
        let parts: Vec<Uuid> = went.keys().filter(|id| ids.contains(&root(went, **id))).copied().collect();
        ids.extend(parts);
        let rows = tx
            .query(format!(
                "SELECT id, {a} AS a, {b} AS b, rule, agreed, state FROM duplicates
                 WHERE business_id = $1 AND ({a} = ANY($2) OR {b} = ANY($2))"
            ))
            .bind(self.business())
            .bind(ids.into_iter().collect::<Vec<_>>())
            .all()
            .await?;
        let kept = |row: &Row| {
            let agreed: serde_json::Value = row.get("agreed")?;
            Ok(Kept {
                id: row.get("id")?,
                pair: pair(row.get("a")?, row.get("b")?),
                rule: row.get("rule")?,
                agreed: crate::leads::tags(&agreed).into_iter().collect(),
                state: DuplicateState::from_name(&row.get::<String>("state")?),
            })
        };
        rows.iter().map(kept).collect()
    }

    /// Writes a pair down. Whether it is new, or open again.
    #[expect(clippy::too_many_arguments, reason = "all that a pair is")]
    async fn keep(
        &self,
        tx: &mut Tx,
        subject: Subject,
        rows: Pair,
        rule: &str,
        agreed: &BTreeSet<String>,
        known: Option<&Kept>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (a, b) = sides(subject);
        match known {
            Some(known) if known.state == DuplicateState::Merged => Ok(false),
            Some(known) if known.rule == rule && known.agreed == *agreed && known.state == DuplicateState::Open => {
                Ok(false)
            }
            Some(known) => {
                let changed = tx
                    .query(
                        "UPDATE duplicates SET rule = $3, agreed = $4, state = 'open',
                         decided_by = CASE WHEN state = 'open' THEN decided_by ELSE NULL END,
                         decided_at = CASE WHEN state = 'open' THEN decided_at ELSE NULL END
                         WHERE business_id = $1 AND id = $2 AND state <> 'merged'",
                    )
                    .bind(self.business())
                    .bind(known.id)
                    .bind(rule)
                    .bind(json!(agreed))
                    .execute()
                    .await?;
                Ok(changed == 1 && known.state == DuplicateState::Dismissed)
            }
            None => {
                let new = tx
                    .query(format!(
                        "INSERT INTO duplicates (id, business_id, {a}, {b}, rule, agreed, state, created_at)
                         VALUES ($1, $2, $3, $4, $5, $6, 'open', $7) ON CONFLICT DO NOTHING"
                    ))
                    .bind(Uuid::now_v7())
                    .bind(self.business())
                    .bind(rows.0)
                    .bind(rows.1)
                    .bind(rule)
                    .bind(json!(agreed))
                    .bind(now)
                    .execute()
                    .await?;
                Ok(new == 1)
            }
        }
    }
}

/// The columns of a pair's two rows.
pub(super) fn sides(subject: Subject) -> (&'static str, &'static str) {
    match subject {
        Subject::Contact => ("contact_a", "contact_b"),
        Subject::Lead => ("lead_a", "lead_b"),
    }
}
