//! The bytes of requests and events: those that postcard makes of the types in [`wire`](super::wire).
//!
//! Written out, and not by way of serde: that was 2.5 KB more in the image of a microcontroller. Tests
//! compare every type with what postcard makes of it.

use super::wire::{
    Chat, Event, How, Limit, List, Message, Party, Private, Refusal, Request, To, Who,
};
use crate::{event, request};

/// Takes values from the front of bytes. `None` is what no value begins with.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    #[inline]
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// An integer of so many bits.
    fn varint(&mut self, bits: u32) -> Option<u64> {
        let (mut value, mut shift) = (0u64, 0u32);
        while shift < bits {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).wrapping_shl(shift);
            if byte < 0x80 {
                // Of the last byte there are fewer bits.
                let left = bits.wrapping_sub(shift);
                return (left >= 7 || u32::from(byte).wrapping_shr(left) == 0).then_some(value);
            }
            shift = shift.wrapping_add(7);
        }
        None
    }

    #[inline]
    pub(super) fn u32(&mut self) -> Option<u32> {
        // Most are short.
        match self.0.split_first() {
            Some((byte, rest)) if *byte < 0x80 => {
                self.0 = rest;
                Some((*byte).into())
            }
            _ => self.varint(32).map(|value| value as u32),
        }
    }

    #[inline]
    pub(super) fn u16(&mut self) -> Option<u16> {
        self.varint(16).map(|value| value as u16)
    }

    #[inline]
    fn u64(&mut self) -> Option<u64> {
        self.varint(64)
    }

    #[inline]
    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    #[inline]
    fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.flag()? {
            false => Some(None),
            true => read(self).map(Some),
        }
    }

    #[inline]
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.varint(usize::BITS)?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn who(&mut self) -> Option<Who<'a>> {
        match self.u32()? {
            0 => Some(Who::Number(self.u32()?)),
            1 => Some(Who::Name(self.bytes()?)),
            _ => None,
        }
    }

    #[inline]
    fn to(&mut self) -> Option<To<'a>> {
        match (self.u32()?, self.who()?) {
            (0, user) => Some(To::User(user)),
            (1, group) => Some(To::Group(group)),
            _ => None,
        }
    }

    #[inline]
    fn list(&mut self) -> Option<List<'a>> {
        Some(match self.u32()? {
            0 => List::Online,
            1 => List::Groups,
            2 => List::MyGroups,
            3 => List::Members(self.who()?),
            4 => List::Users,
            _ => return None,
        })
    }

    #[inline]
    fn private(&mut self) -> Option<Private> {
        Some(Private { group: self.u32()?, user: self.u32()? })
    }

    fn chat(&mut self) -> Option<Chat> {
        Some(match (self.u32()?, self.u32()?) {
            (0, group) => Chat::Group(group),
            (1, user) => Chat::User(user),
            (2, group) => Chat::Private(Private { group, user: self.u32()? }),
            _ => return None,
        })
    }

    #[inline]
    fn party(&mut self) -> Option<Party<'a>> {
        Some(Party { number: self.u32()?, name: self.bytes()? })
    }

    #[inline]
    pub(super) fn request(&mut self) -> Option<Request<'a>> {
        Some(match self.u32()? {
            0 => {
                let (version, user) = (self.u16()?, self.who()?);
                Request::Hello { version, user, password: self.bytes()? }
            }
            1 => Request::LogOut,
            2 => {
                let (to, priority, receipt) = (self.to()?, self.byte()?, self.flag()?);
                Request::Send { to, priority, receipt, text: self.bytes()? }
            }
            3 => Request::Ack { mark: self.u32()? },
            4 => Request::CreateGroup { name: self.bytes()? },
            5 => Request::Join { group: self.who()?, count: self.option(Self::u32)? },
            6 => Request::Leave { group: self.who()? },
            7 => Request::List(self.list()?),
            8 => Request::ShutDown,
            9 => Request::Ping,
            10 => Request::NewChat { group: self.u32()? },
            11 => Request::Say { chat: self.chat()?, text: self.bytes()? },
            12 => Request::Seen { chat: self.chat()? },
            13 => {
                let (chat, before) = (self.chat()?, self.option(Self::u64)?);
                Request::History { chat, before, limit: self.u32()? }
            }
            14 => Request::Chats,
            _ => return None,
        })
    }

    fn how(&mut self) -> Option<How> {
        [How::Done, How::Received, How::Stored].get(self.u32()? as usize).copied()
    }

    fn limit(&mut self) -> Option<Limit> {
        Limit::ALL.get(self.u32()? as usize).copied()
    }

    fn refusal(&mut self) -> Option<Refusal> {
        Some(match self.u32()? {
            0 => Refusal::Malformed,
            1 => Refusal::Version { speaks: self.u16()? },
            2 => Refusal::NotLoggedIn,
            3 => Refusal::BadName,
            4 => Refusal::NotAllowed,
            5 => Refusal::NotMember,
            6 => Refusal::NoSuchUser,
            7 => Refusal::NoSuchGroup,
            8 => Refusal::NoSuchChat,
            9 => Refusal::InUse,
            10 => Refusal::Exists,
            11 => Refusal::Own,
            12 => Refusal::Full { limit: self.limit()?, size: self.u32()? },
            13 => Refusal::NotKept,
            _ => return None,
        })
    }

    #[inline]
    fn message(&mut self) -> Option<Message<'a>> {
        Some(Message {
            number: self.u64()?,
            id: self.u32()?,
            mark: self.u32()?,
            time: self.u64()?,
            priority: self.byte()?,
            offline: self.flag()?,
            from: self.party()?,
            group: self.option(Self::party)?,
            private: self.option(Self::private)?,
            image: self.flag()?,
            text: self.bytes()?,
        })
    }

    #[inline]
    pub(super) fn event(&mut self) -> Option<Event<'a>> {
        Some(match self.u32()? {
            0 => Event::Welcome {
                id: self.u32()?,
                version: self.u16()?,
                user: self.party()?,
                message_length: self.u32()?,
            },
            1 => Event::Done { id: self.u32()?, how: self.how()?, number: self.u32()? },
            2 => Event::Refused { id: self.u32()?, why: self.refusal()? },
            3 => Event::Message(self.message()?),
            4 => Event::Ended { group: self.party()? },
            5 => Event::Row {
                id: self.u32()?,
                party: self.party()?,
                active: self.flag()?,
                left: self.option(Self::u32)?,
            },
            6 => Event::Said {
                id: self.u32()?,
                number: self.u64()?,
                time: self.u64()?,
                priority: self.byte()?,
                from: self.party()?,
                image: self.flag()?,
                text: self.bytes()?,
            },
            7 => Event::Count {
                id: self.u32()?,
                chat: self.chat()?,
                all: self.u64()?,
                new: self.u64()?,
            },
            _ => return None,
        })
    }
}

/// Puts values behind each other, and knows how long all of them are.
pub(super) struct Writer<'b> {
    out: &'b mut [u8],
    len: usize,
}

impl<'b> Writer<'b> {
    pub(super) fn new(out: &'b mut [u8]) -> Self {
        Writer { out, len: 0 }
    }

    /// How long it is; `None` if it was not all written.
    #[inline]
    pub(super) fn len(&self) -> Option<usize> {
        (self.len <= self.out.len()).then_some(self.len)
    }

    #[cfg_attr(not(target_os = "none"), inline)]
    #[cfg_attr(target_os = "none", inline(never))]
    fn byte(&mut self, byte: u8) {
        if let Some(place) = self.out.get_mut(self.len) {
            *place = byte;
        }
        self.len = self.len.saturating_add(1);
    }

    #[inline]
    pub(super) fn u32(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value = value.wrapping_shr(7);
        }
        self.byte(value as u8);
    }

    fn u64(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value = value.wrapping_shr(7);
        }
        self.byte(value as u8);
    }

    #[inline]
    fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.byte(value.is_some().into());
        if let Some(value) = value {
            write(self, value);
        }
    }

    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        self.u32(bytes.len() as u32);
        let end = self.len.saturating_add(bytes.len());
        if let Some(place) = self.out.get_mut(self.len..end) {
            crate::copy(place, bytes);
        }
        self.len = end;
    }

    fn who(&mut self, who: Who<'_>) {
        match who {
            Who::Number(number) => {
                self.byte(0);
                self.u32(number);
            }
            Who::Name(name) => {
                self.byte(1);
                self.bytes(name);
            }
        }
    }

    fn private(&mut self, Private { group, user }: Private) {
        self.u32(group);
        self.u32(user);
    }

    fn chat(&mut self, chat: Chat) {
        match chat {
            Chat::Group(group) => {
                self.byte(0);
                self.u32(group);
            }
            Chat::User(user) => {
                self.byte(1);
                self.u32(user);
            }
            Chat::Private(private) => {
                self.byte(2);
                self.private(private);
            }
        }
    }

    fn party(&mut self, Party { number, name }: Party<'_>) {
        self.named(&event::Party { number, name });
    }

    fn named(&mut self, party: &event::Party<'_>) {
        self.u32(party.number);
        self.bytes(party.name);
    }

    /// A variant whose first field is a number.
    #[inline]
    fn variant(&mut self, variant: u8, first: u32) {
        self.byte(variant);
        self.u32(first);
    }

    #[inline]
    pub(super) fn request(&mut self, request: &Request<'_>) {
        match *request {
            Request::Hello { version, user, password } => {
                self.variant(0, version.into());
                self.who(user);
                self.bytes(password);
            }
            Request::LogOut => self.byte(1),
            Request::Send { to, priority, receipt, text } => {
                let (to, who) = match to {
                    To::User(user) => (0, user),
                    To::Group(group) => (1, group),
                };
                self.variant(2, to);
                self.who(who);
                self.byte(priority);
                self.byte(receipt.into());
                self.bytes(text);
            }
            Request::Ack { mark } => self.variant(3, mark),
            Request::CreateGroup { name } => {
                self.byte(4);
                self.bytes(name);
            }
            Request::Join { group, count } => {
                self.byte(5);
                self.who(group);
                self.option(count, Self::u32);
            }
            Request::Leave { group } => {
                self.byte(6);
                self.who(group);
            }
            Request::List(list) => {
                let (list, group) = match list {
                    List::Online => (0, None),
                    List::Groups => (1, None),
                    List::MyGroups => (2, None),
                    List::Members(group) => (3, Some(group)),
                    List::Users => (4, None),
                };
                self.variant(7, list);
                if let Some(group) = group {
                    self.who(group);
                }
            }
            Request::ShutDown => self.byte(8),
            Request::Ping => self.byte(9),
            Request::NewChat { group } => self.variant(10, group),
            Request::Say { chat, text } => {
                self.byte(11);
                self.chat(chat);
                self.bytes(text);
            }
            Request::Seen { chat } => {
                self.byte(12);
                self.chat(chat);
            }
            Request::History { chat, before, limit } => {
                self.byte(13);
                self.chat(chat);
                self.option(before, Self::u64);
                self.u32(limit);
            }
            Request::Chats => self.byte(14),
        }
    }

    #[inline]
    fn refusal(&mut self, refusal: Refusal) {
        self.byte(match refusal {
            Refusal::Malformed => 0,
            Refusal::Version { speaks } => return self.variant(1, speaks.into()),
            Refusal::NotLoggedIn => 2,
            Refusal::BadName => 3,
            Refusal::NotAllowed => 4,
            Refusal::NotMember => 5,
            Refusal::NoSuchUser => 6,
            Refusal::NoSuchGroup => 7,
            Refusal::NoSuchChat => 8,
            Refusal::InUse => 9,
            Refusal::Exists => 10,
            Refusal::Own => 11,
            Refusal::Full { limit, size } => {
                // They stand in the order of their numbers.
                self.variant(12, limit as u32);
                return self.u32(size);
            }
            Refusal::NotKept => 13,
        });
    }

    /// A message, from where the exchange has it: a text's place and length that were just written
    /// apart, and are copied as one, cost more than all of this.
    pub(super) fn message(&mut self, number: u64, message: &event::Message<'_>) {
        self.byte(3);
        self.u64(number);
        self.u32(message.id);
        self.u32(message.mark);
        self.u64(message.time);
        self.byte(message.priority);
        self.byte(message.offline.into());
        self.named(&message.from);
        self.byte(message.group.is_some().into());
        if let Some(group) = &message.group {
            self.named(group);
        }
        match message.private {
            Some(request::Chat::Private { group, user }) => {
                self.byte(1);
                self.private(Private { group, user });
            }
            _ => self.byte(0),
        }
        self.byte(message.image.into());
        self.bytes(message.text);
    }

    #[inline]
    pub(super) fn event(&mut self, event: &Event<'_>) {
        match *event {
            Event::Welcome { id, version, user, message_length } => {
                self.variant(0, id);
                self.u32(version.into());
                self.party(user);
                self.u32(message_length);
            }
            Event::Done { id, how, number } => {
                self.variant(1, id);
                self.byte(how as u8);
                self.u32(number);
            }
            Event::Refused { id, why } => {
                self.variant(2, id);
                self.refusal(why);
            }
            Event::Message(ref message) => self.message(message.number, &(*message).into()),
            Event::Ended { group } => {
                self.byte(4);
                self.party(group);
            }
            Event::Row { id, party, active, left } => {
                self.variant(5, id);
                self.party(party);
                self.byte(active.into());
                self.option(left, Self::u32);
            }
            Event::Said { id, number, time, priority, from, image, text } => {
                self.variant(6, id);
                self.u64(number);
                self.u64(time);
                self.byte(priority);
                self.party(from);
                self.byte(image.into());
                self.bytes(text);
            }
            Event::Count { id, chat, all, new } => {
                self.variant(7, id);
                self.chat(chat);
                self.u64(all);
                self.u64(new);
            }
        }
    }
}
