//! What the clients of the SysV dialects have in common.

use crate::failure::Failure;
use crate::output::{Line, Output};
use crate::signals::Stop;
use crate::url::{Dialect, Place, Url};
use crate::wait::{Ended, PATIENCE, Waiter};
use centrala_sysv::{Errno, Queue, Receive};
use std::time::Duration;

/// For how long a command that is being ended still waits for what it must not leave undone.
pub const GRACE: Duration = Duration::from_secs(2);

/// The exchange's queue.
///
/// # Errors
/// [`Failure::Unreachable`]: there is none, or it is not for us.
pub fn exchange(url: &Url) -> Result<Queue, Failure> {
    let Place::Key(key) = url.place else { unreachable!("the URL of a SysV dialect has a key") };
    Queue::open(key).map_err(|errno| {
        Failure::Unreachable(match errno {
            Errno::ENOENT => format!("no exchange here: no queue has key {key}"),
            Errno::EACCES => format!("the queue with key {key} is another user's (EACCES)"),
            errno => format!("cannot open the queue with key {key}: {}", errno.desc()),
        })
    })
}

/// A waiter at the exchange's queue.
///
/// # Errors
/// The system has no more timers.
pub fn waiter(stop: &Stop, exchange: Queue) -> Result<Waiter, Failure> {
    Waiter::new(stop, exchange).map_err(|errno| Failure::queue("set a timer", errno))
}

/// What it means for a command that a wait has ended.
pub fn failure(ended: Ended) -> Failure {
    match ended {
        Ended::Stopped => Failure::Interrupted,
        Ended::Late => Failure::Unreachable(format!(
            "the exchange has not answered in {} s",
            PATIENCE.as_secs()
        )),
        Ended::Gone => Failure::Unreachable(
            "the exchange is gone, or has logged us out: it has removed a queue".into(),
        ),
        Ended::Failed(errno) => Failure::queue("use a queue of the exchange", errno),
    }
}

/// Receives a message of this type if one is there.
///
/// # Errors
/// As [`failure`].
pub fn there(queue: Queue, buf: &mut [u8], kind: i64) -> Result<Option<usize>, Failure> {
    match queue.receive(buf, kind, Receive::CUT) {
        Ok(len) => Ok(Some(len)),
        Err(Errno::ENOMSG) => Ok(None),
        Err(Errno::EINVAL | Errno::EIDRM) => Err(failure(Ended::Gone)),
        Err(errno) => Err(failure(Ended::Failed(errno))),
    }
}

/// Checks that a message's text fits into `most` bytes of C's.
///
/// # Errors
/// [`Failure::Usage`].
pub fn checked_text(dialect: Dialect, text: &[u8], most: usize) -> Result<(), Failure> {
    if text.len() > most {
        return Err(Failure::Usage(format!(
            "the text has {} bytes; {dialect} takes at most {most}",
            text.len()
        )));
    }
    if text.contains(&0) {
        return Err(Failure::Usage(format!("the text has a NUL, which ends a text in {dialect}")));
    }
    Ok(())
}

/// A group's or user's number: decimal, from 1.
pub fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number != 0)
}

/// What a command was asked to print of the messages that come; `G` is a group's number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted<G> {
    Nothing,
    All,
    These(Vec<G>),
}

impl<G: PartialEq> Wanted<G> {
    /// All, or what is about these groups if there are any.
    pub fn chosen(groups: Vec<G>) -> Wanted<G> {
        if groups.is_empty() { Wanted::All } else { Wanted::These(groups) }
    }

    /// Whether what is about this group (or none) was asked for.
    pub fn has(&self, group: Option<&G>) -> bool {
        match self {
            Wanted::Nothing => false,
            Wanted::All => true,
            Wanted::These(chosen) => group.is_some_and(|group| chosen.contains(group)),
        }
    }

    /// Prints a line about this group (or none), or prints it aside if nobody asked for it, and
    /// says whether it was asked for.
    ///
    /// # Errors
    /// The output's.
    pub fn print(
        &self,
        output: &mut Output,
        group: Option<&G>,
        line: &Line,
    ) -> Result<bool, Failure> {
        let wanted = self.has(group);
        let printed = if wanted { output.print(line) } else { output.aside(line) };
        printed.map(|()| wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_digits_from_1() {
        for (text, read) in [
            ("1", Some(1)),
            ("007", Some(7)),
            ("4294967295", Some(u32::MAX)),
            ("4294967296", None),
            ("0", None),
            ("+1", None),
            ("", None),
            ("1 ", None),
        ] {
            assert_eq!(number(text), read, "{text:?}");
        }
    }

    #[test]
    fn what_was_chosen_is_wanted_and_nothing_else() {
        assert!(Wanted::chosen(vec![]).has(Some(&1)) && Wanted::<u32>::All.has(None));
        let two = Wanted::chosen(vec![2]);
        assert!(two.has(Some(&2)) && !two.has(Some(&1)) && !two.has(None));
        assert!(!Wanted::Nothing.has(Some(&1)));
    }
}
