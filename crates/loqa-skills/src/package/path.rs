//! Which paths a package may hold: those that mean the same file beneath one folder on
//! every system, whatever its case and normalization rules are.
//!
//! Only ASCII is taken, so that no two spellings of one name exist.

use super::{MAX_DEPTH, MAX_PATH_BYTES, PackageError, PackageRule, refused, shown};
use std::collections::{BTreeMap, BTreeSet};

/// Names that Windows gives to devices, whatever ending follows.
const RESERVED: &[&str] = &["con", "prn", "aux", "nul", "conin$", "conout$", "clock$"];
/// The same with a digit behind.
const RESERVED_NUMBERED: &[&str] = &["com", "lpt"];

/// Checks one path as it stands in an archive, with `/` between its parts and none at its end.
pub fn check_path(path: &[u8]) -> Result<&str, PackageError> {
    let broken = |rule, what: &str| Err(refused(rule, format!("`{}` {what}", shown(path))));
    if path.len() > MAX_PATH_BYTES {
        return broken(PackageRule::PathLength, &format!("has more than {MAX_PATH_BYTES} bytes"));
    }
    if path.contains(&b'\\') {
        return broken(PackageRule::Path, "holds a backslash, which separates folders on Windows");
    }
    if path.contains(&b':') {
        return broken(PackageRule::Path, "holds a colon, which names a drive or a stream on Windows");
    }
    if path.starts_with(b"/") {
        return broken(PackageRule::Path, "begins at the root; name files from the skill's own folder");
    }
    if path.split(|byte| *byte == b'/').any(|part| part.is_empty() || part == b"." || part == b"..") {
        return broken(PackageRule::Path, "has a part that is empty, `.` or `..`");
    }
    let path = match std::str::from_utf8(path) {
        Ok(text) if text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/')) => text,
        _ => return broken(PackageRule::Name, "has other characters than A-Z, a-z, 0-9, `.`, `_` and `-`"),
    };
    let broken = |rule, what: &str| Err(refused(rule, format!("`{path}` {what}")));
    if path.split('/').count() > MAX_DEPTH {
        return broken(PackageRule::Depth, &format!("lies deeper than {MAX_DEPTH} parts"));
    }
    for part in path.split('/') {
        if part.ends_with('.') {
            return broken(PackageRule::ReservedName, "has a part that ends with a dot, which Windows drops");
        }
        if part.starts_with('.') {
            return broken(PackageRule::Name, "has a hidden part; leave it out of the package");
        }
        if is_reserved(part) {
            return broken(PackageRule::ReservedName, "has a part that Windows takes for a device");
        }
    }
    Ok(path)
}

fn is_reserved(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or(part).to_ascii_lowercase();
    let numbered = RESERVED_NUMBERED.iter().any(|name| {
        stem.strip_prefix(name).is_some_and(|digit| digit.len() == 1 && digit.as_bytes()[0].is_ascii_digit())
    });
    numbered || RESERVED.contains(&stem.as_str())
}

/// Sees to it that no two paths of one package meet on any file system.
#[derive(Debug, Default)]
pub(super) struct Paths {
    /// Lower-case path to the path as written, and whether it is a file.
    seen: BTreeMap<String, (String, bool)>,
    /// Paths that had an entry of their own; the folders above a file have none.
    entries: BTreeSet<String>,
}

impl Paths {
    /// Takes a checked path in, or says what it collides with.
    pub(super) fn add(&mut self, path: &str, is_file: bool) -> Result<(), PackageError> {
        if !self.entries.insert(path.to_owned()) {
            return Err(refused(PackageRule::Duplicate, format!("`{path}` stands twice")));
        }
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for end in ends {
            let part = &path[..end];
            let part_is_file = is_file && end == path.len();
            let (first, first_is_file) =
                self.seen.entry(part.to_ascii_lowercase()).or_insert_with(|| (part.to_owned(), part_is_file));
            if first != part {
                return Err(refused(PackageRule::Collision, format!("`{first}` and `{part}` differ in case only")));
            }
            if *first_is_file != part_is_file {
                return Err(refused(PackageRule::Collision, format!("`{part}` is a file and a folder")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(path: &[u8]) -> Option<PackageRule> {
        match check_path(path) {
            Ok(_) => None,
            Err(PackageError::Refused { rule, .. }) => Some(rule),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn plain_paths_pass() {
        for path in ["skill.yaml", "timer.wasm", "assets/en/words.txt", "a/b/c/d/e/f/g/h", "Icon-2_x.png", "console"] {
            assert_eq!(rule(path.as_bytes()), None, "{path}");
        }
    }

    #[test]
    fn whatever_could_mean_something_else_somewhere_is_refused() {
        use PackageRule::{Depth, Name, Path, PathLength, ReservedName};
        let long = "a".repeat(201);
        for (path, expected) in [
            ("", Path),
            ("/etc/passwd", Path),
            ("../x", Path),
            ("a/../../x", Path),
            ("a//b", Path),
            ("./a", Path),
            ("a/.", Path),
            ("a\\b", Path),
            ("C:x", Path),
            ("x:stream", Path),
            ("a b", Name),
            ("a\0b", Name),
            ("a\u{1b}[2J", Name),
            ("ka\u{308}se", Name),
            ("k\u{e4}se", Name),
            ("~", Name),
            (".ssh/id", Name),
            ("a/.hidden", Name),
            ("a.", ReservedName),
            ("CON", ReservedName),
            ("con.txt", ReservedName),
            ("x/aux.tar.gz", ReservedName),
            ("LPT1", ReservedName),
            ("com0.log", ReservedName),
            ("a/b/c/d/e/f/g/h/i", Depth),
            (long.as_str(), PathLength),
        ] {
            assert_eq!(rule(path.as_bytes()), Some(expected), "{path:?}");
        }
        assert_eq!(rule(b"\xff\xfe"), Some(Name), "bytes that are no text");
    }

    #[test]
    fn paths_that_meet_somewhere_are_refused() {
        let add = |paths: &[(&str, bool)]| {
            let mut seen = Paths::default();
            paths.iter().try_for_each(|(path, is_file)| seen.add(path, *is_file)).err().map(|error| match error {
                PackageError::Refused { rule, .. } => rule,
                other => panic!("{other}"),
            })
        };
        assert_eq!(add(&[("a", false), ("a/b", true), ("a/c", true)]), None);
        assert_eq!(add(&[("a", true), ("a", true)]), Some(PackageRule::Duplicate));
        assert_eq!(add(&[("a", true), ("A", true)]), Some(PackageRule::Collision));
        assert_eq!(add(&[("a/x", true), ("A/y", true)]), Some(PackageRule::Collision));
        assert_eq!(add(&[("a", true), ("a/y", true)]), Some(PackageRule::Collision));
        assert_eq!(add(&[("a/y", true), ("a", true)]), Some(PackageRule::Collision));
    }
}
