//! What the server counts, beside what the exchange counts itself.

use std::fmt;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Since the server started.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl fmt::Display for Counters {
            /// Those that are not 0.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let all = [$((stringify!($name), self.$name)),*];
                for (name, value) in all.into_iter().filter(|(_, value)| *value != 0) {
                    write!(f, " {name}={value}")?;
                }
                Ok(())
            }
        }
    };
}

counters! {
    /// Batches applied.
    batches,
    /// Commits of the store.
    commits,
    /// Commits that failed.
    commits_failed,
    /// TCP connections accepted.
    accepted,
    /// Connections closed at once, as every session or descriptor was taken.
    refused,
    /// TCP connections that the peer or the network ended.
    disconnected,
    /// Connections closed because their peer did not read its answers.
    overrun,
    /// Sockets of `rooms` that connected.
    sockets,
    /// Sockets of `rooms` that their client or the network ended.
    sockets_left,
    /// Sockets of `rooms` closed because they sent more than they may.
    flooded,
    /// Messages received from SysV queues.
    received,
    /// Messages larger than any request, taken off a SysV queue.
    oversize,
    /// Messages that nobody would have read, taken off a SysV queue.
    junk,
    /// Answers dropped because a client's queue and its answer queue were full.
    answers_dropped,
    /// Deliveries that a SysV queue would not take, handed back.
    returned,
    /// Deliveries that the kernel takes in no queue: over `msgmax`.
    unsendable,
    /// Queue clients logged out because their process was gone.
    died,
    /// Queue clients logged out because their queue was gone.
    queue_gone,
    /// Requests to end the server that the configuration refuses.
    shutdowns_denied,
}
