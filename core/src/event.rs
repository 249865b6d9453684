//! What the exchange tells a client, in the words of no dialect.

use crate::host::{Count, Posted};
use crate::request::{Chat, Tag};

/// A user or a group as a dialect may name it: by number or by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Party<'a> {
    /// From 1; 0 is nobody.
    pub number: u32,
    /// Empty if the place is free, or for nobody.
    pub name: &'a [u8],
}

impl Party<'_> {
    /// Nobody.
    pub const NONE: Party<'static> = Party { number: 0, name: &[] };
}

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Limit {
    /// The table of sessions, or the dialect's own number of clients.
    Sessions,
    /// The table of users.
    Users,
    /// The table of groups, or the dialect's own number of groups.
    Groups,
    /// The table of memberships.
    Memberships,
    /// The table of messages.
    Messages,
    /// The table of mailbox entries.
    Entries,
    /// What one user's mailbox may hold.
    Mailbox,
    /// The length of a text.
    MessageLength,
    /// The table of open questions.
    Questions,
    /// The store has no room, or could not write.
    Store,
    /// New users a minute in one dialect.
    Registrations,
    /// The table of private chats.
    Chats,
}

/// How a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Outcome {
    /// Done. Of a message: the recipient, or its transport, has it; of a group message: every
    /// copy is delivered or kept.
    Done,
    /// Of a message: the recipient says that it has it.
    Received,
    /// The recipient did not take the message: it is kept as offline mail.
    Stored,
    /// Bytes that the dialect does not allow, or a number out of its range.
    Malformed,
    /// Not a name ([`crate::name::Name`]).
    BadName,
    /// A version of the dialect that this exchange does not speak.
    Version,
    /// Wrong password, or somebody else's name.
    NotAllowed,
    /// Nobody is logged in on the link.
    NotLoggedIn,
    /// Only members may send to that group.
    NotMember,
    /// Only those who have entered a conversation may send to it or leave it.
    NotEntered,
    /// No such private chat, or the user is not one of its two.
    NoSuchChat,
    /// No such user.
    NoSuchUser,
    /// No such group.
    NoSuchGroup,
    /// The user has a session in this dialect, or the address is bound.
    InUse,
    /// A group of that name, or that private chat, exists.
    Exists,
    /// The group is the user's own: there is nobody else to talk to about it.
    Own,
    /// This exchange does not keep what is asked for: a history.
    NotKept,
    /// No room.
    Full(Limit),
}

/// Which request an answer answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Kind {
    /// Bytes that are no request.
    Frame,
    /// [`crate::request::Request::Name`].
    Name,
    /// [`crate::request::Request::LogIn`], [`crate::request::Request::Password`].
    LogIn,
    /// [`crate::request::Request::LogOut`].
    LogOut,
    /// [`crate::request::Request::Send`].
    Send,
    /// [`crate::request::Request::CreateGroup`].
    CreateGroup,
    /// [`crate::request::Request::Join`].
    Join,
    /// [`crate::request::Request::Leave`].
    Leave,
    /// [`crate::request::Request::List`].
    List,
    /// [`crate::request::Request::ShutDown`].
    ShutDown,
    /// [`crate::request::Request::Ping`].
    Ping,
    /// [`crate::request::Request::NewChat`].
    NewChat,
    /// [`crate::request::Request::Enter`].
    Enter,
    /// [`crate::request::Request::Exit`].
    Exit,
    /// [`crate::request::Request::History`].
    History,
    /// [`crate::request::Request::Chats`].
    Chats,
    /// [`crate::request::Request::Image`].
    Image,
}

/// A message on its way to a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Message<'a> {
    /// The id that a receipt repeats.
    pub id: u32,
    /// Of mail: which one of its session's it is, from 1, for its transport or its client to
    /// confirm. 0: it is not mail, or goes to many.
    pub mark: u32,
    /// Which message of the exchange it is ([`crate::exchange::message_id`]).
    pub sequence: u64,
    /// The sender.
    pub from: Party<'a>,
    /// The recipient; nobody in a copy that goes to a whole group.
    pub to: Party<'a>,
    /// The group it was sent to; nobody ([`Party::NONE`]) if that is no more.
    pub group: Option<Party<'a>>,
    /// Of a direct message: the private chat that it belongs to.
    pub private: Option<Chat>,
    /// Whether it is an image, which the text only describes.
    pub image: bool,
    /// Whether the recipient has entered the conversation.
    pub entered: bool,
    /// The text.
    pub text: &'a [u8],
    /// 1 (highest) to 5.
    pub priority: u8,
    /// Whether it waited as offline mail.
    pub offline: bool,
    /// When the exchange took it, in Unix milliseconds.
    pub time: u64,
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Answer<'a> {
    /// From the request.
    pub tag: Tag,
    /// Which request.
    pub kind: Kind,
    /// How it went.
    pub outcome: Outcome,
    /// How much the limit is, if it was reached; 0 where the exchange does not know.
    pub size: u32,
    /// Who or what it was about: the recipient of a message, or its group.
    pub about: Party<'a>,
    /// Whether `about` is a group.
    pub group: bool,
    /// Who asked.
    pub to: Party<'a>,
}

/// Anything that a dialect puts into bytes for a client, but for lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event<'a> {
    /// A message is delivered.
    Message(Message<'a>),
    /// A request is answered.
    Answer(Answer<'a>),
    /// A counted membership has had its last message.
    Ended {
        /// The group.
        group: Party<'a>,
    },
    /// A user entered or left a conversation that the recipient has entered.
    Presence {
        /// The conversation.
        chat: Chat,
        /// Who.
        user: Party<'a>,
        /// Whether it is there now.
        entered: bool,
    },
    /// A part of a history.
    History(Page<'a, Said<'a>>),
    /// A part of the counts of a user's conversations.
    Chats(Page<'a, Count>),
    /// An image is there for the one who asked; the host has its bytes.
    Image {
        /// From the request.
        tag: Tag,
        /// The image's message.
        message: Posted<'a>,
    },
}

/// A part of an answer of many rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Page<'a, T> {
    /// Before the first row.
    Begin {
        /// From the request.
        tag: Tag,
        /// How many rows follow.
        total: u32,
    },
    /// A row.
    Row {
        /// From the request.
        tag: Tag,
        /// From 0.
        index: u32,
        /// The row.
        row: &'a T,
    },
    /// Behind the last row.
    End {
        /// From the request.
        tag: Tag,
        /// How many rows there were.
        total: u32,
    },
}

/// A message of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Said<'a> {
    /// The conversation, as the one who asked names it.
    pub chat: Chat,
    /// The sender; nobody if it is gone.
    pub from: Party<'a>,
    /// The message.
    pub message: Posted<'a>,
}
