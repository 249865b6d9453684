//! Questions of the exchange, and their answers.
//!
//! A question is asked when all that was written before it is committed, so that a page of mail
//! holds it. Answers come from other threads: they wake the loop, which gives them to the exchange.
//! Histories and counts are in `pages.rs`.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};

use centrala_core::exchange::{Link, Token};
use centrala_core::host::Reply;
use centrala_store::{Error, MailPage};

use super::pages::Found;
use super::{Server, lend};
use crate::outbox::{MailAsked, Port, Question};
use crate::passwords::Pool;
use crate::poll::Waker;

/// Milliseconds after which mail that could not be read is asked for again.
const AGAIN: u64 = 500;

/// What another thread found.
#[derive(Debug)]
enum Answer {
    /// Whether a password is right.
    Verified(Token, bool),
    /// What to keep of a password.
    Prepared(Token, Option<String>),
    /// Mail.
    Page(MailAsked, Result<MailPage, Error>),
    /// Of a history, counts, or one message.
    Read(Found),
}

/// Questions on their way.
#[derive(Debug)]
pub(super) struct Questions {
    pool: Pool,
    answered: Sender<Answer>,
    answers: Receiver<Answer>,
    waker: Waker,
    /// What waits for the commit of that number.
    waiting: VecDeque<(u64, Question)>,
    /// Mail that could not be read, and when it is asked for again.
    again: Vec<(u64, MailAsked)>,
}

/// Answers a question from any thread.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    answered: Sender<Answer>,
    waker: Waker,
}

impl Reach {
    /// What was read of a history.
    pub(super) fn found(&self, found: Found) {
        self.answer(Answer::Read(found));
    }

    fn answer(&self, answer: Answer) {
        // Once the loop has ended nobody waits for it.
        let _ = self.answered.send(answer);
        self.waker.wake();
    }
}

impl Questions {
    /// At most so many at once.
    pub(super) fn new(most: u32, waker: Waker) -> std::io::Result<Questions> {
        let (answered, answers) = channel();
        let pool = Pool::new(most as usize)?;
        let waiting = VecDeque::new();
        Ok(Questions { pool, answered, answers, waker, waiting, again: Vec::new() })
    }

    pub(super) fn reach(&self) -> Reach {
        Reach { answered: self.answered.clone(), waker: self.waker.clone() }
    }

    /// When something is to be asked again.
    pub(super) fn due(&self) -> Option<u64> {
        self.again.iter().map(|(at, _)| *at).min()
    }
}

impl Server<'_> {
    /// Asks what may be asked by now.
    pub(super) fn ask_questions(&mut self) {
        let now = self.out.now;
        for (_, asked) in self.questions.again.extract_if(.., |(at, _)| *at <= now) {
            self.out.asks.push(Question::Mail(asked));
        }
        let commit = self.commit_so_far();
        self.questions.waiting.extend(self.out.asks.drain(..).map(|question| (commit, question)));
        while let Some((_, question)) =
            self.questions.waiting.pop_front_if(|(commit, _)| *commit <= self.commits.over)
        {
            match question {
                Question::Verify { token, user, password } => self.verify(token, user, password),
                Question::Prepare { token, password } => {
                    let (reach, refuse) = (self.questions.reach(), self.questions.reach());
                    let done = move |hash| reach.answer(Answer::Prepared(token, hash));
                    if self.questions.pool.hash(password, done).is_err() {
                        refuse.answer(Answer::Prepared(token, None));
                    }
                }
                Question::Mail(asked) => self.read_mail(asked),
                Question::History { token, user, chat, before, limit } => {
                    self.read_history(token, user, chat, before, limit);
                }
                Question::Message { token, sequence } => self.read_message(token, sequence),
                Question::Chats { token, user } => self.read_counts(token, user),
            }
        }
    }

    /// The hash is read even where there is no user, so that it takes as long.
    fn verify(&mut self, token: Token, user: Option<u32>, password: Box<[u8]>) {
        let (pool, reach) = (self.questions.pool.clone(), self.questions.reach());
        let verify = move |kept: Result<Option<String>, Error>| {
            let kept = kept.unwrap_or_else(|error| {
                tracing::error!(%error, "a password cannot be read: refused a log-in");
                None
            });
            let done = reach.clone();
            let done = move |right| done.answer(Answer::Verified(token, right));
            if pool.verify(password, kept, done).is_err() {
                reach.answer(Answer::Verified(token, false));
            }
        };
        self.store.password(user.unwrap_or(0), Box::new(verify));
    }

    fn read_mail(&mut self, asked: MailAsked) {
        let reach = self.questions.reach();
        let MailAsked { user, after, limit, .. } = asked;
        let answer = move |page| reach.answer(Answer::Page(asked, page));
        self.store.mail_page(user, after, limit, Box::new(answer));
    }

    /// Gives the exchange the answers that have come.
    pub(super) fn answer_questions(&mut self) {
        while let Ok(answer) = self.questions.answers.try_recv() {
            match answer {
                Answer::Verified(token, right) => self.tell_exchange(token, Reply::Verified(right)),
                Answer::Prepared(token, None) => self.tell_exchange(token, Reply::Prepared(false)),
                Answer::Prepared(token, Some(hash)) => {
                    // The user is made while it answers, or not at all.
                    self.store.hold_secret(token, hash);
                    self.tell_exchange(token, Reply::Prepared(true));
                    self.store.drop_secret(token);
                }
                Answer::Page(asked, Ok(page)) => self.page(asked, &page),
                Answer::Page(asked, Err(error)) => {
                    tracing::error!(%error, user = asked.user, "mail cannot be read");
                    self.questions.again.push((self.out.now + AGAIN, asked));
                }
                Answer::Read(found) => self.tell_found(found),
            }
        }
    }

    fn tell_exchange(&mut self, token: Token, reply: Reply) {
        self.out.queues.sender = self.out.queues.answered(token);
        let answered = self.exchange.answer_question(token, reply, lend!(self));
        self.out.queues.sender = 0;
        self.out.rooms.answered(token);
        match answered {
            Ok(link) => self.feed_link(link),
            // It may be one more of another link's by now.
            Err(_) => self.feed_sockets(),
        }
    }

    /// Gives the exchange what it did not take from a link while a question was open.
    pub(super) fn feed_link(&mut self, link: Link) {
        match self.out.seats.get(link).map(|seat| seat.port) {
            Some(Port::Tcp(place)) => self.feed(place),
            Some(Port::Rooms) => self.feed_sockets(),
            // Each of a queue's messages is taken, or refused.
            Some(Port::Client(_) | Port::Endpoint(_) | Port::Lane(..)) | None => {}
        }
    }

    fn page(&mut self, asked: MailAsked, page: &MailPage) {
        match page.next {
            // All of it is damaged: what is behind it is not.
            Some(next) if page.mail.is_empty() => {
                self.read_mail(MailAsked { after: next, ..asked });
            }
            next => {
                let mail = page.mail.iter().map(|mail| mail.record());
                self.exchange.mail_page(asked.token, mail, next.is_some(), lend!(self));
            }
        }
    }
}
