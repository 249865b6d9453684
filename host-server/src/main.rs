//! `centralad`: see the library of the same name.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use centrala_store::{FILE, Restored};
use centralad::accounts;
use centralad::backup::back_up;
use centralad::config::{Config, Data};
use centralad::history::{History, history};
use centralad::server::{Server, raise_descriptor_limit};
use centralad::store::{Durable, Keep, Memory as MemoryStore};
use centralad::tables::{Memory, Sizes};
use clap::{Parser, Subcommand};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// A messaging exchange for several small protocols.
///
/// Without --config every dialect runs on its default address; with it, only those that have a
/// section in the file. When it is ready it prints one line for each, with its address.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The configuration file (TOML)
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Where to keep files; ":memory:" keeps nothing [default: centrala under $XDG_STATE_HOME, or
    /// under ~/.local/state]
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<Data>,
    /// If the file of the store is damaged, move it aside and begin anew
    #[arg(long)]
    quarantine: bool,
    /// What to log to standard error: error, warn, info, debug, trace, or TARGET=LEVEL,…
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", default_value = "info", global = true)]
    log: Targets,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Check the configuration and the store, and print what is in them; changes nothing
    Check,
    /// Copy all that is kept into a new directory, on which a server can run (--data), while the
    /// server runs or not
    Backup {
        /// The directory, which must not exist
        directory: PathBuf,
    },
    /// Print what was said in a group or between two users, while the server runs or not
    History(History),
    /// Add, change, remove and list users, while the server is stopped
    #[command(subcommand)]
    User(accounts::User),
    /// Add, remove and list groups, while the server is stopped
    #[command(subcommand)]
    Group(accounts::Group),
}

/// What the caller gave is wrong, or what it names cannot be had: nothing was started.
const NOT_STARTED: u8 = 2;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    tracing_subscriber::registry().with(layer).with(arguments.log.clone()).init();
    let config = match &arguments.config {
        None => Ok(Config::every_dialect()),
        Some(path) => Config::load(path),
    };
    let mut config = match config {
        Ok(config) => config,
        Err(error) => return fail(&error, NOT_STARTED),
    };
    if let Some(data) = &arguments.data {
        config.data = data.clone();
    }
    match &arguments.command {
        Some(Command::Check) => check(&arguments, &config),
        Some(Command::Backup { directory }) => print(back_up(&config, directory)),
        Some(Command::History(asked)) => print(history(&config, asked)),
        Some(Command::User(command)) => print(accounts::user(&config, command)),
        Some(Command::Group(command)) => print(accounts::group(&config, command)),
        None => serve(&arguments, &config),
    }
}

fn fail(error: &dyn std::fmt::Display, status: u8) -> ExitCode {
    eprintln!("centralad: {error}");
    ExitCode::from(status)
}

fn check(arguments: &Arguments, config: &Config) -> ExitCode {
    let mut page = match &arguments.config {
        Some(path) => format!("configuration: {}\n", path.display()),
        None => "configuration: every dialect on its default address\n".into(),
    };
    let directory = match config.data.directory() {
        Ok(directory) => directory,
        Err(error) => return fail(&error, NOT_STARTED),
    };
    let mut status = ExitCode::SUCCESS;
    match directory {
        None => page += &format!("data: {}\n", MemoryStore::default().describe()),
        Some(directory) if !directory.join(FILE).exists() => {
            page += &format!("data: {}: nothing is stored yet\n", directory.display());
        }
        Some(directory) => match centrala_store::check(&directory) {
            Ok(report) => {
                if !report.is_good() {
                    status = ExitCode::FAILURE;
                }
                page += &stored(&report);
            }
            Err(error) => {
                status = ExitCode::FAILURE;
                page += &format!("data: {error}\n");
            }
        },
    }
    if let Some(direct) = &config.direct {
        page += &format!("direct: {}\n", direct.listen);
    }
    if let Some(native) = &config.native {
        page += &format!("native: {}\n", native.listen);
    }
    if let Some(topics) = &config.topics {
        page += &format!(
            "topics: key {}, mode {:04o}, {} clients, {} topics\n",
            topics.key, topics.mode, topics.clients, topics.topics
        );
    }
    if let Some(queues) = &config.queues {
        page += &format!("queues: key {}, mode {:04o}\n", queues.key, queues.mode);
    }
    if let Some(lanes) = &config.lanes {
        page += &format!(
            "lanes: key {}, mode {:04o}, {} users, {} groups, names in {}\n",
            lanes.key,
            lanes.mode,
            lanes.users,
            lanes.groups,
            lanes.names_file().display()
        );
    }
    if let Some(rooms) = &config.rooms {
        page += &format!("rooms: http://{}/\n", rooms.listen);
    }
    page += &format!("\n{}\n", Sizes::of(config));
    match std::io::stdout().lock().write_all(page.as_bytes()) {
        Ok(()) => status,
        Err(error) => fail(&error, 1),
    }
}

/// What is in the store, and what is wrong with it.
fn stored(report: &centrala_store::Report) -> String {
    let served = if report.served { ", a server has it" } else { "" };
    let mut page = format!(
        "data: {}: schema {}{served}: {} users, {} groups, {} memberships, {} messages, {} waiting\n",
        report.file.display(),
        report.version,
        report.users,
        report.groups,
        report.memberships,
        report.messages,
        report.mail
    );
    for damage in &report.damage {
        page += &format!("damaged: {damage}\n");
    }
    if !report.is_good() {
        page += &format!("damaged: {} in all\n", report.damaged);
    }
    page
}

/// Prints what a command has to say.
fn print(said: Result<String, String>) -> ExitCode {
    match said.map(|page| std::io::stdout().lock().write_all(page.as_bytes())) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => fail(&error, 1),
        Err(error) => fail(&error, 1),
    }
}

/// Opens the store that the configuration names.
fn open(
    arguments: &Arguments,
    config: &Config,
) -> Result<(Box<dyn Keep>, Restored), Box<dyn std::error::Error>> {
    let Some(directory) = config.data.directory()? else {
        let store = MemoryStore::default();
        tracing::warn!("{}", store.describe());
        return Ok((Box::new(store), Restored::default()));
    };
    let opened = Durable::open(&directory, &config.store_options(arguments.quarantine));
    let (mut store, restored) = opened.map_err(|error| match error {
        centrala_store::Error::Damaged { .. } => {
            format!("{error}; --quarantine moves it aside and begins anew")
        }
        error => error.to_string(),
    })?;
    // The server holds back what could tell of a change until it is durable.
    store.store().gather_directory();
    if let Err(error) = store.store().reserve() {
        tracing::warn!(%error, "the first messages may wait for the disk");
    }
    tracing::info!("{}", store.describe());
    if let Some(aside) = &restored.quarantined {
        tracing::error!("the store was damaged: moved to {}, begins anew", aside.display());
    }
    if restored.damaged != 0 {
        tracing::error!(rows = restored.damaged, "damaged rows of the store were left out");
    }
    Ok((Box::new(store), restored))
}

fn serve(arguments: &Arguments, config: &Config) -> ExitCode {
    // Blocked before any thread starts, so that none is ended by them.
    let signals =
        SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1]);
    let signals = signals.thread_block().and_then(|()| {
        SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
    });
    let signals = match signals {
        Ok(signals) => signals,
        Err(error) => return fail(&error, 1),
    };
    raise_descriptor_limit();
    let (store, restored) = match open(arguments, config) {
        Ok(opened) => opened,
        Err(error) => return fail(&error, NOT_STARTED),
    };
    let mut memory = Memory::new(config);
    let server = match Server::start(config, memory.lend(), store, &restored) {
        Ok(server) => server,
        Err(error) => {
            let file = arguments.config.as_ref().map(|path| format!("{}: ", path.display()));
            let error = format!("{}{error}", file.unwrap_or_default());
            return fail(&error, NOT_STARTED);
        }
    };
    drop(restored);
    let mut lines = server.ready().join("\n");
    lines.push('\n');
    let mut stdout = std::io::stdout().lock();
    // Whoever started it may not want to know.
    let _ = stdout.write_all(lines.as_bytes()).and_then(|()| stdout.flush());
    drop(stdout);
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::debug!(%error, "the service manager was not told");
    }
    match server.run(Some(&signals)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}
