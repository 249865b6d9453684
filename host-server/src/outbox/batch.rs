//! A batch: what was noted down to be let out, in order, and the bytes of it.

use std::ops::Range;

use centrala_core::exchange::Link;

/// Bytes in the batch's arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    at: u32,
    len: u32,
}

/// One thing to let out.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    /// Where.
    pub link: Link,
    /// What.
    pub what: What,
}

/// What to let out. The words are the outbox's.
#[derive(Clone, Copy, Debug)]
pub enum What {
    /// A message.
    Deliver(Frame),
    /// Messages for connections.
    Run(Run),
    /// A message that the store has, and its mark.
    Mail(Frame, u32),
    /// An answer.
    Reply(Frame),
    /// A part of an answer, and whether it is the last one.
    Part(Frame, bool),
    /// An answer that waits for the commit, and what leaves if that fails.
    Promise(Frame, Frame),
    /// The promise before it says that this link is logged in, by the log-in of this number.
    LoggedIn(Link, u32),
    /// The link's clients are those of this other link.
    Merge(Link),
    /// The end of the link.
    Close,
    /// It went before the others.
    Done,
}

/// Messages one after another, for the same connections: as one publisher sends many to a group, or
/// to one other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    frames: Frame,
    links: Frame,
    lengths: Frame,
}

impl Run {
    /// Bytes for each connection.
    pub fn bytes(self) -> u32 {
        self.frames.len
    }
}

/// What one batch wants sent, in order.
#[derive(Debug, Default)]
pub struct Batch {
    /// In the order they came.
    pub ops: Vec<Op>,
    bytes: Vec<u8>,
    /// Of all runs, without gaps.
    run_bytes: Vec<u8>,
    run_links: Vec<Link>,
    /// Of each message of a run.
    run_lengths: Vec<u32>,
    /// The commits, by number, that its promises wait for: the first one to be over when it was
    /// made, and the last.
    pub commits: (u64, u64),
    /// The commit that all of it waits for, as it could tell of a change of the directory.
    pub hidden: u64,
    /// One of its commits failed: its promises leave as they were refused.
    pub refused: bool,
}

impl Batch {
    /// The bytes of a frame.
    pub fn frame(&self, frame: Frame) -> &[u8] {
        &self.bytes[Range::from(frame)]
    }

    /// Puts bytes into the arena. They begin on 8 bytes, as the kernel likes a queue's messages.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Frame {
        let at = self.bytes.len().next_multiple_of(8);
        self.bytes.resize(at, 0);
        self.bytes.extend_from_slice(bytes);
        Frame { at: at as u32, len: bytes.len() as u32 }
    }

    /// Begins a run with a message for these links, and returns its place among the operations.
    pub(super) fn begin_run(&mut self, to: &[Link], frame: &[u8]) -> usize {
        let bytes = frame.len() as u32;
        let run = Run {
            frames: Frame { at: self.run_bytes.len() as u32, len: bytes },
            links: Frame { at: self.run_links.len() as u32, len: to.len() as u32 },
            lengths: Frame { at: self.run_lengths.len() as u32, len: 1 },
        };
        self.run_lengths.push(bytes);
        self.run_bytes.extend_from_slice(frame);
        self.run_links.extend_from_slice(to);
        let place = self.ops.len();
        self.ops.push(Op { link: Link::NONE, what: What::Run(run) });
        place
    }

    /// Whether the run at this place among the operations is for these links.
    pub(super) fn is_run_for(&self, place: usize, to: &[Link]) -> bool {
        let Some(Op { what: What::Run(run), .. }) = self.ops.get(place) else { return false };
        self.run_links[Range::from(run.links)] == *to
    }

    /// Puts one more message into the run that was begun last, at its place among the operations.
    pub(super) fn extend_run(&mut self, place: usize, frame: &[u8]) {
        let Some(Op { what: What::Run(run), .. }) = self.ops.get_mut(place) else { return };
        let bytes = frame.len() as u32;
        self.run_bytes.extend_from_slice(frame);
        run.frames.len += bytes;
        self.run_lengths.push(bytes);
        run.lengths.len += 1;
    }

    /// The messages of a run.
    pub fn run(&self, run: Run) -> &[u8] {
        &self.run_bytes[Range::from(run.frames)]
    }

    /// The connections of a run.
    pub fn links(&self, run: Run) -> &[Link] {
        &self.run_links[Range::from(run.links)]
    }

    /// A link of a run, by its place, and the run's messages.
    pub fn of_run(&self, run: Run, n: usize) -> Option<(Link, &[u8])> {
        Some((*self.links(run).get(n)?, self.run(run)))
    }

    /// Leaves a run, at its place, for these of its links: the first `kept`, put there with
    /// [`Batch::keep_in_run`]. Without any it is done.
    pub fn leave_run(&mut self, i: usize, run: Run, kept: usize) {
        let links = Frame { len: kept as u32, ..run.links };
        self.ops[i].what = match kept {
            0 => What::Done,
            _ => What::Run(Run { links, ..run }),
        };
    }

    /// Puts a link of a run to one of the places before its own.
    pub fn keep_in_run(&mut self, run: Run, at: usize, link: Link) {
        self.run_links[run.links.at as usize + at] = link;
    }

    /// Bytes that it holds.
    pub fn size(&self) -> usize {
        let (links, ops) = (size_of::<Link>(), size_of::<Op>());
        let runs = self.run_bytes.len() + self.run_links.len() * links;
        self.bytes.len() + runs + self.ops.len() * ops
    }

    /// Forgets all, and most of the memory if it was much.
    pub fn clear(&mut self) {
        self.ops.clear();
        self.ops.shrink_to(16 * 1024);
        self.bytes.clear();
        self.bytes.shrink_to(256 * 1024);
        self.run_bytes.clear();
        self.run_bytes.shrink_to(256 * 1024);
        self.run_links.clear();
        self.run_links.shrink_to(16 * 1024);
        self.run_lengths.clear();
        self.run_lengths.shrink_to(16 * 1024);
        (self.commits, self.hidden, self.refused) = ((0, 0), 0, false);
    }

    /// Takes out the messages for a link from a place on, oldest first, and what is behind them for
    /// it that the store has. Returns the first mark among the latter.
    pub fn withdraw(
        &mut self,
        link: Link,
        from: usize,
        each: &mut dyn FnMut(&[u8]),
    ) -> Option<u32> {
        let (mut mail, bytes) = (None, &self.bytes);
        for op in self.ops.iter_mut().skip(from) {
            if let What::Run(run) = op.what {
                let links = &mut self.run_links[Range::from(run.links)];
                if let Some(own) = links.iter_mut().find(|own| **own == link) {
                    // It is left out from now on; the others keep theirs.
                    *own = Link::NONE;
                    let mut rest = &self.run_bytes[Range::from(run.frames)];
                    for len in &self.run_lengths[Range::from(run.lengths)] {
                        let (frame, behind) = rest.split_at(*len as usize);
                        each(frame);
                        rest = behind;
                    }
                }
                continue;
            }
            if op.link != link {
                continue;
            }
            match op.what {
                What::Deliver(frame) => each(&bytes[Range::from(frame)]),
                What::Mail(_, mark) => mail = mail.or(Some(mark)),
                _ => continue,
            }
            op.what = What::Done;
        }
        mail
    }
}

impl From<Frame> for Range<usize> {
    fn from(frame: Frame) -> Range<usize> {
        frame.at as usize..frame.at as usize + frame.len as usize
    }
}
