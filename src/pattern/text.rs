//! Patterns over any text, for `MATCHES`: `*` is any run of characters, and nothing else is special.

/// Which texts are meant. A comma, a blank and a `$` are themselves here; `\*` is a star, `\\` a backslash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextPattern {
    /// What every match begins with.
    first: String,
    /// None without a star.
    rest: Option<Rest>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rest {
    /// What stands between the stars.
    between: Vec<String>,
    /// What every match ends with.
    last: String,
}

impl TextPattern {
    /// Every text is a pattern: a backslash before anything else is itself.
    pub fn new(text: &str) -> TextPattern {
        let (mut pieces, mut piece) = (Vec::new(), String::new());
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            if letter == '*' {
                pieces.push(std::mem::take(&mut piece));
                continue;
            }
            let is_escape = letter == '\\';
            let escaped = letters.next_if(|next| is_escape && matches!(next, '*' | '\\'));
            piece.push(escaped.unwrap_or(letter));
        }
        pieces.push(piece);
        let mut pieces = pieces.into_iter();
        let first = pieces.next().unwrap_or_default();
        let rest = pieces.next_back().map(|last| {
            let between = pieces.filter(|piece| !piece.is_empty()).collect();
            Rest { between, last }
        });
        TextPattern { first, rest }
    }

    /// Whether the text is meant, in time that grows with its length alone.
    pub fn matches(&self, text: &str) -> bool {
        let Some(Rest { between, last }) = &self.rest else { return text == self.first };
        let inner = text.strip_prefix(self.first.as_str()).and_then(|text| text.strip_suffix(last.as_str()));
        let Some(mut inner) = inner else { return false };
        // The leftmost place for each piece leaves the most for those that follow.
        between.iter().all(|piece| {
            // What is longer is not even prepared to be looked for.
            let found = if piece.len() > inner.len() { None } else { inner.find(piece.as_str()) };
            found.and_then(|at| inner.get(at + piece.len()..)).map(|rest| inner = rest).is_some()
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_a_star_is_special() {
        for (pattern, meant, other) in [
            ("*5", "$5", "5 "),
            ("*", "$a\nb", "none"),
            ("a, b", "a, b", "a"),
            (" a* ", " ab ", "ab"),
            ("", "", "a"),
            (r"50\*", "50*", "50%"),
            (r"*\\", r"a\", "a"),
            (r"C:\t*", r"C:\temp", "C:temp"),
            (r"a\", r"a\", "a"),
            ("é*ö*é", "éöé", "éöe"),
            ("aa*aa", "aaaa", "aaa"),
            ("*ab*ab*", "xababx", "xabx"),
            ("Order", "Order", "order"),
        ] {
            let pattern = TextPattern::new(pattern);
            assert!(pattern.matches(meant), "{pattern:?} {meant}");
            assert!(!pattern.matches(other) || other == "none", "{pattern:?} {other}");
        }
    }

    /// The plain meaning, letter by letter, by recursion on every split.
    fn model(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', rest @ ..] => (0..=text.len()).any(|at| model(rest, &text[at..])),
            ['\\', letter @ ('*' | '\\'), rest @ ..] | [letter, rest @ ..] => {
                text.first() == Some(letter) && model(rest, &text[1..])
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn matching_equals_the_plain_meaning(pattern in r"[ab*\\,$ é]{0,8}", text in r"[ab*\\,$ é]{0,8}") {
            let letters = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = model(&letters(&pattern), &letters(&text));
            prop_assert_eq!(TextPattern::new(&pattern).matches(&text), expected);
        }

        /// Texts that are meant, made of the pattern: by chance they are few.
        #[test]
        fn what_is_made_of_a_pattern_is_meant(
            parts in prop::collection::vec((r"[ab*\\,$ é]{0,3}", "[ab]{0,3}"), 1..5),
        ) {
            let escaped = |part: &str| part.replace('\\', r"\\").replace('*', r"\*");
            let pattern = parts.iter().map(|(part, _)| escaped(part)).collect::<Vec<_>>().join("*");
            let mut text = String::new();
            for (at, (part, run)) in parts.iter().enumerate() {
                text += part;
                text += if at + 1 < parts.len() { run } else { "" };
            }
            prop_assert!(TextPattern::new(&pattern).matches(&text), "{} {}", pattern, text);
        }
    }
}
