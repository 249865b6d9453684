//! What was sent, promised and received, and whether that is right.

use std::collections::{BTreeMap, HashMap, HashSet};

pub const SENDERS: [&str; 3] = ["d0", "d1", "d2"];
pub const RECIPIENTS: [&str; 3] = ["r0", "r1", "r2"];
pub const SUBSCRIBERS: [&str; 2] = ["t0", "t1"];
/// Of `queues` and `lanes`.
pub const OTHERS: [&str; 2] = ["q0", "l0"];
/// Members of the group, which is the first one.
pub const MEMBERS: [&str; 4] = ["t0", "t1", "q0", "l0"];
pub const GROUP: u32 = 1;

/// A message: who sent it, and its number among those of that sender.
pub type Id = (&'static str, u32);

/// One copy that came.
#[derive(Clone, Copy, Debug)]
pub struct Came {
    pub id: Id,
    /// Which life of the server.
    pub life: u32,
    /// Which connection of the recipient's.
    pub connection: u32,
}

/// What was sent, promised and received.
#[derive(Default)]
pub struct Ledger {
    /// To whom, in which life of the server, and whether to a group.
    pub sent: BTreeMap<Id, (Vec<&'static str>, u32, bool)>,
    pub acknowledged: HashSet<Id>,
    /// How many were, with those that have come.
    pub promised: usize,
    pub got: HashSet<(Id, &'static str)>,
    /// By recipient, in order.
    pub came: BTreeMap<&'static str, Vec<Came>>,
    pub refused: u32,
    pub life: u32,
}

impl Ledger {
    pub fn text((sender, number): Id) -> String {
        format!("{sender}-{number}")
    }

    pub fn id(text: &str) -> Option<Id> {
        let (sender, number) = text.split_once('-')?;
        let sender = SENDERS.iter().chain(&MEMBERS).find(|name| **name == sender)?;
        Some((*sender, number.parse().ok()?))
    }

    pub fn came(&mut self, to: &'static str, connection: u32, text: &str) {
        let id = Ledger::id(text).filter(|id| self.sent.contains_key(id));
        let id = id.unwrap_or_else(|| panic!("{to} got {text:?}, which nobody sent"));
        assert!(self.sent[&id].0.contains(&to), "{to} got {text}, which was for others");
        self.got.insert((id, to));
        self.came.entry(to).or_default().push(Came { id, life: self.life, connection });
    }

    pub fn missing(&self) -> Vec<(Id, &'static str)> {
        let mut missing = Vec::new();
        for id in &self.acknowledged {
            let to = self.sent[id].0.iter().filter(|to| !self.got.contains(&(*id, *to)));
            missing.extend(to.map(|to| (*id, *to)));
        }
        missing.sort_unstable();
        missing
    }

    /// All that was acknowledged has come.
    pub fn settled(&mut self) {
        self.promised += self.acknowledged.len();
        self.acknowledged.clear();
    }

    /// Order and doubles. Returns how many came twice.
    pub fn check(&self) -> usize {
        let mut doubled = 0;
        for (to, came) in &self.came {
            let mut first: HashMap<Id, Came> = HashMap::new();
            let mut newest: HashMap<(&str, bool), u32> = HashMap::new();
            for copy in came {
                let (sender, number) = copy.id;
                // `topics` gives direct messages a share of the queue that is their own.
                let group = self.sent[&copy.id].2 && to.starts_with('t');
                if let Some(before) = first.get(&copy.id) {
                    doubled += 1;
                    let sent = self.sent[&copy.id].1;
                    let may = match to.starts_with('r') {
                        true => before.connection < copy.connection,
                        false => sent < copy.life,
                    };
                    assert!(may, "{to} got one twice: {before:?}, {copy:?}");
                    continue;
                }
                first.insert(copy.id, *copy);
                let newest = newest.entry((sender, group)).or_default();
                assert!(*newest < number, "{to} got {copy:?} after {newest}");
                *newest = number;
            }
        }
        doubled
    }
}
