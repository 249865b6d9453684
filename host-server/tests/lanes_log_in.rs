//! Log-ins of `lanes` at once: any client that waits takes the first answer, whosever it is.

mod common;

use common::sysv::{Office, run_lanes};

fn office() -> Office {
    let office = Office::start();
    for name in ["ola", "jan", "ewa"] {
        office.make(name);
    }
    office
}

/// All three wait before any is answered, in the order of their requests: so they do because the
/// server is stopped until then.
/// `CENTRALA_LOG_INS=1000 cargo test -p centralad --test lanes_log_in` does it a thousand times.
#[test]
fn clients_that_log_in_at_once_are_not_mistaken_for_one_another() {
    let times = std::env::var("CENTRALA_LOG_INS").unwrap_or("200".into());
    let office = office();
    print!("{}", run_lanes(&office, "race", &[&times, &office.child.id().to_string()]));
}

/// Which of those that send within the same microseconds waits first, and whether all wait by the
/// time they are answered, no server can tell: this says how often one is mistaken. Run it with
/// `cargo test -p centralad --test lanes_log_in -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn a_rush_of_log_ins() {
    print!("{}", run_lanes(&office(), "rush", &["1000"]));
}
