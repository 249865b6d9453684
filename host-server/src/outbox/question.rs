//! Questions of the exchange, until they are asked.

use centrala_core::exchange::Token;
use centrala_core::host::Ask;
use centrala_core::request::Chat;

/// A question of the exchange.
#[derive(Clone, Debug)]
pub enum Question {
    /// Is this the user's password?
    Verify {
        /// Names the question.
        token: Token,
        /// User number; `None` if there is no such user.
        user: Option<u32>,
        /// As it came.
        password: Box<[u8]>,
    },
    /// What is to be kept of this password?
    Prepare {
        /// Names the question.
        token: Token,
        /// As it came.
        password: Box<[u8]>,
    },
    /// What comes next of a user's mail?
    Mail(MailAsked),
    /// [`Ask::History`].
    History { token: Token, user: u32, chat: Chat, before: Option<u64>, limit: u32 },
    /// [`Ask::Chats`].
    Chats { token: Token, user: u32 },
    /// [`Ask::Message`].
    Message { token: Token, sequence: u64 },
}

impl Question {
    /// What the exchange asks, with what it lends for the call alone.
    pub(super) fn new(token: Token, ask: Ask<'_>) -> Question {
        match ask {
            Ask::Verify { user, password } => {
                Question::Verify { token, user, password: password.into() }
            }
            Ask::Prepare { password } => Question::Prepare { token, password: password.into() },
            Ask::Mail { user, after, limit } => {
                Question::Mail(MailAsked { token, user, after, limit })
            }
            Ask::History { user, chat, before, limit } => {
                Question::History { token, user, chat, before, limit }
            }
            Ask::Chats { user } => Question::Chats { token, user },
            Ask::Message { sequence } => Question::Message { token, sequence },
        }
    }
}

/// A question for a page of mail.
#[derive(Clone, Copy, Debug)]
pub struct MailAsked {
    /// Names the question.
    pub token: Token,
    /// User number.
    pub user: u32,
    /// Priority and sequence: mail behind this.
    pub after: (u8, u64),
    /// At most so many.
    pub limit: u32,
}
