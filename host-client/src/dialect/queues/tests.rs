//! Against an exchange of a few lines on a queue of its own.

use super::super::tests::{Fake, Printed, run, until};
use super::*;
use centrala_sysv::{Errno, Receive};
use std::sync::Mutex;

/// The type of a message of the test's own, behind which nothing is.
const MARK: i64 = 1 << 40;

/// A message: type, text and address.
type Seen = (i64, String, i32);

/// What the exchange knows and answers.
#[derive(Debug, Default)]
struct State {
    seen: Vec<Seen>,
    client: Option<Queue>,
    /// Which halves of a log-in are refused.
    refuses: [bool; 2],
    /// Whether both halves of a log-in are answered behind the second.
    together: bool,
    /// The third answer to a log-in.
    third: Option<&'static str>,
    users: &'static str,
    members: &'static str,
    /// The answer to 14 and 15.
    states: &'static str,
    /// Whether 14 and 15 are answered behind the first half.
    at_first: bool,
    /// Whether a first half has come.
    half: bool,
    /// Sent before the next answer to 13: type, address and text.
    mail: Vec<(i64, i32, String)>,
}

type Exchange = Fake<State>;

impl Exchange {
    fn new(state: State) -> Exchange {
        Fake::serving("queues://anna:secret@", state, serve, |exchange| {
            let own = exchange.state.lock().unwrap().client;
            assert!(own.is_none_or(|own| own.stat().is_err()), "our queue is removed");
        })
    }

    /// What was seen since the last time, once everything was: a log-out has no answer.
    fn seen(&self) -> Vec<Seen> {
        put(*self.queue, MARK, "", 0, 0).unwrap();
        let last = || self.state.lock().unwrap().seen.last().map(|(kind, ..)| *kind);
        until("the exchange reads", || last() == Some(MARK));
        let mut seen = std::mem::take(&mut self.state.lock().unwrap().seen);
        seen.pop();
        seen
    }

    /// The same without the log-in and the log-out, and the key on which everything was to be
    /// answered instead of the address.
    fn asked(&self) -> Vec<(i64, String)> {
        let mut seen = self.seen();
        let key = seen[0].2;
        let all = seen.drain(..).map(|(kind, text, address)| match address == key {
            true => (kind, text),
            false => (kind, format!("{text} to {address}")),
        });
        all.filter(|(kind, _)| ![kind::LOG_IN, kind::LOG_OUT].contains(kind)).collect()
    }

    fn client(&self) -> Queue {
        until("a client logs in", || self.state.lock().unwrap().client.is_some());
        self.state.lock().unwrap().client.unwrap()
    }

    fn deliver(&self, kind: i64, address: i32, text: &str) {
        put(self.client(), kind, text, address, 0).unwrap();
    }
}

fn put(queue: Queue, kind: i64, text: &str, address: i32, time: i64) -> Result<(), Errno> {
    let mut out = Buffer::<SIZE>::new();
    let message = Message { kind, text: text.as_bytes(), address, time };
    let len = message.emit(&mut out).unwrap();
    queue.send(&out[..len], true)
}

/// Takes one message and answers it; an error when the queue is gone.
fn serve(queue: Queue, state: &Mutex<State>) -> Result<(), Errno> {
    let mut buf = Buffer::<SIZE>::new();
    let len = queue.receive(&mut buf, 0, Receive::WAIT)?;
    let message = Message::new_checked(&buf[..len]).unwrap();
    let mut state = state.lock().unwrap();
    let (kind, key) = (message.kind, message.address);
    state.seen.push((kind, String::from_utf8(message.text.to_vec()).unwrap(), key));
    let first = !std::mem::take(&mut state.half);
    let mut answers: Vec<&str> = Vec::new();
    match kind {
        kind::LOG_IN => {
            state.client = Some(Queue::open(key)?);
            state.half = first && !state.refuses[0];
            let answer = |refused: bool| if refused { "error" } else { "poprawne" };
            match (first, state.together) {
                (true, true) => {}
                (true, false) => answers.push(answer(state.refuses[0])),
                (false, together) => {
                    answers.extend(together.then_some(answer(state.refuses[0])));
                    answers.push(answer(state.refuses[1]));
                    answers.extend(state.third);
                }
            }
        }
        kind::ONLINE => {
            let client = state.client.unwrap();
            for (kind, address, text) in state.mail.drain(..) {
                put(client, kind, &text, address, 86_400)?;
            }
            answers.push(state.users);
        }
        kind::JOIN | kind::LEAVE => {
            state.half = first;
            answers.extend((first == state.at_first).then_some(state.states));
        }
        kind::MEMBERS => answers.push(state.members),
        _ => {}
    }
    for answer in answers {
        put(state.client.unwrap(), kind, answer, key, 0)?;
    }
    Ok(())
}

fn three() -> State {
    State {
        third: Some("3"),
        users: "1 bartek\n3 anna\n4 jan kowal\n",
        members: "1 bartek\n3 anna\n",
        states: "1 0 1",
        ..State::default()
    }
}

fn original() -> State {
    State { third: None, users: "1. bartek\n7. anna\n", ..three() }
}

fn group(name: &str) -> Group {
    Group(name.into())
}

fn user(name: &str) -> To {
    To::User(name.into())
}

fn asked(list: &[(i64, &str)]) -> Vec<(i64, String)> {
    list.iter().map(|(kind, text)| (*kind, text.to_string())).collect()
}

#[test]
fn a_session_from_log_in_to_log_out() {
    let exchange = Exchange::new(three());
    let list = exchange.does(|c| c.users()).unwrap();
    let entry = |number, name: &str| Entry::new(number, name.into());
    assert_eq!(list, [entry(1, "bartek"), entry(3, "anna"), entry(4, "jan kowal")]);
    let seen = exchange.seen();
    let key = seen[0].2;
    assert!(key >= 1 << 28, "no index of a user");
    let message = |kind, text: &str| (kind, text.to_owned(), key);
    assert_eq!(
        seen,
        [message(100, "anna"), message(100, "secret"), message(13, "3"), message(12, "3")]
    );

    let list = exchange.does(|c| c.members(&group("2"))).unwrap();
    assert_eq!(list, [entry(1, "bartek"), entry(3, "anna")]);
    assert_eq!(exchange.asked(), asked(&[(16, "2")]));
}

#[test]
fn without_a_third_answer_the_index_is_found_by_the_name() {
    let exchange = Exchange::new(original());
    exchange.does(|c| c.leave(&group("2"))).unwrap();
    let wanted = asked(&[(13, "0"), (15, "7"), (15, "2")]);
    assert_eq!(exchange.asked(), wanted);

    let exchange = Exchange::new(State { users: "anna, bartek\n", ..original() });
    let (code, says) = exchange.fails(|c| c.join(&group("2"), None));
    assert!(says.contains("has not told our index"), "{says}");
    assert_eq!(code, 1);
    let list = exchange.does(|c| c.users()).unwrap();
    assert_eq!(list, [Entry { number: None, name: "anna, bartek".into() }]);
}

#[test]
fn an_exchange_that_answers_both_halves_together_is_heard_out() {
    let exchange = Exchange::new(State { together: true, ..three() });
    let (url, stop, printed) =
        (Url::parse(&exchange.url).unwrap(), Stop::new(), Printed::default());
    let mut output = printed.output();
    let hesitation = Duration::from_millis(1);
    let list = Queues { hesitation, ..Queues::new(&url, &stop, &mut output) }.users().unwrap();
    assert_eq!(list.len(), 3);
}

#[test]
fn a_refused_log_in_says_why_and_a_password_is_no_second_name() {
    let exchange = Exchange::new(State { refuses: [true, false], ..three() });
    let (code, says) = exchange.fails(|c| c.users());
    assert!(says.starts_with("anna: the exchange does not know or allow this name"), "{says}");
    assert_eq!(code, 1);
    let texts: Vec<String> = exchange.seen().into_iter().map(|(_, text, _)| text).collect();
    assert_eq!(texts, ["anna"]);

    let exchange = Exchange::new(State { refuses: [false, true], ..three() });
    let (code, says) = exchange.fails(|c| c.users());
    assert!(says.starts_with("anna: a wrong password"), "{says}");
    assert_eq!(code, 1);
}

#[test]
fn a_message_to_a_user_has_our_index_and_theirs() {
    let exchange = Exchange::new(three());
    let longest = "x".repeat(399);
    for (name, text, number) in
        [("bartek", "hi", 1), ("jan_kowal", &longest, 4), ("~9", "a/b", 9), ("anna", "me", 3)]
    {
        let fate = exchange.does(|c| c.send(&user(name), text.as_bytes(), None)).unwrap();
        assert_eq!(fate, Fate::Sent);
        let direct = (3, format!("{text} to {number}"));
        let asked = exchange.asked();
        assert_eq!(asked[asked.len() - 2..], [direct, (13, "3".to_owned())], "{name}");
    }
    let (code, says) = exchange.fails(|c| c.send(&user("eve"), b"hi", None));
    assert!(says.starts_with("@eve: nobody of this name is logged in; "), "{says}");
    assert_eq!(code, 1);
    assert!(exchange.asked().iter().all(|(kind, _)| *kind == kind::ONLINE));
}

#[test]
fn a_message_to_a_group_names_its_sender_where_the_exchange_can_read_that() {
    for (state, wanted) in [
        (three(), asked(&[(19, "2/a/b"), (13, "3")])),
        (original(), asked(&[(13, "0"), (19, "a/b to 2"), (13, "7")])),
    ] {
        let exchange = Exchange::new(state);
        let to = To::Group("2".into());
        let fate = exchange.does(|c| c.send(&to, b"a/b", None)).unwrap();
        assert_eq!(fate, Fate::Sent);
        assert_eq!(exchange.asked(), wanted);
    }
}

#[test]
fn what_queues_cannot_carry_is_wrong_usage() {
    let fails = |command: fn(&mut dyn Client) -> Result<(), Failure>| {
        let nowhere = "queues://anna@2147483646";
        let failure = run(nowhere, &Stop::new(), &Printed::default(), command).unwrap_err();
        assert_eq!(failure.exit_code(), 2, "{failure}");
        failure.to_string()
    };
    assert_eq!(
        fails(|c| c.send(&user("b"), &[b'x'; 400], None).map(drop)),
        "the text has 400 bytes; queues takes at most 399"
    );
    let with_number = |c: &mut dyn Client| c.send(&To::Group("12".into()), &[b'x'; 397], None);
    let printed = Printed::default();
    let failure = run("queues://anna@2147483646", &Stop::new(), &printed, with_number);
    assert!(failure.unwrap_err().to_string().ends_with("at most 396"));
    assert!(fails(|c| c.send(&user("b"), b"a\0b", None).map(drop)).contains("NUL"));
    assert!(fails(|c| c.send(&user("b"), b"", Some(1)).map(drop)).contains("'send --priority'"));
    assert!(fails(|c| c.join(&group("1"), Some(1))).contains("'join --count'"));
    for named in [
        fails(|c| c.send(&To::Group("news".into()), b"", None).map(drop)),
        fails(|c| c.join(&group("news"), None)),
        fails(|c| c.leave(&group("news"))),
        fails(|c| c.members(&group("news")).map(drop)),
        fails(|c| c.listen(&[group("news")], false)),
    ] {
        assert_eq!(named, "#news: queues has no names of groups: give a number, as '#3'");
    }
}

#[test]
fn joining_and_leaving_believe_the_answer_or_else_the_list_of_members() {
    type Change = fn(&mut dyn Client) -> Result<(), Failure>;
    let (join, leave): (Change, Change) =
        (|c| c.join(&Group("3".into()), None), |c| c.leave(&Group("3".into())));
    let refused = "#3: the exchange does not count us";
    let still = "#3: the exchange still counts us";
    let long = "#3: it was asked for, but has so many members";
    for (change, states, members, says) in [
        (join, "1 0 1", "", ""),
        (join, "1 0 0", "1 bartek\n3 anna\n", ""),
        (join, "1 0", "anna\nbartek\n", ""),
        (join, "zapisano", "3. Anna\n", ""),
        (join, "0 0 0", "1 bartek\n", refused),
        (join, "", "1 bartek\n+12\n", long),
        (leave, "1 1 0", "3 anna\n", ""),
        (leave, "1 1", "1 bartek\n", ""),
        (leave, "1 1 1", "1 bartek\n", ""),
        (leave, "1 1 1", "3 anna\n", still),
    ] {
        let exchange = Exchange::new(State { states, members, ..three() });
        let done = exchange.does(change).map_or_else(|failure| failure.to_string(), |()| "".into());
        assert_eq!(done.is_empty(), says.is_empty(), "{states} {members}: {done}");
        assert!(done.starts_with(says), "{done}");
        let asked = exchange.asked();
        assert_eq!((asked[0].1.as_str(), asked[1].1.as_str()), ("3", "3"));
    }
}

#[test]
fn memberships_are_asked_for_with_half_a_request_where_that_is_answered() {
    let exchange = Exchange::new(State { at_first: true, ..three() });
    let list = exchange.does(|c| c.groups(true)).unwrap();
    let entry = |number| Entry::new(number, String::new());
    assert_eq!(list, [entry(1), entry(3)]);
    assert_eq!(exchange.asked(), asked(&[(14, "3")]));

    let exchange = Exchange::new(original());
    let (code, says) = exchange.fails(|c| c.groups(true));
    assert!(says.starts_with("this exchange shows what is joined only to"), "{says}");
    assert_eq!((code, exchange.asked()), (1, asked(&[(13, "0")])));
}

#[test]
fn what_a_list_had_no_room_for_is_counted_aside() {
    let exchange = Exchange::new(State { users: "1 bartek\n3 anna\n+12\n", ..three() });
    let printed = Printed::default();
    let list = run(&exchange.url, &Stop::new(), &printed, |c| c.users()).unwrap();
    assert_eq!(list.len(), 2);
    assert_eq!(printed.aside.text(), "… and 12 more, for which the list had no room\n");
}

#[test]
fn listen_prints_whatever_comes_until_it_is_stopped() {
    let exchange = Exchange::new(three());
    let (stop, printed) = (Stop::new(), Printed::default());
    std::thread::scope(|scope| {
        let client = scope.spawn(|| run(&exchange.url, &stop, &printed, |c| c.listen(&[], false)));
        exchange.deliver(1, 0, "hello: world");
        exchange.deliver(9, 0, "who am I");
        exchange.deliver(9, 0, "again");
        exchange.deliver(19, 2, "bartek: to all");
        exchange.deliver(19, 2, "stranger: to all");
        exchange.deliver(19, 2, "stranger: again");
        exchange.deliver(14, 0, "1 0 1");
        exchange.deliver(19, 5, "no name");
        exchange.deliver(19, 0, "no group");
        until("eight lines", || printed.out.text().lines().count() == 8);
        stop.ask();
        client.join().unwrap().unwrap();
    });
    assert_eq!(
        printed.out.text(),
        "bartek: hello: world\n~9: who am I\n~9: again\n#2 bartek: to all\n\
         #2: stranger: to all\n#2: stranger: again\n#5: no name\n?: no group\n"
    );
    assert_eq!(printed.aside.text(), "");
    assert!(exchange.client().stat().is_err(), "our queue is removed");
    let wanted = asked(&[(13, "3"), (13, "3"), (13, "3")]);
    assert_eq!(exchange.asked(), wanted, "each name once: bartek, ~9, stranger");
}

fn mail() -> Vec<(i64, i32, String)> {
    [(1, 0, "one"), (19, 2, "two"), (19, 4, "three"), (4, 0, "four")]
        .map(|(kind, address, text)| (kind, address, text.to_owned()))
        .into()
}

#[test]
fn listen_sync_takes_what_is_there_and_ends() {
    let day = "(1970-01-02 00:00:00 UTC)";
    let [one, two, three_, four] = [
        format!("bartek {day}: one\n"),
        format!("#2 {day}: two\n"),
        format!("#4 {day}: three\n"),
        format!("jan kowal {day}: four\n"),
    ];
    for (chosen, out, aside) in [
        (vec![], [&one[..], &two, &three_, &four].concat(), String::new()),
        (vec![group("2")], two.clone(), [&one[..], &three_, &four].concat()),
        (vec![group("4"), group("2")], [&two[..], &three_].concat(), [&one[..], &four].concat()),
    ] {
        let exchange = Exchange::new(State { mail: mail(), ..three() });
        let printed = Printed::default();
        run(&exchange.url, &Stop::new(), &printed, |c| c.listen(&chosen, true)).unwrap();
        assert_eq!((printed.out.text(), printed.aside.text()), (out, aside));
    }
}

#[test]
fn mail_that_fills_our_queue_before_an_answer_is_taken_and_printed_aside() {
    // Three times what a queue holds; the exchange waits for room.
    let mail = (0..120).map(|number| (1, 0, format!("{number}"))).collect();
    let exchange = Exchange::new(State { mail, ..three() });
    let printed = Printed::default();
    let list = run(&exchange.url, &Stop::new(), &printed, |c| c.users()).unwrap();
    assert_eq!(list.len(), 3);
    let wanted: String =
        (0..120).map(|number| format!("bartek (1970-01-02 00:00:00 UTC): {number}\n")).collect();
    assert_eq!((printed.out.text(), printed.aside.text()), (String::new(), wanted));
}

#[test]
fn listen_notices_that_the_exchange_is_gone() {
    for ours in [true, false] {
        let exchange = Exchange::new(three());
        let (stop, printed) = (Stop::new(), Printed::default());
        let url = &exchange.url;
        std::thread::scope(|scope| {
            let client = scope.spawn(|| run(url, &stop, &printed, |c| c.listen(&[], false)));
            exchange.deliver(1, 0, "one");
            until("a line", || !printed.out.text().is_empty());
            if ours { exchange.client() } else { *exchange.queue }.remove().unwrap();
            let failure = client.join().unwrap().unwrap_err();
            assert!(failure.to_string().starts_with("the exchange is gone"), "{failure}");
            assert_eq!(failure.exit_code(), 1);
        });
        assert!(exchange.client().stat().is_err(), "our queue is removed");
    }
}

#[test]
fn lists_are_read_as_servers_may_write_them() {
    let list = List::new("1 anna\n 2. jan kowal \n3:x\n4) y\n\nZalogowani\n7\n+5\n");
    let unnumbered = |name: &str| Entry { number: None, name: name.into() };
    let users = vec![
        Entry::new(1, "anna".into()),
        Entry::new(2, "jan kowal".into()),
        Entry::new(3, "x".into()),
        Entry::new(4, "y".into()),
        unnumbered("Zalogowani"),
        unnumbered("7"),
    ];
    assert_eq!(list, List { users, more: 5 });
    assert_eq!(states(" 1 0\n1"), Some(vec![true, false, true]));
    assert_eq!(states("1 2"), None);
    assert_eq!(states(""), Some(vec![]));
}
