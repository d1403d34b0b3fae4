//! Figure R19: 50,000 mutated packages and manifests, no byte outside of the staging
//! folder, no panic. `LOQA_TEST_N` gives the number.
//!
//! Half of the mutations know the format: they change fields of entries and repair the
//! checksums, so that they get past what random bytes never get past. The control unpacks
//! the same packages as a careless program would, and must be caught.

use crate::archive::{Archive, Entry, Numbers, Sentinels, good_entries, manifest, module, n_cases};
use loqa_skills::package::Package;
use std::io::Read as _;
use std::path::Path;

const NAMES: &[&str] = &[
    "../x",
    "../../secret.txt",
    "/tmp/loqa-x",
    "a/../../x",
    "..",
    ".",
    "",
    "a",
    "A",
    "skill.yaml",
    "SKILL.yaml",
    "a/b",
    "a/b/c/d/e/f/g/h/i",
    "CON",
    "a.",
    "C:\\x",
    "..\\x",
    "x\0y",
    "k\u{e4}se",
    "test.wasm",
    "test.wasm/x",
    "assets/",
    "../work/x",
    "assets/../../x",
    "signature.json",
    "-x",
    "a b",
    ".ssh/id",
];

/// One mutated package; knows the format, or does not.
fn mutated(numbers: &mut Numbers) -> Vec<u8> {
    let mut archive = Archive { entries: good_entries(), ..Archive::default() };
    if numbers.one_in(4) {
        let text = mutated_manifest(numbers);
        archive.entries[3].content = text;
    }
    if !numbers.one_in(4) {
        for _ in 0..=numbers.below(3) {
            change_entry(numbers, &mut archive);
        }
    }
    let mut bytes = archive.bytes();
    if numbers.one_in(3) {
        for _ in 0..=numbers.below(8) {
            let at = numbers.below(bytes.len());
            match numbers.below(4) {
                0 => bytes[at] ^= 1 << numbers.below(8),
                1 => bytes[at] = numbers.next() as u8,
                2 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, numbers.next() as u8),
            }
        }
    }
    bytes
}

fn change_entry(numbers: &mut Numbers, archive: &mut Archive) {
    let idx = numbers.below(archive.entries.len());
    let name = numbers.pick(NAMES).as_bytes().to_vec();
    let number = numbers.next() as u32;
    let entry = &mut archive.entries[idx];
    match numbers.below(14) {
        0 | 1 => entry.name = name,
        2 => entry.attributes = number,
        3 => entry.attributes = (*numbers.pick(&[0o120_777, 0o040_755, 0o100_777, 0o104_755, 0o020_666])) << 16,
        4 => entry.flags = 1 << numbers.below(16),
        5 => entry.method = *numbers.pick(&[0, 8, 9, 12, 14, 93, 99]),
        6 => entry.size = Some(number),
        7 => entry.offset = Some(number % 4_096),
        8 => entry.local_name = Some(name),
        9 => entry.extra = name,
        10 => entry.comment = name,
        11 => {
            let copy = Entry { name, ..archive.entries[idx].clone() };
            archive.entries.push(copy);
        }
        12 => archive.entries.push(Entry::of_type("link", "../..", 0o120_777)),
        _ => archive.entries.push(Entry::file(name, "planted")),
    }
}

fn mutated_manifest(numbers: &mut Numbers) -> Vec<u8> {
    let mut text =
        manifest("test", "1.0.0", "permissions:\n  - { use: timer:set, max: 3, reason: to wait }\n").into_bytes();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(text.len());
        match numbers.below(5) {
            0 => text[at] = numbers.next() as u8,
            1 => {
                text.remove(at);
            }
            2 => text.insert(at, *numbers.pick(b"&*!{}[]:-\n\t\"'#|>%@`\0")),
            3 => text
                .splice(
                    at..at,
                    numbers
                        .pick(&[&b"../"[..], b"&a [*a,*a]", b"<<: *a", b"!!python/x", b"\xe2\x80\xae"])
                        .iter()
                        .copied(),
                )
                .for_each(drop),
            _ => {
                let end = (at + numbers.below(40)).min(text.len());
                let part = text[at..end].to_vec();
                text.extend(part);
            }
        }
    }
    text
}

/// How the careless programs of this world unpack an archive.
fn unpack_carelessly(bytes: &[u8], folder: &Path) {
    let Ok(mut archive) = zip::ZipArchive::new(std::io::Cursor::new(bytes)) else { return };
    for idx in 0..archive.len() {
        let Ok(mut entry) = archive.by_index(idx) else { continue };
        let Ok(name) = entry.name().map(|name| name.into_owned()) else { continue };
        let path = folder.join(name);
        let mut content = Vec::new();
        if entry.is_dir() || entry.by_ref().take(1 << 20).read_to_end(&mut content).is_err() {
            continue;
        }
        // Absolute paths are left alone, so that the control stays on its own ground.
        if path.starts_with(folder.ancestors().nth(2).unwrap()) {
            let _ = std::fs::write(&path, &content);
        }
    }
}

#[test]
fn no_mutated_package_writes_outside_of_its_folder() {
    let n = n_cases(3_000);
    let sentinels = Sentinels::new();
    let (mut n_unpacked, mut numbers) = (0_u64, Numbers(19));
    for case in 0..n {
        let bytes = mutated(&mut numbers);
        // The extractor is also held to paths and contents as they come out of the reader.
        if let Ok(package) = Package::read(&bytes) {
            let folder = sentinels.staging().join(format!("p{case}"));
            package.unpack_into(&folder).unwrap();
            assert!(only_plain_files(&folder), "case {case}: something else than files and folders");
            std::fs::remove_dir_all(&folder).unwrap();
            n_unpacked += 1;
        }
        if case % 64 == 0 || case + 1 == n {
            assert!(sentinels.are_untouched(), "case {case} or one of the 64 before wrote outside of its folder");
        }
    }
    assert!(n_unpacked * 50 > n, "only {n_unpacked} of {n} were unpacked, the mutations are too coarse");
    println!("{n} packages, {n_unpacked} unpacked, 0 bytes outside");
}

/// The control: the same packages and the same look at the sentinels find a careless extractor.
#[test]
fn a_careless_extractor_is_caught() {
    let sentinels = Sentinels::new();
    let mut numbers = Numbers(19);
    let caught = (0..500).any(|_| {
        unpack_carelessly(&mutated(&mut numbers), &sentinels.staging());
        !sentinels.are_untouched()
    });
    assert!(caught, "500 packages and nothing outside was written: the test would miss a hole");
}

/// Whatever a manifest says, reading it ends soon and without a panic.
#[test]
fn mutated_manifests_are_read_or_refused() {
    let mut numbers = Numbers(20);
    let mut n_good = 0;
    let n = n_cases(3_000);
    for _ in 0..n {
        let text = mutated_manifest(&mut numbers);
        n_good += u64::from(loqa_skills::Manifest::parse(Path::new("skill.yaml"), &text).is_ok());
    }
    assert!(n_good > 0 && n_good < n, "{n_good} of {n} are good, so one side is not tried");
}

#[test]
fn the_same_contents_make_the_same_package_and_digest() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("assets")).unwrap();
    for (name, content) in [
        ("skill.yaml", manifest("test", "1.0.0", "").into_bytes()),
        ("test.wasm", module("one")),
        ("assets/words.txt", b"one two\n".to_vec()),
        ("README.md", b"# Test\n".to_vec()),
        (".built-from", b"x".to_vec()),
    ] {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let first = loqa_skills::package::pack(folder.path(), None).unwrap();
    std::fs::write(folder.path().join(".built-from"), "y").unwrap();
    assert_eq!(loqa_skills::package::pack(folder.path(), None).unwrap(), first);
    let by_hand = Archive { entries: good_entries(), ..Archive::default() }.bytes();
    assert_eq!(Package::read(&first).unwrap().digest(), Package::read(&by_hand).unwrap().digest());
    let key = loqa_skills::package::PublisherKey::generate();
    let signed = Package::read(&loqa_skills::package::pack(folder.path(), Some(&key)).unwrap()).unwrap();
    assert_eq!(signed.publisher(), Some(key.public().as_str()));
    assert_eq!(signed.digest(), Package::read(&first).unwrap().digest(), "a signature is no content");
}

fn only_plain_files(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().all(|entry| {
        let path = entry.unwrap().path();
        let meta = std::fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() { only_plain_files(&path) } else { meta.is_file() }
    })
}
