//! Users and groups, changed while the server is stopped: `centralad user …`, `centralad group …`.
//!
//! They work on the store as the server does, so by the exchange's own rules for names and numbers.
//! While a server has the store they are refused: it has the directory locked.

use std::io::{IsTerminal, Read, Write};

use centrala_core::exchange::{Exchange, Refused, Token};
use centrala_core::host::{Io, NoRoom, Record, Store};
use centrala_core::request::Target;
use centrala_store::{FILE, Restored};
use clap::Subcommand;
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};

use crate::config::Config;
use crate::passwords;
use crate::restore::{Nobody, restore};
use crate::store::{Durable, Keep};
use crate::tables::Memory;

/// `centralad user`.
#[derive(Clone, Debug, Subcommand)]
pub enum User {
    /// Add a user, with a password that is asked for
    Add {
        /// Its name
        name: String,
        /// Read the password from standard input, up to the end of the first line
        #[arg(long, conflicts_with = "no_password")]
        password_stdin: bool,
        /// Give it none: whoever gives the name is let in
        #[arg(long)]
        no_password: bool,
    },
    /// Set a user's password
    Passwd {
        /// Its name
        name: String,
        /// Read the password from standard input, up to the end of the first line
        #[arg(long, conflicts_with = "no_password")]
        password_stdin: bool,
        /// Take it away: whoever gives the name is let in
        #[arg(long)]
        no_password: bool,
    },
    /// Remove a user, with its memberships and mail; its number is not given to others soon
    Remove {
        /// Its name
        name: String,
    },
    /// List users: number, name, whether it has a password, messages that wait; tabs between
    List,
}

/// `centralad group`.
#[derive(Clone, Debug, Subcommand)]
pub enum Group {
    /// Add a group
    Add {
        /// Its name
        name: String,
    },
    /// Remove a group, with its memberships
    Remove {
        /// Its name
        name: String,
    },
    /// List groups: number, name, owner, number of members; tabs between
    List,
}

/// The store of a server that is stopped, and an exchange over it.
#[derive(Debug)]
struct Stopped<'m> {
    exchange: Exchange<'m>,
    store: Durable,
    restored: Restored,
}

/// Does what was asked; returns what is to be printed.
///
/// # Errors
/// One line: what is wrong, or who has the store.
pub fn user(config: &Config, command: &User) -> Result<String, String> {
    // Asked before the store is taken: nobody waits for a person who types.
    let password = match command {
        User::Add { no_password: true, .. } | User::Passwd { no_password: true, .. } => None,
        User::Add { password_stdin, .. } | User::Passwd { password_stdin, .. } => {
            let password = read_password(*password_stdin)?;
            Some(passwords::hash(&password).ok_or("the system has no randomness for a salt")?)
        }
        User::Remove { .. } | User::List => None,
    };
    if matches!(command, User::List) && !kept(config)? {
        return Ok(String::new());
    }
    stopped(config, |mut stopped| match command {
        User::Add { name, .. } => {
            let number = stopped.add(name, password)?;
            stopped.close()?;
            Ok(format!("user {number}: {name}\n"))
        }
        User::Passwd { name, .. } => {
            let number = stopped.find_user(name)?;
            let set = stopped.store.store().set_password(number, password.as_deref());
            set.map_err(|error| error.to_string())?;
            stopped.close()?;
            Ok(String::new())
        }
        User::Remove { name } => {
            let number = stopped.find_user(name)?;
            let io = &mut Io { now: 0, time: 0, store: &mut stopped.store, out: &mut Nobody };
            let removed = stopped.exchange.remove_user(number, io);
            removed.map_err(|refused| stopped.why(name, refused))?;
            stopped.close()?;
            Ok(String::new())
        }
        User::List => Ok(stopped.users()),
    })
}

/// Does what was asked; returns what is to be printed.
///
/// # Errors
/// One line: what is wrong, or who has the store.
pub fn group(config: &Config, command: &Group) -> Result<String, String> {
    if matches!(command, Group::List) && !kept(config)? {
        return Ok(String::new());
    }
    stopped(config, |mut stopped| match command {
        Group::Add { name } => {
            let made = stopped.exchange.create_group(name.as_bytes(), 0, &mut stopped.store);
            let number = made.map_err(|refused| stopped.why(name, refused))?;
            stopped.close()?;
            Ok(format!("group {number}: {name}\n"))
        }
        Group::Remove { name } => {
            let found = stopped.exchange.find_group(Target::GroupName(name.as_bytes()));
            let number = found.ok_or_else(|| format!("there is no group \"{name}\""))?.number;
            let removed = stopped.exchange.remove_group(number, &mut stopped.store);
            removed.map_err(|refused| stopped.why(name, refused))?;
            stopped.close()?;
            Ok(String::new())
        }
        Group::List => Ok(stopped.groups()),
    })
}

/// Whether there is a store yet.
fn kept(config: &Config) -> Result<bool, String> {
    let directory = config.data.directory().map_err(|error| error.to_string())?;
    let directory = directory.ok_or("data: \":memory:\" keeps no users and groups")?;
    Ok(directory.join(FILE).exists())
}

fn stopped<T>(
    config: &Config,
    change: impl FnOnce(Stopped<'_>) -> Result<T, String>,
) -> Result<T, String> {
    let directory = config.data.directory().map_err(|error| error.to_string())?;
    let directory = directory.ok_or("data: \":memory:\" keeps no users and groups")?;
    let (store, restored) = Durable::open(&directory, &config.store_options(false))
        .map_err(|error| error.to_string())?;
    let mut memory = Memory::new(config);
    let mut exchange = Exchange::new(memory.lend(), config.exchange_limits());
    restore(&mut exchange, &restored).map_err(|error| error.to_string())?;
    change(Stopped { exchange, store, restored })
}

impl Stopped<'_> {
    fn why(&mut self, name: &str, refused: Refused) -> String {
        match (refused, self.store.store().trouble()) {
            (Refused::Full(_), Some(error)) => error.to_string(),
            _ => format!("\"{name}\": {refused}"),
        }
    }

    fn find_user(&self, name: &str) -> Result<u32, String> {
        let found = self.exchange.find_user(Target::UserName(name.as_bytes()));
        Ok(found.ok_or_else(|| format!("there is no user \"{name}\""))?.number)
    }

    fn add(&mut self, name: &str, password: Option<String>) -> Result<u32, String> {
        let mut store = WithSecret { store: &mut self.store, secret: None };
        if let Some(password) = password {
            store.store.hold_secret(Token::NONE, password);
            store.secret = Some(Token::NONE);
        }
        let made = self.exchange.create_user(name.as_bytes(), &mut store);
        made.map_err(|refused| self.why(name, refused))
    }

    /// Commits what is left. What was changed here is durable before.
    fn close(mut self) -> Result<(), String> {
        self.store.store().commit().map_err(|error| error.to_string())
    }

    fn users(&self) -> String {
        let mut lines = String::new();
        for user in &self.restored.users {
            let waiting =
                self.restored.mail.binary_search_by_key(&user.number, |waiting| waiting.user);
            let waiting = waiting.map_or(0, |place| self.restored.mail[place].messages);
            let name = String::from_utf8_lossy(&user.name);
            let password = if user.password.is_some() { "password" } else { "-" };
            lines += &format!("{}\t{name}\t{password}\t{waiting}\n", user.number);
        }
        lines
    }

    fn groups(&self) -> String {
        let mut lines = String::new();
        for group in self.exchange.groups() {
            let owner = self.exchange.owner_of(group.number);
            let owner = owner.map_or("-".into(), |owner| String::from_utf8_lossy(owner.name));
            let members = self.exchange.members(group.number).count();
            let name = String::from_utf8_lossy(group.name);
            lines += &format!("{}\t{name}\t{owner}\t{members}\n", group.number);
        }
        lines
    }
}

/// Gives the user that is made its password, in the same record.
#[derive(Debug)]
struct WithSecret<'s> {
    store: &'s mut Durable,
    secret: Option<Token>,
}

impl Store for WithSecret<'_> {
    fn write(&mut self, record: Record<'_>) -> Result<(), NoRoom> {
        match record {
            Record::User { number, name, secret: None } => {
                self.store.write(Record::User { number, name, secret: self.secret })
            }
            record => self.store.write(record),
        }
    }
}

/// A password: one line of standard input, or asked for twice where a person types.
fn read_password(stdin: bool) -> Result<Box<[u8]>, String> {
    let input = std::io::stdin();
    let password = if stdin {
        line().map_err(|error| format!("standard input: {error}"))?
    } else if input.is_terminal() {
        let (first, again) = (ask("Password: ")?, ask("Again: ")?);
        if first != again {
            return Err("the passwords differ".into());
        }
        first
    } else {
        return Err("standard input is no terminal: give --password-stdin or --no-password".into());
    };
    match password.is_empty() {
        true => Err("the password is empty; --no-password gives none".into()),
        false => Ok(password),
    }
}

/// Asks a person, who does not see what it types.
fn ask(prompt: &str) -> Result<Box<[u8]>, String> {
    let asked = || {
        let (input, mut output) = (std::io::stdin(), std::io::stderr());
        output.write_all(prompt.as_bytes())?;
        let shown = tcgetattr(&input)?;
        let mut hidden = shown.clone();
        hidden.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(&input, SetArg::TCSANOW, &hidden)?;
        let line = line();
        tcsetattr(&input, SetArg::TCSANOW, &shown)?;
        output.write_all(b"\n")?;
        line
    };
    asked().map_err(|error: std::io::Error| format!("the terminal: {error}"))
}

/// One line of standard input, without its end.
fn line() -> std::io::Result<Box<[u8]>> {
    let mut line = Vec::new();
    for byte in std::io::stdin().lock().bytes() {
        match byte? {
            b'\n' => break,
            byte => line.push(byte),
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(line.into())
}
