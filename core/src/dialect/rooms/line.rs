//! Events to a client: JSON, written into a lent buffer.

use super::pair;
use crate::dialect::put::Put;
use crate::request::Chat;

/// Writes one event, or a part of one.
pub(super) struct Line<'b>(Put<'b>);

impl<'b> Line<'b> {
    pub(super) fn new(out: &'b mut [u8]) -> Self {
        Line(Put::new(out))
    }

    /// `["name"`, to which arguments are added.
    pub(super) fn event(out: &'b mut [u8], name: &str) -> Self {
        let mut line = Line::new(out);
        line.raw("[\"");
        line.raw(name);
        line.raw("\"");
        line
    }

    pub(super) fn raw(&mut self, json: &str) {
        self.0.bytes(json.as_bytes());
    }

    pub(super) fn number(&mut self, number: i64) {
        let (mut digits, mut rest) = ([0; 20], number.unsigned_abs());
        let mut used = 0usize;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
            used = used.wrapping_add(1);
            if rest == 0 {
                break;
            }
        }
        if number < 0 {
            self.raw("-");
        }
        self.0.bytes(digits.get(20usize.wrapping_sub(used)..).unwrap_or(&[]));
    }

    /// A string. What is not UTF-8 becomes U+FFFD.
    pub(super) fn string(&mut self, text: &[u8]) {
        self.raw("\"");
        for chunk in text.utf8_chunks() {
            let mut plain = chunk.valid().as_bytes();
            while let Some(at) = plain.iter().position(|b| *b < 0x20 || matches!(b, b'"' | b'\\')) {
                let (before, rest) = plain.split_at_checked(at).unwrap_or((plain, &[]));
                let Some((byte, rest)) = rest.split_first() else { break };
                self.0.bytes(before);
                self.escape(*byte);
                plain = rest;
            }
            self.0.bytes(plain);
            if !chunk.invalid().is_empty() {
                self.raw("\u{fffd}");
            }
        }
        self.raw("\"");
    }

    pub(super) fn escape(&mut self, byte: u8) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        match byte {
            b'"' | b'\\' => self.0.bytes(&[b'\\', byte]),
            b'\n' => self.raw("\\n"),
            _ => {
                let high = HEX.get(usize::from(byte >> 4)).copied().unwrap_or(b'0');
                let low = HEX.get(usize::from(byte & 15)).copied().unwrap_or(b'0');
                self.0.bytes(&[b'\\', b'u', b'0', b'0', high, low]);
            }
        }
    }

    pub(super) fn and_number(&mut self, number: impl Into<i64>) {
        self.raw(",");
        self.number(number.into());
    }

    pub(super) fn and_string(&mut self, text: &[u8]) {
        self.raw(",");
        self.string(text);
    }

    pub(super) fn and_chat(&mut self, chat: Chat) {
        let (anons, with) = pair(chat);
        self.and_number(anons);
        self.and_number(with);
    }

    /// Where the host puts the bytes of an image.
    pub(super) fn and_image(&mut self, id: i64) {
        self.raw(",{\"image\":");
        self.number(id);
        self.raw("}");
    }

    /// Bytes written so far.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What has been written: a part of an event. 0 if it did not fit.
    pub(super) fn part(self) -> usize {
        self.0.finish()
    }

    /// The end of an event.
    pub(super) fn end(mut self) -> usize {
        self.raw("]\n");
        self.0.finish()
    }
}
