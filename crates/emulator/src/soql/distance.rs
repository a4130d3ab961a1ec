//! `DISTANCE(BillingAddress, GEOLOCATION(52.5, 13.4), 'km')`.

use super::ast::Operand;
use super::expression::{Expression, unexpected_call};
use super::plan::Planner;
use crate::api_error::ApiError;
use crate::schema::{Field, FieldKind};

const KIND: FieldKind = FieldKind::Number { type_name: "double", precision: 18, scale: 6 };

pub(super) fn distance(
    planner: &mut Planner<'_>,
    call: &Operand,
    arguments: &[Operand],
) -> Result<Expression, ApiError> {
    let [from, to, Operand::Path(unit)] = arguments else { return Err(unexpected_call(planner, call)) };
    let radius = match unit.text.trim_matches('\'').to_ascii_lowercase().as_str() {
        "km" => 6_371.0,
        "mi" => 3_958.8,
        _ => return Err(planner.malformed(unit.at, &format!("unexpected token: {}", unit.text))),
    };
    let (a, b) = (point(planner, from)?, point(planner, to)?);
    let sql = format!("soql_distance({}, {}, {}, {}, {radius:?})", a.0, a.1, b.0, b.1);
    Ok(Expression { sql, field: None, kind: KIND, aggregate: false, date_function: false })
}

/// Latitude and longitude as SQL.
fn point(planner: &mut Planner<'_>, operand: &Operand) -> Result<(String, String), ApiError> {
    match operand {
        Operand::Call { function, arguments } if function.text.eq_ignore_ascii_case("geolocation") => {
            let number = |operand: Option<&Operand>| match operand {
                Some(Operand::Path(text)) => text.text.parse::<f64>().ok().map(|n| format!("{n:?}")),
                _ => None,
            };
            match (number(arguments.first()), number(arguments.get(1))) {
                (Some(latitude), Some(longitude)) => Ok((latitude, longitude)),
                _ => Err(unexpected_call(planner, operand)),
            }
        }
        Operand::Path(name) => {
            let found = planner.resolve(name)?;
            let part = |object: &crate::schema::SObject, end: &str| {
                let of = |f: &&Field| {
                    f.compound.as_deref() == Some(&found.field.name) && f.name.trim_end_matches("__s").ends_with(end)
                };
                object.fields.iter().find(of).map(|f| format!("{}.\"{}\"", planner.table, f.name))
            };
            // Of the object itself only: a parent's location would need its table here.
            match (part(planner.object, "Latitude"), part(planner.object, "Longitude")) {
                (Some(latitude), Some(longitude)) if !name.text.contains('.') => Ok((latitude, longitude)),
                _ => {
                    let text = format!("DISTANCE needs a location field: {}", found.field.name);
                    Err(planner.error("INVALID_FIELD", name.at, &text))
                }
            }
        }
        Operand::Call { .. } => Err(unexpected_call(planner, operand)),
    }
}

/// Along a great circle.
pub(super) fn haversine(a: (f64, f64), b: (f64, f64), radius: f64) -> f64 {
    let (latitude_a, latitude_b) = (a.0.to_radians(), b.0.to_radians());
    let (north, east) = (latitude_b - latitude_a, (b.1 - a.1).to_radians());
    let h = (north / 2.0).sin().powi(2) + latitude_a.cos() * latitude_b.cos() * (east / 2.0).sin().powi(2);
    2.0 * radius * h.sqrt().min(1.0).asin()
}

#[cfg(test)]
mod tests {
    use super::haversine;

    #[test]
    fn berlin_to_paris() {
        let km = haversine((52.52, 13.405), (48.8566, 2.3522), 6_371.0);
        assert!((876.0..880.0).contains(&km), "{km}");
    }
}
