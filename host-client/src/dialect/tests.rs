//! What every dialect's client has in common, and what their tests share.

use super::*;
use crate::output::Output;
use centrala_sysv::{Errno, Queue, Removed};
use std::io::{self, Write};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Nothing takes longer, on a machine that does other things beside.
pub const LONG: Duration = Duration::from_secs(60);

/// Waits for a condition.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// A queue with a key of its own, as an exchange has.
pub fn with_key() -> (i32, Removed) {
    static KEYS: AtomicI32 = AtomicI32::new(0);
    let base = 0x4500_0000 + ((std::process::id() as i32 & 0xffff) << 8);
    loop {
        let key = base + KEYS.fetch_add(1, Ordering::SeqCst);
        match Queue::create_new(key, 0o600) {
            Err(Errno::EEXIST) => {}
            queue => return (key, Removed(queue.unwrap())),
        }
    }
}

/// Keeps what is written to it.
#[derive(Clone, Debug, Default)]
pub struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Output that is kept: what was asked for, and what was not.
#[derive(Clone, Debug, Default)]
pub struct Printed {
    pub out: Kept,
    pub aside: Kept,
}

impl Printed {
    pub fn output(&self) -> Output {
        Output::new(false, Box::new(self.out.clone()), Box::new(self.aside.clone()))
    }
}

/// Runs a command of a new client for `url`.
pub fn run<T>(
    url: &str,
    stop: &Stop,
    printed: &Printed,
    command: impl FnOnce(&mut dyn Client) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (url, mut output) = (Url::parse(url)?, printed.output());
    command(&mut *client(&url, stop, &mut output))
}

/// An exchange of a few lines on a queue of its own: what it knows and answers is its state.
pub struct Fake<State> {
    pub queue: Removed,
    pub key: i32,
    pub state: Arc<Mutex<State>>,
    /// What a client calls it.
    pub url: String,
    /// What holds after every command.
    after: fn(&Fake<State>),
}

impl<State: Send + 'static> Fake<State> {
    /// `url` lacks the key. `serve` takes one message and answers it; it fails when the queue is gone.
    pub fn serving(
        url: &str,
        state: State,
        serve: fn(Queue, &Mutex<State>) -> Result<(), Errno>,
        after: fn(&Fake<State>),
    ) -> Fake<State> {
        let (key, queue) = with_key();
        let state = Arc::new(Mutex::new(state));
        let (id, shared) = (*queue, state.clone());
        std::thread::spawn(move || while serve(id, &shared).is_ok() {});
        Fake { queue, key, state, url: format!("{url}{key}"), after }
    }

    /// Runs a command to its end; nothing may be printed.
    pub fn does<T>(
        &self,
        command: impl FnOnce(&mut dyn Client) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.does_with(&self.url, command)
    }

    /// The same as another client.
    pub fn does_with<T>(
        &self,
        url: &str,
        command: impl FnOnce(&mut dyn Client) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let printed = Printed::default();
        let done = run(url, &Stop::new(), &printed, command);
        assert_eq!((printed.out.text(), printed.aside.text()), (String::new(), String::new()));
        (self.after)(self);
        done
    }

    /// Runs a command that fails: its exit status, and what it says.
    pub fn fails<T: std::fmt::Debug>(
        &self,
        command: impl FnOnce(&mut dyn Client) -> Result<T, Failure>,
    ) -> (u8, String) {
        let failure = self.does(command).unwrap_err();
        (failure.exit_code(), failure.to_string())
    }
}

/// Nobody is at these.
const NOWHERE: [(Dialect, &str); 5] = [
    (Dialect::Direct, "direct://anna@127.0.0.1:1"),
    (Dialect::Native, "native://anna@127.0.0.1:1"),
    (Dialect::Queues, "queues://anna:x@2147483646"),
    (Dialect::Lanes, "lanes://anna:x@2147483646"),
    (Dialect::Topics, "topics://anna@2147483646"),
];

#[test]
fn what_a_dialect_lacks_fails_by_name_before_anything_is_sent() {
    type Command = fn(&mut dyn Client) -> Result<(), Failure>;
    let commands: [(&str, Command); 10] = [
        ("send", |c| c.send(&To::Group("7".into()), b"hi", None).map(drop)),
        ("listen", |c| c.listen(&[], false)),
        ("users", |c| c.users().map(drop)),
        ("groups", |c| c.groups(false).map(drop)),
        ("members", |c| c.members(&Group("7".into())).map(drop)),
        ("create", |c| c.create(&Group("7".into()))),
        ("join", |c| c.join(&Group("7".into()), None)),
        ("leave", |c| c.leave(&Group("7".into()))),
        ("history", |c| c.history(&To::Group("7".into()))),
        ("shutdown", |c| c.shutdown()),
    ];
    assert_eq!(NOWHERE.map(|(dialect, _)| dialect), Dialect::ALL);
    for (dialect, url) in NOWHERE {
        for (name, command) in commands {
            let mut has: &[&str] = &[];
            let failure = run(url, &Stop::new(), &Printed::default(), |client| {
                assert_eq!(client.dialect(), dialect);
                has = client.has();
                command(client)
            });
            let failure = failure.unwrap_err();
            let message = failure.to_string();
            if has.contains(&name) {
                assert!(matches!(failure, Failure::Unreachable(_)), "{dialect} {name}: {message}");
                assert!(message.starts_with("no exchange"), "{message}");
                assert_eq!(failure.exit_code(), 1);
            } else {
                let start = format!("{dialect} has no '{name}'; its commands are {}", has[0]);
                assert!(message.starts_with(&start), "{message}");
                assert_eq!(failure.exit_code(), 2);
            }
        }
    }
}

#[test]
fn a_url_without_a_user_is_wrong_usage_where_one_is_needed() {
    for (dialect, url) in NOWHERE {
        let url = url.replace("anna", "");
        let listened = run(&url, &Stop::new(), &Printed::default(), |c| c.listen(&[], false));
        let failure = listened.unwrap_err();
        assert!(failure.to_string().contains("names no user"), "{dialect}: {failure}");
        assert_eq!(failure.exit_code(), 2);
    }
}

#[test]
fn recipients_are_marked() {
    assert_eq!("@anna".parse::<To>().unwrap(), To::User("anna".into()));
    assert_eq!("@~12".parse::<To>().unwrap(), To::User("~12".into()));
    assert_eq!("#jan kowal".parse::<To>().unwrap(), To::Group("jan kowal".into()));
    assert_eq!("#12".parse::<Group>().unwrap(), Group("12".into()));
    for bad in ["", "anna", "@", "#", "@#a", "##a", "@~", "@~x", "#~1", "@a\n"] {
        let failure = bad.parse::<To>().unwrap_err();
        assert_eq!(failure.exit_code(), 2, "{bad}");
    }
}
