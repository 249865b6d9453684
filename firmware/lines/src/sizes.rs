//! What a row of each table takes on the machine that this is compiled for, for the tool
//! `centrala-sizes`, which finds it in an image.

use centrala_core::exchange::{
    Entry, Group, Link, Membership, Message, Question, Session, Timer, User, timers_for,
};
use centrala_core::table::Slot;

/// Bytes of one more row, in this order: user, group, membership, session, message (without its
/// text), copy of a message for a recipient, question. With what comes with it elsewhere: places in
/// an index, timers.
#[allow(clippy::cast_possible_truncation)] // None is so large.
pub const ROWS: [u32; 7] = {
    let timer = size_of::<Slot<Timer>>();
    let timers = timers_for(0, 1) - timers_for(0, 0);
    let index = size_of::<u32>();
    [
        (size_of::<User>() + index) as u32,
        (size_of::<Group>() + index) as u32,
        size_of::<Slot<Membership>>() as u32,
        (size_of::<Slot<Session>>() + timers * timer + index + size_of::<Link>() + 1) as u32,
        size_of::<Slot<Message>>() as u32,
        (size_of::<Slot<Entry>>() + timer) as u32,
        size_of::<Slot<Question>>() as u32,
    ]
};

/// Notes in an image what its tables take, outside of what is loaded: the type that
/// [`centrala_core::storage!`] made, and how long its tables are.
#[macro_export]
macro_rules! note_sizes {
    ($tables:ty { $users:expr, $groups:expr, $memberships:expr, $sessions:expr, $messages:expr,
      $entries:expr, $questions:expr }) => {
        #[used]
        // SAFETY: a section that nothing else uses and no program reads.
        #[unsafe(link_section = ".centrala_sizes")]
        static SIZES: [[u32; 7]; 3] = [
            $crate::sizes::ROWS,
            [$users, $groups, $memberships, $sessions, $messages, $entries, $questions],
            [<$tables>::BYTES as u32, <$tables>::MESSAGE_LENGTH as u32, 0, 0, 0, 0, 0],
        ];
    };
}
