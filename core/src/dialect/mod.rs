//! The dialects: one module each, that turns bytes into requests and events into bytes.
//!
//! A dialect knows neither the other dialects nor the tables of the exchange. To add one is to add
//! its module, its feature and its line in the list below. Without its feature nothing of it is
//! compiled: a microcontroller pays for what it speaks.

// What the dialects share is more than some of them need.
#![cfg_attr(not(feature = "default"), allow(dead_code))]

pub(crate) mod put;

use crate::event::{Answer, Event, Outcome};
use crate::exchange::Rows;
use crate::limits::Limits;
use crate::request::{List, Request, Sender, Tag};

macro_rules! dialects {
    ($d:tt $($(#[$doc:meta])* $variant:ident = $feature:literal, $module:ident;)*) => {
        $(#[cfg(feature = $feature)] pub mod $module;)*

        /// A protocol that the exchange speaks. The number is its place among those that were
        /// compiled in: a new one comes last, as stores remember it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        #[repr(u8)]
        pub enum Dialect {
            $($(#[$doc])* #[cfg(feature = $feature)] $variant,)*
        }

        impl Dialect {
            /// Every dialect, by its number.
            pub const ALL: &[Dialect] = &[$(#[cfg(feature = $feature)] Dialect::$variant),*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// How the dialect behaves, apart from its bytes.
            #[inline]
            pub(crate) const fn traits(self) -> Traits {
                match self {
                    $(#[cfg(feature = $feature)]
                    Dialect::$variant => <$module::Wire as Codec>::TRAITS,)*
                }
            }

            /// Bytes of the longest answer and of the longest refusal, of all dialects.
            pub(crate) const fn answer_len() -> (usize, usize) {
                let (mut answer, mut refusal) = (0, 0);
                $(#[cfg(feature = $feature)]
                {
                    let (one, other) = <$module::Wire as Codec>::ANSWER_LEN;
                    answer = if one > answer { one } else { answer };
                    refusal = if other > refusal { other } else { refusal };
                })*
                (answer, refusal)
            }

            /// Bytes of the longest delivery of a text of so many bytes, of all dialects.
            pub(crate) const fn delivery_len(text: usize) -> usize {
                let mut delivery = 0;
                $(#[cfg(feature = $feature)]
                {
                    let (around, each) = <$module::Wire as Codec>::DELIVERY_LEN;
                    let one = around + text * each;
                    delivery = if one > delivery { one } else { delivery };
                })*
                delivery
            }
        }

        /// Calls a function of a dialect's codec.
        macro_rules! codec {
            ($d dialect:expr, $d call:ident($d($d arg:expr),*)) => {
                match $d dialect {
                    $(#[cfg(feature = $feature)]
                    Dialect::$variant => $module::Wire::$d call($d($d arg),*),)*
                }
            };
        }
    };
}

dialects! { $
    /// TCP, direct messages with receipts: [`direct`].
    Direct = "direct", direct;
    /// SysV queues, named topics with counted subscriptions: [`topics`].
    Topics = "topics", topics;
    /// SysV queues, accounts, numbered groups and direct messages: [`queues`].
    Queues = "queues", queues;
    /// One SysV queue with a lane for each user: [`lanes`].
    Lanes = "lanes", lanes;
    /// Socket.IO events, conversations about adverts, images: [`rooms`].
    Rooms = "rooms", rooms;
    /// TCP or a serial line, all that the exchange can do: [`native`].
    Native = "native", native;
}

/// Whether any dialect has links that clients share. What is for them alone is left out without one.
pub(crate) const SHARED: bool =
    cfg!(any(feature = "lanes", feature = "queues", feature = "topics"));
/// Whether any dialect can ask for conversations.
pub(crate) const CONVERSES: bool = cfg!(any(feature = "native", feature = "rooms"));
/// Whether any dialect asks for more than to log in, to send and to confirm.
const ASKS: bool = SHARED || CONVERSES;

impl Dialect {
    /// The name in URLs and in the configuration.
    pub const fn name(self) -> &'static str {
        self.traits().name
    }

    /// This dialect's bit in a mask.
    #[inline]
    pub(crate) const fn bit(self) -> u8 {
        1 << self as u8
    }

    /// Whether refusals of log-ins lie in a shared queue under the address of the client.
    pub(crate) const fn recalls(self) -> bool {
        self.traits().log_in_at_endpoint && !self.traits().log_in_batched
    }

    #[inline]
    pub(crate) fn decode<'b>(
        self,
        bytes: &'b [u8],
        progress: &mut Progress,
        limits: &Limits,
    ) -> Decoded<'b> {
        let decoded = codec!(self, decode(bytes, progress, limits));
        match decoded {
            // Never said: it tells the compiler what cannot be asked for.
            Decoded::Request { used, ref request, .. } if !ASKS && !request.is_plain() => {
                Decoded::Dropped { used }
            }
            Decoded::Step { used, .. } if !SHARED => Decoded::Dropped { used },
            decoded => decoded,
        }
    }

    #[inline]
    pub(crate) fn encode(
        self,
        event: &Event<'_>,
        to: Recipient,
        limits: &Limits,
        out: &mut [u8],
    ) -> usize {
        codec!(self, encode(event, to, limits, out))
    }

    pub(crate) fn encode_list(
        self,
        list: List,
        tag: Tag,
        rows: &mut Rows<'_>,
        to: Recipient,
        limits: &Limits,
        out: &mut [u8],
    ) -> ListFrame {
        codec!(self, encode_list(list, tag, rows, to, limits, out))
    }

    pub(crate) fn recover<'b>(self, frame: &'b [u8], limits: &Limits) -> Option<Recovered<'b>> {
        codec!(self, recover(frame, limits))
    }

    pub(crate) fn closes(self, outcome: Outcome) -> bool {
        codec!(self, closes(outcome))
    }

    pub(crate) fn step<'b>(
        self,
        bytes: &'b [u8],
        standing: Standing,
        progress: &mut Progress,
        limits: &Limits,
    ) -> Step<'b> {
        codec!(self, step(bytes, standing, progress, limits))
    }

    pub(crate) fn elapsed(self, progress: &mut Progress) -> Step<'static> {
        codec!(self, elapsed(progress))
    }

    pub(crate) fn parts(self, answer: &Answer<'_>) -> u8 {
        codec!(self, parts(answer))
    }

    pub(crate) fn brings_name(self, tag: Tag) -> bool {
        codec!(self, brings_name(tag))
    }

    pub(crate) fn clients(self, limits: &Limits) -> u32 {
        codec!(self, clients(limits))
    }

    pub(crate) fn max_user(self, limits: &Limits) -> u32 {
        codec!(self, max_user(limits))
    }

    pub(crate) fn lane(self, user: u32) -> i64 {
        codec!(self, lane(user))
    }

    pub(crate) fn answer_lane(self, user: u32, limits: &Limits) -> i64 {
        codec!(self, answer_lane(user, limits))
    }

    pub(crate) fn log_in_lane(self) -> i64 {
        codec!(self, log_in_lane())
    }

    pub(crate) fn log_in_answer(self, frame: &[u8]) -> LogInAnswer {
        codec!(self, log_in_answer(frame))
    }
}

/// How a dialect behaves, apart from its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traits {
    /// In URLs and in the configuration.
    pub(crate) name: &'static str,
    /// Bytes come without boundaries: half a frame may wait for its rest.
    pub(crate) stream: bool,
    /// A log-in is answered in the queue that all clients share.
    pub(crate) log_in_at_endpoint: bool,
    /// Log-ins that come together are answered together, as any client may read any answer.
    pub(crate) log_in_batched: bool,
    /// A log-in on a link that is logged in begins the session anew.
    pub(crate) log_in_renews: bool,
    /// A new user brings its password along.
    pub(crate) asks_password: bool,
    /// A recipient answers each live message itself, within 3 s.
    pub(crate) receipts: bool,
    /// Direct messages have a share of their own of what a link takes.
    pub(crate) direct_share: bool,
    /// Users enter conversations and see there what they said themselves; several clients may share
    /// a user's session; a list says first how long it is.
    pub(crate) conversations: bool,
    /// A group message is the same bytes for every member.
    pub(crate) same_for_all: bool,
    /// A request of tag 0 is answered only if it is refused, unless it is a log-in.
    pub(crate) quiet: bool,
    /// By how many bytes a delivery is longer than its text, at most.
    pub(crate) overhead: u32,
    /// Bytes of text that a delivery carries, at most; 0 where it is always as long.
    pub(crate) text_max: u32,
    /// Bytes of one frame of a list, at most.
    pub(crate) row: u32,
}

impl Traits {
    /// Bytes of a delivery of a text of this length, at most.
    #[inline]
    pub(crate) const fn delivery(&self, text: u32) -> u32 {
        let text = if text < self.text_max { text } else { self.text_max };
        self.overhead.saturating_add(text)
    }
}

/// What a dialect remembers of a session between two frames.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// `direct`: bytes still to be skipped of a frame that was refused.
    pub(crate) skip: u32,
    /// `direct`: the sender that the last frame named.
    pub(crate) source: [u8; 8],
    /// `queues`: the operation whose second half is awaited.
    pub(crate) half: u8,
    /// `queues`: whether the first half has been answered.
    pub(crate) answered: bool,
}

/// Bytes, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decoded<'a> {
    /// A request.
    Request { used: usize, sender: Sender<'a>, tag: Tag, request: Request<'a> },
    /// A message that means something only beside what its session said before ([`Codec::step`]).
    Step { used: usize, by: By },
    /// Not whole yet.
    Partial,
    /// To be answered so without a further look.
    Refused { used: usize, tag: Tag, outcome: Outcome },
    /// Nothing that could be answered: dropped and counted.
    Dropped { used: usize },
    /// The rest of what was refused before.
    Skipped { used: usize },
}

/// Whose session a message belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// Whoever has this address.
    Address(i64),
    /// The user of that number.
    User(u32),
    /// Nobody's yet.
    New,
    /// The one whose password has been awaited longest.
    Awaited,
}

/// How the session stands that a message belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// There is none.
    Unknown,
    /// It is logging in, and has said its name, or has not.
    Named(bool),
    /// It is this user's.
    User(u32),
}

/// What a message of a session asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// Nothing: dropped and counted.
    Dropped,
    /// An answer on the lane of this user, who has no session.
    Refused { user: u32, tag: Tag, outcome: Outcome },
    /// This.
    Do(Todo<'a>),
}

/// What is to be done for a session, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Todo<'a> {
    pub(crate) tag: Tag,
    pub(crate) wait: Wait,
    /// The answer to what was left half done before.
    pub(crate) before: Option<(Tag, List)>,
    pub(crate) request: Option<Request<'a>>,
    pub(crate) list: Option<List>,
}

impl<'a> Todo<'a> {
    /// One request.
    pub(crate) const fn request(tag: Tag, request: Request<'a>) -> Todo<'a> {
        let (wait, before, list) = (Wait::Unchanged, None, None);
        Todo { tag, wait, before, request: Some(request), list }
    }
}

/// What a session's timer is to be set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    Unchanged,
    Nothing,
    /// For the second half of a request: 100 ms, then [`Codec::elapsed`].
    Half,
    /// For the second half of a request: 60 s, then it lapses.
    Lapse,
}

/// What lies where all clients look for the answers to their log-ins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogInAnswer {
    /// The first message to this user; 0 is a refusal.
    First(u32),
    /// The second message, the same for all.
    Second,
    /// Neither.
    Other,
}

/// To whom bytes go, as far as its dialect cares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipient {
    /// Of the session: a SysV queue key. 0 where it has none, and for frames that many share.
    pub(crate) address: i64,
    /// User number; 0 for frames that many share.
    pub(crate) user: u32,
    /// Which message of an answer that is several ([`Codec::parts`]), from 0.
    pub(crate) part: u8,
}

/// One frame of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListFrame {
    /// 0: nothing to send.
    pub(crate) len: usize,
    /// Whether the list ends with it.
    pub(crate) last: bool,
}

/// A delivery that its client never read, taken apart again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recovered<'a> {
    /// User number of the sender; 0 where the frame does not tell.
    pub(crate) from: u32,
    /// Group number; 0 for a direct message.
    pub(crate) group: u32,
    pub(crate) priority: u8,
    /// The text, with the name of group or sender and `": "` in front if the dialect puts it there.
    pub(crate) text: &'a [u8],
    pub(crate) named: bool,
}

/// What a dialect's module implements, as `Wire`.
pub(crate) trait Codec {
    const TRAITS: Traits;

    /// Bytes of its longest answer, a frame of a list among them, and of its longest refusal.
    const ANSWER_LEN: (usize, usize);

    /// Bytes that a delivery has around its text, at most, and for each byte of the text. The
    /// default has room for a name, the dialect's own fields and the ellipsis of a text that was cut.
    const DELIVERY_LEN: (usize, usize) = (96, 1);

    /// Takes the first frame apart.
    fn decode<'b>(bytes: &'b [u8], progress: &mut Progress, limits: &Limits) -> Decoded<'b>;

    /// Puts an event into one frame and returns its length; 0 if the dialect has no word for it.
    fn encode(event: &Event<'_>, to: Recipient, limits: &Limits, out: &mut [u8]) -> usize;

    /// Puts as many rows as belong together into one frame.
    fn encode_list(
        _list: List,
        _tag: Tag,
        _rows: &mut Rows<'_>,
        _to: Recipient,
        _limits: &Limits,
        _out: &mut [u8],
    ) -> ListFrame {
        ListFrame { len: 0, last: true }
    }

    /// Takes a delivery apart again.
    fn recover<'b>(_frame: &'b [u8], _limits: &Limits) -> Option<Recovered<'b>> {
        None
    }

    /// Whether a link is closed after such an answer.
    fn closes(_outcome: Outcome) -> bool {
        false
    }

    /// What a message asks for, beside what its session said before.
    fn step<'b>(
        _bytes: &'b [u8],
        _standing: Standing,
        _progress: &mut Progress,
        _limits: &Limits,
    ) -> Step<'b> {
        Step::Dropped
    }

    /// What follows when [`Wait::Half`] is over.
    fn elapsed(_progress: &mut Progress) -> Step<'static> {
        Step::Dropped
    }

    /// How many messages an answer is.
    fn parts(_answer: &Answer<'_>) -> u8 {
        1
    }

    /// Whether a log-in brought its name along, rather than a password for the one before.
    fn brings_name(_tag: Tag) -> bool {
        true
    }

    /// Sessions at once.
    fn clients(_limits: &Limits) -> u32 {
        u32::MAX
    }

    /// The highest user number that can log in.
    fn max_user(_limits: &Limits) -> u32 {
        u32::MAX
    }

    /// Where a user's messages lie in a queue that all share.
    fn lane(_user: u32) -> i64 {
        0
    }

    /// Where a user's answers lie in a queue that all share.
    fn answer_lane(_user: u32, _limits: &Limits) -> i64 {
        0
    }

    /// Where the answers to log-ins lie in a queue that all share.
    fn log_in_lane() -> i64 {
        0
    }

    /// What such an answer is.
    fn log_in_answer(_frame: &[u8]) -> LogInAnswer {
        LogInAnswer::Other
    }
}
