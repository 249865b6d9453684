//! `direct`, byte by byte against the real server.

use std::net::TcpStream;

use centrala_tests::direct_table::{self, Fresh};
use centrala_tests::server::{Server, key};

const MESSAGE_LENGTH: usize = 100;

struct OverTcp(Server);

impl OverTcp {
    fn start(of: u8) -> OverTcp {
        OverTcp(Server::start(key(of), &format!("[limits]\nmessage_length = {MESSAGE_LENGTH}")))
    }
}

impl Fresh for OverTcp {
    fn connect(&mut self) -> TcpStream {
        TcpStream::connect(self.0.address).unwrap()
    }
    fn message_length(&self) -> usize {
        MESSAGE_LENGTH
    }
}

#[test]
fn a_message_is_forwarded_as_it_is_and_so_is_its_answer() {
    direct_table::forwarded_as_it_is(&mut OverTcp::start(0));
}

#[test]
fn without_an_answer_it_is_offline_mail_after_3_s() {
    direct_table::not_answered(&mut OverTcp::start(1));
}

#[test]
fn what_cannot_be_done_has_its_code() {
    direct_table::refused(&mut OverTcp::start(2));
}

#[test]
fn a_name_in_use_is_409() {
    direct_table::in_use(&mut OverTcp::start(3));
}

#[test]
fn what_is_no_frame_is_400() {
    direct_table::malformed(&mut OverTcp::start(4));
}

#[test]
fn another_name_than_the_bound_one_is_401() {
    direct_table::another_name(&mut OverTcp::start(5));
}
