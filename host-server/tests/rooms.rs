//! `rooms`, by the official client of Socket.IO against a real server.

mod common;
#[path = "rooms/node.rs"]
mod node;

use centrala_core::dialect::direct::{MESSAGE, RESPONSE};
use centrala_core::dialect::topics::request;
use common::{Server, key, until};
use nix::sys::signal::Signal;
use node::{Client, Node, TIME, bytes};
use serde_json::{Value, json};

const ROOMS: &str = "[rooms]\nlisten = \"127.0.0.1:0\"\n";
const TRANSPORTS: [&str; 2] = ["websocket", "polling"];

/// The smallest picture.
const PNG: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89";

/// Runs a test with a server of its own, over each transport.
fn over_each(test: impl Fn(&Server, &Node, &str)) {
    if !node::is_there() {
        return;
    }
    for transport in TRANSPORTS {
        println!("over {transport}");
        test(&Server::start("", ROOMS), &Node::start(), transport);
    }
}

/// Clients that have logged in, in this order.
fn logged_in<'n, const N: usize>(
    server: &Server,
    node: &'n Node,
    transport: &str,
    names: [&str; N],
) -> [Client<'n>; N] {
    let mut number = 0;
    names.map(|name| {
        number += 1;
        let client = node.client(name, &server.rooms, transport);
        client.log_in(name, number);
        client
    })
}

#[test]
fn before_a_log_in_everything_is_unauthorized_and_a_wrong_log_in_says_why() {
    over_each(|server, node, transport| {
        let anna = node.client("anna", &server.rooms, transport);
        let unauthorized = json!(["auth-response", -1, "Unauthorized"]);
        for event in [
            json!(["get-user-chats"]),
            json!(["get-chat-messages", 1, 0]),
            json!(["new-chat", 1]),
            json!(["join-chat", 1, 0]),
            json!(["leave-chat", 1, 0]),
            json!(["chat-msg", 1, 0, "hej"]),
            json!(["chat-msg"]),
            json!(["chat-img", 1, 0, "a.png", "image/png", bytes(PNG)]),
            json!(["create-anons", "rower"]),
            json!(["get-anons"]),
            json!(["get-users"]),
            json!(["get-image", 1]),
        ] {
            anna.asks(event, unauthorized.clone());
        }
        anna.asks(json!(["auth-request", "a/b"]), json!(["auth-response", -1, "Not a name"]));
        anna.asks(json!(["auth-request", 7]), unauthorized.clone());
        anna.asks(json!(["auth-request"]), unauthorized);
        anna.log_in("anna", 1);
        let other = json!(["auth-response", -1, "Already logged in as another user"]);
        anna.asks(json!(["auth-request", "bartek"]), other);
    });
}

#[test]
fn a_user_with_a_password_has_to_give_it_and_an_unknown_one_is_refused_where_registration_is_closed()
 {
    if !node::is_there() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let add = |name: &str, password: Option<&str>| {
        let config = "[direct]\nlisten = \"127.0.0.1:0\"\n";
        let (mut command, _directory) = common::command(config);
        command.arg("--data").arg(data.path()).args(["user", "add", name]);
        command.arg(if password.is_some() { "--password-stdin" } else { "--no-password" });
        command.stdin(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        if let Some(password) = password {
            use std::io::Write;
            writeln!(child.stdin.take().unwrap(), "{password}").unwrap();
        }
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    add("anna", Some("sekret"));
    add("bartek", None);
    let closed = format!("{ROOMS}[accounts]\nregistration = \"closed\"\n");
    let server = Server::with_data(key(), Some(data.path()), "", &closed);
    let node = Node::start();
    for transport in TRANSPORTS {
        let anna = node.client(&format!("anna {transport}"), &server.rooms, transport);
        let wrong = json!(["auth-response", -1, "Wrong password"]);
        anna.asks(json!(["auth-request", "anna"]), wrong.clone());
        // What comes behind a log-in is answered behind it, however long that takes.
        anna.emit(json!(["auth-request", "anna", "falsch"]));
        anna.emit(json!(["auth-request", "anna", "sekret"]));
        anna.emit(json!(["get-anons"]));
        anna.gets(wrong);
        anna.gets(json!(["auth-response", 1, "1"]));
        anna.gets(json!(["anons", 0, []]));
        let bartek = node.client(&format!("bartek {transport}"), &server.rooms, transport);
        let nobody = json!(["auth-response", -1, "No such user"]);
        bartek.asks(json!(["auth-request", "celina"]), nobody);
        bartek.log_in("bartek", 2);
        anna.close();
        bartek.close();
    }
}

#[test]
fn adverts_and_private_chats_are_made_once_and_entered_by_those_who_may() {
    over_each(|server, node, transport| {
        let [anna, bartek, celina] =
            logged_in(server, node, transport, ["anna", "bartek", "celina"]);
        anna.asks(json!(["create-anons", "rower"]), json!(["create-anons-response", 1, "OK"]));
        let exists = json!(["create-anons-response", -1, "It exists already"]);
        bartek.asks(json!(["create-anons", "rower"]), exists);
        let anons = json!([{ "anons_id": 1, "name": "rower", "owner": "anna" }]);
        bartek.asks(json!(["get-anons"]), json!(["anons", 1, anons]));
        let user = |number, name| json!({ "user_id": number, "username": name, "online": true });
        let users = json!([user(1, "anna"), user(2, "bartek"), user(3, "celina")]);
        bartek.asks(json!(["get-users"]), json!(["users", 3, users]));

        bartek.asks(json!(["new-chat", 1]), json!(["new-chat-response", 1, 2, "OK"]));
        let exists = json!(["new-chat-response", 1, -1, "It exists already"]);
        bartek.asks(json!(["new-chat", 1]), exists);
        let unknown = json!(["new-chat-response", 9, -1, "No such advert"]);
        bartek.asks(json!(["new-chat", 9]), unknown);
        let own = json!(["new-chat-response", 1, -1, "It is your own advert"]);
        anna.asks(json!(["new-chat", 1]), own);

        anna.asks(json!(["join-chat", 1, 2]), json!(["join-chat-response", 1, 2, "OK"]));
        bartek.gets(json!(["user-join", 1, 2, "anna"]));
        let refused = json!(["join-chat-response", 1, -1, "No such chat"]);
        celina.asks(json!(["join-chat", 1, 2]), refused.clone());
        celina.asks(json!(["join-chat", 1, 3]), refused);
        celina.asks(json!(["get-chat-messages", 1, 2]), json!(["chat-messages", 0, []]));
        // A second time is as good, and nobody is told again.
        anna.asks(json!(["join-chat", 1, 2]), json!(["join-chat-response", 1, 2, "OK"]));
        anna.asks(json!(["leave-chat", 1, 2]), json!(["leave-chat-response", 1, 2, "OK"]));
        bartek.gets(json!(["user-leave", 1, 2, "anna"]));
        let not_in = json!(["leave-chat-response", 1, -1, "You are not in this chat"]);
        anna.asks(json!(["leave-chat", 1, 2]), not_in);
    });
}

#[test]
fn who_is_in_a_room_gets_what_is_said_and_other_members_are_notified() {
    over_each(|server, node, transport| {
        let [anna, bartek, celina] =
            logged_in(server, node, transport, ["anna", "bartek", "celina"]);
        anna.asks(json!(["create-anons", "rower"]), json!(["create-anons-response", 1, "OK"]));
        anna.asks(
            json!(["chat-msg", 1, 0, "hej"]),
            json!(["chat-response", -1, "You are not in this chat"]),
        );
        anna.asks(json!(["join-chat", 1, 0]), json!(["join-chat-response", 1, 0, "OK"]));
        celina.asks(json!(["join-chat", 1, 0]), json!(["join-chat-response", 1, 0, "OK"]));
        anna.gets(json!(["user-join", 1, 0, "celina"]));
        bartek.asks(json!(["join-chat", 1, 0]), json!(["join-chat-response", 1, 0, "OK"]));
        anna.gets(json!(["user-join", 1, 0, "bartek"]));
        celina.gets(json!(["user-join", 1, 0, "bartek"]));
        celina.asks(json!(["leave-chat", 1, 0]), json!(["leave-chat-response", 1, 0, "OK"]));
        anna.gets(json!(["user-leave", 1, 0, "celina"]));
        bartek.gets(json!(["user-leave", 1, 0, "celina"]));

        let text = "cześć \"świecie\" \\ \u{1f600} \u{0001} {\"image\":1}";
        anna.emit(json!(["chat-msg", 1, 0, text]));
        let said = json!([1, 1, 0, "anna", TIME, text]);
        let with = |name: &str| {
            let mut event = vec![json!(name)];
            event.extend(said.as_array().unwrap().iter().cloned());
            Value::Array(event)
        };
        anna.gets(with("chat-msg"));
        anna.gets(json!(["chat-response", 1, "OK"]));
        bartek.gets(with("chat-msg"));
        celina.gets(with("new-msg-notification"));

        bartek.emit(json!(["chat-img", 1, 0, "rower.png", "image/png", bytes(PNG), 7]));
        let image = ["rower.png", "image/png"];
        for client in [&bartek, &anna] {
            client.gets(json!([
                "chat-img",
                2,
                1,
                0,
                "bartek",
                TIME,
                image[0],
                image[1],
                bytes(PNG)
            ]));
        }
        bartek.gets(json!(["chat-response", 1, "OK", 7]));
        celina.gets(json!(["new-img-notification", 2, 1, 0, "bartek", TIME, image[0], image[1]]));
        celina.asks(json!(["get-image", 2]), json!(["image", 2, "image/png", bytes(PNG)]));

        let row = |id, name, text: &str| {
            json!({ "message_id": id, "anons_id": 1, "chat_id": 0, "username": name,
                    "message_date": TIME, "message_text": text })
        };
        let mut picture = row(2, "bartek", "[image: rower.png, image/png, 33]");
        picture["image"] = json!(true);
        let rows = json!([row(1, "anna", text), picture]);
        celina.asks(json!(["get-chat-messages", 1, 0]), json!(["chat-messages", 2, rows]));
        let older = json!([row(1, "anna", text)]);
        celina.asks(json!(["get-chat-messages", 1, 0, 2]), json!(["chat-messages", 1, older]));
        let chats = |new| json!([{ "anons_id": 1, "chat_id": 0, "AllMsgs": 2, "NewMsgs": new }]);
        celina.asks(json!(["get-user-chats"]), json!(["user-chats", 1, chats(2)]));
        celina.asks(json!(["join-chat", 1, 0]), json!(["join-chat-response", 1, 0, "OK"]));
        celina.asks(json!(["leave-chat", 1, 0]), json!(["leave-chat-response", 1, 0, "OK"]));
        celina.asks(json!(["get-user-chats"]), json!(["user-chats", 1, chats(0)]));
    });
}

#[test]
fn wrong_arguments_are_answered_by_the_events_own_answer() {
    over_each(|server, node, transport| {
        let [anna] = logged_in(server, node, transport, ["anna"]);
        let wrong = "Wrong arguments";
        let long = "x".repeat(1_000_000);
        for (event, answer) in [
            (json!(["new-chat"]), json!(["new-chat-response", 0, -1, wrong])),
            (json!(["new-chat", "1"]), json!(["new-chat-response", 0, -1, wrong])),
            (json!(["new-chat", 1.5]), json!(["new-chat-response", 0, -1, wrong])),
            (json!(["new-chat", -1]), json!(["new-chat-response", 0, -1, wrong])),
            (json!(["join-chat", 1, null]), json!(["join-chat-response", 0, -1, wrong])),
            (json!(["leave-chat", [1], 0]), json!(["leave-chat-response", 0, -1, wrong])),
            (json!(["chat-msg", 1, 0]), json!(["chat-response", -1, wrong])),
            (json!(["chat-msg", 1, 0, { "a": 1 }]), json!(["chat-response", -1, wrong])),
            (json!(["chat-msg", 1, 0, bytes(b"x")]), json!(["chat-response", -1, wrong])),
            (json!(["chat-msg", 0, 1, long]), json!(["chat-response", -1, "Too long"])),
            (
                json!(["create-anons", long]),
                json!(["create-anons-response", -1, "Not a name, or not an image"]),
            ),
            (json!(["get-chat-messages", 1]), json!(["chat-messages", 0, []])),
            (json!(["get-chat-messages", 9, 0]), json!(["chat-messages", 0, []])),
            (json!(["get-image", "x"]), json!(["image", 0, "", null])),
            (json!(["get-image", 99]), json!(["image", 99, "", null])),
        ] {
            anna.asks(event, answer);
        }
        // One that nobody knows is dropped.
        anna.emit(json!(["what-is-this", 1]));
        anna.asks(json!(["get-anons"]), json!(["anons", 0, []]));
    });
}

#[test]
fn an_image_is_judged_by_its_content_and_its_length() {
    over_each(|server, node, transport| {
        let [anna] = logged_in(server, node, transport, ["anna"]);
        let refused = |why: &str| json!(["chat-response", -1, why]);
        let send = |kind: &str, data: Value| json!(["chat-img", 0, 1, "a", kind, data]);
        let not = "Not a name, or not an image";
        let html = b"<html><script>alert(1)</script></html>";
        anna.asks(send("image/png", bytes(html)), refused(not));
        anna.asks(send("image/gif", bytes(PNG)), refused(not));
        anna.asks(
            send("image/svg+xml", bytes(b"<svg xmlns='http://www.w3.org/2000/svg'/>")),
            refused(not),
        );
        anna.asks(send("image/png", json!("data:image/png;base64,AAAA")), refused(not));
        anna.asks(send("image/png", json!(33)), refused(not));
        let mut long = PNG.to_vec();
        long.resize(1024 * 1024 + 1, 0);
        anna.asks(send("image/png", bytes(&long)), refused("Too long"));
        long.pop();
        anna.emit(send("image/png", bytes(&long)));
        anna.gets(json!(["chat-img", 1, 0, 1, "anna", TIME, "a", "image/png", bytes(&long)]));
        anna.gets(json!(["chat-response", 1, "OK"]));
    });
}

#[test]
fn what_is_said_in_a_room_reaches_other_dialects_and_the_other_way_round() {
    over_each(|server, node, transport| {
        let [anna] = logged_in(server, node, transport, ["anna"]);
        anna.asks(json!(["create-anons", "rower"]), json!(["create-anons-response", 1, "OK"]));
        anna.asks(json!(["join-chat", 1, 0]), json!(["join-chat-response", 1, 0, "OK"]));
        let ola = server.log_in("ola");
        assert_eq!((ola.id, ola.request(request::SUBSCRIBE, 0, -1, "")), (1, 0));
        let jan = server.log_in("jan");
        assert_eq!(jan.request(request::SUBSCRIBE, 0, -1, ""), 0);
        let mut direct = server.connect("jan");
        // Its answer says that it is logged in.
        direct.send(MESSAGE, 0, "nobody", "");
        assert_eq!(direct.next().3, "404");

        anna.emit(json!(["chat-msg", 1, 0, "hej"]));
        anna.gets(json!(["chat-msg", 1, 1, 0, "anna", TIME, "hej"]));
        anna.gets(json!(["chat-response", 1, "OK"]));
        assert_eq!(ola.next(4), (4, 3, "rower: hej".into()));
        assert_eq!(jan.next(4), (4, 3, "rower: hej".into()));
        let (kind, _, from, text) = direct.next();
        assert_eq!((kind, from.as_str(), text.as_str()), (MESSAGE, "anna", "hej"));

        assert_eq!(ola.request(request::PUBLISH, 0, 1, "with a helmet"), 0);
        anna.gets(json!(["chat-msg", 2, 1, 0, "ola", TIME, "with a helmet"]));
        anna.emit(json!(["chat-img", 1, 0, "a.png", "image/png", bytes(PNG)]));
        anna.gets(json!(["chat-img", 3, 1, 0, "anna", TIME, "a.png", "image/png", bytes(PNG)]));
        anna.gets(json!(["chat-response", 1, "OK"]));
        assert_eq!(ola.next(4), (4, 3, "rower: [image: a.png, image/png, 33]".into()));
    });
}

#[test]
fn a_direct_message_is_chat_0_of_its_partner() {
    over_each(|server, node, transport| {
        let [anna, bartek] = logged_in(server, node, transport, ["anna", "bartek"]);
        anna.emit(json!(["chat-msg", 0, 2, "hej"]));
        bartek.gets(json!(["chat-msg", 1, 0, 1, "anna", TIME, "hej"]));
        anna.gets(json!(["chat-msg", 1, 0, 2, "anna", TIME, "hej"]));
        anna.gets(json!(["chat-response", 1, "OK"]));
        let mut jan = server.connect("jan");
        jan.send(MESSAGE, 5, "anna", "cześć");
        anna.gets(json!(["chat-msg", 2, 0, 3, "jan", TIME, "cześć"]));
        assert_eq!(jan.next(), (RESPONSE, 5, "anna".into(), "200".into()));
        anna.emit(json!(["chat-msg", 0, 3, "do you read this?"]));
        let (kind, id, from, text) = jan.next();
        assert_eq!((kind, from.as_str(), text.as_str()), (MESSAGE, "anna", "do you read this?"));
        jan.send(RESPONSE, id, "anna", "200");
        anna.gets(json!(["chat-msg", 3, 0, 3, "anna", TIME, "do you read this?"]));
        anna.gets(json!(["chat-response", 1, "OK"]));
        let nobody = json!(["chat-response", -1, "No such user"]);
        anna.asks(json!(["chat-msg", 0, 9, "hej"]), nobody);
        let chat = |with, all, new| json!({ "anons_id": 0, "chat_id": with, "AllMsgs": all, "NewMsgs": new });
        let chats = json!([chat(2, 1, 0), chat(3, 2, 1)]);
        anna.asks(json!(["get-user-chats"]), json!(["user-chats", 2, chats]));
    });
}

#[test]
fn sockets_of_a_user_are_one_session_and_the_last_one_ends_it() {
    over_each(|server, node, transport| {
        let [anna, bartek] = logged_in(server, node, transport, ["anna", "bartek"]);
        let other = if transport == "polling" { "websocket" } else { "polling" };
        let second = node.client("anna's second", &server.rooms, other);
        second.log_in("anna", 1);
        anna.emit(json!(["create-anons", "rower"]));
        for client in [&anna, &second] {
            client.gets(json!(["create-anons-response", 1, "OK"]));
        }
        second.emit(json!(["join-chat", 1, 0]));
        for client in [&anna, &second] {
            client.gets(json!(["join-chat-response", 1, 0, "OK"]));
        }
        bartek.asks(json!(["join-chat", 1, 0]), json!(["join-chat-response", 1, 0, "OK"]));
        bartek.emit(json!(["chat-msg", 1, 0, "to both"]));
        for client in [&anna, &second] {
            client.gets(json!(["user-join", 1, 0, "bartek"]));
            client.gets(json!(["chat-msg", 1, 1, 0, "bartek", TIME, "to both"]));
        }
        bartek.gets(json!(["chat-msg", 1, 1, 0, "bartek", TIME, "to both"]));
        bartek.gets(json!(["chat-response", 1, "OK"]));
        anna.close();
        second.asks(
            json!(["leave-chat", 9, 0]),
            json!(["leave-chat-response", 9, -1, "No such advert"]),
        );
        second.close();
        bartek.gets(json!(["user-leave", 1, 0, "anna"]));
    });
}

#[test]
fn what_came_while_nobody_was_there_is_notified_after_the_log_in_and_once() {
    if !node::is_there() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let server = Server::with_data(key(), Some(data.path()), "", ROOMS);
    let node = Node::start();
    let users = TRANSPORTS.map(|transport| (transport, format!("user of {transport}")));
    let connect = |when: &str| {
        users.each_ref().map(|(transport, name)| {
            let client = node.client(&format!("{name} {when}"), &server.rooms, transport);
            client.emit(json!(["auth-request", name]));
            let answer = client.event();
            assert_eq!((&answer[0], &answer[1]), (&json!("auth-response"), &json!(1)), "{answer}");
            client
        })
    };
    connect("first").iter().for_each(|client| leave(&server, client));
    let mut jan = server.connect("jan");
    for n in 1..4 {
        for number in [1, 2] {
            jan.send(MESSAGE, n, &format!("~{number}"), &format!("{n} for {number}"));
            let answer = jan.next();
            assert_eq!((answer.1, answer.3.as_str()), (n, "300"));
        }
    }
    let clients = connect("again");
    for (client, number) in clients.iter().zip([1, 2]) {
        for n in 1..4 {
            let event = client.event();
            assert_eq!(event[0], "new-msg-notification", "{event}");
            assert_eq!(event[6], format!("{n} for {number}"));
        }
    }
    // Somebody who has answered a ping since has it: then it leaves the store.
    let view = centrala_store::View::open(data.path()).unwrap();
    until_long("the mail is settled", || view.restored().unwrap().mail.is_empty().then_some(()));
    clients.iter().for_each(|client| leave(&server, client));
    for client in connect("at last") {
        client.asks(json!(["get-anons"]), json!(["anons", 0, []]));
    }
}

/// Ends a connection, and waits until the server knows.
fn leave(server: &Server, client: &Client<'_>) {
    let gone = || server.log.lock().unwrap().matches("a socket is gone").count();
    let before = gone();
    client.close();
    until("the server knows", || (gone() > before).then_some(()));
}

/// As [`until`], for what takes a heartbeat or more.
fn until_long<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let deadline = std::time::Instant::now() + 3 * node::LONG;
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(std::time::Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn a_restart_loses_neither_history_nor_counts_nor_images_and_clients_come_back() {
    if !node::is_there() {
        return;
    }
    for (transport, signal) in TRANSPORTS.into_iter().zip([Signal::SIGTERM, Signal::SIGKILL]) {
        let data = tempfile::tempdir().unwrap();
        let mut server = Server::with_data(key(), Some(data.path()), "", ROOMS);
        let node = Node::start();
        let [anna] = logged_in(&server, &node, transport, ["anna"]);
        // By itself, as a page does.
        let bartek = node.open("bartek", &server.rooms, &[transport], true);
        bartek.happens("connect");
        bartek.log_in("bartek", 2);
        anna.asks(json!(["create-anons", "rower"]), json!(["create-anons-response", 1, "OK"]));
        for client in [&anna, &bartek] {
            client.asks(json!(["join-chat", 1, 0]), json!(["join-chat-response", 1, 0, "OK"]));
        }
        bartek.asks(json!(["leave-chat", 1, 0]), json!(["leave-chat-response", 1, 0, "OK"]));
        anna.gets(json!(["user-join", 1, 0, "bartek"]));
        anna.gets(json!(["user-leave", 1, 0, "bartek"]));
        anna.emit(json!(["chat-msg", 1, 0, "kept"]));
        anna.gets(json!(["chat-msg", 1, 1, 0, "anna", TIME, "kept"]));
        anna.gets(json!(["chat-response", 1, "OK"]));
        anna.emit(json!(["chat-img", 1, 0, "a.png", "image/png", bytes(PNG)]));
        anna.gets(json!(["chat-img", 2, 1, 0, "anna", TIME, "a.png", "image/png", bytes(PNG)]));
        anna.gets(json!(["chat-response", 1, "OK"]));
        bartek.gets(json!(["new-msg-notification", 1, 1, 0, "anna", TIME, "kept"]));
        let picture = json!(["new-img-notification", 2, 1, 0, "anna", TIME, "a.png", "image/png"]);
        bartek.gets(picture);
        // One that is refused leaves nothing behind.
        anna.asks(
            json!(["chat-img", 9, 0, "b.png", "image/png", bytes(&[PNG, b"x"].concat())]),
            json!(["chat-response", -1, "No such advert"]),
        );
        let images = data.path().join("images");
        assert_eq!(std::fs::read_dir(&images).unwrap().count(), 1);

        let (begun, address) = (std::time::Instant::now(), server.rooms.clone());
        server.signal(signal);
        server.wait();
        if signal == Signal::SIGTERM {
            assert!(begun.elapsed() < node::LONG, "it ends");
        }
        drop(server);
        let listen = address.trim_start_matches("http://").trim_end_matches('/');
        let same = format!("[rooms]\nlisten = \"{listen}\"\n");
        let server = Server::with_data(key(), Some(data.path()), "", &same);
        assert_eq!(server.rooms, address);
        bartek.comes_to("connect");
        bartek.log_in("bartek", 2);
        // It was notified, and has looked at neither.
        let chats = json!([{ "anons_id": 1, "chat_id": 0, "AllMsgs": 2, "NewMsgs": 2 }]);
        bartek.asks(json!(["get-user-chats"]), json!(["user-chats", 1, chats]));
        bartek.asks(json!(["get-image", 2]), json!(["image", 2, "image/png", bytes(PNG)]));
        let row = |id, text: &str| {
            json!({ "message_id": id, "anons_id": 1, "chat_id": 0, "username": "anna",
                    "message_date": TIME, "message_text": text })
        };
        let mut picture = row(2, "[image: a.png, image/png, 33]");
        picture["image"] = json!(true);
        let rows = json!([row(1, "kept"), picture]);
        bartek.asks(json!(["get-chat-messages", 1, 0]), json!(["chat-messages", 2, rows]));
        // The next message has a number of its own: a server that was killed skips some.
        let anna = node.client("anna again", &server.rooms, transport);
        anna.log_in("anna", 1);
        anna.asks(json!(["join-chat", 1, 0]), json!(["join-chat-response", 1, 0, "OK"]));
        anna.emit(json!(["chat-msg", 1, 0, "after"]));
        let said = anna.event();
        let number = said[1].as_u64().unwrap_or_else(|| panic!("{said}"));
        assert!(number == 3 || number > 3 && signal == Signal::SIGKILL, "{said}");
        assert_eq!([&said[0], &said[4], &said[6]], ["chat-msg", "anna", "after"]);
        anna.gets(json!(["chat-response", 1, "OK"]));
        bartek.gets(json!(["new-msg-notification", number, 1, 0, "anna", TIME, "after"]));
        // A damaged file is not taken for the image. What is at hand is not read again.
        drop(server);
        let file = std::fs::read_dir(&images).unwrap().next().unwrap().unwrap().path();
        std::fs::write(file, b"something else").unwrap();
        let server = Server::with_data(key(), Some(data.path()), "", &same);
        bartek.comes_to("connect");
        bartek.emit(json!(["auth-request", "bartek"]));
        bartek.emit(json!(["get-image", 2]));
        let image = until("the answer", || {
            let event = bartek.event();
            (event[0] == "image").then_some(event)
        });
        assert_eq!(image, json!(["image", 2, "image/png", null]));
        server.until_logged("its bytes are damaged");
    }
}

#[test]
fn a_client_steps_from_polling_to_websocket_and_loses_nothing() {
    if !node::is_there() {
        return;
    }
    let (server, node) = (Server::start("", ROOMS), Node::start());
    let anna = node.client("anna", &server.rooms, "websocket");
    anna.log_in("anna", 1);
    let bartek = node.open("bartek", &server.rooms, &["polling", "websocket"], false);
    bartek.emit(json!(["auth-request", "bartek"]));
    const COUNT: usize = 150;
    let (mut upgraded, mut got) = (false, Vec::new());
    let take = |upgraded: &mut bool, got: &mut Vec<Value>| {
        let what = bartek.next();
        match what["on"].as_str() {
            Some("upgrade") => *upgraded = true,
            Some("event") => got.push(what["event"].clone()),
            Some("connect") => {}
            _ => panic!("{what}"),
        }
    };
    while got.is_empty() {
        take(&mut upgraded, &mut got);
    }
    assert_eq!(got, [json!(["auth-response", 1, "2"])]);
    for n in 0..COUNT {
        anna.emit(json!(["chat-msg", 0, 2, n.to_string()]));
    }
    while got.len() < 1 + COUNT || !upgraded {
        take(&mut upgraded, &mut got);
    }
    for (n, event) in got[1..].iter().enumerate() {
        assert_eq!(event[6], n.to_string(), "{event}");
    }
}
