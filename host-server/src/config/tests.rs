use super::*;

fn wrong(text: &str) -> String {
    Config::parse(text, "c.toml").expect_err(text).to_string()
}

#[test]
fn only_dialects_with_a_section_run() {
    let config = Config::parse("[direct]\n", "c.toml").unwrap();
    assert_eq!(config.direct, Some(Direct::default()));
    assert_eq!(config.topics, None);
    assert!(wrong("[limits]\nclients = 3\n").contains("[direct], [native], [rooms]"));
    assert!(Config::parse("[lanes]\n", "c.toml").is_ok());
}

#[test]
fn every_key_is_read() {
    let text = r#"
        data = "/var/lib/centrala"
        durability = "interval"
        interval = 20
        [limits]
        users = 10
        clients = 11
        topics = 12
        memberships = 13
        chats = 14
        messages = 14
        copies = 15
        mailbox = 16
        mail = 22
        mail_per_user = 23
        history = 24
        message_length = 17
        questions = 18
        [accounts]
        registration = "closed"
        registrations_per_minute = 19
        [direct]
        listen = "127.0.0.1:0"
        [native]
        listen = "127.0.0.1:0"
        shutdown = "allow"
        [rooms]
        listen = "0.0.0.0:4881"
        public = true
        origins = ["https://example.org", "http://192.0.2.1:8080"]
        events_per_second = 25
        burst = 26
        buffer = 65536
        images = 27
        [topics]
        key = 21
        mode = "0660"
        clients = 3
        topics = 4
        shutdown = "deny"
        [queues]
        key = 22
        mode = "0666"
        [lanes]
        key = 23
        mode = "0640"
        users = 99
        groups = 49
        directory = "/srv/basic.txt"
    "#;
    let limits = Limits {
        users: 10,
        clients: 11,
        topics: 12,
        memberships: 13,
        chats: 14,
        messages: 14,
        copies: 15,
        mailbox: 16,
        mail: 22,
        mail_per_user: 23,
        history: 24,
        message_length: 17,
        questions: 18,
    };
    let accounts = Accounts { registration: Registration::Closed, registrations_per_minute: 19 };
    let topics = Topics { key: 21, mode: 0o660, clients: 3, topics: 4, shutdown: Shutdown::Deny };
    let listen = "127.0.0.1:0".parse().unwrap();
    let rooms = Rooms {
        listen: "0.0.0.0:4881".parse().unwrap(),
        public: true,
        origins: vec!["https://example.org".into(), "http://192.0.2.1:8080".into()],
        events_per_second: 25,
        burst: 26,
        buffer: 65536,
        images: 27,
    };
    let expected = Config {
        data: Data::Directory("/var/lib/centrala".into()),
        durability: Durability::Interval,
        interval: 20,
        limits,
        accounts,
        direct: Some(Direct { listen }),
        native: Some(Native { listen, shutdown: Shutdown::Allow }),
        rooms: Some(rooms),
        topics: Some(topics),
        queues: Some(Queues { key: 22, mode: 0o666 }),
        lanes: Some(Lanes {
            key: 23,
            mode: 0o640,
            users: 99,
            groups: 49,
            directory: Some("/srv/basic.txt".into()),
        }),
    };
    assert_eq!(Config::parse(text, "c.toml"), Ok(expected));
}

#[test]
fn an_error_names_file_line_key_and_what_is_allowed() {
    for (text, expected) in [
        (
            "[direct]\n[limits]\nmessage_length = 1025\n",
            "c.toml:3: limits.message_length: invalid value: integer `1025`, expected a whole \
             number from 1 to 1024",
        ),
        (
            "[limits]\nclients = 0\n",
            "c.toml:2: limits.clients: invalid value: integer `0`, expected a whole number from 1 \
             to 100000",
        ),
        (
            "[limits]\nclients = \"many\"\n",
            "c.toml:2: limits.clients: invalid type: string \"many\", expected a whole number \
             from 1 to 100000",
        ),
        (
            "[direct]\nlisten = \"localhost\"\n",
            "c.toml:2: direct.listen: invalid value: string \"localhost\", expected an IP address \
             and a port, such as \"127.0.0.1:4810\"",
        ),
        (
            "[topics]\n\nmode = \"0200\"\n",
            "c.toml:3: topics.mode: invalid value: string \"0200\", expected an octal mode in \
             quotes that lets the owner read and write and nobody execute, such as \"0600\"",
        ),
        (
            "[topics]\nkeys = 5\n",
            "c.toml:2: topics.keys: unknown field `keys`, expected one of `key`, `mode`, \
             `clients`, `topics`, `shutdown`",
        ),
        (
            "data = \"\"\n[direct]\n",
            "c.toml:1: data: invalid value: string \"\", expected a directory, or \":memory:\"",
        ),
        (
            "[direct]\n[post]\n",
            "c.toml:2: [post]: unknown field `post`, expected one of `data`, `durability`, \
             `interval`, `limits`, `accounts`, `direct`, `native`, `rooms`, `topics`, `queues`, \
             `lanes`",
        ),
        (
            "[rooms]\nlisten = \"192.0.2.1:80\"\n",
            "c.toml: rooms.listen: 192.0.2.1:80 is not on loopback: rooms.public = true is \
             needed, as there is no encryption",
        ),
        (
            "[rooms]\norigins = [\"https://Example.org/\"]\n",
            "c.toml:2: rooms.origins: invalid value: string \"https://Example.org/\", expected \
             origins without a path, in lower case, such as \"https://example.org\"",
        ),
        (
            "[rooms]\nburst = 0\n",
            "c.toml:2: rooms.burst: invalid value: integer `0`, expected a whole number from 1 to \
             100000",
        ),
        (
            "[limits]\nclients = 4\n[topics]\nclients = 5\n",
            "c.toml: topics.clients: 5 is more than limits.clients: 1 to 4 is allowed",
        ),
        (
            "[lanes]\nusers = 100\n",
            "c.toml:2: lanes.users: invalid value: integer `100`, expected a whole number from 1 to 99",
        ),
        (
            "[lanes]\ngroups = 0\n",
            "c.toml:2: lanes.groups: invalid value: integer `0`, expected a whole number from 1 to 49",
        ),
        (
            "[queues]\nshutdown = \"deny\"\n",
            "c.toml:2: queues.shutdown: unknown field `shutdown`, expected `key` or `mode`",
        ),
        (
            "[topics]\n[lanes]\nkey = 12345\n",
            "c.toml: topics.key: 12345 is lanes.key too: each needs a key of its own",
        ),
    ] {
        assert_eq!(wrong(text), expected);
    }
    for text in ["[topics]\nkey = 0", "[topics]\nkey = 2147483648", "[topics]\nshutdown = 1"] {
        assert!(wrong(text).starts_with("c.toml:2: topics."), "{}", wrong(text));
    }
    assert!(wrong("[direct]\nlisten =\n").starts_with("c.toml:2: direct.listen: "));
    assert!(!wrong("[direct]\nlisten =\n").contains('\n'));
}

#[test]
fn defaults_of_a_dialect_give_way_to_the_limits() {
    let config = Config::parse("[limits]\nclients = 1\ntopics = 1\n[topics]\n", "c.toml").unwrap();
    let topics = config.topics.unwrap();
    assert_eq!((topics.clients, topics.topics), (1, 1));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Path::new("/nonexistent/c.toml")).unwrap_err().to_string();
    assert!(error.starts_with("/nonexistent/c.toml: "), "{error}");
}
