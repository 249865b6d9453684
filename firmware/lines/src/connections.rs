//! The loop around the exchange, for connections that come and go: TCP without an operating system.
//!
//! 1. A peer connected: [`Connections::open`].
//! 2. [`Connections::receive`] bytes of a connection, as many as [`Connections::space`] says.
//! 3. A peer is gone: [`Connections::close`].
//! 4. [`Connections::turn`] when any of that happened or anything was sent, and when
//!    [`Connections::poll_timeout`] is due.
//! 5. Where [`Connections::take_ended`] then says so: what was given for the connection leaves, and
//!    it is closed.
//!
//! Room, answers (with a larger [`RESERVE`]) and the common group are as for [`lines`](crate::lines). Mail counts as taken when
//! the peer has acknowledged all that was sent to it.

use centrala_core::dialect::Dialect;
use centrala_core::exchange::Exchange;
use centrala_core::host::Store;

use crate::lines::{put, take};
use crate::office::{Lent, Office, Wires};

/// Bytes of each connection's room that are kept for answers: what arrives at once may be many small
/// requests. A connection is not read while less than half of it is left.
pub const RESERVE: usize = 768;

/// An exchange and its connections: `LINKS` of them at once, with frames of up to `INPUT` bytes.
#[derive(Debug)]
pub struct Connections<'l, 'a, const LINKS: usize, const INPUT: usize> {
    office: Office<'l, 'a, LINKS, RESERVE>,
    inputs: &'l mut [[u8; INPUT]; LINKS],
    lens: [usize; LINKS],
}

impl<'l, 'a, const LINKS: usize, const INPUT: usize> Connections<'l, 'a, LINKS, INPUT> {
    /// Connections around an exchange, with a common group of this name. `INPUT` is the longest
    /// frame of any of its dialects.
    pub fn new(
        exchange: &'l mut Exchange<'a>,
        inputs: &'l mut [[u8; INPUT]; LINKS],
        common: &[u8],
        store: &mut dyn Store,
    ) -> Self {
        Connections { office: Office::new(exchange, common, store), inputs, lens: [0; LINKS] }
    }

    /// The exchange.
    pub fn exchange(&self) -> &Exchange<'a> {
        self.office.exchange
    }

    /// The number of the user of a connection; 0 for nobody.
    pub fn user(&self, connection: usize) -> u32 {
        self.office.user(connection)
    }

    /// A peer has connected. `false`: there is no session for it, and it is to be closed.
    pub fn open(&mut self, connection: usize, dialect: Dialect, lent: &Lent<'_>) -> bool {
        if let Some(len) = self.lens.get_mut(connection) {
            *len = 0;
        }
        self.office.take_ended(connection);
        self.office.connect(connection, dialect, lent)
    }

    /// A peer is gone, or sends nothing more and all that it sent was used.
    pub fn close(&mut self, connection: usize, lent: &mut Lent<'_>) {
        self.office.disconnect(connection, lent);
        if let Some(len) = self.lens.get_mut(connection) {
            *len = 0;
        }
    }

    /// Whether the exchange, or an answer that did not fit, has ended a connection's session since
    /// this was asked last.
    pub fn take_ended(&mut self, connection: usize) -> bool {
        self.office.take_ended(connection)
    }

    /// How many bytes of a connection can be received now.
    pub fn space(&self, connection: usize, wires: &dyn Wires) -> usize {
        let Some(len) = self.lens.get(connection) else { return 0 };
        let open = !self.office.link(connection).is_none();
        match open && Office::<LINKS, RESERVE>::answerable(connection, wires) {
            true => INPUT.saturating_sub(*len),
            false => 0,
        }
    }

    /// Takes bytes that arrived on a connection, no more than [`Connections::space`].
    pub fn receive(&mut self, connection: usize, bytes: &[u8], lent: &mut Lent<'_>) {
        let (input, len) = (self.inputs.get_mut(connection), self.lens.get_mut(connection));
        if let (Some(input), Some(len)) = (input, len) {
            put(input, len, bytes);
            self.work(connection, lent);
        }
    }

    /// Does what is due: frames that are whole, timers, and what has room again.
    pub fn turn(&mut self, lent: &mut Lent<'_>) {
        for connection in 0..LINKS {
            self.work(connection, lent);
            self.office.refill(connection, lent);
        }
        self.office.handle_timeout(lent);
    }

    /// When [`Connections::turn`] has something to do, if nothing happens before that.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.office.exchange.poll_timeout()
    }

    /// Uses what has arrived, a frame at a time.
    fn work(&mut self, connection: usize, lent: &mut Lent<'_>) {
        while Office::<LINKS, RESERVE>::answerable(connection, lent.wires) {
            let Some(len) = self.lens.get_mut(connection).filter(|len| **len != 0) else { return };
            let Some(input) = self.inputs.get_mut(connection) else { return };
            let bytes = input.get(..*len).unwrap_or(&[]);
            match self.office.receive(connection, bytes, lent) {
                // Half a frame, or a list is being sent.
                Ok(0) => return,
                Ok(used) => take(input, len, used),
                Err(_) => {
                    *len = 0;
                    return;
                }
            }
        }
    }
}
