//! The lexer: a text as tokens, each with its place.
//!
//! Lexing never fails. What is no token becomes [`TokenKind::Bad`], and is an error only when the parser gets there: the
//! first thing wrong in a text is what the error is about, and a prompt can colour the rest. Numbers, dates and
//! escapes are taken by their shape; whether they say something is checked where one is expected, because as part of
//! an id (`ORD-2024-13-01`) any shape is just text.

use super::ast::Span;
use super::keyword::Keyword;

/// A piece of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Word,
    Keyword(Keyword),
    /// A name in backticks.
    Quoted,
    /// A text in either quotes.
    Text,
    Int,
    /// With a fraction or an exponent.
    Number,
    Duration,
    Date,
    /// Digits and letters that are neither: `2024a`. Only part of an id.
    Mixed,
    Position,
    Param,
    Symbol(Symbol),
    Comment,
    Bad(Bad),
    /// After the last.
    End,
}

/// Why a piece of the text is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bad {
    UnclosedText,
    UnclosedName,
    UnclosedComment,
    EmptyName,
    Param,
    Position,
    Character,
}

impl Bad {
    /// Whether more text could still make it right.
    pub(crate) fn is_unclosed(self) -> bool {
        matches!(self, Bad::UnclosedText | Bad::UnclosedName | Bad::UnclosedComment)
    }

    /// What to say of it.
    pub(crate) fn message(self, text: &str) -> String {
        match self {
            Bad::UnclosedText => "a text begins here and is not closed".to_owned(),
            Bad::UnclosedName => "a name in backticks begins here and is not closed".to_owned(),
            Bad::UnclosedComment => "a comment begins here and is not closed by */".to_owned(),
            Bad::EmptyName => "a name is empty".to_owned(),
            Bad::Param => "a parameter is $ and a name, like $total".to_owned(),
            Bad::Position => "a position is # and digits, like #1207".to_owned(),
            Bad::Character => match text.chars().next() {
                Some(c) if c.is_control() || c.is_whitespace() || !c.is_ascii() => {
                    format!("the character U+{:04X} means nothing outside quotes", u32::from(c))
                }
                _ => format!("{text} means nothing outside quotes"),
            },
        }
    }
}

/// Declares the symbols once; a text that another begins with stands after it.
macro_rules! symbols {
    ($($symbol:ident $text:literal)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Symbol {
            $($symbol,)*
        }

        impl Symbol {
            pub(crate) const ALL: &[Symbol] = &[$(Symbol::$symbol,)*];

            pub(crate) fn text(self) -> &'static str {
                match self {
                    $(Symbol::$symbol => $text,)*
                }
            }
        }
    };
}

symbols! {
    // Habits from elsewhere: tokens, so that an error can say what is right.
    EqualEqual "=="
    LessGreater "<>"
    PipePipe "||"
    AmpersandAmpersand "&&"
    Question "?"
    AtSign "@"
    LessOrEqual "<="
    GreaterOrEqual ">="
    NotEqual "!="
    Bang "!"
    Equal "="
    Less "<"
    Greater ">"
    LeftParen "("
    RightParen ")"
    LeftBracket "["
    RightBracket "]"
    LeftBrace "{"
    RightBrace "}"
    Comma ","
    Semicolon ";"
    Colon ":"
    Dot "."
    Plus "+"
    Minus "-"
    Star "*"
    Slash "/"
    Percent "%"
}

impl Symbol {
    /// Whether it ends what a bracket began.
    pub(crate) fn closes(self) -> bool {
        matches!(self, Symbol::RightParen | Symbol::RightBracket | Symbol::RightBrace)
    }
}

/// The tokens of a text, comments too, and [`TokenKind::End`] behind the last.
pub(crate) fn lex(text: &str) -> Vec<Token> {
    lex_at_most(text, usize::MAX)
}

/// The same, up to the first that is more than so many.
pub(crate) fn lex_at_most(text: &str, most: usize) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if tokens.len() > most {
            break;
        }
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let (kind, length) = token(&text[at..], c);
        let span = Span::new(at, at + length);
        #[cfg(test)]
        super::work_counter::took(length);
        at = span.end();
        match tokens.last_mut() {
            // Two words, one terminal: what follows AS is a name, and the grammar needs no second look.
            Some(last)
                if last.kind == TokenKind::Keyword(Keyword::As)
                    && text[span.range()].eq_ignore_ascii_case("of") =>
            {
                *last = Token { kind: TokenKind::Keyword(Keyword::AsOf), span: last.span.to(span) };
            }
            _ => tokens.push(Token { kind, span }),
        }
    }
    let end = tokens.iter().rfind(|t| t.kind != TokenKind::Comment).map_or(0, |t| t.span.end());
    tokens.push(Token { kind: TokenKind::End, span: Span::new(end, end) });
    tokens
}

/// The token that a text begins with, and its length.
fn token(text: &str, first: char) -> (TokenKind, usize) {
    match first {
        '\'' => closed(doubled(text, '\''), TokenKind::Text, Bad::UnclosedText, text),
        '"' => closed(escaped(text), TokenKind::Text, Bad::UnclosedText, text),
        '`' if text.starts_with("``") && !text.starts_with("```") => (TokenKind::Bad(Bad::EmptyName), 2),
        '`' => closed(doubled(text, '`'), TokenKind::Quoted, Bad::UnclosedName, text),
        '-' if text.starts_with("--") => (TokenKind::Comment, text.find('\n').unwrap_or(text.len())),
        '/' if text.starts_with("/*") => {
            let end = text[2..].find("*/").map(|at| at + 4);
            closed(end, TokenKind::Comment, Bad::UnclosedComment, text)
        }
        '$' => sigil(text, |c| c.is_alphabetic() || c == '_', TokenKind::Param, Bad::Param),
        '#' => sigil(text, |c| c.is_ascii_digit(), TokenKind::Position, Bad::Position),
        '0'..='9' => number(text),
        c if c.is_alphabetic() || c == '_' => {
            let length = word_length(text);
            (Keyword::of(&text[..length]).map_or(TokenKind::Word, TokenKind::Keyword), length)
        }
        c => match Symbol::ALL.iter().find(|s| text.starts_with(s.text())) {
            Some(symbol) => (TokenKind::Symbol(*symbol), symbol.text().len()),
            None => (TokenKind::Bad(Bad::Character), c.len_utf8()),
        },
    }
}

fn closed(end: Option<usize>, kind: TokenKind, unclosed: Bad, text: &str) -> (TokenKind, usize) {
    end.map_or((TokenKind::Bad(unclosed), text.len()), |end| (kind, end))
}

/// Where a text in quotes ends, when a quote inside is written twice.
fn doubled(text: &str, quote: char) -> Option<usize> {
    let mut at = 1;
    loop {
        at += text[at..].find(quote)? + 1;
        if !text[at..].starts_with(quote) {
            return Some(at);
        }
        at += 1;
    }
}

/// Where a text in double quotes ends, when a quote inside has a backslash before it.
fn escaped(text: &str) -> Option<usize> {
    let mut skip = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if skip => skip = false,
            b'\\' => skip = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// `$name` or `#1207`: a mark, and what must follow at once.
fn sigil(text: &str, begins: impl Fn(char) -> bool, kind: TokenKind, bad: Bad) -> (TokenKind, usize) {
    let body = &text[1..];
    let length = 1 + word_length(body);
    let right = body.chars().next().is_some_and(&begins)
        && (kind == TokenKind::Param || text[1..length].bytes().all(|b| b.is_ascii_digit()));
    (if right { kind } else { TokenKind::Bad(bad) }, length)
}

fn word_length(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// What begins with a digit.
fn number(text: &str) -> (TokenKind, usize) {
    if let Some(length) = date_length(text) {
        return (TokenKind::Date, length);
    }
    let mut length = word_length(text);
    if digits(&text[..length]) && text[length..].starts_with('.') && starts_with_digit(&text[length + 1..]) {
        length += 1 + word_length(&text[length + 1..]);
    }
    let whole = &text[..length];
    if let Some(mantissa) = whole.strip_suffix(['e', 'E'])
        && mantissa.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && text[length..].starts_with(['+', '-'])
        && starts_with_digit(&text[length + 1..])
    {
        length += 1 + word_length(&text[length + 1..]);
    }
    (number_kind(&text[..length]), length)
}

fn number_kind(text: &str) -> TokenKind {
    if digits(text) {
        return TokenKind::Int;
    }
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    if matches!(rest, "ms" | "s" | "m" | "h" | "d" | "w") {
        return TokenKind::Duration;
    }
    let shape = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    if shape && text.parse::<f64>().is_ok() { TokenKind::Number } else { TokenKind::Mixed }
}

/// The length of a date like `2024-01-01` or a time like `2024-01-01T10:00:00.5+02:00`, by its shape alone.
fn date_length(text: &str) -> Option<usize> {
    const DATE: &str = "dddd-dd-dd";
    let shape = |text: &str, shape: &str| {
        text.len() >= shape.len()
            && text
                .bytes()
                .zip(shape.bytes())
                .all(|(b, s)| if s == b'd' { b.is_ascii_digit() } else { b == s })
    };
    if !shape(text, DATE) {
        return None;
    }
    let rest = &text[DATE.len()..];
    if !(rest.starts_with(['T', 't']) && starts_with_digit(&rest[1..])) {
        return (word_length(rest) == 0).then_some(DATE.len());
    }
    let mut length = DATE.len() + 1;
    loop {
        let digits = text[length..].find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len() - length);
        length += digits;
        if text[length..].starts_with([':', '.']) && starts_with_digit(&text[length + 1..]) {
            length += 1;
        } else {
            break;
        }
    }
    let rest = &text[length..];
    if rest.starts_with(['Z', 'z']) {
        length += 1;
    } else if rest.starts_with(['+', '-']) && shape(&rest[1..], "dd:dd") {
        length += 6;
    } else if rest.starts_with(['+', '-']) && shape(&rest[1..], "dd") {
        length += 1 + word_length(&rest[1..]);
    }
    Some(length)
}

fn digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

fn starts_with_digit(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

/// What a token in quotes or backticks says; the place of an escape that says nothing.
pub(crate) fn unquote(token: &str) -> Result<String, Span> {
    let Some(quote) = token.chars().next() else { return Ok(String::new()) };
    let inner = token.get(1..token.len().saturating_sub(1)).unwrap_or_default();
    if quote != '"' {
        let mut twice = [0; 8];
        let (one, two) = twice.split_at_mut(4);
        let one = &*quote.encode_utf8(one);
        let two = format!("{one}{}", quote.encode_utf8(two));
        return Ok(if inner.contains(&two) { inner.replace(&two, one) } else { inner.to_owned() });
    }
    let mut said = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        said.push_str(&rest[..at]);
        let escape = &rest[at..];
        let (c, length) = unescape(escape).map_err(|length| {
            let start = 1 + inner.len() - escape.len();
            Span::new(start, start + length)
        })?;
        said.push(c);
        rest = &escape[length..];
    }
    said.push_str(rest);
    Ok(said)
}

/// The character of an escape and its length; the length of what is no escape.
fn unescape(text: &str) -> Result<(char, usize), usize> {
    let second = text[1..].chars().next().ok_or(1_usize)?;
    let c = match second {
        '"' | '\\' | '/' => second,
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => {
            let high = unit(text).ok_or_else(|| text.len().min(2))?;
            if let Some(c) = char::from_u32(high) {
                return Ok((c, 6));
            }
            let low = text.get(6..).and_then(unit).ok_or(6_usize)?;
            let pair = char::decode_utf16([high as u16, low as u16]).next();
            return pair.and_then(Result::ok).map(|c| (c, 12)).ok_or(6);
        }
        _ => return Err(1 + second.len_utf8()),
    };
    Ok((c, 2))
}

/// The code unit of `\u00e9`.
fn unit(text: &str) -> Option<u32> {
    let hex = text.strip_prefix("\\u")?.get(..4)?;
    if hex.bytes().all(|b| b.is_ascii_hexdigit()) { u32::from_str_radix(hex, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(TokenKind, &str)> {
        let mut tokens = lex(text);
        assert_eq!(tokens.pop().map(|t| t.kind), Some(TokenKind::End));
        tokens.iter().map(|t| (t.kind, &text[t.span.range()])).collect()
    }

    #[test]
    fn each_shape_is_one_token() {
        use TokenKind::*;
        for (text, kind) in [
            ("order_1", Word),
            ("Größe", Word),
            ("order", Keyword(super::Keyword::Order)),
            ("As  oF", Keyword(super::Keyword::AsOf)),
            ("`a``b c`", Quoted),
            ("'it''s -- no comment'", Text),
            (r#""a \" b \\""#, Text),
            ("42", Int),
            ("1.5e3", Number),
            ("1e-7", Number),
            ("1E21", Number),
            ("30s", Duration),
            ("250ms", Duration),
            ("2024-01-01", Date),
            ("2024-13-99", Date),
            ("2024-01-01T10:00", Date),
            ("2024-01-01T10:00:05.25+02:00", Date),
            ("2024-01-01T10:00Z", Date),
            ("2024-01-01T10:00+02", Date),
            ("2024-01-01T10:00-0230", Date),
            ("2024a", Mixed),
            ("550e", Mixed),
            ("1.5d", Mixed),
            ("550e8400", Number),
            ("#1207", Position),
            ("$total", Param),
            ("-- to the end", Comment),
            ("/* a\nb */", Comment),
            ("!=", Symbol(super::Symbol::NotEqual)),
            ("==", Symbol(super::Symbol::EqualEqual)),
            ("'open", Bad(super::Bad::UnclosedText)),
            ("'open''", Bad(super::Bad::UnclosedText)),
            (r#""open\""#, Bad(super::Bad::UnclosedText)),
            ("`open", Bad(super::Bad::UnclosedName)),
            ("``", Bad(super::Bad::EmptyName)),
            ("/* open *", Bad(super::Bad::UnclosedComment)),
            ("/*/", Bad(super::Bad::UnclosedComment)),
            ("$", Bad(super::Bad::Param)),
            ("$1", Bad(super::Bad::Param)),
            ("#x", Bad(super::Bad::Position)),
            ("#1a", Bad(super::Bad::Position)),
            ("\0", Bad(super::Bad::Character)),
            ("€", Bad(super::Bad::Character)),
        ] {
            assert_eq!(kinds(text), [(kind, text)], "{text}");
        }
    }

    #[test]
    fn tokens_end_where_the_next_begins() {
        for (text, tokens) in [
            ("ORD-42", &["ORD", "-", "42"][..]),
            ("1.x", &["1", ".", "x"]),
            ("1..2", &["1", ".", ".", "2"]),
            ("2024-01-015", &["2024", "-", "01", "-", "015"]),
            ("a.b[0]", &["a", ".", "b", "[", "0", "]"]),
            ("a<=-1", &["a", "<=", "-", "1"]),
            ("as/**/of", &["as", "/**/", "of"]),
            ("x--y\nz", &["x", "--y", "z"]),
        ] {
            assert_eq!(kinds(text).iter().map(|(_, t)| *t).collect::<Vec<_>>(), tokens, "{text}");
        }
    }

    #[test]
    fn quotes_say_their_text() {
        for (token, said) in [
            ("'it''s'", "it's"),
            ("''", ""),
            ("''''", "'"),
            (r"'a\n'", r"a\n"),
            ("`a``b`", "a`b"),
            (r#""json \n \u00e9 \ud83d\ude00 \/""#, "json \n é 😀 /"),
            (r#""\b\f\r\t\\\"""#, "\u{8}\u{c}\r\t\\\""),
        ] {
            assert_eq!(unquote(token), Ok(said.to_owned()), "{token}");
        }
        for (token, wrong) in [
            (r#""ab\x""#, r"\x"),
            (r#""\ud83d""#, r"\ud83d"),
            (r#""\ud83d\u0041""#, r"\ud83d"),
            (r#""\u12""#, r"\u"),
            (r#""\é""#, r"\é"),
        ] {
            let span = unquote(token).expect_err(token);
            assert_eq!(&token[span.range()], wrong, "{token}");
        }
    }
}
