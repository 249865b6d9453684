//! Against the kernel's own queues, each private or with a key made here, and removed at the end.

use super::*;
use std::time::{Duration, Instant};

fn queue() -> Removed {
    Removed(Queue::private(0o600).unwrap())
}

/// A key that no queue has: ours by the process, told apart by the test.
fn free_key(test: i32) -> i32 {
    let base = 0x4300_0000 + ((std::process::id() as i32 & 0xffff) << 8);
    (0..16).map(|n| base + test * 16 + n).find(|key| Queue::open(*key).is_err()).unwrap()
}

fn message(kind: i64, text: &[u8]) -> Vec<u8> {
    [&kind.to_ne_bytes()[..], text].concat()
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn what_is_sent_is_received_in_order_and_by_type() {
    let q = queue();
    for (kind, text) in [(5, &b"five"[..]), (2, b"two"), (5, b""), (9, b"nine")] {
        q.send(&message(kind, text), false).unwrap();
    }
    let mut buf = Buffer::<64>::new();
    let mut take = |kind, how| {
        let len = q.receive(&mut buf, kind, how)?;
        Ok::<_, Errno>(buf[..len].to_vec())
    };
    assert_eq!(take(2, Receive::NOW), Ok(message(2, b"two")));
    assert_eq!(take(2, Receive::NOW), Err(Errno::ENOMSG));
    assert_eq!(take(-7, Receive::NOW), Ok(message(5, b"five")), "the lowest up to 7");
    assert_eq!(take(5, Receive { except: true, ..Receive::NOW }), Ok(message(9, b"nine")));
    assert_eq!(take(0, Receive::WAIT), Ok(message(5, b"")));
    assert_eq!(take(0, Receive::NOW), Err(Errno::ENOMSG));
}

#[test]
fn slices_that_are_not_aligned_work_the_same() {
    let q = queue();
    for shift in 0..LONG {
        let mut out = Buffer::<64>::new();
        out[shift..shift + 11].copy_from_slice(&message(3, b"abc"));
        q.send(&out[shift..shift + 11], false).unwrap();
        let mut back = Buffer::<64>::new();
        let at = LONG - shift;
        assert_eq!(q.receive(&mut back[at..at + 12], 0, Receive::NOW), Ok(11));
        assert_eq!(back[at..at + 11], message(3, b"abc"));
        assert!(back[..at].iter().chain(&back[at + 11..]).all(|b| *b == 0));
    }
}

#[test]
fn a_message_larger_than_the_buffer_is_e2big_and_stays_until_it_is_cut() {
    let q = queue();
    q.send(&message(4, b"longer"), false).unwrap();
    for shift in [0, 1] {
        let mut buf = Buffer::<32>::new();
        let buf = &mut buf[shift..shift + LONG + 4];
        assert_eq!(q.receive(buf, 0, Receive::NOW), Err(Errno::E2BIG));
        assert_eq!(q.stat().unwrap().messages, 1);
    }
    let mut buf = Buffer::<12>::new();
    assert_eq!(q.receive(&mut buf[..LONG + 4], 0, Receive::CUT), Ok(LONG + 4));
    assert_eq!(buf[..LONG + 4], message(4, b"long"));
    assert_eq!(q.stat().unwrap().messages, 0);
}

#[test]
fn peeking_leaves_the_message() {
    let q = queue();
    q.send(&message(1, b"first"), false).unwrap();
    q.send(&message(2, b"second"), false).unwrap();
    let mut buf = Buffer::<64>::new();
    match q.peek(&mut buf, 1) {
        Err(Errno::ENOSYS) => return,
        got => assert_eq!(got, Ok(LONG + 6)),
    }
    assert_eq!(buf[..LONG + 6], message(2, b"second"));
    assert_eq!(q.peek(&mut buf[..LONG + 2], 0), Err(Errno::E2BIG));
    assert_eq!(q.peek(&mut buf, 2), Err(Errno::ENOMSG));
    assert_eq!(q.stat().unwrap().messages, 2);
}

#[test]
fn bad_arguments_are_einval() {
    let q = queue();
    assert_eq!(q.send(b"short", false), Err(Errno::EINVAL));
    assert_eq!(q.send(&message(0, b"type 0"), false), Err(Errno::EINVAL));
    assert_eq!(q.receive(&mut [0; 7], 0, Receive::NOW), Err(Errno::EINVAL));
    assert_eq!(q.send(&message(1, &vec![0; 1 << 22]), false), Err(Errno::EINVAL), "over msgmax");
    assert_eq!(Queue::create(0, 0o600), Err(Errno::EINVAL));
    assert_eq!(Queue::open(0), Err(Errno::ENOENT));
}

#[test]
fn a_key_is_new_once_and_then_found() {
    let key = free_key(1);
    let (q, made) = Queue::create(key, 0o600).unwrap();
    let q = Removed(q);
    assert_eq!(made, Made::New);
    assert_eq!(Queue::create(key, 0o600), Ok((*q, Made::Found)));
    assert_eq!(Queue::create_new(key, 0o600), Err(Errno::EEXIST));
    assert_eq!(Queue::open(key), Ok(*q));
    assert_eq!(q.stat().unwrap().key, key);
    q.remove().unwrap();
    assert_eq!(Queue::open(key), Err(Errno::ENOENT));
    assert!(matches!(q.stat(), Err(Errno::EINVAL | Errno::EIDRM)));
    assert!(matches!(q.remove(), Err(Errno::EINVAL | Errno::EIDRM)));
}

#[test]
fn stat_tells_what_happened_and_settings_change() {
    let q = queue();
    let me = std::process::id() as i32;
    let new = q.stat().unwrap();
    assert_eq!((new.bytes, new.messages, new.last_send_pid, new.last_receive_pid), (0, 0, 0, 0));
    assert_eq!((new.mode, new.key, new.send_time, new.receive_time), (0o600, 0, 0, 0));
    assert_eq!((new.uid, new.creator), (new.creator, nix::unistd::geteuid().as_raw()));

    q.send(&message(1, b"12345"), false).unwrap();
    let sent = q.stat().unwrap();
    assert_eq!((sent.bytes, sent.messages, sent.last_send_pid), (5, 1, me));
    assert!(sent.send_time > 0);
    q.set_mode(0o640).unwrap();
    q.set_max_bytes(6).unwrap();
    assert_eq!(q.stat().unwrap(), Stat { mode: 0o640, max_bytes: 6, ..sent });
    assert_eq!(q.send(&message(1, b"67"), false), Err(Errno::EAGAIN), "full");
    q.receive(&mut Buffer::<64>::new(), 0, Receive::NOW).unwrap();
    let read = q.stat().unwrap();
    assert_eq!((read.bytes, read.last_receive_pid), (0, me));
    assert!(read.receive_time > 0);
    q.set_owner(new.uid).unwrap();
}

#[test]
fn a_closed_queue_is_still_read_to_its_end() {
    let q = queue();
    q.send(&message(1, b"left"), false).unwrap();
    q.set_max_bytes(0).unwrap();
    assert_eq!(q.send(&message(1, b"late"), false), Err(Errno::EAGAIN));
    assert_eq!(q.receive(&mut Buffer::<64>::new(), 0, Receive::NOW), Ok(LONG + 4));
    assert_eq!(q.send(&message(1, b""), false), Err(Errno::EAGAIN), "also when both are empty");
}

#[test]
fn removal_ends_a_wait() {
    let q = queue();
    let id = *q;
    let waiter = std::thread::spawn(move || id.receive(&mut Buffer::<64>::new(), 0, Receive::WAIT));
    // Whether it waits already or comes too late: it is told.
    q.remove().unwrap();
    assert!(matches!(waiter.join().unwrap(), Err(Errno::EIDRM | Errno::EINVAL)));
}

#[test]
fn a_panic_removes_the_queue() {
    let key = free_key(2);
    let result = std::panic::catch_unwind(|| {
        let _guard = Removed(Queue::create_new(key, 0o600).unwrap());
        assert!(Queue::open(key).is_ok());
        std::panic::resume_unwind(Box::new(()));
    });
    assert!(result.is_err());
    assert_eq!(Queue::open(key), Err(Errno::ENOENT));
}

#[test]
fn the_living_and_the_dead() {
    assert!(process_alive(std::process::id() as i32));
    assert!(process_alive(1), "not ours, but alive");
    assert!(!process_alive(0) && !process_alive(-1) && !process_alive(i32::MAX));
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let pid = child.id() as i32;
    until("the child is a zombie", || !process_alive(pid));
    child.wait().unwrap();
    assert!(!process_alive(pid));
}
