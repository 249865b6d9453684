//! What the exchange needs of its host: where bytes go ([`Outbox`]), what outlasts it ([`Store`]),
//! and the time.

use crate::dialect::Dialect;
use crate::event::Limit;
use crate::exchange::{Link, Token};
use crate::request::Chat;

/// What the host lends for one call.
pub struct Io<'h> {
    /// Milliseconds since any fixed point; an earlier time than before counts as the same.
    pub now: u64,
    /// Unix time in milliseconds, for messages that carry their time.
    pub time: u64,
    /// Where records go.
    pub store: &'h mut dyn Store,
    /// Where bytes go.
    pub out: &'h mut dyn Outbox,
}

impl core::fmt::Debug for Io<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Io")
            .field("now", &self.now)
            .field("time", &self.time)
            .finish_non_exhaustive()
    }
}

/// How much a link can take now, in bytes. A delivery is never larger than what is left of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Room {
    /// Messages of any kind.
    pub messages: u32,
    /// How much of it may be direct messages, for a dialect in which they have a share of their
    /// own (`topics`: an eighth of the queue, as its first clients never read them). Others do not
    /// look at it.
    pub direct: u32,
    /// Lists that were asked for. Where a client reads its answers and its messages from one queue
    /// in an order of its own, these have room behind messages that it does not read.
    pub replies: u32,
}

impl Room {
    /// So much for anything.
    pub const fn of(bytes: u32) -> Room {
        Room { messages: bytes, direct: bytes, replies: bytes }
    }
}

/// Where bytes go. Nothing here refuses: how much a link can take is told beforehand
/// ([`crate::exchange::Exchange::room`]). Frames of one link leave in the order they were given.
///
/// A host that commits in batches lets each link's frames out up to its first
/// [`promise`](Outbox::promise), then commits the store once if anything was written, then lets out
/// the rest: the promises as they were granted, or, if the commit failed, as they were refused. A
/// host whose store is durable when `write` returns lets everything out at once.
pub trait Outbox {
    /// A new link for the client that `address` (a SysV queue key) names, beside `endpoint`.
    /// Returns what it can take, or `None` if there is nothing at that address: the link is then
    /// forgotten. The one call here that can say no.
    fn open(&mut self, link: Link, endpoint: Link, address: i64) -> Option<Room>;

    /// A message, the same bytes for each link. It counts as delivered when the link's transport
    /// has taken it: a host that finds that it will not hands it back
    /// ([`give_back`](crate::exchange::Exchange::give_back)).
    fn deliver(&mut self, to: &[Link], frame: &[u8]);

    /// A message that the store keeps until the link's transport has taken it. The host says so
    /// with the same mark ([`taken`](crate::exchange::Exchange::taken)); marks of a link rise by 1.
    fn mail(&mut self, to: Link, frame: &[u8], mark: u32);

    /// An answer that promises nothing.
    fn reply(&mut self, to: Link, frame: &[u8]);

    /// A part of an answer that is too long for one frame, and whether it is the last one. Other
    /// frames for the link may come between the parts. They are frames of their own unless the
    /// dialect says that they are to be put together ([`crate::dialect::rooms`]).
    fn part(&mut self, to: Link, frame: &[u8], _last: bool) {
        self.reply(to, frame);
    }

    /// An answer that promises something: `granted` may leave once all that was written to the
    /// store so far is durable and all messages before it are taken; `refused` leaves instead if
    /// that fails.
    fn promise(&mut self, to: Link, granted: &[u8], refused: &[u8]);

    /// The promise just given to `to` says that `link` is logged in, and this is the log-in's number.
    /// Where it leaves as it was refused, the host says so
    /// ([`log_in_refused`](crate::exchange::Exchange::log_in_refused)). Not for a host that never
    /// refuses what was promised.
    fn logged_in(&mut self, _to: Link, _link: Link, _log_in: u32) {}

    /// A question for the host, to be answered later with its token
    /// ([`answer_question`](crate::exchange::Exchange::answer_question)). At most one is open for each link.
    fn ask(&mut self, token: Token, ask: Ask<'_>);

    /// An answer for a client that gets no link, at its address.
    fn turn_away(&mut self, endpoint: Link, address: i64, frame: &[u8]);

    /// Takes back what lies unread under `lane` (a SysV message type) at an endpoint, oldest first.
    /// What `each` says `true` to stays there after all, in its order.
    fn take_back(&mut self, endpoint: Link, lane: i64, each: &mut dyn FnMut(&[u8]) -> bool);

    /// Takes back the deliveries that lie unread for the client of a link that shares an endpoint,
    /// oldest first, because its session ends.
    fn unread(&mut self, link: Link, each: &mut dyn FnMut(&[u8]));

    /// Whether the host knows now that the client behind a link is gone, and has not said so yet:
    /// its user may then log in elsewhere.
    fn gone(&mut self, link: Link) -> bool;

    /// The client behind a link is one more client of the session of `into`, in a dialect whose
    /// users may have several (`rooms`): what comes from it is given with `into` from now on, and
    /// what is for `into` goes to it too. What was given for the link itself goes to it alone and
    /// before that. The link is over, and is not to be disconnected.
    fn merge(&mut self, _link: Link, _into: Link) {}

    /// The link is over: what was given for it may still leave, nothing more is read.
    fn close(&mut self, link: Link);

    /// Whether the client of a link may end the server.
    fn may_shut_down(&mut self, _link: Link) -> bool {
        true
    }

    /// A client ends the server.
    fn shut_down(&mut self);

    /// Something that an operator may want to read.
    fn note(&mut self, _note: Note) {}
}

/// A question for the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Ask<'a> {
    /// Is this the user's password? `None` is a user that does not exist: the host takes as long
    /// over it and says no.
    Verify {
        /// User number.
        user: Option<u32>,
        /// As it came.
        password: &'a [u8],
    },
    /// The first of a user's mail behind a place in its order, as far as it has been written when
    /// this is asked. Answered with [`mail_page`](crate::exchange::Exchange::mail_page).
    Mail {
        /// User number.
        user: u32,
        /// Priority and sequence, in this order: mail behind this.
        after: (u8, u64),
        /// At most so many.
        limit: u32,
    },
    /// Messages of a conversation, newest last. Answered with
    /// [`history_page`](crate::exchange::Exchange::history_page), in as many parts as the host
    /// likes.
    History {
        /// Who asks, by number.
        user: u32,
        /// The conversation, as that user names it.
        chat: Chat,
        /// Only messages older than this one, by sequence.
        before: Option<u64>,
        /// At most so many, of the newest.
        limit: u32,
    },
    /// How many messages each of a user's conversations has, and how many of them are new: those
    /// that [`chats_of`](crate::exchange::Exchange::chats_of) gives, and one for each user with
    /// whom there are direct messages. Answered with
    /// [`chats_page`](crate::exchange::Exchange::chats_page), in as many parts as the host likes.
    Chats {
        /// Who asks, by number.
        user: u32,
    },
    /// One message, by sequence. Answered with
    /// [`history_page`](crate::exchange::Exchange::history_page): that message or none.
    Message {
        /// Of the message.
        sequence: u64,
    },
    /// A user is about to be made with this password: make a secret of it and keep it by the
    /// question's token, until a [`Record::User`] brings that token or the link is gone.
    Prepare {
        /// As it came, and not empty.
        password: &'a [u8],
    },
}

/// The host's answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Reply {
    /// To [`Ask::Verify`].
    Verified(bool),
    /// To [`Ask::Prepare`]: whether there is a secret now.
    Prepared(bool),
    /// To [`Ask::History`], [`Ask::Chats`] and [`Ask::Message`]: this host keeps none of that.
    NotKept,
}

/// Something that an operator may want to read. The exchange counts them too
/// ([`crate::exchange::Counters`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Note {
    /// Bytes on this link that are no request, or from nobody who is logged in: dropped.
    Dropped(Link),
    /// A copy of a message for this user was not kept.
    NotKept {
        /// User number.
        user: u32,
        /// Which limit.
        limit: Limit,
    },
    /// Nobody fetched the answer to a log-in at this address: taken back.
    Recalled {
        /// A SysV queue key.
        address: i64,
    },
}

/// What outlasts the exchange. Limits are the exchange's own: a store refuses only what it cannot
/// write.
pub trait Store {
    /// Takes a record. Users, groups and memberships are durable when this returns; mail, its
    /// settlement and countdowns are at the next commit, before any
    /// [`promise`](Outbox::promise) leaves.
    ///
    /// A host may have changes of the directory wait for the commit too, so that many share it. It
    /// then lets nothing at all out that it was given after such a change and before its commit, as
    /// that could tell of a number that is somebody else's after a crash; and if the commit fails it
    /// still owes them, before anything later: the exchange goes on with them.
    ///
    /// # Errors
    /// [`NoRoom`] if it cannot be written: nothing was.
    fn write(&mut self, record: Record<'_>) -> Result<(), NoRoom>;

    /// Whether it wants every message ([`Record::Posted`]), and not only those it has to keep.
    fn history(&self) -> bool {
        false
    }

    /// Whether the host can read back, page by page, mail for which the exchange has no memory
    /// ([`Ask::Mail`]). Otherwise mail is refused when the tables are full.
    fn pages(&self) -> bool {
        false
    }
}

/// The store has no room, or could not write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NoRoom;

impl core::fmt::Display for NoRoom {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the store has no room")
    }
}
impl core::error::Error for NoRoom {}

impl From<NoRoom> for Limit {
    fn from(_: NoRoom) -> Limit {
        Limit::Store
    }
}

/// A store that keeps nothing beyond the exchange's own tables.
#[derive(Clone, Copy, Debug, Default)]
pub struct Volatile;

impl Store for Volatile {
    fn write(&mut self, _record: Record<'_>) -> Result<(), NoRoom> {
        Ok(())
    }
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Record<'a> {
    /// There is a user of that number.
    User {
        /// From 1.
        number: u32,
        /// Its name.
        name: &'a [u8],
        /// Which prepared secret is its password's ([`Ask::Prepare`]); none where it has none.
        secret: Option<Token>,
    },
    /// The user is gone, with its memberships, private chats (those about its groups too) and mail.
    /// Mail that it sent loses its sender.
    NoUser {
        /// From 1.
        number: u32,
    },
    /// There is a group of that number.
    Group {
        /// From 1.
        number: u32,
        /// Its name.
        name: &'a [u8],
        /// User number of who created it; 0 is the host.
        owner: u32,
    },
    /// The group is gone, with its memberships and private chats. Mail that was sent to it stays,
    /// and is of [`FORMER_GROUP`] from now on, also when its number is given again.
    NoGroup {
        /// From 1.
        number: u32,
    },
    /// The user is a member of the group.
    Member {
        /// User number.
        user: u32,
        /// Group number.
        group: u32,
        /// Messages still to come; -1 for ever.
        left: i32,
    },
    /// The user is not a member of the group any more.
    NoMember {
        /// User number.
        user: u32,
        /// Group number.
        group: u32,
    },
    /// There is a private chat about a group, between its owner and this user.
    Chat {
        /// Group number.
        group: u32,
        /// User number.
        user: u32,
    },
    /// A user has seen a conversation up to a message: those of others behind it are new to it.
    /// Written at the next commit.
    Seen {
        /// User number.
        user: u32,
        /// The conversation, as that user names it; none: all its direct messages.
        chat: Option<Chat>,
        /// Of the newest message then.
        sequence: u64,
    },
    /// Who is logged in at an address that may outlast the server (a SysV queue key, or a lane);
    /// written at the next commit, and to be restored with
    /// [`restore_session`](crate::exchange::Exchange::restore_session).
    Session {
        /// The session's dialect.
        dialect: Dialect,
        /// Its address.
        address: i64,
        /// User number; 0: nobody any more.
        user: u32,
    },
    /// A message was accepted: for histories, whoever gets it. Written before its
    /// [`Record::Mail`].
    Posted(Posted<'a>),
    /// A message kept for a user.
    Mail(Mail<'a>),
    /// The user has the message: it need not be kept for it.
    Settled {
        /// User number.
        user: u32,
        /// Of the message.
        sequence: u64,
    },
}

/// A message as it was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Posted<'a> {
    /// Names the message; rises from one to the next.
    pub sequence: u64,
    /// User number of the sender.
    pub from: u32,
    /// User number of the recipient; 0 for a group message.
    pub to: u32,
    /// Group number; 0 for a direct message.
    pub group: u32,
    /// Of a direct message: the group that it is about, whose private chat it belongs to; 0 for
    /// none.
    pub about: u32,
    /// Whether it is an image, which the text only describes.
    pub image: bool,
    /// 1 (highest) to 5.
    pub priority: u8,
    /// When the exchange took it, in Unix milliseconds.
    pub time: u64,
    /// The text.
    pub text: &'a [u8],
}

impl Posted<'_> {
    /// A direct message of no words, from nobody.
    pub const NONE: Posted<'static> = Posted {
        sequence: 0,
        from: 0,
        to: 0,
        group: 0,
        about: 0,
        image: false,
        priority: 3,
        time: 0,
        text: &[],
    };
}

/// How many messages a conversation has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Count {
    /// The conversation, as the user who asks names it.
    pub chat: Chat,
    /// All of them.
    pub all: u64,
    /// Those from others behind the last one seen ([`Record::Seen`]).
    pub new: u64,
}

/// In [`Mail::group`]: a group that is no more. Its number may be another's by now.
pub const FORMER_GROUP: u32 = u32::MAX;

/// A message kept for a user. The copies of a group message differ only in the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Mail<'a> {
    /// User number of the recipient.
    pub user: u32,
    /// Orders messages of one priority, and names the message.
    pub sequence: u64,
    /// The id that it carries to the recipient.
    pub id: u32,
    /// User number of the sender; 0 if unknown.
    pub from: u32,
    /// Group number; 0 for a direct message. [`FORMER_GROUP`]: the group is no more.
    pub group: u32,
    /// As [`Posted::about`].
    pub about: u32,
    /// As [`Posted::image`].
    pub image: bool,
    /// 1 (highest) to 5.
    pub priority: u8,
    /// Whether a counted membership ends with it.
    pub last: bool,
    /// When the exchange took it, in Unix milliseconds.
    pub time: u64,
    /// The text.
    pub text: &'a [u8],
}

impl Mail<'_> {
    /// A direct message of no words, from nobody to nobody.
    pub const NONE: Mail<'static> = Mail {
        user: 0,
        sequence: 0,
        id: 0,
        from: 0,
        group: 0,
        about: 0,
        image: false,
        priority: 3,
        last: false,
        time: 0,
        text: &[],
    };
}
