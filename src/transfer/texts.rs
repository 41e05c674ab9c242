//! The texts of an input, one for each event: lines, the items of arrays, objects laid out over several lines, or all of these.
//!
//! Bytes are looked at as they come, and only those of one object are kept: an array may be longer than memory.

use std::io::{self, BufRead, ErrorKind};

use super::scan::{ObjectScan, ScanEnd, Unfit, is_blank, shown};
use crate::error::{Error, Result, shorten};

/// The longest text that is read: twice the largest event.
const MAX_TEXT: usize = 32 << 20;

/// An input, read up to somewhere.
pub(crate) struct JsonTexts<R> {
    input: R,
    place: TextPosition,
    read: ReadCount,
    /// The object that was read last.
    text: Vec<u8>,
    /// The line that it begins in, or what is there in its stead.
    line: u64,
}

/// What may come between objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextPosition {
    /// An object or an array.
    Top,
    /// The first item of an array, or its end.
    First,
    /// A comma, or the end of an array.
    After,
    /// The item that a comma promised.
    Item,
}

/// How much was read.
#[derive(Debug, Default)]
struct ReadCount {
    bytes: u64,
    /// How many lines ended, and after how many bytes the last of them did.
    ended: u64,
    end: u64,
}

/// An object.
pub(crate) struct JsonText<'a> {
    pub bytes: &'a [u8],
    /// How much of the input it takes: of one that has a line to itself, the whole line.
    pub length: usize,
}

impl<R: BufRead> JsonTexts<R> {
    pub fn new(input: R) -> JsonTexts<R> {
        JsonTexts { input, place: TextPosition::Top, read: ReadCount::default(), text: Vec::new(), line: 1 }
    }

    /// How many bytes were read.
    pub fn bytes(&self) -> u64 {
        self.read.bytes
    }

    /// How many lines were read, the last of them perhaps in part.
    pub fn lines(&self) -> u64 {
        self.read.ended + u64::from(self.read.bytes > self.read.end)
    }

    /// The line that the last object begins in; after a fault, the line that it is in.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The next object; none at the end.
    pub fn next(&mut self) -> Result<Option<JsonText<'_>>> {
        self.text.clear();
        let before = self.read.bytes;
        if before == 0 {
            self.skip_mark()?;
        }
        if !self.find()? {
            return Ok(None);
        }
        // What stands before it in its line counts, unless it belongs to another.
        let from = before.max(self.read.end);
        self.object()?;
        self.rest_of_line()?;
        Ok(Some(JsonText { bytes: &self.text, length: (self.read.bytes - from) as usize }))
    }

    /// Goes on to where an object begins; false at the end of the input.
    fn find(&mut self) -> Result<bool> {
        loop {
            self.line = self.read.ended + 1;
            let found = self.peek()?;
            let Some(byte) = found else {
                return if self.place == TextPosition::Top {
                    Ok(false)
                } else {
                    Err(unfit(self.place, found))
                };
            };
            let start = self.read.bytes == 0;
            self.place = match (self.place, byte) {
                (place, byte) if is_blank(byte) => place,
                (TextPosition::Top | TextPosition::First | TextPosition::Item, b'{') => return Ok(true),
                (TextPosition::Top, b'[') => TextPosition::First,
                (TextPosition::First | TextPosition::After, b']') => TextPosition::Top,
                (TextPosition::After, b',') => TextPosition::Item,
                (place, _) => {
                    return Err(match no_text(&self.ahead()?, start) {
                        Some(named) => Error::invalid("an event", "JSON in UTF-8", named),
                        None => unfit(place, found),
                    });
                }
            };
            self.pass(byte);
        }
    }

    /// Reads an object to its end.
    fn object(&mut self) -> Result<()> {
        let mut scan = ObjectScan::new();
        loop {
            let chunk = fill(&mut self.input)?;
            if chunk.is_empty() {
                return Err(scan.fault(None));
            }
            let chunk = &chunk[..chunk.len().min(MAX_TEXT - self.text.len())];
            let seen = scan.run(chunk);
            let taken = match &seen {
                Ok(ScanEnd::All) => chunk,
                Ok(ScanEnd::End(length)) => &chunk[..*length],
                Err(Unfit { at, .. }) => &chunk[..*at],
            };
            self.text.extend_from_slice(taken);
            self.read.count(taken);
            let taken = taken.len();
            self.input.consume(taken);
            match seen {
                Ok(ScanEnd::End(_)) => break,
                Ok(ScanEnd::All) if self.text.len() < MAX_TEXT => {}
                Ok(ScanEnd::All) => {
                    let start = shorten(&String::from_utf8_lossy(&self.text[..100]));
                    return Err(Error::invalid("an event", format!("at most {} MiB", MAX_TEXT >> 20), start));
                }
                Err(unfit) => return Err(self.elsewhere(unfit.fault)),
            }
        }
        if self.place != TextPosition::Top {
            self.place = TextPosition::After;
        }
        Ok(())
    }

    /// A fault that is not in the line that the object begins in says where it is.
    fn elsewhere(&self, fault: Error) -> Error {
        let line = self.read.ended + 1;
        match fault {
            Error::Invalid { what, expected, found } if line != self.line => {
                Error::Invalid { what, expected, found: format!("{found} in line {line}") }
            }
            other => other,
        }
    }

    /// Blanks up to the end of the line belong to what stands before them.
    fn rest_of_line(&mut self) -> Result<()> {
        while let Some(byte) = self.peek()?.filter(|byte| is_blank(*byte)) {
            self.pass(byte);
            if byte == b'\n' {
                break;
            }
        }
        Ok(())
    }

    /// Some programs begin a text with a mark that tells how it is encoded.
    fn skip_mark(&mut self) -> Result<()> {
        for byte in *b"\xef\xbb\xbf" {
            if self.peek()? != Some(byte) {
                break;
            }
            self.pass(byte);
        }
        Ok(())
    }

    /// What comes next, taken from an input that is read no further: however little of it comes at a time.
    fn ahead(&mut self) -> Result<Vec<u8>> {
        let mut ahead = Vec::new();
        while ahead.len() < LONGEST_BEGINNING {
            let chunk = fill(&mut self.input)?;
            if chunk.is_empty() {
                break;
            }
            let taken = chunk.len().min(LONGEST_BEGINNING - ahead.len());
            ahead.extend_from_slice(&chunk[..taken]);
            self.input.consume(taken);
        }
        Ok(ahead)
    }

    fn peek(&mut self) -> Result<Option<u8>> {
        Ok(fill(&mut self.input)?.first().copied())
    }

    /// Passes a byte that was peeked at.
    fn pass(&mut self, byte: u8) {
        self.read.count(&[byte]);
        self.input.consume(1);
    }
}

impl ReadCount {
    fn count(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.iter().rposition(|&byte| byte == b'\n') {
            self.ended += bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
            self.end = self.bytes + last as u64 + 1;
        }
        self.bytes += bytes.len() as u64;
    }
}

/// How many bytes tell what an input is.
const LONGEST_BEGINNING: usize = 5;

/// What bytes are that no JSON has: at the start of an input, or anywhere between two objects.
fn no_text(bytes: &[u8], start: bool) -> Option<&'static str> {
    const NAMED: [(&[u8], &str); 7] = [
        (
            b"\x1f\x8b",
            "a file packed by gzip; unpack it first, like gunzip -c FILE | bygone import DATABASE -",
        ),
        (b"PK\x03\x04", "a zip archive; unpack it first"),
        (
            b"\x28\xb5\x2f\xfd",
            "a file packed by zstd; unpack it first, like zstd -dc FILE | bygone import DATABASE -",
        ),
        (b"BZh", "a file packed by bzip2; unpack it first, like bzcat FILE | bygone import DATABASE -"),
        (b"\xfd7zXZ", "a file packed by xz; unpack it first, like xzcat FILE | bygone import DATABASE -"),
        (
            b"\xff\xfe",
            "UTF-16; convert it first, like iconv -f UTF-16 -t UTF-8 FILE | bygone import DATABASE -",
        ),
        (
            b"\xfe\xff",
            "UTF-16; convert it first, like iconv -f UTF-16 -t UTF-8 FILE | bygone import DATABASE -",
        ),
    ];
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Some("a byte order mark in the middle, where files were joined; take it out");
    }
    NAMED.iter().find(|(first, _)| start && bytes.starts_with(first)).map(|(_, named)| *named)
}

fn unfit(place: TextPosition, found: Option<u8>) -> Error {
    let expected = match place {
        TextPosition::Top => "a JSON object, or an array of them",
        TextPosition::First => "a JSON object or `]`",
        TextPosition::After => "`,` or `]`",
        TextPosition::Item => "a JSON object",
    };
    Error::invalid("an event", expected, shown(found))
}

/// The bytes that come next; none at the end.
fn fill(input: &mut impl BufRead) -> Result<&[u8]> {
    loop {
        match input.fill_buf() {
            Ok([]) => return Ok(&[]),
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(read_error("reading the input", error)),
        }
    }
    // Lent anew: what is there is not read again.
    input.fill_buf().map_err(|error| read_error("reading the input", error))
}

/// Why an input gives no more. One that makes events of something else tells by an error of ours what is wrong with that.
pub(crate) fn read_error(doing: &str, error: io::Error) -> Error {
    error.downcast().unwrap_or_else(|error| Error::io(doing, error))
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::*;
    use crate::value::tests::any_value;
    use crate::value::{Object, Value};

    /// What ended an input, and its line.
    type Fault = (String, u64);
    /// An object, its line and its length.
    type Found = (Vec<u8>, u64, usize);

    /// The objects of an input that is read so many bytes at a time, with their lines; and the fault that ended it, with its own.
    fn read(input: &[u8], chunk: usize) -> (Vec<(String, u64)>, Option<Fault>) {
        let mut texts = JsonTexts::new(BufReader::with_capacity(chunk, input));
        let mut found = Vec::new();
        loop {
            match texts.next() {
                Ok(None) => return (found, None),
                Ok(Some(text)) => {
                    let text = String::from_utf8(text.bytes.to_vec()).unwrap();
                    found.push((text, texts.line()));
                }
                Err(fault) => return (found, Some((fault.to_string(), texts.line()))),
            }
        }
    }

    fn fault(input: &str) -> (usize, String) {
        let (found, fault) = read(input.as_bytes(), 7);
        let (fault, line) = fault.unwrap_or_else(|| panic!("{input}"));
        (found.len(), format!("{line}: {fault}"))
    }

    /// An input: some objects, each with the line it begins in and where it ends.
    #[derive(Debug)]
    struct Laid {
        text: String,
        objects: Vec<(Value, u64, usize)>,
        /// Where an array is open.
        arrays: Vec<(usize, usize)>,
    }

    #[derive(Debug, Clone, Copy)]
    enum Layout {
        Lines,
        Array,
        Batch,
    }

    fn any_layout() -> impl Strategy<Value = (Layout, bool, &'static str, &'static str)> {
        let layout = prop::sample::select(&[Layout::Lines, Layout::Array, Layout::Batch][..]);
        let blank = prop::sample::select(&["", " ", "\n", "\r\n\t"][..]);
        (layout, any::<bool>(), prop::sample::select(&["\n", "\r\n", "\n\n", " ", ""][..]), blank)
    }

    fn any_input() -> impl Strategy<Value = Laid> {
        let object = prop::collection::vec(("[a-h\\\\\"\\{\\n]{0,3}", any_value()), 0..4);
        let part = (any_layout(), prop::collection::vec(object, 0..4));
        (any::<bool>(), prop::collection::vec(part, 0..4)).prop_map(|(marked, parts)| {
            let text = if marked { "\u{feff}" } else { "" }.to_owned();
            let mut laid = Laid { text, objects: Vec::new(), arrays: Vec::new() };
            for ((layout, pretty, end, blank), objects) in parts {
                let array = !matches!(layout, Layout::Lines);
                let open = laid.text.len();
                laid.text += if array { "[" } else { "" };
                for (at, members) in objects.into_iter().enumerate() {
                    let value = Value::Object(members.into_iter().collect::<Object>());
                    laid.text += if array && at > 0 { "," } else { "" };
                    laid.text += if matches!(layout, Layout::Batch) { "\n" } else { blank };
                    let line = laid.text.matches('\n').count() as u64 + 1;
                    let written = if pretty {
                        serde_json::to_string_pretty(&value).unwrap()
                    } else {
                        value.to_string()
                    };
                    laid.text += &written;
                    laid.objects.push((value, line, laid.text.len()));
                    laid.text += end;
                }
                if array {
                    laid.text += blank;
                    laid.arrays.push((open, laid.text.len()));
                    laid.text += "]";
                    laid.text += end;
                }
            }
            laid
        })
    }

    proptest! {
        #[test]
        fn objects_are_found_however_they_are_laid_out(laid in any_input(), chunk in 1..40usize) {
            let (found, fault) = read(laid.text.as_bytes(), chunk);
            prop_assert_eq!(fault, None, "{}", laid.text);
            prop_assert_eq!(found.len(), laid.objects.len());
            for ((text, line), (value, begins, _)) in found.iter().zip(&laid.objects) {
                prop_assert_eq!(&text.parse::<Value>().unwrap(), value);
                prop_assert_eq!(line, begins);
            }
        }

        #[test]
        fn of_what_is_cut_off_the_whole_objects_are_found(laid in any_input(), cut in any::<prop::sample::Index>()) {
            let cut = cut.index(laid.text.len() + 1);
            let (found, fault) = read(&laid.text.as_bytes()[..cut], 9);
            let whole = laid.objects.iter().filter(|(_, _, end)| *end <= cut).count();
            prop_assert_eq!(found.len(), whole);
            let mut last = laid.objects.get(whole).map(|(_, line, _)| *line);
            let in_object = laid.objects.get(whole).is_some_and(|(value, _, end)| {
                let start = laid.text[..*end].rfind('{').map_or(0, |_| end - text_length(value, &laid.text[..*end]));
                start < cut
            });
            let in_array = laid.arrays.iter().any(|(open, end)| *open < cut && cut <= *end);
            let in_mark = laid.text.starts_with('\u{feff}') && (1..3).contains(&cut);
            prop_assert_eq!(fault.is_some(), in_object || in_array && !in_mark, "{:?}", &laid.text.as_bytes()[..cut]);
            if let Some((fault, line)) = fault {
                prop_assert!(fault.contains("found the end of the input"), "{fault}");
                if !in_object {
                    last = Some(laid.text.as_bytes()[..cut].iter().filter(|&&b| b == b'\n').count() as u64 + 1);
                }
                prop_assert_eq!(Some(line), last);
            }
        }

        #[test]
        fn any_bytes_are_answered_the_same_in_any_chunks(
            bytes in prop::collection::vec(prop::sample::select(&b"{}[]\":,\\ \n\r1a-.\xef\xbb\xbf\xff\xfe\x1f\x8bBZh"[..]), 0..30),
            chunk in 1..40usize,
        ) {
            let (found, fault) = read_bytes(&bytes, chunk);
            prop_assert_eq!(&(found.clone(), fault.clone()), &read_bytes(&bytes, 1 << 10));
            // What reads as JSON is found; what is found ends where JSON would.
            if let Ok(text) = std::str::from_utf8(&bytes)
                && let Ok(Value::Object(_)) = text.parse::<Value>()
            {
                prop_assert!(found.len() == 1 && fault.is_none(), "{text}");
            }
        }
    }

    fn read_bytes(input: &[u8], chunk: usize) -> (Vec<Found>, Option<Fault>) {
        let mut texts = JsonTexts::new(BufReader::with_capacity(chunk, input));
        let mut found = Vec::new();
        loop {
            match texts.next() {
                Ok(None) => return (found, None),
                Ok(Some(JsonText { bytes, length })) => {
                    let bytes = bytes.to_vec();
                    found.push((bytes, texts.line(), length));
                }
                Err(fault) => return (found, Some((fault.to_string(), texts.line()))),
            }
        }
    }

    /// How long a value is that ends a text.
    fn text_length(value: &Value, text: &str) -> usize {
        let lengths = [value.to_string().len(), serde_json::to_string_pretty(value).unwrap().len()];
        let ends_with = |length: &usize| {
            let start = text.len().checked_sub(*length).filter(|start| text.is_char_boundary(*start));
            start.is_some_and(|start| text[start..].parse::<Value>().is_ok_and(|found| found == *value))
        };
        lengths.into_iter().find(ends_with).unwrap()
    }

    #[test]
    fn a_line_is_as_long_as_it_was() {
        let lines = ["\u{feff}{}\n", " {\"a\":1}  \r\n", "\n", "{}\n", "{}"];
        let input = lines.concat();
        let (found, _) = read_bytes(input.as_bytes(), 3);
        let lengths: Vec<usize> = found.iter().map(|(_, _, length)| *length).collect();
        assert_eq!(lengths, [lines[0].len(), lines[1].len(), lines[3].len(), lines[4].len()]);
        let mut texts = JsonTexts::new(input.as_bytes());
        let mut read = 0;
        while texts.next().unwrap().is_some() {
            read += 1;
            assert_eq!(texts.lines(), [1, 2, 4, 5][read - 1]);
        }
        assert_eq!((read, texts.bytes()), (4, input.len() as u64));
    }

    #[test]
    fn what_cannot_be_is_told_where_it_is() {
        for (input, told) in [
            ("{\"a\":1\n{\"a\":2}", (0, "1: JSON: expected `,` or `}`, found `{` in line 2")),
            (
                "{}\n{\"a\":\"x\n{}",
                (1, "2: JSON: expected the rest of a text in quotes, found the end of the line"),
            ),
            ("{}\n{\"a\"", (1, "2: JSON: expected `:`, found the end of the input")),
            ("{a:1}", (0, "1: JSON: expected a name in quotes or `}`, found `a`")),
            ("{\"a\":1,}", (0, "1: JSON: expected a name in quotes, found `}`")),
            ("{\"a\":[1,]}", (0, "1: JSON: expected a value, found `]`")),
            ("{\"a\":[1}", (0, "1: JSON: expected `,` or `]`, found `}`")),
            ("{\"a\":}", (0, "1: JSON: expected a value, found `}`")),
            ("{\"a\" 1}", (0, "1: JSON: expected `:`, found `1`")),
            ("{\"a\":\u{e9}}", (0, "1: JSON: expected a value, found the byte 0xc3")),
            ("{}\n5", (1, "2: an event: expected a JSON object, or an array of them, found `5`")),
            ("[{}\n{}]", (1, "2: an event: expected `,` or `]`, found `{`")),
            ("[{},\n]", (1, "2: an event: expected a JSON object, found `]`")),
            ("[[", (0, "1: an event: expected a JSON object or `]`, found `[`")),
            ("[{}\n", (1, "2: an event: expected `,` or `]`, found the end of the input")),
            ("{},{}", (1, "1: an event: expected a JSON object, or an array of them, found `,`")),
        ] {
            assert_eq!(fault(input), (told.0, told.1.to_owned()), "{input}");
        }
        let deep = format!("{{\"a\":{}", "[".repeat(1 << 20));
        assert!(fault(&deep).1.contains("nested deeper than 100"));
    }
}
