//! `centrala`: the command line client. It speaks the dialects of an exchange as their own
//! documents have them, and assumes nothing beyond those.
//!
//! [`cli`] is what a person types, [`url`] where it goes, [`dialect`] how each dialect does it, and
//! [`output`] what is printed. [`mod@bench`] measures an exchange. The bytes of the dialects are `centrala_core::dialect`'s.

#![forbid(unsafe_code)]

mod bench;
mod cli;
mod dialect;
mod failure;
mod output;
mod own_queue;
mod signals;
mod url;
mod wait;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    own_queue::remove_on_panic();
    match cli::run(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("centrala: {}", output::plain(&failure.to_string()));
            ExitCode::from(failure.exit_code())
        }
    }
}
