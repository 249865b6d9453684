//! Whether the process behind a client's queue still runs.
//!
//! A SysV queue outlives its client, so a client that was killed has to be found out. Its process is
//! the one whose PID is the queue's key, if there was one when it logged in (the first clients of
//! these dialects do so); else whoever received from the queue last (`msg_lrpid`), once that has
//! changed since the log-in or was alive then: a queue that was used before keeps the name of a
//! reader that is long gone. A pidfd tells of its end at once and costs nothing meanwhile; it also
//! cannot be fooled by another process that gets the same PID later.
//!
//! `msg_lrpid` is the id of a *thread* when the message came while that one waited, and of its
//! process when the message was there before. A thread may be gone while its process lives: so a
//! reader that is gone says nothing as long as the process that is known lives.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use centrala_sysv::{Stat, process_alive};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// The process behind a client's queue.
#[derive(Debug)]
pub struct Process {
    /// Its PID is the queue's key.
    named: bool,
    /// Who is watched; 0 is nobody.
    pid: i32,
    /// Who had received from the queue last when that was looked at last.
    reader: i32,
    watch: Option<OwnedFd>,
}

/// What a look at the process showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It runs, or nobody can tell.
    Alive,
    /// Likewise, and it is another one than before: its descriptor is to be watched.
    Changed,
    /// It has ended.
    Dead,
}

impl Process {
    /// For a client that logs in with this key, whose queue is in this state.
    pub fn new(key: i32, stat: &Stat) -> Process {
        let reader = stat.last_receive_pid;
        let named = process_of(key) == Some(key);
        let mut process = Process { named, pid: 0, reader, watch: None };
        if named {
            process.set(key);
        } else if let Some(pid) = process_of(reader) {
            process.set(pid);
        }
        process
    }

    /// The descriptor that becomes readable when it ends.
    pub fn watch(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    /// Looks again, with what the queue says now.
    pub fn look(&mut self, stat: &Stat) -> Life {
        let known = self.pid != 0 && process_alive(self.pid);
        if self.is_news(stat) {
            self.reader = stat.last_receive_pid;
            match process_of(self.reader) {
                Some(pid) if pid == self.pid => {}
                Some(pid) => {
                    self.set(pid);
                    return Life::Changed;
                }
                None if !known => return Life::Dead,
                None => {}
            }
        }
        if known || self.pid == 0 { Life::Alive } else { Life::Dead }
    }

    /// Looks again where its descriptor would have told of its end.
    pub fn look_cheaply(&mut self, stat: &Stat) -> Life {
        let told = self.pid == 0 || self.watch.is_some();
        if told && !self.is_news(stat) { Life::Alive } else { self.look(stat) }
    }

    /// The descriptor said that whoever was watched has ended.
    pub fn ended(&mut self, stat: &Stat) -> Life {
        (self.watch, self.pid) = (None, 0);
        if self.is_news(stat) { self.look(stat) } else { Life::Dead }
    }

    /// Whether somebody else has received from the queue. The server itself does not count: it
    /// takes what a dead client left unread.
    fn is_news(&self, stat: &Stat) -> bool {
        let reader = stat.last_receive_pid;
        !self.named && reader != self.reader && reader != 0 && reader != own()
    }

    fn set(&mut self, pid: i32) {
        self.pid = pid;
        // Without a descriptor (none are left) it is looked at by its number.
        let raw = Pid::from_raw(pid);
        self.watch = raw.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    }
}

fn own() -> i32 {
    std::process::id() as i32
}

/// The process that a thread belongs to, or that has this PID; `None` if there is none that runs,
/// or it is the server.
fn process_of(id: i32) -> Option<i32> {
    if !process_alive(id) {
        return None;
    }
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let group = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
    // Without a /proc it is taken for a process.
    let pid = group.map_or(Some(id), |group| group.trim().parse().ok())?;
    (pid != own() && (pid == id || process_alive(pid))).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use centrala_sysv::{Queue, Removed};

    #[test]
    fn a_process_named_by_the_key_is_found_dead() {
        let queue = Removed(Queue::private(0o600).unwrap());
        let stat = queue.stat().unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let mut process = Process::new(child.id() as i32, &stat);
        assert_eq!(process.look(&stat), Life::Alive);
        assert!(process.watch().is_some());
        assert_eq!(process.look_cheaply(&stat), Life::Alive);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(process.look(&stat), Life::Dead);
    }

    #[test]
    fn a_reader_that_was_dead_before_the_log_in_says_nothing() {
        let queue = Removed(Queue::private(0o600).unwrap());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let mut stat = queue.stat().unwrap();
        stat.last_receive_pid = child.id() as i32;
        let mut process = Process::new(i32::MAX, &stat);
        assert_eq!(process.look(&stat), Life::Alive);
        let mut later = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        stat.last_receive_pid = later.id() as i32;
        assert_eq!(process.look_cheaply(&stat), Life::Changed);
        assert_eq!(process.look(&stat), Life::Alive);
        // A thread of it that has ended meanwhile, as far as anybody can tell.
        stat.last_receive_pid = child.id() as i32;
        assert_eq!(process.look_cheaply(&stat), Life::Alive);
        later.kill().unwrap();
        later.wait().unwrap();
        assert_eq!(process.look(&stat), Life::Dead);
    }
}
