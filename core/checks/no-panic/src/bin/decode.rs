//! Decoding any bytes, and writing what was decoded, has no panicking branch: if one were left, the
//! panic handler would be called and this would not link.
#![no_std]
#![no_main]

use centrala_core::dialect::native::{self, serial};
use centrala_core::dialect::{direct, lanes, queues, topics};
use centrala_core::name::Name;
use core::hint::black_box;
use panic_never as _;

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    let (buffer, mut out) = ([0u8; 1100], [0u8; 1100]);
    loop {
        let bytes = black_box(&buffer[..]).get(..black_box(0)).unwrap_or(&[]);
        let out = black_box(&mut out[..]).get_mut(..black_box(0)).unwrap_or(&mut []);
        if let direct::Look::Frame(frame, len) = direct::Frame::look(bytes) {
            black_box((len, frame.source(), frame.destination(), frame.emit(out)));
            black_box((direct::target(frame.source()), direct::target(frame.destination())));
        }
        black_box(direct::name_field(bytes, black_box(0), black_box(false)));
        if let Some(message) = topics::ClientMessage::new_checked(bytes) {
            black_box((message.text(), message.second_text(), message.emit(out)));
        }
        if let Some(message) = topics::ServerMessage::new_checked(bytes) {
            black_box((message.kind, message.emit(out)));
        }
        if let Some(message) = queues::Message::new_checked(bytes) {
            black_box((message.text, message.emit(out)));
        }
        if let Some(element) = lanes::Element::new_checked(bytes) {
            black_box((element.text, element.emit(out)));
            black_box(lanes::Order::from_second(element.second, black_box(32), black_box(16)));
        }
        if let Some((payload, len)) = native::look(bytes) {
            black_box(len);
            if let Ok((id, request)) = native::Request::decode(payload) {
                black_box(request.encode(id, out));
            }
            if let Ok(event) = native::Event::decode(payload) {
                black_box(event.encode(out));
            }
        }
        black_box(serial::encode(bytes, out));
        let mut receiver = serial::Receiver::new(out);
        for byte in bytes {
            if black_box(receiver.push(*byte)) != serial::Arrived::Nothing {
                black_box(receiver.frame());
            }
        }
        if let Ok(name) = Name::new(bytes) {
            black_box((name.is(bytes), name.as_str()));
        }
    }
}
