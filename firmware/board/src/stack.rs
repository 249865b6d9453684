//! How deep the stack has been: it was painted at the start, and what was used lost its paint.

use cortex_m_rt::STACK_PAINT_VALUE;

unsafe extern "C" {
    static _stack_end: u32;
    static _stack_start: u32;
}

/// The part of the stack that was never used.
#[derive(Debug)]
pub struct Watermark {
    /// Words that still have their paint.
    painted: usize,
}

/// Bytes that the stack has.
pub fn size() -> usize {
    let (end, start) = (&raw const _stack_end, &raw const _stack_start);
    start as usize - end as usize
}

impl Watermark {
    /// Nothing of it looked at yet.
    pub fn new() -> Watermark {
        Watermark { painted: size() / 4 }
    }

    /// The most bytes there have ever been on the stack, if that is more than was said before.
    pub fn grown(&mut self) -> Option<usize> {
        let before = self.painted;
        for word in 0..self.painted {
            // SAFETY: a word between the two ends of the stack, aligned, which may be any value;
            // nothing in Rust has a reference to it.
            let value = unsafe { (&raw const _stack_end).add(word).read_volatile() };
            if value != STACK_PAINT_VALUE {
                self.painted = word;
                break;
            }
        }
        (self.painted != before).then(|| size() - self.painted * 4)
    }
}

impl Default for Watermark {
    fn default() -> Self {
        Watermark::new()
    }
}
