//! SysV message queues: the few system calls that nix does not wrap, made safe in one file.
//!
//! A message is a leading `long` (its type, above 0, in the machine's byte order) and bytes behind
//! it. Here it is always one slice with both, as C's structs have it, and every length counts both;
//! the kernel's `msgsz` is 8 less ([`LONG`]). The kernel copies straight from and to a slice that
//! is aligned for a `long` ([`Buffer`] is); any other slice costs a copy through one that is.
//!
//! **Errors** are the kernel's own [`Errno`], because callers decide by them:
//!
//! | error              | meaning                                                              |
//! |--------------------|----------------------------------------------------------------------|
//! | `EAGAIN`           | sending without waiting: the queue is full                           |
//! | `ENOMSG`           | receiving without waiting: no such message                           |
//! | `E2BIG`            | the next message is larger than the buffer; it stays in the queue    |
//! | `EIDRM`            | the queue was removed while the call waited                          |
//! | `EINVAL`           | no queue has this id, a type is below 1, or a message is over `msgmax` |
//! | `EINTR`            | a signal ended the wait                                              |
//! | `EACCES`, `EPERM`  | the queue's mode or owner forbids it                                 |
//! | `ENOENT`, `EEXIST` | no queue has this key; one already has it                            |
//!
//! **`EINTR`** is handed to the caller and never retried here: the kernel does not restart these
//! calls (whatever `SA_RESTART` says), and so a signal is how a thread that waits is told to look
//! around. Calls that do not wait never return it.

use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};

pub use nix::errno::Errno;

/// Bytes of the leading `long`.
pub const LONG: usize = size_of::<libc::c_long>();

/// A queue of the kernel's, by its id.
///
/// It is a number and nothing more: dropping it does not remove the queue ([`Queue::remove`],
/// [`Removed`]), and the queue can be gone at any moment, after which every call is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Queue {
    id: libc::c_int,
}

/// Whether [`Queue::create`] made the queue or found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// No queue had the key: it is new and empty.
    New,
    /// It was there, perhaps with messages in it, with the mode it had.
    Found,
}

/// How to receive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receive {
    /// Wait for a message; without it there is `ENOMSG` when none is there.
    pub wait: bool,
    /// Cut a message that is larger than the buffer (`MSG_NOERROR`); without it there is `E2BIG`
    /// and the message stays.
    pub cut: bool,
    /// The first message whose type is *not* the given one (`MSG_EXCEPT`, with a type above 0).
    pub except: bool,
}

impl Receive {
    /// Takes what is there.
    pub const NOW: Receive = Receive { wait: false, cut: false, except: false };
    /// Waits.
    pub const WAIT: Receive = Receive { wait: true, ..Receive::NOW };
    /// Takes what is there, and of a message too large its beginning.
    pub const CUT: Receive = Receive { cut: true, ..Receive::NOW };

    fn flags(self) -> libc::c_int {
        let mut flags = 0;
        for (set, flag) in [
            (!self.wait, libc::IPC_NOWAIT),
            (self.cut, libc::MSG_NOERROR),
            (self.except, libc::MSG_EXCEPT),
        ] {
            if set {
                flags |= flag;
            }
        }
        flags
    }
}

/// What the kernel knows of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Bytes in it, without the `long`s.
    pub bytes: u64,
    /// Messages in it.
    pub messages: u64,
    /// Bytes that it may hold (`msg_qbytes`).
    pub max_bytes: u64,
    /// The process that sent last; 0 if none has, or it is of another PID namespace.
    pub last_send_pid: i32,
    /// The process that received last; 0 likewise.
    pub last_receive_pid: i32,
    /// When a message was last sent, in Unix seconds; 0 if never.
    pub send_time: i64,
    /// When a message was last received, in Unix seconds; 0 if never.
    pub receive_time: i64,
    /// Permission bits, 0..=0o777.
    pub mode: u16,
    /// The owner.
    pub uid: u32,
    /// Who created it.
    pub creator: u32,
    /// Its key; 0 for a private one.
    pub key: i32,
}

impl Queue {
    /// The queue with this key. Key 0 (`IPC_PRIVATE`) names none and is `ENOENT`.
    ///
    /// # Errors
    /// `ENOENT`; `EACCES`.
    pub fn open(key: i32) -> Result<Queue, Errno> {
        if key == libc::IPC_PRIVATE {
            return Err(Errno::ENOENT);
        }
        get(key, 0)
    }

    /// A new queue with this key and these permission bits (the umask does not apply).
    ///
    /// # Errors
    /// `EEXIST`; `EINVAL` for key 0; `ENOSPC`: the system has no more queues.
    pub fn create_new(key: i32, mode: u16) -> Result<Queue, Errno> {
        if key == libc::IPC_PRIVATE {
            return Err(Errno::EINVAL);
        }
        get(key, libc::IPC_CREAT | libc::IPC_EXCL | permissions(mode))
    }

    /// A new queue with this key, or the one that has it.
    ///
    /// # Errors
    /// `EACCES`; `EINVAL` for key 0; `ENOSPC`: the system has no more queues.
    pub fn create(key: i32, mode: u16) -> Result<(Queue, Made), Errno> {
        loop {
            match Queue::create_new(key, mode) {
                Err(Errno::EEXIST) => {}
                made => return made.map(|queue| (queue, Made::New)),
            }
            match Queue::open(key) {
                // Removed between the two calls.
                Err(Errno::ENOENT) => {}
                found => return found.map(|queue| (queue, Made::Found)),
            }
        }
    }

    /// A new queue without a key.
    ///
    /// # Errors
    /// `ENOSPC`: the system has no more queues.
    pub fn private(mode: u16) -> Result<Queue, Errno> {
        get(libc::IPC_PRIVATE, libc::IPC_CREAT | permissions(mode))
    }

    /// The kernel's id of the queue.
    pub fn id(self) -> i32 {
        self.id
    }

    /// Sends one message. `wait`: when the queue is full, waits for room instead of `EAGAIN`.
    ///
    /// # Errors
    /// `EINVAL` also for a message shorter than its `long`; see the table above.
    pub fn send(self, message: &[u8], wait: bool) -> Result<(), Errno> {
        if message.len() < LONG {
            return Err(Errno::EINVAL);
        }
        if !is_aligned(message) {
            let mut copy = Words::new(message.len());
            copy.bytes()[..message.len()].copy_from_slice(message);
            return self.send(&copy.bytes()[..message.len()], wait);
        }
        let flags = if wait { 0 } else { libc::IPC_NOWAIT };
        // SAFETY: `message` is readable for `LONG` bytes and the `len - LONG` behind them, and is
        // aligned for the `long` that it begins with; the kernel only reads it, during the call.
        let sent =
            unsafe { libc::msgsnd(self.id, message.as_ptr().cast(), message.len() - LONG, flags) };
        Errno::result(sent).map(drop)
    }

    /// Receives one message into `buf`, its `long` first, and returns its length with the `long`.
    ///
    /// `kind` as in C: 0 the first message, above 0 the first of that type, below 0 the first of
    /// the lowest type that is at most `-kind`.
    ///
    /// # Errors
    /// `EINVAL` also for a `buf` shorter than the `long`; see the table above.
    pub fn receive(self, buf: &mut [u8], kind: i64, how: Receive) -> Result<usize, Errno> {
        self.take(buf, kind, how.flags())
    }

    /// Copies the message at `index` (0 the first) into `buf` and leaves it in the queue
    /// (`MSG_COPY`).
    ///
    /// # Errors
    /// `ENOMSG`: fewer messages; `E2BIG`: the message is larger than `buf` (the kernel cuts no
    /// copy); `ENOSYS`: this kernel cannot (`CONFIG_CHECKPOINT_RESTORE`).
    pub fn peek(self, buf: &mut [u8], index: usize) -> Result<usize, Errno> {
        let index = i64::try_from(index).map_err(|_| Errno::ENOMSG)?;
        match self.take(buf, index, libc::MSG_COPY | libc::IPC_NOWAIT) {
            // The kernel has one word for a small buffer and for no queue.
            Err(Errno::EINVAL) if buf.len() >= LONG => {
                Err(self.stat().err().unwrap_or(Errno::E2BIG))
            }
            taken => taken,
        }
    }

    fn take(self, buf: &mut [u8], kind: i64, flags: libc::c_int) -> Result<usize, Errno> {
        let room = buf.len().checked_sub(LONG).ok_or(Errno::EINVAL)?;
        if !is_aligned(buf) {
            let mut copy = Words::new(buf.len());
            let len = self.take(&mut copy.bytes()[..room + LONG], kind, flags)?;
            buf[..len].copy_from_slice(&copy.bytes()[..len]);
            return Ok(len);
        }
        // SAFETY: `buf` is writable for `LONG + room` bytes and aligned for the `long` that the
        // kernel writes first; it writes at most `room` bytes behind it, during the call.
        let got = unsafe { libc::msgrcv(self.id, buf.as_mut_ptr().cast(), room, kind, flags) };
        Errno::result(got).map(|len| len as usize + LONG)
    }

    /// What the kernel knows of the queue.
    ///
    /// # Errors
    /// `EACCES`: its mode does not allow reading; `EINVAL`, `EIDRM`: it is gone.
    pub fn stat(self) -> Result<Stat, Errno> {
        let ds = self.ds()?;
        Ok(Stat {
            bytes: ds.__msg_cbytes,
            messages: ds.msg_qnum,
            max_bytes: ds.msg_qbytes,
            last_send_pid: ds.msg_lspid,
            last_receive_pid: ds.msg_lrpid,
            send_time: ds.msg_stime,
            receive_time: ds.msg_rtime,
            mode: ds.msg_perm.mode & 0o777,
            uid: ds.msg_perm.uid,
            creator: ds.msg_perm.cuid,
            key: ds.msg_perm.__key,
        })
    }

    /// Sets how many bytes the queue may hold. Below what it holds now: it only takes no more, so 0
    /// closes it to senders and leaves what is there to be read.
    ///
    /// # Errors
    /// `EPERM`: not the owner, or over the system's `msgmnb` without the privilege.
    pub fn set_max_bytes(self, bytes: u64) -> Result<(), Errno> {
        self.change(|ds| ds.msg_qbytes = bytes)
    }

    /// Sets the permission bits.
    ///
    /// # Errors
    /// `EPERM`: neither owner nor creator.
    pub fn set_mode(self, mode: u16) -> Result<(), Errno> {
        self.change(|ds| ds.msg_perm.mode = mode & 0o777)
    }

    /// Makes a user the owner, who then has the owner's permissions; the creator keeps them too.
    ///
    /// # Errors
    /// `EPERM`: neither owner nor creator.
    pub fn set_owner(self, uid: u32) -> Result<(), Errno> {
        self.change(|ds| ds.msg_perm.uid = uid)
    }

    /// Removes the queue with all that is in it; those who wait at it get `EIDRM`.
    ///
    /// # Errors
    /// `EPERM`: neither owner nor creator; `EINVAL`, `EIDRM`: it is gone already.
    pub fn remove(self) -> Result<(), Errno> {
        // SAFETY: IPC_RMID takes no buffer: the pointer is not used.
        let removed = unsafe { libc::msgctl(self.id, libc::IPC_RMID, std::ptr::null_mut()) };
        Errno::result(removed).map(drop)
    }

    fn ds(self) -> Result<libc::msqid_ds, Errno> {
        let mut ds = MaybeUninit::<libc::msqid_ds>::zeroed();
        // SAFETY: `ds` is writable for the whole struct that IPC_STAT fills.
        Errno::result(unsafe { libc::msgctl(self.id, libc::IPC_STAT, ds.as_mut_ptr()) })?;
        // SAFETY: the struct has integers only: all zero bits were valid, and so is what the
        // kernel wrote.
        Ok(unsafe { ds.assume_init() })
    }

    fn change(self, change: impl FnOnce(&mut libc::msqid_ds)) -> Result<(), Errno> {
        let mut ds = self.ds()?;
        change(&mut ds);
        // SAFETY: `ds` is a whole, initialised struct, which IPC_SET only reads.
        Errno::result(unsafe { libc::msgctl(self.id, libc::IPC_SET, &raw mut ds) }).map(drop)
    }
}

fn get(key: i32, flags: libc::c_int) -> Result<Queue, Errno> {
    // SAFETY: msgget takes two integers and touches no memory of ours.
    Errno::result(unsafe { libc::msgget(key, flags) }).map(|id| Queue { id })
}

fn permissions(mode: u16) -> libc::c_int {
    libc::c_int::from(mode & 0o777)
}

fn is_aligned(bytes: &[u8]) -> bool {
    bytes.as_ptr().cast::<libc::c_long>().is_aligned()
}

/// Bytes aligned for a `long`, on the heap: for slices of callers that are not.
struct Words(Vec<Buffer<LONG>>);

impl Words {
    fn new(bytes: usize) -> Words {
        Words(vec![Buffer::new(); bytes.div_ceil(LONG)])
    }

    fn bytes(&mut self) -> &mut [u8] {
        let len = self.0.len() * LONG;
        // SAFETY: a `Buffer<LONG>` is `LONG` bytes without padding, so that the vector's elements
        // are that many initialised bytes in a row, borrowed as long as `self`.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), len) }
    }
}

/// `N` bytes aligned for a `long`: what to send from and receive into without a copy.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct Buffer<const N: usize>([u8; N]);

const _: () = assert!(align_of::<Buffer<1>>() >= align_of::<libc::c_long>());
const _: () = assert!(size_of::<Buffer<LONG>>() == LONG);

impl<const N: usize> Buffer<N> {
    /// All zero.
    pub const fn new() -> Self {
        Buffer([0; N])
    }
}

impl<const N: usize> Default for Buffer<N> {
    fn default() -> Self {
        Buffer::new()
    }
}

impl<const N: usize> Deref for Buffer<N> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<const N: usize> DerefMut for Buffer<N> {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// A queue that is removed when this is dropped, a panic's unwinding included.
#[derive(Debug, PartialEq, Eq)]
pub struct Removed(pub Queue);

impl Deref for Removed {
    type Target = Queue;

    fn deref(&self) -> &Queue {
        &self.0
    }
}

impl Drop for Removed {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.0.remove();
    }
}

/// Has the calling thread run as a batch job (`SCHED_BATCH`): when it becomes ready it waits for the
/// end of a time slice, and does not take the processor from the thread whose message woke it.
///
/// # Errors
/// `EPERM`: the system does not let it.
pub fn schedule_as_batch() -> Result<(), Errno> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: `parameters` is a whole struct, which the call only reads; 0 is the calling thread.
    Errno::result(unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) })
        .map(drop)
}

/// Whether there is a process with this id. One that has ended and was not yet waited for (a zombie)
/// does not count, and neither does an id below 1.
pub fn process_alive(pid: i32) -> bool {
    if pid < 1 || nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None) == Err(Errno::ESRCH)
    {
        return false;
    }
    match process_state(pid) {
        Some(state) => !matches!(state, b'Z' | b'X'),
        // Without a /proc the signal's word stands; with one, it has just ended.
        None => !std::path::Path::new("/proc/self/stat").exists(),
    }
}

/// Whether the first thread of the process with this id runs, or would if it had a processor: it
/// waits for nothing but the disk. Without a /proc nobody can tell, and it does not.
pub fn process_runs(pid: i32) -> bool {
    pid > 0 && matches!(process_state(pid), Some(b'R' | b'D'))
}

/// The letter that /proc has for what a process does.
fn process_state(pid: i32) -> Option<u8> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // "pid (command) state …": the command may have anything in it, a ')' too.
    let after = stat.iter().rposition(|b| *b == b')').map_or(0, |at| at + 2);
    stat.get(after).copied()
}

#[cfg(test)]
mod tests;
