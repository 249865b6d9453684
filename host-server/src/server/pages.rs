//! Histories, counts and single messages, read for a client.
//!
//! A history is answered in parts of [`PART`] messages, each of which is a question of its own for
//! the store: so a long page neither holds up others nor is ever in memory as a whole. How many
//! there will be is known first, from the places of all of them.

use centrala_core::exchange::Token;
use centrala_core::host::{Count, Posted};
use centrala_core::request::Chat;
use centrala_store::{Conversation, Error, KeptMessage, PLACES};

use super::{Server, lend};

/// Messages of one part of a history.
const PART: usize = 100;

/// A history on its way to a client.
#[derive(Debug)]
pub(super) struct History {
    token: Token,
    of: Conversation,
    /// Of how many messages.
    total: u32,
    /// Those that are being read: their sequences.
    part: Vec<u64>,
    /// Those behind them, the next one last.
    rest: Vec<u64>,
}

/// What the store found.
#[derive(Debug)]
pub(super) enum Found {
    Places(Token, Conversation, Result<Vec<u64>, Error>),
    Part(History, Result<Vec<KeptMessage>, Error>),
    Message(Token, Result<Option<KeptMessage>, Error>),
    Counts(Token, Result<Vec<Count>, Error>),
}

impl Server<'_> {
    pub(super) fn read_history(
        &mut self,
        token: Token,
        user: u32,
        chat: Chat,
        before: Option<u64>,
        limit: u32,
    ) {
        let (reach, of) = (self.questions.reach(), Conversation::of(user, chat));
        let found = move |places| reach.found(Found::Places(token, of, places));
        match limit {
            0 => found(Ok(Vec::new())),
            _ => self.store.places(of, before, limit.min(PLACES), Box::new(found)),
        }
    }

    pub(super) fn read_message(&mut self, token: Token, sequence: u64) {
        let reach = self.questions.reach();
        let found = move |message| reach.found(Found::Message(token, message));
        self.store.message(sequence, Box::new(found));
    }

    pub(super) fn read_counts(&mut self, token: Token, user: u32) {
        let (reach, chats) = (self.questions.reach(), self.exchange.chats_of(user).collect());
        let found = move |counts| reach.found(Found::Counts(token, counts));
        self.store.counts(user, chats, Box::new(found));
    }

    /// Gives the exchange what was found. What cannot be read is answered as if it were not there.
    pub(super) fn tell_found(&mut self, found: Found) {
        match found {
            Found::Places(token, of, places) => {
                let mut rest = readable(places);
                rest.reverse();
                let total = rest.len() as u32;
                if total == 0 {
                    self.tell_history(token, 0, &[], true);
                } else {
                    self.read_part(History { token, of, total, part: Vec::new(), rest });
                }
            }
            Found::Part(history, messages) => {
                let (messages, mut rows) = (readable(messages), Vec::new());
                let mut messages = messages.iter().map(KeptMessage::record).peekable();
                for &sequence in &history.part {
                    // So many were announced: of one that is gone since, only its place is left.
                    let row = messages.next_if(|message| message.sequence == sequence);
                    rows.push(row.unwrap_or(Posted { sequence, ..Posted::NONE }));
                }
                let last = history.rest.is_empty();
                self.tell_history(history.token, history.total, &rows, last);
                if !last {
                    self.read_part(history);
                }
            }
            Found::Message(token, message) => {
                let message = readable(message);
                let row: Vec<Posted<'_>> = message.iter().map(KeptMessage::record).collect();
                self.tell_history(token, row.len() as u32, &row, true);
            }
            Found::Counts(token, counts) => {
                let counts = readable(counts);
                self.out.queues.answered(token);
                self.out.rooms.answered(token);
                let total = counts.len() as u32;
                if let Some(link) =
                    self.exchange.chats_page(token, total, counts, true, lend!(self))
                {
                    self.feed_link(link);
                }
            }
        }
    }

    fn tell_history(&mut self, token: Token, total: u32, rows: &[Posted<'_>], last: bool) {
        if last {
            self.out.queues.answered(token);
            self.out.rooms.answered(token);
        }
        let rows = rows.iter().copied();
        if let Some(link) = self.exchange.history_page(token, total, rows, last, lend!(self)) {
            self.feed_link(link);
        }
    }

    /// Has the next part read.
    fn read_part(&mut self, mut history: History) {
        let next = history.rest.len().saturating_sub(PART);
        history.part = history.rest.split_off(next);
        history.part.reverse();
        let (reach, of, part) = (self.questions.reach(), history.of, history.part.clone());
        let found = move |messages| reach.found(Found::Part(history, messages));
        self.store.messages(of, part, Box::new(found));
    }
}

/// What was read; what was not counts as nothing.
fn readable<T: Default>(read: Result<T, Error>) -> T {
    read.unwrap_or_else(|error| {
        tracing::error!(%error, "a history cannot be read: answered without it");
        T::default()
    })
}
