//! Writing into a lent buffer: what every encoder shares.

/// Appends to a lent buffer and notes when something did not fit. Never panics.
#[derive(Debug)]
pub(crate) struct Put<'b> {
    out: &'b mut [u8],
    len: usize,
    overflow: bool,
}

impl<'b> Put<'b> {
    pub(crate) fn new(out: &'b mut [u8]) -> Self {
        Put { out, len: 0, overflow: false }
    }

    #[inline]
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        match self.out.get_mut(self.len..).and_then(|rest| rest.get_mut(..bytes.len())) {
            Some(place) => {
                crate::copy(place, bytes);
                self.len = self.len.wrapping_add(bytes.len());
            }
            None => self.overflow = true,
        }
    }

    /// `text` up to its first NUL, cut to `limit` bytes with an ellipsis ([`cut`]).
    pub(crate) fn text(&mut self, text: &[u8], limit: usize) {
        let (head, ellipsis) = cut(until_nul(text), limit);
        self.bytes(head);
        self.bytes(ellipsis);
    }

    /// As much of `text`, up to its first NUL, as fits, cut with an ellipsis; the last byte of the
    /// buffer is left for a NUL.
    pub(crate) fn rest(&mut self, text: &[u8]) {
        self.text(text, self.out.len().saturating_sub(self.len).saturating_sub(1));
    }

    pub(crate) fn decimal(&mut self, number: u32) {
        let mut digits = [0; 10];
        self.bytes(decimal(number, &mut digits));
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn overflowed(&self) -> bool {
        self.overflow
    }

    /// The length written; 0 if anything did not fit.
    #[inline]
    pub(crate) fn finish(self) -> usize {
        if self.overflow { 0 } else { self.len }
    }
}

/// The decimal digits of `number`, in `digits`.
pub(crate) fn decimal(number: u32, digits: &mut [u8; 10]) -> &[u8] {
    let (mut rest, mut used) = (number, 0usize);
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        used = used.wrapping_add(1);
        if rest == 0 {
            break;
        }
    }
    digits.get(10usize.wrapping_sub(used)..).unwrap_or(&[])
}

/// A decimal number of 1 to 9 digits and nothing else.
pub(crate) fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    digits.iter().try_fold(0u32, |n, c| {
        c.is_ascii_digit().then(|| n.wrapping_mul(10).wrapping_add((c & 15) as u32))
    })
}

/// What stands before the first NUL, or all of it.
#[inline]
pub(crate) fn until_nul(text: &[u8]) -> &[u8] {
    // The search of `CStr` goes by words, not by bytes.
    core::ffi::CStr::from_bytes_until_nul(text).map_or(text, core::ffi::CStr::to_bytes)
}

/// As [`until_nul`], for a field of 8 bytes.
#[inline]
pub(crate) fn field_until_nul(field: &[u8; 8]) -> &[u8] {
    // The lowest bit set is the top bit of the first byte that is 0.
    let word = u64::from_le_bytes(*field);
    let zeros = word.wrapping_sub(0x0101_0101_0101_0101) & !word & 0x8080_8080_8080_8080;
    field.get(..(zeros.trailing_zeros() / 8) as usize).unwrap_or(field)
}

const ELLIPSIS: &[u8] = "…".as_bytes();

/// Text for a place of `limit` bytes: whole if it fits, else cut at a UTF-8 boundary and followed
/// by `…`, which is the second part.
#[inline]
pub(crate) fn cut(text: &[u8], limit: usize) -> (&[u8], &'static [u8]) {
    if text.len() <= limit {
        return (text, &[]);
    }
    let Some(mut end) = limit.checked_sub(ELLIPSIS.len()) else { return (&[], &[]) };
    // A byte 10xxxxxx continues a character. At most three in a row do in UTF-8: more are not text.
    let floor = end.saturating_sub(3);
    while end > floor && text.get(end).is_some_and(|b| b & 0xc0 == 0x80) {
        end = end.wrapping_sub(1);
    }
    (text.get(..end).unwrap_or(&[]), ELLIPSIS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(cut("żółw".as_bytes(), 7), ("żółw".as_bytes(), &b""[..]));
        assert_eq!(cut("żółwie".as_bytes(), 8), ("żó".as_bytes(), "…".as_bytes()));
        assert_eq!(cut("żółwie".as_bytes(), 7), ("żó".as_bytes(), "…".as_bytes()));
        assert_eq!(cut("żółwie".as_bytes(), 6), ("ż".as_bytes(), "…".as_bytes()));
        assert_eq!(cut(&[0x80; 9], 8).0.len(), 2, "not UTF-8: cut all the same");
        assert_eq!(cut(b"abc", 2), (&b""[..], &b""[..]));
    }

    #[test]
    fn text_ends_at_its_first_nul() {
        for (field, want) in [
            (b"abcdefgh", &b"abcdefgh"[..]),
            (b"abc\0\0\0\0\0", b"abc"),
            (b"abc\0\x01fgh", b"abc"),
            (b"\0bcdefgh", b""),
            (b"\x80\xff\x01\0\0\0\0x", b"\x80\xff\x01"),
            (b"abcdefg\0", b"abcdefg"),
        ] {
            assert_eq!((field_until_nul(field), until_nul(field)), (want, want));
        }
    }

    #[test]
    fn decimals_both_ways() {
        for n in [0, 7, 10, 4_294_967_295] {
            let mut digits = [0; 10];
            assert_eq!(decimal(n, &mut digits), std::format!("{n}").as_bytes());
        }
        assert_eq!(number(b"999999999"), Some(999_999_999));
        for bad in [&b""[..], b"1234567890", b"-1", b"1 ", b"x"] {
            assert_eq!(number(bad), None);
        }
    }

    #[test]
    fn what_does_not_fit_is_noticed() {
        let mut out = [0; 4];
        let mut put = Put::new(&mut out);
        put.bytes(b"abc");
        put.bytes(b"de");
        assert_eq!(put.finish(), 0);
    }
}
