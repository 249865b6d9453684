//! An image for a microcontroller, run by QEMU.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use defmt_decoder::{DecodeError, Table};

use crate::direct_table::Fresh;

/// Nothing takes longer, on a machine that does other things beside.
pub const LONG: Duration = Duration::from_secs(60);

/// Bytes of the board's PSRAM.
pub const PSRAM: u64 = 16 << 20;

fn firmware() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware")
}

/// Builds an image, and says where it lies. Each by itself: together they would share what any of
/// them asks of the core.
fn image(name: &str) -> PathBuf {
    static BUILT: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let target = firmware().join("target");
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if !built.iter().any(|image| image == name) {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(firmware());
        if Path::new("/usr/lib/rustlib/src/rust/library").exists() {
            // Debian's compiler with the source of its library.
            cargo.args(["--config", ".cargo/debian-rustc.toml"]).env("RUSTC_BOOTSTRAP", "1");
        }
        cargo.args(["build", "--quiet", "--release", "--locked", "--package"]);
        cargo.arg(format!("centrala-{name}")).arg("--target-dir").arg(&target);
        assert!(cargo.status().expect("cargo runs").success(), "{name} does not build");
        built.push(name.to_owned());
    }
    target.join("thumbv7m-none-eabi/release").join(name)
}

/// Builds a package of this workspace, which has one program of the same name, and says where that
/// lies.
pub fn program(package: &str) -> PathBuf {
    let this = std::env::current_exe().expect("the path of this program");
    let profile = this.parent().and_then(Path::parent).expect("deps lies in the profile's");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["build", "--quiet", "--package", package, "--target-dir"]);
    cargo.arg(profile.parent().expect("the target directory"));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().expect("cargo runs").success(), "{package} does not build");
    profile.join(package)
}

/// What an image has logged.
#[derive(Debug, Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

/// A running image, ended when this is dropped.
#[derive(Debug)]
pub struct Image {
    name: String,
    child: Child,
    log: Arc<Log>,
    /// Where its UARTs are reached, or its forwarded ports.
    pub places: Vec<SocketAddr>,
    used: usize,
    monitor: PathBuf,
    closes: bool,
    _directory: tempfile::TempDir,
}

/// What QEMU calls the time between two attempts to connect, which is a second here.
fn reconnect() -> &'static str {
    static OPTION: OnceLock<&str> = OnceLock::new();
    OPTION.get_or_init(|| {
        let version = Command::new("qemu-system-arm").arg("--version").output().expect("it runs");
        let version = String::from_utf8_lossy(&version.stdout);
        // QEMU emulator version 7.2.22 (Debian ...)
        let major = version.split("version ").nth(1).and_then(|rest| rest.split('.').next());
        match major.and_then(|major| major.parse::<u32>().ok()) {
            Some(..=9) => "reconnect=1",
            _ => "reconnect-ms=1000",
        }
    })
}

impl Image {
    /// Runs an image whose first UART is connected to this place, again and again.
    pub fn connected(name: &str, place: SocketAddr) -> Image {
        let (host, port) = (place.ip(), place.port());
        let line = format!("socket,id=line,host={host},port={port},server=off,{}", reconnect());
        let arguments = ["-chardev", &line, "-serial", "chardev:line"];
        Image::start(name, &arguments, "info chardev", |_| None)
    }

    /// A word of its memory, or a register, at this address.
    pub fn word(&mut self, address: u32) -> u32 {
        // 0000000040028000: 0x00000001
        let said = self.ask(&format!("xp /1wx {address:#x}"));
        let start = format!("{address:016x}: 0x");
        let word = said.split_once(&start).and_then(|(_, rest)| rest.get(..8));
        let word = word.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        word.unwrap_or_else(|| panic!("QEMU says of {address:#x}: {said}"))
    }

    /// Runs an image with so many UARTs, each on a port of 127.0.0.1.
    pub fn with_uarts(name: &str, uarts: usize) -> Image {
        Image::with_memory(name, uarts, &[])
    }

    /// The same, with the board's PSRAM in a file ([`PSRAM`] bytes), which outlasts it.
    pub fn with_psram(name: &str, uarts: usize, file: &Path) -> Image {
        let object = format!(
            "memory-backend-file,id=psram,share=on,size={PSRAM},mem-path={}",
            file.display()
        );
        Image::with_memory(name, uarts, &["-machine", "memory-backend=psram", "-object", &object])
    }

    fn with_memory(name: &str, uarts: usize, memory: &[&str]) -> Image {
        let serial = ["-serial", "tcp:127.0.0.1:0,server=on,wait=off"];
        let arguments = [memory, &serial.repeat(uarts)].concat();
        let image = Image::start(name, &arguments, "info chardev", |line| {
            // serial0: filename=disconnected:tcp:127.0.0.1:43211,server=on
            let (number, place) = line.strip_prefix("serial")?.split_once(": ")?;
            let place = place.split_once("tcp:")?.1.split(',').next()?;
            Some((number.parse().ok()?, place.parse().ok()?))
        });
        assert_eq!(image.places.len(), uarts, "QEMU has other UARTs: {:?}", image.places);
        image
    }

    /// Runs an image with these TCP ports of it forwarded, each from a port of 127.0.0.1.
    pub fn with_ports(name: &str, ports: &[u16]) -> Image {
        let mut nic = "user,model=lan9118,restrict=on".to_owned();
        for port in ports {
            nic += &format!(",hostfwd=tcp:127.0.0.1:0-10.0.2.15:{port}");
        }
        let mut image =
            Image::start(name, &["-serial", "none", "-nic", &nic], "info usernet", |line| {
                // TCP[HOST_FORWARD]  13  127.0.0.1 43211  10.0.2.15  4810  0  0
                let mut fields =
                    line.trim_start().strip_prefix("TCP[HOST_FORWARD]")?.split_whitespace();
                let (address, port) = (fields.nth(1)?, fields.next()?);
                let to: u16 = fields.nth(1)?.parse().ok()?;
                let number = ports.iter().position(|port| *port == to)?;
                Some((number, format!("{address}:{port}").parse().ok()?))
            });
        assert_eq!(image.places.len(), ports.len(), "QEMU forwards: {:?}", image.places);
        image.closes = true;
        image
    }

    /// Runs an image with more arguments for QEMU, and asks it where it listens.
    fn start(
        name: &str,
        arguments: &[&str],
        ask: &str,
        place: impl Fn(&str) -> Option<(usize, SocketAddr)>,
    ) -> Image {
        let elf = image(name);
        let directory = tempfile::tempdir().expect("a directory");
        let monitor = directory.path().join("monitor");
        let mut qemu = Command::new("qemu-system-arm");
        qemu.args(["-machine", "mps2-an385", "-cpu", "cortex-m3", "-display", "none"]);
        qemu.args(["-semihosting-config", "enable=on,target=native", "-monitor"]);
        qemu.arg(format!("unix:{},server=on,wait=off", monitor.display()));
        qemu.args(arguments).arg("-kernel").arg(&elf);
        qemu.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = qemu.spawn().expect("qemu-system-arm runs");
        let out = child.stdout.take().expect("its output");
        let log = Arc::new(Log::default());
        let table = std::fs::read(&elf).expect("the image");
        let (to, of) = (Arc::clone(&log), name.to_owned());
        std::thread::spawn(move || read_log(&of, &table, out, &to));
        let mut image = Image {
            name: name.to_owned(),
            child,
            log,
            places: Vec::new(),
            used: 0,
            monitor,
            closes: false,
            _directory: directory,
        };
        let mut places: Vec<_> = image.ask(ask).lines().filter_map(place).collect();
        places.sort_by_key(|place| place.0);
        image.places = places.into_iter().map(|place| place.1).collect();
        image
    }

    /// Resets the machine, which keeps its PSRAM.
    pub fn reset(&mut self) {
        self.ask("system_reset");
    }

    /// Stops the machine wherever it is; what is done while it stands still.
    pub fn stopped<T>(&mut self, then: impl FnOnce() -> T) -> T {
        self.ask("stop");
        let done = then();
        self.ask("cont");
        done
    }

    /// Ends it at once, wherever it is.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Gives QEMU's monitor a command, and returns what it says.
    fn ask(&mut self, command: &str) -> String {
        let deadline = Instant::now() + LONG;
        let mut stream = loop {
            if let Ok(stream) = UnixStream::connect(&self.monitor) {
                break stream;
            }
            assert!(self.child.try_wait().expect("a child").is_none(), "QEMU has ended");
            assert!(Instant::now() < deadline, "QEMU has no monitor");
            std::thread::sleep(Duration::from_millis(2));
        };
        stream.set_read_timeout(Some(LONG)).expect("a socket");
        writeln!(stream, "{command}").expect("the monitor reads");
        // The prompt comes before the command, and again behind what it says.
        let (mut said, mut byte) = (Vec::new(), [0]);
        while said.windows(7).filter(|part| part == b"(qemu) ").count() < 2 {
            stream.read_exact(&mut byte).expect("the monitor answers");
            said.push(byte[0]);
        }
        String::from_utf8_lossy(&said).replace('\r', "")
    }

    /// The newest line of its log that `wanted` finds something in, once there is one.
    pub fn logged<T>(&self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + LONG;
        let mut lines = self.log.lines.lock().expect("no panic");
        loop {
            if let Some(found) = lines.iter().rev().find_map(|line| wanted(line)) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} logged no {what}: {lines:?}", self.name);
            lines = self.log.more.wait_timeout(lines, left).expect("no panic").0;
        }
    }

    /// How many lines of its log are this one.
    pub fn times(&self, wanted: &str) -> usize {
        let lines = self.log.lines.lock().expect("no panic");
        lines.iter().filter(|line| *line == wanted).count()
    }

    /// Waits until its log has had this line more often than so many times.
    pub fn logged_again(&self, wanted: &str, times: usize) {
        let deadline = Instant::now() + LONG;
        while self.times(wanted) <= times {
            assert!(Instant::now() < deadline, "{} logged no further {wanted}", self.name);
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The most bytes that it says its stack has had.
    pub fn stack(&self) -> usize {
        self.logged("stack", |line| line.split_once("stack: ")?.1.split(' ').next()?.parse().ok())
    }

    /// CPU time that QEMU has taken.
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.expect("a running process");
        let ticks = stat.rsplit(')').next().expect("fields").split(' ').skip(12).take(2);
        let ticks: u64 = ticks.map(|field| field.parse::<u64>().expect("a number")).sum();
        Duration::from_millis(ticks * 10)
    }
}

impl Fresh for Image {
    fn connect(&mut self) -> TcpStream {
        let place = self.places.get(self.used).expect("a line that nobody has used yet");
        self.used += usize::from(!self.closes);
        TcpStream::connect(place).expect("QEMU listens")
    }
    fn closes(&self) -> bool {
        self.closes
    }
    fn message_length(&self) -> usize {
        128
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // For the table of sizes: the deepest stack of any run.
        static RUN: AtomicU32 = AtomicU32::new(0);
        if !std::thread::panicking() {
            let directory = firmware().join("target/stack");
            let run = RUN.fetch_add(1, Ordering::Relaxed);
            let file = format!("{}-{}-{run}", self.name, std::process::id());
            let _ = std::fs::create_dir_all(&directory);
            let _ = std::fs::write(directory.join(file), self.stack().to_string());
        }
        self.end();
        if std::thread::panicking() {
            eprintln!("{}: {:?}", self.name, self.log.lines);
        }
    }
}

/// Decodes what an image logs until it ends.
fn read_log(name: &str, elf: &[u8], out: impl Read, log: &Log) {
    let table = Table::parse(elf).expect("a table of logs").expect("an image that logs");
    let mut decoder = table.new_stream_decoder();
    let mut out = BufReader::new(out);
    loop {
        let bytes = out.fill_buf().unwrap_or(&[]);
        if bytes.is_empty() {
            return;
        }
        let len = bytes.len();
        decoder.received(bytes);
        out.consume(len);
        loop {
            let line = match decoder.decode() {
                Ok(frame) => frame.display_message().to_string(),
                Err(DecodeError::UnexpectedEof) => break,
                Err(DecodeError::Malformed) => format!("{name}: what it logs is malformed"),
            };
            log.lines.lock().expect("no panic").push(line);
            log.more.notify_all();
        }
    }
}
