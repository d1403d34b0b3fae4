//! What the operating system holds a native skill back from, before the first
//! instruction of its program runs.
//!
//! The hub does it and not the program, so that a hostile program cannot leave it out.
//! On Linux that is Landlock for files and TCP ports, and a seccomp filter for
//! everything else; see `docs/smart-home.md` for what remains. On other systems nothing
//! is held back, and the person who is asked is told so.

#[cfg(target_os = "linux")]
#[path = "sandbox/linux.rs"]
mod platform;
#[cfg(not(target_os = "linux"))]
#[path = "sandbox/other.rs"]
mod platform;

pub(super) use platform::Image;

use loqa_skills::manifest::SandboxProfile;
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

/// What one program may touch.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    /// Read only.
    pub(super) program_dir: PathBuf,
    /// Read and write.
    pub(super) data_dir: PathBuf,
    /// TCP ports, whatever the address: the system knows no more.
    pub(super) connect_to: BTreeSet<u16>,
}

/// What this system can hold a program back from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holds {
    /// Files outside of its own folders.
    pub files: bool,
    /// TCP connections to other ports, and listening.
    pub network: bool,
    /// Starting programs, looking into other processes, sockets other than TCP, and
    /// parts of the kernel that no skill needs.
    pub system_calls: bool,
}

impl Holds {
    /// In plain words, for the person who is asked and for `loqa doctor`.
    #[must_use]
    pub fn sentence(&self, profile: SandboxProfile, ports: &BTreeSet<u16>) -> String {
        if *self == Self::default() {
            return "There is no sandbox here: this program can do anything that you can do.".to_owned();
        }
        let mut held = Vec::new();
        if self.files {
            held.push("your files".to_owned());
        }
        if self.network {
            held.push(match profile {
                SandboxProfile::Offline => "the network".to_owned(),
                SandboxProfile::Network => {
                    let ports = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
                    format!("TCP ports other than {}", if ports.is_empty() { "the bus" } else { &ports })
                }
            });
        }
        if self.system_calls {
            held.push("starting programs".to_owned());
        }
        let missing = match (self.files, self.network, self.system_calls) {
            (true, true, true) => "",
            _ => " This system cannot do more: what is not named here, the program can do as you can.",
        };
        format!("The system holds this program back from {}.{missing}", held.join(", "))
    }
}

/// What this system can hold a program back from. Asks the kernel, changes nothing.
#[must_use]
pub fn what_holds() -> Holds {
    platform::what_holds()
}

/// Prepares a command so that the child runs `image`, inside `cell` when there is one,
/// and ends when this process does.
pub(super) fn confine(command: &mut tokio::process::Command, image: &Image, cell: Option<&Cell>) -> io::Result<()> {
    platform::confine(command, image, cell)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_says_what_is_held_back_and_what_is_not() {
        let all = Holds { files: true, network: true, system_calls: true };
        let ports = BTreeSet::from([8123]);
        assert_eq!(
            all.sentence(SandboxProfile::Network, &ports),
            "The system holds this program back from your files, TCP ports other than 8123, starting programs."
        );
        assert!(all.sentence(SandboxProfile::Offline, &ports).contains("the network"));
        let none = Holds::default().sentence(SandboxProfile::Network, &ports);
        assert!(none.contains("anything that you can do"), "{none}");
        let old = Holds { network: false, ..all }.sentence(SandboxProfile::Network, &ports);
        assert!(old.contains("cannot do more"), "{old}");
    }
}
