//! Histories and counts, asked of a real server by clients of `native`.

mod common;

use centrala_core::dialect::native::{Chat, Request, To, Who};
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
    // The numbers of messages go on.
    anna.ask(&Request::History { chat: Chat::User(2), before: None, limit: 1 });
    anna.done();
    let last = anna.said.drain(..).next().unwrap().0;
    say(&mut anna, user(2), 251, 1);
    anna.ask(&Request::History { chat: Chat::User(2), before: None, limit: 1 });
    anna.done();
    assert_eq!(anna.said.drain(..).next(), Some((last + 1, "251".into())));
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
