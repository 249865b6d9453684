//! What was said: `centralad history`, beside a running server or without one.

use std::time::{Duration, UNIX_EPOCH};

use centrala_core::name::Name;
use centrala_store::{Conversation, FILE, Restored, View};
use clap::Args;

use crate::config::Config;

/// Messages of one page, at most.
const MOST: u32 = 1_000;

/// `centralad history`.
#[derive(Clone, Debug, Args)]
pub struct History {
    /// A group, as "#NAME" or "#NUMBER"; or two users, as "@NAME @NAME"
    #[arg(required = true, num_args = 1..=2, value_name = "OF")]
    of: Vec<String>,
    /// Only messages older than this one, by the number that begins its line
    #[arg(long, value_name = "NUMBER")]
    before: Option<u64>,
    /// At most so many of the newest
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST)))]
    limit: u32,
}

/// A page of a history, oldest first: number, time, sender and text, with tabs between. A text is
/// one line: its control characters are shown as U+FFFD.
///
/// # Errors
/// One line: what is not there, or cannot be read.
pub fn history(config: &Config, asked: &History) -> Result<String, String> {
    let directory = config.data.directory().map_err(|error| error.to_string())?;
    let directory = directory.ok_or("data: \":memory:\" keeps no history")?;
    if !directory.join(FILE).exists() {
        return Err(format!("{}: nothing is stored yet", directory.display()));
    }
    let view = View::open(&directory).map_err(|error| error.to_string())?;
    let restored = view.restored().map_err(|error| error.to_string())?;
    let of = conversation(&asked.of, &restored)?;
    let mut lines = String::new();
    // The store gives smaller pages where texts are long.
    let (mut pages, mut before, mut left) = (Vec::new(), asked.before, asked.limit);
    loop {
        let page = view.history(of, before, left).map_err(|error| error.to_string())?;
        if page.damaged != 0 {
            tracing::error!(messages = page.damaged, "damaged messages were left out");
        }
        left = left.saturating_sub(page.messages.len() as u32);
        before = page.before;
        let empty = page.messages.is_empty();
        pages.push(page.messages);
        if left == 0 || before.is_none() || empty {
            break;
        }
    }
    for message in pages.iter().rev().flatten() {
        let posted = message.record();
        let from = restored.users.iter().find(|user| user.number == posted.from);
        let from = from.map_or("?".into(), |user| String::from_utf8_lossy(&user.name));
        let time = UNIX_EPOCH + Duration::from_millis(posted.time);
        let time = humantime::format_rfc3339_seconds(time);
        let text = String::from_utf8_lossy(posted.text).replace(char::is_control, "\u{fffd}");
        // Numbers begin high, so that what is handed back has room before them.
        lines += &format!("{}\t{time}\t{from}\t{text}\n", posted.sequence);
    }
    Ok(lines)
}

fn conversation(of: &[String], restored: &Restored) -> Result<Conversation, String> {
    match of {
        [group] if group.starts_with('#') => {
            let group = group.trim_start_matches('#');
            let found = restored.groups.iter().find(|at| is(&at.name, at.number, group));
            let found = found.ok_or_else(|| format!("there is no group \"{group}\""))?;
            Ok(Conversation::Group(found.number))
        }
        [a, b] if a.starts_with('@') && b.starts_with('@') => {
            let find = |user: &str| {
                let user = user.trim_start_matches('@');
                let found = restored.users.iter().find(|at| is(&at.name, at.number, user));
                found.map(|at| at.number).ok_or_else(|| format!("there is no user \"{user}\""))
            };
            Ok(Conversation::Pair(find(a)?, find(b)?))
        }
        _ => Err("a history is of a group, \"#NAME\", or of two users, \"@NAME @NAME\"".into()),
    }
}

/// Whether a name, or else a number, means this one.
fn is(name: &[u8], number: u32, asked: &str) -> bool {
    Name::new(name).is_ok_and(|name| name.is(asked.as_bytes()))
        || asked.parse().is_ok_and(|asked: u32| asked == number)
}
