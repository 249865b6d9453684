use super::*;
use std::rc::Rc;

use centrala_core::dialect::Dialect;
use centrala_core::exchange::Exchange;

use crate::config::Config;
use crate::poll::Poll;
use crate::tables::Memory;

/// An outbox with the seats of so many connections.
fn out(count: u32) -> (Out, Vec<Link>) {
    let config = Config::parse("[native]\n", "test").unwrap();
    let mut memory = Memory::new(&config);
    let mut exchange = Exchange::new(memory.lend(), config.exchange_limits());
    let mut out = Out::new(Queues::new(Rc::new(Poll::new().unwrap())));
    let mut link = |place| {
        let room = Room::of(10_000);
        let link = exchange.connect(Dialect::Native, room, 0).unwrap();
        out.seats.put(link, Port::Tcp(place), room);
        link
    };
    let links = (0..count).map(&mut link).collect();
    (out, links)
}

fn withdrawn(out: &mut Out, link: Link) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    assert_eq!(out.withdraw(link, &mut |frame| frames.push(frame.to_vec())), None);
    frames
}

#[test]
fn each_message_of_a_run_is_counted_against_each_links_room_once() {
    let (mut out, links) = out(2);
    for _ in 0..3 {
        out.deliver(&links, b"12345");
    }
    out.settle();
    out.settle();
    for link in &links {
        let seat = out.seats.get(*link).unwrap();
        assert_eq!(seat.queued, 15);
        assert_eq!(seat.left.messages, 10_000 - 3 * (5 + COUNTED_LARGER));
    }
    assert_eq!(out.touched, links);
}

#[test]
fn a_link_takes_its_messages_of_a_run_back_one_by_one_and_the_others_keep_theirs() {
    let (mut out, links) = out(3);
    out.deliver(&links, b"one");
    out.deliver(&links, b"");
    out.deliver(&links, b"three");
    assert_eq!(out.batch.ops.len(), 1, "one run");
    assert_eq!(withdrawn(&mut out, links[1]), [&b"one"[..], b"", b"three"]);
    assert_eq!(withdrawn(&mut out, links[1]), Vec::<Vec<u8>>::new());
    // Not to be added to: one of its links has had it.
    out.deliver(&links, b"four");
    assert_eq!(out.batch.ops.len(), 2);
    assert_eq!(withdrawn(&mut out, links[2]), [&b"one"[..], b"", b"three", b"four"]);
}

#[test]
fn messages_for_one_link_are_a_run_until_it_takes_them_back_or_another_gets_one() {
    let (mut out, links) = out(2);
    out.deliver(&links[..1], b"one");
    out.deliver(&links[..1], b"two");
    assert_eq!(out.batch.ops.len(), 1, "one run");
    assert_eq!(withdrawn(&mut out, links[0]), [b"one", b"two"]);
    out.deliver(&links[..1], b"three");
    out.deliver(&links[1..], b"four");
    out.deliver(&links, b"five");
    out.deliver(&links[..1], b"six");
    assert_eq!(out.batch.ops.len(), 5);
    out.settle();
    assert_eq!(out.seats.get(links[0]).unwrap().queued, 5 + 4 + 3, "three, five, six");
    assert_eq!(out.seats.get(links[1]).unwrap().queued, 4 + 4, "four, five");
    assert_eq!(withdrawn(&mut out, links[0]), [&b"three"[..], b"five", b"six"]);
    assert_eq!(withdrawn(&mut out, links[1]), [b"four", b"five"]);
}
