//! Histories and counts, asked of a real server by clients of `native`.

mod common;

use centrala_core::dialect::native::{Chat, Request, To, Who};
use centrala_core::host::{Posted, Record, Store as _};
use centrala_store::{Options, Store};
use common::native::Native;
use common::{Server, key};

const NATIVE: &str = "[native]\nlisten = \"127.0.0.1:0\"\n";

/// A client of a user who is there.
fn log_in(server: &Server, name: &str) -> Native {
    Native::log_in(server.native.unwrap(), name)
}

fn user(number: u32) -> To<'static> {
    To::User(Who::Number(number))
}

/// The texts of a page, oldest first.
fn page(client: &mut Native, chat: Chat, before: Option<u64>, limit: u32) -> Vec<String> {
    client.ask(&Request::History { chat, before, limit });
    client.done();
    client.said.drain(..).map(|(_, text)| text).collect()
}

/// Of each conversation: all messages, and new ones.
fn counts(client: &mut Native) -> Vec<(Chat, u64, u64)> {
    client.ask(&Request::Chats);
    client.done();
    client.counts.drain(..).collect()
}

fn say(client: &mut Native, to: To<'_>, from: u32, count: u32) {
    for n in from..from + count {
        client.send(to, &n.to_string());
        client.done();
    }
}

fn texts(from: u32, count: u32) -> Vec<String> {
    (from..from + count).map(|n| n.to_string()).collect()
}

/// In parts of 100: whole pages, none, one more than a part.
fn ask_for_pages(anna: &mut Native) {
    let chat = Chat::User(2);
    assert_eq!(page(anna, chat, None, 1000), texts(1, 250));
    assert_eq!(page(anna, chat, None, 101), texts(150, 101));
    assert_eq!(page(anna, chat, None, 0), texts(0, 0));
    assert_eq!(page(anna, Chat::User(1), None, 9), texts(0, 0));
    anna.ask(&Request::History { chat, before: None, limit: 3 });
    anna.done();
    let oldest = anna.said.drain(..).next().unwrap().0;
    assert_eq!(page(anna, chat, Some(oldest), 200), texts(48, 200));
    // What comes behind the question is answered behind it.
    anna.ask(&Request::History { chat, before: None, limit: 250 });
    anna.ask(&Request::Chats);
    anna.done();
    assert_eq!((anna.said.drain(..).count(), anna.counts.drain(..).count()), (250, 1));
}

#[test]
fn histories_and_counts_come_in_parts_and_survive_a_restart() {
    let (data, key) = (tempfile::tempdir().unwrap(), key());
    {
        let server = Server::with_data(key, Some(data.path()), "", NATIVE);
        let (mut anna, mut bartek) = (log_in(&server, "anna"), log_in(&server, "bartek"));
        say(&mut anna, user(bartek.user), 1, 150);
        say(&mut bartek, user(anna.user), 151, 100);
        ask_for_pages(&mut anna);
        assert_eq!(counts(&mut anna), [(Chat::User(2), 250, 100)]);
        assert_eq!(counts(&mut bartek), [(Chat::User(1), 250, 150)]);
        anna.ask(&Request::Seen { chat: Chat::User(2) });
        anna.done();
        assert_eq!(counts(&mut anna), [(Chat::User(2), 250, 0)]);
        // Killed when it is dropped.
    }
    let server = Server::with_data(key, Some(data.path()), "", NATIVE);
    let mut anna = log_in(&server, "anna");
    ask_for_pages(&mut anna);
    assert_eq!(counts(&mut anna), [(Chat::User(2), 250, 0)]);
    // The numbers of messages go on, and none is given again.
    anna.ask(&Request::History { chat: Chat::User(2), before: None, limit: 1 });
    anna.done();
    let last = anna.said.drain(..).next().unwrap().0;
    say(&mut anna, user(2), 251, 1);
    anna.ask(&Request::History { chat: Chat::User(2), before: None, limit: 1 });
    anna.done();
    let (number, text) = anna.said.drain(..).next().unwrap();
    // Some are skipped, as the server was killed.
    assert!(number > last && text == "251", "{number} behind {last}: {text}");
}

#[test]
fn a_server_that_keeps_nothing_has_histories_while_it_runs() {
    let server = Server::with_data(key(), Some(":memory:".as_ref()), "", NATIVE);
    let (mut anna, mut bartek) = (log_in(&server, "anna"), log_in(&server, "bartek"));
    say(&mut anna, user(bartek.user), 1, 150);
    say(&mut bartek, user(anna.user), 151, 100);
    ask_for_pages(&mut anna);
    assert_eq!(counts(&mut anna), [(Chat::User(2), 250, 100)]);
}

/// A store with two members of a group, of whom the second has said so much there.
fn talkative(dir: &std::path::Path, messages: u32) {
    let (mut store, _) = Store::open(dir, &Options::default()).unwrap();
    for (number, name) in [(1, &b"anna"[..]), (2, b"bartek")] {
        store.write(Record::User { number, name, secret: None }).unwrap();
    }
    store.write(Record::Group { number: 1, name: b"flat", owner: 1 }).unwrap();
    for user in [1, 2] {
        store.write(Record::Member { user, group: 1, left: -1 }).unwrap();
    }
    for n in 1..=messages {
        let (sequence, text) = ((1 << 62) + u64::from(n), n.to_string());
        let text = text.as_bytes();
        let posted = Posted { sequence, from: 2, group: 1, text, ..Posted::NONE };
        store.write(Record::Posted(posted)).unwrap();
        if n % 1000 == 0 {
            store.commit().unwrap();
        }
    }
    store.commit().unwrap();
}

#[test]
fn a_conversation_of_100_000_messages_is_read_page_by_page_and_holds_up_nobody() {
    let data = tempfile::tempdir().unwrap();
    talkative(data.path(), 100_000);
    let server = Server::with_data(key(), Some(data.path()), "", NATIVE);
    let [mut anna, mut bartek, mut ola] = ["anna", "bartek", "ola"].map(|n| log_in(&server, n));
    let chat = Chat::Group(1);
    for before in [None, Some(99_001), Some(50_000), Some(10)] {
        anna.ask(&Request::History { chat, before, limit: 1000 });
    }
    anna.ask(&Request::Chats);
    // While she does not even read it, others talk.
    for n in 1..=20 {
        bartek.send(user(ola.user), &n.to_string());
        bartek.done();
        assert_eq!(ola.next().1, n.to_string());
    }
    anna.done();
    let said: Vec<u64> = anna.said.drain(..).map(|(number, _)| number).collect();
    let want = (99_001..=100_000).chain(98_001..=99_000).chain(49_000..=49_999).chain(1..=9);
    assert_eq!(said, want.collect::<Vec<_>>());
    assert_eq!(anna.counts.drain(..).collect::<Vec<_>>(), [(chat, 100_000, 100_000)]);
}
