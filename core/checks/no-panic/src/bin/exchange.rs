//! The whole exchange has no panicking branch either, whatever its host does.
#![no_std]
#![no_main]

use centrala_core::dialect::Dialect;
use centrala_core::exchange::{Exchange, Link, Token};
use centrala_core::host::{
    Ask, Count, Io, Mail, NoRoom, Outbox, Posted, Record, Reply, Room, Store,
};
use centrala_core::limits::Limits;
use centrala_core::request::{Chat, Target};
use core::hint::black_box;
use panic_never as _;

centrala_core::storage! {
    struct Memory {
        users: 8,
        groups: 8,
        memberships: 16,
        sessions: 10,
        messages: 16,
        message_length: 128,
        entries: 16,
        questions: 2,
        chats: 4,
    }
}

/// Of which the linker knows nothing.
struct Host;

impl Outbox for Host {
    fn open(&mut self, link: Link, endpoint: Link, address: i64) -> Option<Room> {
        black_box((link, endpoint, address));
        black_box(None)
    }
    fn deliver(&mut self, to: &[Link], frame: &[u8]) {
        black_box((to, frame));
    }
    fn mail(&mut self, to: Link, frame: &[u8], mark: u32) {
        black_box((to, frame, mark));
    }
    fn reply(&mut self, to: Link, frame: &[u8]) {
        black_box((to, frame));
    }
    fn promise(&mut self, to: Link, granted: &[u8], refused: &[u8]) {
        black_box((to, granted, refused));
    }
    fn ask(&mut self, token: Token, ask: Ask<'_>) {
        black_box((token, ask));
    }
    fn turn_away(&mut self, endpoint: Link, address: i64, frame: &[u8]) {
        black_box((endpoint, address, frame));
    }
    fn take_back(&mut self, endpoint: Link, lane: i64, each: &mut dyn FnMut(&[u8]) -> bool) {
        black_box((endpoint, lane));
        black_box(each(black_box(&[])));
    }
    fn unread(&mut self, link: Link, each: &mut dyn FnMut(&[u8])) {
        black_box(link);
        each(black_box(&[]));
    }
    fn gone(&mut self, link: Link) -> bool {
        black_box(link);
        black_box(false)
    }
    fn close(&mut self, link: Link) {
        black_box(link);
    }
    fn shut_down(&mut self) {}
}

impl Store for Host {
    fn write(&mut self, record: Record<'_>) -> Result<(), NoRoom> {
        black_box(record);
        black_box(Ok(()))
    }
    fn history(&self) -> bool {
        black_box(true)
    }
    fn pages(&self) -> bool {
        black_box(true)
    }
}

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    let mut memory = Memory::EMPTY;
    let limits = black_box(Limits::new(black_box(128)));
    let mut exchange = Exchange::new(black_box(&mut memory).lend(), limits);
    let exchange = black_box(&mut exchange);
    let buffer = [0u8; 1100];
    let (mut store, mut out) = (Host, Host);
    loop {
        let bytes = black_box(&buffer[..]).get(..black_box(0)).unwrap_or(&[]);
        let (store, out) = (&mut store, &mut out);
        let mut io = Io { now: black_box(0), time: black_box(0), store, out };
        let io = &mut io;
        let number = black_box(0);
        let _ = black_box(exchange.restore(black_box(Record::NoUser { number })));
        let _ = black_box(exchange.endpoint(black_box(Dialect::Topics), black_box(0)));
        let link = exchange.connect(black_box(Dialect::Direct), black_box(Room::of(0)), io.now);
        let link = link.unwrap_or(black_box(Link::NONE));
        let _ = black_box(exchange.receive(link, bytes, io));
        exchange.room(link, black_box(Room::of(0)), io);
        exchange.taken(link, number, io);
        exchange.not_taken(link, number, io);
        exchange.log_in_refused(link, number, io);
        exchange.give_back(link, bytes, io);
        let reply = black_box(Reply::Verified(black_box(true)));
        let _ = black_box(exchange.answer_question(black_box(Token::NONE), reply, io));
        let mail = Mail {
            user: number,
            sequence: black_box(0),
            id: number,
            from: number,
            group: number,
            priority: black_box(3),
            last: black_box(false),
            time: black_box(0),
            text: bytes,
            about: number,
            image: black_box(false),
        };
        exchange.mail_page(black_box(Token::NONE), [black_box(mail)], black_box(false), io);
        let posted =
            Posted { sequence: black_box(0), image: black_box(false), text: bytes, ..Posted::NONE };
        exchange.history_page(
            black_box(Token::NONE),
            number,
            [black_box(posted)],
            black_box(false),
            io,
        );
        let chat = black_box(Chat::Direct(number));
        let count = Count { chat, all: black_box(0), new: black_box(0) };
        exchange.chats_page(
            black_box(Token::NONE),
            number,
            [black_box(count)],
            black_box(false),
            io,
        );
        exchange.restore_tail(number);
        black_box(exchange.restore_session(black_box(Dialect::Queues), black_box(0), number, io));
        if black_box(exchange.poll_timeout()).is_some() {
            exchange.handle_timeout(io);
        }
        exchange.disconnect(link, io);
        let _ = black_box(exchange.create_user(bytes, io.store));
        let _ = black_box(exchange.set_password(number, black_box(true)));
        let _ = black_box(exchange.remove_user(number, io));
        let _ = black_box(exchange.create_group(bytes, number, io.store));
        let _ = black_box(exchange.join(number, number, black_box(-1), io.store));
        let _ = black_box(exchange.leave(number, number, io.store));
        let _ = black_box(exchange.remove_group(number, io.store));
        black_box(exchange.find_user(Target::UserName(bytes)));
        black_box(exchange.find_group(Target::GroupName(bytes)));
        black_box((exchange.user_of(link), exchange.owner_of(number)));
        black_box((exchange.chats_of(number).count(), exchange.dialect_of(link)));
        black_box((exchange.users().count(), exchange.groups().count()));
        black_box((exchange.members(number).count(), exchange.usage(), exchange.capacity()));
    }
}
