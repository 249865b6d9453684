//! The images for microcontrollers, run by QEMU:
//! `cargo test -p centrala-tests --features firmware --test firmware`.

use centrala_tests::direct_table;
use centrala_tests::image::Image;

/// The exchange on its four UARTs.
fn exchange() -> Image {
    Image::with_uarts("exchange", 4)
}

#[test]
fn a_message_is_forwarded_as_it_is_and_so_is_its_answer() {
    direct_table::forwarded_as_it_is(&mut exchange());
}

#[test]
fn without_an_answer_it_is_offline_mail_after_3_s() {
    direct_table::not_answered(&mut exchange());
}

#[test]
fn what_cannot_be_done_has_its_code() {
    direct_table::refused(&mut exchange());
}

#[test]
fn a_name_in_use_is_409() {
    direct_table::in_use(&mut exchange());
}

#[test]
fn what_is_no_frame_is_400() {
    direct_table::malformed(&mut exchange());
}

#[test]
fn another_name_than_the_bound_one_is_401() {
    direct_table::another_name(&mut exchange());
}
