//! Users of different dialects reach each other.

use centrala_tests::lab::{Lab, frame, topic_request};
use centrala_tests::with_io;

#[test]
fn a_publication_reaches_direct_members_and_a_group_message_reaches_subscribers() {
    let mut lab = Lab::default();
    let endpoint = lab.topics();
    let (ola, id) = lab.subscriber(endpoint, 1000, "ola").unwrap();
    lab.send(endpoint, &topic_request(2, id, 0, 0, "news"));
    lab.send(endpoint, &topic_request(3, id, 0, -1, ""));
    // A membership is the user's: what it subscribed to in one dialect it gets in the other.
    let (queue, id) = lab.subscriber(endpoint, 1001, "anna").unwrap();
    lab.send(endpoint, &topic_request(3, id, 0, -1, ""));
    lab.disconnect(queue);
    let anna = lab.direct("anna");
    lab.got(ola);

    lab.send(endpoint, &topic_request(4, 0, 0, 1, "from a topic"));
    assert_eq!(lab.queue(ola), [(2, 0, String::new())]);
    assert_eq!(lab.got(anna), [frame(0, 0, "ola", "#news", b"from a topic")]);
    lab.send(anna, &frame(1, 0, "anna", "ola", b"200"));

    lab.send(anna, &frame(0, 9, "anna", "#news", b"from a stream"));
    assert_eq!(lab.queue(ola), [(4, 3, "news: from a stream".to_string())]);
    assert_eq!(lab.got(anna), [frame(1, 9, "#news", "anna", b"200")]);
    assert_eq!(lab.exchange.usage().entries, 0);
}

#[test]
fn a_user_live_in_two_dialects_gets_both_and_the_first_taker_answers() {
    let mut lab = Lab::default();
    let endpoint = lab.topics();
    let (queue, _) = lab.subscriber(endpoint, 1000, "ola").unwrap();
    let (ola, anna) = (lab.direct("ola"), lab.direct("anna"));
    lab.send(anna, &frame(0, 1, "anna", "ola", b"hej"));
    assert_eq!(lab.got(anna), [frame(1, 1, "ola", "anna", b"200")]);
    assert_eq!(lab.queue(queue).len(), 1);
    assert_eq!(lab.got(ola), [frame(0, 1, "anna", "ola", b"hej")]);
    lab.send(ola, &frame(1, 1, "ola", "anna", b"200"));
    assert_eq!(lab.got(anna), [[0u8; 0]; 0], "one answer");

    lab.send(anna, &frame(0, 2, "anna", "ola", b"hej"));
    assert_eq!(lab.got(anna).len(), 1);
    lab.wait(3_000);
    assert_eq!(lab.desk.closed, [ola], "a later lapse closes");
    assert_eq!(lab.got(anna), [[0u8; 0]; 0], "but sends no 300");
    assert!(!lab.shelf.records.iter().any(|record| record.starts_with("mail")));
    assert_eq!(lab.exchange.usage().entries, 0);
}

#[test]
fn mail_goes_to_the_dialect_that_logs_in_next_whatever_it_came_from() {
    let mut lab = Lab::default();
    let endpoint = lab.topics();
    let (queue, id) = lab.subscriber(endpoint, 1000, "ola").unwrap();
    lab.send(endpoint, &topic_request(2, id, 0, 0, "news"));
    lab.send(endpoint, &topic_request(3, id, 0, -1, ""));
    lab.disconnect(queue);
    let anna = lab.direct("anna");
    lab.send(anna, &frame(0, 5, "anna", "ola", b"dm"));
    lab.send(anna, &frame(0, 6, "anna", "#news", b"group"));
    let told = [frame(1, 5, "ola", "anna", b"300"), frame(1, 6, "#news", "anna", b"200")];
    assert_eq!(lab.got(anna), told);

    let ola = lab.direct("ola");
    let mail = [frame(2, 5, "anna", "ola", b"dm"), frame(2, 0, "anna", "#news", b"group")];
    assert_eq!(lab.got(ola), mail);
    with_io!(lab, taken(ola, 1));
    let (queue, _) = lab.subscriber(endpoint, 1000, "ola").unwrap();
    assert_eq!(lab.queue(queue), [], "in flight to the other session");
    lab.disconnect(ola);
    assert_eq!(lab.queue(queue), [(4, 3, "news: group".to_string())], "which did not take it");
    with_io!(lab, taken(queue, 1));
    assert_eq!(lab.exchange.usage().entries, 0);
}

#[test]
fn a_removed_user_leaves_nothing_but_texts_without_a_sender() {
    let mut lab = Lab::default();
    let (anna, bartek) = (lab.direct("anna"), lab.direct("bartek"));
    lab.send(bartek, &frame(0, 1, "bartek", "anna", b"unanswered"));
    lab.disconnect(bartek);
    lab.send(anna, &frame(0, 1, "anna", "bartek", b"keep me"));
    with_io!(lab, remove_user(1)).unwrap();
    assert_eq!(lab.desk.closed, [anna]);
    assert_eq!(lab.exchange.usage().entries, 1);
    let celina = lab.direct("celina");
    assert_eq!(lab.exchange.user_of(celina).unwrap().number, 3, "numbers are not used again soon");
    let bartek = lab.direct("bartek");
    assert_eq!(lab.got(bartek), [frame(2, 1, "", "bartek", b"keep me")]);
}
