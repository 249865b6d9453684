//! The page: for a person with a browser.

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

/// Every file of the page.
pub static FILES: &[File] = &[File {
    path: "/",
    content_type: "text/html; charset=utf-8",
    bytes: include_bytes!("index.html"),
}];

/// What every answer with such a file says.
pub const HEADERS: &[(&str, &str)] = &[
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
         connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-cache"),
];
