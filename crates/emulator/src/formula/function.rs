//! The functions that formulas may call.

use super::parse::compare;
use super::{Kind, Part};

/// A call with its arguments, as SQL.
pub(super) fn call(name: &str, arguments: &[Part]) -> Result<Part, String> {
    use Kind::{Boolean, Date, DateTime, Number, Text};
    let sql = |n: usize| arguments[n].sql.as_str();
    let count = |fits: bool| {
        if fits { Ok(()) } else { Err(format!("Incorrect number of parameters for function '{name}()'")) }
    };
    let kinds = |wanted: &[Kind]| {
        count(arguments.len() == wanted.len())?;
        check(name, arguments, wanted)
    };
    let made = |sql: String, kind: Kind| Ok(Part { sql, kind });
    match name {
        "TODAY" => kinds(&[]).and_then(|()| made("org_today()".to_owned(), Date)),
        "NOW" => kinds(&[]).and_then(|()| made("org_now()".to_owned(), DateTime)),
        "IF" => {
            count(arguments.len() == 3)?;
            check(name, &arguments[..1], &[Boolean])?;
            let kind = same(name, &arguments[1..])?;
            made(format!("CASE WHEN {} THEN {} ELSE {} END", sql(0), sql(1), sql(2)), kind)
        }
        "CASE" => {
            count(arguments.len() >= 4 && arguments.len().is_multiple_of(2))?;
            let (pairs, otherwise) = arguments[1..].split_at(arguments.len() - 2);
            let mut results: Vec<Part> = pairs.iter().skip(1).step_by(2).cloned().collect();
            results.extend(otherwise.iter().cloned());
            let kind = same(name, &results)?;
            let mut cases = String::new();
            for pair in pairs.chunks(2) {
                let when = compare(&arguments[0], "=", &pair[0])?;
                cases += &format!(" WHEN {} THEN {}", when.sql, pair[1].sql);
            }
            made(format!("CASE{cases} ELSE {} END", otherwise[0].sql), kind)
        }
        "AND" | "OR" => {
            count(!arguments.is_empty())?;
            check(name, arguments, &vec![Boolean; arguments.len()])?;
            let parts: Vec<&str> = arguments.iter().map(|part| part.sql.as_str()).collect();
            made(format!("({})", parts.join(&format!(" {name} "))), Boolean)
        }
        "NOT" => kinds(&[Boolean]).and_then(|()| made(format!("(NOT {})", sql(0)), Boolean)),
        "ISBLANK" | "ISNULL" => {
            count(arguments.len() == 1)?;
            made(format!("({0} IS NULL OR {0} = '')", sql(0)), Boolean)
        }
        "BLANKVALUE" | "NULLVALUE" => {
            count(arguments.len() == 2)?;
            made(format!("coalesce(nullif({}, ''), {})", sql(0), sql(1)), same(name, arguments)?)
        }
        "ISPICKVAL" => {
            kinds(&[Text, Text])?;
            compare(&arguments[0], "=", &arguments[1])
        }
        "TEXT" => {
            count(arguments.len() == 1)?;
            let number = arguments[0].kind == Number;
            made(if number { format!("formula_text({})", sql(0)) } else { sql(0).to_owned() }, Text)
        }
        "VALUE" => kinds(&[Text]).and_then(|()| made(format!("CAST(nullif({}, '') AS REAL)", sql(0)), Number)),
        "LEN" => kinds(&[Text]).and_then(|()| made(format!("length(coalesce({}, ''))", sql(0)), Number)),
        "UPPER" | "LOWER" => {
            kinds(&[Text])?;
            made(format!("formula_{}({})", name.to_ascii_lowercase(), sql(0)), Text)
        }
        "TRIM" => kinds(&[Text]).and_then(|()| made(format!("trim({})", sql(0)), Text)),
        "LEFT" => {
            kinds(&[Text, Number])?;
            made(format!("substr({}, 1, max(CAST({} AS INTEGER), 0))", sql(0), sql(1)), Text)
        }
        "RIGHT" => {
            kinds(&[Text, Number])?;
            made(format!("substr({0}, max(length({0}) - CAST({1} AS INTEGER), 0) + 1)", sql(0), sql(1)), Text)
        }
        "MID" => {
            kinds(&[Text, Number, Number])?;
            made(format!("substr({}, CAST({} AS INTEGER), CAST({} AS INTEGER))", sql(0), sql(1), sql(2)), Text)
        }
        "CONTAINS" => {
            kinds(&[Text, Text])?;
            made(format!("(instr(coalesce({}, ''), coalesce({}, '')) > 0)", sql(0), sql(1)), Boolean)
        }
        "BEGINS" => {
            kinds(&[Text, Text])?;
            made(format!("(instr(coalesce({}, ''), coalesce({}, '')) = 1)", sql(0), sql(1)), Boolean)
        }
        "ROUND" => {
            kinds(&[Number, Number])?;
            made(format!("round({}, CAST({} AS INTEGER))", sql(0), sql(1)), Number)
        }
        "ABS" => kinds(&[Number]).and_then(|()| made(format!("abs({})", sql(0)), Number)),
        "MAX" | "MIN" => {
            count(arguments.len() >= 2)?;
            check(name, arguments, &vec![Number; arguments.len()])?;
            let parts: Vec<&str> = arguments.iter().map(|part| part.sql.as_str()).collect();
            made(format!("{}({})", name.to_ascii_lowercase(), parts.join(", ")), Number)
        }
        "YEAR" | "MONTH" | "DAY" => {
            kinds(&[Date])?;
            let (from, length) = match name {
                "YEAR" => (1, 4),
                "MONTH" => (6, 2),
                _ => (9, 2),
            };
            made(format!("CAST(substr({}, {from}, {length}) AS INTEGER)", sql(0)), Number)
        }
        "DATE" => {
            kinds(&[Number, Number, Number])?;
            made(format!("printf('%04d-%02d-%02d', {}, {}, {})", sql(0), sql(1), sql(2)), Date)
        }
        "DATEVALUE" => {
            count(arguments.len() == 1)?;
            made(format!("substr({}, 1, 10)", sql(0)), Date)
        }
        _ => Err(format!("Unknown function {name}. Check spelling.")),
    }
}

fn check(name: &str, arguments: &[Part], wanted: &[Kind]) -> Result<(), String> {
    match arguments.iter().zip(wanted).find(|(part, wanted)| part.kind != **wanted) {
        None => Ok(()),
        Some((part, wanted)) => Err(format!(
            "Incorrect parameter type for function '{name}()'. Expected {wanted:?}, received {:?}",
            part.kind
        )),
    }
}

fn same(name: &str, parts: &[Part]) -> Result<Kind, String> {
    let kind = parts.first().map_or(Kind::Text, |part| part.kind);
    check(name, parts, &vec![kind; parts.len()])?;
    Ok(kind)
}
