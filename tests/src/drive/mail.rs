//! Mail that only the store holds, read back page by page.

use centrala_core::host::Mail;

use super::Life;
use super::host::Page;
use super::shelf::Kept;

impl Life<'_, '_> {
    /// Answers a question for a page: as the store was when it was asked, or as it is now. An empty
    /// one that has more behind it is allowed too.
    pub(super) fn page(&mut self, which: u8, late: bool, empty: bool) {
        let pages = &mut self.world.desk.pages;
        if pages.is_empty() {
            return;
        }
        let Page { token, user, after, limit, then } =
            pages.remove(usize::from(which) % pages.len());
        let then = then.filter(|_| !late).unwrap_or_else(|| self.world.shelf.mail_of(user));
        let mut mail: Vec<&(u64, Kept)> =
            then.iter().filter(|(sequence, kept)| (kept.priority, *sequence) > after).collect();
        // What could not be settled would come twice, which is allowed, and says nothing.
        let unsettled = &self.world.shelf.unsettled;
        mail.retain(|(sequence, _)| !unsettled.contains(&(*sequence, user)));
        mail.sort_by_key(|(sequence, kept)| (kept.priority, *sequence));
        let limit = if empty { 0 } else { limit as usize };
        let more = mail.len() > limit;
        mail.truncate(limit);
        let rows: Vec<Mail<'_>> =
            mail.into_iter().map(|(sequence, kept)| kept.record(user, *sequence)).collect();
        self.call(|exchange, io| exchange.mail_page(token, rows.iter().copied(), more, io));
    }
}
