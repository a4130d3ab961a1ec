//! Fields within a text: `{FirstName} {LastName}`.

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// As it stands.
    Text(String),
    /// The value of a field.
    Field(String),
}

/// Takes a template apart. `{{` and `}}` stand for the braces themselves.
pub(super) fn read(template: &str) -> Result<Vec<Piece>, String> {
    let (mut pieces, mut text) = (Vec::new(), String::new());
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        text.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix(brace) {
            text.push_str(brace);
            rest = after;
            continue;
        }
        let end = after.find('}').filter(|_| brace == "{");
        let Some(end) = end else {
            return Err(format!("`{template}` has a single `{brace}`; write it twice where it stands for itself"));
        };
        let path = after[..end].trim();
        if path.is_empty() || path.contains('{') {
            return Err(format!("`{template}` has braces without the name of a field in them"));
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut text)));
        }
        pieces.push(Piece::Field(path.to_owned()));
        rest = &after[end + 1..];
    }
    text.push_str(rest);
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    if !pieces.iter().any(|piece| matches!(piece, Piece::Field(_))) {
        return Err(format!("`{template}` names no field: a value that is always the same is a `constant`"));
    }
    Ok(pieces)
}

/// The fields of a template.
pub(super) fn paths(pieces: &[Piece]) -> Vec<String> {
    let path = |piece: &Piece| match piece {
        Piece::Field(path) => Some(path.clone()),
        Piece::Text(_) => None,
    };
    pieces.iter().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_taken_apart() {
        let (text, field) = (|text: &str| Piece::Text(text.into()), |path: &str| Piece::Field(path.into()));
        assert_eq!(read("{FirstName} {LastName}"), Ok(vec![field("FirstName"), text(" "), field("LastName")]));
        assert_eq!(read("{{{ Id }}}"), Ok(vec![text("{"), field("Id"), text("}")]));
        assert_eq!(read("ä{Account.Name}ö"), Ok(vec![text("ä"), field("Account.Name"), text("ö")]));
        for wrong in ["", "text", "{", "}", "{Id", "Id}", "{}", "{ }", "{a{b}", "{{Id}}"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
