//! A client of Socket.IO that is no more than its bytes: for what the official one would not do.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use super::LONG;

/// Host and port of the URL of `rooms`.
pub fn authority(url: &str) -> &str {
    url.trim_start_matches("http://").trim_end_matches('/')
}

/// A client over WebSocket.
pub struct SocketIo {
    pub web_socket: WebSocket<TcpStream>,
}

impl SocketIo {
    /// A transport that has not connected to the namespace.
    pub fn open(url: &str) -> SocketIo {
        let stream = TcpStream::connect(authority(url)).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_nodelay(true).unwrap();
        let path = format!("ws://{}/socket.io/?EIO=4&transport=websocket", authority(url));
        let request = path.into_client_request().unwrap();
        let (web_socket, _) = tungstenite::client(request, stream).unwrap();
        let mut client = SocketIo { web_socket };
        assert!(client.text().unwrap().starts_with("0{"));
        client
    }

    pub fn connect(url: &str) -> SocketIo {
        let mut client = SocketIo::open(url);
        client.send("40");
        let answer = client.text().unwrap();
        assert!(answer.starts_with("40{\"sid\":"), "{answer}");
        client
    }

    /// One that has logged in.
    pub fn log_in(url: &str, name: &str) -> SocketIo {
        let mut client = SocketIo::connect(url);
        client.emit(&serde_json::json!(["auth-request", name]));
        let answer = client.event();
        assert_eq!((&answer[0], &answer[1]), (&"auth-response".into(), &1.into()), "{answer}");
        client
    }

    pub fn send(&mut self, text: &str) {
        self.web_socket.send(Message::text(text)).unwrap();
    }

    pub fn emit(&mut self, event: &Value) {
        self.send(&format!("42{event}"));
    }

    /// The next packet; pings are answered. `None`: the connection is over.
    pub fn text(&mut self) -> Option<String> {
        loop {
            match self.web_socket.read() {
                Ok(Message::Text(text)) if text.as_str() == "2" => {
                    // It may have been closed since.
                    let _ = self.web_socket.send(Message::text("3"));
                }
                Ok(Message::Text(text)) => return Some(text.as_str().to_owned()),
                Ok(Message::Close(_)) | Err(tungstenite::Error::ConnectionClosed) => return None,
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) if is_end(&error) => return None,
                Err(tungstenite::Error::Io(error))
                    if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(tungstenite::Error::Protocol(_)) => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The next event.
    pub fn event(&mut self) -> Value {
        let text = self.text().expect("an event, and not the end");
        serde_json::from_str(text.strip_prefix("42").expect(&text)).expect(&text)
    }
}

fn is_end(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// An answer of HTTP: status, head, body.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// Asks with these headers, on a connection of its own.
pub fn http(url: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut stream = TcpStream::connect(authority(url)).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        request += &format!("Host: {}\r\n", authority(url));
    }
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    // One that is refused while it is sent may be reset.
    let _ = stream.read_to_end(&mut bytes);
    let answer = String::from_utf8(bytes).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}
