//! The name that somebody may have meant.

/// The nearest of the names, if it is near enough to be meant.
pub(super) fn nearest<'n>(name: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let wanted = folded(name);
    let allowed = (wanted.len() / 3).clamp(1, 4);
    names
        .into_iter()
        .map(|candidate| (distance(&wanted, &folded(candidate)), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Without what people forget: case, underscores, and the endings that the org gives.
fn folded(name: &str) -> Vec<char> {
    let name = name.to_ascii_lowercase();
    let name = name.strip_suffix("__c").or_else(|| name.strip_suffix("__r")).unwrap_or(&name);
    name.chars().filter(|c| *c != '_').collect()
}

/// Characters to insert, remove, replace or swap with their neighbour.
fn distance(a: &[char], b: &[char]) -> usize {
    let (mut before, mut last): (Vec<usize>, Vec<usize>) = (Vec::new(), (0..=b.len()).collect());
    for (i, x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let mut least = (last[j + 1] + 1).min(row[j] + 1).min(last[j] + usize::from(x != y));
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_was_meant_is_found() {
        let names = ["Email", "FirstName", "LastName", "Custom_Field__c", "Phone"];
        for (wrong, meant) in [
            ("Emial", Some("Email")),
            ("email", Some("Email")),
            ("First_Name", Some("FirstName")),
            ("CustomField", Some("Custom_Field__c")),
            ("Phon", Some("Phone")),
            ("Revenue", None),
            ("", None),
        ] {
            assert_eq!(nearest(wrong, names), meant, "{wrong}");
        }
    }
}
