//! What waits to be sent: what brings the other side into step, then requests, each whole.

use centrala_core::dialect::native::Request;

use crate::command::ANSWER_MAX;
use crate::drop_first;

/// Bytes of the longest header of a message of ours, with its length and id, and of an
/// acknowledgement.
const MESSAGE_HEAD: usize = 24;
const ACK: usize = 14;
/// What has to be free before an event is handled: its answer and its acknowledgement.
pub(crate) const RESERVE: usize = ANSWER_MAX + MESSAGE_HEAD + ACK;
const LEN: usize = 2 * RESERVE;

/// Bytes of the rule 3 of the crate's description behind the padding, of which the first is a 1.
const STEP: u32 = 1 + 256;

/// The bytes.
#[derive(Debug)]
pub(crate) struct Output {
    /// Zeros to send first, but the one that is the 257th before their end.
    lead: u32,
    buffer: [u8; LEN],
    len: usize,
}

impl Output {
    pub(crate) const NEW: Output = Output { lead: 0, buffer: [0; LEN], len: 0 };

    pub(crate) fn is_empty(&self) -> bool {
        self.lead == 0 && self.len == 0
    }

    pub(crate) fn free(&self) -> usize {
        LEN.saturating_sub(self.len)
    }

    pub(crate) fn clear(&mut self) {
        (self.lead, self.len) = (0, 0);
    }

    /// What brings the other side into step, before anything else.
    pub(crate) fn step(&mut self, padding: u32) {
        self.lead = padding.saturating_add(STEP);
    }

    /// Adds a request; whether it fitted.
    pub(crate) fn request(&mut self, id: u32, request: &Request<'_>) -> bool {
        let free = self.buffer.get_mut(self.len..).unwrap_or(&mut []);
        let Some(len) = request.encode(id, free) else { return false };
        self.len = self.len.saturating_add(len);
        true
    }

    /// Takes the first bytes, as far as they fit, and returns how many.
    pub(crate) fn take(&mut self, out: &mut [u8]) -> usize {
        let mut taken: usize = 0;
        let mut used: usize = 0;
        for place in out {
            *place = match (self.lead, self.buffer.get(used).filter(|_| used < self.len)) {
                (0, None) => break,
                (0, Some(byte)) => {
                    used = used.saturating_add(1);
                    *byte
                }
                (lead, _) => {
                    self.lead = lead.saturating_sub(1);
                    u8::from(lead == STEP)
                }
            };
            taken = taken.saturating_add(1);
        }
        if used != 0 {
            self.len = drop_first(&mut self.buffer, self.len, used);
        }
        taken
    }
}
