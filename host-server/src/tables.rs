//! The memory of the exchange, allocated once from the configuration.

use std::fmt;

use centrala_core::exchange::{
    Entry, Group, Link, Membership, Message, PrivateChat, Question, Session, Tables, Timer, User,
    places_for_users, scratch_len,
};
use centrala_core::table::{Empty, Slot};

use crate::config::Config;

/// Every table of an exchange. It is empty when made, and lent once.
#[derive(Debug)]
pub struct Memory {
    users: Box<[User]>,
    user_index: Box<[u32]>,
    groups: Box<[Group]>,
    group_index: Box<[u32]>,
    memberships: Box<[Slot<Membership>]>,
    chats: Box<[Slot<PrivateChat>]>,
    chat_index: Box<[u32]>,
    sessions: Box<[Slot<Session>]>,
    session_index: Box<[u32]>,
    messages: Box<[Slot<Message>]>,
    bodies: Box<[u8]>,
    entries: Box<[Slot<Entry>]>,
    timers: Box<[Slot<Timer>]>,
    questions: Box<[Slot<Question>]>,
    fan: Box<[Link]>,
    fan_dialects: Box<[u8]>,
    scratch: Box<[u8]>,
}

/// How long each table is.
#[derive(Clone, Copy, Debug)]
struct Rows {
    users: usize,
    groups: usize,
    memberships: usize,
    chats: usize,
    sessions: usize,
    messages: usize,
    message_length: usize,
    entries: usize,
    questions: usize,
}

impl Rows {
    fn of(config: &Config) -> Rows {
        let limits = &config.limits;
        // A queue that clients share is a session of its own.
        let endpoints = config.keys().count();
        let sessions = limits.clients as usize + endpoints;
        Rows {
            users: places_for_users(limits.users as usize),
            groups: limits.topics as usize,
            memberships: limits.memberships as usize,
            chats: limits.chats as usize,
            sessions,
            messages: limits.messages as usize,
            message_length: limits.message_length as usize,
            entries: limits.copies() as usize,
            // Each session may wait for a password to be checked, and its user for mail.
            questions: 2 * sessions,
        }
    }

    /// Each entry may wait for a receipt, each session for its client, and each log-in of a queue
    /// client that was refused for its answer to be fetched.
    fn timers(&self) -> usize {
        self.entries + 2 * self.sessions + 1
    }
}

impl Memory {
    /// Allocates it.
    pub fn new(config: &Config) -> Memory {
        let rows = Rows::of(config);
        Memory {
            users: vec![User::EMPTY; rows.users].into(),
            user_index: vec![0; rows.users.next_power_of_two()].into(),
            groups: vec![Group::EMPTY; rows.groups].into(),
            group_index: vec![0; rows.groups.next_power_of_two()].into(),
            memberships: vec![Slot::EMPTY; rows.memberships].into(),
            chats: vec![Slot::EMPTY; rows.chats].into(),
            chat_index: vec![0; rows.chats.next_power_of_two()].into(),
            sessions: vec![Slot::EMPTY; rows.sessions].into(),
            session_index: vec![0; rows.sessions.next_power_of_two()].into(),
            messages: vec![Slot::EMPTY; rows.messages].into(),
            bodies: vec![0; rows.messages * rows.message_length].into(),
            entries: vec![Slot::EMPTY; rows.entries].into(),
            timers: vec![Slot::EMPTY; rows.timers()].into(),
            questions: vec![Slot::EMPTY; rows.questions].into(),
            fan: vec![Link::NONE; rows.sessions].into(),
            fan_dialects: vec![0; rows.sessions].into(),
            scratch: vec![0; scratch_len(rows.message_length)].into(),
        }
    }

    /// Lends it to an exchange, for the one time that it is empty.
    pub fn lend(&mut self) -> Tables<'_> {
        centrala_core::lend_tables!(self)
    }
}

/// The size of every table that a configuration asks for, without allocating any. Displays as a
/// table of its own.
#[derive(Clone, Debug)]
pub struct Sizes(Vec<Size>);

/// One table.
#[derive(Clone, Copy, Debug)]
struct Size {
    name: &'static str,
    rows: usize,
    row: usize,
}

impl Sizes {
    /// For this configuration.
    pub fn of(config: &Config) -> Sizes {
        let rows = Rows::of(config);
        let size = |name, rows, row| Size { name, rows, row };
        Sizes(vec![
            size("users", rows.users, size_of::<User>()),
            size("user index", rows.users.next_power_of_two(), size_of::<u32>()),
            size("groups", rows.groups, size_of::<Group>()),
            size("group index", rows.groups.next_power_of_two(), size_of::<u32>()),
            size("memberships", rows.memberships, size_of::<Slot<Membership>>()),
            size("private chats", rows.chats, size_of::<Slot<PrivateChat>>()),
            size("chat index", rows.chats.next_power_of_two(), size_of::<u32>()),
            size("sessions", rows.sessions, size_of::<Slot<Session>>()),
            size("session index", rows.sessions.next_power_of_two(), size_of::<u32>()),
            size("messages", rows.messages, size_of::<Slot<Message>>()),
            size("message texts", rows.messages, rows.message_length),
            size("copies", rows.entries, size_of::<Slot<Entry>>()),
            size("timers", rows.timers(), size_of::<Slot<Timer>>()),
            size("questions", rows.questions, size_of::<Slot<Question>>()),
            size("fan-out", rows.sessions, size_of::<Link>() + 1),
            size("scratch", 1, scratch_len(rows.message_length)),
        ])
    }

    /// Bytes of all tables together.
    pub fn total(&self) -> usize {
        self.0.iter().map(|size| size.rows * size.row).sum()
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<14} {:>9} {:>6} {:>12}", "table", "rows", "each", "bytes")?;
        for Size { name, rows, row } in &self.0 {
            writeln!(f, "{name:<14} {rows:>9} {row:>6} {:>12}", rows * row)?;
        }
        write!(f, "{:<14} {:>9} {:>6} {:>12}", "total", "", "", self.total())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use centrala_core::exchange::Exchange;

    #[test]
    fn an_exchange_has_the_capacities_that_were_asked_for() {
        let config = Config::parse(
            "[limits]\nusers = 20\nclients = 3\ntopics = 4\nmessages = 5\n[topics]\n",
            "c.toml",
        )
        .unwrap();
        let mut memory = Memory::new(&config);
        let tables = memory.lend();
        let lent = [
            size_of_val(tables.users),
            size_of_val(tables.user_index),
            size_of_val(tables.groups),
            size_of_val(tables.group_index),
            size_of_val(tables.memberships),
            size_of_val(tables.chats),
            size_of_val(tables.chat_index),
            size_of_val(tables.sessions),
            size_of_val(tables.session_index),
            size_of_val(tables.messages),
            size_of_val(tables.bodies),
            size_of_val(tables.entries),
            size_of_val(tables.timers),
            size_of_val(tables.questions),
            size_of_val(tables.fan),
            size_of_val(tables.fan_dialects),
            size_of_val(tables.scratch),
        ];
        assert_eq!(lent.iter().sum::<usize>(), Sizes::of(&config).total());
        let capacity = Exchange::new(tables, config.exchange_limits()).capacity();
        // Numbers 12 to 16 and 19 are given to nobody; the queue of `topics` is a session.
        assert_eq!((capacity.users, capacity.sessions), (26, 4));
        assert_eq!((capacity.groups, capacity.messages, capacity.entries), (4, 5, 10));
    }
}
