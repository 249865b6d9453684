//! `centralad`, the server of Centrala: it moves bytes between the exchange ([`centrala_core`]) and
//! TCP, SysV queues and files, and decides nothing about messages itself.
//!
//! One thread owns the exchange ([`server`]). Its loop takes what has arrived everywhere as one
//! batch, gives it to the exchange, and lets out what that wants sent, with one commit of the store
//! before the answers that promise something.
//!
//! ```text
//! tcp ───────────────┐                                     ┌──► tcp
//! rooms ─────────────┤                                     ├──► rooms
//! sysv::receiver ──► │ server::Server ──► Exchange ──► outbox ──► sysv::client, sysv::endpoint
//! signals, time ─────┘                       │             └──► (questions, notes, the end)
//!                                            └──► store ──► centrala_store
//! passwords ◄──► server::questions ◄─────────────── store (pages of mail, hashes)
//! ```

pub mod accounts;
pub mod backup;
pub mod config;
pub mod counters;
pub mod history;
pub mod memory;
pub mod notes;
pub mod outbox;
pub mod passwords;
pub mod poll;
pub mod restore;
pub mod rooms;
pub mod server;
pub mod store;
pub mod sysv;
pub mod tables;
pub mod tcp;
