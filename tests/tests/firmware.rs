//! The images for microcontrollers, run by QEMU:
//! `cargo test -p centrala-tests --features firmware --test firmware`.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use centrala_tests::direct_table;
use centrala_tests::image::{Image, LONG, program};

/// The exchange on its four UARTs.
fn exchange() -> Image {
    Image::with_uarts("exchange", 4)
}

#[test]
fn a_message_is_forwarded_as_it_is_and_so_is_its_answer() {
    direct_table::forwarded_as_it_is(&mut exchange());
}

#[test]
fn without_an_answer_it_is_offline_mail_after_3_s() {
    direct_table::not_answered(&mut exchange());
}

#[test]
fn what_cannot_be_done_has_its_code() {
    direct_table::refused(&mut exchange());
}

#[test]
fn a_name_in_use_is_409() {
    direct_table::in_use(&mut exchange());
}

#[test]
fn what_is_no_frame_is_400() {
    direct_table::malformed(&mut exchange());
}

#[test]
fn another_name_than_the_bound_one_is_401() {
    direct_table::another_name(&mut exchange());
}

/// `centrala` as this user, at this place.
fn centrala(user: &str, place: SocketAddr, command: &[&str]) -> Command {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    let mut client = Command::new(BINARY.get_or_init(|| program("centrala")));
    client.arg("--url").arg(format!("direct://{user}@{place}")).args(command);
    client.env_remove("CENTRALA_URL").env_remove("CENTRALA_PASSWORD").stdin(Stdio::null());
    client
}

/// What `centrala send` says, and whether it went well.
fn send(user: &str, place: SocketAddr, to: &str, text: &str) -> (String, bool) {
    let output = centrala(user, place, &["send", to, text]).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (String::from_utf8(said).unwrap(), output.status.success())
}

/// `centrala listen`, ended when this is dropped.
struct Listener(Child, Receiver<String>);

impl Listener {
    fn start(user: &str, place: SocketAddr) -> Listener {
        let mut child = centrala(user, place, &["listen"]).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (to, lines) = channel();
        std::thread::spawn(move || {
            out.lines().map_while(Result::ok).try_for_each(|line| to.send(line))
        });
        Listener(child, lines)
    }

    fn line(&self) -> String {
        self.1.recv_timeout(LONG).expect("a line")
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until a line of the image is a user's.
fn bound(image: &Image, line: usize, user: u32) {
    let wanted = format!("line {line}: user {user}");
    image.logged(&wanted, |said| (said == wanted).then_some(()));
}

#[test]
fn clients_chat_through_the_microcontroller_with_receipts_offline_mail_and_a_group() {
    let image = exchange();
    let [first, second, third, _] = image.places[..] else { panic!("four lines") };
    let bartek = Listener::start("bartek", second);
    bound(&image, 1, 1);
    let said = |text: &str| (format!("{text}\n"), true);
    assert_eq!(send("anna", first, "@bartek", "hej"), said("@bartek: delivered"));
    assert_eq!(bartek.line(), "anna: hej");
    // Another on the same line, without a word of who left it.
    assert_eq!(send("celina", first, "@bartek", "cześć"), said("@bartek: delivered"));
    assert_eq!(bartek.line(), "celina: cześć");
    drop(bartek);
    let stored = said("@bartek: not answering, stored for later");
    assert_eq!(send("anna", third, "@bartek", "read it later"), stored);
    let bartek = Listener::start("bartek", second);
    assert_eq!(bartek.line(), "(stored) anna: read it later");
    let celina = Listener::start("celina", first);
    image.logged("celina", |said| (said == "line 0: user 3").then_some(()));
    assert_eq!(send("anna", third, "#all", "to all of you"), said("#all: accepted"));
    assert_eq!(bartek.line(), "#all anna: to all of you");
    assert_eq!(celina.line(), "#all anna: to all of you");
}

#[test]
fn limits_have_their_answers() {
    let image = exchange();
    let [first, second, ..] = image.places[..] else { panic!("four lines") };
    let _listener = Listener::start("u1", second);
    bound(&image, 1, 1);
    for user in 2..=8 {
        let (said, _) = send(&format!("u{user}"), first, "@nobody", "hej");
        assert!(said.contains("404"), "user {user}: {said}");
    }
    let (said, good) = send("u9", first, "@u1", "hej");
    assert!(!good && said.contains("507"), "the ninth user: {said}");
    let (said, good) = send("u2", first, "@u1", &"x".repeat(129));
    assert!(!good && said.contains("507"), "a text that is too long: {said}");
    let (said, good) = send("u2", first, "@u1", &"x".repeat(128));
    assert!(good, "the longest text: {said}");
}

#[test]
fn the_image_sleeps_when_there_is_nothing_to_do() {
    let image = exchange();
    image.stack();
    let before = image.cpu();
    // A time to measure over, and not one to wait for something.
    std::thread::sleep(Duration::from_secs(2));
    let taken = image.cpu() - before;
    assert!(taken < Duration::from_millis(1_000), "{taken:?} of 2 s");
}
