//! Pulls against a real server on loopback, good and bad: the final name only ever holds
//! the bytes with the pinned digest.
//!
//! `LOQA_TEST_N` gives the number of rounds of every bad behaviour (3; 50 for the figure
//! in the closing note) and of kills, four times that (12; 200).

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod hostile;
mod killed;
mod requests;
mod server;
mod stamps;

use loqa_models::pull::{Fault, Ledger, Left, Patience};
use loqa_models::{Catalog, Progress, PullError, PullOptions, PullRequest, Pulled, Puller};
use sha2::{Digest as _, Sha256};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Rounds of what is done often.
fn rounds(ci: usize) -> usize {
    std::env::var("LOQA_TEST_N").ok().and_then(|n| n.parse().ok()).unwrap_or(ci)
}

/// A file that begins as a model does.
fn model_bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = b"GGUF".to_vec();
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// A folder with a catalog of one model, `m`, and a place for its download.
struct Home {
    folder: tempfile::TempDir,
    catalog: Catalog,
    bytes: Vec<u8>,
}

impl Home {
    fn new(bytes: Vec<u8>, urls: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let catalog = catalog_in(folder.path(), &bytes, urls);
        Self { folder, catalog, bytes }
    }

    /// The name that must never hold anything else.
    fn place(&self) -> PathBuf {
        self.folder.path().join("data/models/m/model.gguf")
    }

    fn part(&self) -> PathBuf {
        self.place().with_file_name(format!(".model.gguf.{}.part", &digest(&self.bytes)[..16]))
    }

    /// Puts the beginning of the file where an earlier pull would have left it.
    fn leave_part(&self, len: usize, url: Option<&str>) {
        std::fs::create_dir_all(self.part().parent().unwrap()).unwrap();
        std::fs::write(self.part(), &self.bytes[..len]).unwrap();
        if let Some(url) = url {
            let note = serde_json::json!({ "url": url, "etag": "\"v1\"" });
            std::fs::write(self.part().with_extension("part.json"), note.to_string()).unwrap();
        }
    }

    /// `true`: the pinned file; `false`: no file. Anything else must not be.
    fn is_pulled(&self) -> bool {
        match std::fs::read(self.place()) {
            Ok(found) => {
                assert_eq!(digest(&found), digest(&self.bytes), "the final name holds other bytes");
                true
            }
            Err(e) => {
                assert_eq!(e.kind(), std::io::ErrorKind::NotFound);
                false
            }
        }
    }

    async fn pull(&self) -> Result<Pulled, PullError> {
        self.pull_with(&puller(None)).await
    }

    async fn pull_with(&self, puller: &Puller) -> Result<Pulled, PullError> {
        puller.pull(&self.catalog, &request(), &|_| {}).await
    }
}

fn request() -> PullRequest {
    PullRequest { name: "m".to_owned(), ..PullRequest::default() }
}

fn catalog_in(folder: &Path, bytes: &[u8], urls: &[&str]) -> Catalog {
    let text = format!(
        "schema = 1\n[[model]]\nname = \"m\"\ntitle = \"t\"\nkind = \"llm\"\ncapability = \"llm.m\"\nformat = \"gguf\"\n\
         quantisation = \"q\"\nlanguages = []\nram_mb = 1\nlicence = \"MIT\"\nsource = \"https://example.org/m\"\nbundled = false\n\
         [[model.file]]\nrole = \"model\"\npath = \"m/model.gguf\"\nsize = {}\nsha256 = \"{}\"\n",
        bytes.len(),
        digest(bytes)
    );
    std::fs::create_dir_all(folder.join("models")).unwrap();
    std::fs::write(folder.join("models/catalog.toml"), text).unwrap();
    let mut catalog = Catalog::load(&folder.join("models")).unwrap().with_downloads(&folder.join("data"));
    // A catalog file may not name plain addresses, so they are put in here.
    catalog.models[0].files[0].urls = urls.iter().map(|url| (*url).to_owned()).collect();
    catalog
}

/// Takes plain HTTP from 127.0.0.1 and no other address but public ones, and loses patience soon.
fn puller(fault: Option<Fault>) -> Puller {
    Puller::new(options(fault, Arc::new(Rows::default()))).unwrap()
}

fn options(fault: Option<Fault>, ledger: Arc<dyn Ledger>) -> PullOptions {
    let mut options = PullOptions::new(Arc::new(may_reach), ledger);
    options.plain_loopback = true;
    options.fault = fault;
    options.patience = Patience {
        stall: Duration::from_millis(300),
        pause: Duration::from_millis(1),
        tries: 3,
        ..Patience::default()
    };
    options
}

fn may_reach(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => {
            four == Ipv4Addr::LOCALHOST || !(four.is_private() || four.is_loopback() || four.is_link_local())
        }
        IpAddr::V6(six) => !(six.is_unique_local() || six.is_loopback() || six.is_unicast_link_local()),
    }
}

/// What would be in the audit.
#[derive(Default)]
struct Rows {
    left: Mutex<Vec<(String, Option<Left>)>>,
    refuse: bool,
}

impl Ledger for Rows {
    fn leaving(&self, model: &str, target: &str) -> Result<u64, String> {
        if self.refuse {
            return Err("the disk is full".to_owned());
        }
        let mut left = self.left.lock().unwrap();
        left.push((format!("{model} {target}"), None));
        Ok(left.len() as u64 - 1)
    }

    fn ended(&self, number: u64, how: Left) {
        self.left.lock().unwrap()[usize::try_from(number).unwrap()].1 = Some(how);
    }
}

/// Collects what a pull tells.
fn collect(into: &Mutex<Vec<Progress>>) -> impl Fn(Progress) + Send + Sync + '_ {
    |progress| into.lock().unwrap().push(progress)
}
