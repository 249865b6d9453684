//! Conversations: private chats about a group, and who has entered which conversation.
//!
//! A group's conversation is entered by its members; that is noted in the membership. A private chat
//! is between the owner of a group and one other user, and outlasts both their sessions. Direct
//! messages are a conversation that is always entered. All sessions but those of a dialect with
//! conversations (`rooms`) are outside: they get messages, and neither enter nor leave.

use super::send::{CONVERSATIONS, Draft, places};
use super::sessions::About;
use super::{Exchange, Link};
use crate::dialect::{CONVERSES, Recipient};
use crate::event::{Event, Kind, Limit, Outcome};
use crate::host::{Io, Record};
use crate::request::{Chat, Tag, Target};
use crate::table::{Buckets, Empty, Slot, Table};

/// A private chat about a group, between its owner and another user.
#[derive(Clone, Copy, Debug)]
pub struct PrivateChat {
    group: u32,
    user: u32,
    /// The next one of the same bucket.
    chain: u32,
    owner_entered: bool,
    user_entered: bool,
}

impl Empty for PrivateChat {
    const EMPTY: Self =
        PrivateChat { group: 0, user: 0, chain: 0, owner_entered: false, user_entered: false };
}

impl PrivateChat {
    /// Whether one of its two has entered it.
    fn entered(&mut self, user: u32) -> &mut bool {
        if user == self.user { &mut self.user_entered } else { &mut self.owner_entered }
    }

    fn has_entered(&self, user: u32) -> bool {
        if user == self.user { self.user_entered } else { self.owner_entered }
    }
}

/// All private chats, found by group and user.
#[derive(Debug)]
pub(super) struct Chats<'a> {
    table: Table<'a, PrivateChat>,
    index: Buckets<'a>,
}

fn hash(group: u32, user: u32) -> u32 {
    group.wrapping_mul(0x9e37_79b9).wrapping_add(user)
}

impl<'a> Chats<'a> {
    pub(super) fn new(slots: &'a mut [Slot<PrivateChat>], index: &'a mut [u32]) -> Self {
        Chats { table: Table::new(slots), index: Buckets::new(index) }
    }

    pub(super) fn len(&self) -> u32 {
        self.table.len() as u32
    }

    pub(super) fn capacity(&self) -> u32 {
        self.table.capacity() as u32
    }

    fn place(&self, group: u32, user: u32) -> Option<u32> {
        let mut place = self.index.head(hash(group, user));
        while let Some(chat) = self.table.at(place) {
            if (chat.group, chat.user) == (group, user) {
                return Some(place);
            }
            place = chat.chain;
        }
        None
    }

    fn fits(&self) -> Result<(), Limit> {
        if self.table.vacant() == 0 { Err(Limit::Chats) } else { Ok(()) }
    }

    /// Adds one that is not there.
    fn add(&mut self, group: u32, user: u32) -> Result<u32, Limit> {
        let hash = hash(group, user);
        let chain = self.index.head(hash);
        let chat = PrivateChat { group, user, chain, ..PrivateChat::EMPTY };
        let handle = self.table.insert(chat).map_err(|_| Limit::Chats)?;
        self.index.set_head(hash, handle.place());
        Ok(handle.place())
    }

    fn remove(&mut self, place: u32) {
        let Some(handle) = self.table.handle(place) else { return };
        let Some(chat) = self.table.remove(handle) else { return };
        let hash = hash(chat.group, chat.user);
        let mut before = self.index.head(hash);
        if before == place {
            return self.index.set_head(hash, chat.chain);
        }
        while let Some(other) = self.table.at_mut(before) {
            if other.chain == place {
                other.chain = chat.chain;
                return;
            }
            before = other.chain;
        }
    }

    /// Removes all of which this is said.
    fn remove_all(&mut self, gone: impl Fn(&PrivateChat) -> bool) {
        for place in 1..=self.capacity() {
            if self.table.at(place).is_some_and(&gone) {
                self.remove(place);
            }
        }
    }
}

impl Exchange<'_> {
    /// The conversations that a user is in: of its groups, and its private chats.
    pub fn chats_of(&self, user: u32) -> impl Iterator<Item = Chat> {
        let groups = self.directory.groups_of(user).map(|(group, _)| Chat::Group(group));
        let private = self.chats.table.iter().filter_map(move |(_, chat)| {
            let PrivateChat { group, user: with, .. } = *chat;
            (user != 0 && (with == user || self.owner(group) == user))
                .then_some(Chat::Private { group, user: with })
        });
        groups.chain(private)
    }

    fn owner(&self, group: u32) -> u32 {
        self.directory.group(group).map_or(0, |group| group.owner)
    }

    /// The private chat that a direct message about a group belongs to.
    #[inline]
    pub(super) fn private(&self, about: u32, from: u32, to: u32) -> Option<Chat> {
        if about == 0 {
            return None;
        }
        let user = if self.owner(about) == from { to } else { from };
        Some(Chat::Private { group: about, user })
    }

    /// Whether a user has entered the conversation that a direct message belongs to.
    #[inline]
    pub(super) fn entered_direct(&self, private: Option<Chat>, user: u32) -> bool {
        match private {
            Some(Chat::Private { group, user: with }) => {
                let place = self.chats.place(group, with).unwrap_or(0);
                self.chats.table.at(place).is_some_and(|chat| chat.has_entered(user))
            }
            _ => true,
        }
    }

    /// Whether a user has entered a group's conversation, where its dialect has any.
    pub(super) fn entered_group(&self, user: u32, group: u32, mask: u8) -> bool {
        mask & CONVERSATIONS != 0
            && (self.directory.membership(user, group))
                .and_then(|place| self.directory.membership_at(place))
                .is_some_and(|membership| membership.entered)
    }

    /// A new private chat with the owner of a group, for a user who is then in it.
    pub(super) fn new_chat(
        &mut self,
        link: Link,
        tag: Tag,
        user: u32,
        group: u32,
        io: &mut Io<'_>,
    ) {
        if !CONVERSES {
            return;
        }
        let made = self.make_chat(link, user, group, io);
        let about = About { number: group, group: true };
        let outcome = made.err().unwrap_or(Outcome::Done);
        self.answer_about(link, tag, Kind::NewChat, outcome, about, io);
    }

    fn make_chat(
        &mut self,
        link: Link,
        user: u32,
        group: u32,
        io: &mut Io<'_>,
    ) -> Result<(), Outcome> {
        let owner = self.directory.group(group).ok_or(Outcome::NoSuchGroup)?.owner;
        if owner == user {
            return Err(Outcome::Own);
        }
        self.directory.user(owner).ok_or(Outcome::NoSuchUser)?;
        if self.chats.place(group, user).is_some() {
            return Err(Outcome::Exists);
        }
        self.chats.fits().map_err(Outcome::Full)?;
        let written = io.store.write(Record::Chat { group, user });
        written.map_err(|error| Outcome::Full(error.into()))?;
        let place = self.chats.add(group, user).map_err(Outcome::Full)?;
        let enters = self.converses(link);
        if let Some(chat) = self.chats.table.at_mut(place) {
            chat.user_entered = enters;
        }
        Ok(())
    }

    /// Whether a session enters conversations.
    pub(super) fn converses(&self, link: Link) -> bool {
        self.sessions.get(link).is_some_and(|session| session.dialect.traits().conversations)
    }

    /// The place of a private chat that this user is one of the two of.
    fn private_of(&self, group: u32, with: u32, user: u32) -> Result<u32, Outcome> {
        let place = self.chats.place(group, with).ok_or(Outcome::NoSuchChat)?;
        if user == with || user == self.owner(group) { Ok(place) } else { Err(Outcome::NoSuchChat) }
    }

    /// Where it is noted that a user has entered a conversation; nowhere for direct messages, and for
    /// a group that it is no member of.
    fn entered_mut(&mut self, user: u32, chat: Chat) -> Result<Option<&mut bool>, Outcome> {
        Ok(match chat {
            Chat::Group(group) => {
                self.directory.group(group).ok_or(Outcome::NoSuchGroup)?;
                let place = self.directory.membership(user, group).unwrap_or(0);
                self.directory.membership_mut(place).map(|membership| &mut membership.entered)
            }
            Chat::Private { group, user: with } => {
                let place = self.private_of(group, with, user)?;
                self.chats.table.at_mut(place).map(|chat| chat.entered(user))
            }
            Chat::Direct(with) => {
                self.directory.user(with).ok_or(Outcome::NoSuchUser)?;
                None
            }
        })
    }

    /// A user enters a conversation (`enters`), or leaves it, having seen all of it.
    pub(super) fn visit(
        &mut self,
        link: Link,
        tag: Tag,
        user: u32,
        chat: Chat,
        enters: bool,
        io: &mut Io<'_>,
    ) {
        if !CONVERSES {
            return;
        }
        let (kind, done) = if enters {
            (Kind::Enter, self.try_enter(link, user, chat, io))
        } else {
            (Kind::Exit, self.try_exit(link, user, chat, io))
        };
        self.answer_about(link, tag, kind, done.err().unwrap_or(Outcome::Done), about(chat), io);
    }

    fn try_enter(
        &mut self,
        link: Link,
        user: u32,
        chat: Chat,
        io: &mut Io<'_>,
    ) -> Result<(), Outcome> {
        let enters = self.converses(link);
        if let Chat::Group(group) = chat
            && self.directory.group(group).is_some()
            && self.directory.membership(user, group).is_none()
        {
            let joined = self.join(user, group, -1, io.store);
            joined.map_err(|error| super::sessions::outcome(Err(error)))?;
        }
        let entered = self.entered_mut(user, chat)?;
        // Another session of the user is not in it, and does not take out the one that is.
        let was = !enters || entered.is_none_or(|entered| core::mem::replace(entered, true));
        if !was {
            self.tell_presence(chat, user, true, io);
        }
        Ok(())
    }

    fn try_exit(
        &mut self,
        link: Link,
        user: u32,
        chat: Chat,
        io: &mut Io<'_>,
    ) -> Result<(), Outcome> {
        let converses = self.converses(link);
        let entered = self.entered_mut(user, chat)?;
        let was = converses && entered.is_some_and(core::mem::take);
        // Direct messages are always entered.
        if converses && !was && !matches!(chat, Chat::Direct(_)) {
            return Err(Outcome::NotEntered);
        }
        self.saw(user, Some(chat), io);
        if was {
            self.tell_presence(chat, user, false, io);
        }
        Ok(())
    }

    fn saw(&mut self, user: u32, chat: Option<Chat>, io: &mut Io<'_>) {
        // Not written: what was seen counts as new once more.
        let _ = io.store.write(Record::Seen { user, chat, sequence: self.sequence });
    }

    /// A membership is about to end, and with it the user's presence.
    pub(super) fn exit_group(&mut self, user: u32, group: u32, io: &mut Io<'_>) {
        if !CONVERSES {
            return;
        }
        let place = self.directory.membership(user, group).unwrap_or(0);
        let membership = self.directory.membership_mut(place);
        if membership.is_some_and(|membership| core::mem::take(&mut membership.entered)) {
            self.saw(user, Some(Chat::Group(group)), io);
            self.tell_presence(Chat::Group(group), user, false, io);
        }
    }

    /// The session of a user that enters conversations is over.
    pub(super) fn exit_all(&mut self, user: u32, io: &mut Io<'_>) {
        if !CONVERSES {
            return;
        }
        let mut place = self.directory.first_group(user);
        while let Some(membership) = self.directory.membership_mut(place) {
            place = membership.user_next;
            if core::mem::take(&mut membership.entered) {
                let chat = Chat::Group(membership.group);
                self.saw(user, Some(chat), io);
                self.tell_presence(chat, user, false, io);
            }
        }
        for place in 1..=self.chats.capacity() {
            let Some(&PrivateChat { group, user: with, .. }) = self.chats.table.at(place) else {
                continue;
            };
            if with != user && self.owner(group) != user {
                continue;
            }
            let chat = self.chats.table.at_mut(place);
            if chat.is_some_and(|chat| core::mem::take(chat.entered(user))) {
                let chat = Chat::Private { group, user: with };
                self.saw(user, Some(chat), io);
                self.tell_presence(chat, user, false, io);
            }
        }
        self.saw(user, None, io);
    }

    /// Tells those who have entered a conversation that a user entered or left it. One that has no
    /// room for it is not told: it is no message.
    fn tell_presence(&mut self, chat: Chat, user: u32, entered: bool, io: &mut Io<'_>) {
        if !CONVERSES {
            return;
        }
        let mut fan = 0usize;
        match chat {
            Chat::Group(group) => {
                let mut place = self.directory.first_member(group);
                while let Some(membership) = self.directory.membership_at(place) {
                    place = membership.group_next;
                    if membership.entered && membership.user != user {
                        fan = self.gather_presence(membership.user, fan);
                    }
                }
            }
            Chat::Private { group, user: with } => {
                let other = if user == with { self.owner(group) } else { with };
                if self.entered_direct(Some(chat), other) {
                    fan = self.gather_presence(other, fan);
                }
            }
            Chat::Direct(_) => {}
        }
        let links = self.fan.get(..fan).unwrap_or(&[]);
        let dialect = links.first().and_then(|link| self.sessions.get(*link)).map(|s| s.dialect);
        let Some(dialect) = dialect else { return };
        let event = Event::Presence { chat, user: self.directory.user_party(user), entered };
        let to = Recipient { address: 0, user: 0, part: 0 };
        let len = dialect.encode(&event, to, &self.limits, self.scratch);
        io.out.deliver(links, self.scratch.get(..len).unwrap_or(&[]));
    }

    fn gather_presence(&mut self, user: u32, mut fan: usize) -> usize {
        let Some(user) = self.directory.user(user) else { return fan };
        let (sessions, live) = (user.sessions, user.live & CONVERSATIONS);
        for (place, _) in places(&sessions, live) {
            let (Some(link), Some(session)) =
                (self.sessions.handle(place), self.sessions.at_mut(place))
            else {
                continue;
            };
            if session.takes(0, false)
                && let Some(to) = self.fan.get_mut(fan)
            {
                session.charge(0, false);
                *to = link;
                fan = fan.saturating_add(1);
            }
        }
        fan
    }

    /// A message to a conversation.
    pub(super) fn say(&mut self, draft: &Draft<'_>, chat: Chat, io: &mut Io<'_>) {
        if !CONVERSES {
            return;
        }
        match self.may_say(draft.link, draft.from, chat) {
            Ok((to, about)) => self.send(&Draft { about, said: true, ..*draft }, &to, io),
            Err(outcome) => self.answer(draft.link, draft.tag, Kind::Send, outcome, io),
        }
    }

    /// Who gets what a user says in a conversation, and about which group it is.
    fn may_say(
        &self,
        link: Link,
        user: u32,
        chat: Chat,
    ) -> Result<(Target<'static>, u32), Outcome> {
        let must_enter = self.converses(link);
        let (entered, to) = match chat {
            Chat::Group(group) => {
                self.directory.group(group).ok_or(Outcome::NoSuchGroup)?;
                let entered = self.entered_group(user, group, CONVERSATIONS);
                (entered, (Target::Group(group), 0))
            }
            Chat::Private { group, user: with } => {
                self.private_of(group, with, user)?;
                let other = if user == with { self.owner(group) } else { with };
                (self.entered_direct(Some(chat), user), (Target::User(other), group))
            }
            Chat::Direct(with) => (true, (Target::User(with), 0)),
        };
        if must_enter && !entered { Err(Outcome::NotEntered) } else { Ok(to) }
    }

    /// Whether a user may read what was said in a conversation.
    pub(super) fn may_read(&self, user: u32, chat: Chat) -> Result<(), Outcome> {
        match chat {
            Chat::Group(group) => {
                self.directory.group(group).map(|_| ()).ok_or(Outcome::NoSuchGroup)
            }
            Chat::Private { group, user: with } => self.private_of(group, with, user).map(|_| ()),
            Chat::Direct(with) => self.directory.user(with).map(|_| ()).ok_or(Outcome::NoSuchUser),
        }
    }

    /// Takes back a private chat that the store kept.
    pub(super) fn restore_chat(&mut self, group: u32, user: u32) -> Result<(), Limit> {
        if self.chats.place(group, user).is_none() {
            self.chats.add(group, user)?;
        }
        Ok(())
    }

    /// A group is about to be removed.
    pub(super) fn forget_chats_about(&mut self, group: u32) {
        self.chats.remove_all(|chat| chat.group == group);
    }

    /// A user is about to be removed.
    pub(super) fn forget_chats_of(&mut self, user: u32) {
        let directory = &self.directory;
        let owner = |group| directory.group(group).map_or(0, |group| group.owner);
        self.chats.remove_all(|chat| chat.user == user || owner(chat.group) == user);
    }
}

/// What an answer about a conversation names.
fn about(chat: Chat) -> About {
    match chat {
        Chat::Group(number) | Chat::Private { group: number, .. } => About { number, group: true },
        Chat::Direct(_) => About { number: 0, group: true },
    }
}
