//! What was written since the last commit, copied into one place, on its way to the writer.

use crate::images::Image;
use crate::key::Key;
use centrala_core::host::{Mail, Posted};
use std::collections::HashMap;

/// Where a text lies in its batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text {
    begin: u32,
    len: u32,
}

/// A message of the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogRow {
    pub(crate) sequence: u64,
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) group: u32,
    pub(crate) about: u32,
    pub(crate) image: bool,
    pub(crate) priority: u8,
    pub(crate) time: u64,
    pub(crate) text: Text,
}

/// A message kept for a user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MailRow {
    pub(crate) user: u32,
    pub(crate) sequence: u64,
    pub(crate) id: u32,
    pub(crate) from: u32,
    pub(crate) group: u32,
    pub(crate) about: u32,
    pub(crate) image: bool,
    pub(crate) priority: u8,
    pub(crate) last: bool,
    pub(crate) time: u64,
    pub(crate) text: Text,
    /// Whether it is that of a message of the log in this batch, in everything but the user.
    pub(crate) shared: bool,
}

/// One change.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    User {
        number: u32,
        name: Text,
        /// `None`: it keeps the one that it has, if any.
        password: Option<Text>,
    },
    NoUser {
        number: u32,
    },
    Group {
        number: u32,
        name: Text,
        owner: u32,
    },
    NoGroup {
        number: u32,
    },
    Member {
        user: u32,
        group: u32,
        left: i32,
    },
    NoMember {
        user: u32,
        group: u32,
    },
    Password {
        user: u32,
        hash: Option<Text>,
    },
    /// `user` 0: there is no session at that address any more.
    Session {
        dialect: u8,
        address: i64,
        user: u32,
    },
    Counter {
        kind: u8,
        key: u32,
        value: u64,
    },
    Chat {
        group: u32,
        user: u32,
    },
    Seen {
        user: u32,
        conversation: Key,
        sequence: u64,
    },
    Log(LogRow),
    /// Which image a message of the log is.
    Image {
        sequence: u64,
        hash: [u8; 32],
        name: Text,
        kind: Text,
        size: u32,
    },
    /// The newest sequence that was given, though the log has not got its message.
    Newest {
        sequence: u64,
    },
    /// Sequences up to this may be given; 0: none beyond the newest.
    Reserve {
        sequence: u64,
    },
    Mail(MailRow),
    Settled {
        user: u32,
        sequence: u64,
    },
    /// A mail that was settled before it was ever on the disk.
    Nothing,
}

impl Op {
    /// Whether it only makes the store smaller: such changes are still made when there is no room.
    pub(crate) fn shrinks(&self) -> bool {
        match self {
            Op::NoUser { .. } | Op::NoGroup { .. } | Op::NoMember { .. } | Op::Settled { .. } => {
                true
            }
            Op::Session { user, .. } => *user == 0,
            // It is one row, and live messages go on where there is no room.
            Op::Reserve { .. } => true,
            Op::Password { hash, .. } => hash.is_none(),
            _ => false,
        }
    }

    /// Whether it is of users, groups, memberships or private chats.
    pub(crate) fn is_of_directory(&self) -> bool {
        matches!(
            self,
            Op::User { .. }
                | Op::NoUser { .. }
                | Op::Group { .. }
                | Op::NoGroup { .. }
                | Op::Member { .. }
                | Op::NoMember { .. }
                | Op::Chat { .. }
        )
    }
}

/// What was written since the last commit.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    ops: Vec<Op>,
    bytes: Vec<u8>,
    /// Messages of the log, by rising sequence: the place of each in `ops`.
    logged: Vec<(u64, u32)>,
    /// Mail by user and sequence: its place in `ops`.
    mail: HashMap<(u32, u64), u32>,
    /// What it changes of the number of messages that users have waiting.
    pub(crate) waiting: Vec<(u32, i64)>,
    /// It changes the directory, and the exchange goes on with that even if its commit fails.
    pub(crate) directory: bool,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    pub(crate) fn ops(&self) -> &[Op] {
        &self.ops
    }

    pub(crate) fn text(&self, text: Text) -> &[u8] {
        &self.bytes[text.begin as usize..][..text.len as usize]
    }

    /// Whether it has room for so many bytes more: what it holds is addressed with 32 bits.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        const MOST: usize = 1 << 30;
        bytes <= MOST && self.bytes.len() <= MOST - bytes && self.ops.len() < MOST / 64
    }

    pub(crate) fn clear(&mut self) {
        self.ops.clear();
        self.bytes.clear();
        self.logged.clear();
        self.mail.clear();
        self.waiting.clear();
        self.directory = false;
        // A burst is not paid for in memory ever after.
        self.bytes.shrink_to(1 << 20);
        self.ops.shrink_to(1 << 14);
        self.mail.shrink_to(1 << 14);
    }

    /// Its changes of the directory alone.
    pub(crate) fn directory(&self) -> Batch {
        let mut directory = Batch { directory: true, ..Batch::default() };
        for op in self.ops.iter().filter(|op| op.is_of_directory()) {
            let op = match *op {
                Op::User { number, name, password } => {
                    let name = directory.copy(self.text(name));
                    let password = password.map(|password| directory.copy(self.text(password)));
                    Op::User { number, name, password }
                }
                Op::Group { number, name, owner } => {
                    Op::Group { number, name: directory.copy(self.text(name)), owner }
                }
                op => op,
            };
            directory.push(op);
        }
        directory
    }

    /// Bytes that it holds.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + self.ops.len() * size_of::<Op>()
    }

    /// Copies bytes that an operation refers to.
    pub(crate) fn copy(&mut self, bytes: &[u8]) -> Text {
        let text = Text { begin: self.bytes.len() as u32, len: bytes.len() as u32 };
        self.bytes.extend_from_slice(bytes);
        text
    }

    pub(crate) fn push(&mut self, op: Op) {
        self.ops.push(op);
    }

    pub(crate) fn log(&mut self, posted: &Posted<'_>) {
        let Posted { sequence, from, to, group, about, image, priority, time, text } = *posted;
        let text = self.copy(text);
        // They come in rising order; one that does not is only not found by its mail.
        if self.logged.last().is_none_or(|(newest, _)| *newest < sequence) {
            self.logged.push((sequence, self.ops.len() as u32));
        }
        let row = LogRow { sequence, from, to, group, about, image, priority, time, text };
        self.ops.push(Op::Log(row));
    }

    /// Which image the message of that sequence is.
    pub(crate) fn image(&mut self, sequence: u64, image: &Image) {
        let (name, kind) = (self.copy(&image.name), self.copy(&image.kind));
        let Image { hash, size, .. } = *image;
        self.ops.push(Op::Image { sequence, hash, name, kind, size });
    }

    /// A mail whose message is in this batch, and is the same, shares its text.
    pub(crate) fn mail(&mut self, mail: &Mail<'_>) {
        let Mail { user, sequence, id, from, group, about, image, priority, last, time, text } =
            *mail;
        let logged = self.logged.binary_search_by_key(&sequence, |(logged, _)| *logged).ok();
        let logged = logged.and_then(|place| match self.ops[self.logged[place].1 as usize] {
            Op::Log(row)
                if (row.from, row.group, row.about, row.image, row.priority, row.time)
                    == (from, group, about, image, priority, time)
                    && self.text(row.text) == text =>
            {
                Some(row.text)
            }
            _ => None,
        });
        let (text, shared) = (logged.unwrap_or_else(|| self.copy(text)), logged.is_some());
        self.mail.insert((user, sequence), self.ops.len() as u32);
        self.ops.push(Op::Mail(MailRow {
            user,
            sequence,
            id,
            from,
            group,
            about,
            image,
            priority,
            last,
            time,
            text,
            shared,
        }));
        self.waiting.push((user, 1));
    }

    /// A mail of this batch that is settled in it never reaches the disk.
    pub(crate) fn settle(&mut self, user: u32, sequence: u64) {
        match self.mail.remove(&(user, sequence)) {
            Some(place) => self.ops[place as usize] = Op::Nothing,
            None => self.ops.push(Op::Settled { user, sequence }),
        }
        self.waiting.push((user, -1));
    }

    /// Mail of a user that is gone is not to be found any more.
    pub(crate) fn forget_mail_of(&mut self, user: u32) {
        self.mail.retain(|(of, _), _| *of != user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posted(sequence: u64, text: &[u8]) -> Posted<'_> {
        Posted { sequence, from: 1, to: 2, time: 9, text, ..Posted::NONE }
    }

    fn mail(sequence: u64, text: &[u8]) -> Mail<'_> {
        let (id, last, time) = (5, false, 9);
        Mail { user: 2, sequence, id, from: 1, last, time, text, ..Mail::NONE }
    }

    #[test]
    fn mail_shares_the_text_of_its_message() {
        let mut batch = Batch::default();
        batch.log(&posted(10, b"raz"));
        batch.log(&posted(11, b"dwa"));
        batch.mail(&mail(10, b"raz"));
        batch.mail(&mail(11, b"other"));
        batch.mail(&mail(12, b"trzy"));
        batch.mail(&Mail { from: 0, ..mail(11, b"dwa") });
        batch.mail(&Mail { about: 3, ..mail(11, b"dwa") });
        let kept: Vec<_> = batch.ops()[2..]
            .iter()
            .map(|op| match op {
                Op::Mail(row) => (row.shared, batch.text(row.text)),
                _ => unreachable!(),
            })
            .collect();
        let own = |text: &'static [u8]| (false, text);
        assert_eq!(
            kept,
            [(true, &b"raz"[..]), own(b"other"), own(b"trzy"), own(b"dwa"), own(b"dwa")]
        );
        assert_eq!(batch.bytes, b"razdwaothertrzydwadwa");
    }

    #[test]
    fn mail_settled_in_its_batch_cancels_out() {
        let mut batch = Batch::default();
        batch.mail(&mail(10, b"raz"));
        batch.settle(2, 10);
        batch.settle(2, 10);
        assert!(matches!(batch.ops(), [Op::Nothing, Op::Settled { user: 2, sequence: 10 }]));
        batch.mail(&mail(10, b"raz"));
        batch.settle(3, 10);
        assert!(matches!(batch.ops()[2..], [Op::Mail(_), Op::Settled { user: 3, .. }]));
    }
}
