//! What the tests share: a writer of ZIP archives that writes any field as it is told,
//! a small generator of numbers, a skill to pack, and folders that must stay as they are.

use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};

/// How many cases a test runs: `LOQA_TEST_N`, or what is quick enough for every run.
pub fn n_cases(usual: u64) -> u64 {
    std::env::var("LOQA_TEST_N").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// SplitMix64: the same numbers for the same seed, everywhere.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// One entry; every field is written as it stands.
#[derive(Debug, Clone)]
pub struct Entry {
    pub name: Vec<u8>,
    /// The name in front of the contents, where it differs.
    pub local_name: Option<Vec<u8>>,
    pub content: Vec<u8>,
    pub method: u16,
    pub flags: u16,
    pub host: u8,
    pub attributes: u32,
    pub crc: Option<u32>,
    pub size: Option<u32>,
    pub packed: Option<u32>,
    pub extra: Vec<u8>,
    pub comment: Vec<u8>,
    pub offset: Option<u32>,
    /// Bytes between this entry and the next.
    pub gap: Vec<u8>,
}

impl Entry {
    pub fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        Self {
            name: name.as_ref().to_vec(),
            local_name: None,
            content: content.as_ref().to_vec(),
            method: 0,
            flags: 0,
            host: 3,
            attributes: 0o100_644 << 16,
            crc: None,
            size: None,
            packed: None,
            extra: Vec::new(),
            comment: Vec::new(),
            offset: None,
            gap: Vec::new(),
        }
    }

    pub fn folder(name: &str) -> Self {
        Self { attributes: 0o040_755 << 16, ..Self::file(name, "") }
    }

    pub fn of_type(name: &str, content: &str, mode: u32) -> Self {
        Self { attributes: mode << 16, ..Self::file(name, content) }
    }
}

/// A whole archive.
#[derive(Debug, Clone, Default)]
pub struct Archive {
    pub entries: Vec<Entry>,
    pub before: Vec<u8>,
    pub after: Vec<u8>,
    pub comment: Vec<u8>,
    pub count: Option<u16>,
}

impl Archive {
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.before.clone();
        let mut directory = Vec::new();
        for entry in &self.entries {
            let at = entry.offset.unwrap_or(bytes.len() as u32);
            let crc = entry.crc.unwrap_or_else(|| crc32(&entry.content));
            let packed = entry.packed.unwrap_or(entry.content.len() as u32);
            let size = entry.size.unwrap_or(entry.content.len() as u32);
            let local_name = entry.local_name.as_ref().unwrap_or(&entry.name);
            let mut common = Vec::new();
            for field in [20, entry.flags, entry.method, 0, 0x21] {
                common.extend(field.to_le_bytes());
            }
            for field in [crc, packed, size] {
                common.extend(field.to_le_bytes());
            }
            bytes.extend(b"PK\x03\x04");
            bytes.extend(&common);
            bytes.extend((local_name.len() as u16).to_le_bytes());
            bytes.extend((entry.extra.len() as u16).to_le_bytes());
            bytes.extend(local_name);
            bytes.extend(&entry.extra);
            bytes.extend(&entry.content);
            bytes.extend(&entry.gap);
            directory.extend(b"PK\x01\x02");
            directory.extend([20, entry.host]);
            directory.extend(&common);
            for field in [entry.name.len(), entry.extra.len(), entry.comment.len(), 0, 0] {
                directory.extend((field as u16).to_le_bytes());
            }
            directory.extend(entry.attributes.to_le_bytes());
            directory.extend(at.to_le_bytes());
            directory.extend(&entry.name);
            directory.extend(&entry.extra);
            directory.extend(&entry.comment);
        }
        let at = bytes.len() as u32;
        let count = self.count.unwrap_or(self.entries.len() as u16);
        bytes.extend(&directory);
        bytes.extend(b"PK\x05\x06\0\0\0\0");
        bytes.extend(count.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend((directory.len() as u32).to_le_bytes());
        bytes.extend(at.to_le_bytes());
        bytes.extend((self.comment.len() as u16).to_le_bytes());
        bytes.extend(&self.comment);
        bytes.extend(&self.after);
        bytes
    }
}

pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

/// A manifest with that name, version and permission lines.
pub fn manifest(name: &str, version: &str, permissions: &str) -> String {
    format!(
        "schema: 1\nname: {name}\nversion: {version}\ntitle: Test\ndescription: A test.\nauthor: Tests\nlicense: MIT\n\
         runtime: {{ kind: wasm, module: test.wasm, host_api: 1 }}\n\
         tools:\n  - {{ name: {name}.run, description: Runs., effect: safe }}\n{permissions}"
    )
}

/// A module whose tool answers with this text.
pub fn module(says: &str) -> Vec<u8> {
    let reply = format!(r#"{{"ok":{{"say":"{says}","data":null}}}}"#);
    let (length, escaped) = (reply.len(), reply.replace('"', "\\\""));
    wat::parse_str(format!(
        r#"(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (memory 1)
  (data (i32.const 16) "{escaped}")
  (func (export "loqa_tool") (result i32)
    (local $to i64) (local $idx i32)
    (local.set $to (call $alloc (i64.const {length})))
    (loop $next
      (call $store_u8 (i64.add (local.get $to) (i64.extend_i32_u (local.get $idx)))
        (i32.load8_u (i32.add (i32.const 16) (local.get $idx))))
      (local.set $idx (i32.add (local.get $idx) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $idx) (i32.const {length}))))
    (call $output_set (local.get $to) (i64.const {length}))
    (i32.const 0)))"#
    ))
    .unwrap()
}

/// The files of a small good skill.
pub fn good_entries() -> Vec<Entry> {
    vec![
        Entry::file("README.md", "# Test\n"),
        Entry::folder("assets/"),
        Entry::file("assets/words.txt", "one two\n"),
        Entry::file("skill.yaml", manifest("test", "1.0.0", "")),
        Entry::file("test.wasm", module("one")),
    ]
}

/// A folder with files that nobody may touch, and a place below it to unpack into.
pub struct Sentinels {
    root: tempfile::TempDir,
    before: String,
}

impl Sentinels {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("secret.txt", "secret"),
            ("work/skill.yaml", "mine"),
            ("work/staging/keep", ""),
            ("work/x", "x"),
            ("home/.ssh/id", "key"),
        ] {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let before = tree(root.path(), &root.path().join("work/staging"));
        Self { root, before }
    }

    /// The folder in which a package may be unpacked.
    pub fn staging(&self) -> PathBuf {
        self.root.path().join("work/staging")
    }

    /// Whether everything outside of the staging folder is as it was.
    pub fn are_untouched(&self) -> bool {
        tree(self.root.path(), &self.staging()) == self.before
    }
}

/// A digest over all names, kinds, modes and contents below `root` but not below `except`.
fn tree(root: &Path, except: &Path) -> String {
    let mut hash = Sha256::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        let mut entries: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries.into_iter().filter(|path| path != except) {
            let meta = std::fs::symlink_metadata(&path).unwrap();
            hash.update(path.to_string_lossy().as_bytes());
            hash.update(format!("{:?} {:?}", meta.file_type(), meta.permissions()).as_bytes());
            if meta.is_dir() {
                open.push(path);
            } else if meta.is_file() {
                hash.update(std::fs::read(&path).unwrap());
            }
        }
    }
    hex::encode(hash.finalize())
}
