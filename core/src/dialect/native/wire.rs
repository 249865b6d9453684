//! What goes over the wire: one enum of requests, one of events.
//!
//! Their order, and that of their fields, is the format: new variants go to the end, and nothing
//! else changes without a step of [`VERSION`](super::VERSION). `codec` reads and writes it. With feature
//! `serde` the types are serde's too, and postcard makes the same bytes of them: tests compare both.

#[cfg(any(test, feature = "serde"))]
use serde::{Deserialize, Serialize, Serializer};

use crate::event;

/// A user or a group. A name is UTF-8 ([`crate::name::Name`]); bytes that are none name nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(any(test, feature = "serde"), derive(Serialize, Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Who<'a> {
    /// By number, from 1.
    Number(u32),
    /// By name.
    Name(#[cfg_attr(any(test, feature = "serde"), serde(serialize_with = "bytes"))] &'a [u8]),
}

/// Whom a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(any(test, feature = "serde"), derive(Serialize, Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum To<'a> {
    /// A user.
    User(#[cfg_attr(any(test, feature = "serde"), serde(borrow))] Who<'a>),
    /// All members of a group but the sender.
    Group(#[cfg_attr(any(test, feature = "serde"), serde(borrow))] Who<'a>),
}

/// A list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(any(test, feature = "serde"), derive(Serialize, Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum List<'a> {
    /// Users with a session in any dialect.
    Online,
    /// All groups.
    Groups,
    /// The groups of the one who asks.
    MyGroups,
    /// The members of a group.
    Members(#[cfg_attr(any(test, feature = "serde"), serde(borrow))] Who<'a>),
    /// All users.
    Users,
}

/// What a client asks for. Behind a request's id, which its answers repeat. A request of id 0 is
/// answered only if it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(any(test, feature = "serde"), derive(Serialize, Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Request<'a> {
    /// 0: begin a session, or begin it anew on a link that has one: what that one did not
    /// acknowledge is sent again. Answered with [`Event::Welcome`], also where the id is 0.
    Hello {
        /// [`VERSION`](super::VERSION). Stays the first field in every version.
        version: u16,
        /// A name that nobody has makes a user of that name where registration is open.
        #[cfg_attr(any(test, feature = "serde"), serde(borrow))]
        user: Who<'a>,
        /// Empty for none. A new user has it from then on.
        #[cfg_attr(any(test, feature = "serde"), serde(serialize_with = "bytes"))]
        password: &'a [u8],
    },
    /// 1: end the session. Answered, and then the link is closed.
    LogOut,
    /// 2: send a message.
    Send {
        /// For whom.
        #[cfg_attr(any(test, feature = "serde"), serde(borrow))]
        to: To<'a>,
        /// 1 (highest) to 5; anything else counts as 3.
        priority: u8,
        /// Whether the answer waits until the recipient has it, or it is clear that it is kept for
        /// later, rather than until the exchange has it. Of a group message it never waits.
        receipt: bool,
        /// The text, of any bytes.
        #[cfg_attr(any(test, feature = "serde"), serde(serialize_with = "bytes"))]
        text: &'a [u8],
    },
    /// 3: the client has all mail up to this mark ([`Message::mark`]). Never answered. Mail that is
    /// not acknowledged comes again with the next session.
    Ack {
        /// As the message had it.
        mark: u32,
    },
    /// 4: make a group. Answered with its number.
    CreateGroup {
        /// Its name.
        #[cfg_attr(any(test, feature = "serde"), serde(serialize_with = "bytes"))]
        name: &'a [u8],
    },
    /// 5: become a member of a group, or renew a membership.
    Join {
        /// The group.
        #[cfg_attr(any(test, feature = "serde"), serde(borrow))]
        group: Who<'a>,
        /// For how many messages, 1 to 2,147,483,647; none for ever.
        count: Option<u32>,
    },
    /// 6: end a membership.
    Leave {
        /// The group.
        #[cfg_attr(any(test, feature = "serde"), serde(borrow))]
        group: Who<'a>,
    },
    /// 7: list something. Answered with an [`Event::Row`] for each, then [`Event::Done`].
    List(#[cfg_attr(any(test, feature = "serde"), serde(borrow))] List<'a>),
    /// 8: end the exchange, where its host allows it.
    ShutDown,
    /// 9: nothing; its answer comes behind all that was given for the link before.
    Ping,
    /// 10: a new private chat with the owner of a group, about it.
    NewChat {
        /// Group number.
        group: u32,
    },
    /// 11: a message to a conversation, of priority 3. Of a private chat the other of its two gets
    /// it.
    Say {
        /// The conversation.
        chat: Chat,
        /// The text, of any bytes.
        #[cfg_attr(any(test, feature = "serde"), serde(serialize_with = "bytes"))]
        text: &'a [u8],
    },
    /// 12: all of a conversation has been seen: what comes behind it counts as new.
    Seen {
        /// The conversation.
        chat: Chat,
    },
    /// 13: what was said in a conversation, as far as the exchange keeps it. Answered with an
    /// [`Event::Said`] for each message, oldest first, then [`Event::Done`] with their number.
    History {
        /// The conversation.
        chat: Chat,
        /// Only messages before the one of this number; none: up to now.
        before: Option<u64>,
        /// At most so many, of the newest.
        limit: u32,
    },
    /// 14: how much was said in each conversation of the one who asks. Answered with an
    /// [`Event::Count`] for each, then [`Event::Done`] with their number.
    Chats,
}

/// A conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(any(test, feature = "serde"), derive(Serialize, Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Chat {
    /// What is said in the group of that number.
    Group(u32),
    /// The direct messages with the user of that number.
    User(u32),
    /// A private chat about a group.
    Private(Private),
}

/// A private chat about a group, between its owner and another user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(any(test, feature = "serde"), derive(Serialize, Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Private {
    /// Group number.
    pub group: u32,
    /// Number of the user who is not the owner.
    pub user: u32,
}

/// A user or a group, by number and name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(any(test, feature = "serde"), derive(Serialize, Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Party<'a> {
    /// From 1; 0 is nobody.
    pub number: u32,
    /// UTF-8; empty for nobody, or where it is gone.
    #[cfg_attr(any(test, feature = "serde"), serde(serialize_with = "bytes"))]
    pub name: &'a [u8],
}

impl<'a> From<event::Party<'a>> for Party<'a> {
    #[inline]
    fn from(party: event::Party<'a>) -> Self {
        Party { number: party.number, name: party.name }
    }
}

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(any(test, feature = "serde"), derive(Serialize, Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Message<'a> {
    /// Its number among all messages of the exchange, from 1: the same whenever it comes.
    pub number: u64,
    /// The sender's own number for it.
    pub id: u32,
    /// Of mail that is to be acknowledged ([`Request::Ack`]): from 1, and rising by 1 in a session.
    /// 0: not to be.
    pub mark: u32,
    /// When the exchange took it, in Unix milliseconds.
    pub time: u64,
    /// 1 (highest) to 5.
    pub priority: u8,
    /// Whether the sender was told that it is kept for later.
    pub offline: bool,
    /// The sender.
    #[cfg_attr(any(test, feature = "serde"), serde(borrow))]
    pub from: Party<'a>,
    /// The group it was sent to; none for a direct message. Without number and name: it is no more.
    #[cfg_attr(any(test, feature = "serde"), serde(borrow))]
    pub group: Option<Party<'a>>,
    /// Of a direct message: the private chat that it belongs to.
    pub private: Option<Private>,
    /// Whether it is an image, of which the text has name, type and size.
    pub image: bool,
    /// The text.
    #[cfg_attr(any(test, feature = "serde"), serde(serialize_with = "bytes"))]
    pub text: &'a [u8],
}

impl<'a> From<Message<'a>> for event::Message<'a> {
    /// With its number for its sequence.
    fn from(message: Message<'a>) -> Self {
        let party = |party: Party<'a>| event::Party { number: party.number, name: party.name };
        let private = |Private { group, user }| crate::request::Chat::Private { group, user };
        event::Message {
            id: message.id,
            mark: message.mark,
            sequence: message.number,
            from: party(message.from),
            to: event::Party::NONE,
            group: message.group.map(party),
            private: message.private.map(private),
            image: message.image,
            entered: false,
            text: message.text,
            priority: message.priority,
            offline: message.offline,
            time: message.time,
        }
    }
}

/// How a request was obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(any(test, feature = "serde"), derive(Serialize, Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum How {
    /// Done. Of a message to a user: the exchange, or with `receipt` the recipient, has it; of a
    /// group message: each copy is delivered or kept.
    Done,
    /// Of a message: the recipient says that it has it.
    Received,
    /// Of a message: the recipient is not there; it is kept for later.
    Stored,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(any(test, feature = "serde"), derive(Serialize, Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Refusal {
    /// Bytes that are no request of this version, or a number out of its range.
    Malformed,
    /// The exchange speaks another version.
    Version {
        /// Which.
        speaks: u16,
    },
    /// Nobody is logged in on this link.
    NotLoggedIn,
    /// Not a name.
    BadName,
    /// Not allowed, or a wrong password.
    NotAllowed,
    /// Only members may do that.
    NotMember,
    /// No such user.
    NoSuchUser,
    /// No such group.
    NoSuchGroup,
    /// No such private chat, or one of others.
    NoSuchChat,
    /// The user has another session in this dialect.
    InUse,
    /// A group of that name, or that private chat, exists.
    Exists,
    /// It is one's own group: there is nobody else to talk to about it.
    Own,
    /// No room. Of a group message: a copy was not kept; the other members have theirs.
    Full {
        /// Which limit.
        limit: Limit,
        /// How much it is; 0 where the exchange does not know.
        size: u32,
    },
    /// The exchange does not keep what is asked for: a history.
    NotKept,
}

/// A limit of the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(any(test, feature = "serde"), derive(Serialize, Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Limit {
    /// Sessions at once.
    Sessions,
    /// Users.
    Users,
    /// Groups.
    Groups,
    /// Memberships of all users together.
    Memberships,
    /// Messages in memory that wait for anybody.
    Messages,
    /// Copies of waiting messages, one for each user.
    Copies,
    /// Messages that wait for one user.
    Mailbox,
    /// Bytes of a text.
    MessageLength,
    /// Questions to the host at once, as for a password.
    Questions,
    /// The store.
    Store,
    /// New users a minute in one dialect.
    Registrations,
    /// Private chats.
    Chats,
}

impl Limit {
    /// Every limit, by its number.
    pub(super) const ALL: [Limit; 12] = [
        Limit::Sessions,
        Limit::Users,
        Limit::Groups,
        Limit::Memberships,
        Limit::Messages,
        Limit::Copies,
        Limit::Mailbox,
        Limit::MessageLength,
        Limit::Questions,
        Limit::Store,
        Limit::Registrations,
        Limit::Chats,
    ];
}

impl From<event::Limit> for Limit {
    fn from(limit: event::Limit) -> Self {
        match limit {
            event::Limit::Sessions => Limit::Sessions,
            event::Limit::Users => Limit::Users,
            event::Limit::Groups => Limit::Groups,
            event::Limit::Memberships => Limit::Memberships,
            event::Limit::Messages => Limit::Messages,
            event::Limit::Entries => Limit::Copies,
            event::Limit::Mailbox => Limit::Mailbox,
            event::Limit::MessageLength => Limit::MessageLength,
            event::Limit::Questions => Limit::Questions,
            event::Limit::Store => Limit::Store,
            event::Limit::Registrations => Limit::Registrations,
            event::Limit::Chats => Limit::Chats,
        }
    }
}

/// What the exchange tells a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(any(test, feature = "serde"), derive(Serialize, Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event<'a> {
    /// 0: the session has begun.
    Welcome {
        /// Of the hello.
        id: u32,
        /// [`VERSION`](super::VERSION).
        version: u16,
        /// Who one is.
        #[cfg_attr(any(test, feature = "serde"), serde(borrow))]
        user: Party<'a>,
        /// Bytes of the longest text that this exchange takes.
        message_length: u32,
    },
    /// 1: a request was obeyed, or a list has ended.
    Done {
        /// Of the request.
        id: u32,
        /// How.
        how: How,
        /// Number of the user or group that it was about, where it was about one.
        number: u32,
    },
    /// 2: a request was refused.
    Refused {
        /// Of the request; 0 if the bytes did not tell.
        id: u32,
        /// Why.
        why: Refusal,
    },
    /// 3: a message.
    Message(#[cfg_attr(any(test, feature = "serde"), serde(borrow))] Message<'a>),
    /// 4: a counted membership has had its last message.
    Ended {
        /// The group.
        #[cfg_attr(any(test, feature = "serde"), serde(borrow))]
        group: Party<'a>,
    },
    /// 5: a row of a list.
    Row {
        /// Of the request.
        id: u32,
        /// The user or group.
        #[cfg_attr(any(test, feature = "serde"), serde(borrow))]
        party: Party<'a>,
        /// Of a user: whether it has a session in any dialect. Of a group: whether the one who asks
        /// is a member.
        active: bool,
        /// Of a counted membership in a list of members, or of the groups of the one who asks: how
        /// many messages are still to come.
        left: Option<u32>,
    },
    /// 6: a message of a history.
    Said {
        /// Of the request.
        id: u32,
        /// As [`Message::number`].
        number: u64,
        /// As [`Message::time`].
        time: u64,
        /// As [`Message::priority`].
        priority: u8,
        /// The sender; nobody if it is gone.
        #[cfg_attr(any(test, feature = "serde"), serde(borrow))]
        from: Party<'a>,
        /// As [`Message::image`].
        image: bool,
        /// The text.
        #[cfg_attr(any(test, feature = "serde"), serde(serialize_with = "bytes"))]
        text: &'a [u8],
    },
    /// 7: how much was said in a conversation.
    Count {
        /// Of the request.
        id: u32,
        /// The conversation.
        chat: Chat,
        /// Messages in it.
        all: u64,
        /// Those from others that came since it was seen ([`Request::Seen`]).
        new: u64,
    },
}

/// serde writes a slice element by element; this is the same bytes at once.
#[cfg(any(test, feature = "serde"))]
fn bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}
