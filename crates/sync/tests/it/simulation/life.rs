//! A life: what befalls an org and its mapping, made from a seed and nothing else.
//!
//! It is a list of acts in plain data, so that it can be printed, cut down, and lived once more. What an act is done to
//! is a number, counted out among what there is when its turn comes.

use tieline_sync::mapping::Method;

use super::cast::{ALL, Cast};

/// Counted out among what there is.
pub(super) type Pick = u32;

/// What is written in a transaction.
#[derive(Debug, Clone, Copy)]
pub(super) enum Deed {
    Insert(u64),
    Update(Pick, u64),
    Delete(Pick),
    Undelete(Pick),
    HardDelete(Pick),
    Merge(Pick, Pick, bool),
    /// Only the stamp.
    Touch(Pick),
    Reparent(Pick, Pick),
    ParentInsert,
    ParentRename(Pick),
    ParentDelete(Pick),
    ParentMerge(Pick, Pick),
}

/// Something happens.
#[derive(Debug, Clone)]
pub(super) enum Act {
    /// Seconds pass, here and in the org.
    Pass(i64),
    /// Somebody sets the clock of this machine: so many seconds off.
    Skew(i64),
    Write(Vec<Deed>),
    Begin(Vec<Deed>),
    Commit(Pick),
    RollBack(Pick),
    Purge(Pick),
    EmptyBin,
    PurgeLog {
        ago: i64,
        refuse: bool,
    },
    Archive(Pick, bool),
    Share {
        pick: Pick,
        parents: bool,
        visible: bool,
    },
    Field {
        pick: Pick,
        visible: bool,
    },
    Object {
        visible: bool,
    },
    AddField(u8),
    RemoveField(Pick),
    Retype(u8),
    /// Queries of more rows time out; 0: none.
    Timeout(u32),
    ReplicationIds(u32),
    /// Calls of a day, and how many of them are used.
    Calls {
        allowed: u32,
        used: u32,
    },
    Fault(Fault),
    /// A page out of its turn.
    Trick {
        bulk: bool,
        trick: u8,
        nth: u8,
    },
    /// Bulk jobs fail in the middle, are ended, or are forgotten.
    Job(u8),
    Locators,
    Sessions,
    /// All that ails the org is over.
    Calm,
    Run(Run),
}

/// A request that goes wrong.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    pub(super) kind: u8,
    pub(super) place: u8,
    pub(super) nth: u8,
    pub(super) bytes: u16,
}

/// A run of the mapping.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) step_rows: usize,
    pub(super) step_bytes: usize,
    pub(super) bulk: bool,
    pub(super) verify: bool,
    pub(super) compare: bool,
    pub(super) refresh: bool,
    pub(super) describe: bool,
    pub(super) reload: bool,
    pub(super) allow_gone: bool,
    /// A write to the database that fails.
    pub(super) failpoint: Option<(u8, u16)>,
    /// What happens after so many calls to the org.
    pub(super) meanwhile: Vec<(u64, Event)>,
}

/// What happens in the middle of a run.
#[derive(Debug, Clone)]
pub(super) enum Event {
    Org(Box<Act>),
    /// The run sleeps; time passes, something is written, and another run comes, to its end.
    Rival {
        reload: bool,
        compare: bool,
        seconds: i64,
        deeds: Vec<Deed>,
    },
    /// The process dies, so many steps of its future later.
    Kill(u16),
}

/// A life.
#[derive(Debug, Clone)]
pub(super) struct Life {
    pub(super) seed: u64,
    pub(super) cast: Cast,
    pub(super) method: Method,
    pub(super) percent: u8,
    pub(super) lookback: u64,
    pub(super) lag: u64,
    /// Records of a page, by query and by Bulk job.
    pub(super) page: u32,
    pub(super) bulk_page: u32,
    pub(super) shuffle: Option<u64>,
    pub(super) records: u64,
    pub(super) acts: Vec<Act>,
}

impl Life {
    pub(super) fn of(seed: u64) -> Self {
        // Neighbouring seeds are not to begin alike.
        let mut rng = fastrand::Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let cast = ALL[rng.usize(..ALL.len())];
        // Of persons every other life is one of the mapping that is built in.
        let cast = if cast == Cast::Contact && seed % 2 == 1 { Cast::BuiltIn } else { cast };
        let mut life = Self {
            seed,
            cast,
            method: [Method::Auto, Method::Auto, Method::Rest, Method::Bulk][rng.usize(..4)],
            percent: [10, 30, 100][rng.usize(..3)],
            lookback: [0, 30, 120, 600][rng.usize(..4)],
            lag: [0, 5, 60][rng.usize(..3)],
            page: rng.u32(1..=12),
            bulk_page: rng.u32(1..=20),
            shuffle: rng.bool().then(|| rng.u64(..1_000)),
            records: if rng.u8(..5) == 0 { 0 } else { rng.u64(1..=24) },
            acts: Vec::new(),
        };
        if rng.u8(..5) == 0 {
            // Before anything odd has happened, and over some pages.
            (life.page, life.records) = (rng.u32(1..=4), rng.u64(12..=24));
            let first = plain(&mut rng);
            life.acts.push(first);
            life.moves_on(&mut rng);
        }
        // Most flaws show early; every fourth life is a long one.
        let most = if seed % 4 == 3 { 7 } else { 3 };
        for _ in 0..rng.usize(1..=most) {
            for _ in 0..rng.usize(1..=5) {
                let act = act(&mut rng);
                life.acts.push(act);
            }
            match rng.u8(..12) {
                0..=2 => life.commits_late(&mut rng),
                3 => life.moves_on(&mut rng),
                4 => life.loses_a_page(&mut rng),
                _ => {}
            }
            life.acts.push(Act::Run(run(&mut rng)));
        }
        life
    }

    /// A transaction that a scan passes by, and that commits while scans still look back to it.
    fn commits_late(&mut self, rng: &mut fastrand::Rng) {
        self.acts.push(Act::Begin(deeds(rng, 2)));
        let seconds = self.lag + rng.u64(0..=self.lookback);
        self.acts.push(Act::Pass(i64::try_from(seconds).unwrap_or_default()));
        let (one, other) = (plain(rng), plain(rng));
        self.acts.extend([one, Act::Commit(u32::MAX), other]);
    }

    /// Much is changed, and found when scans look back to it no longer.
    fn changes(&mut self, rng: &mut fastrand::Rng) {
        self.acts.push(Act::Write((0..16).map(|_| Deed::Update(rng.u32(..), rng.u64(..))).collect()));
        self.acts.push(Act::Pass(i64::try_from(self.lookback + self.lag).unwrap_or_default() + rng.i64(1..=900)));
    }

    /// While pages are read, records of them get stamps behind the scan's end; and the process dies a page later.
    fn moves_on(&mut self, rng: &mut fastrand::Rng) {
        self.changes(rng);
        let calls = rng.u64(1..=3);
        let touched = (0..12).map(|_| Deed::Touch(rng.u32(..))).collect();
        let meanwhile = vec![
            (calls, Event::Org(Box::new(Act::Write(touched)))),
            (calls + rng.u64(1..=2), Event::Kill(rng.u16(..40))),
        ];
        let killed = Run {
            verify: false,
            describe: false,
            step_rows: 1,
            step_bytes: 8 << 20,
            failpoint: None,
            meanwhile,
            ..run(rng)
        };
        self.acts.extend([Act::Run(killed), plain(rng)]);
    }

    /// A page does not come, and the process dies before the end, at which it would be missed.
    fn loses_a_page(&mut self, rng: &mut fastrand::Rng) {
        self.changes(rng);
        self.acts.push(Act::Trick { bulk: false, trick: 2, nth: rng.u8(1..=2) });
        let meanwhile = vec![(rng.u64(2..=4), Event::Kill(rng.u16(..40)))];
        let killed = Run {
            verify: false,
            describe: false,
            step_rows: 1,
            step_bytes: 8 << 20,
            failpoint: None,
            meanwhile,
            ..run(rng)
        };
        self.acts.extend([Act::Run(killed), Act::Calm, plain(rng)]);
    }
}

/// A run in which nothing happens.
fn plain(rng: &mut fastrand::Rng) -> Act {
    Act::Run(Run { verify: false, meanwhile: Vec::new(), ..run(rng) })
}

fn deed(rng: &mut fastrand::Rng) -> Deed {
    let (one, other) = (rng.u32(..), rng.u32(..));
    match rng.u8(..24) {
        0..=4 => Deed::Insert(rng.u64(..)),
        5..=10 => Deed::Update(one, rng.u64(..)),
        11..=13 => Deed::Delete(one),
        14 => Deed::Undelete(one),
        15 | 16 => Deed::HardDelete(one),
        17 => Deed::Merge(one, other, rng.bool()),
        18 => Deed::Touch(one),
        19 => Deed::Reparent(one, other),
        20 => Deed::ParentInsert,
        21 | 22 => Deed::ParentRename(one),
        _ if rng.bool() => Deed::ParentDelete(one),
        _ => Deed::ParentMerge(one, other),
    }
}

fn deeds(rng: &mut fastrand::Rng, most: usize) -> Vec<Deed> {
    let first = deed(rng);
    let count = rng.usize(1..=most);
    // A bulk load: many of one kind in one second.
    let alike = rng.bool();
    (0..count).map(|_| if alike { again(first, rng) } else { deed(rng) }).collect()
}

fn again(deed: Deed, rng: &mut fastrand::Rng) -> Deed {
    match deed {
        Deed::Insert(_) => Deed::Insert(rng.u64(..)),
        Deed::Update(..) => Deed::Update(rng.u32(..), rng.u64(..)),
        Deed::Delete(_) => Deed::Delete(rng.u32(..)),
        Deed::Touch(_) => Deed::Touch(rng.u32(..)),
        _ => self::deed(rng),
    }
}

fn pass(rng: &mut fastrand::Rng) -> i64 {
    match rng.u8(..20) {
        0..=5 => rng.i64(1..=20),
        6..=11 => rng.i64(20..=300),
        12..=16 => rng.i64(300..=4_000),
        17 | 18 => rng.i64(4_000..=90_000),
        _ => rng.i64(1..=20) * 86_400,
    }
}

fn act(rng: &mut fastrand::Rng) -> Act {
    match rng.u8(..100) {
        0..=19 => Act::Pass(pass(rng)),
        20..=46 => Act::Write(deeds(rng, 6)),
        47..=53 => Act::Begin(deeds(rng, 3)),
        54..=60 => Act::Commit(rng.u32(..)),
        61 => Act::RollBack(rng.u32(..)),
        62..=64 => Act::Purge(rng.u32(..)),
        65 => Act::EmptyBin,
        66 => Act::PurgeLog { ago: [0, 0, 600, 7_200][rng.usize(..4)], refuse: rng.bool() },
        67 => Act::Archive(rng.u32(..), rng.u8(..4) > 0),
        68..=71 => Act::Share { pick: rng.u32(..), parents: rng.u8(..4) == 0, visible: rng.bool() },
        72..=74 => Act::Field { pick: rng.u32(..), visible: rng.bool() },
        75 => Act::Object { visible: rng.u8(..3) > 0 },
        76 => Act::AddField(rng.u8(..5)),
        77 => Act::RemoveField(rng.u32(..)),
        78 => Act::Retype(rng.u8(..5)),
        79 | 80 => Act::Timeout(if rng.bool() { 0 } else { rng.u32(4..=30) }),
        81 => Act::ReplicationIds(if rng.bool() { 600_000 } else { rng.u32(0..=6) }),
        82 => Act::Calls { allowed: rng.u32(8..=80), used: rng.u32(0..=40) },
        83..=89 => Act::Fault(fault(rng)),
        90 | 91 => Act::Trick { bulk: rng.bool(), trick: rng.u8(..4), nth: rng.u8(1..=3) },
        92 => Act::Job(rng.u8(..6)),
        93 => Act::Locators,
        94 => Act::Sessions,
        95 => Act::Skew(if rng.bool() { 0 } else { rng.i64(-100_000..=100_000) }),
        _ => Act::Calm,
    }
}

fn fault(rng: &mut fastrand::Rng) -> Fault {
    Fault { kind: rng.u8(..11), place: rng.u8(..8), nth: rng.u8(1..=6), bytes: rng.u16(0..=900) }
}

fn run(rng: &mut fastrand::Rng) -> Run {
    let rarely = |rng: &mut fastrand::Rng| rng.u8(..16) == 0;
    let mut meanwhile = Vec::new();
    for _ in 0..[0, 0, 1, 1, 2][rng.usize(..5)] {
        let event = match rng.u8(..10) {
            0..=2 => Event::Kill(if rng.bool() { 0 } else { rng.u16(..60) }),
            3..=4 => {
                let (seconds, deeds) = if rng.bool() { (rng.i64(1..=900), deeds(rng, 6)) } else { (0, Vec::new()) };
                Event::Rival { reload: rarely(rng), compare: rarely(rng), seconds, deeds }
            }
            _ => Event::Org(Box::new(act(rng))),
        };
        meanwhile.push((rng.u64(0..=12), event));
    }
    meanwhile.sort_by_key(|(calls, _)| *calls);
    Run {
        step_rows: [1, 3, 10, 1_000][rng.usize(..4)],
        step_bytes: if rarely(rng) { 100 } else { 8 << 20 },
        bulk: rng.bool(),
        verify: rng.u8(..3) > 0,
        compare: rng.u8(..6) == 0,
        refresh: rng.u8(..6) == 0,
        describe: rng.u8(..4) == 0,
        reload: rarely(rng),
        allow_gone: rng.bool(),
        failpoint: (rng.u8(..8) == 0).then(|| (rng.u8(..4), rng.u16(..20))),
        meanwhile,
    }
}
