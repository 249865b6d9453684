//! What the store kept, into the exchange: at the server's start, and for the commands that change
//! users and groups while it is stopped.

use centrala_core::exchange::{Exchange, Link, Refused, Token};
use centrala_core::host::{Ask, Outbox, Record, Room};
use centrala_store::Restored;

use crate::server::StartError;

/// Restores it. Mail stays in the store: it is read when its user logs in.
///
/// # Errors
/// It is more than the configuration has room for: the line names the limit.
pub fn restore(exchange: &mut Exchange<'_>, restored: &Restored) -> Result<(), StartError> {
    if let Some(sequence) = restored.lowest_mail {
        exchange.restore_oldest(sequence);
    }
    for record in restored.records() {
        match (exchange.restore(record), record) {
            (Ok(()), _) => {}
            (Err(Refused::Full(_)), Record::User { number, .. }) => {
                return Err(too_few("limits.users", exchange.capacity().users, "user", number));
            }
            (Err(Refused::Full(_)), Record::Group { number, .. }) => {
                return Err(too_few("limits.topics", exchange.capacity().groups, "group", number));
            }
            (Err(Refused::Full(_)), Record::Member { .. }) => {
                let most = exchange.capacity().memberships;
                let kept = restored.memberships.len();
                let what = format!("limits.memberships: {most} is less than the {kept} stored");
                return Err(StartError(what));
            }
            (Err(Refused::Full(_)), Record::Chat { .. }) => {
                let (most, kept) = (exchange.capacity().chats, restored.chats.len());
                let what = format!("limits.chats: {most} is less than the {kept} stored");
                return Err(StartError(what));
            }
            // Of a user or group whose own row is damaged.
            (Err(error), record) => tracing::error!(?record, %error, "left out of what was stored"),
        }
    }
    for user in restored.users.iter().filter(|user| user.password.is_some()) {
        // One that was left out above has no password either.
        let _ = exchange.set_password(user.number, true);
    }
    for waiting in &restored.mail {
        exchange.restore_tail(waiting.user);
    }
    Ok(())
}

fn too_few(limit: &str, most: u32, what: &str, number: u32) -> StartError {
    StartError(format!("{limit}: room up to number {most}, and there is {what} {number} stored"))
}

/// An outbox where there are no links.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Outbox for Nobody {
    fn open(&mut self, _link: Link, _endpoint: Link, _address: i64) -> Option<Room> {
        None
    }
    fn deliver(&mut self, _to: &[Link], _frame: &[u8]) {}
    fn mail(&mut self, _to: Link, _frame: &[u8], _mark: u32) {}
    fn reply(&mut self, _to: Link, _frame: &[u8]) {}
    fn promise(&mut self, _to: Link, _granted: &[u8], _refused: &[u8]) {}
    fn ask(&mut self, _token: Token, _ask: Ask<'_>) {}
    fn turn_away(&mut self, _endpoint: Link, _address: i64, _frame: &[u8]) {}
    fn take_back(&mut self, _endpoint: Link, _lane: i64, _each: &mut dyn FnMut(&[u8]) -> bool) {}
    fn unread(&mut self, _link: Link, _each: &mut dyn FnMut(&[u8])) {}
    fn gone(&mut self, _link: Link) -> bool {
        true
    }
    fn close(&mut self, _link: Link) {}
    fn shut_down(&mut self) {}
}
