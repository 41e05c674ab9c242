//! `.help EMIT`: how a statement is written, out of the grammar that the parser is held to.

const GRAMMAR: &str = include_str!("../../../grammar/bygone.ebnf");

/// What is the same everywhere, and told by its name.
const PLAIN: [&str; 9] = ["name", "text", "count", "expr", "id", "type", "duration", "value", "path"];

/// Lines are broken behind so many characters.
const WIDTH: usize = 100;

/// How the statement is written that begins with these words, and what its parts are; none if none does.
pub fn form_of(words: &[&str]) -> Option<String> {
    if words.is_empty() {
        return None;
    }
    let rules = rules();
    let words: Vec<String> =
        words.iter().map(|word| format!("\"{}\"", word.trim_end_matches(';').to_uppercase())).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // What is defined is asked for by its own word, too.
    let form = find(&rules, "statement", &words)
        .or_else(|| find(&rules, "statement", &[["\"DEFINE\""].as_slice(), &words].concat()))?;
    let parts: Vec<_> = rules
        .iter()
        .filter(|(name, _)| !PLAIN.contains(name) && names(form).any(|part| part == *name))
        .collect();
    let widest = parts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let before =
        words.iter().take(words.len().saturating_sub(1)).map(|word| shown(word) + " ").collect::<String>();
    let mut text = wrapped(&(before + &shown(form)), "", 2);
    for (name, body) in parts {
        text += &wrapped(&shown(body), &format!("  {name:widest$}  "), widest + 4);
    }
    Some(text)
}

/// The rules, by their names.
fn rules() -> Vec<(&'static str, &'static str)> {
    let rules = GRAMMAR.split(" ;\n").filter_map(|rule| rule.split_once('='));
    rules.map(|(name, body)| (name.trim(), body.trim())).collect()
}

/// The alternative of a rule, or of one that stands alone in it, that begins with these words.
fn find<'g>(rules: &[(&str, &'g str)], rule: &str, words: &[&str]) -> Option<&'g str> {
    let (word, behind) = words.split_first()?;
    let (_, body) = rules.iter().find(|(name, _)| *name == rule)?;
    alternatives(body).into_iter().find_map(|form| {
        if names(form).next() == Some(form) {
            return find(rules, form, words);
        }
        let begins = form.split_whitespace().next() == Some(word)
            || form
                .strip_prefix("( ")
                .is_some_and(|group| group.split(" )").next().is_some_and(|group| group.contains(word)));
        match (begins, behind.is_empty()) {
            (false, _) => None,
            (true, true) => Some(form),
            (true, false) => names(form).find_map(|part| find(rules, part, behind)),
        }
    })
}

/// What a body has a bar between, outside of all brackets.
fn alternatives(body: &str) -> Vec<&str> {
    let (mut found, mut begun, mut depth) = (Vec::new(), 0, 0usize);
    let mut at = 0;
    for part in body.split_inclusive(char::is_whitespace) {
        match part.trim_end() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            "|" if depth == 0 => {
                found.push(body[begun..at].trim());
                begun = at + part.len();
            }
            _ => {}
        }
        at += part.len();
    }
    found.push(body[begun..].trim());
    found
}

/// The rules that a form names.
fn names(form: &str) -> impl Iterator<Item = &str> {
    form.split_whitespace().filter(|part| part.chars().all(|c| c.is_ascii_lowercase()))
}

/// A form as people write it: words without quotes.
fn shown(form: &str) -> String {
    let part = |part: &str| match part.strip_prefix('"').and_then(|part| part.strip_suffix('"')) {
        Some(word) if word.chars().all(|c| c.is_ascii_alphabetic() || c == ' ') => word.to_owned(),
        Some(sign) => format!("'{sign}'"),
        None => part.to_owned(),
    };
    // AS OF is one word.
    let parts = form.replace("\"AS OF\"", "AS OF");
    parts.split_whitespace().map(part).collect::<Vec<_>>().join(" ")
}

/// A text in lines, the first behind a head, the others indented.
fn wrapped(text: &str, head: &str, indent: usize) -> String {
    let (mut lines, mut line) = (String::new(), head.to_owned());
    let mut is_empty = true;
    for word in text.split(' ') {
        if !is_empty && line.len() + 1 + word.len() > WIDTH {
            lines += line.trim_end();
            lines.push('\n');
            line = " ".repeat(indent);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line += word;
        is_empty = false;
    }
    lines += line.trim_end();
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_has_a_form() {
        let openings = [
            "EXPLAIN",
            "EMIT",
            "PERFORM",
            "ATOMIC",
            "HISTORY",
            "EVENTS",
            "FIND",
            "READ",
            "AT",
            "REPLAY",
            "DIFF",
            "TRACE",
            "BLAME",
            "SUBSCRIBE",
            "DEFINE",
            "FORGET",
            "DROP",
            "SHOW",
            "DESCRIBE",
            "BACKUP",
            "REKEY",
            "VERIFY",
            "PROVE",
            "SIGN",
            "COMPACT",
            "CHECKPOINT",
            "SYNC",
            "RETRY",
            "SKIP",
        ];
        for word in openings {
            let form = form_of(&[word]).unwrap_or_else(|| panic!("{word}"));
            assert!(form.contains(word), "{form}");
            assert!(form.lines().all(|line| line.chars().count() <= WIDTH && !line.contains('"')), "{form}");
        }
        for kind in [
            "ENTITY", "VERB", "EVENT", "INDEX", "COLUMN", "SCHEDULE", "VIEW", "PRIVATE", "REACTION",
            "WEBHOOK",
        ] {
            let form = form_of(&["DEFINE", kind]).unwrap_or_else(|| panic!("{kind}"));
            assert!(form.starts_with(&format!("DEFINE {kind} ")), "{form}");
        }
        assert!(form_of(&["view"]).is_some_and(|form| form.contains("VIEW name AS query")));
        for other in [["EMITT"].as_slice(), &["DEFINE", "TABLE"], &[], &["type"]] {
            assert_eq!(form_of(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_form_tells_its_parts() {
        assert_eq!(
            form_of(&["perform"]).unwrap(),
            "PERFORM name entity [ body ] { fact }\n\
             \x20 body    object | WITH expr\n\
             \x20 fact    BY entity | AT point | META object | KEY text | ID text | CAUSED BY cause | EXPECT guard |\n\
             \x20         INDEX BY index { ',' index }\n\
             \x20 entity  name id\n"
        );
    }
}
