//! A message from its sender to whoever gets it: one user, or the members of a group.

use super::mailbox::{Kept, Stand};
use super::sessions::About;
use super::{Exchange, Link, Message};
use crate::dialect::{Dialect, Recipient};
use crate::event::{Event, Kind, Limit, Outcome, Party};
use crate::host::{Io, Note, Posted, Record};
use crate::request::{Tag, Target};
use crate::table::Handle;

/// What counts where no priority, or none of 1 to 5, was given.
pub(super) const DEFAULT_PRIORITY: u8 = 3;

/// The dialects whose recipients answer for what they get.
#[allow(clippy::indexing_slicing)] // At compile time.
pub(super) const RECEIPTS: u8 = {
    let (mut mask, mut i) = (0, 0);
    while i < Dialect::COUNT {
        if Dialect::ALL[i].traits().receipts {
            mask |= Dialect::ALL[i].bit();
        }
        i += 1;
    }
    mask
};

/// The dialects whose users enter conversations, and see there what they said themselves.
#[allow(clippy::indexing_slicing)] // At compile time.
pub(super) const CONVERSATIONS: u8 = {
    let (mut mask, mut i) = (0, 0);
    while i < Dialect::COUNT {
        if Dialect::ALL[i].traits().conversations {
            mask |= Dialect::ALL[i].bit();
        }
        i += 1;
    }
    mask
};

/// What is left of a membership whose last message only the store has: that says so when it goes.
const ENDS_LATER: i32 = i32::MIN;

/// Beside a dialect's bit in `fan_dialects`: whoever is behind the link has entered the
/// conversation. No dialect has this bit.
const ENTERED: u8 = 1 << 7;
const _: () = assert!(Dialect::COUNT < 8);

/// A message as its sender gave it.
#[derive(Clone, Copy)]
pub(super) struct Draft<'a> {
    pub(super) tag: Tag,
    pub(super) text: &'a [u8],
    /// 1 to 5.
    pub(super) priority: u8,
    /// Whether the sender waits for the recipient's receipt.
    pub(super) receipt: bool,
    pub(super) id: Option<u32>,
    /// The sender's session.
    pub(super) link: Link,
    /// The sender.
    pub(super) from: u32,
    /// The group whose private chat a direct message belongs to; 0 for none.
    pub(super) about: u32,
    pub(super) image: bool,
    /// Whether it was said in a conversation, where its sender sees it too.
    pub(super) said: bool,
}

impl Draft<'_> {
    /// Nothing, from nobody.
    pub(super) const NONE: Draft<'static> = Draft {
        tag: Tag(0),
        text: &[],
        priority: DEFAULT_PRIORITY,
        receipt: false,
        id: None,
        link: Link::NONE,
        from: 0,
        about: 0,
        image: false,
        said: false,
    };
}

/// A message with what the exchange adds to it.
#[derive(Clone, Copy)]
pub(super) struct Post<'d> {
    pub(super) draft: &'d Draft<'d>,
    pub(super) sequence: u64,
    pub(super) id: u32,
    pub(super) group: u32,
    pub(super) time: u64,
    /// Its place in the table of messages, once anybody waits for it.
    pub(super) message: Handle<Message>,
}

impl Exchange<'_> {
    #[inline]
    pub(super) fn send(&mut self, draft: &Draft<'_>, to: &Target<'_>, io: &mut Io<'_>) {
        if draft.text.len() > self.limits.message_length {
            let outcome = Outcome::Full(Limit::MessageLength);
            return self.answer(draft.link, draft.tag, Kind::Send, outcome, io);
        }
        let group = matches!(to, Target::Group(_) | Target::GroupName(_));
        let number = match group {
            true => self.directory.find_group(to),
            false => self.directory.find_user(to),
        };
        let Some(number) = number else {
            let outcome = if group { Outcome::NoSuchGroup } else { Outcome::NoSuchUser };
            return self.answer(draft.link, draft.tag, Kind::Send, outcome, io);
        };
        self.counters.messages = self.counters.messages.wrapping_add(1);
        // A group message takes its id from the server's counter even where its sender gave one.
        let id = match draft.id {
            Some(id) if !group => id,
            _ => self.next_id(draft.from),
        };
        self.sequence = self.sequence.wrapping_add(1);
        let (sequence, time, to) = (self.sequence, io.time, if group { 0 } else { number });
        let group = if group { number } else { 0 };
        if io.store.history() {
            let Draft { from, priority, text, about, image, .. } = *draft;
            let posted = Posted { sequence, from, to, group, about, image, priority, time, text };
            // Without it a page of history lacks a line; what must not be lost is written as mail.
            let _ = io.store.write(Record::Posted(posted));
        }
        let post = Post { draft, sequence, id, group, time, message: Handle::NONE };
        if group != 0 {
            self.send_group(post, io);
        } else {
            self.send_user(post, to, io);
        }
    }

    fn next_id(&mut self, user: u32) -> u32 {
        let Some(user) = self.directory.user_mut(user) else { return 0 };
        let id = user.next_id;
        user.next_id = id.wrapping_add(1);
        id
    }

    fn send_user(&mut self, mut post: Post<'_>, to: u32, io: &mut Io<'_>) {
        let draft = post.draft;
        let Some(user) = self.directory.user(to) else { return };
        let (sessions, live, length) = (user.sessions, user.live, draft.text.len() as u32);
        // What waits in the store goes first.
        let waits = user.tail.waits();
        let (mut go, mut owed) = (0, 0);
        for (place, bit) in places(&sessions, live) {
            match self.sessions.at(place) {
                Some(session) if !waits && session.takes(length, true) => go |= bit,
                _ => owed |= bit,
            }
        }
        let taken = go & !RECEIPTS != 0;
        if !taken || (go & RECEIPTS) | owed != 0 {
            // Promised at once, or to nobody who is there: it must be in the store before that.
            let durable = !taken && (!draft.receipt || live == 0);
            let (flight, behind, last) = (go & RECEIPTS, waits, false);
            let stand = Stand { owed, flight, taken, durable, behind, last };
            match self.keep(&mut post, to, stand, io) {
                Ok(Kept::Here) => {}
                // Nobody can have it before what is in front of it: it is mail.
                Ok(Kept::InStore) => {
                    if draft.said {
                        self.echo(&post, to, io);
                    }
                    return self.answer_user(draft, to, Outcome::Stored, io);
                }
                Err(limit) => {
                    self.not_kept(to, limit, io);
                    if !taken {
                        return self.answer_user(draft, to, Outcome::Full(limit), io);
                    }
                    // A receipt cannot be waited for; the others have it all the same.
                    go &= !RECEIPTS;
                }
            }
        }
        for (place, _) in places(&sessions, go) {
            let Some((link, session)) = self.sessions.occupant(place) else { continue };
            session.charge(length, true);
            let (dialect, recipient) = (session.dialect, session.recipient());
            // Who wrote to itself is told once.
            self.deliver_direct(&post, to, link, dialect, recipient, false, io);
        }
        let outcome = match (taken, live, draft.receipt) {
            (true, _, _) => Outcome::Done,
            (false, 0, _) => Outcome::Stored,
            (false, _, false) => Outcome::Done,
            // The recipient's answer, or 3 s without one, decides.
            (false, _, true) => return,
        };
        if draft.said {
            self.echo(&post, to, io);
        }
        self.answer_user(draft, to, outcome, io);
    }

    /// Gives a direct message to one session; as an answer, whatever room that has, where it is
    /// shown to its sender.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    #[cfg_attr(target_os = "none", inline(never))]
    #[allow(clippy::too_many_arguments)]
    fn deliver_direct(
        &mut self,
        post: &Post<'_>,
        to: u32,
        link: Link,
        dialect: Dialect,
        recipient: Recipient,
        shown: bool,
        io: &mut Io<'_>,
    ) {
        let draft = post.draft;
        let private = self.private(draft.about, draft.from, to);
        let entered = self.entered_direct(private, recipient.user);
        let event = Event::Message(crate::event::Message {
            id: post.id,
            mark: 0,
            sequence: post.sequence,
            from: self.directory.user_party(draft.from),
            to: self.directory.user_party(to),
            group: None,
            private,
            image: draft.image,
            entered,
            text: draft.text,
            priority: draft.priority,
            offline: false,
            time: post.time,
        });
        let len = dialect.encode(&event, recipient, &self.limits, self.scratch);
        let frame = self.scratch.get(..len).unwrap_or(&[]);
        if shown {
            return io.out.reply(link, frame);
        }
        io.out.deliver(&[link], frame);
        self.counters.deliveries = self.counters.deliveries.wrapping_add(1);
    }

    /// Shows a direct message to its sender, if its dialect does so.
    #[inline(never)]
    fn echo(&mut self, post: &Post<'_>, to: u32, io: &mut Io<'_>) {
        let link = post.draft.link;
        let Some(session) = self.sessions.get(link) else { return };
        let (dialect, recipient) = (session.dialect, session.recipient());
        if dialect.bit() & CONVERSATIONS != 0 && to != post.draft.from {
            self.deliver_direct(post, to, link, dialect, recipient, true, io);
        }
    }

    fn answer_user(&mut self, draft: &Draft<'_>, to: u32, outcome: Outcome, io: &mut Io<'_>) {
        self.answer_about(draft.link, draft.tag, Kind::Send, outcome, About::user(to), io);
    }

    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn not_kept(&mut self, user: u32, limit: Limit, io: &mut Io<'_>) {
        self.counters.not_kept = self.counters.not_kept.wrapping_add(1);
        io.out.note(Note::NotKept { user, limit });
    }

    /// To every member; to the sender itself only where its dialect shows it what it said. Those
    /// who can take it now get the same bytes, encoded once for each dialect (and once more for
    /// those who have entered the conversation); for the others it is kept. One who has no room
    /// does not stop the rest.
    fn send_group(&mut self, mut post: Post<'_>, io: &mut Io<'_>) {
        let (draft, group) = (post.draft, post.group);
        let length = draft.text.len() as u32;
        let (mut fan, mut dialects, mut any_ended) = (0usize, 0u8, false);
        let mut outcome = Outcome::Done;
        let mut place = self.directory.first_member(group);
        while let Some(membership) = self.directory.membership_at(place) {
            let here = place;
            place = membership.group_next;
            let (user, entered) = (membership.user, membership.entered);
            let own = user == draft.from;
            let left = membership.left;
            let last = left == 1;
            let Some(member) = self.directory.user(user) else { continue };
            // Most have one session, nothing to answer for and room: nothing is to be kept.
            if left < 0
                && !own
                && member.live.is_power_of_two()
                && member.live & (RECEIPTS | CONVERSATIONS) == 0
                && !member.tail.waits()
                && let Some(place) = member.sessions.get(member.live.trailing_zeros() as usize)
                && let Some((link, session)) = self.sessions.occupant(*place)
                && session.takes(length, false)
                && let (Some(to), Some(form)) =
                    (self.fan.get_mut(fan), self.fan_dialects.get_mut(fan))
            {
                session.charge(length, false);
                (*to, *form) = (link, member.live);
                fan = fan.saturating_add(1);
                dialects |= member.live;
                continue;
            }
            let (sessions, live, waits) = (member.sessions, member.live, member.tail.waits());
            let live = if own { live & CONVERSATIONS } else { live };
            if own && live == 0 {
                continue;
            }
            let (mut go, mut owed) = (0, 0);
            for (place, bit) in places(&sessions, live) {
                match self.sessions.at(place) {
                    Some(session) if !waits && session.takes(length, false) => go |= bit,
                    _ => owed |= bit,
                }
            }
            let taken = go & !RECEIPTS != 0;
            let (mut kept, mut later) = (taken && !own, false);
            if !own && (!taken || (go & RECEIPTS) | owed != 0) {
                let (flight, durable, behind) = (go & RECEIPTS, !taken, waits);
                let stand = Stand { owed, flight, taken, durable, behind, last };
                match self.keep(&mut post, user, stand, io) {
                    Ok(Kept::Here) => kept = true,
                    Ok(Kept::InStore) => (kept, later, go) = (true, true, go & !RECEIPTS),
                    Err(limit) => {
                        self.not_kept(user, limit, io);
                        go &= !RECEIPTS;
                        if !taken {
                            outcome = Outcome::Full(limit);
                        }
                    }
                }
            }
            if left > 0 && kept {
                any_ended |= last;
                self.count_down(here, io);
                if last
                    && later
                    && let Some(membership) = self.directory.membership_mut(here)
                {
                    membership.left = ENDS_LATER;
                }
            }
            for (place, bit) in places(&sessions, go) {
                let Some((link, session)) = self.sessions.occupant(place) else { continue };
                session.charge(length, false);
                if let (Some(to), Some(dialect)) =
                    (self.fan.get_mut(fan), self.fan_dialects.get_mut(fan))
                {
                    let form = if entered && bit & CONVERSATIONS != 0 { ENTERED } else { bit };
                    (*to, *dialect) = (link, form);
                    fan = fan.saturating_add(1);
                    dialects |= form;
                }
            }
        }
        self.fan_out(&post, fan, dialects, io);
        if any_ended {
            self.end_memberships(group, io);
        }
        let about = About { number: group, group: true };
        self.answer_about(draft.link, draft.tag, Kind::Send, outcome, about, io);
    }

    /// Counts a message of a counted membership, delivered or stored.
    fn count_down(&mut self, place: u32, io: &mut Io<'_>) {
        let Some(membership) = self.directory.membership_mut(place) else { return };
        membership.left = membership.left.saturating_sub(1);
        let (user, group, left) = (membership.user, membership.group, membership.left);
        // A countdown that is not written costs a message more after a crash.
        let _ = io.store.write(match left {
            0 => Record::NoMember { user, group },
            left => Record::Member { user, group, left },
        });
    }

    /// Gives a message to the links gathered in `fan`, encoded once for each dialect.
    fn fan_out(&mut self, post: &Post<'_>, fan: usize, dialects: u8, io: &mut Io<'_>) {
        let draft = post.draft;
        self.counters.deliveries = self.counters.deliveries.wrapping_add(fan as u64);
        let mut message = crate::event::Message {
            id: post.id,
            mark: 0,
            sequence: post.sequence,
            from: self.directory.user_party(draft.from),
            to: Party::NONE,
            group: Some(self.directory.group_party(post.group)),
            private: None,
            image: draft.image,
            entered: false,
            text: draft.text,
            priority: draft.priority,
            offline: false,
            time: post.time,
        };
        let mut begin = 0usize;
        for (form, dialect) in forms(dialects) {
            message.entered = form == ENTERED;
            let event = Event::Message(message);
            let mut end = fan;
            if dialects != form {
                // This dialect's links to the front of what is left, in their order.
                end = begin;
                for i in begin..fan {
                    if self.fan_dialects.get(i) == Some(&form) {
                        swap(self.fan_dialects, i, end);
                        swap(self.fan, i, end);
                        end = end.saturating_add(1);
                    }
                }
            }
            let links = self.fan.get(begin..end).unwrap_or(&[]);
            let each = if dialect.traits().same_for_all { links.len() } else { 1 };
            for links in links.chunks(each.max(1)) {
                let one = links.first().and_then(|link| self.sessions.get(*link));
                let to = match one {
                    Some(session) if each == 1 => session.recipient(),
                    _ => Recipient { address: 0, user: 0, part: 0 },
                };
                let len = dialect.encode(&event, to, &self.limits, self.scratch);
                io.out.deliver(links, self.scratch.get(..len).unwrap_or(&[]));
            }
            begin = end;
        }
    }

    /// Ends the memberships whose last message has gone out, and says so behind it. Where it
    /// waits, its entry says so when it goes.
    fn end_memberships(&mut self, group: u32, io: &mut Io<'_>) {
        let mut place = self.directory.first_member(group);
        while let Some(membership) = self.directory.membership_at(place).copied() {
            place = membership.group_next;
            if !matches!(membership.left, 0 | ENDS_LATER) {
                continue;
            }
            self.exit_group(membership.user, group, io);
            self.directory.leave(membership.user, group);
            let Some(user) = self.directory.user(membership.user) else { continue };
            let sessions = user.sessions;
            let went = match membership.left {
                ENDS_LATER => 0,
                _ => user.live & !self.owed_last(membership.user, group),
            };
            for (place, _) in places(&sessions, went) {
                if let Some(link) = self.sessions.handle(place) {
                    self.say_ended(link, group, io);
                }
            }
        }
    }

    pub(super) fn say_ended(&mut self, link: Link, group: u32, io: &mut Io<'_>) {
        let Some(session) = self.sessions.get(link) else { return };
        let event = Event::Ended { group: self.directory.group_party(group) };
        let to = session.recipient();
        let len = session.dialect.encode(&event, to, &self.limits, self.scratch);
        if len != 0 {
            io.out.reply(link, self.scratch.get(..len).unwrap_or(&[]));
        }
    }
}

/// Swaps two places, if both are there: without a branch that panics.
#[inline]
fn swap<T: Copy>(slice: &mut [T], i: usize, j: usize) {
    if let (Some(a), Some(b)) = (slice.get(i).copied(), slice.get(j).copied())
        && let Some(place) = slice.get_mut(i)
    {
        *place = b;
        if let Some(place) = slice.get_mut(j) {
            *place = a;
        }
    }
}

/// The forms that a message has, and the dialect of each.
#[inline]
fn forms(mut mask: u8) -> impl Iterator<Item = (u8, Dialect)> {
    core::iter::from_fn(move || {
        let form = mask & mask.wrapping_neg();
        mask ^= form;
        Some((form, dialect_of(if form == ENTERED { CONVERSATIONS } else { form })?))
    })
}

/// The sessions of a mask, by place, with their dialects' bits.
#[inline]
pub(super) fn places(
    sessions: &[u32; Dialect::COUNT],
    mut mask: u8,
) -> impl Iterator<Item = (u32, u8)> {
    core::iter::from_fn(move || {
        let place = *sessions.get(mask.trailing_zeros() as usize)?;
        let bit = mask & mask.wrapping_neg();
        mask ^= bit;
        Some((place, bit))
    })
}

#[inline]
pub(super) fn dialect_of(bit: u8) -> Option<Dialect> {
    Dialect::ALL.get(bit.trailing_zeros() as usize).copied()
}
