//! What gzip packed, read as it was before.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Error, ErrorKind, Read};

use flate2::bufread::GzDecoder;

/// What a file begins with that gzip made.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// How much is unpacked at a time.
const CHUNK: usize = 256 << 10;

/// An input that may be packed: its first two bytes tell.
pub enum UnpackedInput<R> {
    /// The bytes that were read to tell.
    Unknown(Option<R>, Vec<u8>),
    Plain(Begun<R>),
    Gzip(Box<BufReader<GzipMembers<Begun<R>>>>),
}

/// An input, and before it what was read of it.
type Begun<R> = Chain<Cursor<Vec<u8>>, R>;

impl<R: BufRead> UnpackedInput<R> {
    pub fn new(input: R) -> UnpackedInput<R> {
        UnpackedInput::Unknown(Some(input), Vec::new())
    }

    /// Reads as much as tells what it is, however little comes at a time.
    fn look(&mut self) -> io::Result<()> {
        let UnpackedInput::Unknown(unread, begin) = self else { return Ok(()) };
        while let Some(input) = unread
            && begin.len() < GZIP.len()
            && let Some(&byte) = input.fill_buf()?.first()
        {
            begin.push(byte);
            input.consume(1);
        }
        if let Some(input) = unread.take() {
            let is_gzip = *begin == GZIP;
            let begun = Cursor::new(std::mem::take(begin)).chain(input);
            *self = match is_gzip {
                true => {
                    UnpackedInput::Gzip(Box::new(BufReader::with_capacity(CHUNK, GzipMembers::new(begun))))
                }
                false => UnpackedInput::Plain(begun),
            };
        }
        Ok(())
    }
}

impl<R: BufRead> BufRead for UnpackedInput<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.look()?;
        match self {
            UnpackedInput::Unknown(..) => Ok(&[]),
            UnpackedInput::Plain(input) => input.fill_buf(),
            UnpackedInput::Gzip(input) => input.fill_buf(),
        }
    }

    fn consume(&mut self, amount: usize) {
        match self {
            UnpackedInput::Unknown(..) => {}
            UnpackedInput::Plain(input) => input.consume(amount),
            UnpackedInput::Gzip(input) => input.consume(amount),
        }
    }
}

impl<R: BufRead> Read for UnpackedInput<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(out)?;
        self.consume(read);
        Ok(read)
    }
}

/// The members of a gzip file, one after another; zeros may follow the last, as tapes have them.
pub struct GzipMembers<R> {
    member: Option<GzDecoder<R>>,
    /// What comes after a member.
    rest: Option<R>,
    padded: bool,
}

impl<R: BufRead> GzipMembers<R> {
    fn new(input: R) -> GzipMembers<R> {
        GzipMembers { member: Some(GzDecoder::new(input)), rest: None, padded: false }
    }
}

impl<R: BufRead> Read for GzipMembers<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(member) = &mut self.member {
                let read = member.read(out).map_err(broken)?;
                if read > 0 || out.is_empty() {
                    return Ok(read);
                }
                self.rest = self.member.take().map(GzDecoder::into_inner);
            }
            let Some(rest) = &mut self.rest else { return Ok(0) };
            let chunk = rest.fill_buf()?;
            let zeros = chunk.iter().take_while(|&&byte| byte == 0).count();
            match chunk.first() {
                None => return Ok(0),
                Some(0) => {
                    rest.consume(zeros);
                    self.padded = true;
                }
                Some(&byte) if byte == GZIP[0] && !self.padded => {
                    self.member = self.rest.take().map(GzDecoder::new);
                }
                Some(byte) => {
                    let message = format!(
                        "after what gzip packed, expected the end of the file, or more that gzip packed, found the byte {byte:#04x}"
                    );
                    return Err(Error::new(ErrorKind::InvalidData, message));
                }
            }
        }
    }
}

/// What is wrong, in words that say what to do.
fn broken(error: Error) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => {
            let message = "what gzip packed ends too early: the file was cut off; copy it again";
            Error::new(ErrorKind::UnexpectedEof, message)
        }
        ErrorKind::InvalidInput | ErrorKind::InvalidData => {
            let message = format!("what gzip packed is damaged ({error}); copy the file again");
            Error::new(ErrorKind::InvalidData, message)
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// Gives one byte at a time, as a slow pipe may.
    struct OneByte<'a>(&'a [u8]);

    impl Read for OneByte<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let most = out.len().min(1);
            self.0.read(&mut out[..most])
        }
    }

    fn read(bytes: &[u8]) -> Result<Vec<u8>, String> {
        let read = |input: &mut dyn Read| {
            let mut out = Vec::new();
            input.read_to_end(&mut out).map(|_| out).map_err(|error| error.to_string())
        };
        let whole = read(&mut UnpackedInput::new(bytes));
        let slow = read(&mut UnpackedInput::new(BufReader::new(OneByte(bytes))));
        assert_eq!(whole, slow);
        whole
    }

    #[test]
    fn what_is_not_packed_is_read_as_it_is() {
        for bytes in [&b""[..], b"{", b"\x1f", b"\x1f\x1f\x8b", b"{\"type\":\"A.b\"}\n"] {
            assert_eq!(read(bytes).unwrap(), bytes);
        }
    }

    #[test]
    fn members_and_zeros_after_them_are_read() {
        let (one, two) = (packed(b"one\n"), packed(&[b'x'; 70_000]));
        let mut expected = b"one\n".to_vec();
        assert_eq!(read(&one).unwrap(), expected);
        assert_eq!(read(&packed(b"")).unwrap(), b"");
        expected.extend([b'x'; 70_000]);
        assert_eq!(read(&[&one[..], &two].concat()).unwrap(), expected);
        assert_eq!(read(&[&one[..], &two, &[0; 1000]].concat()).unwrap(), expected);
    }

    #[test]
    fn junk_and_cut_and_damaged_files_are_errors() {
        let one = packed(b"one\ntwo\nthree\n");
        for junk in [&b"junk"[..], b"\0\0junk", b"\0\x1f\x8b"] {
            let found = read(&[&one[..], junk].concat()).unwrap_err();
            assert!(found.contains("expected the end of the file"), "{found}");
        }
        for cut in 2..one.len() {
            let found = read(&one[..cut]).unwrap_err();
            assert!(found.contains("the file was cut off"), "{cut}: {found}");
            let found = read(&[&one[..], &one[..cut]].concat()).unwrap_err();
            assert!(found.contains("the file was cut off"), "{cut}: {found}");
        }
        let mut damaged = one.clone();
        let checksum = one.len() - 8;
        damaged[checksum] ^= 1;
        assert!(read(&damaged).unwrap_err().contains("is damaged"));
        assert!(read(&[&one[..], b"\x1f"].concat()).unwrap_err().contains("cut off"));
        assert!(
            read(&[&one[..], b"\x1f\x8c more than a header"].concat()).unwrap_err().contains("is damaged")
        );
    }
}
