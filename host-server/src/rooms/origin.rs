//! Who may ask: pages of the server's own, of configured origins, and programs that are no browser.
//!
//! A browser lets any page open a connection to 127.0.0.1, and says which page it is (`Origin`). So
//! every request, also for a WebSocket, is refused with 403 unless that header is absent, names the
//! host that the request is for, or is configured.
//!
//! That is not all, where the server listens on loopback: a name that a page's owner makes lead to
//! 127.0.0.1 afterwards would be the page's own origin. There the host that a request is for has to
//! be an address, `localhost` or the host of a configured origin.

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use http::uri::Authority;

/// What a request may be.
#[derive(Debug)]
pub(super) struct Guard {
    /// As browsers write them.
    origins: Vec<String>,
    loopback: bool,
}

/// A request that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It comes from a page that is not allowed.
    Origin,
    /// It is for a host that this is not.
    Host,
}

impl Refusal {
    /// What is wrong, and what would be allowed.
    pub(super) const fn what(self) -> &'static str {
        match self {
            Refusal::Origin => {
                "403: pages of this origin may not connect (rooms.origins lists those that may)\n"
            }
            Refusal::Host => {
                "403: on loopback the host has to be an address, localhost, or one of rooms.origins\n"
            }
        }
    }
}

impl Guard {
    /// Allows these origins. `loopback`: nobody but this machine can ask.
    pub(super) fn new(origins: &[String], loopback: bool) -> Guard {
        Guard { origins: origins.to_vec(), loopback }
    }

    /// Checks a request. Returns the origin if it is another one than the server's own.
    ///
    /// # Errors
    /// The request is refused.
    pub(super) fn check<'r>(
        &self,
        headers: &'r HeaderMap,
    ) -> Result<Option<&'r HeaderValue>, Refusal> {
        let host = one(headers, HOST).map_err(|_| Refusal::Host)?;
        let host = match host.map(|host| host.to_str().ok()?.parse::<Authority>().ok()) {
            Some(None) => return Err(Refusal::Host),
            Some(host) => host,
            None => None,
        };
        if self.loopback && host.as_ref().is_some_and(|host| !self.is_ours(host)) {
            return Err(Refusal::Host);
        }
        let Some(value) = one(headers, ORIGIN).map_err(|_| Refusal::Origin)? else {
            return Ok(None);
        };
        let origin = value.to_str().map_err(|_| Refusal::Origin)?;
        if self.origins.iter().any(|allowed| allowed == origin) {
            return Ok(Some(value));
        }
        let own = host.is_some_and(|host| {
            authority(origin).is_some_and(|of| of.eq_ignore_ascii_case(host.as_str()))
        });
        if own { Ok(None) } else { Err(Refusal::Origin) }
    }

    /// Whether a host is this machine, or one that is configured.
    fn is_ours(&self, host: &Authority) -> bool {
        let name = host.host();
        let address = name.trim_start_matches('[').trim_end_matches(']');
        let local = name.eq_ignore_ascii_case("localhost");
        local
            || address.parse::<std::net::IpAddr>().is_ok()
            || self.origins.iter().any(|origin| {
                authority(origin).is_some_and(|of| of.eq_ignore_ascii_case(host.as_str()))
            })
    }
}

/// Host and port of an origin.
fn authority(origin: &str) -> Option<&str> {
    origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"))
}

struct Twice;

/// A header that a request has once, if at all.
fn one(headers: &HeaderMap, name: HeaderName) -> Result<Option<&HeaderValue>, Twice> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Twice),
        (value, None) => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_servers_own_pages_and_configured_ones_may_ask() {
        let origins = ["https://chat.example.org".to_string(), "http://192.0.2.1:8080".into()];
        let local = Guard::new(&origins, true);
        let public = Guard::new(&origins, false);
        for (host, origin, on_loopback, elsewhere) in [
            ("127.0.0.1:4880", None, Ok(false), Ok(false)),
            ("127.0.0.1:4880", Some("http://127.0.0.1:4880"), Ok(false), Ok(false)),
            ("LOCALHOST:4880", Some("http://localhost:4880"), Ok(false), Ok(false)),
            ("[::1]:4880", Some("http://[::1]:4880"), Ok(false), Ok(false)),
            ("127.0.0.1:4880", Some("https://chat.example.org"), Ok(true), Ok(true)),
            ("chat.example.org", Some("https://chat.example.org"), Ok(true), Ok(true)),
            ("chat.example.org", None, Ok(false), Ok(false)),
            (
                "127.0.0.1:4880",
                Some("http://127.0.0.1:4881"),
                Err(Refusal::Origin),
                Err(Refusal::Origin),
            ),
            (
                "127.0.0.1:4880",
                Some("http://127.0.0.1"),
                Err(Refusal::Origin),
                Err(Refusal::Origin),
            ),
            (
                "127.0.0.1:4880",
                Some("http://localhost:4880"),
                Err(Refusal::Origin),
                Err(Refusal::Origin),
            ),
            ("127.0.0.1:4880", Some("null"), Err(Refusal::Origin), Err(Refusal::Origin)),
            ("127.0.0.1:4880", Some(""), Err(Refusal::Origin), Err(Refusal::Origin)),
            (
                "127.0.0.1:4880",
                Some("file://127.0.0.1:4880"),
                Err(Refusal::Origin),
                Err(Refusal::Origin),
            ),
            (
                "127.0.0.1:4880",
                Some("http://chat.example.org"),
                Err(Refusal::Origin),
                Err(Refusal::Origin),
            ),
            (
                "127.0.0.1:4880",
                Some("https://chat.example.org.evil.example"),
                Err(Refusal::Origin),
                Err(Refusal::Origin),
            ),
            ("evil.example:4880", Some("http://evil.example:4880"), Err(Refusal::Host), Ok(false)),
            ("evil.example:4880", None, Err(Refusal::Host), Ok(false)),
            ("127.0.0.1.evil.example", None, Err(Refusal::Host), Ok(false)),
            ("a b", None, Err(Refusal::Host), Err(Refusal::Host)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_str(host).unwrap());
            if let Some(origin) = origin {
                headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
            }
            let foreign = |guard: &Guard| guard.check(&headers).map(|origin| origin.is_some());
            assert_eq!(foreign(&local), on_loopback, "{host} {origin:?}");
            assert_eq!(foreign(&public), elsewhere, "{host} {origin:?}");
        }
    }

    #[test]
    fn two_of_a_header_are_none() {
        let guard = Guard::new(&[], true);
        for (name, refusal) in [(HOST, Refusal::Host), (ORIGIN, Refusal::Origin)] {
            let mut headers = HeaderMap::new();
            headers.append(&name, HeaderValue::from_static("127.0.0.1"));
            headers.append(&name, HeaderValue::from_static("127.0.0.1"));
            assert_eq!(guard.check(&headers), Err(refusal));
        }
        assert_eq!(guard.check(&HeaderMap::new()), Ok(None), "as of HTTP/1.0");
    }
}
