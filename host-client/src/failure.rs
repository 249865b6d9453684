//! Why a command failed, what it says, and its exit code.

use crate::url::Dialect;
use centrala_sysv::Errno;
use std::fmt;
use std::io;

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// What was typed cannot be: says what is wrong and what is allowed.
    Usage(String),
    /// The dialect has no such thing.
    Lacks {
        /// The dialect.
        dialect: Dialect,
        /// The command, or the part of one, as it is typed.
        what: &'static str,
        /// The commands that it has.
        has: &'static [&'static str],
    },
    /// The exchange said no.
    Refused(String),
    /// What the exchange delivered is not what was sent.
    Wrong(String),
    /// There is no exchange, or it went away or silent.
    Unreachable(String),
    /// A signal ended the command before its end.
    Interrupted,
    /// Standard input cannot be read, or standard output not be written.
    Streams(io::Error),
}

impl Failure {
    /// 2 for what no exchange could do, 1 for what this one did not.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Usage(_) | Failure::Lacks { .. } => 2,
            _ => 1,
        }
    }

    /// A system call on a queue that failed in a way that says nothing of the exchange.
    pub fn queue(doing: &str, errno: Errno) -> Failure {
        Failure::Unreachable(format!("cannot {doing}: {}", errno.desc()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(what)
            | Failure::Refused(what)
            | Failure::Wrong(what)
            | Failure::Unreachable(what) => f.write_str(what),
            Failure::Lacks { dialect, what, has } => {
                write!(f, "{dialect} has no '{what}'; its commands are {}", has.join(", "))
            }
            Failure::Interrupted => f.write_str("interrupted"),
            Failure::Streams(error) => write!(f, "standard input or output: {error}"),
        }
    }
}
impl std::error::Error for Failure {}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Streams(error)
    }
}
