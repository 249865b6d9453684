//! What a process has used, from `/proc`.

use crate::failure::Failure;
use nix::unistd::{SysconfVar, sysconf};

/// A process.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub u32);

impl Process {
    fn read(self, file: &str) -> Result<String, Failure> {
        let path = format!("/proc/{}/{file}", self.0);
        std::fs::read_to_string(&path)
            .map_err(|error| Failure::Usage(format!("--pid {}: {path}: {error}", self.0)))
    }

    /// Seconds of processor time so far, of all its threads, in the kernel too.
    ///
    /// # Errors
    /// There is no such process.
    pub fn seconds(self) -> Result<f64, Failure> {
        let stat = self.read("stat")?;
        // Behind the name, which may have spaces and parentheses: fields 14 and 15 of all.
        let mut fields = stat.rsplit(')').next().unwrap_or("").split_whitespace().skip(11);
        let mut ticks = || fields.next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        let ticks = ticks() + ticks();
        let second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
        Ok(ticks as f64 / second as f64)
    }

    /// KiB of memory that it has now.
    ///
    /// # Errors
    /// There is no such process.
    pub fn memory(self) -> Result<u64, Failure> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        kib.ok_or_else(|| Failure::Usage(format!("--pid {}: it has no memory", self.0)))
    }
}

/// Seconds of processor time of this process so far.
pub fn own_seconds() -> f64 {
    Process(std::process::id()).seconds().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_used_memory_and_time() {
        let own = Process(std::process::id());
        assert!(own.memory().unwrap() > 100);
        let before = own.seconds().unwrap();
        let mut x = 1u64;
        while own.seconds().unwrap() == before {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        assert!(own.seconds().unwrap() > before);
        // No process has the number 4,194,305 (`PID_MAX_LIMIT`).
        let failure = Process(4_194_305).seconds().unwrap_err();
        assert_eq!(failure.exit_code(), 2);
        assert!(failure.to_string().starts_with("--pid 4194305: "), "{failure}");
    }
}
