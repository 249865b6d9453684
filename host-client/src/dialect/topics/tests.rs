//! Against an exchange of a few lines on a queue of its own, written from the original document.

use super::super::tests::{Fake, Printed, run, until};
use super::*;
use centrala_sysv::{Errno, Receive};
use std::sync::Mutex;

/// A request: type, id, topic, number and the text's field.
type Seen = (i64, i32, i32, i32, Vec<u8>);

/// What the exchange knows and answers.
#[derive(Debug, Default)]
struct State {
    seen: Vec<Seen>,
    /// The queue of the client that logged in.
    client: Option<Queue>,
    topics: Vec<(i32, &'static str)>,
    /// The answer to a log-in instead of 5.
    log_in: Option<i32>,
    /// The answer to 2, 3 and 4.
    result: i32,
    /// Sent to a client behind the answer to its log-in.
    mail: Vec<(i64, i32, &'static str)>,
}

type Exchange = Fake<State>;

impl Exchange {
    fn new(state: State) -> Exchange {
        Fake::serving("topics://anna@", state, serve, |_| {})
    }

    fn run<T>(
        &self,
        stop: &Stop,
        printed: &Printed,
        command: impl FnOnce(&mut dyn Client) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        run(&self.url, stop, printed, command)
    }

    fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    fn client(&self) -> Queue {
        until("a client logs in", || self.state.lock().unwrap().client.is_some());
        self.state.lock().unwrap().client.unwrap()
    }

    fn deliver(&self, kind: i64, info: i32, text: &str) {
        self.client().send(&server_message(kind, info, text), true).unwrap();
    }
}

fn server_message(kind: i64, info: i32, text: &str) -> Vec<u8> {
    let mut out = vec![0; SIZE];
    let message = ServerMessage { kind, info, text: text.as_bytes() };
    let len = message.emit(&mut out).unwrap();
    out.truncate(len);
    out
}

/// Answers one request; an error when the queue is gone.
fn serve(queue: Queue, state: &Mutex<State>) -> Result<(), Errno> {
    let mut buf = Buffer::<REQUEST_SIZE>::new();
    let len = queue.receive(&mut buf, -7, Receive::WAIT)?;
    let message = ClientMessage::new_checked(&buf[..len]).unwrap();
    let mut state = state.lock().unwrap();
    let field = message.field.to_vec();
    state.seen.push((message.kind, message.id, message.topic, message.number, field));
    if message.kind == request::LOG_IN {
        let answer = server_message(message.id.into(), state.log_in.unwrap_or(5), "");
        let client = Queue::open(message.id)?;
        state.client = Some(client);
        queue.send(&answer, false)?;
        for (kind, info, text) in state.mail.drain(..) {
            client.send(&server_message(kind, info, text), false)?;
        }
        return Ok(());
    }
    if message.kind == request::SHUT_DOWN {
        return queue.remove();
    }
    let client = state.client.ok_or(Errno::EINVAL)?;
    if matches!(message.kind, request::ALL_TOPICS | request::MY_TOPICS) {
        for (number, name) in &state.topics {
            client.send(&server_message(kind::LIST, 0, &format!("{number}. {name}")), true)?;
        }
        return client.send(&server_message(kind::LIST, 0, ""), true);
    }
    client.send(&server_message(kind::RESULT, state.result, ""), false)
}

fn two_topics() -> State {
    State { topics: vec![(0, "news"), (3, "jan_kowal")], ..State::default() }
}

fn group(name: &str) -> Group {
    Group(name.into())
}

#[test]
fn a_log_in_names_our_queue_and_nothing_is_left_behind() {
    let exchange = Exchange::new(two_topics());
    let url = format!("topics://jan%20k:secret@{}", exchange.key);
    let list = run(&url, &Stop::new(), &Printed::default(), |c| c.groups(false)).unwrap();
    let entry = |number, name: &str| Entry::new(number, name.into());
    assert_eq!(list, [entry(1, "news"), entry(4, "jan_kowal")]);
    let seen = exchange.seen();
    let (log_in, list) = (&seen[0], &seen[1]);
    assert_eq!((log_in.0, log_in.2, log_in.3), (1, 0, 0));
    assert_eq!(log_in.4, b"jan k\0secret\0");
    assert!(log_in.1 >= 8);
    assert_eq!(*list, (5, 5, 0, 0, vec![0]));
    assert!(exchange.client().stat().is_err(), "our queue is removed");
    assert_eq!(exchange.queue.stat().unwrap().messages, 0, "the answer was fetched");

    exchange.does(|c| c.groups(true)).unwrap();
    assert_eq!(exchange.seen()[3].0, 6);
}

#[test]
fn a_refused_log_in_says_why() {
    for (info, says) in [
        (-1, "anna: logged in to topics already"),
        (-2, "no room"),
        (-9, "does not log it in (-9)"),
    ] {
        let exchange = Exchange::new(State { log_in: Some(info), ..State::default() });
        let failure = exchange.does(|c| c.groups(false)).unwrap_err();
        assert!(failure.to_string().contains(says), "{failure}");
        assert_eq!(failure.exit_code(), 1);
        assert!(exchange.client().stat().is_err(), "our queue is removed");
    }
}

#[test]
fn requests_carry_what_was_asked_for() {
    let exchange = Exchange::new(two_topics());
    let last = || exchange.seen().pop().unwrap();
    exchange.does(|c| c.create(&group("sport"))).unwrap();
    assert_eq!(last(), (2, 5, 0, 1, b"sport\0".to_vec()), "the lowest free number is proposed");
    exchange.does(|c| c.join(&group("news"), None)).unwrap();
    assert_eq!(last(), (3, 5, 0, -1, vec![0]));
    exchange.does(|c| c.join(&group("jan kowal"), Some(7))).unwrap();
    assert_eq!(last(), (3, 5, 3, 7, vec![0]), "space and underscore are the same");
    exchange.does(|c| c.join(&group("4"), Some(1))).unwrap();
    assert_eq!(last(), (3, 5, 3, 1, vec![0]), "by its number");
    let to = To::Group("news".into());
    let longest = [b'x'; 1023];
    for (text, priority, number) in [(&b"hi"[..], None, 3), (&longest, Some(1), 1)] {
        let fate = exchange.does(|c| c.send(&to, text, priority)).unwrap();
        assert_eq!(fate, Fate::Accepted);
        assert_eq!(last(), (4, 5, 0, number, [text, &[0]].concat()));
    }
}

#[test]
fn refused_requests_say_why() {
    let exchange = Exchange::new(State { result: 1, ..two_topics() });
    let fails = |command: fn(&mut dyn Client) -> Result<(), Failure>| {
        let failure = exchange.does(command).unwrap_err();
        (failure.exit_code(), failure.to_string())
    };
    let known = "no topic #x; there are: #news, #jan_kowal";
    assert_eq!(fails(|c| c.join(&group("x"), None)), (1, known.into()));
    assert_eq!(fails(|c| c.join(&group("news"), None)), (1, "#news: no such topic (1)".into()));
    let already = "#news: there is such a topic already (1)";
    assert_eq!(fails(|c| c.create(&group("news"))), (1, already.into()));
    exchange.state.lock().unwrap().result = 2;
    let full = "#more: no room for another topic (2)";
    assert_eq!(fails(|c| c.create(&group("more"))), (1, full.into()));
}

#[test]
fn what_topics_cannot_carry_is_wrong_usage() {
    let fails = |command: fn(&mut dyn Client) -> Result<(), Failure>| {
        let nowhere = "topics://anna@2147483646";
        let failure = run(nowhere, &Stop::new(), &Printed::default(), command).unwrap_err();
        assert_eq!(failure.exit_code(), 2, "{failure}");
        failure.to_string()
    };
    assert!(
        fails(|c| c.send(&To::User("b".into()), b"", None).map(drop))
            .starts_with("topics has no 'send @user'")
    );
    assert_eq!(
        fails(|c| c.send(&To::Group("n".into()), &[b'x'; 1024], None).map(drop)),
        "the text has 1024 bytes; topics takes at most 1023"
    );
    assert!(fails(|c| c.send(&To::Group("n".into()), b"a\0b", None).map(drop)).contains("NUL"));
    assert!(fails(|c| c.join(&group("n"), Some(u32::MAX))).contains("1 to 2147483647"));
}

#[test]
fn listen_prints_whatever_comes_until_it_is_stopped() {
    let exchange = Exchange::new(two_topics());
    let (stop, printed) = (Stop::new(), Printed::default());
    std::thread::scope(|scope| {
        let client = scope.spawn(|| exchange.run(&stop, &printed, |c| c.listen(&[], false)));
        exchange.deliver(4, 3, "news: hello: world");
        exchange.deliver(7, 1, "jan_kowal: urgent");
        exchange.deliver(1_000_001, 3, "bartek: hi");
        exchange.deliver(3, 0, "0. news");
        until("four lines", || printed.out.text().lines().count() == 4);
        // A topic made since: its name is asked for.
        exchange.state.lock().unwrap().topics.push((9, "a: b"));
        exchange.deliver(13, 3, "a: b: new");
        until("five lines", || printed.out.text().lines().count() == 5);
        stop.ask();
        client.join().unwrap().unwrap();
    });
    assert_eq!(
        printed.out.text(),
        "#news: hello: world\n#jan_kowal (priority 1): urgent\nbartek: hi\n\
         #news: subscription ended\n#a: b: new\n"
    );
    assert!(exchange.client().stat().is_err(), "our queue is removed");
}

#[test]
fn listen_to_chosen_topics_leaves_the_rest_and_prints_it_aside_at_the_end() {
    let exchange = Exchange::new(two_topics());
    let (stop, printed) = (Stop::new(), Printed::default());
    std::thread::scope(|scope| {
        let chosen = [group("jan kowal")];
        let client = {
            let (exchange, stop, printed) = (&exchange, &stop, &printed);
            scope.spawn(move || exchange.run(stop, printed, |c| c.listen(&chosen, false)))
        };
        exchange.deliver(4, 3, "news: other");
        exchange.deliver(1_000_001, 3, "bartek: hi");
        exchange.deliver(7, 3, "jan_kowal: one");
        exchange.deliver(3, 0, "3. jan_kowal");
        exchange.deliver(7, 3, "jan_kowal: two");
        until("three lines", || printed.out.text().lines().count() == 3);
        stop.ask();
        client.join().unwrap().unwrap();
    });
    let out = printed.out.text();
    let mut lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.remove(0), "#jan_kowal: one");
    lines.sort();
    assert_eq!(lines, ["#jan_kowal: subscription ended", "#jan_kowal: two"]);
    assert_eq!(printed.aside.text(), "#news: other\nbartek: hi\n");
}

#[test]
fn listen_sync_takes_what_is_there_and_ends() {
    let mail = vec![
        (4, 3, "news: one"),
        (7, 2, "jan_kowal: two"),
        (1_000_001, 3, "bartek: three"),
        (3, 0, "0. news"),
        (4, 3, "news: four"),
    ];
    for (chosen, out, aside) in [
        (
            vec![],
            "#news: one\n#jan_kowal (priority 2): two\nbartek: three\n#news: subscription ended\n\
             #news: four\n",
            "",
        ),
        (
            vec![group("news")],
            "#news: one\n#news: four\n#news: subscription ended\n",
            "#jan_kowal (priority 2): two\nbartek: three\n",
        ),
        (
            vec![group("jan_kowal"), group("news")],
            "#jan_kowal (priority 2): two\n#news: one\n#news: four\n#news: subscription ended\n",
            "bartek: three\n",
        ),
    ] {
        let exchange = Exchange::new(State { mail: mail.clone(), ..two_topics() });
        let printed = Printed::default();
        exchange.run(&Stop::new(), &printed, |c| c.listen(&chosen, true)).unwrap();
        assert_eq!((printed.out.text().as_str(), printed.aside.text().as_str()), (out, aside));
    }
}

#[test]
fn mail_that_comes_while_another_command_runs_is_printed_aside() {
    let exchange = Exchange::new(State { mail: vec![(4, 3, "news: one")], ..two_topics() });
    let printed = Printed::default();
    exchange.run(&Stop::new(), &printed, |c| c.groups(false)).unwrap();
    assert_eq!((printed.out.text().as_str(), printed.aside.text().as_str()), ("", "#news: one\n"));
}

#[test]
fn listen_notices_that_the_exchange_is_gone() {
    for chosen in [vec![], vec![group("news")]] {
        for ours in [true, false] {
            let exchange = Exchange::new(two_topics());
            let (stop, printed) = (Stop::new(), Printed::default());
            std::thread::scope(|scope| {
                let client =
                    scope.spawn(|| exchange.run(&stop, &printed, |c| c.listen(&chosen, false)));
                exchange.deliver(4, 3, "news: one");
                until("a line", || !printed.out.text().is_empty());
                if ours { exchange.client() } else { *exchange.queue }.remove().unwrap();
                let failure = client.join().unwrap().unwrap_err();
                assert!(failure.to_string().starts_with("the exchange is gone"), "{failure}");
                assert_eq!(failure.exit_code(), 1);
            });
            assert!(exchange.client().stat().is_err(), "our queue is removed");
        }
    }
}

#[test]
fn shutdown_needs_no_log_in_and_waits_for_the_end() {
    let exchange = Exchange::new(two_topics());
    exchange.does(|c| c.shutdown()).unwrap();
    assert_eq!(exchange.seen(), [(7, 0, 0, 0, vec![0])]);
    let failure = exchange.does(|c| c.shutdown()).unwrap_err();
    assert_eq!(failure.to_string(), format!("no exchange here: no queue has key {}", exchange.key));
}

#[test]
fn entries_of_lists_are_read_as_servers_may_write_them() {
    for (text, read) in [
        ("0. news", Some((0, "news"))),
        ("12. 7 up", Some((12, "7 up"))),
        ("3. .net", Some((3, ".net"))),
        ("4 plain", Some((4, "plain"))),
        ("5: colon", Some((5, "colon"))),
        ("news", None),
        ("7", None),
        ("99999999999. x", None),
    ] {
        assert_eq!(entry(text), read, "{text}");
    }
}

#[test]
fn the_topics_name_is_taken_off_its_messages() {
    let names = Names([(1, "a: b".to_owned())].into());
    for (topic, text, group, content) in [
        (1, "a: b: c: d", "a: b", "c: d"),
        (1, "a: b c", "a: b", "c"),
        (1, "other", "a: b", "other"),
        (2, "x: y: z", "x", "y: z"),
        (2, "bare", "3", "bare"),
    ] {
        assert_eq!(names.split(topic, text.into()), (group.into(), content.into()), "{text}");
    }
}
