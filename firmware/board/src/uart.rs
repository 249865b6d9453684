//! The board's UARTs (Arm CMSDK APB UART), driven by interrupts from both sides of a ring.
//!
//! A byte that comes while the ring is full stays in the UART's register, whose interrupt is off
//! until there is room: what comes behind it is held back by QEMU, and is lost on a wire.
//!
//! Each UART has rings of its own size, which the program lends.

use core::cell::RefCell;

use cortex_m::peripheral::NVIC;
use critical_section::Mutex;
use heapless::spsc::{Consumer, Producer, Queue};

use crate::Interrupt;

/// UARTs of the board that are used.
pub const UARTS: usize = 4;
/// Where their registers are, and the number of the interrupt of what comes in; the next number is
/// that of what goes out (AN385, sections 3.4 and 4.2).
const PLACES: [(usize, u16); UARTS] =
    [(0x4000_4000, 0), (0x4000_5000, 2), (0x4000_6000, 4), (0x4000_7000, 18)];
/// Bytes of a ring for what comes in, of which one stays free.
const RECEIVE: usize = 64;
/// 25 MHz by this is 1,562,500 baud; 16 is the least it may be.
const DIVIDER: u32 = 16;

/// Registers, by word.
const DATA: usize = 0;
const STATE: usize = 1;
const CONTROL: usize = 2;
const INTERRUPTS: usize = 3;
const BAUD: usize = 4;
/// Bits of `STATE`.
const SEND_FULL: u32 = 1;
const RECEIVE_FULL: u32 = 1 << 1;
/// Bits of `CONTROL`: both directions, and the interrupt of each.
const ENABLE: u32 = 0b11;
const ON_SENT: u32 = 1 << 2;
const ON_RECEIVED: u32 = 1 << 3;
/// Bits of `INTERRUPTS`.
const SENT: u32 = 1;
const RECEIVED: u32 = 1 << 1;

/// The registers of one UART.
#[derive(Clone, Copy)]
struct Registers(usize);

impl Registers {
    fn read(self, register: usize) -> u32 {
        // SAFETY: the address of a register of a UART of this board, by `PLACES`.
        unsafe { (self.0 as *const u32).add(register).read_volatile() }
    }

    fn write(self, register: usize, value: u32) {
        // SAFETY: as above; writing it changes nothing but the UART.
        unsafe { (self.0 as *mut u32).add(register).write_volatile(value) }
    }
}

/// What the interrupts of a UART own.
struct Inside {
    registers: Registers,
    received: Producer<'static, u8>,
    to_send: Consumer<'static, u8>,
}

static INSIDE: Mutex<RefCell<[Option<Inside>; UARTS]>> =
    Mutex::new(RefCell::new([const { None }; UARTS]));

/// One UART, for the program.
#[allow(missing_debug_implementations)] // Its halves of the rings have none.
pub struct Uart {
    interrupt: u16,
    received: Consumer<'static, u8>,
    to_send: Producer<'static, u8>,
}

/// The memory of the rings of one UART: what goes out may be `SEND - 1` bytes at once.
#[allow(missing_debug_implementations)]
pub struct Rings<const SEND: usize> {
    receive: Queue<u8, RECEIVE>,
    send: Queue<u8, SEND>,
}

/// The ends of the rings of one UART.
#[allow(missing_debug_implementations)]
pub struct Ends {
    receive: (Producer<'static, u8>, Consumer<'static, u8>),
    send: (Producer<'static, u8>, Consumer<'static, u8>),
}

impl<const SEND: usize> Rings<SEND> {
    /// Empty ones.
    pub const EMPTY: Rings<SEND> = Rings { receive: Queue::new(), send: Queue::new() };

    /// Their ends.
    pub fn split(&'static mut self) -> Ends {
        Ends { receive: self.receive.split(), send: self.send.split() }
    }
}

/// Switches the first UARTs on, with these rings.
pub fn start<const COUNT: usize>(rings: [Ends; COUNT]) -> [Uart; COUNT] {
    const { assert!(COUNT <= UARTS) };
    let mut places = PLACES.iter().zip(0..);
    rings.map(|Ends { receive: (received, from), send: (to, to_send) }| {
        let (&(base, interrupt), number) = crate::first(places.next());
        let registers = Registers(base);
        registers.write(BAUD, DIVIDER);
        registers.write(CONTROL, ENABLE | ON_SENT | ON_RECEIVED);
        critical_section::with(|cs| {
            let inside = Inside { registers, received, to_send };
            if let Ok(mut all) = INSIDE.borrow(cs).try_borrow_mut()
                && let Some(place) = all.get_mut::<usize>(number)
            {
                *place = Some(inside);
            }
        });
        for direction in 0..2 {
            // SAFETY: what the interrupt needs is in its place.
            unsafe { NVIC::unmask(Interrupt(interrupt + direction)) };
        }
        Uart { interrupt, received: from, to_send: to }
    })
}

/// Takes what came in, and sends what is to go out.
pub(crate) fn interrupt(number: i16) {
    let Ok(number) = u16::try_from(number) else { return };
    let Some(at) = PLACES.iter().position(|(_, first)| number == *first || number == first + 1)
    else {
        return;
    };
    critical_section::with(|cs| {
        let Ok(mut inside) = INSIDE.borrow(cs).try_borrow_mut() else { return };
        let Some(Some(Inside { registers, received, to_send })) = inside.get_mut(at) else {
            return;
        };
        registers.write(INTERRUPTS, SENT | RECEIVED);
        let mut control = ENABLE | ON_SENT | ON_RECEIVED;
        while registers.read(STATE) & RECEIVE_FULL != 0 {
            if !received.ready() {
                control &= !ON_RECEIVED;
                break;
            }
            let _ = received.enqueue(registers.read(DATA) as u8);
        }
        registers.write(CONTROL, control);
        while registers.read(STATE) & SEND_FULL == 0 {
            let Some(byte) = to_send.dequeue() else { break };
            registers.write(DATA, byte.into());
        }
    });
}

impl Uart {
    /// Whether anything came in.
    pub fn has_received(&self) -> bool {
        self.received.ready()
    }

    /// Takes the first byte that came in.
    pub fn next(&mut self) -> Option<u8> {
        let byte = self.received.dequeue()?;
        if self.received.len() + 1 >= self.received.capacity() {
            // It may have stopped for want of room.
            NVIC::pend(Interrupt(self.interrupt));
        }
        Some(byte)
    }

    /// Takes what came in, as far as it fits, and returns how much that was.
    pub fn receive(&mut self, into: &mut [u8]) -> usize {
        let mut count = 0;
        for place in into {
            let Some(byte) = self.next() else { break };
            *place = byte;
            count += 1;
        }
        count
    }

    /// Bytes that can be sent now.
    pub fn free(&self) -> usize {
        self.to_send.capacity() - self.to_send.len()
    }

    /// Whether all bytes have left.
    pub fn is_empty(&self) -> bool {
        self.to_send.len() == 0
    }

    /// Sends bytes, as far as there is room.
    pub fn send(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let _ = self.to_send.enqueue(*byte);
        }
        NVIC::pend(Interrupt(self.interrupt + 1));
    }
}
