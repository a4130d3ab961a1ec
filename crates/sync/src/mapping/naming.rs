//! Names of columns, from names of fields.
//!
//! `Account.Name` becomes `account_name` and `Custom_Field__c` `custom_field`. Where two fields would have one name, or a
//! name is tieline's own or too long, each of them has its API name in lower case instead, in which API names are still
//! apart: `custom_field__c`. So a name never comes to mean another field because a field was added to the object.

use std::collections::HashMap;

/// Longest name. Source: PostgreSQL cuts at 63 bytes.
const LONGEST: usize = 63;

/// The plain name of a path's column.
pub(super) fn plain(path: &str) -> String {
    path.split('.').map(snake).collect::<Vec<_>>().join("_")
}

fn snake(name: &str) -> String {
    // `__c`: a custom field. `__r`: the way through one. `__s`: a part of a custom location.
    let name = ["__c", "__r", "__s"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
    let letters: Vec<char> = name.chars().collect();
    let mut snake = String::with_capacity(name.len() + 8);
    for (n, letter) in letters.iter().enumerate() {
        if !letter.is_ascii_alphanumeric() {
            if !snake.ends_with('_') {
                snake.push('_');
            }
            continue;
        }
        let before = n.checked_sub(1).map(|n| letters[n]);
        let after_lower = before.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        // `SICDesc`: the last of the great letters begins the next word.
        let ends_run =
            before.is_some_and(|c| c.is_ascii_uppercase()) && letters.get(n + 1).is_some_and(char::is_ascii_lowercase);
        if letter.is_ascii_uppercase() && (after_lower || ends_run) && !snake.ends_with('_') {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake.trim_matches('_').to_owned()
}

/// The name that no other path has.
fn full(path: &str) -> String {
    path.replace('.', "_").to_ascii_lowercase()
}

/// A name for each path that was given none. `given`: the names that others have.
pub(super) fn names<'p>(paths: &[&'p str], given: &[&str]) -> HashMap<&'p str, String> {
    let mut count: HashMap<String, usize> = HashMap::new();
    for name in paths.iter().map(|path| plain(path)).chain(given.iter().map(|name| (*name).to_owned())) {
        *count.entry(name).or_default() += 1;
    }
    let good = |name: &str| {
        name != "id" && name.len() <= LONGEST && name.starts_with(|c: char| c.is_ascii_lowercase()) && count[name] == 1
    };
    paths
        .iter()
        .map(|path| (*path, Some(plain(path)).filter(|name| good(name)).unwrap_or_else(|| full(path))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_people_write_in_sql() {
        for (path, name) in [
            ("Email", "email"),
            ("AccountId", "account_id"),
            ("Account.Name", "account_name"),
            ("Account.Owner.Name", "account_owner_name"),
            ("Custom_Field__c", "custom_field"),
            ("CustomField__c", "custom_field"),
            ("Region__r.Name", "region_name"),
            ("npsp__Primary_Contact__c", "npsp_primary_contact"),
            ("Place__Latitude__s", "place_latitude"),
            ("Birthday__pc", "birthday_pc"),
            ("NaicsCode", "naics_code"),
            ("SICDesc", "sic_desc"),
            ("LastCURequestDate", "last_cu_request_date"),
            ("Line1Text", "line1_text"),
            ("IsDeleted", "is_deleted"),
        ] {
            assert_eq!(plain(path), name);
        }
    }

    #[test]
    fn two_fields_of_one_name_both_keep_their_api_name() {
        let names = names(&["Custom_Field__c", "CustomField__c", "Id__c", "Email"], &[]);
        let name = |path: &str| names[path].as_str();
        assert_eq!((name("Custom_Field__c"), name("CustomField__c")), ("custom_field__c", "customfield__c"));
        assert_eq!((name("Id__c"), name("Email")), ("id__c", "email"));
        assert_eq!(super::names(&["Email"], &["email"])["Email"], "email", "which the table refuses: it says so");
    }
}
