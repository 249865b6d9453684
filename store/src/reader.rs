//! What is read while the server runs: on a connection and a thread of its own, so that nobody who
//! writes waits for it.

use crate::counts::Counting;
use crate::error::Error;
use crate::images::Image;
use crate::kept::{Conversation, HistoryPage, KeptMessage, MailPage};
use crate::pages::Pages;
use crate::{Shared, backup};
use centrala_core::host::Count;
use centrala_core::request::Chat;
use rusqlite::Connection;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};

type Answer<T> = Box<dyn FnOnce(Result<T, Error>) + Send>;

/// A question for the reader's thread.
pub(crate) enum Question {
    Mail { user: u32, after: Option<(u8, u64)>, limit: u32, answer: Answer<MailPage> },
    History { of: Conversation, before: Option<u64>, limit: u32, answer: Answer<HistoryPage> },
    Places { of: Conversation, before: Option<u64>, limit: u32, answer: Answer<Vec<u64>> },
    Messages { of: Conversation, at: Vec<u64>, answer: Answer<Vec<KeptMessage>> },
    Message { sequence: u64, answer: Answer<Option<KeptMessage>> },
    Counts { user: u32, chats: Vec<Chat>, answer: Answer<Vec<Count>> },
    Image { sequence: u64, answer: Answer<Option<Image>> },
    Hashes { after: Option<[u8; 32]>, answer: Answer<Vec<[u8; 32]>> },
    Password { user: u32, answer: Answer<Option<String>> },
    Close,
}

/// Asks the store. Clones ask the same thread; each answer comes on that thread, in the order of
/// the questions. What is not committed yet is not in an answer.
#[derive(Clone, Debug)]
pub struct Reader {
    pub(crate) questions: Sender<Question>,
    pub(crate) shared: Arc<Shared>,
}

impl Reader {
    /// What is kept for a user, in the order in which it is due, behind `after` (priority and
    /// sequence of a message). At most [`PAGE`](crate::PAGE) messages, and no more once there are
    /// [`PAGE_BYTES`](crate::PAGE_BYTES).
    pub fn mail_page(
        &self,
        user: u32,
        after: Option<(u8, u64)>,
        limit: u32,
        answer: impl FnOnce(Result<MailPage, Error>) + Send + 'static,
    ) {
        self.ask(Question::Mail { user, after, limit, answer: Box::new(answer) });
    }

    /// The newest messages of a history, or the newest that are older than `before` (a sequence).
    /// At most [`PAGE`](crate::PAGE) messages, and no more once there are [`PAGE_BYTES`](crate::PAGE_BYTES).
    pub fn history(
        &self,
        of: Conversation,
        before: Option<u64>,
        limit: u32,
        answer: impl FnOnce(Result<HistoryPage, Error>) + Send + 'static,
    ) {
        self.ask(Question::History { of, before, limit, answer: Box::new(answer) });
    }

    /// Where the newest messages of a history are, or the newest that are older than `before` (a
    /// sequence): their sequences, oldest first. At most [`PLACES`](crate::PLACES). Those that cannot be read are
    /// left out, and counted.
    pub fn places(
        &self,
        of: Conversation,
        before: Option<u64>,
        limit: u32,
        answer: impl FnOnce(Result<Vec<u64>, Error>) + Send + 'static,
    ) {
        self.ask(Question::Places { of, before, limit, answer: Box::new(answer) });
    }

    /// The messages of a history at some of its places, in that order; without those that have been
    /// pruned since.
    pub fn messages(
        &self,
        of: Conversation,
        at: Vec<u64>,
        answer: impl FnOnce(Result<Vec<KeptMessage>, Error>) + Send + 'static,
    ) {
        self.ask(Question::Messages { of, at, answer: Box::new(answer) });
    }

    /// The message of a sequence. None of a group that is gone; a user that is gone is 0.
    pub fn message(
        &self,
        sequence: u64,
        answer: impl FnOnce(Result<Option<KeptMessage>, Error>) + Send + 'static,
    ) {
        self.ask(Question::Message { sequence, answer: Box::new(answer) });
    }

    /// How many messages there are in each of these conversations, and behind them in the direct
    /// messages with each user with whom there are any; and how many of them are new to this user:
    /// those of others behind what it has seen ([`Record::Seen`](centrala_core::host::Record::Seen)).
    /// Others' questions are answered in between if there is much to count.
    pub fn counts(
        &self,
        user: u32,
        chats: Vec<Chat>,
        answer: impl FnOnce(Result<Vec<Count>, Error>) + Send + 'static,
    ) {
        self.ask(Question::Counts { user, chats, answer: Box::new(answer) });
    }

    /// Which image the message of a sequence is ([`crate::Store::hold_image`]).
    pub fn image(
        &self,
        sequence: u64,
        answer: impl FnOnce(Result<Option<Image>, Error>) + Send + 'static,
    ) {
        self.ask(Question::Image { sequence, answer: Box::new(answer) });
    }

    /// The hashes of all images that messages are, in order and each once: at most [`PAGE`](crate::PAGE) behind
    /// `after`. What has none of them is nobody's any more, unless its message is not committed yet.
    pub fn image_hashes(
        &self,
        after: Option<[u8; 32]>,
        answer: impl FnOnce(Result<Vec<[u8; 32]>, Error>) + Send + 'static,
    ) {
        self.ask(Question::Hashes { after, answer: Box::new(answer) });
    }

    /// The text that was set as a user's password ([`crate::Store::set_password`]).
    pub fn password(
        &self,
        user: u32,
        answer: impl FnOnce(Result<Option<String>, Error>) + Send + 'static,
    ) {
        self.ask(Question::Password { user, answer: Box::new(answer) });
    }

    /// Writes all that is committed into a new file, which is a whole store of its own, while the
    /// server goes on. One at a time; the file must not exist.
    pub fn backup(&self, file: &Path, answer: impl FnOnce(Result<(), Error>) + Send + 'static) {
        backup::start(&self.shared, file, Box::new(answer));
    }

    fn ask(&self, question: Question) {
        if let Err(refused) = self.questions.send(question) {
            match refused.0 {
                Question::Mail { answer, .. } => answer(Err(Error::Closed)),
                Question::History { answer, .. } => answer(Err(Error::Closed)),
                Question::Places { answer, .. } => answer(Err(Error::Closed)),
                Question::Messages { answer, .. } => answer(Err(Error::Closed)),
                Question::Message { answer, .. } => answer(Err(Error::Closed)),
                Question::Counts { answer, .. } => answer(Err(Error::Closed)),
                Question::Image { answer, .. } => answer(Err(Error::Closed)),
                Question::Hashes { answer, .. } => answer(Err(Error::Closed)),
                Question::Password { answer, .. } => answer(Err(Error::Closed)),
                Question::Close => {}
            }
        }
    }
}

/// Waits for the answer to one question: `wait(|answer| reader.history(of, None, 20, answer))`.
///
/// # Errors
/// The answer's own, or [`Error::Closed`].
pub fn wait<T: Send + 'static>(
    ask: impl FnOnce(Box<dyn FnOnce(Result<T, Error>) + Send>),
) -> Result<T, Error> {
    let (sender, answer) = std::sync::mpsc::sync_channel(1);
    ask(Box::new(move |result| drop(sender.send(result))));
    answer.recv().unwrap_or(Err(Error::Closed))
}

/// Runs until it is asked to close, or nobody can ask any more.
pub(crate) fn run(connection: &Connection, shared: &Shared, questions: &Receiver<Question>) {
    let mut pages = Pages::new(connection).map_err(|error| Error::engine(&shared.file, &error));
    let count = |damaged: u32| shared.count_damaged(damaged);
    // What takes longer goes on a little whenever nobody else has been waiting as long.
    let mut counting: VecDeque<(Counting, Answer<Vec<Count>>)> = VecDeque::new();
    loop {
        if let Some((mut counts, answer)) = counting.pop_front() {
            let engine = |error: rusqlite::Error| Error::engine(&shared.file, &error);
            let ready = pages.as_mut().map_err(|error| error.clone());
            match ready.and_then(|pages| counts.step(pages).map_err(engine)) {
                Ok(None) => counting.push_back((counts, answer)),
                Ok(Some(counted)) => answer(Ok(counted)),
                Err(error) => answer(Err(error)),
            }
        }
        let question = match counting.is_empty() {
            true => questions.recv().map_err(|_| TryRecvError::Disconnected),
            false => questions.try_recv(),
        };
        let question = match question {
            Ok(question) => question,
            Err(TryRecvError::Empty) => continue,
            Err(TryRecvError::Disconnected) => return,
        };
        let ready = pages.as_mut().map_err(|error| error.clone());
        let engine = |error: rusqlite::Error| Error::engine(&shared.file, &error);
        match question {
            Question::Mail { user, after, limit, answer } => {
                let page = ready.and_then(|p| p.mail(user, after, limit).map_err(engine));
                count(page.as_ref().map_or(0, |page| page.damaged));
                answer(page);
            }
            Question::History { of, before, limit, answer } => {
                let page = ready.and_then(|p| p.history(of, before, limit).map_err(engine));
                count(page.as_ref().map_or(0, |page| page.damaged));
                answer(page);
            }
            Question::Places { of, before, limit, answer } => {
                let places = ready.and_then(|p| p.places(of, before, limit).map_err(engine));
                answer(places.map(|(places, damaged)| {
                    count(damaged);
                    places
                }));
            }
            Question::Messages { of, at, answer } => {
                answer(ready.and_then(|p| p.messages(of, &at).map_err(engine)));
            }
            Question::Message { sequence, answer } => {
                answer(ready.and_then(|p| p.message(sequence).map_err(engine)));
            }
            Question::Counts { user, chats, answer } => {
                counting.push_back((Counting::new(user, chats), answer));
            }
            Question::Image { sequence, answer } => {
                let image = ready.and_then(|p| p.images.image(sequence).map_err(engine));
                answer(image.map(|image| {
                    count(u32::from(image.is_err()));
                    image.unwrap_or(None)
                }));
            }
            Question::Hashes { after, answer } => {
                answer(ready.and_then(|p| p.images.hashes(after).map_err(engine)));
            }
            Question::Password { user, answer } => {
                let found = ready.and_then(|p| p.password(user).map_err(engine));
                let found = match found {
                    Ok(Some(Err(()))) => {
                        count(1);
                        let what = format!("the password of user {user}");
                        Err(Error::Damaged { file: shared.file.clone(), what })
                    }
                    Ok(Some(Ok(hash))) => Ok(Some(hash)),
                    Ok(None) => Ok(None),
                    Err(error) => Err(error),
                };
                answer(found);
            }
            Question::Close => return,
        }
    }
}
