//! What holds after each call.

use std::collections::{BTreeMap, HashSet};

use centrala_core::dialect::Dialect;
use centrala_core::exchange::Exchange;

use super::{Message, Model, serial};
use crate::drive::host::Desk;
use crate::drive::shelf::Shelf;

impl Model {
    /// Nothing promised is missing: who is to get it has it, or the store has it.
    pub(in crate::drive) fn audit(
        &mut self,
        exchange: &Exchange<'_>,
        shelf: &Shelf,
        desk: &Desk,
        now: u64,
    ) {
        let kept: HashSet<(u32, u32)> = shelf
            .mail
            .iter()
            .filter_map(|((_, user), kept)| Some((*user, serial(&kept.text)?)))
            .collect();
        let mut missing: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (serial, message) in &mut self.messages {
            let late = message.accepted + 3_000 <= now;
            for (user, copy) in &message.copies {
                let promised = message.promised || (late && !copy.doubtful);
                if promised && !copy.taken && !copy.lost && !kept.contains(&(*user, *serial)) {
                    missing.entry(*user).or_default().push(*serial);
                }
            }
        }
        for (user, serials) in missing {
            let excused = self.lost.get(&user).copied().unwrap_or(0) as usize;
            assert!(serials.len() <= excused, "user {user} neither has nor is kept {serials:?}");
            for serial in serials {
                let message = self.messages.get_mut(&serial);
                if let Some(copy) = message.and_then(|message| message.copies.get_mut(&user)) {
                    copy.lost = true;
                }
            }
        }
        for (link, client) in &self.clients {
            let late = client.owed.iter().find(|owed| owed.since + 3_000 <= now);
            assert!(late.is_none(), "{link:?} waits for {late:?} since more than 3 s");
            let idle = client.user == 0 && client.since + 10_000 <= now;
            let half = client.user == 0 && client.since + 60_000 <= now;
            let queue = matches!(client.dialect, Dialect::Topics | Dialect::Lanes | Dialect::Rooms);
            let silent = if client.dialect == Dialect::Queues { half } else { idle && !queue };
            assert!(!silent, "{link:?} says nothing since {}", client.since);
        }
        let usage = exchange.usage();
        let unseen = self.arrivals.iter().filter(|log_in| log_in.link.is_none()).count();
        let links = self.clients.len() + unseen + desk.endpoints.len();
        assert_eq!(usage.sessions as usize, links, "sessions and the endpoints");
        let questions = self.questions().len() + desk.pages.len();
        assert_eq!(usage.questions as usize, questions, "questions");
        assert_eq!(usage.chats as usize, self.chats.len(), "private chats");
        self.audit_log_ins(now);
        for group in exchange.groups() {
            let members: Vec<u32> = exchange.members(group.number).map(|m| m.number).collect();
            let of = self.members.keys().filter(|(_, of)| *of == group.number);
            assert_eq!(members, of.map(|(user, _)| *user).collect::<Vec<_>>(), "members");
            let owner = exchange.owner_of(group.number).map_or(0, |owner| owner.number);
            assert_eq!(owner, shelf.groups[&group.number].1, "who made the group");
        }
        assert_eq!(usage.memberships as usize, self.members.len());
        let done = |message: &Message| message.promised && message.copies.values().all(|c| c.taken);
        // What everybody has for long is forgotten, so that a long run does not slow down. What
        // lies unread may still come back.
        if self.messages.len() > 500 {
            let newest = self.next;
            self.messages.retain(|serial, message| serial + 250 > newest || !done(message));
        }
    }
}
