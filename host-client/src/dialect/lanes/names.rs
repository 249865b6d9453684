//! The names of users and groups: from the file that the exchange writes, `basic.txt`.
//!
//! A line `"o k name"` is user k, a line `"g j name k1 k2 …"` is group j with its members; `-` is
//! the name of a free place. The exchange writes it anew when anything changes, so that it is read
//! again when somebody is not in it.

use super::super::sysv;
use crate::failure::Failure;
use centrala_core::name::Name;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

/// More than any exchange writes: 99 users and 49 groups of 99 members.
const SIZE_MAX: u64 = 1 << 20;

/// A group of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupLine {
    pub name: String,
    pub members: Vec<u32>,
}

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Lines {
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, GroupLine>,
}

impl Lines {
    fn new(text: &str) -> Lines {
        let mut lines = Lines::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (mark, number) = (words.next(), words.next().and_then(sysv::number));
            let (Some(mark), Some(number), Some(name)) = (mark, number, words.next()) else {
                continue;
            };
            if name == "-" {
                continue;
            }
            let name = name.to_owned();
            match mark {
                "o" => {
                    lines.users.insert(number, name);
                }
                "g" => {
                    let members = words.filter_map(sysv::number).collect();
                    lines.groups.insert(number, GroupLine { name, members });
                }
                _ => {}
            }
        }
        lines
    }
}

/// The names, as far as the file has them; none without a file.
#[derive(Clone, Debug)]
pub struct Names {
    path: Option<PathBuf>,
    lines: Lines,
}

impl Names {
    /// Reads the file.
    ///
    /// # Errors
    /// [`Failure::Usage`]: it cannot be read.
    pub fn read(path: Option<PathBuf>) -> Result<Names, Failure> {
        let mut names = Names { path, lines: Lines::default() };
        match (names.read_again(), &names.path) {
            (Err(error), Some(path)) => Err(Failure::Usage(format!(
                "cannot read the directory {}: {error}",
                path.display()
            ))),
            _ => Ok(names),
        }
    }

    fn read_again(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            let mut bytes = Vec::new();
            File::open(path)?.take(SIZE_MAX).read_to_end(&mut bytes)?;
            self.lines = Lines::new(&String::from_utf8_lossy(&bytes));
        }
        Ok(())
    }

    /// Whether there is a file.
    pub fn known(&self) -> bool {
        self.path.is_some()
    }

    /// User k: its name, or `~k`.
    pub fn user(&mut self, number: u32) -> String {
        if !self.lines.users.contains_key(&number) {
            // What was read before still serves.
            let _ = self.read_again();
        }
        self.lines.users.get(&number).cloned().unwrap_or_else(|| format!("~{number}"))
    }

    /// Group j: its name, or its number.
    pub fn group(&mut self, number: u32) -> String {
        if !self.lines.groups.contains_key(&number) {
            let _ = self.read_again();
        }
        let group = self.lines.groups.get(&number);
        group.map_or_else(|| number.to_string(), |group| group.name.clone())
    }

    /// The groups.
    pub fn groups(&self) -> &BTreeMap<u32, GroupLine> {
        &self.lines.groups
    }

    /// The number of the user of this name.
    pub fn find_user(&self, name: &str) -> Option<u32> {
        self.lines.users.iter().find(|(_, other)| same(other, name)).map(|(number, _)| *number)
    }

    /// The user that was typed, by name or as `~k`.
    ///
    /// # Errors
    /// [`Failure::Usage`]: a name without a file; [`Failure::Refused`]: the file has no such name.
    pub fn typed_user(&self, typed: &str) -> Result<u32, Failure> {
        if let Some(number) = typed.strip_prefix('~').and_then(sysv::number) {
            return Ok(number);
        }
        self.find_user(typed).ok_or_else(|| self.unknown(format!("@{typed}"), "user", "@~5"))
    }

    /// The group that was typed, by name or by number.
    ///
    /// # Errors
    /// As [`Names::typed_user`].
    pub fn typed_group(&self, typed: &str) -> Result<u32, Failure> {
        let named = self.lines.groups.iter().find(|(_, group)| same(&group.name, typed));
        named
            .map(|(number, _)| *number)
            .or_else(|| sysv::number(typed))
            .ok_or_else(|| self.unknown(format!("#{typed}"), "group", "'#3'"))
    }

    fn unknown(&self, typed: String, what: &str, number: &str) -> Failure {
        match &self.path {
            None => Failure::Usage(format!(
                "{typed}: lanes knows a {what} only by number, as {number}, unless it is told \
                 where its server writes the names: --directory PATH"
            )),
            Some(path) => {
                Failure::Refused(format!("{typed}: no {what} of this name in {}", path.display()))
            }
        }
    }
}

/// Whether two names are the same: a space is also written `_`.
pub fn same(name: &str, other: &str) -> bool {
    name == other || Name::new(name.as_bytes()).is_ok_and(|name| name.is(other.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_line_by_line() {
        let text = "o 1 anna \no 2 - \no 3 jan_kowal \ng 1 news 1 3 \ng 2 - \ng 3 empty \n\
                    x 4 other \no x bad \no 0 zero \no 5\n\ng 4 odd 1 x 2";
        let lines = Lines::new(text);
        let group = |name: &str, members: &[u32]| GroupLine {
            name: name.into(),
            members: members.to_vec(),
        };
        assert_eq!(lines.users, [(1, "anna".into()), (3, "jan_kowal".into())].into());
        let groups =
            [(1, group("news", &[1, 3])), (3, group("empty", &[])), (4, group("odd", &[1, 2]))];
        assert_eq!(lines.groups, groups.into());
    }

    #[test]
    fn what_is_typed_is_a_name_of_the_file_or_a_number() {
        let lines = Lines::new("o 1 anna\no 2 jan_kowal\ng 1 news\ng 2 1\n");
        let names = Names { path: Some("basic.txt".into()), lines };
        assert_eq!(names.typed_user("jan kowal").unwrap(), 2);
        assert_eq!(names.typed_user("~7").unwrap(), 7);
        assert_eq!(names.typed_group("news").unwrap(), 1);
        assert_eq!(names.typed_group("1").unwrap(), 2, "a name before a number");
        assert_eq!(names.typed_group("9").unwrap(), 9);
        let failure = names.typed_user("7").unwrap_err();
        assert_eq!(
            (failure.exit_code(), failure.to_string().as_str()),
            (1, "@7: no user of this name in basic.txt")
        );
        let without = Names::read(None).unwrap();
        assert_eq!(without.typed_user("~7").unwrap(), 7);
        for failure in [without.typed_user("anna"), without.typed_group("news")] {
            let failure = failure.unwrap_err();
            assert!(failure.to_string().contains("--directory"), "{failure}");
            assert_eq!(failure.exit_code(), 2);
        }
    }
}
