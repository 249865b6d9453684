//! The board's Ethernet controller (SMSC LAN9118), as a device of smoltcp.
//!
//! A frame is copied between its FIFOs and one buffer each way, a word at a time. Its interrupt only
//! wakes the processor: it is off until [`Ethernet::listen`] asks for the next one.

use cortex_m::peripheral::NVIC;
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use crate::Interrupt;

/// Where its registers are, and the number of its interrupt (AN385, sections 3.3 and 4.2).
const BASE: usize = 0x4020_0000;
const INTERRUPT: u16 = 13;

/// Registers, by byte (LAN9118 datasheet, chapter 5).
const RECEIVE_DATA: usize = 0x00;
const SEND_DATA: usize = 0x20;
const RECEIVE_STATUS: usize = 0x40;
const SEND_STATUS: usize = 0x48;
const INTERRUPT_CONFIGURATION: usize = 0x54;
const INTERRUPT_STATUS: usize = 0x58;
const INTERRUPT_ENABLE: usize = 0x5c;
const BYTE_ORDER: usize = 0x64;
const SEND_CONFIGURATION: usize = 0x70;
const HARDWARE_CONFIGURATION: usize = 0x74;
const RECEIVE_FIFO: usize = 0x7c;
const SEND_FIFO: usize = 0x80;
const MAC_COMMAND: usize = 0xa4;
const MAC_DATA: usize = 0xa8;

/// What `BYTE_ORDER` reads as.
const ORDERLY: u32 = 0x8765_4321;
/// Frames with the checksum that the controller adds and takes away.
const CHECKSUM: usize = 4;
/// Bytes of the longest frame without it.
const MTU: usize = 1514;
const WORDS: usize = (MTU + CHECKSUM).div_ceil(4) + 1;
/// A frame has come.
const RECEIVED: u32 = 1 << 3;

fn read(register: usize) -> u32 {
    // SAFETY: the address of a register of this board's only Ethernet controller.
    unsafe { ((BASE + register) as *const u32).read_volatile() }
}

fn write(register: usize, value: u32) {
    // SAFETY: as above; writing it changes nothing but the controller.
    unsafe { ((BASE + register) as *mut u32).write_volatile(value) }
}

fn write_mac(register: u32, value: u32) {
    const BUSY: u32 = 1 << 31;
    write(MAC_DATA, value);
    write(MAC_COMMAND, BUSY | register);
    while read(MAC_COMMAND) & BUSY != 0 {}
}

/// The memory of one frame each way.
#[derive(Debug)]
pub struct Frames {
    received: [u32; WORDS],
    to_send: [u32; WORDS],
}

impl Frames {
    /// Empty ones.
    pub const EMPTY: Frames = Frames { received: [0; WORDS], to_send: [0; WORDS] };
}

/// The controller.
#[derive(Debug)]
pub struct Ethernet(&'static mut Frames);

impl Ethernet {
    /// Switches it on, with this hardware address; `None` if it is not there.
    pub fn start(frames: &'static mut Frames, address: [u8; 6]) -> Option<Ethernet> {
        if read(BYTE_ORDER) != ORDERLY {
            return None;
        }
        write(HARDWARE_CONFIGURATION, 1);
        while read(HARDWARE_CONFIGURATION) & 1 != 0 {}
        // Store and forward, 5 KiB of its memory for what is sent.
        write(HARDWARE_CONFIGURATION, (1 << 20) | (5 << 16));
        let [a, b, c, d, e, f] = address;
        write_mac(3, u32::from_le_bytes([a, b, c, d]));
        write_mac(2, u32::from_le_bytes([e, f, 0, 0]));
        // Both directions, full duplex.
        write_mac(1, (1 << 2) | (1 << 3) | (1 << 20));
        write(SEND_CONFIGURATION, 1 << 1);
        // Active high, push-pull.
        write(INTERRUPT_CONFIGURATION, (1 << 8) | (1 << 4) | 1);
        // SAFETY: the interrupt needs nothing but registers.
        unsafe { NVIC::unmask(Interrupt(INTERRUPT)) };
        Some(Ethernet(frames))
    }

    /// Whether a frame waits.
    pub fn has_received(&self) -> bool {
        read(RECEIVE_FIFO) & 0x00ff_0000 != 0
    }

    /// Lets the next frame wake the processor.
    pub fn listen(&mut self) {
        write(INTERRUPT_STATUS, RECEIVED);
        write(INTERRUPT_ENABLE, RECEIVED);
    }
}

/// Whether this was its interrupt.
pub(crate) fn interrupt(number: i16) -> bool {
    let ours = u16::try_from(number) == Ok(INTERRUPT);
    if ours {
        write(INTERRUPT_ENABLE, 0);
    }
    ours
}

/// A frame that has come.
#[derive(Debug)]
pub struct Received<'f> {
    words: &'f [u32],
    len: usize,
}

/// A frame that is to be sent.
#[derive(Debug)]
pub struct ToSend<'f>(&'f mut [u32; WORDS]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, with: F) -> R {
        // SAFETY: words that are there, seen as their bytes, no longer than these.
        let bytes = unsafe {
            core::slice::from_raw_parts(self.words.as_ptr().cast::<u8>(), self.words.len() * 4)
        };
        with(bytes.get(..self.len).unwrap_or(&[]))
    }
}

impl TxToken for ToSend<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, with: F) -> R {
        let len = len.min(MTU);
        // SAFETY: words that are there and borrowed for us alone, seen as their bytes.
        let bytes =
            unsafe { core::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast::<u8>(), WORDS * 4) };
        let done = with(&mut bytes[..len]);
        // One buffer, which is the first and the last of its frame; then its length again.
        write(SEND_DATA, (1 << 13) | (1 << 12) | len as u32);
        write(SEND_DATA, len as u32);
        for word in &self.0[..len.div_ceil(4)] {
            write(SEND_DATA, *word);
        }
        done
    }
}

impl Device for Ethernet {
    type RxToken<'f> = Received<'f>;
    type TxToken<'f> = ToSend<'f>;

    fn receive(&mut self, _now: Instant) -> Option<(Received<'_>, ToSend<'_>)> {
        if !self.has_received() {
            return None;
        }
        let status = read(RECEIVE_STATUS);
        let total = ((status >> 16) & 0x3fff) as usize;
        let error = status & (1 << 15) != 0;
        for word in 0..total.div_ceil(4) {
            let value = read(RECEIVE_DATA);
            if let Some(place) = self.0.received.get_mut(word) {
                *place = value;
            }
        }
        if error || !(CHECKSUM..=MTU + CHECKSUM).contains(&total) {
            return None;
        }
        let Frames { received, to_send } = &mut *self.0;
        Some((Received { words: received, len: total - CHECKSUM }, ToSend(to_send)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<ToSend<'_>> {
        // Nobody looks at how sending went: TCP sends again.
        while read(SEND_FIFO) & 0x00ff_0000 != 0 {
            read(SEND_STATUS);
        }
        let free = (read(SEND_FIFO) & 0xffff) as usize;
        (free >= MTU + 16).then_some(ToSend(&mut self.0.to_send))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = MTU;
        capabilities.max_burst_size = Some(1);
        capabilities
    }
}
