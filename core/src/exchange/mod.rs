//! The exchange: the front door of the crate.
//!
//! # The loop around it
//!
//! The exchange does no I/O. A host moves bytes for it, in this order:
//!
//! 1. [`Exchange::new`] over lent [`Tables`]; [`Exchange::restore`] each record that the store kept.
//! 2. [`Exchange::endpoint`] for each queue that many clients share; [`Exchange::connect`] for each
//!    connection as it comes.
//! 3. For bytes that arrived: [`Exchange::receive`]. It says how much it used; the host keeps the
//!    rest and gives it again with more behind it. While a question of the link is open or a list
//!    is being sent on it, nothing is used.
//! 4. When a link can take more, or less, than it was said to: [`Exchange::room`].
//!    When the transport has taken mail: [`Exchange::taken`]. When it turns out that it will not
//!    take a message: [`Exchange::give_back`].
//! 5. When a question was answered: [`Exchange::answer_question`], or [`Exchange::mail_page`],
//!    [`Exchange::history_page`], [`Exchange::chats_page`]; then [`Exchange::receive`] again with
//!    what was kept.
//! 6. When [`Exchange::poll_timeout`] is due: [`Exchange::handle_timeout`].
//! 7. When a link is gone: [`Exchange::disconnect`]. When a log-in that was granted was refused after
//!    all, as its commit failed: [`Exchange::log_in_refused`].
//! 8. After a batch of these, let out what the outbox was given, as [`Outbox`](crate::host::Outbox) says.
//!
//! Getters come first below, then the calls above; what the host does to the directory is in
//! `changes`.

mod changes;
mod chats;
mod delivery;
mod directory;
mod lists;
mod log_in;
mod log_in_batch;
mod mailbox;
mod offline;
mod pages;
mod places;
mod refusals;
mod send;
mod sessions;
mod steps;
mod tail;

pub use chats::PrivateChat;
pub use directory::{Group, Membership, RESERVED_NUMBERS, User, places_for_users};
pub use lists::Rows;
pub use mailbox::{Entry, Message};
pub use sessions::{Question, Session};

use crate::dialect::{Decoded, Dialect, SHARED};
use crate::event::{Kind, Limit, Outcome, Party};
use crate::host::{Io, Note, Room};
use crate::limits::{Limits, MESSAGE_LENGTH_MAX, Registration};
use crate::name::NameError;
use crate::request::Target;
use crate::table::{Buckets, Handle, Slot, Table};
pub use crate::timers::Timer;
use crate::timers::{Class, Timers};
use directory::Directory;

/// One client's connection, or one endpoint that clients share.
pub type Link = Handle<Session>;
/// One open question.
pub type Token = Handle<Question>;

/// The memory that the exchange works in. Every slice is lent by the caller, as long as that table
/// shall be, and empty: [`Slot::EMPTY`], zero, `EMPTY` of its type. [`crate::storage!`] declares
/// them together; a host may allocate them, and lend them with [`crate::lend_tables!`].
#[derive(Debug)]
pub struct Tables<'a> {
    /// Places for users: [`places_for_users`].
    pub users: &'a mut [User],
    /// A power of two, best no less than `users`.
    pub user_index: &'a mut [u32],
    /// Places for groups.
    pub groups: &'a mut [Group],
    /// A power of two, best no less than `groups`.
    pub group_index: &'a mut [u32],
    /// Memberships of all users together.
    pub memberships: &'a mut [Slot<Membership>],
    /// Private chats of all groups together.
    pub chats: &'a mut [Slot<PrivateChat>],
    /// A power of two, best no less than `chats`.
    pub chat_index: &'a mut [u32],
    /// Connections, endpoints and clients of endpoints.
    pub sessions: &'a mut [Slot<Session>],
    /// A power of two, best no less than `sessions`.
    pub session_index: &'a mut [u32],
    /// Messages that wait for anybody.
    pub messages: &'a mut [Slot<Message>],
    /// Their texts: `messages` times the longest text.
    pub bodies: &'a mut [u8],
    /// One for each message and each user it waits for.
    pub entries: &'a mut [Slot<Entry>],
    /// So many as [`timers_for`] says.
    pub timers: &'a mut [Slot<Timer>],
    /// Questions open at once.
    pub questions: &'a mut [Slot<Question>],
    /// As long as `sessions`: the links that one message goes to at once.
    pub fan: &'a mut [Link],
    /// As long as `fan`.
    pub fan_dialects: &'a mut [u8],
    /// For frames being encoded: [`scratch_len`].
    pub scratch: &'a mut [u8],
}

/// Timers for so many entries and sessions: each entry may wait for a receipt, each session for its
/// client, and mail for room in memory. Where clients share an endpoint, as many answers to log-ins
/// that were refused as there are sessions wait there to be fetched.
pub const fn timers_for(entries: usize, sessions: usize) -> usize {
    entries + sessions + (if SHARED { sessions } else { 0 }) + 1
}

/// Bytes of [`Tables::scratch`] for texts of up to `message_length` bytes: a delivery with all that
/// a dialect puts around its text, and the refusal beside an answer.
pub const fn scratch_len(message_length: usize) -> usize {
    let delivery = Dialect::delivery_len(message_length);
    let (answer, refusal) = Dialect::answer_len();
    (if delivery > answer { delivery } else { answer }) + refusal
}

/// What has happened since the exchange began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Counters {
    /// Requests obeyed or answered.
    pub requests: u64,
    /// Bytes that were no request, or from nobody who is logged in.
    pub dropped: u64,
    /// Messages accepted, each counted once.
    pub messages: u64,
    /// Frames delivered.
    pub deliveries: u64,
    /// Messages that became offline mail, each counted for each user.
    pub stored: u64,
    /// Copies of messages that were not kept.
    pub not_kept: u64,
    /// Deliveries handed back unread.
    pub given_back: u64,
}

/// The link is gone: disconnected or closed before. Forget it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Gone;

impl core::fmt::Display for Gone {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the link is gone")
    }
}
impl core::error::Error for Gone {}

/// Why the host's change of the directory was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Refused {
    /// Not a name.
    Name(NameError),
    /// The name is taken.
    Exists,
    /// No such user or group.
    NoSuch,
    /// A limit was reached.
    Full(Limit),
}

impl core::fmt::Display for Refused {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Refused::Name(error) => error.fmt(f),
            Refused::Exists => f.write_str("the name is taken"),
            Refused::NoSuch => f.write_str("there is no such user or group"),
            Refused::Full(limit) => write!(f, "a limit was reached: {limit:?}"),
        }
    }
}
impl core::error::Error for Refused {}

impl From<NameError> for Refused {
    fn from(error: NameError) -> Self {
        Refused::Name(error)
    }
}

/// A messaging exchange over tables that the caller lends.
#[derive(Debug)]
pub struct Exchange<'a> {
    directory: Directory<'a>,
    chats: chats::Chats<'a>,
    sessions: Table<'a, Session>,
    /// Sessions by address.
    addresses: Buckets<'a>,
    /// Mail in the store waits for room in memory, and a timer looks for it.
    starved: bool,
    /// Log-ins so far: that came to an endpoint which answers them together, or bound a session.
    arrivals: u32,
    /// Timers of refused log-ins: of no session, and so at most as many as sessions.
    refusals: u32,
    /// How many of them are of answers that lie where any client may read any.
    refused: u32,
    /// Bound sessions by dialect.
    bound: [u32; Dialect::COUNT],
    /// The shared link of a dialect that has one.
    endpoints: [Link; Dialect::COUNT],
    messages: Table<'a, Message>,
    bodies: &'a mut [u8],
    /// Bytes of the arena for each message.
    stride: usize,
    entries: Table<'a, Entry>,
    timers: Timers<'a>,
    questions: Table<'a, Question>,
    fan: &'a mut [Link],
    fan_dialects: &'a mut [u8],
    scratch: &'a mut [u8],
    limits: Limits,
    counters: Counters,
    /// Of the newest message.
    sequence: u64,
    /// The message restored last.
    newest: Handle<Message>,
    /// Of the message handed back last: these come before all others, and count down.
    returned: u64,
    /// Milliseconds' worth of registrations left, and when that was.
    registrations: [(u32, u64); Dialect::COUNT],
}

/// New messages are numbered from here; what is handed back is numbered downwards from here, so
/// that it comes first.
const FIRST_SEQUENCE: u64 = 1 << 62;
const MINUTE: u32 = 60_000;

/// The id of a message in dialects that number all of them ([`crate::host::Posted::sequence`]): from
/// 1, and one more for each. 0 for one that came back from a queue and has lost its own.
pub const fn message_id(sequence: u64) -> u64 {
    sequence.saturating_sub(FIRST_SEQUENCE)
}

// What a microcontroller pays for each: kept in view, as a field more is paid many times.
const _: () = assert!(size_of::<User>() <= 128);
const _: () = assert!(size_of::<Group>() <= 48);
const _: () = assert!(size_of::<Slot<Membership>>() <= 40);
const _: () = assert!(size_of::<Slot<PrivateChat>>() <= 24);
const _: () = assert!(size_of::<Slot<Session>>() <= 192);
const _: () = assert!(size_of::<Slot<Message>>() <= 64);
const _: () = assert!(size_of::<Slot<Entry>>() <= 44);
const _: () = assert!(size_of::<Slot<Timer>>() <= 40);

impl<'a> Exchange<'a> {
    /// An exchange over empty tables. The arena is shared evenly among the messages;
    /// `limits.message_length` is lowered to what each then has, if it is more.
    pub fn new(tables: Tables<'a>, mut limits: Limits) -> Self {
        let stride = tables.bodies.len().checked_div(tables.messages.len()).unwrap_or(0);
        limits.users = tables.users.len() as u32;
        limits.message_length = limits.message_length.min(stride).min(MESSAGE_LENGTH_MAX);
        Exchange {
            directory: Directory::new(
                tables.users,
                tables.user_index,
                tables.groups,
                tables.group_index,
                tables.memberships,
            ),
            chats: chats::Chats::new(tables.chats, tables.chat_index),
            sessions: Table::new(tables.sessions),
            addresses: Buckets::new(tables.session_index),
            starved: false,
            arrivals: 0,
            refusals: 0,
            refused: 0,
            bound: [0; Dialect::COUNT],
            endpoints: [Link::NONE; Dialect::COUNT],
            messages: Table::new(tables.messages),
            bodies: tables.bodies,
            stride,
            entries: Table::new(tables.entries),
            timers: Timers::new(tables.timers),
            questions: Table::new(tables.questions),
            fan: tables.fan,
            fan_dialects: tables.fan_dialects,
            scratch: tables.scratch,
            limits,
            counters: Counters::default(),
            sequence: FIRST_SEQUENCE,
            newest: Handle::NONE,
            returned: FIRST_SEQUENCE,
            registrations: [(MINUTE, 0); Dialect::COUNT],
        }
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What has happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What is taken of each table.
    pub fn usage(&self) -> Usage {
        let (users, groups, memberships) = self.directory.counts();
        Usage {
            users,
            groups,
            memberships,
            chats: self.chats.len(),
            sessions: self.sessions.len() as u32,
            messages: self.messages.len() as u32,
            entries: self.entries.len() as u32,
            questions: self.questions.len() as u32,
        }
    }

    /// How long each table is.
    pub fn capacity(&self) -> Usage {
        let (users, groups, memberships) = self.directory.capacities();
        Usage {
            users: users as u32,
            groups: groups as u32,
            memberships: memberships as u32,
            chats: self.chats.capacity(),
            sessions: self.sessions.capacity() as u32,
            messages: self.messages.capacity() as u32,
            entries: self.entries.capacity() as u32,
            questions: self.questions.capacity() as u32,
        }
    }

    /// Grows with every change of users, groups or memberships.
    pub fn directory_version(&self) -> u64 {
        self.directory.version
    }

    /// The user that a name or number means.
    pub fn find_user(&self, user: Target<'_>) -> Option<Party<'_>> {
        self.directory.find_user(&user).map(|number| self.directory.user_party(number))
    }

    /// The group that a name or number means.
    pub fn find_group(&self, group: Target<'_>) -> Option<Party<'_>> {
        self.directory.find_group(&group).map(|number| self.directory.group_party(number))
    }

    /// Every user, by number.
    pub fn users(&self) -> impl Iterator<Item = Party<'_>> {
        (1..=self.directory.high().0)
            .filter(|number| self.directory.user(*number).is_some())
            .map(|number| self.directory.user_party(number))
    }

    /// Every group, by number.
    pub fn groups(&self) -> impl Iterator<Item = Party<'_>> {
        (1..=self.directory.high().1)
            .filter(|number| self.directory.group(*number).is_some())
            .map(|number| self.directory.group_party(number))
    }

    /// The members of a group, by number.
    pub fn members(&self, group: u32) -> impl Iterator<Item = Party<'_>> {
        self.directory.members_of(group).map(|number| self.directory.user_party(number))
    }

    /// Who made a group; `None` if the host did, or the user is gone.
    pub fn owner_of(&self, group: u32) -> Option<Party<'_>> {
        let owner = self.directory.group(group)?.owner;
        self.directory.user(owner).map(|_| self.directory.user_party(owner))
    }

    /// The user that a link is bound to.
    pub fn user_of(&self, link: Link) -> Option<Party<'_>> {
        let user = self.sessions.get(link)?.user;
        (user != 0).then(|| self.directory.user_party(user))
    }

    /// The dialect of a link.
    pub fn dialect_of(&self, link: Link) -> Option<Dialect> {
        Some(self.sessions.get(link)?.dialect)
    }

    /// Opens the link that all clients of a queue dialect share. `address` is its own key, which no
    /// client may give as its own.
    ///
    /// # Errors
    /// The table of sessions is full.
    pub fn endpoint(&mut self, dialect: Dialect, address: i64) -> Result<Link, Limit> {
        let link = self.insert_session(Session { address, ..Session::new(dialect) })?;
        if let Some(endpoint) = self.endpoints.get_mut(dialect as usize) {
            *endpoint = link;
        }
        Ok(link)
    }

    /// Opens a link for a connection that can take so much.
    ///
    /// # Errors
    /// The table of sessions is full.
    pub fn connect(&mut self, dialect: Dialect, room: Room, now: u64) -> Result<Link, Limit> {
        self.timers.advance(now);
        let link = self.insert_session(Session { room, ..Session::new(dialect) })?;
        // Whoever looks at a page before logging in may take time.
        if !dialect.traits().conversations {
            self.wait_for(link, Class::Idle);
        }
        Ok(link)
    }

    /// Takes bytes that arrived on a link: of a stream as many as there are, of a queue one message.
    /// Returns how many were used; the rest is to be given again with more behind it. Nothing is
    /// used while a question of the link is open or a list is being sent on it.
    ///
    /// # Errors
    /// [`Gone`] if the link is not there, or was closed because of these bytes.
    pub fn receive(&mut self, link: Link, bytes: &[u8], io: &mut Io<'_>) -> Result<usize, Gone> {
        self.timers.advance(io.now);
        let (mut used, mut stream) = (0usize, false);
        loop {
            let rest = bytes.get(used..).unwrap_or(&[]);
            if rest.is_empty() && used != 0 {
                break;
            }
            let session = self.sessions.get_mut(link).ok_or(Gone)?;
            let dialect = session.dialect;
            stream = dialect.traits().stream;
            if rest.is_empty() || (stream && session.paused()) {
                return Ok(used);
            }
            let decoded = dialect.decode(rest, &mut session.progress, &self.limits);
            let frame = match decoded {
                Decoded::Request { used: frame, sender, tag, ref request } => {
                    self.counters.requests = self.counters.requests.wrapping_add(1);
                    self.apply(link, sender, tag, request, io)?;
                    frame
                }
                Decoded::Step { used: frame, by } => {
                    self.step(link, by, rest.get(..frame).unwrap_or(rest), io);
                    frame
                }
                Decoded::Partial => break,
                Decoded::Refused { used: frame, tag, outcome } => {
                    self.answer(link, tag, Kind::Frame, outcome, io);
                    if dialect.closes(outcome) {
                        io.out.close(link);
                        self.end(link, io);
                        return Err(Gone);
                    }
                    frame
                }
                Decoded::Dropped { used: frame } => {
                    self.drop_bytes(link, io);
                    frame
                }
                Decoded::Skipped { used: frame } => frame,
            };
            used = used.wrapping_add(frame);
        }
        if stream {
            self.watch_half_frame(link, used, bytes.len());
        }
        Ok(used)
    }

    /// Says how much a link can take now; what waits for it goes out as far as it fits.
    pub fn room(&mut self, link: Link, room: Room, io: &mut Io<'_>) {
        self.timers.advance(io.now);
        if let Some(session) = self.sessions.get_mut(link) {
            session.room = room;
            self.pump(link, io);
            self.pump_list(link, io);
        }
    }

    /// When [`Exchange::handle_timeout`] is due, in the milliseconds of [`Io::now`].
    pub fn poll_timeout(&self) -> Option<u64> {
        self.timers.poll_timeout()
    }

    /// Does what is due at `io.now`.
    pub fn handle_timeout(&mut self, io: &mut Io<'_>) {
        self.timers.advance(io.now);
        while let Some((class, what)) = self.timers.pop() {
            match class {
                Class::Receipt => self.receipt_overdue(what, io),
                Class::Refusal => self.recall_refusal(what, io),
                Class::Starved => self.read_on_all(io),
                Class::Refused => {
                    let endpoint = self.sessions.handle(what).unwrap_or(Link::NONE);
                    self.unread_refusal(endpoint, io);
                }
                _ => {
                    if let Some(link) = self.sessions.handle(what) {
                        self.session_timeout(link, class, io);
                    }
                }
            }
        }
    }

    /// A link is gone: its user is logged out, and what it had not answered or taken is offline
    /// mail. Deliveries that lie unread for a queue client are asked of the outbox
    /// ([`unread`](crate::host::Outbox::unread)).
    pub fn disconnect(&mut self, link: Link, io: &mut Io<'_>) {
        self.timers.advance(io.now);
        self.end(link, io);
    }

    fn session_timeout(&mut self, link: Link, class: Class, io: &mut Io<'_>) {
        match class {
            Class::Idle => {
                io.out.close(link);
                self.end(link, io);
            }
            Class::Recall => self.recall(link, io),
            Class::Half => self.step_elapsed(link, io),
            Class::Lapse => self.lapsed(link, io),
            Class::Gather => {
                if let Some(endpoint) = self.sessions.get_mut(link) {
                    endpoint.timer = Handle::NONE;
                }
                self.answer_batch(link, io);
            }
            Class::Password => self.password_overdue(link, io),
            Class::Unread => self.unread_answer(link, io),
            Class::Receipt | Class::Refusal | Class::Refused | Class::Starved => {}
        }
    }

    /// How much a limit is that was reached; 0 where that is not known.
    fn size_of(&self, outcome: Outcome) -> u32 {
        let Outcome::Full(limit) = outcome else { return 0 };
        let tables = self.capacity();
        match limit {
            Limit::Sessions => tables.sessions,
            Limit::Users => tables.users,
            Limit::Groups => tables.groups,
            Limit::Memberships => tables.memberships,
            Limit::Chats => tables.chats,
            Limit::Messages => tables.messages,
            Limit::Entries => tables.entries,
            Limit::Questions => tables.questions,
            Limit::Mailbox => self.limits.mailbox,
            Limit::MessageLength => self.limits.message_length as u32,
            Limit::Registrations => match self.limits.registration {
                Registration::Open { per_minute } => per_minute.into(),
                Registration::Closed => 0,
            },
            Limit::Store => 0,
        }
    }

    fn drop_bytes(&mut self, link: Link, io: &mut Io<'_>) {
        self.counters.dropped = self.counters.dropped.wrapping_add(1);
        io.out.note(Note::Dropped(link));
    }

    /// Arms the session's one timer.
    fn wait_for(&mut self, link: Link, class: Class) {
        let Some(session) = self.sessions.get_mut(link) else { return };
        self.timers.cancel(session.timer);
        // There is a timer for each session: the pool is full only if the host lent too few.
        session.timer = self.timers.arm(class, link.place()).unwrap_or(Handle::NONE);
    }

    /// Half a frame may wait for its rest as long as an unbound link for its first.
    fn watch_half_frame(&mut self, link: Link, used: usize, arrived: usize) {
        let Some(session) = self.sessions.get_mut(link) else { return };
        let half = used < arrived || session.progress.skip != 0;
        if session.user == 0 || (!half && session.timer.is_none()) {
            return;
        }
        if !half {
            self.timers.cancel(session.timer);
            session.timer = Handle::NONE;
        } else if used != 0 || session.timer.is_none() {
            self.wait_for(link, Class::Idle);
        }
    }

    /// Whether one more user may register in this dialect now.
    fn may_register(&mut self, dialect: Dialect) -> Result<(), Outcome> {
        let per_minute = match self.limits.registration {
            Registration::Closed => return Err(Outcome::NoSuchUser),
            Registration::Open { per_minute } => u32::from(per_minute),
        };
        let now = self.timers.now();
        let full = Outcome::Full(Limit::Registrations);
        let (left, at) = self.registrations.get_mut(dialect as usize).ok_or(full)?;
        let passed = u32::try_from(now.saturating_sub(*at)).unwrap_or(MINUTE);
        (*left, *at) = (left.saturating_add(passed).min(MINUTE), now);
        let cost = MINUTE.checked_div(per_minute).ok_or(full)?;
        *left = left.checked_sub(cost).ok_or(full)?;
        Ok(())
    }
}

/// One number for each table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[allow(missing_docs)]
pub struct Usage {
    pub users: u32,
    pub groups: u32,
    pub memberships: u32,
    pub chats: u32,
    pub sessions: u32,
    pub messages: u32,
    pub entries: u32,
    pub questions: u32,
}
