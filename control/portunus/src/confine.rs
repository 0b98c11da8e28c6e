//! What a process that holds an operator's keys gives up: cores, swap, programs to start, files that are not its own.
//!
//! | every process with an AuC | a process with nothing but an AuC |
//! |---|---|
//! | no core is written, nobody but root looks into its memory | landlock: it reads what its configuration names, and writes only beside store and audit log |
//! | its pages stay out of swap, where the limit on locked memory allows it | seccomp: it starts no program, traces nobody, loads nothing into the kernel |
//!
//! A process with other roles keeps its file system and its system calls: there the hardening of its service manager
//! (`tuning/portunus.service`) draws the line.

use crate::exit::{Exit, Failure};
use landlock::{
    ABI, Access as _, AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError,
    RulesetStatus,
};
use portunus_config::Config;
use portunus_config::model::{Auc, AucListener, KeySource, MasterSource, SecretSource};
use rustix::mm::MlockAllFlags;
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The newest landlock that is asked for; an older kernel gives what it has.
const LANDLOCK: ABI = ABI::V5;

/// System calls that an AuC has no use for, and whoever took it over would.
const REFUSED: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_io_uring_setup,
];

/// Keeps the memory of a process with an AuC to itself: before it holds any key. What is in force, in words for the log.
///
/// # Errors
/// What the system refused that every Linux of today grants.
pub fn memory(config: &Config) -> Result<Vec<String>, Failure> {
    if config.auc.is_none() { Ok(Vec::new()) } else { Ok(vec![uncored()?, locked()]) }
}

/// Fences a process with nothing but an AuC in. After a token's module is loaded, and before the roles start: what comes
/// later is confined with it. What is in force, in words for the log.
///
/// # Errors
/// What the system refused that every Linux of today grants.
pub fn fence(config: &Config, file: &Path) -> Result<Vec<String>, Failure> {
    match &config.auc {
        Some(auc) if crate::check::roles(config) == ["auc"] => Ok(vec![fenced(auc, file)?, filtered()?]),
        _ => Ok(Vec::new()),
    }
}

fn refused(what: &str, e: impl core::fmt::Display) -> Failure {
    Failure::new(Exit::Permission, format!("{what}: {e}"), "see what forbids it: the service manager, or a container")
}

/// No core, and a memory that only root can look into.
fn uncored() -> Result<String, Failure> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, none).map_err(|e| refused("forbidding cores", e))?;
    // Where cores are piped to a program the limit says nothing; this does.
    let never = DumpableBehavior::NotDumpable;
    rustix::process::set_dumpable_behavior(never).map_err(|e| refused("forbidding cores", e))?;
    Ok("no cores".to_owned())
}

/// Pages stay in memory. Under a limit this is not tried: the pages that no longer fit would be refused, not swapped.
fn locked() -> String {
    let unlimited = rustix::process::getrlimit(Resource::Memlock).current.is_none();
    if !unlimited && !rustix::process::geteuid().is_root() {
        return "memory may be swapped (LimitMEMLOCK=infinity in the service would lock it)".to_owned();
    }
    // Locked as they are touched: what is merely reserved costs nothing.
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    match rustix::mm::mlockall(all) {
        Ok(()) => "memory locked".to_owned(),
        Err(e) => format!("memory may be swapped ({e})"),
    }
}

/// The folder that a file lies in.
fn folder(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Folders that are written to, and folders that are read.
fn folders(auc: &Auc, file: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let mut writes = vec![folder(&auc.store), folder(&auc.audit_log)];
    // A file that is replaced by another of its name is still read when its folder may be.
    let mut reads = vec![folder(file)];
    reads.extend(auc.import.as_deref().map(folder));
    match &auc.master_key {
        MasterSource::Key(KeySource::File(path)) => {
            if auc.create_master_key { &mut writes } else { &mut reads }.push(folder(path));
        }
        MasterSource::Key(_) => {}
        // Its module is loaded by now and the PIN was given; what the module still needs is said there.
        MasterSource::Token(token) => writes.extend(token.folders.iter().filter(|f| f.exists()).cloned()),
    }
    if let Some(credentials) = std::env::var_os("CREDENTIALS_DIRECTORY") {
        reads.push(credentials.into());
    }
    if let Some(database) = &auc.database {
        // Its name is asked for anew with every connection; what names the name servers may lie elsewhere.
        reads.extend(std::fs::canonicalize("/etc/resolv.conf").ok().map(|file| folder(&file)));
        if let Some(SecretSource::File(path)) = &database.password {
            reads.push(folder(path));
        }
        let own = database.tls.iter().flat_map(|tls| tls.own.iter().flat_map(|(certificate, key)| [certificate, key]));
        reads.extend(database.tls.iter().map(|tls| &tls.ca).chain(own).map(|file| folder(file)));
    }
    for listener in &auc.listeners {
        match listener {
            AucListener::Udp { clients, .. } => {
                let secrets = clients.iter().filter_map(|client| match &client.secret {
                    SecretSource::File(path) => Some(folder(path)),
                    SecretSource::Inline(_) => None,
                });
                reads.extend(secrets);
            }
            AucListener::RadSec { tls, .. } | AucListener::Diameter { tls: Some(tls), .. } => {
                reads.extend([&tls.certificate, &tls.key, &tls.ca].map(|f| folder(f)))
            }
            AucListener::Diameter { tls: None, .. } => {}
        }
    }
    if let Some(tls) = auc.api.as_ref().and_then(|api| api.tls.as_ref()) {
        reads
            .extend([Some(&tls.certificate), Some(&tls.key), tls.ca.as_ref()].into_iter().flatten().map(|f| folder(f)));
    }
    // Time zones, the system's own addresses, and what the threads say of themselves.
    reads.extend(["/etc", "/usr/share/zoneinfo", "/proc", "/sys/devices/system/cpu", "/dev"].map(PathBuf::from));
    (writes, reads)
}

/// The file system shrinks to what the configuration names.
fn fenced(auc: &Auc, file: &Path) -> Result<String, Failure> {
    let (writes, reads) = folders(auc, file);
    for folder in &writes {
        std::fs::create_dir_all(folder).map_err(|e| Failure::io(&format!("making {}", folder.display()), &e))?;
    }
    let (all, look) = (AccessFs::from_all(LANDLOCK), AccessFs::ReadFile | AccessFs::ReadDir);
    let kept = all & !AccessFs::Execute;
    let fence = || -> Result<RulesetStatus, RulesetError> {
        let mut rules = Ruleset::default().handle_access(all)?.create()?;
        for (folders, access) in [(&writes, kept), (&reads, look)] {
            // A folder that does not exist needs no rule.
            for opened in folders.iter().filter_map(|folder| PathFd::new(folder).ok()) {
                rules = rules.add_rule(PathBeneath::new(opened, access))?;
            }
        }
        Ok(rules.restrict_self()?.ruleset)
    };
    Ok(match fence().map_err(|e| refused("confining the file system", e))? {
        RulesetStatus::NotEnforced => "file system open (this kernel has no landlock)",
        RulesetStatus::PartiallyEnforced | RulesetStatus::FullyEnforced => "file system fenced",
    }
    .to_owned())
}

/// System calls that are of no use here fail with EPERM.
fn filtered() -> Result<String, Failure> {
    let rules: BTreeMap<i64, Vec<_>> = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let deny = SeccompAction::Errno(libc::EPERM as u32);
    let program = std::env::consts::ARCH
        .try_into()
        .and_then(|arch| SeccompFilter::new(rules, SeccompAction::Allow, deny, arch))
        .and_then(BpfProgram::try_from);
    let program = program.map_err(|e| refused("making the system call filter", e))?;
    seccompiler::apply_filter_all_threads(&program).map_err(|e| refused("filtering system calls", e))?;
    Ok(format!("{} system calls refused", REFUSED.len()))
}
