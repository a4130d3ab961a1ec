//! LIKE, as SQLite's own cannot do it: any letter's case, and escapes.

/// SOQL's LIKE: `%` and `_` are wildcards, `\%` and `\_` are not, letters match in any case.
pub(crate) fn like(pattern: &str, text: &str) -> bool {
    let mut wanted: Vec<Option<char>> = Vec::new(); // None is `%`; `_` is kept as U+FFFF, which no text holds
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '%' => wanted.push(None),
            '_' => wanted.push(Some('\u{ffff}')),
            '\\' => wanted.extend(chars.next().map(Some)),
            c => wanted.extend(c.to_lowercase().map(Some)),
        }
    }
    let text: Vec<char> = text.to_lowercase().chars().collect();
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match wanted.get(p) {
            Some(None) => {
                star = Some((p, t));
                p += 1;
            }
            Some(Some(c)) if *c == '\u{ffff}' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((sp, st)) => {
                    star = Some((sp, st + 1));
                    p = sp + 1;
                    t = st + 1;
                }
                None => return false,
            },
        }
    }
    wanted[p..].iter().all(Option::is_none)
}

#[cfg(test)]
mod tests {
    use super::like;

    #[test]
    fn like_knows_wildcards_escapes_and_case() {
        for (pattern, text, expected) in [
            ("O'Br%", "o'brien", true),
            ("%ÖZ%", "gözde", true),
            ("a_c", "abc", true),
            ("a_c", "ac", false),
            ("100\\%", "100%", true),
            ("100\\%", "1000", false),
            ("%", "", true),
            ("%a%b%", "xxaxxbxx", true),
            ("a", "ab", false),
        ] {
            assert_eq!(like(pattern, text), expected, "{pattern} ~ {text}");
        }
    }
}
