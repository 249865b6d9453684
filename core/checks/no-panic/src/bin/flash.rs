//! The store in flash has no panicking branch, whatever the flash holds or does.
#![no_std]
#![no_main]

use centrala_core::host::{Mail, Record, Store};
use centrala_flash::{FlashStore, Layout, Place};
use core::hint::black_box;
use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use panic_never as _;

/// Of which the linker knows nothing.
struct Flash;

impl ErrorType for Flash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 4;
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        black_box((offset, bytes));
        black_box(Ok(()))
    }
    fn capacity(&self) -> usize {
        black_box(0)
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        black_box((from, to));
        black_box(Ok(()))
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        black_box((offset, bytes));
        black_box(Ok(()))
    }
}

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    let mut places = [Place::EMPTY; 128];
    let buffer = [0u8; 300];
    let layout = black_box(Layout::new(black_box(4096), black_box(128)));
    loop {
        let Ok(mut store) = FlashStore::open(Flash, layout, black_box(&mut places)) else {
            continue;
        };
        let bytes = black_box(&buffer[..]).get(..black_box(0)).unwrap_or(&[]);
        let (number, sequence) = (black_box(0), black_box(0));
        let mail = Mail {
            user: number,
            sequence,
            id: number,
            from: number,
            group: number,
            about: number,
            image: black_box(false),
            priority: black_box(3),
            last: black_box(false),
            time: sequence,
            text: bytes,
        };
        for record in [
            Record::User { number, name: bytes, secret: None },
            Record::NoUser { number },
            Record::Group { number, name: bytes, owner: number },
            Record::NoGroup { number },
            Record::Member { user: number, group: number, left: black_box(0) },
            Record::Chat { group: number, user: number },
            Record::NoMember { user: number, group: number },
            Record::Mail(mail),
            Record::Settled { user: number, sequence },
        ] {
            let _ = black_box(store.write(black_box(record)));
        }
        let mut text = [0; 128];
        store.restore(black_box(&mut text), |record| {
            black_box(record);
        });
        black_box(store.usage());
    }
}
