//! Drives a whole exchange with operations made of arbitrary bytes, and checks after each that it
//! kept its word: what was promised is delivered or in the store, nobody gets what is for others,
//! no link is given more than it takes, each request has its one answer in time, and when all is
//! settled the tables are empty.
//!
//! The fuzz target `exchange` and the test of the same name give it their bytes.

mod acts;
mod direct;
mod host;
mod lanes;
mod life;
mod line;
mod mail;
mod model;
mod queues;
mod rooms;
mod settle;
mod shelf;
mod topics;

use arbitrary::{Arbitrary, Unstructured};
use centrala_core::exchange::{Exchange, Link, Tables, Token};
use centrala_core::limits::{Lanes, Limits, Registration};

use host::{Desk, Event};
use model::Model;
use shelf::Shelf;

centrala_core::storage! {
    /// Full at every turn.
    struct Tiny {
        users: 4,
        groups: 2,
        memberships: 4,
        sessions: 6,
        messages: 4,
        message_length: 64,
        entries: 5,
        questions: 1,
        chats: 2,
    }
}

centrala_core::storage! {
    /// Seldom full.
    struct Small {
        users: 8,
        groups: 4,
        memberships: 24,
        sessions: 14,
        messages: 40,
        message_length: 64,
        entries: 80,
        questions: 3,
        chats: 6,
    }
}

/// Memory for one life of an exchange.
trait Memory {
    fn new() -> Box<Self>;
    fn tables(&mut self) -> Tables<'_>;
}

impl Memory for Tiny {
    fn new() -> Box<Self> {
        Box::new(Tiny::EMPTY)
    }
    fn tables(&mut self) -> Tables<'_> {
        self.lend()
    }
}

impl Memory for Small {
    fn new() -> Box<Self> {
        Box::new(Small::EMPTY)
    }
    fn tables(&mut self) -> Tables<'_> {
        self.lend()
    }
}

const NAMES: [&str; 8] = ["ann", "bob", "cy", "dee", "a longer name", "eve_x", "Ż", "8 bytes."];
const GROUPS: [&str; 6] = ["all", "news", "a group by the way", "x", "y_z", "7 bytes"];
const MESSAGE_LENGTH: usize = 64;
/// The beginning of time, in Unix milliseconds.
const EPOCH: u64 = 1_700_000_000_000;

/// How a run is set up.
#[derive(Arbitrary, Debug)]
struct Setup {
    tiny: bool,
    /// Whether some are there from the beginning.
    busy: bool,
    history: bool,
    closed: bool,
    mailbox: u8,
    clients: u8,
    topics: u8,
    lanes: u8,
    /// Which endpoints there are.
    endpoints: u8,
    /// Whether the store is read back page by page.
    pages: bool,
}

/// One thing that happens. Numbers pick among what there is.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Op {
    Connect { room: u8 },
    Hello { link: u8, who: u8, password: bool },
    Send { link: u8, group: bool, to: u8, offline: bool, more: u8, hold: u8 },
    Answer { link: u8, which: u8 },
    AnswerAll { link: u8 },
    Raw { link: u8, bytes: [u8; 12], len: u8 },
    Feed { link: u8, len: u8 },
    Room { link: u8, messages: u8, direct: u8 },
    Taken { link: u8, which: u8 },
    NotTaken { link: u8, which: u8 },
    Disconnect { link: u8, back: u8 },
    LogIn { key: u8, who: u8, room: u8, missing: bool },
    Fetch { key: u8 },
    NewTopic { link: u8, name: u8 },
    Subscribe { link: u8, topic: u8, count: i8 },
    Publish { link: u8, topic: u8, priority: u8, more: u8 },
    List { link: u8, mine: bool },
    RawRequest { bytes: [u8; 24], len: u8 },
    Verify { which: u8, right: bool },
    CreateUser { who: u8 },
    Password { who: u8, known: bool },
    RemoveUser { who: u8 },
    CreateGroup { name: u8 },
    RemoveGroup { name: u8 },
    Join { who: u8, group: u8, count: i8 },
    Leave { who: u8, group: u8 },
    Wait { how_long: u8 },
    Store { full: u8 },
    Stale { which: u8 },
    Restart { queues_live: bool },
    Line { room: u8 },
    Greet { link: u8, who: u8, password: bool },
    Say { link: u8, group: bool, to: u8, receipt: bool, more: u8 },
    RawLine { link: u8, bytes: [u8; 8], len: u8 },
    QueuesLogIn { key: u8, who: u8, room: u8, missing: bool, both: bool, password: bool },
    QueuesAsk { link: u8, what: u8, group: u8 },
    QueuesHalf { link: u8, join: bool, group: u8, how: u8 },
    QueuesSend { link: u8, group: bool, to: u8, form: u8, more: u8 },
    LanesLogIn { who: u8, room: u8, missing: bool, alone: bool, password: bool },
    LanesPassword { right: bool },
    LanesRead { lane: u8 },
    LanesAsk { link: u8, what: u8, group: u8 },
    LanesSend { link: u8, group: bool, to: u8, more: u8 },
    LanesStranger { k: u8 },
    Read { link: u8, count: u8 },
    Gone { link: u8 },
    Page { which: u8, late: bool, empty: bool },
    Socket { room: u8 },
    Authenticate { link: u8, who: u8, password: bool },
    Enter { link: u8, g: u8, k: u8, leave: bool },
    NewChat { link: u8, g: u8 },
    CreateAdvert { link: u8, name: u8 },
    Talk { link: u8, g: u8, k: u8, more: u8 },
}

/// Runs an exchange with what `bytes` say, to the end of them, and sees that all is settled then.
///
/// # Panics
/// When the exchange does not keep its word.
pub fn run(bytes: &[u8]) {
    let mut bytes = Unstructured::new(bytes);
    let Ok(setup) = bytes.arbitrary::<Setup>() else { return };
    match setup.tiny {
        true => live::<Tiny>(&setup, &mut bytes),
        false => live::<Small>(&setup, &mut bytes),
    }
}

fn live<M: Memory>(setup: &Setup, bytes: &mut Unstructured<'_>) {
    let mut limits = Limits::new(MESSAGE_LENGTH);
    limits.mailbox = 2 + u32::from(setup.mailbox);
    limits.topics.clients = 1 + u32::from(setup.clients % 6);
    limits.topics.topics = 1 + u32::from(setup.topics % 6);
    limits.lanes =
        Lanes { users: 1 + u32::from(setup.lanes % 8), groups: 1 + u32::from(setup.lanes / 8 % 4) };
    // One or two in small tables; the others in turn, or all.
    let endpoints = match (setup.tiny, setup.endpoints % 8) {
        (_, 0) => 0b001,
        (true, 7) => 0b110,
        (_, some) => some,
    };
    if setup.closed {
        limits.registration = Registration::Closed;
    }
    let mut world = World::default();
    world.shelf.history = setup.history;
    world.shelf.pages = setup.pages;
    let mut queues_live = false;
    loop {
        let mut memory = M::new();
        let mut life = Life { exchange: Exchange::new(memory.tables(), limits), world: &mut world };
        life.begin(endpoints, queues_live);
        if setup.busy && life.world.shelf.users.is_empty() {
            life.open_for_business();
        }
        match life.play(bytes) {
            Some(live) => queues_live = live,
            None => return life.settle(),
        }
    }
}

/// What outlasts one exchange.
#[derive(Default)]
struct World {
    now: u64,
    desk: Desk,
    shelf: Shelf,
    model: Model,
    /// Links in the order they came; those that are over are kept for a while.
    links: Vec<Link>,
    answered: Vec<Token>,
    /// What happened so far, for whoever has to find out why it went wrong.
    log: Vec<Line>,
}

enum Line {
    Op(u64, Op),
    Event(Event),
}

impl Line {
    fn event(&self) -> Option<&Event> {
        match self {
            Line::Op(..) => None,
            Line::Event(event) => Some(event),
        }
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Line::Op(now, op) => write!(f, "{now} ms: {op:?}"),
            Line::Event(event) => write!(f, "    {event:?}"),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for line in &self.log {
                eprintln!("{line}");
            }
        }
    }
}

struct Life<'a, 'w> {
    exchange: Exchange<'a>,
    world: &'w mut World,
}

/// One of these, unless there is none.
fn pick<T: Copy>(of: &[T], which: u8) -> Option<T> {
    of.get(usize::from(which) % of.len().max(1)).copied()
}

/// From nothing over a message or two to plenty.
fn room(which: u8) -> u32 {
    match which {
        0..=180 => 1 << 20,
        181..=200 => 0,
        small => (u32::from(small) - 200) * 8,
    }
}
