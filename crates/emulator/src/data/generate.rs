//! People, companies and leads from a fixed seed: many scripts, emoji, nulls, long text, and bulk loads whose
//! records share one second.

use anyhow::Context;
use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::clock::datetime;
use crate::id::record_id;
use crate::org::Org;
use crate::records::{self, Author};

const SEED: u64 = 0x0074_6965_6c69_6e65;

const FIRST: [&str; 48] = [
    "Ada",
    "Grace",
    "Linus",
    "Zoë",
    "José",
    "Björn",
    "Łukasz",
    "Siobhán",
    "Đorđe",
    "İpek",
    "Ångström",
    "Nguyễn",
    "Алексей",
    "Ольга",
    "Γιώργος",
    "Ελένη",
    "محمد",
    "فاطمة",
    "יוסף",
    "שרה",
    "राहुल",
    "अनन्या",
    "তানভীর",
    "நிலா",
    "สมชาย",
    "花子",
    "太郎",
    "さくら",
    "王",
    "小明",
    "민준",
    "서연",
    "გიორგი",
    "Արամ",
    "ሰላም",
    "Mele‘ana",
    "Jean-Luc",
    "Mary Ann",
    "O",
    "D'Arcy",
    "Renée",
    "Ünal",
    "Þóra",
    "Çağla",
    "Ōtake",
    "Ţepeş",
    "Emoji 🦀",
    "👩‍🚀",
];
const LAST: [&str; 40] = [
    "Lovelace",
    "Hopper",
    "O'Brien",
    "Müller",
    "García Márquez",
    "Ødegård",
    "Wiśniewska",
    "Nowak-Kowalska",
    "Đokić",
    "Yılmaz",
    "Trần",
    "Смирнов",
    "Шевченко",
    "Παπαδόπουλος",
    "الحسن",
    "العربي",
    "כהן",
    "לוי",
    "शर्मा",
    "গুপ্ত",
    "முருகன்",
    "สุขใจ",
    "山田",
    "佐藤",
    "鈴木",
    "李",
    "王",
    "김",
    "박",
    "ბერიძე",
    "Պետրոսյան",
    "ተስፋዬ",
    "van der Berg",
    "de la Cruz",
    "Smith",
    "Jones",
    "MacDonald",
    "Quote \"Q\" Marks",
    "Comma, Junior",
    "Back\\slash",
];
const COMPANY: [&str; 16] = [
    "Acme",
    "Globex",
    "Initech",
    "Umbrella",
    "株式会社山田製作所",
    "Müller & Söhne GmbH",
    "Société Générale d'Essai",
    "شركة النور",
    "ООО Ромашка",
    "Café Olé",
    "北京测试有限公司",
    "O'Neil <Partners>",
    "Ångström AB",
    "대한물산",
    "Łódź Sp. z o.o.",
    "Rocket 🚀 Labs",
];
const TITLE: [&str; 12] = [
    "Engineer",
    "VP, Sales",
    "Directeur général",
    "Geschäftsführerin",
    "部長",
    "CTO 🧪",
    "Head of \"Special\" Projects",
    "Менеджер",
    "مدير",
    "Analyst\tII",
    "Owner",
    "Comptable",
];
const SOURCE: [&str; 5] = ["Web", "Phone Inquiry", "Partner Referral", "Purchased List", "Other"];
const CITY: [&str; 8] = ["Berlin", "São Paulo", "東京", "القاهرة", "Kraków", "Zürich", "New York", "Tromsø"];
const LEAD_STATUS: [&str; 3] = ["Open - Not Contacted", "Working - Contacted", "Closed - Not Converted"];

/// Fills the org: `contacts` people, a tenth as many companies, a quarter as many leads.
pub(crate) fn generate(org: &mut Org, contacts: usize) -> anyhow::Result<()> {
    let mut rng = Rng::with_seed(SEED);
    org.db.execute_batch("BEGIN").context("begin")?;
    let mut stamp = Stamps::new();
    let companies = if contacts == 0 { 0 } else { (contacts / 10).max(1) };
    let mut accounts = Vec::with_capacity(companies);
    for n in 0..companies {
        let name = COMPANY[rng.usize(..COMPANY.len())];
        let mut body = object(json!({
            "Name": format!("{name} {n:05}"),
            "Phone": phone(&mut rng), "Website": format!("https://company{n}.example.com"),
            "BillingCity": CITY[rng.usize(..CITY.len())],
            "NumberOfEmployees": rng.u32(1..50_000), "AnnualRevenue": f64::from(rng.u32(..90_000_000)) / 100.0,
        }));
        stamp.put(&mut rng, &mut body);
        accounts.push(insert(org, "Account", body)?);
    }
    for n in 0..contacts {
        let body = contact(&mut rng, n, &accounts, &mut stamp);
        insert(org, "Contact", body)?;
    }
    for n in 0..contacts / 4 {
        let mut body = object(json!({
            "FirstName": maybe(&mut rng, &FIRST), "LastName": LAST[rng.usize(..LAST.len())],
            "Company": COMPANY[rng.usize(..COMPANY.len())], "Title": maybe(&mut rng, &TITLE),
            "Email": format!("lead{n}@example.com"), "Phone": phone(&mut rng),
            "Status": LEAD_STATUS[rng.usize(..3)], "LeadSource": maybe(&mut rng, &SOURCE),
        }));
        stamp.put(&mut rng, &mut body);
        insert(org, "Lead", body)?;
    }
    org.db.execute_batch("COMMIT").context("commit")?;
    Ok(())
}

fn contact(rng: &mut Rng, n: usize, accounts: &[String], stamp: &mut Stamps) -> Map<String, Value> {
    let mut body = object(json!({
        "FirstName": maybe(rng, &FIRST), "LastName": LAST[rng.usize(..LAST.len())],
        "Email": if rng.u8(..10) == 0 { Value::Null } else { json!(format!("person{n}@example.com")) },
        "Phone": phone(rng), "MobilePhone": phone(rng),
        "Title": maybe(rng, &TITLE), "Department": maybe(rng, &["R&D", "Vertrieb", "営業", "Legal"]),
        "MailingStreet": if rng.bool() { json!(format!("{} Main St\nFloor {}", rng.u8(1..), rng.u8(..30))) } else { Value::Null },
        "MailingCity": maybe(rng, &CITY), "LeadSource": maybe(rng, &SOURCE),
        "Description": match rng.u8(..40) {
            // Long text with everything that trips up writers of CSV and JSON.
            0 => json!("Long: \"quoted\", comma; tab\t, line\nbreak, \u{2028} and 🧵. ".repeat(rng.usize(1..60))),
            1..=9 => json!(format!("Note {n}")),
            _ => Value::Null,
        },
        "AccountId": if rng.u8(..8) == 0 { Value::Null } else { json!(accounts[rng.usize(..accounts.len())]) },
    }));
    stamp.put(rng, &mut body);
    body
}

/// Creation and change times from 2021 to the middle of 2026. One record in six begins a bulk load: the next
/// few hundred share its second.
struct Stamps {
    shared: Option<(Timestamp, usize)>,
}

impl Stamps {
    fn new() -> Self {
        Stamps { shared: None }
    }

    fn put(&mut self, rng: &mut Rng, body: &mut Map<String, Value>) {
        const FROM: i64 = 1_609_459_200; // 2021-01-01
        const SPAN: i64 = 173_000_000; // to June 2026
        let at = match &mut self.shared {
            Some((at, left)) if *left > 0 => {
                *left -= 1;
                *at
            }
            _ => {
                let at = Timestamp::from_second(FROM + rng.i64(0..SPAN)).unwrap_or(Timestamp::UNIX_EPOCH);
                self.shared = (rng.u8(..200) == 0).then(|| (at, rng.usize(100..600)));
                at
            }
        };
        let created = at - SignedDuration::from_hours(rng.i64(0..9_000));
        body.insert("CreatedDate".to_owned(), json!(datetime(created)));
        body.insert("LastModifiedDate".to_owned(), json!(datetime(at)));
        body.insert("SystemModstamp".to_owned(), json!(datetime(at)));
    }
}

fn maybe(rng: &mut Rng, from: &[&str]) -> Value {
    if rng.u8(..6) == 0 { Value::Null } else { json!(from[rng.usize(..from.len())]) }
}

fn phone(rng: &mut Rng) -> Value {
    if rng.u8(..5) == 0 { Value::Null } else { json!(format!("+{} {:07}", rng.u8(1..99), rng.u32(..10_000_000))) }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn insert(org: &mut Org, name: &str, body: Map<String, Value>) -> anyhow::Result<String> {
    let prefix = org.schema.object(name).context("a standard object")?.key_prefix.clone();
    let id = org.new_id(&prefix);
    debug_assert!(id > record_id(&prefix, 0));
    let author = Author { user_id: &org.admin_id.clone(), now: "2021-01-01T00:00:00.000+0000", seeding: true };
    let object = org.schema.object(name).context("a standard object")?;
    records::insert(&org.db, &org.schema, object, &body, id.clone(), &author)
        .and_then(|write| records::apply(&org.db, &write))
        .map_err(|e| anyhow::anyhow!("could not generate a {name}: {}", e.message))?;
    Ok(id)
}
