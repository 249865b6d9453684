//! What is printed: progress on standard error while it runs, if that is a terminal; then a table on
//! standard output, or one JSON object.

use crate::failure::Failure;
use serde_json::{Map, Number, Value};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// A figure's name in JSON, how a person reads it, and its digits behind the point.
type Row = (&'static str, &'static str, usize);

/// What was measured.
#[derive(Debug)]
pub struct Report {
    bench: &'static str,
    rows: Vec<(Row, f64)>,
}

impl Report {
    /// Of a benchmark, with nothing in it.
    pub fn new(bench: &'static str) -> Report {
        Report { bench, rows: Vec::new() }
    }

    /// Adds a whole number.
    pub fn count(&mut self, key: &'static str, label: &'static str, value: u64) {
        self.rows.push(((key, label, 0), value as f64));
    }

    /// Adds a figure with so many digits behind the point.
    pub fn figure(&mut self, key: &'static str, label: &'static str, digits: usize, value: f64) {
        self.rows.push(((key, label, digits), value));
    }

    fn json(&self) -> String {
        let mut object = Map::new();
        object.insert("bench".into(), self.bench.into());
        object.insert("dialect".into(), "native".into());
        for ((key, _, digits), value) in &self.rows {
            let number = match digits {
                0 => Some(Number::from(*value as u64)),
                _ => Number::from_f64(*value),
            };
            object.insert((*key).into(), number.map_or(Value::Null, Value::Number));
        }
        Value::Object(object).to_string() + "\n"
    }

    fn table(&self) -> String {
        let rows = self.rows.iter();
        let rows: Vec<_> = rows
            .map(|((_, label, digits), value)| (*label, grouped(&format!("{value:.digits$}"))))
            .collect();
        let labels = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
        let values = rows.iter().map(|(_, value)| value.len()).max().unwrap_or(0);
        let mut table = format!("{} over native\n", self.bench);
        for (label, value) in rows {
            table += &format!("  {label:<labels$}  {value:>values$}\n");
        }
        table
    }

    /// Prints it.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn print(&self, json: bool) -> Result<(), Failure> {
        let text = if json { self.json() } else { self.table() };
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::Streams)
    }
}

/// A number with commas between its thousands.
fn grouped(number: &str) -> String {
    let (whole, rest) = number.split_at(number.find('.').unwrap_or(number.len()));
    let mut grouped = String::new();
    for (i, digit) in whole.chars().enumerate() {
        if i != 0 && (whole.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

/// A line that is written anew while something runs, on a terminal alone.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
    written: bool,
    last: Instant,
}

/// How long the line stays as it is.
const STEP: Duration = Duration::from_millis(200);

impl Progress {
    /// With nothing written.
    pub fn new() -> Progress {
        let terminal = std::io::stderr().is_terminal();
        Progress { terminal, written: false, last: Instant::now() }
    }

    /// Writes the line, if it is time to.
    pub fn show(&mut self, line: impl FnOnce() -> String) {
        if self.terminal && (!self.written || self.last.elapsed() >= STEP) {
            (self.written, self.last) = (true, Instant::now());
            let mut stderr = std::io::stderr().lock();
            // Nobody sees it: nothing is lost.
            let _ = write!(stderr, "\r\x1b[K{}", line()).and_then(|()| stderr.flush());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.written {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_table_or_an_object() {
        let mut report = Report::new("fanout");
        report.count("deliveries", "deliveries", 1_234_567);
        report.figure("seconds", "seconds", 2, 0.5);
        assert_eq!(
            report.table(),
            "fanout over native\n  deliveries  1,234,567\n  seconds          0.50\n"
        );
        let json: Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["deliveries"], 1_234_567);
        assert_eq!(json["seconds"], 0.5);
        assert_eq!(json["bench"], "fanout");
        for (number, text) in [("0", "0"), ("999", "999"), ("1000.50", "1,000.50")] {
            assert_eq!(grouped(number), text);
        }
    }
}
