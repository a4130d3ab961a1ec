//! `executeAnonymous`. There is no Apex here: nothing, comments, and calls of `System.debug` are taken for done.

use serde_json::{Value, json};

/// The answer to a body of Apex.
pub(crate) fn execute(body: &str) -> Value {
    match problem(body) {
        None => json!({
            "line": -1, "column": -1, "compiled": true, "success": true, "compileProblem": null,
            "exceptionStackTrace": null, "exceptionMessage": null,
        }),
        Some((at, text)) => {
            let before = &body[..at];
            let column = before.len() - before.rfind('\n').map_or(0, |i| i + 1) + 1;
            json!({
                "line": before.matches('\n').count() + 1, "column": column, "compiled": false, "success": false,
                "compileProblem": text, "exceptionStackTrace": null, "exceptionMessage": null,
            })
        }
    }
}

/// Where the first statement stands that is no `System.debug(…);`.
fn problem(body: &str) -> Option<(usize, String)> {
    let mut at = 0;
    loop {
        at += blank(&body[at..]);
        let rest = &body[at..];
        if rest.is_empty() {
            return None;
        }
        if rest.starts_with(';') {
            at += 1;
            continue;
        }
        const DEBUG: &str = "system.debug";
        let word: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if !rest.get(..DEBUG.len()).is_some_and(|head| head.eq_ignore_ascii_case(DEBUG)) {
            let token = if word.is_empty() { rest.chars().take(1).collect() } else { word };
            return Some((at, format!("Unexpected token '{token}'.")));
        }
        let open = at + DEBUG.len() + blank(&body[at + DEBUG.len()..]);
        let Some(close) = closing(&body[open..]) else {
            return Some((body.len(), "Unexpected token '<EOF>'.".to_owned()));
        };
        at = open + close;
        at += blank(&body[at..]);
        if !body[at..].starts_with(';') {
            return Some((at, "Missing ';' at '<EOF>'".to_owned()));
        }
        at += 1;
    }
}

/// Length of white space and comments.
fn blank(text: &str) -> usize {
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let skipped = if rest.starts_with("//") {
            rest.find('\n').map_or(rest.len(), |i| i + 1)
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |i| i + 2)
        } else {
            rest.len() - rest.trim_start().len()
        };
        if skipped == 0 {
            return at;
        }
        at += skipped;
    }
}

/// Length of a parenthesis with what is in it.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted && depth == 1 => return Some(at + 1),
            ')' if !quoted => depth -= 1,
            _ if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_debugging_compiles() {
        for body in ["", " // nothing\n", "System.debug('a;)\\'b');", "system.debug(1 + (2));\nSystem.Debug( 'x' ) ;"] {
            assert_eq!(execute(body)["success"], true, "{body}");
        }
        for (body, line, column, text) in [
            ("delete [SELECT Id FROM Contact];", 1, 1, "Unexpected token 'delete'."),
            ("System.debug(1);\n  insert c;", 2, 3, "Unexpected token 'insert'."),
            ("System.debug('a'", 1, 17, "Unexpected token '<EOF>'."),
        ] {
            let answer = execute(body);
            assert_eq!((&answer["line"], &answer["column"]), (&json!(line), &json!(column)), "{body}");
            assert_eq!((&answer["compiled"], &answer["compileProblem"]), (&json!(false), &json!(text)), "{body}");
        }
    }
}
