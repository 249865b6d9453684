//! A thread that waits at a queue and hands over what arrives, in batches.
//!
//! `msgrcv` blocks and has no descriptor to poll. So each queue and type selector has a thread in
//! it, which after every message that it waited for takes what else is there, and hands all of it
//! to the thread of the exchange at once. When that one is behind, the thread waits, the queue
//! fills, and those who send to it wait: that is how a SysV queue says "slower".
//!
//! A message larger than any request is cut by the kernel (`MSG_NOERROR`) to one byte more than the
//! largest: so it leaves the queue in the same call, and is known by its length.
//!
//! **A log-in's sender is to wait for its answer before that is given** (`lanes`: any client that
//! waits takes the first answer, so that of one that does not wait yet goes to another). So the
//! threads are batch jobs: one that a message wakes does not take the processor from its sender. And
//! a log-in is handed over when its sender sleeps, or after a while (`PATIENCE`): on a busy machine
//! it may be long on its way from the one call to the other.
//!
//! **Who sent a log-in** the kernel tells for a moment: `msg_lspid` is whoever sent last to the
//! queue. It is taken for the sender if the queue had no further request right after the log-in was
//! received and still has none after that was asked, and it was not the server itself.

use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use centrala_sysv::{Buffer, Errno, LONG, Queue, Receive, process_runs, schedule_as_batch};

use super::Spec;
use crate::poll::Waker;

/// Messages in one batch, at most.
const BATCH: usize = 64;
/// Batches handed over and not yet taken, at most.
const AHEAD: usize = 4;
/// How long log-ins are left alone, so that their senders and others that come with them can begin
/// to wait for their answers.
const SETTLE: Duration = Duration::from_millis(2);
/// How long the log-ins of a batch are left alone, at most, while the sender of the last one runs: so
/// long one that never sleeps holds up the others.
const PATIENCE: Duration = Duration::from_millis(100);
/// Bytes of the largest request of any dialect, with its `long`, and one more.
const BUFFER: usize = 1056;
const _: () = assert!(BUFFER > centrala_core::dialect::topics::REQUEST_SIZE);

/// Messages that arrived together.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// How many were too large and are not among them.
    pub oversize: u32,
    /// The process that sent the last message, if that is a log-in and it could be told; else 0.
    pub sender: i32,
}

impl Batch {
    /// The messages, each with its leading `long`.
    pub fn messages(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, end)| &self.bytes[begin..*end])
    }

    fn push(&mut self, message: &[u8], largest: usize) {
        if message.len() > largest {
            self.oversize += 1;
        } else {
            self.bytes.extend_from_slice(message);
            self.ends.push(self.bytes.len());
        }
    }

    fn last(&self) -> &[u8] {
        let begin = self.ends.len().checked_sub(2).map_or(0, |before| self.ends[before]);
        &self.bytes[begin..]
    }

    fn len(&self) -> usize {
        self.ends.len() + self.oversize as usize
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        (self.oversize, self.sender) = (0, 0);
    }
}

/// The near end of the thread.
#[derive(Debug)]
pub struct Receiver {
    batches: mpsc::Receiver<Batch>,
    /// Batches that were read, to be filled again.
    emptied: mpsc::Sender<Batch>,
    thread: JoinHandle<()>,
}

/// What came from the thread.
#[derive(Debug)]
pub enum Taken {
    /// Messages.
    Batch(Batch),
    /// Nothing for now.
    Nothing,
    /// The queue is gone, and the thread with it.
    Over,
}

impl Receiver {
    /// Starts a thread that receives what `msgrcv` selects by `kind`.
    ///
    /// # Errors
    /// The system has no threads left.
    pub fn spawn(
        queue: Queue,
        kind: i64,
        spec: &'static Spec,
        waker: Waker,
    ) -> std::io::Result<Receiver> {
        let (hand, batches) = mpsc::sync_channel(AHEAD);
        let (emptied, used) = mpsc::channel();
        let name = format!("msgrcv {kind}");
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            receive(queue, kind, spec, &hand, &used, &waker);
            drop(hand);
            waker.wake();
        })?;
        Ok(Receiver { batches, emptied, thread })
    }

    /// What has arrived.
    pub fn take(&self) -> Taken {
        match self.batches.try_recv() {
            Ok(batch) => Taken::Batch(batch),
            Err(mpsc::TryRecvError::Empty) => Taken::Nothing,
            Err(mpsc::TryRecvError::Disconnected) => Taken::Over,
        }
    }

    /// Gives a batch back when it was read.
    pub fn recycle(&self, mut batch: Batch) {
        batch.clear();
        // The thread is gone: so is the use of it.
        let _ = self.emptied.send(batch);
    }

    /// Waits for the end of the thread, whose queue is gone.
    pub fn join(self) {
        drop(self.batches);
        let _ = self.thread.join();
    }
}

fn receive(
    queue: Queue,
    kind: i64,
    spec: &Spec,
    hand: &mpsc::SyncSender<Batch>,
    used: &mpsc::Receiver<Batch>,
    waker: &Waker,
) {
    if let Err(error) = schedule_as_batch() {
        tracing::debug!(%error, kind, "not a batch job");
    }
    let largest = spec.largest_request;
    let mut buffer = Buffer::<BUFFER>::new();
    let room = (largest + 1).min(BUFFER);
    loop {
        let mut batch: Batch = used.try_recv().unwrap_or_default();
        let mut how = Receive { wait: true, cut: true, except: false };
        // How many there were when the sender of the last log-in was waited for, and until when.
        let (mut settled, mut until) = (0, None);
        while batch.len() < BATCH {
            match queue.receive(&mut buffer[..room], kind, how) {
                Ok(len) => batch.push(&buffer[..len], largest),
                Err(Errno::EINTR) => continue,
                Err(Errno::ENOMSG) if !(spec.tells_sender)(batch.last()) => break,
                Err(Errno::ENOMSG) if settled == batch.len() => {
                    batch.sender = sender(queue, spec);
                    break;
                }
                Err(Errno::ENOMSG) => {
                    settled = batch.len();
                    let until = *until.get_or_insert_with(|| Instant::now() + PATIENCE);
                    let pid = queue.stat().map_or(0, |stat| stat.last_send_pid);
                    wait_until_asleep(pid, until);
                }
                Err(error) => {
                    tracing::debug!(%error, kind, "no more to receive from the queue");
                    let _ = hand.send(batch);
                    return;
                }
            }
            how.wait = false;
        }
        if hand.send(batch).is_err() {
            return;
        }
        waker.wake();
    }
}

/// Waits a moment, and then until a process does not run any more, or the time has come. Returns
/// whether it does not.
fn wait_until_asleep(pid: i32, until: Instant) -> bool {
    loop {
        std::thread::sleep(SETTLE);
        if !process_runs(pid) {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
    }
}

/// The process that sent last, if it sent the last of the requests and none has come since.
fn sender(queue: Queue, spec: &Spec) -> i32 {
    let Ok(stat) = queue.stat() else { return 0 };
    // A receive without room takes nothing, and tells whether anything is there.
    let none =
        |kind: &i64| queue.receive(&mut [0; LONG], *kind, Receive::NOW) == Err(Errno::ENOMSG);
    let own = std::process::id() as i32;
    if stat.last_send_pid != own && spec.receives.iter().all(none) { stat.last_send_pid } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poll::Poll;
    use crate::sysv::TOPICS;
    use centrala_sysv::Removed;
    use std::process::{Child, Command, Stdio};

    static SMALL: Spec = Spec { largest_request: 28, ..TOPICS };

    #[test]
    fn what_waits_comes_in_one_batch_and_what_is_too_large_is_counted() {
        let queue = Removed(Queue::private(0o600).unwrap());
        let message = |kind: i64, len: usize| {
            let mut bytes = kind.to_ne_bytes().to_vec();
            bytes.resize(len, 7);
            bytes
        };
        for (kind, len) in [(7, 20), (1, 28), (2, 29), (9, 20), (1, 8)] {
            queue.send(&message(kind, len), false).unwrap();
        }
        let poll = Poll::new().unwrap();
        let receiver = Receiver::spawn(*queue, -7, &SMALL, poll.waker()).unwrap();
        let mut events = Vec::new();
        poll.wait(&mut events, Some(10_000)).unwrap();
        let Taken::Batch(batch) = receiver.take() else { panic!("nothing came") };
        let lengths: Vec<usize> = batch.messages().map(<[u8]>::len).collect();
        assert_eq!((lengths, batch.oversize), (vec![28, 8, 20], 1), "lowest type first");
        receiver.recycle(batch);
        drop(queue);
        receiver.join();
    }

    /// Killed when dropped.
    struct Process(Child);

    impl Drop for Process {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn the_sender_of_a_log_in_is_waited_for_while_it_runs_and_no_longer() {
        let long = Duration::from_secs(60);
        // Runs until it is told, and then sleeps.
        let script = "trap 'exec sleep 600' USR1; echo; while :; do :; done";
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped());
        let mut child = Process(command.spawn().unwrap());
        let pid = child.0.id() as i32;
        std::io::Read::read_exact(child.0.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let begun = Instant::now();
        assert!(!wait_until_asleep(pid, begun + PATIENCE), "it runs");
        assert!(begun.elapsed() >= PATIENCE);
        let waiter = std::thread::spawn(move || wait_until_asleep(pid, Instant::now() + long));
        let pid = nix::unistd::Pid::from_raw(pid);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGUSR1).unwrap();
        assert!(waiter.join().unwrap(), "it sleeps");
        drop(child);
        assert!(wait_until_asleep(pid.as_raw(), begun + long), "there is none");
        assert!(wait_until_asleep(0, begun + long), "nobody knows who it is");
    }
}
