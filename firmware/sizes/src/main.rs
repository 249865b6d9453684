//! What the images for microcontrollers take: flash, RAM, and bytes of each row of a table.
//!
//! ```text
//! cargo run -p centrala-sizes                              all images
//! cargo run -p centrala-sizes -- exchange --users 20       with other tables
//! cargo run -p centrala-sizes -- --check                   fails beyond firmware/budget.toml
//! ```
//!
//! It reads what was built last (`cargo build --release` in `firmware/`), and the deepest stack that
//! the tests have seen (`cargo test -p centrala-tests --features firmware --test firmware --test flash`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use object::{Object, ObjectSection, ObjectSymbol, SectionFlags};
use serde::Deserialize;

#[derive(Debug, Parser)]
#[command(about = "What the images for microcontrollers take")]
struct Arguments {
    /// Names of images; all by default
    images: Vec<String>,
    /// Fail if an image takes more than firmware/budget.toml allows
    #[arg(long)]
    check: bool,
    /// Other tables: so many users
    #[arg(long)]
    users: Option<u32>,
    /// Groups
    #[arg(long)]
    groups: Option<u32>,
    /// Memberships of all users together
    #[arg(long)]
    memberships: Option<u32>,
    /// Sessions: lines, or connections
    #[arg(long)]
    sessions: Option<u32>,
    /// Messages that wait for anybody
    #[arg(long)]
    messages: Option<u32>,
    /// Bytes of the longest text
    #[arg(long)]
    message_length: Option<u32>,
    /// Copies of messages, one for each recipient that has not got it yet
    #[arg(long)]
    copies: Option<u32>,
}

/// What an image may take.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Budget {
    flash: u64,
    ram: u64,
}

/// The tables' rows, in the order of `centrala_lines::sizes::ROWS`.
const NAMES: [&str; 7] =
    ["user", "group", "membership", "session", "message", "copy for a recipient", "question"];
const MESSAGE: usize = 4;

/// What an image says about its tables.
#[derive(Clone, Copy, Debug)]
struct Tables {
    /// Bytes of a row; of a message with its text.
    row: [u32; NAMES.len()],
    rows: [u32; NAMES.len()],
    message_length: u32,
    bytes: u32,
}

/// What an image takes.
#[derive(Debug)]
struct Image {
    code: u64,
    constants: u64,
    initialized: u64,
    zeroed: u64,
    stack: Option<u64>,
    tables: Option<Tables>,
    /// Names of functions that an image must not have.
    unwanted: Vec<String>,
}

fn firmware() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(name: &str) -> Result<Image, String> {
    let path = firmware().join("target/thumbv7m-none-eabi/release").join(name);
    let bytes = std::fs::read(&path).map_err(|error| {
        format!("{}: {error} (build it: cargo build --release in firmware/)", path.display())
    })?;
    let file = object::File::parse(&*bytes).map_err(|error| format!("{name}: {error}"))?;
    let mut image = Image {
        code: 0,
        constants: 0,
        initialized: 0,
        zeroed: 0,
        stack: deepest(name, &path),
        tables: None,
        unwanted: Vec::new(),
    };
    for section in file.sections() {
        let section_name = section.name().unwrap_or_default();
        if section_name == ".centrala_sizes" {
            image.tables = tables(section.data().unwrap_or_default());
        }
        let SectionFlags::Elf { sh_flags } = section.flags() else { continue };
        if sh_flags & u64::from(object::elf::SHF_ALLOC) == 0 {
            continue;
        }
        let writable = sh_flags & u64::from(object::elf::SHF_WRITE) != 0;
        let executable = sh_flags & u64::from(object::elf::SHF_EXECINSTR) != 0;
        match section_name {
            ".bss" | ".uninit" => image.zeroed += section.size(),
            _ if writable => image.initialized += section.size(),
            _ if executable => image.code += section.size(),
            _ => image.constants += section.size(),
        }
    }
    for symbol in file.symbols() {
        let symbol = symbol.name().unwrap_or_default();
        let float = ["__aeabi_f", "__aeabi_d", "__aeabi_i2", "__aeabi_ui2", "__aeabi_l2"];
        let float = float.iter().any(|prefix| symbol.starts_with(prefix))
            && !symbol.starts_with("__aeabi_idiv")
            || symbol.ends_with("sf3")
            || symbol.ends_with("df3");
        if float || symbol.contains("__rust_alloc") || symbol.contains("__rg_alloc") {
            image.unwanted.push(symbol.to_owned());
        }
    }
    Ok(image)
}

/// The numbers that `centrala_lines::note_sizes!` left.
fn tables(data: &[u8]) -> Option<Tables> {
    let mut words = data.chunks_exact(4).map(|word| word.try_into().map(u32::from_le_bytes));
    let mut next = || words.next()?.ok();
    let mut seven = || {
        let mut numbers = [0; NAMES.len()];
        for number in &mut numbers {
            *number = next()?;
        }
        Some(numbers)
    };
    let (mut row, rows, [bytes, message_length, ..]) = (seven()?, seven()?, seven()?);
    row[MESSAGE] += message_length;
    Some(Tables { row, rows, message_length, bytes })
}

/// The deepest stack that the tests have noted since the image was built.
fn deepest(name: &str, image: &Path) -> Option<u64> {
    let files = std::fs::read_dir(firmware().join("target/stack")).ok()?;
    let built = image.metadata().and_then(|image| image.modified()).ok()?;
    let changed = |file: &std::fs::DirEntry| file.metadata().and_then(|file| file.modified());
    files
        .filter_map(Result::ok)
        .filter(|file| changed(file).is_ok_and(|changed| changed >= built))
        .filter(|file| {
            let file = file.file_name();
            let rest = file.to_str().and_then(|file| file.strip_prefix(name)?.strip_prefix('-'));
            rest.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
        })
        .filter_map(|file| std::fs::read_to_string(file.path()).ok()?.parse().ok())
        .max()
}

impl Image {
    fn flash(&self) -> u64 {
        self.code + self.constants + self.initialized
    }

    fn fixed(&self) -> u64 {
        self.initialized + self.zeroed
    }

    fn print(&self, name: &str, arguments: &Arguments) {
        let line = |what: &str, bytes: u64| println!("  {what:<36} {bytes:>7}");
        println!("{name}");
        line("flash", self.flash());
        line("  code", self.code);
        line("  vectors and constants", self.constants + self.initialized);
        line("RAM, static", self.fixed());
        if let Some(tables) = self.tables {
            line("  tables", tables.bytes.into());
            line("  buffers and the rest", self.fixed() - u64::from(tables.bytes));
        }
        match self.stack {
            Some(stack) => {
                line("RAM, the deepest stack of the tests", stack);
                line("RAM, together", self.fixed() + stack);
            }
            None => println!("  the stack was not measured: run the tests of the images"),
        }
        let Some(tables) = self.tables else { return };
        println!("  each row takes");
        for ((name, bytes), rows) in NAMES.iter().zip(tables.row).zip(tables.rows) {
            let text = if *name == NAMES[MESSAGE] { tables.message_length } else { 0 };
            let what = match text {
                0 => format!("  {name}, {rows} of them"),
                text => format!("  {name} of {text} bytes, {rows} of them"),
            };
            line(&what, bytes.into());
        }
        if let Some(other) = tables.with(arguments) {
            let fixed = self.fixed() - u64::from(tables.bytes) + u64::from(other.bytes);
            println!("  with other tables");
            for ((name, before), rows) in NAMES.iter().zip(tables.rows).zip(other.rows) {
                if before != rows {
                    println!("    {rows} rows of {name}, instead of {before}");
                }
            }
            if other.message_length != tables.message_length {
                println!("    {} bytes of text", other.message_length);
            }
            line("  tables", other.bytes.into());
            line("  RAM, static", fixed);
            if let Some(stack) = self.stack {
                line("  RAM, together", fixed + stack);
            }
        }
    }

    /// What is wrong with it.
    fn wrong(&self, budget: Budget) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut most = |what: &str, bytes: u64, most: u64| {
            if bytes > most {
                wrong.push(format!("{what} is {bytes} bytes; the budget is {most}"));
            }
        };
        most("flash", self.flash(), budget.flash);
        match self.stack {
            Some(stack) => most("RAM", self.fixed() + stack, budget.ram),
            None => wrong.push("its stack was not measured".to_owned()),
        }
        if !self.unwanted.is_empty() {
            wrong.push(format!("floating point, or a heap: {}", self.unwanted.join(", ")));
        }
        wrong
    }
}

impl Tables {
    /// With the lengths that were asked for; `None` if none was.
    fn with(self, arguments: &Arguments) -> Option<Tables> {
        let Arguments { users, groups, memberships, sessions, messages, copies, .. } = *arguments;
        let asked = [users, groups, memberships, sessions, messages, copies, None];
        let length = arguments.message_length;
        if asked.iter().all(Option::is_none) && length.is_none() {
            return None;
        }
        let mut other = self;
        for (rows, asked) in other.rows.iter_mut().zip(asked) {
            *rows = asked.unwrap_or(*rows);
        }
        other.message_length = length.unwrap_or(self.message_length);
        let row = self.row[MESSAGE].saturating_sub(self.message_length);
        other.row[MESSAGE] = row.saturating_add(other.message_length);
        // The scratch for one frame grows with the text.
        let rest = self.bytes.saturating_sub(self.sum()).saturating_add(other.message_length);
        other.bytes = other.sum().saturating_add(rest).saturating_sub(self.message_length);
        Some(other)
    }

    fn sum(&self) -> u32 {
        let tables = self.row.iter().zip(self.rows).map(|(bytes, rows)| bytes.saturating_mul(rows));
        tables.fold(0, u32::saturating_add)
    }
}

fn budgets() -> Result<BTreeMap<String, Budget>, String> {
    let path = firmware().join("budget.toml");
    let text = std::fs::read_to_string(&path).map_err(|error| error.to_string());
    let budgets = text.and_then(|text| toml::from_str(&text).map_err(|error| error.to_string()));
    budgets.map_err(|error| format!("{}: {error}", path.display()))
}

fn run() -> Result<bool, String> {
    let arguments = Arguments::parse();
    let budgets = budgets()?;
    let mut good = true;
    let all: Vec<&String> = match arguments.images.is_empty() {
        true => budgets.keys().collect(),
        false => arguments.images.iter().collect(),
    };
    for name in all {
        let image = read(name)?;
        image.print(name, &arguments);
        if arguments.check {
            let budget = budgets.get(name).ok_or(format!("{name} has no budget"))?;
            for wrong in image.wrong(*budget) {
                eprintln!("{name}: {wrong}");
                good = false;
            }
        }
    }
    Ok(good)
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("centrala-sizes: {error}");
            ExitCode::from(2)
        }
    }
}
