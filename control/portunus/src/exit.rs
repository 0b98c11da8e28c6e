//! Exit codes, and failures that say what to do next.

use core::fmt;

/// What a process ends with. The numbers are part of the interface: scripts test them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything that was asked for happened.
    Ok = 0,
    /// It was tried and did not succeed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A configuration or key file is wrong.
    Configuration = 3,
    /// Somebody needed could not be reached, or an address could not be opened.
    Unreachable = 4,
    /// The network refused the identity or its key.
    Denied = 5,
    /// This user may not do it.
    Permission = 6,
}

/// The table of exit codes as `--help` shows it.
pub const EXIT_CODES: &str = "Exit codes:
  0  everything that was asked for happened
  1  it was tried and did not succeed
  2  the command line is wrong
  3  a configuration or key file is wrong
  4  somebody needed could not be reached, or an address could not be opened
  5  the network refused the identity or its key
  6  this user may not do it";

/// Why a command did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The process's exit code.
    pub exit: Exit,
    /// What happened; no octet of any key is in it.
    pub what: String,
    /// What to do next; may be empty.
    pub next: String,
}

impl Failure {
    /// A failure with a hint.
    pub fn new(exit: Exit, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { exit, what: what.into(), next: next.into() }
    }

    /// A configuration's or key file's fault.
    pub fn configuration(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(Exit::Configuration, what, next)
    }

    /// An address that cannot be opened or a peer that cannot be reached.
    pub fn unreachable(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(Exit::Unreachable, what, next)
    }

    /// From an error of the system: permissions and addresses have their own codes.
    pub fn io(doing: &str, e: &std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        match e.kind() {
            K::PermissionDenied => Self::new(Exit::Permission, format!("{doing}: {e}"), "run it as a user who may"),
            K::AddrInUse => Self::unreachable(
                format!("{doing}: {e}"),
                "another process has this address; stop it, or configure another",
            ),
            K::AddrNotAvailable => Self::unreachable(format!("{doing}: {e}"), "this host does not have that address"),
            _ => Self::new(Exit::Failed, format!("{doing}: {e}"), ""),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if !self.next.is_empty() {
            write!(f, "\n  next: {}", self.next)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl From<portunus_config::KeyError> for Failure {
    fn from(e: portunus_config::KeyError) -> Self {
        Self::configuration(e.problem, e.write)
    }
}
