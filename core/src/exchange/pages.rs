//! What the host reads for a client: histories, counts, images. It comes in parts, and the core
//! never holds more than one row.

use super::log_in::Stage;
use super::sessions::{About, Asked, Question};
use super::{Exchange, FIRST_SEQUENCE, Link, Token, message_id};
use crate::dialect::CONVERSES;
use crate::event::{Event, Kind, Outcome, Page, Said};
use crate::host::{Ask, Count, Io, Posted};
use crate::request::{Chat, Tag};
use crate::table::Empty;

impl Exchange<'_> {
    /// Asks the host something for a session, whose input waits until it is answered.
    fn ask_for(
        &mut self,
        link: Link,
        tag: Tag,
        user: u32,
        asked: Asked,
        ask: Ask<'_>,
        io: &mut Io<'_>,
    ) -> Result<(), Outcome> {
        let question = Question { link, tag, user, asked, ..Question::EMPTY };
        let full = Outcome::Full(crate::event::Limit::Questions);
        let token = self.questions.insert(question).map_err(|_| full)?;
        if let Some(session) = self.sessions.get_mut(link) {
            session.question = token;
        }
        io.out.ask(token, ask);
        Ok(())
    }

    pub(super) fn ask_history(
        &mut self,
        link: Link,
        tag: Tag,
        user: u32,
        (chat, before, limit): (Chat, Option<u64>, u32),
        io: &mut Io<'_>,
    ) {
        if !CONVERSES {
            return;
        }
        let before = before.map(|id| id.saturating_add(FIRST_SEQUENCE));
        let ask = Ask::History { user, chat, before, limit };
        let asked = self.may_read(user, chat);
        let asked =
            asked.and_then(|()| self.ask_for(link, tag, user, Asked::History(chat), ask, io));
        if let Err(outcome) = asked {
            self.answer(link, tag, Kind::History, outcome, io);
        }
    }

    pub(super) fn ask_chats(&mut self, link: Link, tag: Tag, user: u32, io: &mut Io<'_>) {
        if !CONVERSES {
            return;
        }
        let asked = self.ask_for(link, tag, user, Asked::Chats, Ask::Chats { user }, io);
        if let Err(outcome) = asked {
            self.answer(link, tag, Kind::Chats, outcome, io);
        }
    }

    pub(super) fn ask_image(&mut self, link: Link, tag: Tag, user: u32, id: u64, io: &mut Io<'_>) {
        if !CONVERSES {
            return;
        }
        let ask = Ask::Message { sequence: id.saturating_add(FIRST_SEQUENCE) };
        if let Err(outcome) = self.ask_for(link, tag, user, Asked::Image, ask, io) {
            self.answer(link, tag, Kind::Image, outcome, io);
        }
    }

    /// The host's answer to [`Ask::History`], oldest first, or to [`Ask::Message`]: the next of
    /// `total` messages, and whether these are the last of them. `total` is the same in every part,
    /// and as many must come. What cannot be read is left out: then `total` is 0. The one message of
    /// [`Ask::Message`] comes at once. After the last part the link may be given its bytes again; returns the link then.
    pub fn history_page<'p>(
        &mut self,
        token: Token,
        total: u32,
        page: impl IntoIterator<Item = Posted<'p>>,
        last: bool,
        io: &mut Io<'_>,
    ) -> Option<Link> {
        self.timers.advance(io.now);
        let Question { link, tag, user, asked, begun, mut sent } = *self.questions.get(token)?;
        let mut rows = page.into_iter();
        match asked {
            Asked::History(chat) => {
                if !begun {
                    self.tell_part(link, &Event::History(Page::Begin { tag, total }), false, io);
                }
                for message in rows {
                    // The directory may have lost its sender since.
                    let from = self.directory.user_party(message.from);
                    let row = Said { chat, from, message };
                    let row = Page::Row { tag, index: sent, row: &row };
                    let session = self.sessions.get(link)?;
                    let (dialect, to) = (session.dialect, session.recipient());
                    let len = dialect.encode(&Event::History(row), to, &self.limits, self.scratch);
                    io.out.part(link, self.scratch.get(..len).unwrap_or(&[]), false);
                    sent = sent.saturating_add(1);
                }
                if last {
                    let end = Page::End { tag, total: sent };
                    self.tell_part(link, &Event::History(end), true, io);
                }
            }
            Asked::Image => {
                let found = rows.next().filter(|message| self.may_see(user, message));
                match found {
                    Some(message) => {
                        let event = Event::Image { tag, message };
                        self.tell_part(link, &event, true, io);
                    }
                    None => {
                        let (outcome, about) = (Outcome::NoSuchChat, About::NOTHING);
                        self.answer_about(link, tag, Kind::Image, outcome, about, io);
                    }
                }
            }
            // It is another question's answer.
            Asked::Mail | Asked::Password | Asked::Secret | Asked::Chats => return None,
        }
        self.part_done(token, link, sent, last || asked == Asked::Image)
    }

    /// The host's answer to [`Ask::Chats`], as [`Exchange::history_page`].
    pub fn chats_page(
        &mut self,
        token: Token,
        total: u32,
        page: impl IntoIterator<Item = Count>,
        last: bool,
        io: &mut Io<'_>,
    ) -> Option<Link> {
        self.timers.advance(io.now);
        let Question { link, tag, asked, begun, mut sent, .. } = *self.questions.get(token)?;
        if asked != Asked::Chats {
            return None;
        }
        if !begun {
            self.tell_part(link, &Event::Chats(Page::Begin { tag, total }), false, io);
        }
        for row in page {
            let row = Page::Row { tag, index: sent, row: &row };
            self.tell_part(link, &Event::Chats(row), false, io);
            sent = sent.saturating_add(1);
        }
        if last {
            self.tell_part(link, &Event::Chats(Page::End { tag, total: sent }), true, io);
        }
        self.part_done(token, link, sent, last)
    }

    fn part_done(&mut self, token: Token, link: Link, sent: u32, last: bool) -> Option<Link> {
        if !last {
            if let Some(question) = self.questions.get_mut(token) {
                (question.begun, question.sent) = (true, sent);
            }
            return None;
        }
        self.questions.remove(token);
        let session = self.sessions.get_mut(link)?;
        (session.question, session.stage) = (Token::NONE, Stage::None);
        Some(link)
    }

    /// Whether a user may see an image: it is in a group's conversation, or it sent or got it.
    fn may_see(&self, user: u32, message: &Posted<'_>) -> bool {
        message.image && (message.group != 0 || message.from == user || message.to == user)
    }

    fn tell_part(&mut self, link: Link, event: &Event<'_>, last: bool, io: &mut Io<'_>) {
        let Some(session) = self.sessions.get(link) else { return };
        let len = session.dialect.encode(event, session.recipient(), &self.limits, self.scratch);
        if len != 0 || last {
            io.out.part(link, self.scratch.get(..len).unwrap_or(&[]), last);
        }
    }
}

/// The text that stands for an image where there are no images: `[image: name, type, size]`, size in
/// bytes.
pub(super) fn describe<'o>(
    name: &[u8],
    kind: &[u8],
    size: u32,
    out: &'o mut [u8; DESCRIBED],
) -> Option<&'o [u8]> {
    let mut put = crate::dialect::put::Put::new(out);
    put.bytes(b"[image: ");
    put.bytes(name);
    put.bytes(b", ");
    put.bytes(kind);
    put.bytes(b", ");
    put.decimal(size);
    put.bytes(b"]");
    let len = put.finish();
    if len == 0 { None } else { out.get(..len) }
}

/// Bytes of the longest text that stands for an image.
pub(super) const DESCRIBED: usize = 320;

const _: () = assert!(message_id(FIRST_SEQUENCE + 1) == 1);
