//! One server for each key.
//!
//! A SysV queue does not tell whether its server lives: the queue of one that was killed looks like
//! that of one that runs, and even who read from it last may be a client that fetched the answer to
//! its log-in. So a server holds a lock beside its queue: an abstract Unix socket named after the
//! key. The kernel releases it when the process ends, however it ends; it leaves no file; and it
//! cannot be stale. Its name carries the IPC namespace too, as abstract names belong to the network
//! namespace, and two containers may share one and not the other.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Held as long as this lives.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code)] UnixDatagram);

impl Lock {
    /// Takes the lock of a key.
    ///
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`]: another process holds it.
    pub fn take(key: i32) -> io::Result<Lock> {
        let namespace = std::fs::read_link("/proc/self/ns/ipc").unwrap_or_default();
        let name = format!("centrala/{}/{key}", namespace.display());
        let address = SocketAddr::from_abstract_name(name)?;
        UnixDatagram::bind_addr(&address).map(Lock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysv::own_key;
    use std::time::{Duration, Instant};

    #[test]
    fn a_key_is_locked_until_its_holder_lets_go() {
        let key = own_key(0x01);
        let lock = Lock::take(key).unwrap();
        assert_eq!(Lock::take(key).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(lock);
        // A child of another test has it too, between fork and exec.
        let deadline = Instant::now() + Duration::from_secs(60);
        while let Err(error) = Lock::take(key) {
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
            assert!(Instant::now() < deadline, "it is still locked");
            std::thread::yield_now();
        }
    }
}
