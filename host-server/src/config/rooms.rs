//! The section `[rooms]`.

use std::net::{Ipv4Addr, SocketAddr};

use serde::Deserialize;

use super::value;

/// The dialect `rooms`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rooms {
    /// Where it listens. Port 0 takes one that is free.
    #[serde(deserialize_with = "value::address")]
    pub listen: SocketAddr,
    /// Origins, besides the server's own, whose pages may connect.
    #[serde(deserialize_with = "value::origins")]
    pub origins: Vec<String>,
    /// Whether it may listen where other machines reach it.
    pub public: bool,
    /// Events that a session may send a second, over time. What comes faster waits.
    #[serde(deserialize_with = "value::whole::<1, 100_000, _, _>")]
    pub events_per_second: u32,
    /// Events that it may send at once.
    #[serde(deserialize_with = "value::whole::<1, 100_000, _, _>")]
    pub burst: u32,
    /// Bytes that wait for a socket whose client does not read, at most: then it is closed. The
    /// least is room for an answer and an image.
    #[serde(deserialize_with = "value::whole::<65_536, 1_073_741_824, _, _>")]
    pub buffer: u32,
    /// MiB of images that are kept, of all users together.
    #[serde(deserialize_with = "value::whole::<1, 1_048_576, _, _>")]
    pub images: u32,
}

impl Default for Rooms {
    fn default() -> Rooms {
        Rooms {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 4880)),
            origins: Vec::new(),
            public: false,
            events_per_second: 50,
            burst: 200,
            buffer: 4 << 20,
            images: 1024,
        }
    }
}

impl Rooms {
    /// What is wrong with the section as a whole.
    pub(super) fn wrong(&self) -> Option<String> {
        let reached = !self.listen.ip().is_loopback();
        (reached && !self.public).then(|| {
            format!(
                "rooms.listen: {} is not on loopback: rooms.public = true is needed, as there is \
                 no encryption",
                self.listen
            )
        })
    }
}
