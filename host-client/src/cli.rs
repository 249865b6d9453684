//! The command line.

use crate::bench::{self, Bench};
use crate::dialect::{self, Group, To};
use crate::failure::Failure;
use crate::output::{Line, Output};
use crate::signals::Stop;
use crate::url::{Dialect, Password, Place, Url};
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

const AFTER_HELP: &str = "\
A URL names dialect, user and place:
  native://anna@127.0.0.1:4811   all that an exchange can do, over TCP; the default, with $USER
  native+serial://anna@/dev/ttyUSB0
                                 the same on a serial line (its speed: stty -F /dev/ttyUSB0 115200),
                                 or at HOST:PORT on one that a program offers there
  direct://anna@127.0.0.1:4810   direct messages over TCP
  queues://anna:secret@99999     direct messages and numbered groups over SysV queues
  lanes://anna:secret@6661       the same over one SysV queue; names of others come from the file
                                 that its server writes: ?directory=PATH behind it, or --directory
  topics://anna@12345            named topics over SysV queues
99999, 6661 and 12345 are the servers' queue keys.
The place may be left out. A password goes between user and '@', as in anna:secret@, with %XX for
special characters, or better into CENTRALA_PASSWORD, where no list of processes shows it.

A message that comes while another command than 'listen' runs is printed on standard error.

Exit codes:
  0  done; 'listen' also when it is ended by Ctrl-C or SIGTERM
  1  the exchange refused, is not reachable or went away; or a signal ended another command
  2  wrong usage, or the dialect has no such command";

/// Client of a Centrala exchange: sends and prints messages in every dialect.
#[derive(Debug, Parser)]
#[command(name = "centrala", version, after_help = AFTER_HELP)]
pub struct Cli {
    /// Dialect, user and place (see below).
    #[arg(long, env = "CENTRALA_URL", hide_env_values = true, global = true)]
    url: Option<String>,
    /// The file in which a server of lanes writes the names of users and groups.
    #[arg(long, value_name = "PATH", global = true)]
    directory: Option<PathBuf>,
    /// Print one JSON object a line.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send a message and say what became of it.
    Send {
        /// @user or '#group' (in quotes: to a shell, # begins a comment). Numbers: @~5, '#5'.
        to: To,
        /// The message; - reads standard input.
        text: OsString,
        /// 1 (highest) to 5.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=5))]
        priority: Option<u8>,
    },
    /// Print messages as they come, until Ctrl-C.
    Listen {
        /// Only messages of these groups.
        groups: Vec<Group>,
        /// Print the messages that are there already, and end.
        #[arg(long)]
        sync: bool,
    },
    /// List the users.
    Users,
    /// List the groups.
    Groups {
        /// Only those joined.
        #[arg(long)]
        mine: bool,
    },
    /// List who has joined a group.
    Members {
        /// The group, with or without its #.
        group: Group,
    },
    /// Make a group.
    Create {
        /// Its name, with or without #.
        group: Group,
    },
    /// Join a group.
    Join {
        /// The group, with or without its #.
        group: Group,
        /// Only for so many messages.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        count: Option<u32>,
    },
    /// Leave a group.
    Leave {
        /// The group, with or without its #.
        group: Group,
    },
    /// Print what was said before.
    History {
        /// @user or '#group'.
        of: To,
    },
    /// Shut the exchange down.
    Shutdown,
    /// Measure an exchange: what it takes, and what that costs it.
    Bench {
        #[command(subcommand)]
        bench: Bench,
    },
}

/// Does what was typed.
///
/// # Errors
/// [`Failure`], which has the message and the exit code.
pub fn run(cli: Cli) -> Result<(), Failure> {
    let mut url = match cli.url {
        Some(url) => Url::parse(&url)?,
        None => Url::default_of(std::env::var("USER").ok())?,
    };
    if url.password.is_none() {
        let password = std::env::var("CENTRALA_PASSWORD").ok();
        url.password = password.filter(|text| !text.is_empty()).map(Password::new);
    }
    if let Some(directory) = cli.directory {
        if url.dialect != Dialect::Lanes {
            return Err(Failure::Usage(format!("--directory is for lanes, not {}", url.dialect)));
        }
        url.directory = Some(directory);
    }
    let mut command = cli.command;
    if let Command::Send { text, .. } = &mut command
        && text == "-"
    {
        // Before signals are handled, so that Ctrl-C ends it.
        *text = OsString::from_vec(standard_input()?);
    }
    let stop = Stop::by_signal()?;
    if let Command::Bench { bench } = &command {
        if matches!(url.place, Place::Line { .. } | Place::Device(_)) {
            return Err(Failure::Usage(
                "'bench' opens many connections: a serial line is one".into(),
            ));
        }
        return bench::run(&url, bench, &stop, cli.json);
    }
    execute(&url, command, &stop, cli.json)
}

fn execute(url: &Url, command: Command, stop: &Stop, json: bool) -> Result<(), Failure> {
    let mut messages = Output::standard(json);
    let lines = {
        let mut client = dialect::client(url, stop, &mut messages);
        match command {
            Command::Send { to, text, priority } => {
                let fate = client.send(&to, text.as_bytes(), priority)?;
                vec![Line::Sent { to: to.to_string(), fate }]
            }
            Command::Listen { groups, sync } => {
                client.listen(&groups, sync)?;
                Vec::new()
            }
            Command::Users => {
                let users = client.users()?.into_iter();
                users.map(|user| Line::User { number: user.number, name: user.name }).collect()
            }
            Command::Groups { mine } => {
                let groups = client.groups(mine)?.into_iter();
                groups.map(|group| Line::Group { number: group.number, name: group.name }).collect()
            }
            Command::Members { group } => {
                let members = client.members(&group)?.into_iter();
                members.map(|user| Line::User { number: user.number, name: user.name }).collect()
            }
            Command::Create { group } => {
                client.create(&group)?;
                vec![Line::Created { group: group.0 }]
            }
            Command::Join { group, count } => {
                client.join(&group, count)?;
                vec![Line::Joined { group: group.0, count }]
            }
            Command::Leave { group } => {
                client.leave(&group)?;
                vec![Line::Left { group: group.0 }]
            }
            Command::History { of } => {
                client.history(&of)?;
                Vec::new()
            }
            Command::Shutdown => {
                client.shutdown()?;
                vec![Line::ShutDown]
            }
            // It has connections of its own.
            Command::Bench { .. } => Vec::new(),
        }
    };
    lines.iter().try_for_each(|line| messages.print(line))
}

/// The longest text that is read: more than any dialect takes, so that the dialect says how much
/// it does.
const TEXT_MAX: u64 = 1 << 20;

/// All of standard input, without the end of its last line.
fn standard_input() -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    std::io::stdin().lock().take(TEXT_MAX).read_to_end(&mut text)?;
    if text.ends_with(b"\n") {
        text.pop();
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn recipients_and_groups_are_checked_when_they_are_typed() {
        let parse = |args: &[&str]| {
            Cli::try_parse_from([&["centrala"], args].concat()).map_err(|e| e.to_string())
        };
        for good in [
            &["send", "@anna", "hi"][..],
            &["send", "#news", "-"],
            &["send", "@~12", "hi", "--priority", "1", "--json", "--url", "x"],
            &["--url", "x", "listen"],
            &["listen", "--sync", "news", "#more"],
            &["join", "news", "--count", "5"],
            &["groups", "--mine"],
            &["bench", "fanout", "--subscribers", "100", "--messages", "5", "--json"],
            &["bench", "latency", "--relay"],
            &["bench", "idle", "--connections", "1000", "--pid", "1"],
        ] {
            assert!(parse(good).is_ok(), "{good:?}");
        }
        for (bad, says) in [
            (&["send", "anna", "hi"][..], "neither @user nor #group"),
            (&["send", "@", "hi"], "at least one byte"),
            (&["send", "@anna"], "<TEXT>"),
            (&["send", "@anna", "hi", "--priority", "6"], "1..=5"),
            (&["join", "#news", "--count", "0"], "1.."),
            (&["create", "a/b"], "no '/'"),
            (&["bench", "fast"], "unrecognized subcommand"),
            (&["bench", "fanout", "--subscribers", "0"], "1..=50000"),
            (&["bench", "fanout", "--size", "15"], "16..="),
            (&["bench", "pairs", "--messages", "1", "--seconds", "1"], "cannot be used with"),
            (&["bench", "idle", "--seconds", "3601"], "1..=3600"),
        ] {
            let error = parse(bad).unwrap_err();
            assert!(error.contains(says), "{bad:?}: {error}");
        }
    }
}
