//! Events: from the JSON of a packet to the array of MessagePack that the core reads.
//!
//! A packet of Socket.IO carries `["name", argument, …]`, in which an attachment stands as
//! `{"_placeholder":true,"num":N}`. The core reads the same array as MessagePack. Here no event has
//! a meaning but `chat-img`, whose data never enters the core: it gets the size instead.
//!
//! What comes out is small, whatever comes in: [`ARGUMENTS`] arguments, strings cut to [`STRING`]
//! bytes, which is longer than anything that the core takes, and lists and objects without what is
//! in them. Nothing that the core takes looks like that.

use std::fmt;

use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Arguments of one event that are looked at.
pub const ARGUMENTS: usize = 16;
/// Bytes of a string that are looked at: more than any text or name may have.
pub const STRING: usize = 4096;
/// The event that carries an image in. Its arguments: advert, chat, name, type, data; then others.
const IMAGE: &str = "chat-img";
const NAME: usize = 2;
const TYPE: usize = 3;
const DATA: usize = 4;

/// Why `chat-img` brings no image. The core knows the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum NoImage {
    /// Not an image, or not of the type that it says.
    Content = -1,
    /// Longer than an image may be.
    TooLong = -2,
    /// It could not be kept.
    NotKept = -3,
}

/// One argument.
#[derive(Clone, Debug, PartialEq)]
pub enum Argument {
    /// `null`.
    Null,
    /// A truth value.
    Bool(bool),
    /// A number without a fraction.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A string, perhaps cut.
    Text(String),
    /// The attachment of this number.
    Attachment(usize),
    /// A list, whatever is in it.
    List,
    /// An object, whatever is in it.
    Object,
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    name: String,
    arguments: Vec<Argument>,
}

impl Event {
    /// Reads the JSON of a packet.
    ///
    /// # Errors
    /// It is not an array that begins with a string.
    pub fn parse(json: &str) -> Result<Event, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_str(json);
        let event = reader.deserialize_seq(EventVisitor)?;
        reader.end()?;
        Ok(event)
    }

    /// If it carries an image: the number of its attachment, the image's name and the type it says
    /// to be of.
    pub fn image(&self) -> Option<(usize, &str, &str)> {
        if self.name != IMAGE {
            return None;
        }
        let arguments = &self.arguments;
        match (arguments.get(NAME)?, arguments.get(TYPE)?, arguments.get(DATA)?) {
            (Argument::Text(name), Argument::Text(kind), Argument::Attachment(n)) => {
                Some((*n, name, kind))
            }
            _ => None,
        }
    }

    /// Bytes of memory that it takes, about.
    pub fn len(&self) -> usize {
        let text = |argument: &Argument| match argument {
            Argument::Text(text) => text.len(),
            _ => 0,
        };
        let each = size_of::<Argument>();
        self.name.len() + self.arguments.iter().map(|argument| each + text(argument)).sum::<usize>()
    }

    /// As the core reads it. What `chat-img` has for data is its `size` in bytes, or why there is
    /// no image.
    pub fn encode(&self, size: Result<u32, NoImage>) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.len());
        // Writing to memory does not fail; the errors are those of a writer.
        let _ = self.write(size, &mut out);
        out
    }

    fn write(
        &self,
        size: Result<u32, NoImage>,
        out: &mut Vec<u8>,
    ) -> Result<(), rmp::encode::ValueWriteError> {
        use rmp::encode as put;
        put::write_array_len(out, 1 + self.arguments.len() as u32)?;
        put::write_str(out, &self.name)?;
        let image = self.name == IMAGE;
        for (i, argument) in self.arguments.iter().enumerate() {
            if image && i == DATA {
                put::write_sint(out, size.map_or_else(|why| why as i64, i64::from))?;
                continue;
            }
            match argument {
                Argument::Null => {
                    put::write_nil(out).map_err(put::ValueWriteError::InvalidMarkerWrite)?
                }
                Argument::Bool(value) => {
                    put::write_bool(out, *value)
                        .map_err(put::ValueWriteError::InvalidMarkerWrite)?;
                }
                Argument::Int(n) => drop(put::write_sint(out, *n)?),
                Argument::Float(x) => put::write_f64(out, *x)?,
                Argument::Text(text) => put::write_str(out, text)?,
                Argument::Attachment(_) => put::write_bin(out, &[])?,
                Argument::List => drop(put::write_array_len(out, 0)?),
                Argument::Object => drop(put::write_map_len(out, 0)?),
            }
        }
        Ok(())
    }
}

struct EventVisitor;

impl<'de> Visitor<'de> for EventVisitor {
    type Value = Event;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of an event's name and its arguments")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Event, A::Error> {
        let name = match seq.next_element::<Argument>()? {
            Some(Argument::Text(name)) => name,
            _ => return Err(A::Error::custom("an event without a name")),
        };
        let mut arguments = Vec::new();
        while arguments.len() < ARGUMENTS {
            match seq.next_element::<Argument>()? {
                Some(argument) => arguments.push(argument),
                None => return Ok(Event { name, arguments }),
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Event { name, arguments })
    }
}

impl<'de> serde::Deserialize<'de> for Argument {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Argument, D::Error> {
        from.deserialize_any(ArgumentVisitor)
    }
}

struct ArgumentVisitor;

impl<'de> Visitor<'de> for ArgumentVisitor {
    type Value = Argument;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an argument")
    }

    fn visit_unit<E>(self) -> Result<Argument, E> {
        Ok(Argument::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Argument, E> {
        Ok(Argument::Bool(value))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Argument, E> {
        Ok(Argument::Int(n))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Argument, E> {
        Ok(i64::try_from(n).map_or(Argument::Float(n as f64), Argument::Int))
    }

    fn visit_f64<E>(self, x: f64) -> Result<Argument, E> {
        // As JavaScript has it, where 1e3 and 1000 are the same number.
        const EXACT: f64 = (1u64 << 53) as f64;
        let whole = x.fract() == 0.0 && x.abs() <= EXACT;
        Ok(if whole { Argument::Int(x as i64) } else { Argument::Float(x) })
    }

    fn visit_str<E>(self, text: &str) -> Result<Argument, E> {
        Ok(Argument::Text(text[..text.floor_char_boundary(STRING)].into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Argument, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Argument::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Argument, A::Error> {
        let (mut placeholder, mut number, mut more) = (false, None, false);
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Placeholder => {
                    placeholder = map.next_value::<Argument>()? == Argument::Bool(true)
                }
                Key::Number => number = Some(map.next_value::<Argument>()?),
                Key::Other => {
                    more = true;
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(match number {
            Some(Argument::Int(n)) if placeholder && !more => {
                usize::try_from(n).map_or(Argument::Object, Argument::Attachment)
            }
            _ => Argument::Object,
        })
    }
}

enum Key {
    Placeholder,
    Number,
    Other,
}

impl<'de> serde::Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Key, D::Error> {
        struct KeyVisitor;
        impl Visitor<'_> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E>(self, key: &str) -> Result<Key, E> {
                Ok(match key {
                    "_placeholder" => Key::Placeholder,
                    "num" => Key::Number,
                    _ => Key::Other,
                })
            }
        }
        from.deserialize_str(KeyVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(json: &str) -> Vec<u8> {
        Event::parse(json).expect(json).encode(Err(NoImage::Content))
    }

    #[test]
    fn an_event_is_the_same_array_as_message_pack() {
        for (json, expected) in [
            (r#"["get-anons"]"#, &b"\x91\xa9get-anons"[..]),
            (r#"["a",0,-1,127,128,300]"#, b"\x96\xa1a\x00\xff\x7f\xcc\x80\xcd\x01\x2c"),
            (r#"["a",1e3,2.0,-0.0]"#, b"\x94\xa1a\xcd\x03\xe8\x02\x00"),
            (r#"["a",0.5]"#, b"\x92\xa1a\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00"),
            (r#"["a","ż",null,true]"#, b"\x94\xa1a\xa2\xc5\xbc\xc0\xc3"),
            (r#"["a",[1,[2]],{"b":{"c":1}}]"#, b"\x93\xa1a\x90\x80"),
            (r#"["a",{"_placeholder":true,"num":0}]"#, b"\x92\xa1a\xc4\x00"),
            (r#"["a",{"_placeholder":true,"num":-1}]"#, b"\x92\xa1a\x80"),
            (r#"["a",{"_placeholder":true,"num":0,"x":1}]"#, b"\x92\xa1a\x80"),
            (r#"["a",18446744073709551615]"#, b"\x92\xa1a\xcb\x43\xf0\x00\x00\x00\x00\x00\x00"),
        ] {
            assert_eq!(packed(json), expected, "{json}");
        }
    }

    #[test]
    fn the_data_of_an_image_is_its_size_whatever_was_sent_for_it() {
        let with = r#"["chat-img",1,0,"n","image/png",{"_placeholder":true,"num":0}]"#;
        let event = Event::parse(with).unwrap();
        assert_eq!(event.image(), Some((0, "n", "image/png")));
        let head = b"\x96\xa8chat-img\x01\x00\xa1n\xa9image/png";
        assert_eq!(event.encode(Ok(300)), [&head[..], b"\xcd\x01\x2c"].concat());
        assert_eq!(event.encode(Err(NoImage::TooLong)), [&head[..], b"\xfe"].concat());
        let tagged = r#"["chat-img",1,0,"n","image/png",{"_placeholder":true,"num":0},7]"#;
        let tagged = Event::parse(tagged).unwrap().encode(Ok(300));
        assert_eq!(tagged, [b"\x97", &head[1..], b"\xcd\x01\x2c\x07"].concat());
        // A size that a client made up is not believed.
        let event = Event::parse(r#"["chat-img",1,0,"n","image/png",70]"#).unwrap();
        assert_eq!(event.image(), None);
        assert_eq!(event.encode(Err(NoImage::Content)), [&head[..], b"\xff"].concat());
    }

    #[test]
    fn what_is_no_event_is_an_error() {
        for json in ["", "[]", "[1]", "{}", "[\"a\"", "[\"a\"]x", "[null]", "\"a\"", "[\"a\",]"] {
            assert!(Event::parse(json).is_err(), "{json}");
        }
    }

    #[test]
    fn what_comes_out_is_small_whatever_comes_in() {
        let long = format!("[\"a\",\"{}\"]", "ż".repeat(700_000));
        let packed_len = packed(&long).len();
        assert!((STRING..STRING + 8).contains(&packed_len), "{packed_len}");
        let many = format!("[\"a\"{}]", ",1".repeat(700_000));
        assert_eq!(packed(&many).len(), 3 + 2 + ARGUMENTS);
        let deep = format!("[\"a\",{}{}]", "[".repeat(100), "]".repeat(100));
        assert_eq!(packed(&deep), b"\x92\xa1a\x90");
        // Deeper than anybody has use for: refused, and the stack is not what ends it.
        let deeper = format!("[\"a\",{}{}]", "[".repeat(700_000), "]".repeat(700_000));
        assert!(Event::parse(&deeper).is_ok_and(|event| event.len() < 100));
    }
}
