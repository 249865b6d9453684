//! `direct`, byte by byte against the real server.

mod common;

use std::net::TcpStream;

use centrala_tests::direct_table::{self, Fresh};
use common::Server;

const MESSAGE_LENGTH: usize = 100;

struct OverTcp(Server);

impl OverTcp {
    fn start() -> OverTcp {
        OverTcp(Server::start("", &format!("[limits]\nmessage_length = {MESSAGE_LENGTH}")))
    }
}

impl Fresh for OverTcp {
    fn connect(&mut self) -> TcpStream {
        TcpStream::connect(self.0.address.unwrap()).unwrap()
    }
    fn message_length(&self) -> usize {
        MESSAGE_LENGTH
    }
}

#[test]
fn a_message_is_forwarded_as_it_is_and_so_is_its_answer() {
    direct_table::forwarded_as_it_is(&mut OverTcp::start());
}

#[test]
fn without_an_answer_it_is_offline_mail_after_3_s() {
    direct_table::not_answered(&mut OverTcp::start());
}

#[test]
fn what_cannot_be_done_has_its_code() {
    direct_table::refused(&mut OverTcp::start());
}

#[test]
fn a_name_in_use_is_409() {
    direct_table::in_use(&mut OverTcp::start());
}

#[test]
fn what_is_no_frame_is_400() {
    direct_table::malformed(&mut OverTcp::start());
}

#[test]
fn another_name_than_the_bound_one_is_401() {
    direct_table::another_name(&mut OverTcp::start());
}
