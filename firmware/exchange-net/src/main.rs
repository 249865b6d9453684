//! The whole exchange in a Cortex-M3, over Ethernet: `direct` on TCP port 4810 and `native` on 4811
//! of 10.0.2.15, ten connections at once.
//!
//! **Connections.** Each of the ten sockets listens on one of the two ports, five each, and again
//! once its connection is over. Who comes when all of a port are taken is refused.
//!
//! **Slow peers** are not read while their answers have no room, and messages for them wait in the
//! exchange; in `direct` a message that is not answered within 3 s ends the session. **Vanished
//! peers** are found within 15 s: by keepalive, or by what they do not acknowledge.
//!
//! **The end.** What was given for a connection leaves before it closes; it is cut off 2 s later.
#![no_std]
#![no_main]

use centrala_board::clock::Clock;
use centrala_board::ethernet::{Ethernet, Frames};
use centrala_board::stack::{self, Watermark};
use centrala_core::dialect::{Dialect, native};
use centrala_core::exchange::Exchange;
use centrala_core::host::Volatile;
use centrala_core::limits::Limits;
use centrala_lines::connections::Connections;
use centrala_lines::{Lent, Wires};
use cortex_m_rt::entry;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet, SocketStorage};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr, Ipv4Address};
use static_cell::{ConstStaticCell, StaticCell};

/// Connections at once.
const SOCKETS: usize = 10;
const USERS: usize = 10;
const GROUPS: usize = 8;
const MEMBERSHIPS: usize = 64;
const MESSAGES: usize = 48;
const ENTRIES: usize = 64;

centrala_core::storage! {
    struct Tables {
        users: USERS,
        groups: GROUPS,
        memberships: MEMBERSHIPS,
        sessions: SOCKETS,
        messages: MESSAGES,
        message_length: 128,
        entries: ENTRIES,
        questions: 2,
    }
}

centrala_lines::note_sizes!(Tables {
    USERS as u32,
    GROUPS as u32,
    MEMBERSHIPS as u32,
    SOCKETS as u32,
    MESSAGES as u32,
    ENTRIES as u32,
    2
});

/// Bytes of the longest frame: those of `native` are longer than those of `direct`.
const INPUT: usize = native::frame_max(Tables::MESSAGE_LENGTH);
/// Bytes of a socket's buffers.
const RECEIVE: usize = 384;
const SEND: usize = 1_152;

/// A name for the network: locally administered, and QEMU's.
const HARDWARE: [u8; 6] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];
/// What QEMU's network gives out.
const ADDRESS: Ipv4Address = Ipv4Address::new(10, 0, 2, 15);
const PREFIX: u8 = 24;
const GATEWAY: Ipv4Address = Ipv4Address::new(10, 0, 2, 2);

/// A peer that says nothing for so long is asked whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// One that acknowledges nothing for so long is gone.
const VANISHED: Duration = Duration::from_secs(15);
/// Milliseconds that a connection may take to close.
const LINGER: u64 = 2_000;

// All zero: they lie in .bss and take no flash.
static TABLES: ConstStaticCell<Tables> = ConstStaticCell::new(Tables::EMPTY);
static INPUTS: ConstStaticCell<[[u8; INPUT]; SOCKETS]> =
    ConstStaticCell::new([[0; INPUT]; SOCKETS]);
static FRAMES: ConstStaticCell<Frames> = ConstStaticCell::new(Frames::EMPTY);
static RECEIVED: ConstStaticCell<[[u8; RECEIVE]; SOCKETS]> =
    ConstStaticCell::new([[0; RECEIVE]; SOCKETS]);
static TO_SEND: ConstStaticCell<[[u8; SEND]; SOCKETS]> = ConstStaticCell::new([[0; SEND]; SOCKETS]);
static STORAGE: StaticCell<[SocketStorage<'static>; SOCKETS]> = StaticCell::new();
static EXCHANGE: StaticCell<Exchange<'static>> = StaticCell::new();
static SWITCHBOARD: StaticCell<Switchboard> = StaticCell::new();
static NETWORK: StaticCell<Network> = StaticCell::new();

type Switchboard = Connections<'static, 'static, SOCKETS, INPUT>;

/// The dialect and the port of a socket.
fn place(socket: usize) -> (Dialect, u16) {
    if socket % 2 == 0 { (Dialect::Direct, 4810) } else { (Dialect::Native, 4811) }
}

/// How far a socket's connection is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nobody has connected.
    Listening,
    /// It has a session.
    Open,
    /// It is to be over by then.
    Closing(u64),
}

/// Everything of TCP.
struct Network {
    ethernet: Ethernet,
    interface: Interface,
    sockets: SocketSet<'static>,
    handles: [SocketHandle; SOCKETS],
    stages: [Stage; SOCKETS],
}

/// The sockets, as the connections see them.
struct Outputs<'s>(&'s mut SocketSet<'static>, [SocketHandle; SOCKETS]);

impl Wires for Outputs<'_> {
    fn free(&self, connection: usize) -> usize {
        self.1.get(connection).map_or(0, |handle| {
            let socket = self.0.get::<Socket<'_>>(*handle);
            socket.send_capacity() - socket.send_queue()
        })
    }
    fn is_empty(&self, connection: usize) -> bool {
        self.1.get(connection).is_none_or(|handle| {
            // What the peer has not acknowledged stays in the queue.
            self.0.get::<Socket<'_>>(*handle).send_queue() == 0
        })
    }
    fn send(&mut self, connection: usize, bytes: &[u8]) {
        if let Some(handle) = self.1.get(connection) {
            // Room was asked for; a connection that is over takes nothing.
            let _ = self.0.get_mut::<Socket<'_>>(*handle).send_slice(bytes);
        }
    }
}

// In functions of their own: what is moved around is off the stack when the loop begins.

#[inline(never)]
fn exchange() -> &'static mut Exchange<'static> {
    let limits = Limits { mailbox: 32, ..Limits::new(Tables::MESSAGE_LENGTH) };
    EXCHANGE.init_with(|| Exchange::new(TABLES.take().lend(), limits))
}

#[inline(never)]
fn switchboard(exchange: &'static mut Exchange<'static>) -> &'static mut Switchboard {
    SWITCHBOARD.init_with(|| Connections::new(exchange, INPUTS.take(), b"all", &mut Volatile))
}

#[inline(never)]
fn network(now: u64) -> &'static mut Network {
    let mut ethernet = Ethernet::start(FRAMES.take(), HARDWARE).expect("a LAN9118");
    let config = Config::new(EthernetAddress(HARDWARE).into());
    let mut interface = Interface::new(config, &mut ethernet, instant(now));
    interface.update_ip_addrs(|addresses| {
        let _ = addresses.push(IpCidr::new(IpAddress::Ipv4(ADDRESS), PREFIX));
    });
    let _ = interface.routes_mut().add_default_ipv4_route(GATEWAY);
    let mut sockets =
        SocketSet::new(&mut STORAGE.init_with(|| [SocketStorage::EMPTY; SOCKETS])[..]);
    let mut buffers = RECEIVED.take().iter_mut().zip(TO_SEND.take());
    let handles = core::array::from_fn(|number| {
        let (received, to_send) = buffers.next().expect("buffers for each socket");
        let (received, to_send) = (&mut received[..], &mut to_send[..]);
        let mut socket = Socket::new(SocketBuffer::new(received), SocketBuffer::new(to_send));
        socket.set_keep_alive(Some(KEEPALIVE));
        socket.set_timeout(Some(VANISHED));
        socket.set_nagle_enabled(false);
        // Before the first frame is looked at: it may be of somebody who connects.
        let _ = socket.listen(place(number).1);
        sockets.add(socket)
    });
    let stages = [Stage::Listening; SOCKETS];
    NETWORK.init_with(|| Network { ethernet, interface, sockets, handles, stages })
}

fn instant(now: u64) -> Instant {
    Instant::from_millis(i64::try_from(now).unwrap_or(i64::MAX))
}

#[entry]
fn main() -> ! {
    let peripherals = centrala_board::first(cortex_m::Peripherals::take());
    let mut clock = Clock::start(peripherals.SYST);
    let connections = switchboard(exchange());
    let network = network(clock.now());
    let mut watermark = Watermark::new();
    let (tables, stack) = (Tables::BYTES, stack::size());
    defmt::info!("exchange-net: {=usize} bytes of tables, {=usize} of stack", tables, stack);
    loop {
        let now = clock.now();
        network.poll(now);
        for socket in 0..SOCKETS {
            network.serve(socket, connections, now);
        }
        network.turn(connections, now);
        // What was given to the sockets leaves.
        network.poll(now);
        if let Some(bytes) = watermark.grown() {
            defmt::info!("stack: {=usize} bytes", bytes);
        }
        network.ethernet.listen();
        centrala_board::sleep_unless(|| network.ethernet.has_received());
    }
}

impl Network {
    fn poll(&mut self, now: u64) {
        self.interface.poll(instant(now), &mut self.ethernet, &mut self.sockets);
    }

    /// Opens, reads and closes a socket's connection, as far as there is something to do.
    fn serve(&mut self, number: usize, connections: &mut Switchboard, now: u64) {
        let handle = self.handles[number];
        let (dialect, port) = place(number);
        let socket = self.sockets.get_mut::<Socket<'_>>(handle);
        let state = socket.state();
        let mut store = Volatile;
        match self.stages[number] {
            Stage::Listening if state == State::Closed => {
                // A socket that is closed listens.
                let _ = socket.listen(port);
            }
            Stage::Listening if socket.may_send() => {
                defmt::info!("connection {=usize} opens", number);
                let mut wires = Outputs(&mut self.sockets, self.handles);
                let lent = Lent { now, store: &mut store, wires: &mut wires };
                self.stages[number] = match connections.open(number, dialect, &lent) {
                    true => Stage::Open,
                    false => self.close(number, now),
                };
            }
            Stage::Listening => {}
            Stage::Open => {
                self.receive(number, connections, now);
                let socket = self.sockets.get_mut::<Socket<'_>>(handle);
                let over = !socket.may_recv() && !socket.can_recv();
                if over || !socket.is_active() {
                    defmt::info!("connection {=usize} is left", number);
                    let mut wires = Outputs(&mut self.sockets, self.handles);
                    let mut lent = Lent { now, store: &mut store, wires: &mut wires };
                    connections.close(number, &mut lent);
                    self.stages[number] = self.close(number, now);
                }
            }
            Stage::Closing(by) => {
                if state == State::Closed || state == State::TimeWait {
                    socket.abort();
                    self.stages[number] = Stage::Listening;
                } else if now >= by {
                    socket.abort();
                }
            }
        }
    }

    /// Gives the exchange what a socket has received, as far as it has room for it.
    fn receive(&mut self, number: usize, connections: &mut Switchboard, now: u64) {
        loop {
            let mut bytes = [0; 64];
            let mut wires = Outputs(&mut self.sockets, self.handles);
            let space = connections.space(number, &wires).min(bytes.len());
            let socket = wires.0.get_mut::<Socket<'_>>(self.handles[number]);
            let got = socket.recv_slice(&mut bytes[..space]).unwrap_or(0);
            if got == 0 {
                return;
            }
            let mut lent = Lent { now, store: &mut Volatile, wires: &mut wires };
            connections.receive(number, &bytes[..got], &mut lent);
        }
    }

    /// Does what is due, and closes what the exchange has closed.
    fn turn(&mut self, connections: &mut Switchboard, now: u64) {
        let mut wires = Outputs(&mut self.sockets, self.handles);
        connections.turn(&mut Lent { now, store: &mut Volatile, wires: &mut wires });
        for number in 0..SOCKETS {
            if connections.take_ended(number) && self.stages[number] == Stage::Open {
                defmt::info!("connection {=usize} is closed", number);
                self.stages[number] = self.close(number, now);
            }
        }
    }

    /// Closes a socket once what was given for it has left.
    fn close(&mut self, number: usize, now: u64) -> Stage {
        self.sockets.get_mut::<Socket<'_>>(self.handles[number]).close();
        Stage::Closing(now + LINGER)
    }
}
