//! The seccomp filter of a native skill: system calls that no skill needs are refused.
//!
//! It is a list of what is refused, and not of what is allowed: the C library and the
//! runtime use other calls with each version, and a skill that breaks at an update of
//! the system helps nobody. What must hold (files, ports) is Landlock's; this closes
//! the ways around it.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::RawFd;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
const AT_EMPTY_PATH: u64 = 0x1000;
const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;
const IPPROTO_TCP: u64 = 6;
const CLONE_THREAD: u64 = 0x1_0000;
const MSG_FASTOPEN: u64 = 0x2000_0000;
const PR_SET_PDEATHSIG: u64 = 1;
const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541c;
/// Marks calls of the x32 interface, which the kernel takes under the same architecture.
const X32: i64 = 0x4000_0000;

/// Column of the tables below.
#[cfg(target_arch = "x86_64")]
const COLUMN: usize = 0;
#[cfg(not(target_arch = "x86_64"))]
const COLUMN: usize = 1;

/// No such call there.
const NONE: i64 = -1;

/// Refused whatever the arguments: numbers on x86-64 and on aarch64, from the kernel's
/// own `unistd` headers.
const REFUSED: &[(&str, [i64; 2])] = &[
    // Other programs, and other processes.
    ("execve", [59, 221]),
    ("fork", [57, NONE]),
    ("vfork", [58, NONE]),
    ("ptrace", [101, 117]),
    ("process_vm_readv", [310, 270]),
    ("process_vm_writev", [311, 271]),
    ("process_madvise", [440, 440]),
    ("process_mrelease", [448, 448]),
    ("kcmp", [312, 272]),
    ("pidfd_open", [434, 434]),
    ("pidfd_getfd", [438, 438]),
    ("pidfd_send_signal", [424, 424]),
    ("kill", [62, 129]),
    ("tkill", [200, 130]),
    ("tgkill", [234, 131]),
    ("rt_sigqueueinfo", [129, 138]),
    ("rt_tgsigqueueinfo", [297, 240]),
    ("migrate_pages", [256, 238]),
    ("move_pages", [279, 239]),
    ("setpriority", [141, 140]),
    ("sched_setparam", [142, 118]),
    ("sched_setscheduler", [144, 119]),
    ("sched_setattr", [314, 274]),
    ("ioprio_set", [251, 30]),
    ("perf_event_open", [298, 241]),
    // Code and memory that no rule of files covers.
    ("memfd_create", [319, 279]),
    ("memfd_secret", [447, 447]),
    ("userfaultfd", [323, 282]),
    ("personality", [135, 92]),
    ("modify_ldt", [154, NONE]),
    // Ways around rules of files, and between processes.
    ("mount", [165, 40]),
    ("umount2", [166, 39]),
    ("pivot_root", [155, 41]),
    ("chroot", [161, 51]),
    ("move_mount", [429, 429]),
    ("fsopen", [430, 430]),
    ("fsconfig", [431, 431]),
    ("fsmount", [432, 432]),
    ("fspick", [433, 433]),
    ("open_tree", [428, 428]),
    ("mount_setattr", [442, 442]),
    ("setns", [308, 268]),
    ("unshare", [272, 97]),
    ("name_to_handle_at", [303, 264]),
    ("open_by_handle_at", [304, 265]),
    ("quotactl", [179, 60]),
    ("quotactl_fd", [443, 443]),
    ("fanotify_init", [300, 262]),
    ("shmget", [29, 194]),
    ("msgget", [68, 186]),
    ("semget", [64, 190]),
    ("mq_open", [240, 180]),
    ("io_uring_setup", [425, 425]),
    ("io_uring_enter", [426, 426]),
    ("io_uring_register", [427, 427]),
    // A skill connects; nobody connects to it.
    ("bind", [49, 200]),
    ("listen", [50, 201]),
    ("accept", [43, 202]),
    ("accept4", [288, 242]),
    // The kernel itself.
    ("bpf", [321, 280]),
    ("keyctl", [250, 219]),
    ("add_key", [248, 217]),
    ("request_key", [249, 218]),
    ("init_module", [175, 105]),
    ("finit_module", [313, 273]),
    ("delete_module", [176, 106]),
    ("kexec_load", [246, 104]),
    ("kexec_file_load", [320, 294]),
    ("reboot", [169, 142]),
    ("swapon", [167, 224]),
    ("swapoff", [168, 225]),
    ("sethostname", [170, 161]),
    ("setdomainname", [171, 162]),
    ("acct", [163, 89]),
    ("settimeofday", [164, 170]),
    ("clock_settime", [227, 112]),
    ("clock_adjtime", [305, 266]),
    ("adjtimex", [159, 171]),
    ("iopl", [172, NONE]),
    ("ioperm", [173, NONE]),
    ("syslog", [103, 116]),
    ("vhangup", [153, 58]),
    ("lookup_dcookie", [212, 18]),
];

const EXECVEAT: [i64; 2] = [322, 281];
const SOCKET: [i64; 2] = [41, 198];
const CLONE: [i64; 2] = [56, 220];
const CLONE3: [i64; 2] = [435, 435];
const SENDTO: [i64; 2] = [44, 206];
const SENDMSG: [i64; 2] = [46, 211];
const SENDMMSG: [i64; 2] = [307, 269];
const PRCTL: [i64; 2] = [157, 167];
const PRLIMIT64: [i64; 2] = [302, 261];
const IOCTL: [i64; 2] = [16, 29];

/// The filters, ready to be applied in a child.
pub(super) struct Filters {
    refused: BpfProgram,
    /// A filter of its own, because its answer differs: the C library then uses `clone`,
    /// whose arguments a filter can see.
    unknown: BpfProgram,
}

impl Filters {
    /// Whether the tables hold for this architecture.
    pub(super) const fn is_known_architecture() -> bool {
        cfg!(any(target_arch = "x86_64", target_arch = "aarch64"))
    }

    /// `image` is the one descriptor that may be executed. `None` on an architecture
    /// without tables.
    pub(super) fn new(image: RawFd) -> Result<Option<Self>, seccompiler::BackendError> {
        if !Self::is_known_architecture() {
            return Ok(None);
        }
        let architecture: TargetArch = std::env::consts::ARCH.try_into()?;
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
        for (_, numbers) in REFUSED {
            if numbers[COLUMN] != NONE {
                rules.insert(numbers[COLUMN], Vec::new());
            }
        }
        let image = u64::try_from(image).unwrap_or(u64::MAX);
        let conditional = [
            // Only the image, which is closed once it runs.
            (EXECVEAT, vec![vec![(0, SeccompCmpOp::Ne, image)], vec![(4, SeccompCmpOp::Ne, AT_EMPTY_PATH)]]),
            // TCP over IP only. A path socket would reach the session bus of the desktop and other
            // services of the user, a datagram any address, and Landlock sees neither.
            (
                SOCKET,
                vec![
                    vec![(0, SeccompCmpOp::Ne, AF_INET), (0, SeccompCmpOp::Ne, AF_INET6)],
                    // The type is 1 in the low four bits; a mask compares for equality only.
                    vec![(1, SeccompCmpOp::MaskedEq(1), 0)],
                    vec![(1, SeccompCmpOp::MaskedEq(2), 2)],
                    vec![(1, SeccompCmpOp::MaskedEq(4), 4)],
                    vec![(1, SeccompCmpOp::MaskedEq(8), 8)],
                    vec![(2, SeccompCmpOp::Ne, 0), (2, SeccompCmpOp::Ne, IPPROTO_TCP)],
                ],
            ),
            // Threads, but no processes: they would outlive the death signal.
            (CLONE, vec![vec![(0, SeccompCmpOp::MaskedEq(CLONE_THREAD), 0)]]),
            // These connect without being a `connect`.
            (SENDTO, vec![vec![(3, SeccompCmpOp::MaskedEq(MSG_FASTOPEN), MSG_FASTOPEN)]]),
            (SENDMSG, vec![vec![(2, SeccompCmpOp::MaskedEq(MSG_FASTOPEN), MSG_FASTOPEN)]]),
            (SENDMMSG, vec![vec![(3, SeccompCmpOp::MaskedEq(MSG_FASTOPEN), MSG_FASTOPEN)]]),
            // It would switch off the signal that ends it with the hub.
            (PRCTL, vec![vec![(0, SeccompCmpOp::Eq, PR_SET_PDEATHSIG)]]),
            // Its own limits only.
            (PRLIMIT64, vec![vec![(0, SeccompCmpOp::Ne, 0)]]),
            // Typing into a terminal.
            (IOCTL, vec![vec![(1, SeccompCmpOp::Eq, TIOCSTI)], vec![(1, SeccompCmpOp::Eq, TIOCLINUX)]]),
        ];
        for (numbers, alternatives) in conditional {
            let alternatives = alternatives
                .into_iter()
                .map(|conditions| {
                    let conditions = conditions
                        .into_iter()
                        .map(|(argument, operator, value)| SeccompCondition::new(argument, Dword, operator, value))
                        .collect::<Result<Vec<_>, _>>()?;
                    SeccompRule::new(conditions)
                })
                .collect::<Result<Vec<_>, _>>()?;
            rules.insert(numbers[COLUMN], alternatives);
        }
        if cfg!(target_arch = "x86_64") {
            // The x32 interface has the same calls under other numbers, and some of its own.
            let numbers: Vec<i64> = rules.keys().copied().chain(512..548).collect();
            rules.extend(numbers.into_iter().map(|number| (number | X32, Vec::new())));
        }
        let refused = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(EPERM), architecture)?;
        let unknown = BTreeMap::from([(CLONE3[COLUMN], Vec::new())]);
        let unknown = SeccompFilter::new(unknown, SeccompAction::Allow, SeccompAction::Errno(ENOSYS), architecture)?;
        Ok(Some(Self { refused: refused.try_into()?, unknown: unknown.try_into()? }))
    }

    /// Restricts the calling thread for good. Makes system calls only.
    pub(super) fn apply(&self) -> io::Result<()> {
        for filter in [&self.unknown, &self.refused] {
            if seccompiler::apply_filter(filter).is_err() {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_stands_twice_and_the_filter_fits_into_the_kernel() {
        for column in 0..2 {
            let mut numbers: Vec<i64> =
                REFUSED.iter().map(|(_, numbers)| numbers[column]).filter(|number| *number != NONE).collect();
            let n_numbers = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), n_numbers, "column {column}");
        }
        let filters = Filters::new(7).unwrap().unwrap();
        assert!(filters.refused.len() < 4_096, "the kernel takes 4,096 instructions: {}", filters.refused.len());
    }
}
