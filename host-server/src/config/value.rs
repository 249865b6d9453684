//! Values with a range: each says what is allowed when it is given something else.

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

use super::Data;

/// A whole number from `MIN` to `MAX`.
pub(super) fn whole<'de, const MIN: i64, const MAX: i64, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i64>,
{
    struct Whole<const MIN: i64, const MAX: i64, T>(PhantomData<T>);
    impl<const MIN: i64, const MAX: i64, T: TryFrom<i64>> Visitor<'_> for Whole<MIN, MAX, T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a whole number from {MIN} to {MAX}")
        }

        fn visit_i64<E: Error>(self, n: i64) -> Result<T, E> {
            let value = (MIN..=MAX).contains(&n).then(|| T::try_from(n).ok()).flatten();
            value.ok_or_else(|| E::invalid_value(Unexpected::Signed(n), &self))
        }

        fn visit_u64<E: Error>(self, n: u64) -> Result<T, E> {
            match i64::try_from(n) {
                Ok(n) => self.visit_i64(n),
                Err(_) => Err(E::invalid_value(Unexpected::Unsigned(n), &self)),
            }
        }
    }
    from.deserialize_i64(Whole::<MIN, MAX, T>(PhantomData))
}

/// Text of which `of` makes a value, or not; `expecting` says what it should have been.
struct Text<T> {
    expecting: &'static str,
    of: fn(&str) -> Option<T>,
}

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.of)(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

/// An address to listen on.
pub(super) fn address<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    let expecting = "an IP address and a port, such as \"127.0.0.1:4810\"";
    from.deserialize_str(Text { expecting, of: |text| text.parse().ok() })
}

/// Origins as browsers write them: scheme, host and port, and no more.
pub(super) fn origins<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let origins = Vec::<String>::deserialize(from)?;
    match origins.iter().find(|origin| !is_origin(origin)) {
        None => Ok(origins),
        Some(wrong) => Err(D::Error::invalid_value(
            Unexpected::Str(wrong),
            &"origins without a path, in lower case, such as \"https://example.org\"",
        )),
    }
}

fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let authority = host.and_then(|host| host.parse::<http::uri::Authority>().ok());
    let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    lower && authority.is_some_and(|authority| !authority.as_str().contains('@'))
}

/// Permission bits of a queue. Its owner, which the server is, needs both.
pub(super) fn mode<'de, D: Deserializer<'de>>(from: D) -> Result<u16, D::Error> {
    let expecting = "an octal mode in quotes that lets the owner read and write and nobody \
                     execute, such as \"0600\"";
    let of = |text: &str| {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let mode = u16::from_str_radix(text, 8).ok().filter(|_| digits)?;
        (mode & 0o600 == 0o600 && mode & !0o666 == 0).then_some(mode)
    };
    from.deserialize_str(Text { expecting, of })
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Data, D::Error> {
        let expecting = "a directory, or \":memory:\"";
        from.deserialize_str(Text { expecting, of: |text| text.parse().ok() })
    }
}

impl std::str::FromStr for Data {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Data, &'static str> {
        match text {
            "" => Err("a directory, or :memory:, is expected"),
            ":memory:" => Ok(Data::Memory),
            directory => Ok(Data::Directory(directory.into())),
        }
    }
}

/// An error of the parser as `file:line: key: what`.
pub(super) fn one_line(error: &toml::de::Error, text: &str, name: &str) -> String {
    let message = error.message().replace('\n', ": ");
    let Some(span) = error.span() else { return format!("{name}: {message}") };
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let mut section = "";
    for (number, text) in (1..=line).zip(text.lines()) {
        let text = text.trim();
        if let Some(header) = text.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            section = header.trim();
        } else if number == line
            && let Some((key, _)) = text.split_once('=')
        {
            let dot = if section.is_empty() { "" } else { "." };
            return format!("{name}:{line}: {section}{dot}{}: {message}", key.trim());
        }
    }
    match section {
        "" => format!("{name}:{line}: {message}"),
        section => format!("{name}:{line}: [{section}]: {message}"),
    }
}
