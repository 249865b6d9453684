//! What a client asks for, in the words of no dialect. Requests borrow from the bytes they came in.

/// What a dialect needs to phrase the answer to a request: handed back with it, unread in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Tag(pub u32);

/// A user or a group, by number (from 1) or by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Target<'a> {
    /// The user of that number.
    User(u32),
    /// The user of that name.
    UserName(&'a [u8]),
    /// The group of that number.
    Group(u32),
    /// The group of that name.
    GroupName(&'a [u8]),
}

/// A conversation, as one of its users names it. In `rooms` it is a pair (`anons_id`, `chat_id`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Chat {
    /// All that is said in the group of that number: (group, 0).
    Group(u32),
    /// Between the owner of a group and this user, about the group: (group, user).
    Private {
        /// Group number.
        group: u32,
        /// User number; not the owner.
        user: u32,
    },
    /// Direct messages with the user of that number: (0, user).
    Direct(u32),
}

/// Whom the bytes say they are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Sender<'a> {
    /// Whoever is bound to the link, who must be this user.
    Link(Target<'a>),
    /// As [`Sender::Link`], and the same as the frame before said.
    Same(Target<'a>),
    /// The session of the user of that number in the link's dialect.
    User(u32),
    /// Whoever is bound to the link.
    Own,
    /// A new session, to be answered at this address (a SysV queue key).
    New(i64),
}

/// What a list shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum List {
    /// Users with a session in any dialect.
    Online,
    /// All groups.
    Groups,
    /// The groups of the one who asks.
    MyGroups,
    /// The members of a group.
    Members(u32),
    /// All users.
    Users,
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Request<'a> {
    /// Bind the session to a user, creating it where registration is open.
    LogIn {
        /// By name; or by number where the name does not fit the dialect.
        user: Target<'a>,
        /// Empty where none was given.
        password: &'a [u8],
    },
    /// Say who wants to log in; the password comes in a request of its own.
    Name {
        /// By name.
        user: &'a [u8],
    },
    /// The password of the one who said its name.
    Password {
        /// As it came.
        password: &'a [u8],
    },
    /// End the session.
    LogOut,
    /// A message to a user or a group.
    Send {
        /// The recipient.
        to: Target<'a>,
        /// The text, of any bytes.
        text: &'a [u8],
        /// 1 (highest) to 5; anything else counts as 3.
        priority: i32,
        /// Whether the sender waits to hear that the recipient has it, rather than that the
        /// exchange has.
        receipt: bool,
        /// The id that a receipt will repeat, where the dialect's senders give one.
        id: Option<u32>,
        /// Whether only members may send to the group.
        member: bool,
    },
    /// A message to every group that the sender is a member of.
    SendToMyGroups {
        /// The text.
        text: &'a [u8],
    },
    /// The recipient has a message.
    Receipt {
        /// The message's sender.
        from: Target<'a>,
        /// The id it carried to the recipient.
        id: u32,
    },
    /// The sender has all mail that it was sent, up to this mark ([`crate::event::Message::mark`]).
    Taken {
        /// From 1.
        mark: u32,
    },
    /// A new group, owned by the sender.
    CreateGroup {
        /// Its name.
        name: &'a [u8],
        /// The highest group number that the dialect can address.
        max: u32,
    },
    /// Become a member of a group, or renew a membership.
    Join {
        /// The group.
        group: Target<'a>,
        /// How many messages it is for; -1 for ever.
        count: i32,
    },
    /// End a membership.
    Leave {
        /// The group.
        group: Target<'a>,
    },
    /// A list, sent frame by frame as there is room.
    List(List),
    /// The list of a group's members.
    Members {
        /// The group.
        group: Target<'a>,
    },
    /// A new private chat with the owner of a group, in which the sender then is.
    NewChat {
        /// Group number.
        group: u32,
    },
    /// Enter a conversation: become a member of a group, and be told of its messages as one who is
    /// there.
    Enter(Chat),
    /// Leave a conversation, having seen all of it. A membership stays.
    Exit(Chat),
    /// A message to a conversation that the sender has entered.
    Say {
        /// The conversation.
        chat: Chat,
        /// The text, of any bytes.
        text: &'a [u8],
    },
    /// An image to a conversation that the sender has entered. The host has its bytes, and knows
    /// which image the [`Posted`](crate::host::Posted) record is that follows.
    SayImage {
        /// The conversation.
        chat: Chat,
        /// The file's name.
        name: &'a [u8],
        /// The media type.
        kind: &'a [u8],
        /// In bytes.
        size: u32,
    },
    /// Messages of a conversation.
    History {
        /// The conversation.
        chat: Chat,
        /// Only messages older than that of this id ([`crate::exchange::message_id`]).
        before: Option<u64>,
        /// At most so many, of the newest.
        limit: u32,
    },
    /// How many messages there are in each of the sender's conversations.
    Chats,
    /// The bytes of an image, by the id of its message ([`crate::exchange::message_id`]).
    Image {
        /// From 1.
        id: u64,
    },
    /// End the server, as SIGTERM does.
    ShutDown,
    /// Nothing but an answer.
    Ping,
}

impl Request<'_> {
    /// Whether this is what a dialect of messages alone can ask for.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self, Request::LogIn { .. } | Request::Send { .. } | Request::Receipt { .. })
    }
}
