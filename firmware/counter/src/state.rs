//! What the client does, and when.

use centrala_core::dialect::native::{Event, How, Message, Refusal, Request, To, VERSION, Who};

use crate::command::{self, Command, NoCommand, Text};
use crate::output::{Output, RESERVE};
use crate::{ANSWER, LATER, Loss, Note, PADDING, PATIENCE, PAUSE, QUIET, RATE, SOON, Settings};

/// How many obeyed messages are remembered.
const REMEMBERED: usize = 4;
/// The priority of what the client sends.
const PRIORITY: u8 = 3;

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// No session: the next hello goes out at that time.
    Apart(u64),
    /// A hello is out.
    Greeting,
    /// A session.
    Within,
}

/// What a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Hello,
    Create,
    Join,
    Publish,
    Ping,
}

/// The question that waits for its answer: there is one at a time.
#[derive(Clone, Copy, Debug)]
struct Question {
    id: u32,
    about: About,
    since: u64,
}

#[derive(Debug)]
pub(crate) struct State<'a> {
    settings: Settings<'a>,
    pub(crate) count: u32,
    pub(crate) led: bool,
    pub(crate) rate: u32,
    phase: Phase,
    question: Option<Question>,
    id: u32,
    /// Hellos since the last session.
    hellos: usize,
    /// The last of them that was answered was refused.
    refused_before: bool,
    /// When the last one went out.
    greeted: Option<u64>,
    /// When the last event came.
    heard: u64,
    /// Something came that is no event.
    doubt: bool,
    /// Bytes of the longest text.
    message_length: u32,
    /// The mark of the last mail of this session.
    mark: u32,
    /// The topic; 0: not there yet.
    group: u32,
    /// When the topic is asked for, or the next number published.
    due: u64,
    /// Number and time of the messages that were obeyed last.
    obeyed: [(u64, u64); REMEMBERED],
}

impl<'a> State<'a> {
    pub(crate) const fn new(settings: Settings<'a>) -> State<'a> {
        State {
            settings,
            count: 0,
            led: false,
            rate: RATE,
            phase: Phase::Apart(0),
            question: None,
            id: 0,
            hellos: 0,
            refused_before: false,
            greeted: None,
            heard: 0,
            doubt: false,
            message_length: 0,
            mark: 0,
            group: 0,
            due: 0,
            obeyed: [(0, 0); REMEMBERED],
        }
    }

    /// Bytes of the longest text, in a session.
    pub(crate) fn message_length(&self) -> Option<u32> {
        matches!(self.phase, Phase::Within).then_some(self.message_length)
    }

    /// When the answer to the question is overdue.
    fn deadline(&self) -> Option<u64> {
        let Question { since, .. } = self.question?;
        let life = since.max(self.heard).saturating_add(ANSWER);
        Some(life.min(since.saturating_add(PATIENCE)))
    }

    /// Whether an answer is overdue.
    pub(crate) fn overdue(&self, now: u64) -> Option<Loss> {
        (self.deadline()? <= now).then_some(Loss::NoAnswer)
    }

    pub(crate) fn poll_timeout(&self, output: &Output) -> u64 {
        match (self.phase, self.deadline()) {
            (Phase::Apart(at), _) => at,
            (_, Some(deadline)) => deadline,
            // As soon as something has left.
            _ if output.free() < RESERVE => u64::MAX,
            _ if self.doubt => 0,
            _ => self.due.min(self.heard.saturating_add(QUIET)),
        }
    }

    /// Bytes have left. A hello has a long way before it.
    pub(crate) fn sent(&mut self, now: u64) {
        if let (Phase::Greeting, Some(question)) = (self.phase, &mut self.question) {
            question.since = now;
        }
    }

    /// Ends the session. The next hello goes out as soon as it may.
    pub(crate) fn part(&mut self, now: u64) {
        let earliest = self.greeted.map_or(0, |greeted| greeted.saturating_add(PAUSE));
        self.phase = Phase::Apart(earliest.max(now));
        self.question = None;
    }

    /// Asks for what is due; the id if that is a hello.
    pub(crate) fn act(
        &mut self,
        now: u64,
        output: &mut Output,
        note: &mut dyn FnMut(Note),
    ) -> Option<u32> {
        let topic = self.settings.topic.as_bytes();
        match self.phase {
            Phase::Apart(at) if at <= now => {
                note(Note::Hello);
                output.clear();
                output.step(PADDING.get(self.hellos % PADDING.len()).copied().unwrap_or(0));
                self.hellos = self.hellos.wrapping_add(1);
                self.greeted = Some(now);
                self.phase = Phase::Greeting;
                let user = Who::Name(self.settings.name.as_bytes());
                let password = self.settings.password.as_bytes();
                let hello = Request::Hello { version: VERSION, user, password };
                return self.ask(About::Hello, &hello, now, output);
            }
            Phase::Within if self.question.is_none() && output.free() >= RESERVE => {
                if self.due <= now && self.group == 0 {
                    self.ask(About::Create, &Request::CreateGroup { name: topic }, now, output);
                } else if self.due <= now {
                    let mut text = Text::new();
                    text.number(self.count.wrapping_add(1));
                    let to = To::Group(Who::Number(self.group));
                    let text = text.cut(self.message_length as usize);
                    let send = Request::Send { to, priority: PRIORITY, receipt: false, text };
                    self.ask(About::Publish, &send, now, output);
                } else if self.doubt || self.heard.saturating_add(QUIET) <= now {
                    self.ask(About::Ping, &Request::Ping, now, output);
                }
            }
            _ => {}
        }
        None
    }

    fn ask(
        &mut self,
        about: About,
        request: &Request<'_>,
        now: u64,
        output: &mut Output,
    ) -> Option<u32> {
        // 0 would not be answered.
        self.id = self.id.wrapping_add(1).max(1);
        output.request(self.id, request);
        // What comes from now on settles what was in doubt.
        self.doubt = false;
        self.question = Some(Question { id: self.id, about, since: now });
        Some(self.id)
    }

    /// Something came that is no event: its answer tells whether the line is in step.
    pub(crate) fn doubt(&mut self, note: &mut dyn FnMut(Note)) {
        note(Note::Unknown);
        self.doubt = true;
    }

    /// Handles an event.
    pub(crate) fn event(
        &mut self,
        event: &Event<'_>,
        now: u64,
        output: &mut Output,
        note: &mut dyn FnMut(Note),
    ) -> Result<(), Loss> {
        self.heard = now;
        let answered = |id| self.question.filter(|question| question.id == id);
        match *event {
            Event::Welcome { id, user, message_length, .. } => {
                if answered(id).is_some_and(|question| question.about == About::Hello) {
                    if user.name != self.settings.name.as_bytes() {
                        return Err(Loss::Noise);
                    }
                    note(Note::Welcome { user: user.number });
                    self.phase = Phase::Within;
                    (self.question, self.hellos, self.message_length) = (None, 0, message_length);
                    (self.mark, self.group, self.due) = (0, 0, now);
                    self.refused_before = false;
                }
                Ok(())
            }
            Event::Done { id, how: How::Done | How::Received | How::Stored, number } => {
                if let Some(question) = answered(id) {
                    self.question = None;
                    self.done(question.about, number, now, output, note);
                }
                Ok(())
            }
            Event::Refused { id, why } => {
                let question = answered(id);
                // A topic that exists is as good as one that was made.
                if why != Refusal::Exists {
                    note(Note::Refused(why));
                }
                match question {
                    // A hello of ours is none of both: noise made it so.
                    Some(Question { about: About::Hello, .. })
                        if matches!(why, Refusal::Malformed | Refusal::NotLoggedIn) =>
                    {
                        Err(Loss::Noise)
                    }
                    Some(Question { about: About::Hello, .. }) => {
                        let soon = why == Refusal::InUse || !self.refused_before;
                        let pause = if soon { SOON } else { LATER };
                        self.refused_before = true;
                        self.part(now);
                        self.phase = Phase::Apart(now.saturating_add(pause));
                        // The line is in step.
                        self.hellos = 0;
                        Ok(())
                    }
                    _ if why == Refusal::NotLoggedIn => Err(Loss::NotLoggedIn),
                    Some(question) => {
                        self.question = None;
                        self.refused(question.about, why, now, output);
                        Ok(())
                    }
                    None => Ok(()),
                }
            }
            Event::Message(ref message) => {
                let sent = Command::parse(message.text);
                let sent = if message.image { Err(NoCommand::Unknown) } else { sent };
                self.message(message, sent, output, now, note)
            }
            // Of lists and histories, which it does not ask for; or its membership's end, which it
            // does not need to publish.
            Event::Ended { .. } | Event::Row { .. } | Event::Said { .. } | Event::Count { .. } => {
                Ok(())
            }
        }
    }

    fn done(
        &mut self,
        about: About,
        number: u32,
        now: u64,
        output: &mut Output,
        note: &mut dyn FnMut(Note),
    ) {
        match about {
            About::Create => self.join(now, output),
            About::Join => {
                note(Note::Joined { group: number });
                (self.group, self.due) = (number, now);
            }
            About::Publish => self.published(now),
            About::Hello | About::Ping => {}
        }
    }

    fn refused(&mut self, about: About, why: Refusal, now: u64, output: &mut Output) {
        match (about, why) {
            // It exists, most likely; if not, the next answer says so.
            (About::Create, _) => self.join(now, output),
            (About::Join, _) => self.due = now.saturating_add(LATER),
            // A copy was not kept: the others have theirs.
            (About::Publish, Refusal::Full { .. }) => self.published(now),
            (About::Publish, _) => (self.group, self.due) = (0, now.saturating_add(SOON)),
            (About::Hello | About::Ping, _) => {}
        }
    }

    fn join(&mut self, now: u64, output: &mut Output) {
        let group = Who::Name(self.settings.topic.as_bytes());
        self.ask(About::Join, &Request::Join { group, count: None }, now, output);
    }

    fn published(&mut self, now: u64) {
        self.count = self.count.wrapping_add(1);
        let next = self.due.saturating_add(self.rate.into());
        // What was missed is not made up for.
        self.due = if next > now { next } else { now.saturating_add(self.rate.into()) };
    }

    /// Handles a message whose text does not fit into memory.
    pub(crate) fn too_long(
        &mut self,
        message: &Message<'_>,
        now: u64,
        output: &mut Output,
        note: &mut dyn FnMut(Note),
    ) -> Result<(), Loss> {
        self.heard = now;
        self.message(message, Err(NoCommand::Unknown), output, now, note)
    }

    fn message(
        &mut self,
        message: &Message<'_>,
        sent: Result<Command, NoCommand>,
        output: &mut Output,
        now: u64,
        note: &mut dyn FnMut(Note),
    ) -> Result<(), Loss> {
        if message.mark > self.mark.saturating_add(1) {
            return Err(Loss::Gap);
        }
        let identity = (message.number, message.time);
        let ignored = sent == Err(NoCommand::Unknown) && message.group.is_some();
        if !ignored && !command::is_answer(message.text) {
            if !self.obeyed.contains(&identity) {
                self.obeyed.rotate_right(1);
                if let Some(first) = self.obeyed.first_mut() {
                    *first = identity;
                }
                self.obey(sent, now, note);
            }
            let text = command::answer(sent, self.count);
            let (to, text) = (message.from.number, text.cut(self.message_length as usize));
            if to != 0 {
                let to = To::User(Who::Number(to));
                output.request(0, &Request::Send { to, priority: PRIORITY, receipt: false, text });
            }
        }
        if message.mark != 0 {
            self.mark = self.mark.max(message.mark);
            output.request(0, &Request::Ack { mark: message.mark });
        }
        Ok(())
    }

    fn obey(&mut self, sent: Result<Command, NoCommand>, now: u64, note: &mut dyn FnMut(Note)) {
        match sent {
            Ok(Command::Led(on)) => self.led = on,
            Ok(Command::Rate(rate)) => {
                self.rate = rate;
                if self.group != 0 {
                    self.due = now.saturating_add(rate.into());
                }
            }
            Ok(Command::Count) => {}
            Err(_) => return note(Note::Disobeyed),
        }
        if let Ok(command) = sent {
            note(Note::Obeyed(command));
        }
    }
}
