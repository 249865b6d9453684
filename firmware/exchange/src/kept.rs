//! What outlasts the power: the store in flash.
//!
//! What the flash holds is given to the exchange before the first byte is read; then each record is
//! in it before its answer leaves. When it is full, or fails to write, that is the answer (`507`).
//! Nothing is lost in silence: what is damaged is counted in the log, and the rest is given back.
//! Flash that holds something else than a store, or one of another layout, is left as it is: the log
//! says so, and the exchange keeps nothing, which is `507` for whoever is new. To begin anew, erase it.

use centrala_board::first;
use centrala_board::flash::{Flash, SECTOR};
use centrala_core::exchange::Exchange;
use centrala_core::host::{NoRoom, Record, Store};
use centrala_flash::{FlashStore, Layout, Place, Usage};
use static_cell::{ConstStaticCell, StaticCell};

use crate::{ENTRIES, GROUPS, MEMBERSHIPS, Tables, USERS};

/// A place for each row that is kept: users, groups, memberships, messages.
const PLACES: usize = USERS + GROUPS + MEMBERSHIPS + ENTRIES;

static INDEX: ConstStaticCell<[Place; PLACES]> = ConstStaticCell::new([Place::EMPTY; PLACES]);
static STORE: StaticCell<Kept> = StaticCell::new();

/// The store, if the flash holds one.
pub(crate) struct Kept(Option<FlashStore<'static, Flash>>);

impl Store for Kept {
    fn write(&mut self, record: Record<'_>) -> Result<(), NoRoom> {
        let store = self.0.as_mut().ok_or(NoRoom)?;
        let written = store.write(record);
        if written.is_err() {
            defmt::warn!("flash: a record was refused: {}", store.usage());
        }
        written
    }
}

/// Opens the flash, and gives the exchange what is kept there.
#[inline(never)]
pub(crate) fn open(exchange: &mut Exchange<'static>) -> &'static mut Kept {
    // SAFETY: this runs once, as it takes the index, and nothing else uses the PSRAM.
    let (index, chip) = (first(INDEX.try_take()), unsafe { Flash::new() });
    let kept = first(STORE.try_init_with(|| {
        let store =
            FlashStore::open(chip, Layout::new(SECTOR as u32, Tables::MESSAGE_LENGTH), index);
        Kept(store.inspect_err(|error| defmt::error!("flash: not touched: {}", error)).ok())
    }));
    if let Some(store) = &mut kept.0 {
        restore(store, exchange);
    }
    kept
}

#[inline(never)]
fn restore(store: &mut FlashStore<'static, Flash>, exchange: &mut Exchange<'static>) {
    let mut text = [0; Tables::MESSAGE_LENGTH];
    let mut refused = 0u32;
    store.restore(&mut text, |record| {
        if exchange.restore(record).is_err() {
            refused = refused.saturating_add(1);
        }
    });
    let Usage { records, damaged, opened, .. } = store.usage();
    defmt::info!("flash: {=usize} records, {=u32} sectors opened", records, opened);
    if damaged != 0 || refused != 0 {
        defmt::error!("flash: {=u32} damaged, {=u32} do not fit the tables", damaged, refused);
    }
}
