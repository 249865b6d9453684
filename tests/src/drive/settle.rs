//! How it all ends.

use centrala_core::dialect::{Dialect, direct};
use centrala_core::exchange::Link;
use centrala_core::request::Target;

use super::acts::LOTS;
use super::{Life, Op, model, shelf};

impl Life<'_, '_> {
    /// Everybody reads all there is, and leaves: then nothing is left anywhere.
    pub(super) fn settle(&mut self) {
        self.world.shelf.full = false;
        self.world.desk.gone.clear();
        for token in self.world.model.questions() {
            self.verify(token, false);
        }
        // Whoever is logging in is, or is not.
        self.wait(1_100, false);
        let links = self.world.links.clone();
        for link in &links {
            if self.world.model.clients.contains_key(link) {
                self.make_room(*link, LOTS);
            }
        }
        for client in self.world.model.clients.values() {
            assert_eq!(client.lists, 0, "a list was not ended");
            assert!(client.due.is_empty(), "a list of type {:?} never came", client.due);
        }
        for link in links {
            self.read_all(link);
        }
        // Whoever is away comes back for its mail.
        let users: Vec<u32> = self.exchange.users().map(|user| user.number).collect();
        for user in users {
            for link in self.world.links.clone() {
                self.disconnect(link, 0, false);
            }
            self.exchange.set_password(user, false).expect("a user");
            self.world.model.passwords.insert(user, false);
            self.step(Op::Connect { room: 0 });
            let link = *self.world.links.last().expect("the link that was just opened");
            let me = self.exchange.find_user(Target::User(user)).expect("a user");
            let src = direct::name_field(me.name, user, false);
            self.write(link, direct::RESPONSE, 0, &src, &[0; 8], b"");
            self.feed(link, usize::MAX);
            assert_eq!(self.client(link).user, user);
            self.read_all(link);
        }
        for link in self.world.links.clone() {
            self.disconnect(link, 0, false);
        }
        self.wait(70_000, false);
        let left = self.exchange.usage();
        let endpoints = self.world.desk.endpoints.len() as u32;
        assert_eq!((left.sessions, left.messages), (endpoints, 0));
        assert_eq!((left.entries, left.questions), (0, 0));
        assert_eq!(self.exchange.poll_timeout(), None);
        let shelf = &self.world.shelf;
        let mut left = shelf.mail.iter().filter(|(key, _)| !shelf.unsettled.contains(key));
        assert_eq!(left.next(), None, "in the store, though all is settled");
        for (serial, message) in &self.world.model.messages {
            for (user, copy) in &message.copies {
                // What could not be settled comes again after a restart.
                let kept = |((_, of), kept): (&(u64, u32), &shelf::Kept)| {
                    of == user && model::serial(&kept.text) == Some(*serial)
                };
                let has = copy.taken
                    || copy.lost
                    || !message.promised
                    || self.world.shelf.mail.iter().any(kept);
                assert!(has, "m{serial} never arrived: {message:?}");
            }
        }
    }

    /// A client answers for all it was sent, and its transport has taken all mail.
    pub(super) fn read_all(&mut self, link: Link) {
        let direct = self.of(Dialect::Direct);
        if let Some(at) = direct.iter().position(|of| *of == link) {
            while self
                .world
                .model
                .clients
                .get(&link)
                .is_some_and(|client| !client.unanswered.is_empty())
            {
                let before = self.client(link).unanswered.len();
                self.answer(at as u8, 0);
                let after = self.world.model.clients.get(&link).map(|c| c.unanswered.len());
                if after == Some(before) {
                    // Its sender is gone.
                    self.client(link).unanswered.remove(0);
                }
            }
        }
        let mut again = true;
        while again {
            let marks = self.world.model.clients.get(&link).map_or(0, |c| c.outstanding.len());
            let at = self.world.links.iter().position(|of| *of == link);
            if let (Some(at), true) = (at, marks != 0) {
                self.taken(at as u8, (marks - 1) as u8);
            }
            let pages = self.world.desk.pages.len();
            (0..pages).for_each(|_| self.page(0, true, false));
            again = marks + pages != 0;
            if !again {
                // There may be room now for more.
                self.wait(100, false);
                again = !self.world.desk.pages.is_empty();
            }
        }
    }
}
