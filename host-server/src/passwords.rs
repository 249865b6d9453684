//! Passwords: hashed with argon2id, on threads of their own.
//!
//! A hash takes some 20 ms and 19 MiB on purpose. So neither making nor checking one may happen on
//! the thread of the exchange: it goes to a [`Pool`], with a line that is bounded. A password of
//! nobody is checked all the same, against a hash of the same cost, so that the time it takes does
//! not tell which names exist.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};

/// What is to be kept of a password: argon2id with a salt of its own, in PHC form. `None`: the
/// system has no randomness.
pub fn hash(password: &[u8]) -> Option<String> {
    let hash: PasswordHash = Argon2::default().hash_password(password).ok()?;
    Some(hash.to_string())
}

/// Whether it is the password that the hash was made of. Without a hash it is not, and that takes
/// as long.
pub fn verify(password: &[u8], hash: Option<&str>) -> bool {
    match hash.and_then(|hash| PasswordHash::new(hash).ok()) {
        Some(hash) => Argon2::default().verify_password(password, &hash).is_ok(),
        None => {
            let hash = Argon2::default().hash_password_with_salt(password, &[0; 16]);
            std::hint::black_box::<Option<PasswordHash>>(hash.ok());
            false
        }
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// Threads that hash. They end when it is dropped.
#[derive(Clone, Debug)]
pub struct Pool {
    jobs: SyncSender<Job>,
}

/// The line is full: the job is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

impl Pool {
    /// With a line of so many jobs.
    ///
    /// # Errors
    /// The system starts no more threads.
    pub fn new(line: usize) -> io::Result<Pool> {
        let (jobs, waiting) = sync_channel(line);
        let waiting = Arc::new(Mutex::new(waiting));
        // Half of the processors: the exchange needs one.
        let threads = thread::available_parallelism().map_or(1, |all| all.get().div_ceil(2));
        for n in 0..threads.min(4) {
            let waiting = Arc::clone(&waiting);
            thread::Builder::new().name(format!("password-{n}")).spawn(move || work(&waiting))?;
        }
        Ok(Pool { jobs })
    }

    /// Makes what is to be kept of a password. `done` is called on another thread.
    ///
    /// # Errors
    /// [`Busy`]: `done` is not called.
    pub fn hash(
        &self,
        password: Box<[u8]>,
        done: impl FnOnce(Option<String>) + Send + 'static,
    ) -> Result<(), Busy> {
        self.take(Box::new(move || done(hash(&password))))
    }

    /// Checks a password. `done` is called on another thread.
    ///
    /// # Errors
    /// [`Busy`]: `done` is not called.
    pub fn verify(
        &self,
        password: Box<[u8]>,
        hash: Option<String>,
        done: impl FnOnce(bool) + Send + 'static,
    ) -> Result<(), Busy> {
        self.take(Box::new(move || done(verify(&password, hash.as_deref()))))
    }

    fn take(&self, job: Job) -> Result<(), Busy> {
        self.jobs.try_send(job).map_err(|refused| match refused {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => Busy,
        })
    }
}

fn work(waiting: &Mutex<Receiver<Job>>) {
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        job();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_hash_says_whose_password_it_is_and_no_two_are_the_same() {
        let (one, other) = (hash(b"tajne").unwrap(), hash(b"tajne").unwrap());
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, other);
        assert!(verify(b"tajne", Some(&one)) && verify(b"tajne", Some(&other)));
        assert!(!verify(b"jawne", Some(&one)));
        assert!(!verify(b"tajne", None) && !verify(b"tajne", Some("tajne")));
    }

    #[test]
    fn a_line_that_is_full_refuses_and_what_is_in_it_is_done() {
        let pool = Pool::new(1).unwrap();
        let (done, results) = channel();
        let mut taken = 0;
        while {
            let done = done.clone();
            let job = pool.verify(Box::from(*b"x"), None, move |is| done.send(is).unwrap());
            taken += usize::from(job.is_ok());
            job.is_ok()
        } {}
        drop(done);
        assert_eq!(results.iter().collect::<Vec<_>>(), vec![false; taken]);
    }
}
