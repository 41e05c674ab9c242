//! The bytes of one file in memory, as pages that copies share until one of them is written.
//!
//! A clone costs two reference counts whatever the file's size, which is what makes a crash image for every
//! point of a long trace affordable. A page nobody wrote is not stored and reads as zeros, so that a zero-filled
//! length costs nothing. No byte past the length is ever anything but zero.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Bytes in a page.
pub(super) const PAGE: usize = 4096;

/// The bytes of one page.
pub(super) type PageBytes = [u8; PAGE];

/// Bytes at offsets, in copy-on-write pages.
#[derive(Clone, Default)]
pub(super) struct Pages {
    len: u64,
    /// Reaches as far as the last page written, not as far as `len`.
    pages: Arc<Vec<Option<Arc<PageBytes>>>>,
}

impl Pages {
    /// A file of `len` bytes, all of them zero.
    pub(super) fn zeros(len: u64) -> Pages {
        Pages { len, pages: Arc::default() }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The bytes of a page, unless nobody wrote it.
    pub(super) fn page(&self, index: usize) -> Option<&PageBytes> {
        self.pages.get(index)?.as_deref()
    }

    /// Calls back with each page that somebody wrote.
    #[cfg(test)]
    pub(super) fn each_page(&self, mut page: impl FnMut(usize, &PageBytes)) {
        let written = self.pages.iter().enumerate();
        written.for_each(|(index, bytes)| bytes.iter().for_each(|bytes| page(index, bytes)));
    }

    /// Fills `out`; `ErrorKind::UnexpectedEof` where the file is shorter.
    pub(super) fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.check_readable(offset, out.len())?;
        for (index, within, part) in spans(offset, out.len())? {
            match self.page(index) {
                Some(page) => out[part].copy_from_slice(&page[within]),
                None => out[part].fill(0),
            }
        }
        Ok(())
    }

    /// `ErrorKind::UnexpectedEof` unless `len` bytes can be read at `offset`.
    pub(super) fn check_readable(&self, offset: u64, len: usize) -> io::Result<()> {
        if end_of(offset, len)? > self.len {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{len} bytes at {offset} of a file of {} bytes", self.len),
            ));
        }
        Ok(())
    }

    /// Writes all of `data`, growing the file if needed.
    pub(super) fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        // As `pwrite` has it: no bytes do not grow a file.
        if data.is_empty() {
            return Ok(());
        }
        let end = end_of(offset, data.len())?;
        for (index, within, part) in spans(offset, data.len())? {
            self.page_mut(index)?[within].copy_from_slice(&data[part]);
        }
        self.len = self.len.max(end);
        Ok(())
    }

    /// Puts a whole page in place; what of it lies past the length must be zero.
    pub(super) fn put(&mut self, index: usize, page: PageBytes) -> io::Result<()> {
        *self.page_mut(index)? = page;
        Ok(())
    }

    /// Truncates, or extends with zeros.
    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.forget_after(len);
        }
        self.len = len;
    }

    /// Drops the pages past `len`, and zeros the rest of the page it falls into.
    fn forget_after(&mut self, len: u64) {
        // A length past the address space is past every page there is.
        let Ok(whole) = usize::try_from(len / PAGE as u64) else { return };
        let rest = (len % PAGE as u64) as usize;
        if self.pages.len() <= whole {
            return;
        }
        let pages = Arc::make_mut(&mut self.pages);
        pages.truncate(whole + usize::from(rest > 0));
        if rest > 0
            && let Some(Some(page)) = pages.get_mut(whole)
        {
            Arc::make_mut(page)[rest..].fill(0);
        }
    }

    fn page_mut(&mut self, index: usize) -> io::Result<&mut PageBytes> {
        let pages = Arc::make_mut(&mut self.pages);
        if pages.len() <= index {
            // A write far past the end is the caller's mistake: an error, not an abort.
            pages.try_reserve(index + 1 - pages.len()).map_err(|_| io::ErrorKind::OutOfMemory)?;
            pages.resize(index + 1, None);
        }
        Ok(Arc::make_mut(pages[index].get_or_insert_with(|| Arc::new([0; PAGE]))))
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len)
    }
}

/// Where a run of bytes ends.
pub(super) fn end_of(offset: u64, len: usize) -> io::Result<u64> {
    u64::try_from(len)
        .ok()
        .and_then(|len| offset.checked_add(len))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "an offset past any file"))
}

/// Cuts a run of bytes at the page boundaries: the page, the bytes within it, the bytes within the run.
pub(super) fn spans(
    offset: u64,
    len: usize,
) -> io::Result<impl Iterator<Item = (usize, Range<usize>, Range<usize>)>> {
    let first = usize::try_from(offset / PAGE as u64)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "an offset past the address space"))?;
    let start = (offset % PAGE as u64) as usize;
    let mut done = 0;
    Ok(std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        // Measured from the start of the first page, so that no absolute offset can overflow.
        let (index, from) = (first + (start + done) / PAGE, (start + done) % PAGE);
        let take = (PAGE - from).min(len - done);
        let span = (index, from..from + take, done..done + take);
        done += take;
        Some(span)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pages: &Pages) -> Vec<u8> {
        let mut out = vec![7; pages.len() as usize];
        pages.read_at(0, &mut out).unwrap();
        out
    }

    #[test]
    fn a_write_over_page_boundaries_reads_back() {
        let mut pages = Pages::default();
        let data: Vec<u8> = (0..3 * PAGE).map(|i| i as u8 | 1).collect();
        pages.write_at(100, &data).unwrap();
        assert_eq!(pages.len(), 100 + data.len() as u64);
        let all = read(&pages);
        assert!(all[..100].iter().all(|&byte| byte == 0));
        assert_eq!(all[100..], data);
    }

    #[test]
    fn what_was_truncated_does_not_come_back() {
        let mut pages = Pages::default();
        pages.write_at(0, &[1; 2 * PAGE]).unwrap();
        pages.set_len(10);
        pages.set_len(2 * PAGE as u64);
        let all = read(&pages);
        assert_eq!(all[..10], [1; 10]);
        assert!(all[10..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_clone_keeps_what_it_had() {
        let mut pages = Pages::default();
        pages.write_at(0, &[1; 2 * PAGE]).unwrap();
        let before = pages.clone();
        pages.write_at(5, &[2; 3]).unwrap();
        pages.set_len(PAGE as u64);
        assert_eq!(read(&before), [1; 2 * PAGE]);
        assert_eq!(read(&pages)[4..9], [1, 2, 2, 2, 1]);
        // The page that was not written is still one page.
        pages = before.clone();
        pages.write_at(0, &[3]).unwrap();
        assert!(std::ptr::eq(before.page(1).unwrap(), pages.page(1).unwrap()));
    }

    #[test]
    fn a_length_alone_stores_nothing() {
        let mut pages = Pages::zeros(1 << 40);
        pages.set_len(1 << 50);
        assert!(pages.pages.is_empty());
        let mut out = [7; 4];
        pages.read_at((1 << 50) - 4, &mut out).unwrap();
        assert_eq!(out, [0; 4]);
    }

    #[test]
    fn reading_past_the_end_is_an_error() {
        let pages = Pages::zeros(10);
        let kind = |offset, len| pages.read_at(offset, &mut vec![0; len]).unwrap_err().kind();
        assert_eq!(kind(8, 3), io::ErrorKind::UnexpectedEof);
        assert_eq!(kind(u64::MAX, 1), io::ErrorKind::InvalidInput);
        assert!(pages.read_at(10, &mut []).is_ok());
    }
}
