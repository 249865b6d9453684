//! Packets for sockets: from the core's lines of JSON, and counted until they are on their way.
//!
//! A line is `["name",argument,…]`, which is a packet of Socket.IO as it is; its bytes are prepared
//! once, however many sockets they go to. Where an image belongs, the line has the argument
//! `{"image":ID}`: the packet then has an attachment in its place, or `null` where there is no such
//! image.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use engineioxide::Str;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc::UnboundedSender;

/// What a packet takes in the library's line beside its bytes.
const OVERHEAD: usize = 256;

/// An event for any number of sockets.
#[derive(Debug)]
pub struct Packet {
    /// As text alone.
    text: Bytes,
    image: Option<Image>,
}

#[derive(Debug)]
struct Image {
    id: u64,
    /// With a place for the attachment.
    text: Bytes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Placeholder {
    image: u64,
}

impl Packet {
    /// The packet of a line, which is whole and without its end.
    pub fn new(line: &str) -> Packet {
        // Within a string the quotes would be escaped.
        let image = line.contains("{\"image\":").then(|| find_image(line)).flatten();
        match image {
            None => Packet { text: ["2", line].concat().into(), image: None },
            Some((id, before, after)) => Packet {
                text: ["2", before, "null", after].concat().into(),
                image: Some(Image {
                    id,
                    text: ["51-", before, "{\"_placeholder\":true,\"num\":0}", after]
                        .concat()
                        .into(),
                }),
            },
        }
    }

    /// The image that it carries.
    pub fn image(&self) -> Option<u64> {
        self.image.as_ref().map(|image| image.id)
    }

    /// Bytes of its text.
    pub fn len(&self) -> usize {
        self.text.len() + OVERHEAD
    }

    /// What to give a socket: its text, and the image that goes with it.
    pub fn with(&self, image: Option<Bytes>, gauge: &Arc<Gauge>) -> (Str, Option<Bytes>) {
        match (&self.image, image) {
            (Some(place), Some(image)) => {
                (counted_text(&place.text, gauge), Some(counted(image, gauge)))
            }
            _ => (counted_text(&self.text, gauge), None),
        }
    }
}

/// The first argument that is a place for an image: its id, and the line around it.
fn find_image(line: &str) -> Option<(u64, &str, &str)> {
    let arguments: Vec<&RawValue> = serde_json::from_str(line).ok()?;
    arguments.iter().find_map(|argument| {
        let text = argument.get();
        let Placeholder { image } = serde_json::from_str(text).ok()?;
        let at = text.as_ptr() as usize - line.as_ptr() as usize;
        Some((image, line.get(..at)?, line.get(at + text.len()..)?))
    })
}

/// Counts the bytes that wait for a socket's client: given to the library, and not yet written.
#[derive(Debug)]
pub struct Gauge {
    waiting: AtomicUsize,
    socket: u64,
    /// Told the socket when few bytes wait.
    low: UnboundedSender<u64>,
}

impl Gauge {
    /// When fewer bytes than this wait, more images are fetched.
    pub const LOW: usize = 256 * 1024;

    /// Of a socket, with somebody to tell when few bytes wait.
    pub fn new(socket: u64, low: UnboundedSender<u64>) -> Gauge {
        Gauge { waiting: AtomicUsize::new(0), socket, low }
    }

    /// How many bytes wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// Bytes that are counted until nobody has them any more.
struct Counted {
    bytes: Bytes,
    gauge: Arc<Gauge>,
}

impl Counted {
    fn size(&self) -> usize {
        self.bytes.len() + OVERHEAD
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let size = self.size();
        let before = self.gauge.waiting.fetch_sub(size, Ordering::Relaxed);
        if before >= Gauge::LOW && before - size < Gauge::LOW {
            // At the end of the server nobody listens.
            let _ = self.gauge.low.send(self.gauge.socket);
        }
    }
}

fn counted(bytes: Bytes, gauge: &Arc<Gauge>) -> Bytes {
    let counted = Counted { bytes, gauge: Arc::clone(gauge) };
    gauge.waiting.fetch_add(counted.size(), Ordering::Relaxed);
    Bytes::from_owner(counted)
}

fn counted_text(text: &Bytes, gauge: &Arc<Gauge>) -> Str {
    let bytes = counted(text.clone(), gauge);
    // SAFETY: `Packet` makes its texts of `&str` alone, and `Counted` lends just these bytes.
    unsafe { Str::from_bytes_unchecked(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc::unbounded_channel;

    fn given(line: &str, image: Option<&'static [u8]>) -> (String, Option<Bytes>) {
        let gauge = Arc::new(Gauge::new(1, unbounded_channel().0));
        let (text, image) = Packet::new(line).with(image.map(Bytes::from_static), &gauge);
        (text.as_str().into(), image)
    }

    #[test]
    fn a_line_is_an_event_as_it_is() {
        let line = r#"["chat-msg",7,1,0,"anna",1700000000000,"{\"image\":3}"]"#;
        assert_eq!(given(line, None), (format!("2{line}"), None));
        let row = r#"["chat-messages",1,[{"image":true,"message_id":3}],[{"image":3}]]"#;
        assert_eq!(given(row, Some(b"x")), (format!("2{row}"), None));
        let other = r#"["image",{"image":3,"more":1},{"image":"3"},{"image":-3}]"#;
        assert_eq!(given(other, Some(b"x")), (format!("2{other}"), None));
    }

    #[test]
    fn a_place_for_an_image_becomes_an_attachment_or_null() {
        let line = r#"["image", 3 ,"image/png", {"image": 3}]"#;
        assert_eq!(Packet::new(line).image(), Some(3));
        let with = r#"51-["image", 3 ,"image/png", {"_placeholder":true,"num":0}]"#;
        assert_eq!(given(line, Some(b"png")), (with.into(), Some(Bytes::from_static(b"png"))));
        let without = r#"2["image", 3 ,"image/png", null]"#;
        assert_eq!(given(line, None), (without.into(), None));
    }

    #[test]
    fn bytes_count_until_nobody_has_them_and_the_end_of_many_is_told() {
        let (low, mut told) = unbounded_channel();
        let gauge = Arc::new(Gauge::new(5, low));
        let image = Bytes::from(vec![0; Gauge::LOW]);
        let packet = Packet::new(r#"["image",{"image":3}]"#);
        let (text, image) = packet.with(Some(image), &gauge);
        let copy = text.clone();
        let waiting = gauge.waiting();
        assert!(waiting > Gauge::LOW + text.len());
        drop(text);
        assert_eq!(gauge.waiting(), waiting, "the copy has them still");
        drop(copy);
        assert!(told.try_recv().is_err());
        drop(image);
        assert_eq!((gauge.waiting(), told.try_recv()), (0, Ok(5)));
    }
}
