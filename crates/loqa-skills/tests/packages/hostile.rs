//! Archives that somebody made by hand to do harm, each with the rule that stops it.

use crate::archive::{Archive, Entry, Sentinels, good_entries, manifest, module};
use loqa_skills::package::{Package, PackageError, PackageRule};

/// A good package with one more entry.
fn with(entry: Entry) -> Archive {
    let mut entries = good_entries();
    entries.push(entry);
    Archive { entries, ..Archive::default() }
}

/// A good package with its README changed.
fn changed(change: impl FnOnce(&mut Entry)) -> Archive {
    let mut archive = Archive { entries: good_entries(), ..Archive::default() };
    change(&mut archive.entries[0]);
    archive
}

fn whole(change: impl FnOnce(&mut Archive)) -> Archive {
    let mut archive = Archive { entries: good_entries(), ..Archive::default() };
    change(&mut archive);
    archive
}

/// Zeros, deflated by the `zip` crate, as the contents of an entry.
fn bomb(n_bytes: usize) -> Entry {
    use std::io::Write as _;
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer.start_file("x", options).unwrap();
    let zeros = vec![0_u8; 1 << 20];
    for _ in 0..n_bytes >> 20 {
        writer.write_all(&zeros).unwrap();
    }
    let bytes = writer.finish().unwrap().into_inner();
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(&bytes)).unwrap();
    let (at, packed, crc) = {
        let entry = archive.by_index(0).unwrap();
        (entry.data_start().unwrap() as usize, entry.compressed_size() as usize, entry.crc32())
    };
    Entry { method: 8, crc: Some(crc), size: Some(n_bytes as u32), ..Entry::file("bomb.bin", &bytes[at..at + packed]) }
}

fn cases() -> Vec<(&'static str, PackageRule, Archive)> {
    use PackageRule::{
        Collision, Compression, Container, Content, Damaged, Depth, Duplicate, Encrypted, Entries, EntryType, Name,
        Path, PathLength, Ratio, ReservedName, Signature, Size,
    };
    let file = |name: &str| with(Entry::file(name, "x"));
    let of_type = |mode| with(Entry::of_type("x", "/etc/passwd", mode));
    let long = format!("{}/{}", "a".repeat(100), "b".repeat(100));
    let mut cases = vec![
        ("one folder up", Path, file("../x")),
        ("many folders up", Path, file("../../../../../../../../x")),
        ("up in the middle", Path, file("assets/../../x")),
        ("up at the end", Path, file("assets/..")),
        ("a dot", Path, file("./x")),
        ("absolute", Path, file("/etc/cron.d/x")),
        ("absolute, twice", Path, file("//etc/x")),
        ("an empty part", Path, file("assets//x")),
        ("backslashes up", Path, file("..\\..\\x")),
        ("a backslash", Path, file("assets\\x")),
        ("a drive", Path, file("C:\\x")),
        ("a drive's own folder", Path, file("C:x")),
        ("a share", Path, file("\\\\host\\share\\x")),
        ("a device path", Path, file("\\\\?\\C:\\x")),
        ("a stream", Path, file("README.md:x")),
        ("an empty name", Path, file("")),
        ("only a slash", Path, with(Entry::folder("/"))),
        ("a folder up", Path, with(Entry::folder("../"))),
        ("two slashes at the end", Path, with(Entry::folder("a//"))),
        ("a hidden file", Name, file(".bashrc")),
        ("a hidden folder", Name, file(".ssh/authorized_keys")),
        ("a tilde", Name, file("~/x")),
        ("a zero byte", Name, file("x\0.txt")),
        ("an escape sequence", Name, file("x\u{1b}[2J")),
        ("a line break", Name, file("x\ny")),
        ("a right-to-left mark", Name, file("\u{202e}gpj.exe")),
        ("composed", Name, file("k\u{e4}se")),
        ("decomposed", Name, file("ka\u{308}se")),
        ("full-width dots", Name, file("\u{ff0e}\u{ff0e}/x")),
        ("no text", Name, with(Entry::file([0xff, 0xfe, b'x'], "x"))),
        ("overlong dots", Name, with(Entry::file([0xc0, 0xae, 0xc0, 0xae, b'/', b'x'], "x"))),
        ("a space at the end", Name, file("x ")),
        ("a wildcard", Name, file("*")),
        ("a dollar", Name, file("$HOME")),
        ("a dot at the end", ReservedName, file("skill.yaml.")),
        ("three dots", ReservedName, file("assets/x...")),
        ("CON", ReservedName, file("CON")),
        ("con with an ending", ReservedName, file("con.txt")),
        ("nul in a folder", ReservedName, file("nul/x")),
        ("a printer", ReservedName, file("assets/LPT1.md")),
        ("a port", ReservedName, file("com9")),
        ("too deep", Depth, file("a/b/c/d/e/f/g/h/i")),
        ("too long", PathLength, file(&long)),
        ("the manifest twice", Duplicate, with(Entry::file("skill.yaml", manifest("test", "1.0.0", "")))),
        ("a folder twice", Duplicate, with(Entry::folder("assets/"))),
        ("the manifest in capitals", Collision, file("SKILL.YAML")),
        ("a folder in capitals", Collision, file("Assets/x")),
        ("a file that is a folder", Duplicate, file("assets")),
        ("a folder that is a file", Collision, file("README.md/x")),
        ("a symbolic link", EntryType, of_type(0o120_777)),
        ("a pipe", EntryType, of_type(0o010_644)),
        ("a character device", EntryType, of_type(0o020_644)),
        ("a block device", EntryType, of_type(0o060_644)),
        ("a socket", EntryType, of_type(0o140_644)),
        ("no type that there is", EntryType, of_type(0o150_644)),
        ("a folder by its mode only", EntryType, with(Entry::of_type("x", "", 0o040_755))),
        ("a file by its mode only", EntryType, with(Entry::of_type("x/", "", 0o100_644))),
        ("a link that is called a folder", EntryType, with(Entry::of_type("x/", "", 0o120_777))),
        ("a folder for MS-DOS", EntryType, with(Entry { host: 0, attributes: 0x10, ..Entry::file("x", "") })),
        ("a volume label", EntryType, with(Entry { host: 0, attributes: 0x08, ..Entry::file("x", "") })),
        ("a folder with contents", EntryType, with(Entry { content: b"x".to_vec(), ..Entry::folder("b/") })),
        ("a link made on MS-DOS", EntryType, with(Entry { host: 0, ..Entry::of_type("x", "/etc", 0o120_777) })),
        ("encrypted", Encrypted, changed(|readme| readme.flags = 1)),
        ("strongly encrypted", Encrypted, changed(|readme| readme.flags = 1 << 6)),
        ("with masked headers", Encrypted, changed(|readme| readme.flags = 1 << 13)),
        ("imploded", Compression, changed(|readme| readme.method = 6)),
        ("LZMA", Compression, changed(|readme| readme.method = 14)),
        ("AES", Compression, changed(|readme| readme.method = 99)),
        ("a descriptor behind the contents", Container, changed(|readme| readme.flags = 1 << 3)),
        ("a patch", Container, changed(|readme| readme.flags = 1 << 5)),
        (
            "another name in an extra field",
            Container,
            changed(|readme| readme.extra = b"up\x05\0\x01\0\0\0\0".to_vec()),
        ),
        (
            "sizes in an extra field",
            Container,
            changed(|readme| readme.extra = [&[1, 0, 16, 0][..], &[0; 16]].concat()),
        ),
        ("a comment on an entry", Container, changed(|readme| readme.comment = b"x".to_vec())),
        (
            "another name before the contents",
            Container,
            changed(|readme| readme.local_name = Some(b"../READ.m".to_vec())),
        ),
        ("contents of another entry", Container, changed(|readme| readme.offset = Some(100))),
        ("contents far away", Container, changed(|readme| readme.offset = Some(u32::MAX))),
        ("a size beyond the end", Container, changed(|readme| readme.packed = Some(1 << 30))),
        ("contents between entries", Container, changed(|readme| readme.gap = b"PK\x03\x04".to_vec())),
        ("something in front", Container, whole(|archive| archive.before = b"MZ".to_vec())),
        ("something behind", Container, whole(|archive| archive.after = b"x".to_vec())),
        ("a comment", Container, whole(|archive| archive.comment = b"PK\x05\x06".to_vec())),
        ("fewer entries than there are", Container, whole(|archive| archive.count = Some(4))),
        ("more entries than there are", Container, whole(|archive| archive.count = Some(6))),
        ("no entry", Content, Archive::default()),
        ("no manifest", Content, whole(|archive| drop(archive.entries.remove(3)))),
        ("no module", Content, whole(|archive| drop(archive.entries.remove(4)))),
        (
            "the skill in a folder",
            Content,
            whole(|archive| {
                for entry in &mut archive.entries {
                    entry.name = [b"test/", entry.name.as_slice()].concat();
                }
            }),
        ),
        ("a wrong checksum", Damaged, changed(|readme| readme.crc = Some(1))),
        ("no deflate data", Damaged, changed(|readme| readme.method = 8)),
        ("a smaller size than it has", Damaged, {
            let mut entry = bomb(1 << 20);
            entry.size = Some(1_000);
            with(entry)
        }),
        ("a bomb", Ratio, with(bomb(32 << 20))),
        ("a size that it does not have", Ratio, changed(|readme| readme.size = Some(32 << 20))),
        ("many bombs below the ratio", Size, {
            let mut archive = with(Entry::file("x", "x"));
            for idx in 0..5 {
                let name = format!("big-{idx}");
                archive.entries.push(Entry { size: Some(30 << 20), ..Entry::file(name, vec![0; 400_000]) });
            }
            archive
        }),
        ("too many entries", Entries, {
            let mut archive = with(Entry::file("x", "x"));
            archive.entries.extend((0..2_000).map(|idx| Entry::file(format!("x-{idx}"), "")));
            archive
        }),
        ("a signature that is none", Signature, file("signature.json")),
        ("a signature of another package", Signature, with(Entry::file("signature.json", foreign_signature()))),
    ];
    cases.push(("a module in a nested package", Content, {
        let inner = Archive { entries: good_entries(), ..Archive::default() }.bytes();
        Archive {
            entries: vec![Entry::file("inner.loqaskill", inner), Entry::file("test.wasm", module("x"))],
            ..Archive::default()
        }
    }));
    cases
}

fn foreign_signature() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("skill.yaml"), manifest("other", "1.0.0", "")).unwrap();
    std::fs::write(folder.path().join("test.wasm"), module("other")).unwrap();
    let key = loqa_skills::package::PublisherKey::generate();
    let packed = loqa_skills::package::pack(folder.path(), Some(&key)).unwrap();
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(packed)).unwrap();
    let mut signature = Vec::new();
    std::io::Read::read_to_end(&mut archive.by_name("signature.json").unwrap(), &mut signature).unwrap();
    signature
}

#[test]
fn the_good_package_is_good() {
    let bytes = Archive { entries: good_entries(), ..Archive::default() }.bytes();
    let package = Package::read(&bytes).unwrap();
    assert_eq!(package.manifest().name, "test");
    let sentinels = Sentinels::new();
    let folder = sentinels.staging().join("a");
    package.unpack_into(&folder).unwrap();
    assert_eq!(std::fs::read_to_string(folder.join("assets/words.txt")).unwrap(), "one two\n");
    assert!(package.unpack_into(&folder).is_err(), "what is there already is never written over");
    assert!(sentinels.are_untouched());
}

#[test]
fn every_hostile_archive_is_refused_by_its_rule() {
    let cases = cases();
    assert!(cases.len() >= 80, "{} archives", cases.len());
    let mut used: Vec<PackageRule> = cases.iter().map(|(_, rule, _)| *rule).collect();
    let mut wrong = Vec::new();
    for (what, expected, archive) in cases {
        match Package::read(&archive.bytes()) {
            Err(PackageError::Refused { rule, message }) => {
                if rule != expected {
                    wrong.push(format!("{what}: {rule} instead of {expected}: {message}"));
                }
                if !message.chars().all(|c| c == '…' || c == ' ' || c.is_ascii_graphic()) {
                    wrong.push(format!("{what} gets into {message:?}"));
                }
            }
            Err(other) => wrong.push(format!("{what}: {other}")),
            Ok(_) => wrong.push(format!("{what} is accepted")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    used.sort();
    used.dedup();
    let unused: Vec<_> = PackageRule::ALL.iter().filter(|rule| !used.contains(rule)).collect();
    assert!(unused.is_empty(), "no archive breaks {unused:?}");
}

#[test]
fn a_package_that_is_too_large_is_not_looked_at() {
    let bytes = vec![0; (64 << 20) + 1];
    assert!(matches!(Package::read(&bytes), Err(PackageError::Refused { rule: PackageRule::Size, .. })));
}

#[cfg(unix)]
#[test]
fn a_link_that_appears_in_the_way_is_not_followed() {
    let sentinels = Sentinels::new();
    let package = Package::read(&Archive { entries: good_entries(), ..Archive::default() }.bytes()).unwrap();
    let place = sentinels.staging().join("a");
    std::os::unix::fs::symlink(sentinels.staging().parent().unwrap(), &place).unwrap();
    assert!(package.unpack_into(&place).is_err(), "the folder itself is a link");
    assert!(sentinels.are_untouched());
}

/// The guide tells every rule that a manifest or a package can break, and no other.
#[test]
fn the_guide_lists_every_rule() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/skills.md");
    let document = std::fs::read_to_string(path).unwrap();
    let mut tables = document
        .split("| rule | broken when |\n|---|---|\n")
        .skip(1)
        .map(|table| table.lines().map_while(|row| row.strip_prefix("| `")?.split('`').next()).collect::<Vec<_>>());
    let of_manifests: Vec<_> = loqa_skills::manifest::Rule::ALL.iter().map(|rule| rule.as_str()).collect();
    let of_packages: Vec<_> = PackageRule::ALL.iter().map(|rule| rule.as_str()).collect();
    assert_eq!(tables.next(), Some(of_manifests));
    assert_eq!(tables.next(), Some(of_packages));
    for permission in loqa_skills::Permission::ALL {
        assert!(document.contains(&format!("`{permission}`")), "{permission} is not told");
    }
}
