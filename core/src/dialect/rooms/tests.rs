//! Every event both ways, in literal bytes and lines.

use super::*;
use std::borrow::ToOwned;
use std::string::String;
use std::vec::Vec;

fn packed(name: &str, arguments: &[Argument<'_>]) -> Vec<u8> {
    let mut bytes = std::vec![0x90 | (arguments.len() + 1) as u8];
    let put = |text: &[u8], bytes: &mut Vec<u8>| {
        bytes.extend([0xda, (text.len() >> 8) as u8, text.len() as u8]);
        bytes.extend(text);
    };
    put(name.as_bytes(), &mut bytes);
    for argument in arguments {
        match argument {
            Argument::Number(n) => {
                bytes.push(0xd3);
                bytes.extend(n.to_be_bytes());
            }
            Argument::Text(text) => put(text, &mut bytes),
            Argument::Other => bytes.extend([0x82, 0x01, 0x92, 0xc0, 0xc3, 0xa1, b'x', 0xcb]),
        }
        if *argument == Argument::Other {
            bytes.extend([0; 8]);
        }
    }
    bytes
}

fn decode(bytes: &[u8]) -> Decoded<'_> {
    Wire::decode(bytes, &mut Progress::default(), &Limits::new(1024))
}

use Argument::{Number as N, Other as O, Text as T};

#[test]
fn every_event_of_a_client_is_a_request() {
    let wants: [(&str, &[Argument<'_>], u32, Request<'_>); 17] = [
        (
            "auth-request",
            &[T(b"anna")],
            0,
            Request::LogIn { user: Target::UserName(b"anna"), password: b"" },
        ),
        (
            "auth-request",
            &[T(b"anna"), T(b"secret")],
            0,
            Request::LogIn { user: Target::UserName(b"anna"), password: b"secret" },
        ),
        ("get-user-chats", &[], 0, Request::Chats),
        (
            "get-chat-messages",
            &[N(3), N(0)],
            0,
            Request::History { chat: Chat::Group(3), before: None, limit: 1000 },
        ),
        (
            "get-chat-messages",
            &[N(0), N(7), N(41)],
            0,
            Request::History { chat: Chat::Direct(7), before: Some(41), limit: 1000 },
        ),
        ("new-chat", &[N(3)], 0, Request::NewChat { group: 3 }),
        ("join-chat", &[N(3), N(9)], 9, Request::Enter(Chat::Private { group: 3, user: 9 })),
        ("leave-chat", &[N(3), N(0)], 0, Request::Exit(Chat::Group(3))),
        (
            "chat-msg",
            &[N(0), N(7), T(b"hej")],
            0,
            Request::Say { chat: Chat::Direct(7), text: b"hej" },
        ),
        (
            "chat-msg",
            &[N(0), N(7), T(b"hej"), N(5)],
            5,
            Request::Say { chat: Chat::Direct(7), text: b"hej" },
        ),
        (
            "chat-msg",
            &[N(0), N(7), T(b""), N(5), O, O, O, N(1)],
            5,
            Request::Say { chat: Chat::Direct(7), text: b"" },
        ),
        (
            "chat-img",
            &[N(2), N(0), T(b"a, b.png"), T(b"image/png"), N(99)],
            0,
            Request::SayImage {
                chat: Chat::Group(2),
                name: b"a, b.png",
                kind: b"image/png",
                size: 99,
            },
        ),
        ("create-anons", &[T(b"flat")], 0, Request::CreateGroup { name: b"flat", max: u32::MAX }),
        ("get-anons", &[], 0, Request::List(List::Groups)),
        ("get-anons", &[O], 0, Request::List(List::Groups)),
        ("get-users", &[], 0, Request::List(List::Users)),
        ("get-image", &[N(12)], 12, Request::Image { id: 12 }),
    ];
    for (name, arguments, tag, request) in wants {
        let bytes = packed(name, arguments);
        let (used, sender, tag) = (bytes.len(), Sender::Own, Tag(tag));
        assert_eq!(decode(&bytes), Decoded::Request { used, sender, tag, request }, "{name}");
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), Decoded::Partial, "{name} cut at {cut}");
        }
    }
}

#[test]
fn wrong_arguments_are_refused_by_the_name_of_their_event() {
    let wrong: [(&str, &[Argument<'_>]); 16] = [
        ("auth-request", &[]),
        ("auth-request", &[N(5)]),
        ("auth-request", &[T(b"a"), O]),
        ("get-chat-messages", &[N(1)]),
        ("get-chat-messages", &[N(1), N(-1)]),
        ("get-chat-messages", &[N(1), N(1), T(b"5")]),
        ("new-chat", &[O]),
        ("join-chat", &[T(b"1"), N(0)]),
        ("leave-chat", &[N(1 << 32), N(0)]),
        ("chat-msg", &[N(1), N(0), N(5)]),
        ("chat-msg", &[N(1), N(0)]),
        ("chat-msg", &[N(1), N(0), T(b"x"), T(b"tag")]),
        ("chat-img", &[N(1), N(0), T(b"x"), T(b"image/png"), O]),
        ("chat-img", &[N(1), N(0), O, T(b"image/png"), N(4)]),
        ("create-anons", &[N(1)]),
        ("get-image", &[N(-4)]),
    ];
    for (name, arguments) in wrong {
        let bytes = packed(name, arguments);
        let known = CALLS.iter().find(|(known, ..)| *known == name.as_bytes()).unwrap();
        let (used, tag) = (bytes.len(), Tag(known.1 as u32));
        let want = Decoded::Refused { used, tag, outcome: Outcome::Malformed };
        assert_eq!(decode(&bytes), want, "{name} {arguments:?}");
    }
    let unknown = packed("chat", &[N(1)]);
    assert_eq!(decode(&unknown), Decoded::Dropped { used: unknown.len() });
    // No array at all, one without a name, and one whose name is no text.
    for bytes in [&[0xc0][..], &[0x90], &[0x91, 0x05], &[0x91, 0xc4, 1, b'x']] {
        assert_eq!(decode(bytes), Decoded::Dropped { used: bytes.len() });
    }
}

#[test]
fn an_image_that_the_host_refused_is_refused_with_its_reason() {
    for (size, outcome) in [
        (WRONG_IMAGE, Outcome::BadName),
        (LONG_IMAGE, Outcome::Full(Limit::MessageLength)),
        (LOST_IMAGE, Outcome::Full(Limit::Store)),
    ] {
        let bytes = packed("chat-img", &[N(1), N(0), T(b"x.png"), T(b"image/png"), N(size)]);
        let tag = Tag(Call::Image as u32);
        assert_eq!(decode(&bytes), Decoded::Refused { used: bytes.len(), tag, outcome });
    }
}

fn line(event: &Event<'_>, user: u32) -> String {
    let mut out = [0; 512];
    let to = Recipient { address: 0, user, part: 0 };
    let len = Wire::encode(event, to, &Limits::new(64), &mut out);
    String::from_utf8(out[..len].to_vec()).unwrap()
}

const ANNA: Party<'_> = Party { number: 4, name: b"anna" };
const OLA: Party<'_> = Party { number: 7, name: b"o\"la" };

fn hello() -> Message<'static> {
    Message {
        id: 0,
        mark: 0,
        sequence: (1 << 62) + 12,
        from: ANNA,
        to: OLA,
        group: None,
        private: None,
        image: false,
        entered: true,
        text: b"\"hej\"\n\x01\xff\\",
        priority: 3,
        offline: false,
        time: 1_690_000_000_000,
    }
}

#[test]
fn a_message_names_its_chat_as_its_reader_does() {
    let text = r#"1690000000000,"\"hej\"\n\u0001"#;
    let text = text.to_owned() + "\u{fffd}\\\\\"]\n";
    let hello = hello();
    let group = Some(Party { number: 3, name: b"flat" });
    let private = Some(Chat::Private { group: 3, user: 4 });
    for (message, user, want) in [
        (hello, 7, r#"["chat-msg",12,0,4,"anna","#),
        (hello, 4, r#"["chat-msg",12,0,7,"anna","#),
        (Message { offline: true, ..hello }, 7, r#"["new-msg-notification",12,0,4,"anna","#),
        (Message { group, ..hello }, 0, r#"["chat-msg",12,3,0,"anna","#),
        (
            Message { group, entered: false, ..hello },
            0,
            r#"["new-msg-notification",12,3,0,"anna","#,
        ),
        (Message { private, ..hello }, 7, r#"["chat-msg",12,3,4,"anna","#),
        (Message { private, ..hello }, 4, r#"["chat-msg",12,3,4,"anna","#),
    ] {
        assert_eq!(line(&Event::Message(message), user), want.to_owned() + &text);
    }
}

#[test]
fn an_image_is_shown_in_the_room_and_announced_elsewhere() {
    let image = Message { image: true, text: b"[image: a, \"b\".png, image/png, 99]", ..hello() };
    let here = line(&Event::Message(image), 7);
    let rest = r#"12,0,4,"anna",1690000000000,"a, \"b\".png","image/png""#;
    assert_eq!(here, std::format!("[\"chat-img\",{rest},{{\"image\":12}}]\n"));
    let away = line(&Event::Message(Message { entered: false, ..image }), 7);
    assert_eq!(away, std::format!("[\"new-img-notification\",{rest}]\n"));
}

#[test]
fn every_answer_has_the_name_of_its_request() {
    let answer = |kind, outcome, tag, about, to| {
        let about = Party { number: about, name: b"" };
        let to = Party { number: to, name: b"" };
        let (tag, size) = (Tag(tag), 0);
        let answer = Answer { tag, kind, outcome, size, about, group: true, to };
        line(&Event::Answer(answer), to.number)
    };
    let (ok, no) = (Outcome::Done, Outcome::NoSuchGroup);
    let frame = |call: Call, user| answer(Kind::Frame, Outcome::Malformed, call as u32, 0, user);
    for (got, want) in [
        (answer(Kind::LogIn, ok, 0, 0, 4), r#"["auth-response",1,"4"]"#),
        (
            answer(Kind::LogIn, Outcome::NoSuchUser, 0, 0, 0),
            r#"["auth-response",-1,"No such user"]"#,
        ),
        (answer(Kind::LogIn, Outcome::BadName, 0, 0, 0), r#"["auth-response",-1,"Not a name"]"#),
        (
            answer(Kind::LogIn, Outcome::NotLoggedIn, 0, 0, 0),
            r#"["auth-response",-1,"Unauthorized"]"#,
        ),
        (answer(Kind::Send, Outcome::Stored, 0, 7, 4), r#"["chat-response",1,"OK"]"#),
        (
            answer(Kind::Send, Outcome::NotEntered, 5, 7, 4),
            r#"["chat-response",-1,"You are not in this chat",5]"#,
        ),
        (answer(Kind::CreateGroup, ok, 0, 3, 4), r#"["create-anons-response",3,"OK"]"#),
        (
            answer(Kind::CreateGroup, Outcome::Exists, 0, 0, 4),
            r#"["create-anons-response",-1,"It exists already"]"#,
        ),
        (answer(Kind::NewChat, ok, 0, 3, 4), r#"["new-chat-response",3,4,"OK"]"#),
        (
            answer(Kind::NewChat, Outcome::Own, 0, 3, 4),
            r#"["new-chat-response",3,-1,"It is your own advert"]"#,
        ),
        (answer(Kind::Enter, ok, 9, 3, 4), r#"["join-chat-response",3,9,"OK"]"#),
        (answer(Kind::Exit, no, 9, 3, 4), r#"["leave-chat-response",3,-1,"No such advert"]"#),
        (answer(Kind::History, no, 0, 0, 4), r#"["chat-messages",0,[]]"#),
        (answer(Kind::Chats, Outcome::Full(Limit::Questions), 0, 0, 4), r#"["user-chats",0,[]]"#),
        (answer(Kind::Image, Outcome::NoSuchChat, 12, 0, 4), r#"["image",12,"",null]"#),
        (frame(Call::Message, 4), r#"["chat-response",-1,"Wrong arguments"]"#),
        (frame(Call::Join, 4), r#"["join-chat-response",0,-1,"Wrong arguments"]"#),
        (frame(Call::ChatMessages, 4), r#"["chat-messages",0,[]]"#),
        (frame(Call::Message, 0), r#"["auth-response",-1,"Unauthorized"]"#),
    ] {
        assert_eq!(got, want.to_owned() + "\n");
    }
}
