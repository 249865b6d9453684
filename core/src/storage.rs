//! Memory for an exchange, declared in one place.

/// Lends every table of a place that has them by their names in
/// [`Tables`](crate::exchange::Tables): arrays, vectors, boxes.
#[macro_export]
macro_rules! lend_tables {
    ($place:expr) => {
        $crate::exchange::Tables {
            users: &mut $place.users,
            user_index: &mut $place.user_index,
            groups: &mut $place.groups,
            group_index: &mut $place.group_index,
            memberships: &mut $place.memberships,
            chats: &mut $place.chats,
            chat_index: &mut $place.chat_index,
            sessions: &mut $place.sessions,
            session_index: &mut $place.session_index,
            messages: &mut $place.messages,
            bodies: &mut $place.bodies,
            entries: &mut $place.entries,
            timers: &mut $place.timers,
            questions: &mut $place.questions,
            fan: &mut $place.fan,
            fan_dialects: &mut $place.fan_dialects,
            scratch: &mut $place.scratch,
        }
    };
}

/// Declares a type that holds every table of an exchange, with its sizes, and lends them.
///
/// `chats` may be left out where no dialect has private chats.
/// `EMPTY` is all zero bits: a static of the type lies in `.bss`. `BYTES` is what it takes.
///
/// ```
/// centrala_core::storage! {
///     /// For a small office.
///     pub struct Small {
///         users: 8,
///         groups: 8,
///         memberships: 64,
///         sessions: 10,
///         messages: 32,
///         message_length: 128,
///         entries: 48,
///         questions: 2,
///     }
/// }
/// use centrala_core::{exchange::Exchange, limits::Limits};
/// let mut memory = Small::EMPTY;
/// let exchange = Exchange::new(memory.lend(), Limits::new(Small::MESSAGE_LENGTH));
/// assert_eq!(exchange.capacity().messages, 32);
/// assert!(Small::BYTES < 20 * 1024);
/// ```
#[macro_export]
macro_rules! storage {
    (
        $(#[$doc:meta])*
        $vis:vis struct $name:ident {
            users: $users:expr,
            groups: $groups:expr,
            memberships: $memberships:expr,
            sessions: $sessions:expr,
            messages: $messages:expr,
            message_length: $message_length:expr,
            entries: $entries:expr,
            questions: $questions:expr
            $(, chats: $chats:expr)? $(,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug)]
        $vis struct $name {
            users: [$crate::exchange::User; $crate::exchange::places_for_users($users)],
            user_index: [u32; $crate::exchange::places_for_users($users).next_power_of_two()],
            groups: [$crate::exchange::Group; $groups],
            group_index: [u32; ($groups as usize).next_power_of_two()],
            memberships: [$crate::table::Slot<$crate::exchange::Membership>; $memberships],
            chats: [$crate::table::Slot<$crate::exchange::PrivateChat>; 0 $(+ $chats)?],
            chat_index: [u32; (0usize $(+ $chats)?).next_power_of_two()],
            sessions: [$crate::table::Slot<$crate::exchange::Session>; $sessions],
            session_index: [u32; ($sessions as usize).next_power_of_two()],
            messages: [$crate::table::Slot<$crate::exchange::Message>; $messages],
            bodies: [u8; $messages * $message_length],
            entries: [$crate::table::Slot<$crate::exchange::Entry>; $entries],
            timers: [$crate::table::Slot<$crate::exchange::Timer>;
                $crate::exchange::timers_for($entries, $sessions)],
            questions: [$crate::table::Slot<$crate::exchange::Question>; $questions],
            // A message goes to each session at most once.
            fan: [$crate::exchange::Link; $sessions],
            fan_dialects: [u8; $sessions],
            scratch: [u8; $crate::exchange::scratch_len($message_length)],
        }

        #[allow(dead_code)]
        impl $name {
            /// Bytes of the longest text.
            $vis const MESSAGE_LENGTH: usize = $message_length;
            /// Bytes of all tables together.
            $vis const BYTES: usize = ::core::mem::size_of::<$name>();
            /// Tables with nothing in them.
            $vis const EMPTY: $name = {
                use $crate::table::{Empty, Slot};
                $name {
                    users: [Empty::EMPTY; $crate::exchange::places_for_users($users)],
                    user_index: [0; $crate::exchange::places_for_users($users).next_power_of_two()],
                    groups: [Empty::EMPTY; $groups],
                    group_index: [0; ($groups as usize).next_power_of_two()],
                    memberships: [Slot::EMPTY; $memberships],
                    chats: [Slot::EMPTY; 0 $(+ $chats)?],
                    chat_index: [0; (0usize $(+ $chats)?).next_power_of_two()],
                    sessions: [Slot::EMPTY; $sessions],
                    session_index: [0; ($sessions as usize).next_power_of_two()],
                    messages: [Slot::EMPTY; $messages],
                    bodies: [0; $messages * $message_length],
                    entries: [Slot::EMPTY; $entries],
                    timers: [Slot::EMPTY; $crate::exchange::timers_for($entries, $sessions)],
                    questions: [Slot::EMPTY; $questions],
                    fan: [$crate::exchange::Link::NONE; $sessions],
                    fan_dialects: [0; $sessions],
                    scratch: [0; $crate::exchange::scratch_len($message_length)],
                }
            };

            /// Lends the tables to an exchange. They must be empty.
            $vis fn lend(&mut self) -> $crate::exchange::Tables<'_> {
                $crate::lend_tables!(self)
            }
        }
    };
}
