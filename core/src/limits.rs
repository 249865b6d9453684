//! Limits that are not the length of a table.

/// Who may become a user by logging in under an unknown name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Registration {
    /// Nobody: users are made by the host.
    Closed,
    /// Anyone, up to so many a minute in each dialect.
    Open {
        /// New users a minute, in each dialect; at most as many at once.
        per_minute: u16,
    },
}

/// Bytes of the longest text that any exchange takes: what a frame of `native`, whose length has 16
/// bits, has room for beside the rest.
pub const MESSAGE_LENGTH_MAX: usize = 65_000;

/// Limits of the `topics` dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Topics {
    /// Sessions at once (`CLIENTS_NR`).
    pub clients: u32,
    /// Groups that it lists and addresses: numbers 1 to this (`TOPICS_NR`).
    pub topics: u32,
}

/// Limits of the `lanes` dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Lanes {
    /// Users that have a lane: numbers 1 to this (p), at most 99.
    pub users: u32,
    /// Groups that it addresses: numbers 1 to this (g), at most 49.
    pub groups: u32,
}

/// Limits that are not the length of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Limits {
    /// Bytes of one text; at most what the arena has for each message, and
    /// [`MESSAGE_LENGTH_MAX`].
    pub message_length: usize,
    /// Messages that may wait for one user.
    pub mailbox: u32,
    /// Who may register.
    pub registration: Registration,
    /// The highest user number (`CLIENTS_NR` of `queues`): what the table of users has, whatever
    /// is said here.
    pub users: u32,
    /// Of the dialect `topics`.
    pub topics: Topics,
    /// Of the dialect `lanes`.
    pub lanes: Lanes,
}

impl Limits {
    /// The defaults, with texts of up to `message_length` bytes.
    pub const fn new(message_length: usize) -> Limits {
        Limits {
            message_length,
            mailbox: 1024,
            registration: Registration::Open { per_minute: 10 },
            users: u32::MAX,
            topics: Topics { clients: 20, topics: 20 },
            lanes: Lanes { users: 32, groups: 16 },
        }
    }
}
