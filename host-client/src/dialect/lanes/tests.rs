//! Against an exchange of a few lines on a queue of its own: 3 users, of whom anna is the first,
//! and 2 groups.

use super::super::tests::{Fake, Printed, run, until};
use super::*;
use centrala_sysv::{Errno, Receive};
use std::path::PathBuf;
use std::sync::Mutex;

const USERS: i32 = 3;
const GROUPS: i32 = 2;
/// Anna's lane, and that of the answers to her.
const ANNA: i64 = 4;
const ANSWERS: i64 = 7;

/// A request: first, second and text.
type Seen = (i32, i32, String);
/// A message of the exchange: lane, first, second and text.
type Said = (i64, i32, i32, &'static str);

/// What the exchange knows and answers.
#[derive(Debug, Default)]
struct State {
    seen: Vec<Seen>,
    /// What it puts into the queue at a log-in.
    log_in: Vec<Said>,
    /// Its answers to requests, by their `second`: second and text.
    answers: Vec<(i32, i32, &'static str)>,
    /// What it puts into the queue before its next answer.
    mail: Vec<Said>,
    /// To which requests it says nothing.
    silent: Vec<i32>,
}

const WELCOME: [Said; 2] = [(2, 4, 0, "Zalogowano\n"), (2, USERS, GROUPS, "")];

fn plain() -> State {
    let answers = vec![
        (2, 0, "Wylogowano\n"),
        (3, 0, "anna,jan_kowal,"),
        (4, 1, ""),
        (5, 2, ""),
        (6, 1, ""),
        (7, 2, ""),
        (8, 0, "anna bartek "),
        (9, 0, "bartek "),
        (10, 0, "Wiadomosc wyslana"),
        (11, 0, "Nie nalezysz do tej grupy\n"),
        (12, 0, "Wiadomosc wyslana\n"),
        (13, 0, "Wiadomosc wyslana"),
        (14, 0, "Blad\n"),
    ];
    State { log_in: WELCOME.into(), answers, ..State::default() }
}

type Exchange = Fake<State>;

impl Exchange {
    fn new(state: State) -> Exchange {
        Fake::serving("lanes://anna:secret@", state, serve, |exchange| {
            // Nothing is left in the queue.
            until("the exchange reads", || exchange.queue.stat().unwrap().messages == 0);
        })
    }

    fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.lock().unwrap().seen)
    }

    /// The requests between a log-in and a log-out.
    fn asked(&self) -> Vec<(i32, String)> {
        let seen = self.seen();
        let (first, last) = (&seen[0], &seen[seen.len() - 1]);
        assert_eq!((first.1, last.1), (1, 2), "{seen:?}");
        let asked = seen[1..].iter().take(seen.len() - 2);
        asked
            .map(|(first, second, text)| {
                assert_eq!(*first, 4);
                (*second, text.clone())
            })
            .collect()
    }

    fn say(&self, said: Said) {
        put(*self.queue, said).unwrap();
    }
}

fn put(queue: Queue, (lane, first, second, text): Said) -> Result<(), Errno> {
    let mut out = Buffer::<SIZE>::new();
    let len = Element { lane, first, second, text: text.as_bytes() }.emit(&mut out).unwrap();
    queue.send(&out[..len], true)
}

/// Takes one request and answers it; an error when the queue is gone.
fn serve(queue: Queue, state: &Mutex<State>) -> Result<(), Errno> {
    let mut buf = Buffer::<SIZE>::new();
    let len = queue.receive(&mut buf, TO_SERVER, Receive::WAIT)?;
    let request = Received::new(&buf[..len]).unwrap();
    let mut state = state.lock().unwrap();
    state.seen.push((request.first, request.second, request.text));
    if request.second == 1 {
        return state.log_in.iter().try_for_each(|said| put(queue, *said));
    }
    state.mail.drain(..).try_for_each(|said| put(queue, said))?;
    if state.silent.contains(&request.second) {
        return Ok(());
    }
    let answer = state.answers.iter().find(|(to, ..)| *to == request.second);
    let (_, second, text) = *answer.unwrap_or(&(0, 0, "Blad\n"));
    put(queue, (ANSWERS, 4, second, text))
}

/// A `basic.txt` of this test's own, removed at its end.
struct Basic(PathBuf);

impl Basic {
    fn new(test: &str, text: &str) -> Basic {
        let name = format!("centrala-{}-{test}.txt", std::process::id());
        let basic = Basic(std::env::temp_dir().join(name));
        basic.write(text);
        basic
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }

    fn url(&self, exchange: &Exchange) -> String {
        format!("{}?directory={}", exchange.url, self.0.display())
    }
}

impl Drop for Basic {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

const BASIC: &str = "o 1 anna \no 2 bartek \no 3 jan_kowal \ng 1 news 1 2 \ng 2 kino 2 \n";

fn group(name: &str) -> Group {
    Group(name.into())
}

fn user(name: &str) -> To {
    To::User(name.into())
}

fn named(name: &str) -> Entry {
    Entry { number: None, name: name.into() }
}

#[test]
fn a_session_from_log_in_to_log_out() {
    let exchange = Exchange::new(plain());
    let list = exchange.does(|c| c.users()).unwrap();
    assert_eq!(list, [named("anna"), named("jan_kowal")]);
    let wanted = [(0, 1, "anna secret"), (4, 3, ""), (4, 2, "")];
    assert_eq!(exchange.seen(), wanted.map(|(first, second, text)| (first, second, text.into())));

    let url = format!("lanes://jan%20kowal:a%20b@{}", exchange.key);
    exchange.does_with(&url, |c| c.users()).unwrap();
    assert_eq!(exchange.seen()[0].2, "jan_kowal a b");
}

#[test]
fn every_request_by_its_number() {
    let exchange = Exchange::new(plain());
    let asked = |second: i32, text: &str| assert_eq!(exchange.asked(), [(second, text.into())]);
    exchange.does(|c| c.join(&group("1"), None)).unwrap();
    asked(4, "");
    exchange.does(|c| c.join(&group("2"), None)).unwrap();
    asked(5, "");
    exchange.does(|c| c.leave(&group("1"))).unwrap();
    asked(6, "");
    exchange.does(|c| c.leave(&group("2"))).unwrap();
    asked(7, "");
    let list = exchange.does(|c| c.members(&group("1"))).unwrap();
    assert_eq!(list, [named("anna"), named("bartek")]);
    asked(8, "");
    let longest = "x".repeat(511);
    let sent = |to: To, text: &str| exchange.does(|c| c.send(&to, text.as_bytes(), None)).unwrap();
    assert_eq!(sent(To::Group("1".into()), &longest), Fate::Accepted);
    asked(10, &longest);
    assert_eq!(sent(user("~1"), "me"), Fate::Accepted);
    asked(12, "me");
    assert_eq!(sent(user("~2"), ""), Fate::Accepted);
    asked(13, "");
}

#[test]
fn what_the_exchange_refuses_is_said_and_what_is_out_of_reach_is_not_asked() {
    let exchange = Exchange::new(plain());
    let not = "#2: only members may write to it (Nie nalezysz do tej grupy)";
    let fails = exchange.fails(|c| c.send(&To::Group("2".into()), b"hi", None));
    assert_eq!(fails, (1, not.into()));
    let no = "@~3: nobody has this number, or there is no room (Blad)";
    assert_eq!(exchange.fails(|c| c.send(&user("~3"), b"hi", None)), (1, no.into()));
    let beyond = "no group 3: lanes reaches groups 1 to 2 here";
    exchange.seen();
    for command in [
        (|c| c.join(&group("3"), None)) as fn(&mut dyn Client) -> Result<(), Failure>,
        |c| c.leave(&group("3")),
        |c| c.members(&group("3")).map(drop),
        |c| c.send(&To::Group("3".into()), b"", None).map(drop),
        |c| c.listen(&[group("3")], false),
    ] {
        assert_eq!(exchange.fails(command), (1, beyond.into()));
        assert_eq!(exchange.asked(), []);
    }
    let beyond = "no user 4: lanes reaches users 1 to 3 here";
    assert_eq!(exchange.fails(|c| c.send(&user("~4"), b"", None)), (1, beyond.into()));
    assert_eq!(exchange.asked(), []);

    exchange.state.lock().unwrap().answers.retain(|(second, ..)| *second == 2);
    for (fails, says) in [
        (exchange.fails(|c| c.join(&group("1"), None)), "#1: the exchange has not done it (Blad)"),
        (exchange.fails(|c| c.users()), "the users: the exchange does not tell (Blad)"),
        (exchange.fails(|c| c.members(&group("1"))), "#1: the exchange does not tell (Blad)"),
    ] {
        assert_eq!(fails, (1, says.into()));
    }
}

#[test]
fn a_refused_log_in_says_why_and_needs_no_log_out() {
    for (text, says) in [
        ("Zle haslo", "anna: a wrong password (Zle haslo)"),
        ("Zly login\n", "anna: the exchange does not know or allow this name (Zly login)"),
        ("Taka osoba juz jest zalogowana\n", "anna: logged in to lanes already (Taka osoba"),
        ("", "anna: the exchange does not log it in ()"),
    ] {
        let exchange = Exchange::new(State { log_in: vec![(2, 0, 1, text)], ..plain() });
        let (code, message) = exchange.fails(|c| c.users());
        assert!(message.starts_with(says), "{message}");
        assert_eq!((code, exchange.seen().len()), (1, 1));
    }
}

#[test]
fn an_answer_to_somebody_elses_log_in_is_put_back() {
    let exchange = Exchange::new(State {
        log_in: [
            // Bartek's first answer, and somebody's second one.
            (2, 5, 0, "Zalogowano\n"),
            (2, USERS, GROUPS, ""),
            WELCOME[0],
            // Jan's first, and then ours.
            (2, 6, 0, "Zalogowano\n"),
            WELCOME[1],
        ]
        .into(),
        ..plain()
    });
    let basic = Basic::new("put-back", BASIC);
    let printed = Printed::default();
    run(&basic.url(&exchange), &Stop::new(), &printed, |c| c.users()).unwrap();
    assert_eq!(exchange.asked(), [(3, "".to_owned())]);
    let mut left = Vec::new();
    let mut buf = Buffer::<SIZE>::new();
    while let Ok(len) = exchange.queue.receive(&mut buf, LOG_IN_ANSWER, Receive::NOW) {
        let answer = Received::new(&buf[..len]).unwrap();
        left.push((answer.first, answer.second, answer.text));
    }
    left.sort();
    let answer = |first, second, text: &str| (first, second, text.to_owned());
    let wanted = [answer(3, 2, ""), answer(5, 0, "Zalogowano\n"), answer(6, 0, "Zalogowano\n")];
    assert_eq!(left, wanted);
}

#[test]
fn an_end_that_is_asked_for_during_a_log_in_logs_out() {
    for answers in [0, 1] {
        let state = State { log_in: WELCOME[..answers].into(), ..plain() };
        let exchange = Exchange::new(state);
        let (stop, printed) = (Stop::new(), Printed::default());
        std::thread::scope(|scope| {
            let client = scope.spawn(|| run(&exchange.url, &stop, &printed, |c| c.users()));
            until("a log-in", || !exchange.state.lock().unwrap().seen.is_empty());
            until("its answer is read", || exchange.queue.stat().unwrap().messages == 0);
            stop.ask();
            WELCOME[answers..].iter().for_each(|said| exchange.say(*said));
            let failure = client.join().unwrap().map(drop);
            assert!(matches!(failure, Ok(()) | Err(Failure::Interrupted)), "{failure:?}");
        });
        until("the exchange reads", || exchange.queue.stat().unwrap().messages == 0);
        assert_eq!(exchange.seen().pop().unwrap(), (4, 2, "".to_owned()));
    }
}

#[test]
fn names_of_the_directory_serve_both_ways() {
    let exchange = Exchange::new(plain());
    let basic = Basic::new("names", BASIC);
    let url = basic.url(&exchange);
    let entry = |number, name: &str| Entry::new(number, name.into());
    let list = exchange.does_with(&url, |c| c.users()).unwrap();
    assert_eq!(list, [entry(1, "anna"), entry(3, "jan_kowal")]);
    exchange.seen();
    exchange.does_with(&url, |c| c.send(&user("bartek"), b"hi", None)).unwrap();
    assert_eq!(exchange.asked(), [(13, "hi".to_owned())]);
    exchange.does_with(&url, |c| c.join(&group("kino"), None)).unwrap();
    assert_eq!(exchange.asked(), [(5, "".to_owned())]);
    let list = exchange.does_with(&url, |c| c.groups(false)).unwrap();
    assert_eq!(list, [entry(1, "news"), entry(2, "kino")]);
    let list = exchange.does_with(&url, |c| c.groups(true)).unwrap();
    assert_eq!(list, [entry(1, "news")]);
    assert_eq!(exchange.seen(), [], "the file tells the groups");

    let failure = exchange.does_with(&url, |c| c.send(&user("eve"), b"", None)).unwrap_err();
    assert!(failure.to_string().starts_with("@eve: no user of this name in /"), "{failure}");
    let nowhere = format!("{}?directory=/nowhere/basic.txt", exchange.url);
    let failure = exchange.does_with(&nowhere, |c| c.users()).unwrap_err();
    let says = "cannot read the directory /nowhere/basic.txt: No such file";
    assert!(failure.to_string().starts_with(says), "{failure}");
    assert_eq!(failure.exit_code(), 2);
}

#[test]
fn without_a_directory_groups_are_numbers_and_those_joined_are_asked_for() {
    let exchange = Exchange::new(plain());
    let entry = |number| Entry::new(number, String::new());
    assert_eq!(exchange.does(|c| c.groups(false)).unwrap(), [entry(1), entry(2)]);
    assert_eq!(exchange.asked(), []);
    assert_eq!(exchange.does(|c| c.groups(true)).unwrap(), [entry(1)]);
    assert_eq!(exchange.asked(), [(8, "".to_owned()), (9, "".to_owned())]);
}

#[test]
fn what_lanes_cannot_carry_is_wrong_usage() {
    let nowhere = |url: &str, command: fn(&mut dyn Client) -> Result<(), Failure>| {
        let failure = run(url, &Stop::new(), &Printed::default(), command).unwrap_err();
        assert_eq!(failure.exit_code(), 2, "{failure}");
        failure.to_string()
    };
    let fails = |command| nowhere("lanes://anna:x@2147483646", command);
    assert_eq!(
        fails(|c| c.send(&user("~1"), &[b'x'; 512], None).map(drop)),
        "the text has 512 bytes; lanes takes at most 511"
    );
    assert!(fails(|c| c.send(&user("~1"), b"a\0b", None).map(drop)).contains("NUL"));
    assert!(fails(|c| c.send(&user("~1"), b"", Some(1)).map(drop)).contains("'send --priority'"));
    assert!(fails(|c| c.join(&group("1"), Some(1))).contains("'join --count'"));
    assert!(fails(|c| c.send(&user("b"), b"", None).map(drop)).contains("--directory PATH"));
    assert!(fails(|c| c.join(&group("news"), None)).contains("--directory PATH"));
    let users = |c: &mut dyn Client| c.users().map(drop);
    assert!(nowhere("lanes://anna@2147483646", users).contains("asks for a password"));
    let long = format!("lanes://anna:{}@2147483646", "x".repeat(507));
    assert!(nowhere(&long, users).contains("at most 510 bytes"));
}

#[test]
fn listen_prints_whatever_comes_until_it_is_stopped() {
    let exchange = Exchange::new(plain());
    let basic = Basic::new("listen", BASIC);
    let (stop, printed) = (Stop::new(), Printed::default());
    std::thread::scope(|scope| {
        let url = basic.url(&exchange);
        let (stop, shown) = (&stop, &printed);
        let client = scope.spawn(move || run(&url, stop, shown, |c| c.listen(&[], false)));
        for said in [
            (ANNA, 5, 0, "hello: world"),
            (ANNA, 5, 1, "to all"),
            (ANNA, 3, 0, "Zażółć gęślą: from afar"),
            (ANNA, 3, 2, "eve: from afar"),
            (ANNA, 3, 0, "#far eve: hi"),
            (ANNA, 9, 0, "unknown"),
            (ANNA, -1, 0, "nobody"),
            (5, 4, 0, "not ours"),
        ] {
            exchange.say(said);
        }
        until("seven lines", || printed.out.text().lines().count() == 7);
        // A user and a group made since.
        basic.write("o 6 zofia\ng 9 new\n");
        exchange.say((ANNA, 9, 9, "welcome"));
        until("eight lines", || printed.out.text().lines().count() == 8);
        stop.ask();
        client.join().unwrap().unwrap();
    });
    assert_eq!(
        printed.out.text(),
        "bartek: hello: world\n#news bartek: to all\nZażółć gęślą: from afar\n\
         #kino eve: from afar\n?: #far eve: hi\n~6: unknown\n?: nobody\n#new zofia: welcome\n"
    );
    assert_eq!(printed.aside.text(), "");
    assert_eq!(exchange.asked(), []);
    assert_eq!(exchange.queue.stat().unwrap().messages, 1, "what is not ours");
}

const MAIL: [Said; 4] =
    [(ANNA, 5, 0, "one"), (ANNA, 5, 2, "two"), (ANNA, 6, 1, "three"), (ANNA, 6, 0, "four")];

#[test]
fn listen_sync_takes_what_is_there_and_ends() {
    for (chosen, out, aside) in [
        (vec![], "~2: one\n#2 ~2: two\n#1 ~3: three\n~3: four\n", ""),
        (vec![group("2")], "#2 ~2: two\n", "~2: one\n#1 ~3: three\n~3: four\n"),
        (vec![group("2"), group("1")], "#2 ~2: two\n#1 ~3: three\n", "~2: one\n~3: four\n"),
    ] {
        let exchange = Exchange::new(State { mail: MAIL.into(), ..plain() });
        let printed = Printed::default();
        run(&exchange.url, &Stop::new(), &printed, |c| c.listen(&chosen, true)).unwrap();
        assert_eq!((printed.out.text().as_str(), printed.aside.text().as_str()), (out, aside));
    }
}

#[test]
fn mail_that_comes_while_another_command_runs_is_printed_aside() {
    let exchange = Exchange::new(State { mail: MAIL[..1].into(), ..plain() });
    let printed = Printed::default();
    run(&exchange.url, &Stop::new(), &printed, |c| c.users()).unwrap();
    assert_eq!((printed.out.text().as_str(), printed.aside.text().as_str()), ("", "~2: one\n"));
}

#[test]
fn listen_says_a_word_and_notices_that_it_was_logged_out() {
    let exchange = Exchange::new(plain());
    let (stop, printed) = (Stop::new(), Printed::default());
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let (url, mut output) = (Url::parse(&exchange.url).unwrap(), printed.output());
            let lanes = Lanes::new(&url, &stop, &mut output);
            Lanes { word: Duration::ZERO, ..lanes }.listen(&[], false)
        });
        let words = || exchange.state.lock().unwrap().seen.iter().filter(|s| s.1 == 3).count();
        until("two words", || words() == 2);
        exchange.say((ANNA, 5, 0, "hi"));
        until("a line", || !printed.out.text().is_empty());
        exchange.state.lock().unwrap().answers.retain(|(second, ..)| *second == 2);
        let failure = client.join().unwrap().unwrap_err();
        assert_eq!(failure.to_string(), "the exchange has logged us out");
    });
    assert_eq!(printed.out.text(), "~2: hi\n");
}

#[test]
fn an_exchange_that_answers_nobody_for_a_while_gets_one_word_and_two_answers_are_waited_for() {
    let exchange = Exchange::new(State { silent: vec![3], ..plain() });
    let (stop, printed) = (Stop::new(), Printed::default());
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let (url, mut output) = (Url::parse(&exchange.url).unwrap(), printed.output());
            let lanes = Lanes::new(&url, &stop, &mut output);
            Lanes { word: Duration::ZERO, ..lanes }.listen(&[], false)
        });
        until("a word", || exchange.state.lock().unwrap().seen.len() == 2);
        // Messages come after the next looks around.
        for lines in 1..=2 {
            exchange.say((ANNA, 5, 0, "hi"));
            until("a line", || printed.out.text().lines().count() == lines);
        }
        // The late answer comes with that to the log-out.
        exchange.state.lock().unwrap().mail.push((ANSWERS, 4, 0, "anna,"));
        stop.ask();
        client.join().unwrap().unwrap();
    });
    assert_eq!(exchange.asked(), [(3, "".to_owned())]);
    assert_eq!(exchange.queue.stat().unwrap().messages, 0, "both answers were taken");
}

#[test]
fn listen_notices_that_the_exchange_is_gone() {
    let exchange = Exchange::new(plain());
    let (stop, printed) = (Stop::new(), Printed::default());
    std::thread::scope(|scope| {
        let client = scope.spawn(|| run(&exchange.url, &stop, &printed, |c| c.listen(&[], false)));
        exchange.say((ANNA, 5, 0, "one"));
        until("a line", || !printed.out.text().is_empty());
        exchange.queue.remove().unwrap();
        let failure = client.join().unwrap().unwrap_err();
        assert!(failure.to_string().starts_with("the exchange is gone"), "{failure}");
        assert_eq!(failure.exit_code(), 1);
    });
}

#[test]
fn an_exchange_of_something_else_is_named_as_such() {
    for log_in in [
        vec![(2, 3, 0, "Zalogowano\n")],
        vec![WELCOME[0], (2, -1, 2, "")],
        vec![WELCOME[0], (2, 1 << 24, 2, "")],
    ] {
        let exchange = Exchange::new(State { log_in, ..plain() });
        let (code, says) = exchange.fails(|c| c.users());
        assert_eq!((code, says.as_str()), (1, "the exchange does not speak lanes"));
    }
}
