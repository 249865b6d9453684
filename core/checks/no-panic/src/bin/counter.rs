//! Neither has the firmware's client a panicking branch, whatever its line brings.
#![no_std]
#![no_main]

use centrala_counter::{Client, Note, Settings};
use core::hint::black_box;
use panic_never as _;

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    let settings =
        Settings { name: black_box("n"), password: black_box(""), topic: black_box("t") };
    let mut client = Client::new(black_box(settings));
    let mut note = |note: Note| {
        black_box(note);
    };
    let (buffer, mut out) = ([0u8; 1100], [0u8; 64]);
    loop {
        let bytes = black_box(&buffer[..]).get(..black_box(0)).unwrap_or(&[]);
        black_box((client.space(), client.has_output(), client.poll_timeout()));
        black_box(client.receive(bytes, black_box(0), &mut note));
        client.handle_timeout(black_box(0), &mut note);
        black_box(client.transmit(black_box(&mut out), black_box(0)));
        black_box((client.count(), client.led(), client.rate(), &out));
    }
}
