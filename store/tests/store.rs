//! What the store promises, rule by rule.

mod common;

use centrala_core::exchange::{Question, Token};
use centrala_core::host::{FORMER_GROUP, Record, Store as _};
use centrala_core::table::{Empty as _, Slot, Table};
use centrala_store::{
    Conversation, Durability, Error, Limits, Options, Restored, Retention, Store, check, wait,
};
use common::{
    Act, FIRST, Message, Model, State, history, mail, message, open, options, same, script, texts,
    until, users,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

#[test]
fn everything_comes_back_after_a_restart() {
    for seed in 1..=12 {
        let dir = TempDir::new().unwrap();
        let options = Options { checkpoint: 40, ..options() };
        let mut model = Model::default();
        let script = script(seed, 400);
        for part in script.chunks(170) {
            let (mut store, restored) = Store::open(dir.path(), &options).unwrap();
            same(&State::of(&restored, &store.reader()).unwrap(), &model.state());
            for act in part {
                act.play(&mut store).unwrap();
                model.apply(act);
            }
            store.commit().unwrap();
            for (user, count) in counts(&model) {
                assert_eq!(store.waiting(user), count, "seed {seed}, user {user}");
            }
            assert_eq!(store.total_waiting(), model.state().mail.len() as u64);
            store.close().unwrap();
            let report = check(dir.path()).unwrap();
            assert!(report.is_good(), "seed {seed}: {report:?}");
        }
        same(&State::read(dir.path(), &options).unwrap(), &model.state());
    }
}

fn counts(model: &Model) -> BTreeMap<u32, u32> {
    let mut counts: BTreeMap<_, _> = model.numbers().0.into_iter().map(|user| (user, 0)).collect();
    for mail in model.state().mail {
        *counts.entry(mail.user).or_default() += 1;
    }
    counts
}

#[test]
fn restored_records_fit_the_exchange_in_their_order() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    users(&mut store, &["anna", "bartek"]);
    store.write(Record::Group { number: 1, name: b"news", owner: 2 }).unwrap();
    store.write(Record::Member { user: 1, group: 1, left: 5 }).unwrap();
    Act::Posted(message(9, 1, 2, "czesc")).play(&mut store).unwrap();
    store.close().unwrap();
    let (_store, restored) = Store::open(dir.path(), &options()).unwrap();
    let records: Vec<_> = restored.records().collect();
    assert_eq!(records[0], Record::User { number: 1, name: b"anna", secret: None });
    assert_eq!(records[1], Record::User { number: 2, name: b"bartek", secret: None });
    assert_eq!(records[2], Record::Group { number: 1, name: b"news", owner: 2 });
    assert_eq!(records[3], Record::Member { user: 1, group: 1, left: 5 });
    assert!(matches!(records[4], Record::Posted(posted) if posted.sequence == FIRST + 9));
    assert_eq!(records.len(), 5);
}

#[test]
fn the_ends_of_the_sequence_come_back() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    users(&mut store, &["anna", "bartek"]);
    Act::Posted(message(7, 1, 2, "in the log")).play(&mut store).unwrap();
    Act::Mail(Message { priority: 5, ..message(8, 1, 2, "not in it") }).play(&mut store).unwrap();
    let back = Message { sequence: FIRST - 3, ..message(0, 1, 2, "handed back") };
    Act::Mail(back).play(&mut store).unwrap();
    store.close().unwrap();
    let (_store, restored) = Store::open(dir.path(), &options()).unwrap();
    assert_eq!((restored.newest, restored.lowest_mail), (FIRST + 8, Some(FIRST - 3)));
}

#[test]
fn a_second_server_is_refused() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let error = Store::open(dir.path(), &options()).unwrap_err();
    let told = format!("process {}", std::process::id());
    assert!(matches!(&error, Error::InUse { by, .. } if *by == told), "{error}");
    drop(store);
    open(&dir);
}

#[test]
fn changes_of_the_directory_are_durable_when_they_are_written() {
    let (dir, later) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut store = open(&dir);
    let acts = [
        Act::User(1, b"anna".to_vec()),
        Act::Group(1, b"news".to_vec(), 1),
        Act::Member(1, 1, 5),
        Act::NoMember(1, 1),
        Act::Password(1, Some("$argon2id$".into())),
        Act::Password(1, None),
        Act::NoGroup(1),
        Act::NoUser(1),
    ];
    let mut model = Model::default();
    for (i, act) in acts.iter().enumerate() {
        act.play(&mut store).unwrap();
        assert!(model.apply(act));
        assert!(!store.is_dirty(), "{act:?}");
        let copy = later.path().join(i.to_string());
        common::copy(dir.path(), &copy);
        same(&State::read(&copy, &options()).unwrap(), &model.state());
    }
}

#[test]
fn a_countdown_waits_for_the_next_commit() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    users(&mut store, &["anna"]);
    store.write(Record::Group { number: 1, name: b"news", owner: 0 }).unwrap();
    store.write(Record::Member { user: 1, group: 1, left: 2 }).unwrap();
    assert!(!store.is_dirty());
    store.write(Record::Member { user: 1, group: 1, left: 1 }).unwrap();
    assert!(store.is_dirty());
    store.commit().unwrap();
    store.write(Record::NoMember { user: 1, group: 1 }).unwrap();
    assert!(store.is_dirty());
    store.commit().unwrap();
    drop(store);
    assert_eq!(State::read(dir.path(), &options()).unwrap().members, []);
}

#[test]
fn what_was_not_committed_is_not_there() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    users(&mut store, &["anna", "bartek"]);
    Act::Mail(message(1, 1, 2, "kept")).play(&mut store).unwrap();
    store.commit().unwrap();
    Act::Mail(message(2, 1, 2, "not kept")).play(&mut store).unwrap();
    assert_eq!(texts(&mail(&store.reader(), 2, 10).unwrap()), ["kept"]);
    drop(store);
    assert_eq!(texts(&State::read(dir.path(), &options()).unwrap().mail), ["kept"]);
}

#[test]
fn commits_are_made_in_the_order_in_which_they_were_begun() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    users(&mut store, &["anna", "bartek"]);
    let (sender, done) = mpsc::channel();
    for i in 1..=50 {
        Act::Mail(message(i, 1, 2, "x")).play(&mut store).unwrap();
        let sender = sender.clone();
        store.begin_commit(move |result| sender.send((i, result.is_ok())).unwrap());
    }
    store.commit().unwrap();
    drop(sender);
    let order: Vec<_> = done.iter().collect();
    assert_eq!(order, (1..=50).map(|i| (i, true)).collect::<Vec<_>>());
    assert_eq!(store.waiting(2), 50);
}

#[test]
fn a_commit_of_nothing_is_done_at_once() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    let (sender, done) = mpsc::channel();
    store.begin_commit(move |result| sender.send(result.is_ok()).unwrap());
    assert_eq!(done.try_recv(), Ok(true));
}

#[test]
fn mail_is_paged_by_priority_then_in_order() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    users(&mut store, &["anna", "bartek"]);
    for i in 0..20 {
        let text = format!("{i}");
        let message = Message { priority: 1 + (i % 3) as u8, ..message(i, 1, 2, &text) };
        Act::Mail(message.clone()).play(&mut store).unwrap();
        Act::Mail(Message { user: 1, ..message }).play(&mut store).unwrap();
    }
    let back = Message { sequence: FIRST - 1, ..message(0, 1, 2, "back") };
    Act::Mail(back).play(&mut store).unwrap();
    store.commit().unwrap();
    let mut expected: Vec<_> = (0..20).filter(|i| i % 3 == 0).map(|i| i.to_string()).collect();
    expected.extend((0..20).filter(|i| i % 3 == 1).map(|i| i.to_string()));
    expected.push("back".into());
    expected.extend((0..20).filter(|i| i % 3 == 2).map(|i| i.to_string()));
    for limit in [1, 2, 7, 21, 22, 1000] {
        assert_eq!(texts(&mail(&store.reader(), 2, limit).unwrap()), expected, "pages of {limit}");
    }
    let page = wait(|answer| store.reader().mail_page(2, Some((2, FIRST + 19)), 4, answer));
    let page = page.unwrap();
    assert_eq!(page.mail[0].record().text, b"back");
    assert_eq!((page.mail.len(), page.next), (4, Some((3, FIRST + 8))));
}

#[test]
fn a_page_ends_when_it_is_large() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    users(&mut store, &["anna", "bartek"]);
    let long = "x".repeat(60_000);
    for i in 0..9 {
        Act::Posted(message(i, 1, 2, &long)).play(&mut store).unwrap();
        Act::Mail(message(i, 1, 2, &long)).play(&mut store).unwrap();
    }
    store.commit().unwrap();
    let reader = store.reader();
    let page = wait(|answer| reader.mail_page(2, None, 256, answer)).unwrap();
    assert_eq!((page.mail.len(), page.next), (5, Some((3, FIRST + 4))));
    let pair = Conversation::Pair(1, 2);
    let page = wait(|answer| reader.history(pair, None, 256, answer)).unwrap();
    assert_eq!((page.messages.len(), page.before), (5, Some(FIRST + 4)));
    assert_eq!(mail(&reader, 2, 256).unwrap().len(), 9);
    assert_eq!(history(&reader, pair, 256).unwrap().len(), 9);
}

#[test]
fn limits_refuse_mail_and_settling_makes_room() {
    let dir = TempDir::new().unwrap();
    let limits = Limits { mailbox: 3, mail: 5 };
    let options = Options { limits, ..options() };
    let (mut store, _) = Store::open(dir.path(), &options).unwrap();
    users(&mut store, &["anna", "bartek", "celina"]);
    let put = |store: &mut Store, sequence, user| {
        Act::Mail(message(sequence, 1, user, "x")).play(store).is_ok()
    };
    let got = [1, 2, 3, 4].map(|i| put(&mut store, i, 2));
    assert_eq!(got, [true, true, true, false], "a mailbox is full");
    let got = [5, 6, 7].map(|i| put(&mut store, i, 3));
    assert_eq!(got, [true, true, false], "all are full");
    Act::Settled(2, FIRST + 1).play(&mut store).unwrap();
    assert!(put(&mut store, 8, 3));
    store.commit().unwrap();
    drop(store);
    // They are counted anew when it is opened.
    let (mut store, restored) = Store::open(dir.path(), &options).unwrap();
    assert_eq!(
        restored.mail.iter().map(|w| (w.user, w.messages)).collect::<Vec<_>>(),
        [(2, 2), (3, 3)]
    );
    assert!(!put(&mut store, 9, 2));
    // Settling what is not there makes none.
    Act::Settled(2, FIRST + 1).play(&mut store).unwrap();
    store.commit().unwrap();
    assert_eq!((store.waiting(2), store.total_waiting()), (2, 5));
    assert!(!put(&mut store, 9, 2));
    store.write(Record::NoUser { number: 3 }).unwrap();
    assert_eq!((store.waiting(3), store.total_waiting()), (0, 2));
    assert!(put(&mut store, 9, 2));
}

#[test]
fn mail_settled_before_its_commit_never_touches_the_disk() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    users(&mut store, &["anna", "bartek"]);
    let secret = "settled before its commit".repeat(30);
    Act::Mail(message(1, 1, 2, &secret)).play(&mut store).unwrap();
    Act::Settled(2, FIRST + 1).play(&mut store).unwrap();
    store.commit().unwrap();
    assert_eq!(store.waiting(2), 0);
    Act::Mail(message(2, 1, 2, "kept")).play(&mut store).unwrap();
    store.commit().unwrap();
    let on_disk = |store: &str| {
        let wal = fs::read(dir.path().join("store.db-wal")).unwrap();
        wal.windows(store.len()).any(|window| window == store.as_bytes())
    };
    assert!(on_disk("kept") && !on_disk("settled before its commit"));
}

#[test]
fn a_text_is_stored_once_for_all_who_wait_for_it() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    let names: Vec<String> = (1..=40).map(|i| format!("user {i}")).collect();
    users(&mut store, &names.iter().map(String::as_str).collect::<Vec<_>>());
    store.write(Record::Group { number: 1, name: b"news", owner: 0 }).unwrap();
    let text = "x".repeat(5000);
    let post = Message { group: 1, ..message(1, 1, 0, &text) };
    Act::Posted(post.clone()).play(&mut store).unwrap();
    for user in 1..=20 {
        Act::Mail(Message { user, ..post.clone() }).play(&mut store).unwrap();
    }
    store.commit().unwrap();
    // Also where it became mail later.
    for user in 21..=40 {
        Act::Mail(Message { user, ..post.clone() }).play(&mut store).unwrap();
    }
    store.commit().unwrap();
    assert!(
        (1..=40)
            .all(|user| mail(&store.reader(), user, 9).unwrap()
                == [Message { user, ..post.clone() }])
    );
    store.close().unwrap();
    let size = fs::metadata(dir.path().join("store.db")).unwrap().len();
    assert!(size < 100_000, "{size} bytes for one message of 5000");
}

#[test]
fn histories_are_of_a_group_or_of_two_users() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    users(&mut store, &["anna", "bartek", "celina"]);
    store.write(Record::Group { number: 2, name: b"news", owner: 1 }).unwrap();
    for (i, from, to, group) in
        [(1, 1, 2, 0), (2, 2, 1, 0), (3, 1, 3, 0), (4, 1, 0, 2), (5, 1, 1, 0), (6, 3, 0, 2)]
    {
        let post = Message { group, ..message(i, from, to, &i.to_string()) };
        Act::Posted(post).play(&mut store).unwrap();
    }
    store.commit().unwrap();
    let of = |of| texts(&history(&store.reader(), of, 2).unwrap()).join(" ");
    assert_eq!(of(Conversation::Pair(1, 2)), "1 2");
    assert_eq!(of(Conversation::Pair(2, 1)), "1 2");
    assert_eq!(of(Conversation::Pair(3, 1)), "3");
    assert_eq!(of(Conversation::Pair(1, 1)), "5");
    assert_eq!(of(Conversation::Group(2)), "4 6");
    assert_eq!(of(Conversation::Group(3)), "");
    let newest = wait(|answer| store.reader().history(Conversation::Pair(1, 2), None, 1, answer));
    let newest = newest.unwrap();
    assert_eq!(newest.messages[0].record().text, b"2");
    assert_eq!(newest.before, Some(FIRST + 2));
}

#[test]
fn a_number_used_again_inherits_nothing() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    users(&mut store, &["anna", "bartek", "celina"]);
    store.write(Record::Group { number: 1, name: b"news", owner: 2 }).unwrap();
    store.write(Record::Member { user: 2, group: 1, left: -1 }).unwrap();
    store.set_password(2, Some("$argon2id$")).unwrap();
    Act::Session(2, 77, 2).play(&mut store).unwrap();
    let sent = message(1, 2, 1, "from the former bartek");
    let handed_back = Message { sequence: FIRST - 1, ..message(0, 2, 1, "handed back") };
    for act in [
        Act::Posted(sent.clone()),
        Act::Mail(sent.clone()),
        Act::Mail(handed_back.clone()),
        Act::Mail(message(2, 1, 2, "to the former bartek")),
        Act::Posted(Message { group: 1, ..message(3, 2, 0, "in the group") }),
        Act::Commit,
        Act::NoUser(2),
        Act::User(2, b"barbara".to_vec()),
        Act::Posted(message(4, 2, 1, "from barbara")),
        Act::Commit,
    ] {
        act.play(&mut store).unwrap();
    }
    let reader = store.reader();
    assert_eq!(texts(&history(&reader, Conversation::Pair(1, 2), 9).unwrap()), ["from barbara"]);
    let group = history(&reader, Conversation::Group(1), 9).unwrap();
    assert_eq!((group[0].from, texts(&group)), (0, vec!["in the group"]));
    assert_eq!(mail(&reader, 2, 9).unwrap(), []);
    let kept = [Message { from: 0, ..handed_back }, Message { from: 0, ..sent }];
    assert_eq!(mail(&reader, 1, 9).unwrap(), kept);
    drop(store);
    let (_store, restored) = Store::open(dir.path(), &options()).unwrap();
    assert_eq!(restored.users[1].name, b"barbara");
    assert_eq!((&restored.users[1].password, restored.groups[0].owner), (&None, 0));
    assert!(restored.memberships.is_empty() && restored.sessions.is_empty());
    assert!(check(dir.path()).unwrap().is_good());
}

/// Group mail that shares its text with the log, that has its own, and that was handed back.
fn group_mail(group: u32, first: u64, texts: [&str; 3]) -> Vec<Act> {
    let [logged, own, back] = texts;
    let logged = Message { group, ..message(first, 1, 0, logged) };
    let own = Message { group, user: 2, ..message(first + 1, 1, 0, own) };
    let back = Message { group, user: 2, sequence: FIRST - first, ..message(0, 1, 0, back) };
    let mail = Message { user: 2, ..logged.clone() };
    vec![Act::Posted(logged), Act::Mail(mail), Act::Mail(own), Act::Mail(back), Act::Commit]
}

#[test]
fn mail_of_a_removed_group_is_not_of_the_next_one_of_that_number() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    users(&mut store, &["anna", "bartek"]);
    let mut acts = vec![Act::Group(1, b"news".to_vec(), 1), Act::Group(2, b"stays".to_vec(), 1)];
    acts.extend(group_mail(1, 1, ["a", "b", "c"]));
    acts.extend(group_mail(2, 3, ["d", "e", "f"]));
    acts.extend([Act::NoGroup(1), Act::Group(1, b"sport".to_vec(), 1)]);
    acts.extend(group_mail(1, 5, ["g", "h", "i"]));
    for act in &acts {
        act.play(&mut store).unwrap();
    }
    let groups = |store: &Store| -> BTreeMap<String, u32> {
        let mail = mail(&store.reader(), 2, 4).unwrap().into_iter();
        mail.map(|mail| (String::from_utf8(mail.text).unwrap(), mail.group)).collect()
    };
    let none = FORMER_GROUP;
    let want = [("a", none), ("b", none), ("c", none), ("d", 2), ("e", 2), ("f", 2)];
    let want = want.into_iter().chain([("g", 1), ("h", 1), ("i", 1)]);
    let want: BTreeMap<String, u32> = want.map(|(text, group)| (text.into(), group)).collect();
    assert_eq!(groups(&store), want);
    store.close().unwrap();
    let mut store = open(&dir);
    assert_eq!(groups(&store), want);
    // Nor is it of one that there is not.
    store.write(Record::NoGroup { number: 2 }).unwrap();
    assert_eq!(groups(&store).values().filter(|group| **group == none).count(), 6);
    store.close().unwrap();
    assert!(check(dir.path()).unwrap().is_good());
}

#[test]
fn passwords_are_kept_and_removed() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    users(&mut store, &["anna", "bartek"]);
    store.set_password(1, Some("$argon2id$v=19$one")).unwrap();
    store.set_password(2, Some("two")).unwrap();
    store.set_password(1, Some("$argon2id$v=19$new")).unwrap();
    store.set_password(2, None).unwrap();
    let reader = store.reader();
    let of = |user| wait(|answer| reader.password(user, answer)).unwrap();
    assert_eq!([of(1), of(2), of(3)], [Some("$argon2id$v=19$new".to_owned()), None, None]);
    drop(store);
    let (_store, restored) = Store::open(dir.path(), &options()).unwrap();
    assert_eq!(restored.users[0].password.as_deref(), Some("$argon2id$v=19$new"));
    assert_eq!(restored.users[1].password, None);
}

#[test]
fn a_user_with_a_password_is_never_made_without_it() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    let (known, unknown) = (Token::NONE, tokens()[0]);
    store.hold_secret(known, "$argon2id$".to_owned());
    let user = |number, name, secret| Record::User { number, name, secret };
    assert!(store.write(user(1, b"anna", Some(unknown))).is_err());
    store.write(user(1, b"anna", Some(known))).unwrap();
    assert!(store.write(user(2, b"bartek", Some(known))).is_err(), "it is held for one user");
    store.hold_secret(known, "x".to_owned());
    store.drop_secret(known);
    assert!(store.write(user(2, b"bartek", Some(known))).is_err());
    store.write(user(2, b"bartek", None)).unwrap();
    drop(store);
    let (mut store, restored) = Store::open(dir.path(), &options()).unwrap();
    let users = |restored: Restored| -> Vec<_> {
        restored.users.into_iter().map(|user| (user.name, user.password)).collect()
    };
    let anna = |name: &[u8]| (name.to_vec(), Some("$argon2id$".to_owned()));
    assert_eq!(users(restored), [anna(b"anna"), (b"bartek".to_vec(), None)]);
    // Under a new name it is the same user, with the same password.
    store.write(user(1, b"ania", None)).unwrap();
    drop(store);
    let restored = Store::open(dir.path(), &options()).unwrap().1;
    assert_eq!(users(restored)[0], anna(b"ania"));
}

/// Tokens are only made by a table: this one's own.
fn tokens() -> Vec<Token> {
    let mut slots = [Slot::EMPTY; 2];
    let mut table = Table::new(&mut slots);
    (0..2).map(|_| table.insert(Question::EMPTY).unwrap()).collect()
}

#[test]
fn histories_are_bounded_and_mail_that_is_owed_is_not_pruned() {
    let dir = TempDir::new().unwrap();
    let retention = Retention { messages: Some(100), age: None };
    let options = Options { retention, ..options() };
    let (mut store, _) = Store::open(dir.path(), &options).unwrap();
    users(&mut store, &["anna", "bartek", "celina"]);
    store.write(Record::Group { number: 1, name: b"news", owner: 1 }).unwrap();
    for i in 0..2000 {
        let (group, to) = if i % 2 == 0 { (1, 0) } else { (0, 2) };
        let post = Message { group, ..message(i, 1, to, &i.to_string()) };
        Act::Posted(post.clone()).play(&mut store).unwrap();
        if i % 500 < 2 {
            Act::Mail(Message { user: 2, ..post.clone() }).play(&mut store).unwrap();
            if group == 1 {
                Act::Mail(Message { user: 3, ..post }).play(&mut store).unwrap();
            }
        }
        if i % 64 == 0 {
            store.commit().unwrap();
        }
    }
    store.commit().unwrap();
    let reader = store.reader();
    let pair = Conversation::Pair(1, 2);
    let left = || {
        let group = history(&reader, Conversation::Group(1), 256).unwrap();
        (group.len(), history(&reader, pair, 256).unwrap().len())
    };
    until("only the newest 100 and 8 that are owed are left", || left() == (54, 54));
    assert_eq!(
        texts(&mail(&reader, 2, 9).unwrap()),
        ["0", "1", "500", "501", "1000", "1001", "1500", "1501"]
    );
    // One of two members has it: the other is still owed it.
    for i in [0, 1] {
        Act::Settled(2, FIRST + i).play(&mut store).unwrap();
    }
    store.commit().unwrap();
    until("the direct message goes", || left() == (54, 53));
    assert_eq!(texts(&mail(&reader, 3, 9).unwrap()), ["0", "500", "1000", "1500"]);
    Act::Settled(3, FIRST).play(&mut store).unwrap();
    store.commit().unwrap();
    until("the group message goes", || left() == (53, 53));
    store.close().unwrap();
    let report = check(dir.path()).unwrap();
    assert_eq!((report.messages, report.mail, report.damaged), (106, 9, 0), "{report:?}");
}

#[test]
fn old_messages_are_pruned_by_their_age() {
    let dir = TempDir::new().unwrap();
    let retention = Retention { messages: None, age: Some(Duration::from_secs(3600)) };
    let (mut store, _) = Store::open(dir.path(), &Options { retention, ..options() }).unwrap();
    users(&mut store, &["anna", "bartek"]);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64;
    for (i, minutes) in (0..).zip([200, 100, 61, 30, 0]) {
        let post =
            Message { time: now - minutes * 60_000, ..message(i, 1, 2, &minutes.to_string()) };
        Act::Posted(post).play(&mut store).unwrap();
    }
    store.commit().unwrap();
    let pair = Conversation::Pair(1, 2);
    until("what is older than an hour goes", || {
        texts(&history(&store.reader(), pair, 9).unwrap()) == ["30", "0"]
    });
}

#[test]
fn the_sequence_survives_the_pruning_of_all_messages() {
    let dir = TempDir::new().unwrap();
    let retention = Retention { messages: Some(0), age: Some(Duration::ZERO) };
    let options = Options { retention, ..options() };
    let (mut store, _) = Store::open(dir.path(), &options).unwrap();
    users(&mut store, &["anna", "bartek"]);
    for i in 1..=700 {
        Act::Posted(message(i, 1, 2, "x")).play(&mut store).unwrap();
    }
    store.commit().unwrap();
    until("only the newest is left", || {
        history(&store.reader(), Conversation::Pair(1, 2), 256).unwrap().len() == 1
    });
    drop(store);
    let (_store, restored) = Store::open(dir.path(), &options).unwrap();
    assert_eq!(restored.newest, FIRST + 700);
}

#[test]
fn a_commit_at_intervals_is_read_at_once_and_comes_back() {
    let dir = TempDir::new().unwrap();
    let durability = Durability::Interval(Duration::from_millis(1));
    let options = Options { durability, checkpoint: 16, ..options() };
    let (mut store, _) = Store::open(dir.path(), &options).unwrap();
    users(&mut store, &["anna", "bartek"]);
    for i in 0..200 {
        Act::Mail(message(i, 1, 2, "x")).play(&mut store).unwrap();
        store.commit().unwrap();
        assert_eq!(mail(&store.reader(), 2, 256).unwrap().len() as u64, i + 1);
    }
    let killed = TempDir::new().unwrap();
    common::copy(dir.path(), killed.path());
    assert_eq!(State::read(killed.path(), &options).unwrap().mail.len(), 200);
}

#[test]
fn a_backup_is_a_whole_store_and_the_server_goes_on() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    let mut model = Model::default();
    let mut script = script(99, 600);
    script.insert(500, Act::Commit);
    for act in &script[..=500] {
        act.play(&mut store).unwrap();
        model.apply(act);
    }
    let target = TempDir::new().unwrap();
    let file = target.path().join("store.db");
    let (sender, done) = mpsc::channel();
    store.reader().backup(&file, move |result| sender.send(result).unwrap());
    for act in &script[501..] {
        act.play(&mut store).unwrap();
        model.apply(act);
    }
    done.recv().unwrap().unwrap();
    // Anything from before it was asked for is in it.
    let report = check(&file).unwrap();
    assert!(report.is_good(), "{report:?}");
    let taken = State::read(target.path(), &options()).unwrap();
    let since = common::states(&script[..=500]).len() - 1;
    assert!(common::states(&script)[since..].contains(&taken));
    // An existing file is never overwritten.
    let error = wait(|answer| store.reader().backup(&file, answer)).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    drop(store);
    same(&State::read(dir.path(), &options()).unwrap(), &model.state());
}

#[test]
fn what_is_asked_of_a_closed_store_is_answered() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let reader = store.reader();
    drop(store);
    let closed = |error: Error| matches!(error, Error::Closed);
    assert!(closed(wait(|answer| reader.mail_page(1, None, 1, answer)).unwrap_err()));
    assert!(closed(wait(|answer| reader.password(1, answer)).unwrap_err()));
    assert!(closed(wait(|a| reader.history(Conversation::Group(1), None, 1, a)).unwrap_err()));
    assert!(closed(wait(|answer| reader.backup(Path::new("/nowhere/b"), answer)).unwrap_err()));
}

/// A mail keeps its own text where the log refused its message: the log had another one under that
/// sequence.
#[test]
fn what_is_there_is_never_overwritten() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    users(&mut store, &["anna", "bartek"]);
    Act::Posted(message(1, 1, 2, "first")).play(&mut store).unwrap();
    Act::Mail(message(1, 1, 2, "first")).play(&mut store).unwrap();
    store.commit().unwrap();
    Act::Posted(message(1, 2, 1, "second")).play(&mut store).unwrap();
    Act::Mail(message(1, 2, 1, "second")).play(&mut store).unwrap();
    Act::Mail(message(1, 1, 2, "third")).play(&mut store).unwrap();
    store.commit().unwrap();
    assert_eq!((store.waiting(1), store.waiting(2)), (1, 1));
    let reader = store.reader();
    assert_eq!(texts(&history(&reader, Conversation::Pair(1, 2), 9).unwrap()), ["first"]);
    assert_eq!(texts(&mail(&reader, 1, 9).unwrap()), ["second"]);
    assert_eq!(texts(&mail(&reader, 2, 9).unwrap()), ["first"]);
}
