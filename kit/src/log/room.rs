//! The room that nearly every closing line fits in: of a fixed size, so that writing a constant into it is a few
//! moves, where a buffer that may grow has to be asked for each. Used by `request_json`.

use std::fmt;

/// A line's bytes; a thread has one among its buffers.
pub(super) struct Page([u8; Self::BYTES]);

impl Page {
    /// Room for all that a closing line has besides texts of its caller, and for those of nearly all callers.
    pub(super) const BYTES: usize = 2 * 1024;

    /// What `write` has written, unless it did not fit.
    #[inline]
    pub(super) fn written(&mut self, write: impl FnOnce(&mut Room<'_>)) -> Option<&[u8]> {
        let mut room = Room {
            left: &mut self.0,
            is_full: false,
        };
        write(&mut room);
        let (left, is_full) = (room.left.len(), room.is_full);
        self.0.get(..Self::BYTES - left).filter(|_| !is_full)
    }
}

impl Default for Page {
    fn default() -> Self {
        Self([0; Self::BYTES])
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").finish_non_exhaustive()
    }
}

/// What is left of a page. Full once something did not fit: then all of it is to be written elsewhere, and whatever
/// else comes here is dropped.
pub(super) struct Room<'a> {
    left: &'a mut [u8],
    is_full: bool,
}

// All of them inlined: the lengths are nearly always known where they are called.
impl Room<'_> {
    #[inline(always)]
    pub(super) fn put(&mut self, bytes: &[u8]) {
        match std::mem::take(&mut self.left).split_at_mut_checked(bytes.len()) {
            Some((to, left)) => {
                to.copy_from_slice(bytes);
                self.left = left;
            }
            None => self.is_full = true,
        }
    }

    /// Puts the first `len` of some bytes. All of them are copied, which is cheaper than a copy whose length is not
    /// known, so there must be room for all.
    #[inline(always)]
    pub(super) fn front_of<const N: usize>(&mut self, bytes: &[u8; N], len: usize) {
        let left = std::mem::take(&mut self.left);
        match left.first_chunk_mut() {
            Some(to) => {
                *to = *bytes;
                self.left = left.get_mut(len..).unwrap_or_default();
            }
            None => self.is_full = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_stands_one_behind_the_other() {
        let mut page = Page::default();
        let written = page.written(|room| {
            room.put(b"ab");
            room.put(b"cd");
            room.front_of(b"ef..", 2);
            room.put(b"");
            room.put(b"g");
        });
        assert_eq!(written, Some(&b"abcdefg"[..]));
        assert_eq!(page.written(|_| {}), Some(&b""[..]));
    }

    #[test]
    fn a_page_holds_what_fits_and_nothing_once_something_did_not() {
        const LAST: [u8; 8] = *b"12345678";
        let almost = [b'a'; Page::BYTES - LAST.len()];
        type Put = fn(&mut Room<'_>);
        let puts: [(Put, Put); 2] = [
            (|room| room.put(&LAST), |room| room.put(&[b' '; 9])),
            (
                |room| room.front_of(&LAST, 8),
                |room| room.front_of(&[b' '; 9], 1),
            ),
        ];
        let mut page = Page::default();
        for (fits, does_not) in puts {
            let written = page.written(|room| {
                room.put(&almost);
                fits(room);
            });
            assert!(
                written.is_some_and(|bytes| bytes.len() == Page::BYTES && bytes.ends_with(&LAST))
            );
            let written = page.written(|room| {
                room.put(&almost);
                does_not(room);
                room.put(b"a");
            });
            assert_eq!(written, None);
        }
    }
}
