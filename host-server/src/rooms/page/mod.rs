//! The page: for a person with a browser.
//!
//! Plain HTML, CSS and modules, as they are in this folder: nothing is built, nothing comes from
//! elsewhere. It is an ordinary client of `rooms`, over WebSocket.
//!
//! - `packet.js`, `socket.js`: Socket.IO, and a connection that comes back by itself.
//! - `requests.js`, `session.js`: what is asked and said, and when; `chats.js`, `log.js`,
//!   `outgoing.js`, `recount.js`: what is known of chats, of messages, of what is not sent yet, and
//!   of what is new. These know no page, and have tests in `tests/browser/`.
//! - `list.js`, `thread.js`, `composer.js`, `notices.js`, `dom.js`, `text.js`, `images.js`: what a
//!   person sees; `app.js`: all of it together.

/// A file of the page.
#[derive(Debug)]
pub struct File {
    /// Where it is.
    pub path: &'static str,
    /// What it is.
    pub content_type: &'static str,
    /// Its bytes.
    pub bytes: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! files {
    ($($path:literal $name:literal $content_type:ident,)*) => {
        &[$(File {
            path: $path,
            content_type: $content_type,
            bytes: include_bytes!($name),
        },)*]
    };
}

/// Every file of the page.
pub static FILES: &[File] = files! {
    "/" "index.html" HTML,
    "/style.css" "style.css" CSS,
    "/icon.svg" "icon.svg" SVG,
    "/app.js" "app.js" SCRIPT,
    "/chats.js" "chats.js" SCRIPT,
    "/composer.js" "composer.js" SCRIPT,
    "/dom.js" "dom.js" SCRIPT,
    "/images.js" "images.js" SCRIPT,
    "/list.js" "list.js" SCRIPT,
    "/log.js" "log.js" SCRIPT,
    "/notices.js" "notices.js" SCRIPT,
    "/outgoing.js" "outgoing.js" SCRIPT,
    "/packet.js" "packet.js" SCRIPT,
    "/recount.js" "recount.js" SCRIPT,
    "/requests.js" "requests.js" SCRIPT,
    "/session.js" "session.js" SCRIPT,
    "/socket.js" "socket.js" SCRIPT,
    "/text.js" "text.js" SCRIPT,
    "/thread.js" "thread.js" SCRIPT,
};

/// What every answer with such a file says.
pub const HEADERS: &[(&str, &str)] = &[
    // Scripts and styles only from files of this server; a message's text can be neither. Images
    // are shown from memory. The connection is to this server only.
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-cache"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn text(name: &str) -> &'static str {
        let path = if name == "index.html" { "/".into() } else { format!("/{name}") };
        let file = FILES.iter().find(|file| file.path == path);
        std::str::from_utf8(file.unwrap_or_else(|| panic!("{name} is not served")).bytes).unwrap()
    }

    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rooms/page");
        let mut found = BTreeSet::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name != "mod.rs" {
                text(&name);
                found.insert(name);
            }
        }
        assert_eq!(found.len(), FILES.len());
    }

    #[test]
    fn every_module_that_is_imported_is_served() {
        for file in FILES.iter().filter(|file| file.content_type == SCRIPT) {
            let script = text(&file.path[1..]);
            for (_, rest) in script.match_indices(" from \"").map(|(at, _)| script.split_at(at + 7))
            {
                let name = rest.split('"').next().unwrap();
                text(name.strip_prefix("./").unwrap_or_else(|| panic!("{name} in {}", file.path)));
            }
        }
    }

    #[test]
    fn the_page_takes_names_as_long_as_the_exchange_does() {
        let longest = centrala_core::name::NAME_LENGTH - 1;
        assert!(text("text.js").contains(&format!("LONGEST_NAME = {longest};")));
    }

    #[test]
    fn the_page_has_no_script_or_style_that_its_policy_forbids() {
        let html = text("index.html");
        for forbidden in ["<style", " style=", " onclick=", " onload=", "javascript:", "//"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
        assert_eq!(html.matches("<script").count(), 1);
    }
}
