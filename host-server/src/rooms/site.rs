//! HTTP: the listener, its connections, and what is where.
//!
//! `/socket.io/` is the library's; `/` and what belongs to it is the page. A connection that says
//! nothing for [`SILENT`] or takes nothing for [`STUCK`] is closed, whatever it is in the middle of:
//! a client that is there answers a ping every 10 s. There are at most two connections for each
//! session that there may be, as long-polling takes two, and some for the page.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use engineioxide::service::EngineIoService;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::socket::{setsockopt, sockopt};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;

use super::hall::Hall;
use super::origin::{Guard, Refusal};
use super::page::{FILES, File, HEADERS};

/// Where the library is asked.
pub(super) const PATH: &str = "/socket.io";
/// Bytes of a request's head, at most.
const HEAD: usize = 16 * 1024;
/// How long a request's head may take.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long a connection may say nothing.
const SILENT: Duration = Duration::from_secs(30);
/// How long a connection may take nothing.
const STUCK: Duration = Duration::from_secs(15);
/// How long nothing is accepted when there are no descriptors left.
const BREATH: Duration = Duration::from_millis(50);

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What is where.
pub(super) struct Site {
    hall: Arc<Hall>,
    engine: EngineIoService<Hall>,
    guard: Guard,
    /// Which bytes each file has: a browser that has them need not get them again.
    tags: Vec<HeaderValue>,
}

impl Site {
    pub(super) fn new(hall: Arc<Hall>, engine: EngineIoService<Hall>, guard: Guard) -> Site {
        let tags = FILES.iter().filter_map(tag).collect();
        Site { hall, engine, guard, tags }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let cors = match self.guard.check(request.headers()) {
            Ok(origin) => origin.cloned(),
            Err(refusal) => return refused(refusal),
        };
        let mut response = match request.uri().path().strip_prefix(PATH) {
            Some("" | "/") => self.socket_io(request).await,
            _ => self.file(request.method(), request.uri().path(), request.headers()),
        };
        if let Some(origin) = cors {
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        response
    }

    async fn socket_io(&self, request: Request<Incoming>) -> Response<Body> {
        if request.method() == Method::OPTIONS {
            let mut response = plain(StatusCode::NO_CONTENT, "");
            let headers = response.headers_mut();
            for (name, value) in [
                (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
                (header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type"),
                (header::ACCESS_CONTROL_MAX_AGE, "600"),
            ] {
                headers.insert(name, HeaderValue::from_static(value));
            }
            return response;
        }
        let query = request.uri().query().unwrap_or("");
        let begins = !query.split('&').any(|pair| pair.starts_with("sid="));
        if begins && self.hall.is_full() {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "503: no room for another client\n");
        }
        match self.engine.call(request).await {
            Ok(response) => response.map(BodyExt::boxed_unsync),
            Err(never) => match never {},
        }
    }

    fn file(&self, method: &Method, path: &str, request: &HeaderMap) -> Response<Body> {
        if method != Method::GET && method != Method::HEAD {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "405: GET or HEAD\n");
        }
        let found = FILES.iter().zip(&self.tags).find(|(file, _)| file.path == path);
        let Some((file, tag)) = found else {
            return plain(StatusCode::NOT_FOUND, "404: nothing is here\n");
        };
        let known = request.get(header::IF_NONE_MATCH).is_some_and(|known| {
            known.to_str().is_ok_and(|known| known.split(',').any(|known| known.trim() == tag))
        });
        let (status, bytes) = match known {
            true => (StatusCode::NOT_MODIFIED, &[][..]),
            false => (StatusCode::OK, file.bytes),
        };
        let bytes = if method == Method::HEAD { &[] } else { bytes };
        let mut response = Response::new(Full::new(Bytes::from_static(bytes)).boxed_unsync());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.content_type));
        headers.insert(header::ETAG, tag.clone());
        if method == Method::HEAD {
            headers.insert(header::CONTENT_LENGTH, file.bytes.len().into());
        }
        for (name, value) in HEADERS {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        response
    }
}

/// The first half of the hash of its bytes.
fn tag(file: &File) -> Option<HeaderValue> {
    let hash = Sha256::digest(file.bytes);
    let digits: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::from_str(&format!("\"{digits}\"")).ok()
}

fn refused(refusal: Refusal) -> Response<Body> {
    tracing::debug!(?refusal, "refused a request");
    plain(StatusCode::FORBIDDEN, refusal.what())
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())).boxed_unsync());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Accepts connections, at most so many at once, for ever.
pub(super) async fn serve(listener: TcpListener, site: Arc<Site>, connections: usize) {
    let places = Arc::new(Semaphore::new(connections));
    loop {
        // It is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let site = Arc::clone(&site);
                tokio::spawn(async move {
                    if let Err(error) = connection(stream, place, &site).await {
                        tracing::debug!(%error, "a connection of rooms broke");
                    }
                });
            }
            Err(error) => {
                tracing::debug!(%error, "accept");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    place: OwnedSemaphorePermit,
    site: &Arc<Site>,
) -> Result<(), hyper::Error> {
    let unacknowledged = (STUCK.as_millis() as u32).saturating_mul(2);
    let tuned = stream
        .set_nodelay(true)
        .and_then(|()| Ok(setsockopt(&stream, sockopt::TcpUserTimeout, &unacknowledged)?));
    if let Err(error) = tuned {
        tracing::debug!(%error, "a connection of rooms was over at once");
        return Ok(());
    }
    let mut stream = TimeoutStream::new(stream);
    stream.set_read_timeout(Some(SILENT));
    stream.set_write_timeout(Some(STUCK));
    let wire = Wire { stream: Box::pin(stream), _place: place };
    let service = service_fn(|request| {
        let site = Arc::clone(site);
        async move { Ok::<_, Infallible>(site.answer(request).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(wire), service)
        .with_upgrades()
        .await
}

/// A connection that gives its place back when it is over, whatever it has become meanwhile.
struct Wire {
    stream: Pin<Box<TimeoutStream<TcpStream>>>,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(context)
    }
}
