//! Where a command goes: `dialect://[user[:password]@][place][?directory=path]`.
//!
//! | dialect         | place                              | when it is left out |
//! |-----------------|------------------------------------|---------------------|
//! | `direct`        | `host[:port]`                      | `127.0.0.1:4810`    |
//! | `native`        | `host[:port]`                      | `127.0.0.1:4811`    |
//! | `native+serial` | `host:port` or `/dev/…`            |                     |
//! | `queues`        | the server's queue key             | `99999`             |
//! | `lanes`         | the server's queue key             | `6661`              |
//! | `topics`        | the server's queue key             | `12345`             |
//!
//! `native+serial` is `native` as it is on a serial line: that of a terminal device, whose speed is
//! as it was set (`stty -F /dev/ttyUSB0 115200`), or one that a program (an emulator, a terminal
//! server) offers at a TCP address.
//!
//! User and password are percent-encoded where they hold one of `%:@/?#`. A key is decimal, or
//! hexadecimal with `0x`, as `ipcs -q` shows it. The directory, of `lanes` alone, is the file in
//! which its server writes the names of users and groups.

use crate::failure::Failure;
use centrala_core::name::Name;
use std::fmt;
use std::path::PathBuf;

/// The scheme of `native` on a serial line.
const SERIAL: &str = "native+serial";

/// A dialect that this client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Direct messages with receipts, over TCP.
    Direct,
    /// All that an exchange can do, over TCP.
    Native,
    /// Accounts and numbered groups, over a SysV queue per client.
    Queues,
    /// Accounts and numbered groups, over one SysV queue for all.
    Lanes,
    /// Named topics with counted subscriptions, over SysV queues.
    Topics,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Dialect; 5] =
        [Dialect::Direct, Dialect::Native, Dialect::Queues, Dialect::Lanes, Dialect::Topics];

    /// The scheme of its URLs.
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Direct => "direct",
            Dialect::Native => "native",
            Dialect::Queues => "queues",
            Dialect::Lanes => "lanes",
            Dialect::Topics => "topics",
        }
    }

    fn default_place(self) -> Place {
        match self {
            Dialect::Direct => Place::Address { host: "127.0.0.1".into(), port: 4810 },
            Dialect::Native => Place::Address { host: "127.0.0.1".into(), port: 4811 },
            Dialect::Queues => Place::Key(99999),
            Dialect::Lanes => Place::Key(6661),
            Dialect::Topics => Place::Key(12345),
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where the exchange is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A TCP address.
    Address {
        /// Name or number; an IPv6 number without its brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A serial line that is reached at a TCP address.
    Line {
        /// As of an address.
        host: String,
        /// The port.
        port: u16,
    },
    /// A serial line: the path of its terminal device.
    Device(PathBuf),
    /// The key of a SysV queue, above 0.
    Key(i32),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Address { host, port } | Place::Line { host, port } => {
                match host.contains(':') {
                    true => write!(f, "[{host}]:{port}"),
                    false => write!(f, "{host}:{port}"),
                }
            }
            Place::Device(path) => write!(f, "{}", path.display()),
            Place::Key(key) => write!(f, "queue key {key}"),
        }
    }
}

/// A password: never printed, not by `Debug` either.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Takes it as it is.
    pub fn new(text: String) -> Password {
        Password(text)
    }

    /// The password.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// A parsed URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// The dialect to speak.
    pub dialect: Dialect,
    /// The user, as it was typed; [`Url::user`] checks it.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Password>,
    /// Where the exchange is.
    pub place: Place,
    /// The file with the names of users and groups (`lanes`).
    pub directory: Option<PathBuf>,
}

impl Url {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`Failure::Usage`] with the part that is wrong. It never repeats a password.
    pub fn parse(text: &str) -> Result<Url, Failure> {
        let form = "a URL is DIALECT://USER@PLACE, as native://anna@127.0.0.1:4811 or \
                    topics://anna@12345";
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| Failure::Usage(format!("no '://': {form}")))?;
        let serial = scheme == SERIAL;
        let scheme = if serial { Dialect::Native.name() } else { scheme };
        let dialect = Dialect::ALL.into_iter().find(|d| d.name() == scheme).ok_or_else(|| {
            let known = Dialect::ALL.map(Dialect::name).join(", ");
            Failure::Usage(format!(
                "unknown dialect '{scheme}': this client speaks {known}, and {SERIAL}"
            ))
        })?;
        let (rest, directory) = match rest.split_once("?directory=") {
            Some((rest, path)) if dialect == Dialect::Lanes => {
                (rest, Some(decode(path, "directory")?).filter(|path| !path.is_empty()))
            }
            _ => (rest, None),
        };
        // A '@' in a password may come without its percent sign: places have none.
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, rest),
        };
        let device = serial && place.starts_with('/') && place != "/";
        let place = place.strip_suffix('/').unwrap_or(place);
        if let Some(stray) = place.chars().find(|c| "/?#".contains(*c) && !(device && *c == '/')) {
            return Err(Failure::Usage(format!(
                "the URL has '{stray}' behind its place, where {dialect} takes {}; inside a user \
                 or password it is written %{:02X}",
                if dialect == Dialect::Lanes { "only ?directory=PATH" } else { "nothing" },
                u32::from(stray)
            )));
        }
        let (user, password) = match user.map(|u| u.split_once(':').unwrap_or((u, ""))) {
            None => (None, None),
            Some((user, "")) => (Some(decode(user, "user")?), None),
            Some((user, password)) => {
                (Some(decode(user, "user")?), Some(Password(decode(password, "password")?)))
            }
        };
        let user = user.filter(|user| !user.is_empty());
        let place = match dialect.default_place() {
            _ if device => Place::Device(place.into()),
            _ if serial => line(place)?,
            default if place.is_empty() => default,
            Place::Key(_) => Place::Key(key(place)?),
            Place::Address { port, .. } => address(place, port)?,
            serial @ (Place::Line { .. } | Place::Device(_)) => serial,
        };
        Ok(Url { dialect, user, password, place, directory: directory.map(PathBuf::from) })
    }

    /// What holds where no URL was given: `native`, as the user of this machine.
    ///
    /// # Errors
    /// [`Failure::Usage`]: there is no such user.
    pub fn default_of(user: Option<String>) -> Result<Url, Failure> {
        let dialect = Dialect::Native;
        if user.as_ref().is_none_or(String::is_empty) {
            return Err(Failure::Usage(
                "no URL, and no USER to make one of: give --url or set CENTRALA_URL, as in --url \
                 native://anna@127.0.0.1:4811"
                    .into(),
            ));
        }
        Ok(Url { dialect, user, password: None, place: dialect.default_place(), directory: None })
    }

    /// The user.
    ///
    /// # Errors
    /// [`Failure::Usage`]: the URL names none, or what is no name.
    pub fn user(&self) -> Result<&str, Failure> {
        let Some(user) = &self.user else {
            let (dialect, place) = (self.dialect, &self.place);
            let place = match place {
                Place::Key(key) => key.to_string(),
                address => address.to_string(),
            };
            let serial = matches!(self.place, Place::Line { .. } | Place::Device(_));
            let scheme = if serial { SERIAL } else { dialect.name() };
            return Err(Failure::Usage(format!(
                "the URL names no user: write {scheme}://USER@{place}"
            )));
        };
        checked_name(user, "user").map(|()| user.as_str())
    }

    /// The password; empty for none.
    pub fn password(&self) -> &str {
        self.password.as_ref().map_or("", Password::as_str)
    }
}

/// Checks that an exchange could have `name` for a `what` ("user", "group"), or that it is a
/// user's number, `~k`.
///
/// # Errors
/// [`Failure::Usage`] with the rule that it breaks.
pub fn checked_name(name: &str, what: &str) -> Result<(), Failure> {
    let number = name.strip_prefix('~').unwrap_or("");
    if what == "user" && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(());
    }
    Name::new(name.as_bytes())
        .map(drop)
        .map_err(|rule| Failure::Usage(format!("'{name}' is no name of a {what}: {rule}")))
}

fn key(text: &str) -> Result<i32, Failure> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    parsed.and_then(|key| i32::try_from(key).ok()).filter(|key| *key > 0).ok_or_else(|| {
        Failure::Usage(format!("'{text}' is no queue key: a key is 1 to {}", i32::MAX))
    })
}

/// A serial line at a TCP address, which has no usual port.
fn line(text: &str) -> Result<Place, Failure> {
    match address(text, 0) {
        Ok(Place::Address { host, port }) if port != 0 => Ok(Place::Line { host, port }),
        _ => Err(Failure::Usage(format!(
            "'{text}' is no serial line: it is HOST:PORT, or the path of a device as /dev/ttyUSB0"
        ))),
    }
}

fn address(text: &str, default_port: u16) -> Result<Place, Failure> {
    let no_address =
        |why: &str| Failure::Usage(format!("'{text}' is no address: {why}; it is HOST[:PORT]"));
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or_else(|| no_address("no ']'"))?;
            let port = match after.strip_prefix(':') {
                Some(port) => Some(port),
                None if after.is_empty() => None,
                None => return Err(no_address("what stands behind ']' is no port")),
            };
            (host, port)
        }
        None => match text.split_once(':') {
            Some((_, rest)) if rest.contains(':') => {
                return Err(no_address("an IPv6 number goes between [ and ]"));
            }
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err(no_address("no host"));
    }
    let port = match port {
        None => default_port,
        Some(port) => match port.parse() {
            Ok(0) | Err(_) => return Err(no_address("a port is 1 to 65535")),
            Ok(port) => port,
        },
    };
    Ok(Place::Address { host: host.into(), port })
}

/// Percent-decodes; the error does not repeat the text, which may be a password.
fn decode(text: &str, what: &str) -> Result<String, Failure> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
        match (digit(rest.next()), digit(rest.next())) {
            (Some(high), Some(low)) => bytes.push((high * 16 + low) as u8),
            _ => {
                return Err(Failure::Usage(format!(
                    "a '%' in the URL's {what} is not followed by two hexadecimal digits; a \
                     percent sign itself is written %25"
                )));
            }
        }
    }
    String::from_utf8(bytes)
        .map_err(|_| Failure::Usage(format!("the URL's {what} is not UTF-8 when decoded")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Place {
        Place::Address { host: host.into(), port }
    }

    #[test]
    fn whole_urls_and_their_defaults() {
        for (text, dialect, user, password, place) in [
            ("direct://anna@127.0.0.1:4810", Dialect::Direct, "anna", "", at("127.0.0.1", 4810)),
            ("direct://anna:p%3A%25%40x@host", Dialect::Direct, "anna", "p:%@x", at("host", 4810)),
            ("direct://~12@[::1]:99/", Dialect::Direct, "~12", "", at("::1", 99)),
            ("direct://anna@[::1]", Dialect::Direct, "anna", "", at("::1", 4810)),
            ("direct://anna", Dialect::Direct, "", "", at("anna", 4810)),
            ("native://anna@", Dialect::Native, "anna", "", at("127.0.0.1", 4811)),
            (
                "native+serial://anna@127.0.0.1:4822",
                Dialect::Native,
                "anna",
                "",
                Place::Line { host: "127.0.0.1".into(), port: 4822 },
            ),
            (
                "native+serial://anna:x@/dev/ttyUSB0",
                Dialect::Native,
                "anna",
                "x",
                Place::Device("/dev/ttyUSB0".into()),
            ),
            ("topics://jan%20kowal@7", Dialect::Topics, "jan kowal", "", Place::Key(7)),
            ("topics://anna:a:b@@0x1a0B", Dialect::Topics, "anna", "a:b@", Place::Key(0x1a0b)),
            ("topics://anna:@", Dialect::Topics, "anna", "", Place::Key(12345)),
            ("topics://", Dialect::Topics, "", "", Place::Key(12345)),
            ("queues://anna:secret@", Dialect::Queues, "anna", "secret", Place::Key(99999)),
            ("lanes://anna:secret@", Dialect::Lanes, "anna", "secret", Place::Key(6661)),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.dialect, &url.place), (dialect, &place), "{text}");
            assert_eq!((url.user().unwrap_or(""), url.password()), (user, password), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, says) in [
            ("anna@127.0.0.1", "no '://'"),
            (
                "smtp://anna@127.0.0.1",
                "unknown dialect 'smtp': this client speaks direct, native, queues, lanes",
            ),
            ("direct://anna@:4810", "no host"),
            ("native+serial://anna@", "'' is no serial line: it is HOST:PORT"),
            ("native+serial://anna@h", "'h' is no serial line"),
            ("native+serial://anna@h:1/x", "'/' behind its place"),
            ("native+serial://anna@/dev/x?y", "'?' behind its place"),
            ("native://anna@/dev/ttyUSB0", "'/' behind its place"),
            ("direct://anna@::1", "between [ and ]"),
            ("direct://anna@[::1", "no ']'"),
            ("direct://anna@[::1]4810", "behind ']'"),
            ("direct://anna@h:0", "1 to 65535"),
            ("direct://anna@h:65536", "1 to 65535"),
            ("direct://anna@h/x", "'/' behind its place"),
            ("direct://anna@h#a", "written %23"),
            ("topics://anna@h", "'h' is no queue key"),
            ("topics://anna@0", "'0' is no queue key"),
            ("topics://anna@-5", "1 to 2147483647"),
            ("topics://anna@2147483648", "1 to 2147483647"),
            ("topics://anna@1?x=y", "'?' behind its place"),
            ("topics://anna@1?directory=x", "takes nothing"),
            ("lanes://anna@1?x=y", "takes only ?directory=PATH"),
            ("lanes://anna@1?directory=%f", "URL's directory is not followed"),
            ("topics://a%zz@1", "URL's user is not followed"),
            ("topics://a:%f@1", "URL's password is not followed"),
            ("topics://a:%ff@1", "password is not UTF-8"),
        ] {
            let Err(Failure::Usage(message)) = Url::parse(text) else { panic!("{text}") };
            assert!(message.contains(says), "{text}: {message}");
        }
    }

    #[test]
    fn lanes_may_have_a_directory() {
        for (text, directory) in [
            ("lanes://anna:x@6661?directory=/a@b/basic.txt", Some("/a@b/basic.txt")),
            ("lanes://anna@6661/?directory=a%3Fb%25.txt", Some("a?b%.txt")),
            ("lanes://?directory=basic.txt", Some("basic.txt")),
            ("lanes://anna@6661?directory=", None),
            ("lanes://anna@6661", None),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!(url.place, Place::Key(6661), "{text}");
            assert_eq!(url.directory, directory.map(PathBuf::from), "{text}");
        }
    }

    #[test]
    fn a_user_is_there_and_has_a_name() {
        for (text, says) in [
            ("topics://12345", "write topics://USER@12345"),
            ("direct://:secret@h", "write direct://USER@h:4810"),
            ("native+serial:///dev/tty1", "write native+serial://USER@/dev/tty1"),
            ("topics://%23a@1", "does not begin with"),
            ("topics://~x@1", "does not begin with"),
            ("topics://123456789012345678901234567890@1", "at most 29 bytes"),
        ] {
            let Err(Failure::Usage(message)) = Url::parse(text).unwrap().user().map(drop) else {
                panic!("{text}")
            };
            assert!(message.contains(says), "{text}: {message}");
            assert!(!message.contains("secret"));
        }
    }

    #[test]
    fn without_a_url_it_is_native_as_the_user_of_the_machine() {
        let url = Url::default_of(Some("anna".into())).unwrap();
        assert_eq!(url, Url::parse("native://anna@127.0.0.1:4811").unwrap());
        for none in [None, Some(String::new())] {
            let Err(Failure::Usage(message)) = Url::default_of(none) else { panic!() };
            assert!(message.starts_with("no URL"), "{message}");
        }
    }

    #[test]
    fn a_password_is_never_printed() {
        let url = Url::parse("direct://anna:secret@h").unwrap();
        assert!(!format!("{url:?}").contains("secret"));
    }
}
