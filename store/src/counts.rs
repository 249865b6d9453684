//! How many messages a user's conversations have, and how many of them it has not seen.
//!
//! They are counted in the index of histories, which has no more rows than histories have messages:
//! so a count is always what the pages show, whatever was pruned meanwhile. It is done in steps, so
//! that a history of a million messages does not keep others from being answered.

use crate::chats::seen_sum;
use crate::kept::Conversation;
use crate::key::Key;
use crate::pages::{Pages, Sinces, unless_damaged};
use crate::sum;
use centrala_core::host::Count;
use centrala_core::request::Chat;
use rusqlite::{Connection, Result as Sql, Statement};

/// What one step may cost: a row of the index 1, a conversation as much as so many rows.
const STEP: u32 = 20_000;
const CONVERSATION: u32 = 50;

/// The statements for it, compiled once.
pub(crate) struct Counts<'c> {
    others: Statement<'c>,
    seen: Statement<'c>,
    count: Statement<'c>,
}

impl<'c> Counts<'c> {
    pub(crate) fn new(connection: &'c Connection) -> Sql<Self> {
        let sql = |sql: &str| connection.prepare(sql);
        Ok(Counts {
            others: sql("SELECT other FROM pairs WHERE user = ?1 ORDER BY other")?,
            seen: sql("SELECT sequence, sum FROM seen WHERE user = ?1 AND conversation = ?2")?,
            // What a former user of that number said is another's.
            count: sql("SELECT count(*), coalesce(max(sequence), ?2),
                     coalesce(sum(sequence > ?3 AND (sender <> ?4 OR sequence <= ?5)), 0)
                 FROM (SELECT sequence, sender FROM history
                     WHERE conversation = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?6)")?,
        })
    }

    fn seen(&mut self, user: u32, conversation: Key) -> Sql<Option<i64>> {
        unless_damaged(self.seen.query_row((user, conversation), |row| {
            let sequence = row.get(0)?;
            let sum = seen_sum(user, conversation, sequence);
            Ok(sum::good(row.get(1)?, sum).then_some(sequence))
        }))
    }
}

/// A question on its way.
pub(crate) struct Counting {
    user: u32,
    /// Still to be counted, in the wrong order.
    chats: Vec<Chat>,
    begun: bool,
    user_since: i64,
    all_direct: i64,
    sinces: Sinces,
    /// The one that was not finished: its key, what was counted, what was seen, and the count.
    half: Option<(Key, i64, i64, Count)>,
    counted: Vec<Count>,
}

impl Counting {
    pub(crate) fn new(user: u32, mut chats: Vec<Chat>) -> Counting {
        chats.reverse();
        Counting {
            user,
            chats,
            begun: false,
            user_since: 0,
            all_direct: i64::MIN,
            sinces: Sinces::default(),
            half: None,
            counted: Vec::new(),
        }
    }

    /// One step; the counts if it was the last.
    pub(crate) fn step(&mut self, pages: &mut Pages<'_>) -> Sql<Option<Vec<Count>>> {
        pages.at_once(|pages| {
            if !std::mem::replace(&mut self.begun, true) && !self.begin(pages)? {
                return Ok(Some(Vec::new()));
            }
            let mut left = STEP;
            while left > 0 {
                if self.half.is_none() {
                    let Some(chat) = self.chats.pop() else {
                        return Ok(Some(std::mem::take(&mut self.counted)));
                    };
                    left = left.saturating_sub(CONVERSATION);
                    self.open(chat, pages)?;
                }
                left = left.saturating_sub(self.count(pages, left.max(1))?);
            }
            Ok(None)
        })
    }

    /// Whether there is such a user.
    fn begin(&mut self, pages: &mut Pages<'_>) -> Sql<bool> {
        let Some(since) = pages.user_since(self.user, &mut self.sinces)? else { return Ok(false) };
        self.user_since = since;
        self.all_direct = pages.counts.seen(self.user, Key::DIRECT)?.unwrap_or(i64::MIN);
        let others = pages.counts.others.query_map([self.user], |row| row.get(0))?;
        let others = others.collect::<Sql<Vec<u32>>>()?;
        let given = std::mem::take(&mut self.chats);
        self.chats = others.into_iter().rev().map(Chat::Direct).chain(given).collect();
        Ok(true)
    }

    fn open(&mut self, chat: Chat, pages: &mut Pages<'_>) -> Sql<()> {
        let found = pages.find(Conversation::of(self.user, chat), &mut self.sinces)?;
        let count = Count { chat, all: 0, new: 0 };
        let Some((key, since)) = found else {
            self.close(count);
            return Ok(());
        };
        let mut seen = pages.counts.seen(self.user, key)?.unwrap_or(i64::MIN);
        if matches!(chat, Chat::Direct(_)) {
            seen = seen.max(self.all_direct);
        }
        self.half = Some((key, since, seen, count));
        Ok(())
    }

    /// Counts so many messages at most, and says how many there were.
    fn count(&mut self, pages: &mut Pages<'_>, most: u32) -> Sql<u32> {
        let Some((key, after, seen, count)) = &mut self.half else { return Ok(0) };
        let of = (*key, *after, *seen, self.user, self.user_since, most);
        let row = pages.counts.count.query_row(of, |row| row.try_into());
        let (all, last, new): (u32, i64, u32) = row?;
        count.all += u64::from(all);
        count.new += u64::from(new);
        *after = last;
        if all < most {
            let count = *count;
            self.half = None;
            self.close(count);
        }
        Ok(all)
    }

    fn close(&mut self, count: Count) {
        // With whom there are no messages any more there is no conversation.
        if count.all != 0 || !matches!(count.chat, Chat::Direct(_)) {
            self.counted.push(count);
        }
    }
}
