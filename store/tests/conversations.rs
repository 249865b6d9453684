//! What the store keeps of conversations: private chats, what was seen, counts, images; and how a
//! store of an older version comes by it.

mod common;

use centrala_core::host::{Count, FORMER_GROUP, Record, Store as _};
use centrala_core::request::Chat;
use centrala_store::{Conversation, Options, Retention, Store, View, check, wait};
use common::{Act, FIRST, Message, history, message, open, options, texts, until, users};
use std::time::Instant;
use tempfile::TempDir;

const PRIVATE: Chat = Chat::Private { group: 1, user: 2 };

/// Anna's advert, and what Bartek and others say about it and else.
fn advert(store: &mut Store) {
    users(store, &["anna", "bartek", "celina"]);
    store.write(Record::Group { number: 1, name: b"bike", owner: 1 }).unwrap();
    store.write(Record::Member { user: 3, group: 1, left: -1 }).unwrap();
    store.write(Record::Chat { group: 1, user: 2 }).unwrap();
    for act in [
        Act::Posted(message(1, 2, 1, "direct")),
        Act::Posted(Message { about: 1, ..message(2, 2, 1, "private") }),
        Act::Posted(Message { group: 1, ..message(3, 2, 0, "public") }),
        Act::Posted(Message { about: 1, image: true, ..message(4, 1, 2, "[image: a.png]") }),
        Act::Commit,
    ] {
        act.play(store).unwrap();
    }
}

fn counts(store: &Store, user: u32, chats: &[Chat]) -> Vec<(Chat, u64, u64)> {
    let reader = store.reader();
    let counts = wait(|answer| reader.counts(user, chats.to_vec(), answer)).unwrap();
    counts.into_iter().map(|Count { chat, all, new }| (chat, all, new)).collect()
}

#[test]
fn a_private_chat_is_a_conversation_of_its_own() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    advert(&mut store);
    let reader = store.reader();
    let of = |of| texts(&history(&reader, of, 1).unwrap()).join(" ");
    assert_eq!(of(Conversation::Pair(1, 2)), "direct");
    assert_eq!(of(Conversation::Private { group: 1, user: 2 }), "private [image: a.png]");
    assert_eq!(of(Conversation::Private { group: 1, user: 3 }), "");
    assert_eq!(of(Conversation::Group(1)), "public");
}

#[test]
fn a_private_chat_ends_with_its_group_its_user_and_its_owner() {
    for gone in
        [Record::NoGroup { number: 1 }, Record::NoUser { number: 1 }, Record::NoUser { number: 2 }]
    {
        let dir = TempDir::new().unwrap();
        let mut store = open(&dir);
        advert(&mut store);
        for user in [1, 2] {
            let chat = Some(PRIVATE);
            store.write(Record::Seen { user, chat, sequence: FIRST + 4 }).unwrap();
        }
        store.commit().unwrap();
        assert_eq!((check(dir.path()).unwrap().chats, check(dir.path()).unwrap().seen), (1, 2));
        store.write(gone).unwrap();
        // Who has the numbers next finds nothing of it.
        users(&mut store, &["anna", "bartek"]);
        store.write(Record::Group { number: 1, name: b"bike", owner: 1 }).unwrap();
        store.write(Record::Chat { group: 1, user: 2 }).unwrap();
        let fresh = match gone {
            Record::NoGroup { .. } => 1,
            _ => 0,
        };
        let direct = (Chat::Direct(2), 1, 1);
        assert_eq!(counts(&store, 1, &[PRIVATE])[1..], [direct][..fresh], "{gone:?}");
        assert_eq!(counts(&store, 1, &[PRIVATE])[0], (PRIVATE, 0, 0), "{gone:?}");
        store.close().unwrap();
        let report = check(dir.path()).unwrap();
        assert!(report.is_good(), "{report:?}");
        assert_eq!((report.chats, report.seen), (1, 0), "{gone:?}");
        let (_store, restored) = Store::open(dir.path(), &options()).unwrap();
        assert!(restored.records().any(|record| record == Record::Chat { group: 1, user: 2 }));
    }
}

#[test]
fn new_is_what_others_said_behind_what_was_seen() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    advert(&mut store);
    let chats = [Chat::Group(1), PRIVATE];
    let direct = |with, all, new| (Chat::Direct(with), all, new);
    let all = |group, private| [(Chat::Group(1), 1, group), (PRIVATE, 2, private)];
    let of = |store: &Store, user| counts(store, user, &chats);
    assert_eq!(of(&store, 1), [&all(1, 1)[..], &[direct(2, 1, 1)]].concat());
    assert_eq!(of(&store, 2), [&all(0, 1)[..], &[direct(1, 1, 0)]].concat());
    assert_eq!(of(&store, 3), [(Chat::Group(1), 1, 1), (PRIVATE, 2, 2)]);
    let seen = |store: &mut Store, chat, sequence| {
        store.write(Record::Seen { user: 1, chat, sequence: FIRST + sequence }).unwrap();
        store.commit().unwrap();
    };
    seen(&mut store, Some(PRIVATE), 2);
    assert_eq!(of(&store, 1), [&all(1, 0)[..], &[direct(2, 1, 1)]].concat());
    seen(&mut store, None, 4);
    seen(&mut store, Some(Chat::Group(1)), 4);
    assert_eq!(of(&store, 1), [&all(0, 0)[..], &[direct(2, 1, 0)]].concat());
    Act::Posted(Message { about: 1, ..message(5, 2, 1, "more") }).play(&mut store).unwrap();
    Act::Posted(message(6, 2, 1, "more")).play(&mut store).unwrap();
    Act::Posted(message(7, 3, 1, "hello")).play(&mut store).unwrap();
    // What is older than what was seen already changes nothing.
    seen(&mut store, None, 1);
    seen(&mut store, Some(Chat::Direct(2)), 6);
    drop(store);
    let store = open(&dir);
    let expected = [(Chat::Group(1), 1, 0), (PRIVATE, 3, 1), direct(2, 2, 0), direct(3, 1, 1)];
    assert_eq!(of(&store, 1), expected);
}

#[test]
fn counts_are_what_pages_show_while_histories_are_pruned() {
    let dir = TempDir::new().unwrap();
    let retention = Retention { messages: Some(30), age: None };
    let (mut store, _) = Store::open(dir.path(), &Options { retention, ..options() }).unwrap();
    advert(&mut store);
    for i in 5..400 {
        let (to, about) = if i < 300 { (2, 0) } else { (3, 0) };
        Act::Posted(Message { about, ..message(i, 1, to, "x") }).play(&mut store).unwrap();
    }
    store.commit().unwrap();
    // With whom nothing is left there is no conversation.
    let pair = (Chat::Direct(3), 30, 0);
    until("only the newest are left", || counts(&store, 1, &[PRIVATE]) == [(PRIVATE, 0, 0), pair]);
    assert_eq!(history(&store.reader(), Conversation::Pair(1, 3), 100).unwrap().len(), 30);
    assert_eq!(common::hashes(&store.reader()).unwrap().len(), 0, "its image went with it");
    Act::Posted(message(400, 2, 1, "back")).play(&mut store).unwrap();
    store.commit().unwrap();
    assert_eq!(counts(&store, 1, &[])[0], (Chat::Direct(2), 1, 1));
    store.close().unwrap();
    let report = check(dir.path()).unwrap();
    assert!(report.is_good(), "{report:?}");
}

#[test]
fn an_image_is_durable_with_its_message() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    advert(&mut store);
    let reader = store.reader();
    let image = |sequence| wait(|answer| reader.image(FIRST + sequence, answer)).unwrap();
    let kept = common::image(&Message { image: true, ..message(4, 1, 2, "") });
    assert_eq!((image(3), image(4)), (None, kept.clone()));
    let hash = kept.clone().unwrap().hash;
    assert_eq!(common::hashes(&reader).unwrap(), [hash]);
    // One that no message took.
    store.hold_image(kept.unwrap());
    Act::Posted(message(5, 1, 2, "no image")).play(&mut store).unwrap();
    assert_eq!(store.drop_image(), None);
    store.commit().unwrap();
    assert_eq!(image(5), None);
    drop(store);
    let store = open(&dir);
    assert_eq!(common::hashes(&store.reader()).unwrap(), [hash]);
    let found = wait(|answer| store.reader().message(FIRST + 4, answer)).unwrap().unwrap();
    let posted = found.record();
    assert_eq!((posted.from, posted.to, posted.about, posted.image), (1, 2, 1, true));
}

#[test]
fn a_message_is_found_only_while_its_numbers_mean_the_same() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    advert(&mut store);
    let find = |store: &Store, sequence| {
        let reader = store.reader();
        let found = wait(|answer| reader.message(FIRST + sequence, answer)).unwrap();
        found.map(|found| (found.record().from, found.record().to))
    };
    assert_eq!(
        [1, 2, 3, 9].map(|n| find(&store, n)),
        [Some((2, 1)), Some((2, 1)), Some((2, 0)), None]
    );
    store.write(Record::NoUser { number: 2 }).unwrap();
    users(&mut store, &["anna", "barbara"]);
    assert_eq!([1, 2, 3].map(|n| find(&store, n)), [Some((0, 1)), Some((0, 1)), Some((0, 0))]);
    store.write(Record::NoGroup { number: 1 }).unwrap();
    store.write(Record::Group { number: 1, name: b"car", owner: 1 }).unwrap();
    assert_eq!([1, 2, 3].map(|n| find(&store, n)), [Some((0, 1)), None, None]);
}

#[test]
fn mail_knows_what_it_is_about_with_its_own_text_too() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    advert(&mut store);
    let own = Message { about: 1, image: true, ..message(8, 2, 1, "not in the log") };
    let logged = Message { about: 1, ..message(9, 2, 1, "in the log") };
    Act::Mail(own.clone()).play(&mut store).unwrap();
    Act::Posted(logged.clone()).play(&mut store).unwrap();
    Act::Mail(logged.clone()).play(&mut store).unwrap();
    store.close().unwrap();
    assert!(check(dir.path()).unwrap().is_good());
    let mut store = open(&dir);
    assert_eq!(common::mail(&store.reader(), 1, 9).unwrap(), [own.clone(), logged.clone()]);
    // Of a group that is gone it is a direct message like any other.
    store.write(Record::NoGroup { number: 1 }).unwrap();
    let plain = |message: &Message| Message { about: 0, ..message.clone() };
    assert_eq!(common::mail(&store.reader(), 1, 9).unwrap(), [plain(&own), plain(&logged)]);
}

#[test]
fn the_numbers_of_messages_that_were_not_kept_are_not_given_again() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    advert(&mut store);
    Act::Posted(message(77, 1, 2, "delivered, not committed")).play(&mut store).unwrap();
    drop(store);
    let (store, restored) = Store::open(dir.path(), &options()).unwrap();
    assert_eq!(restored.newest, FIRST + 77);
    assert!(wait(|answer| store.reader().message(FIRST + 77, answer)).unwrap().is_none());
}

/// What a server that is killed now leaves.
fn killed(dir: &TempDir) -> u64 {
    let left = TempDir::new().unwrap();
    common::copy(dir.path(), left.path());
    let (_store, restored) = Store::open(left.path(), &options()).unwrap();
    restored.newest
}

#[test]
fn the_numbers_of_messages_that_were_not_committed_are_not_given_again_after_a_kill() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    advert(&mut store);
    // Delivered as soon as it is written, whatever becomes of its commit.
    let deliver = |store: &mut Store, n| {
        Act::Posted(message(n, 1, 2, "live")).play(store).unwrap();
    };
    let mut random = common::Random::new(7);
    let mut given = 4;
    for round in 0..12 {
        let burst = 1 << random.below(13);
        for _ in 0..random.below(burst) {
            given += 1;
            deliver(&mut store, given);
        }
        // Some go on to the disk beside the next ones.
        if round % 3 != 0 {
            store.begin_commit(|_| {});
        }
        let newest = killed(&dir);
        assert!(newest >= FIRST + given, "{} was given, and {} will be", FIRST + given, newest + 1);
        assert!(newest <= FIRST + given + (1 << 16), "not beyond all measure");
    }
    // A server that is ended in order, or begins anew after one that was killed, skips none.
    store.close().unwrap();
    assert_eq!(killed(&dir), FIRST + given);
    drop(open(&dir));
    assert_eq!(killed(&dir), FIRST + given);
}

#[test]
fn sequences_are_reserved_with_the_commits_that_there_are_and_seldom() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    advert(&mut store);
    store.reserve().unwrap();
    let before = killed(&dir);
    for n in 5..1000 {
        Act::Posted(message(n, 1, 2, "live")).play(&mut store).unwrap();
        assert!(store.is_dirty(), "no commit of its own");
        if n % 9 == 0 {
            store.commit().unwrap();
        }
    }
    assert_eq!(killed(&dir), before, "the first block is not half gone");
}

#[test]
fn places_are_of_the_newest_and_all_of_them_can_be_read() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    users(&mut store, &["anna", "bartek"]);
    for i in 1..=1200 {
        Act::Posted(message(i, 1, 2, &i.to_string())).play(&mut store).unwrap();
    }
    store.commit().unwrap();
    let (reader, pair) = (store.reader(), Conversation::Pair(2, 1));
    let places = |before, limit| wait(|answer| reader.places(pair, before, limit, answer)).unwrap();
    let numbers = |from, to| (from..=to).map(|n| FIRST + n).collect::<Vec<_>>();
    assert_eq!(places(None, 3), numbers(1198, 1200));
    assert_eq!(places(None, 5000), numbers(201, 1200));
    assert_eq!(places(Some(FIRST + 4), 1000), numbers(1, 3));
    assert_eq!(places(Some(FIRST + 1), 1000), []);
    let at = [places(Some(FIRST + 4), 2), vec![FIRST + 5000]].concat();
    let messages = wait(|answer| reader.messages(pair, at, answer)).unwrap();
    let read: Vec<_> = messages.iter().map(|message| message.record().text).collect();
    assert_eq!(read, [b"2", b"3"]);
}

/// The tables of version 1, as a server of that version left them.
const VERSION_1: &str = include_str!("version-1.sql");

#[test]
fn a_store_of_version_1_is_migrated_with_all_that_it_has() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("store.db");
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.execute_batch(VERSION_1).unwrap();
    connection.close().unwrap();
    let bytes = std::fs::read(&file).unwrap();
    // Whoever only looks at it leaves it as it is.
    let report = check(dir.path()).unwrap();
    assert!(report.is_good(), "{report:?}");
    assert_eq!((report.version, report.users, report.messages, report.mail), (1, 3, 5, 4));
    let view = View::open(dir.path()).unwrap();
    let page = view.history(Conversation::Pair(1, 2), None, 9).unwrap();
    assert_eq!(page.messages.len(), 3);
    drop(view);
    assert!(std::fs::read(&file).unwrap() == bytes);
    let (store, restored) = Store::open(dir.path(), &options()).unwrap();
    assert_eq!((restored.damaged, restored.users.len(), restored.groups.len()), (0, 3, 1));
    assert_eq!((restored.newest, restored.memberships.len()), (FIRST + 6, 2));
    let reader = store.reader();
    let lines = |of| texts(&history(&reader, of, 9).unwrap()).join(" ");
    assert_eq!(lines(Conversation::Pair(1, 2)), "raz dwa cztery");
    assert_eq!(lines(Conversation::Pair(3, 3)), "sama");
    assert_eq!(lines(Conversation::Group(1)), "wszyscy");
    let mail = common::mail(&reader, 2, 9).unwrap();
    assert_eq!(texts(&mail), ["oddane", "raz", "wlasne"]);
    assert_eq!(texts(&common::mail(&reader, 3, 9).unwrap()), ["wszyscy"]);
    let expected = [(Chat::Group(1), 1, 1), (Chat::Direct(1), 3, 2)];
    assert_eq!(counts(&store, 2, &[Chat::Group(1)]), expected);
    assert_eq!(counts(&store, 3, &[]), [(Chat::Direct(3), 1, 0)]);
    store.close().unwrap();
    let report = check(dir.path()).unwrap();
    assert!(report.is_good(), "{report:?}");
    assert_eq!((report.version, report.messages, report.mail), (3, 5, 4));
}

/// The tables of version 2, as a server of that version left them: group 2 was another one before.
const VERSION_2: &str = include_str!("version-2.sql");

#[test]
fn a_store_of_version_2_is_migrated_with_all_that_it_has() {
    let dir = TempDir::new().unwrap();
    let connection = rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
    connection.execute_batch(VERSION_2).unwrap();
    connection.close().unwrap();
    let report = check(dir.path()).unwrap();
    assert!(report.is_good(), "{report:?}");
    assert_eq!((report.version, report.messages, report.mail, report.images), (2, 7, 9, 1));
    let (mut store, restored) = Store::open(dir.path(), &options()).unwrap();
    assert_eq!((restored.damaged, restored.users.len(), restored.groups.len()), (0, 3, 2));
    assert_eq!((restored.newest, restored.lowest_mail), (FIRST + 9, Some(FIRST - 3)));
    assert_eq!((restored.memberships.len(), restored.chats.len()), (3, 1));
    let groups = |store: &Store| -> Vec<(String, u32)> {
        let mail = common::mail(&store.reader(), 2, 4).unwrap().into_iter();
        mail.map(|mail| (String::from_utf8(mail.text).unwrap(), mail.group)).collect()
    };
    let none = FORMER_GROUP;
    let mut want = [
        ("oddane nowej", 2),
        ("oddane z niczego", none),
        ("oddane", 1),
        ("wszyscy", 1),
        ("dawna", none),
        ("raz", 0),
        ("wlasne z dawnej", none),
        ("z nowej", 2),
    ]
    .map(|(text, group)| (text.to_owned(), group));
    assert_eq!(groups(&store), want);
    assert_eq!(counts(&store, 2, &[PRIVATE])[0], (PRIVATE, 2, 1));
    store.write(Record::NoGroup { number: 2 }).unwrap();
    store.write(Record::Group { number: 2, name: b"trzecia", owner: 1 }).unwrap();
    (want[0].1, want[7].1) = (none, none);
    assert_eq!(groups(&store), want);
    store.close().unwrap();
    let report = check(dir.path()).unwrap();
    assert!(report.is_good(), "{report:?}");
    assert_eq!((report.version, report.messages, report.mail, report.images), (3, 7, 9, 1));
}

/// `cargo test --release -p centrala-store --test conversations -- --ignored --nocapture`
#[test]
#[ignore = "a measure, not a test"]
fn measure_large_histories() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    let names: Vec<String> = (1..=1001).map(|i| format!("user {i}")).collect();
    users(&mut store, &names.iter().map(String::as_str).collect::<Vec<_>>());
    store.write(Record::Group { number: 1, name: b"large", owner: 1 }).unwrap();
    let text = "x".repeat(256);
    for i in 1..=100_000 {
        let post = Message { group: 1, ..message(i, 2 + (i % 7) as u32, 0, &text) };
        Act::Posted(post).play(&mut store).unwrap();
        if i % 4096 == 0 {
            store.commit().unwrap();
        }
    }
    for i in 0..10_000 {
        let post = message(200_000 + i, 2 + (i % 1000) as u32, 1, &text);
        Act::Posted(post).play(&mut store).unwrap();
    }
    store.commit().unwrap();
    let reader = store.reader();
    let time = |what: &str, run: &dyn Fn() -> usize| {
        let mut times: Vec<_> = (0..15)
            .map(|_| {
                let begin = Instant::now();
                (run(), begin.elapsed())
            })
            .map(|(rows, time)| (time, rows))
            .collect();
        times.sort();
        println!("{what}: {:?} (of 15: {:?} to {:?})", times[7], times[0].0, times[14].0);
    };
    let group = Conversation::Group(1);
    time("counts of 100,000 in one group and of 1,000 pairs", &|| {
        counts(&store, 1, &[Chat::Group(1)]).len()
    });
    // A member who has one direct conversation.
    time("counts of 100,000 in one group and of one pair", &|| {
        counts(&store, 500, &[Chat::Group(1)]).len()
    });
    time("places of the newest 1,000 of 100,000", &|| {
        wait(|answer| reader.places(group, None, 1000, answer)).unwrap().len()
    });
    let places = wait(|answer| reader.places(group, None, 100, answer)).unwrap();
    time("a part of 100 messages", &|| {
        wait(|answer| reader.messages(group, places.clone(), answer)).unwrap().len()
    });
    time("one message", &|| {
        let message = wait(|answer| reader.message(FIRST + 50_000, answer)).unwrap();
        usize::from(message.is_some())
    });
}
