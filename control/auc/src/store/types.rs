//! The words of the store: spaces, kinds, credentials, errors.

use crate::custody::CustodyError;
use core::fmt;
use portunus_keydist::Key;
use portunus_keydist::ident::{Idc, Idsp};
use std::path::PathBuf;
use zeroize::Zeroizing;

/// The two name spaces (spec section 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    /// Terminals.
    Subscriber,
    /// Proxies and softswitches.
    Device,
}

impl Space {
    pub(super) const fn table(self) -> &'static str {
        match self {
            Self::Subscriber => "subscribers",
            Self::Device => "devices",
        }
    }

    /// What one of it is called.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Subscriber => "subscriber",
            Self::Device => "device",
        }
    }
}

/// What a credential is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// A terminal that registers with PKD1: a key of 32 octets.
    Terminal = 1,
    /// A stock phone: a digest secret of 1 to 128 octets, and no key.
    Digest = 2,
    /// A proxy or softswitch: a key of 32 octets.
    Device = 3,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Terminal, Self::Digest, Self::Device];

    pub(super) const fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            1 => Some(Self::Terminal),
            2 => Some(Self::Digest),
            3 => Some(Self::Device),
            _ => None,
        }
    }

    /// The name space that it belongs to.
    pub const fn space(self) -> Space {
        match self {
            Self::Terminal | Self::Digest => Space::Subscriber,
            Self::Device => Space::Device,
        }
    }

    /// Its name in files and lists.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Terminal => "terminal",
            Self::Digest => "digest",
            Self::Device => "device",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.name() == name)
    }

    pub(super) fn takes(self, id: &str) -> bool {
        match self {
            Self::Terminal | Self::Digest => Idc::new(id).is_some(),
            Self::Device => Idsp::new(id).is_some(),
        }
    }
}

/// A credential, open: erased when dropped, never printed.
#[derive(Clone)]
pub enum Credential {
    /// Kc, Ksp or Kss.
    Key(Key),
    /// A digest secret.
    Digest(Zeroizing<Vec<u8>>),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key(_) => "Credential::Key(..)",
            Self::Digest(_) => "Credential::Digest(..)",
        })
    }
}

impl Credential {
    pub(super) fn octets(&self) -> &[u8] {
        match self {
            Self::Key(key) => key.expose(),
            Self::Digest(secret) => secret,
        }
    }

    pub(super) fn fits(&self, kind: Kind) -> bool {
        matches!((self, kind), (Self::Key(_), Kind::Terminal | Kind::Device) | (Self::Digest(_), Kind::Digest))
    }

    pub(super) fn from_octets(kind: Kind, octets: &[u8]) -> Option<Self> {
        match kind {
            Kind::Digest => Some(Self::Digest(Zeroizing::new(octets.to_vec()))),
            Kind::Terminal | Kind::Device => octets.try_into().ok().map(|o| Self::Key(Key::new(o))),
        }
    }
}

/// What is known of a credential without opening it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Whose it is.
    pub id: String,
    /// What it is for.
    pub kind: Kind,
    /// When it was added, milliseconds since 1970 UTC.
    pub made_ms: u64,
    /// When it got its present key.
    pub rotated_ms: u64,
}

/// Why the store did not do as asked. No text here ever holds key material.
#[derive(Debug)]
pub enum StoreError {
    /// The store cannot be opened or worked on: the host's fault, or a damaged file.
    Backend {
        /// The store's file.
        path: PathBuf,
        /// What redb says.
        what: String,
    },
    /// This master key did not seal this store: the configuration's fault.
    WrongMasterKey {
        /// The store's file.
        path: PathBuf,
    },
    /// The store is of a layout that this program does not know.
    Newer {
        /// The store's file.
        path: PathBuf,
        /// Its layout.
        version: u32,
        /// The newest one known.
        known: u32,
    },
    /// The store has a layout that cannot do what was asked.
    Older {
        /// The store's file.
        path: PathBuf,
        /// Its layout.
        version: u32,
    },
    /// The store has no envelope, and its master key is in a token, which only opens envelopes.
    Unwrapped {
        /// The store's file.
        path: PathBuf,
    },
    /// Two master keys open the store already.
    Masters {
        /// The store's file.
        path: PathBuf,
    },
    /// A record is damaged or was moved; the others are not concerned.
    Record {
        /// Which space, or `registration`.
        noun: &'static str,
        /// Whose.
        id: String,
    },
    /// The identity is there already: the caller's fault.
    Exists {
        /// Which space.
        space: Space,
        /// Whose.
        id: String,
    },
    /// There is no such identity.
    Missing {
        /// Which space.
        space: Space,
        /// Whose.
        id: String,
    },
    /// The identity's record is another than the one that was to be changed: somebody else was faster.
    Changed {
        /// Which space.
        space: Space,
        /// Whose.
        id: String,
    },
    /// There is no such thing beside identities: a token, an activation code.
    NoSuch {
        /// What.
        noun: &'static str,
        /// Its name.
        id: String,
    },
    /// An activation code stands in the way.
    Code {
        /// Whose.
        id: String,
        /// What is the matter.
        what: &'static str,
    },
    /// There are as many of these as may be kept.
    Full {
        /// What.
        noun: &'static str,
        /// How many that is.
        most: u64,
    },
    /// A name that is none: empty, too long, or with controls.
    Unnamed {
        /// Most octets.
        most: usize,
    },
    /// The identity breaks the form of its space, or the secret does not fit its kind.
    Malformed {
        /// What it was meant to be.
        kind: Kind,
        /// Whose.
        id: String,
    },
    /// No master key.
    Custody(CustodyError),
    /// This store is a node's replica: keys change in the system of record only.
    Replica {
        /// The store's file.
        path: PathBuf,
    },
    /// The system of record did not do as asked. Answering goes on.
    Database {
        /// Which one, as `host:port/name`.
        server: String,
        /// What it, or the way to it, says.
        what: String,
        /// True when it is not known whether the change was made: the connection broke while it was being confirmed.
        unknown: bool,
    },
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend { path, what } => write!(f, "{}: {what}", path.display()),
            Self::WrongMasterKey { path } => {
                write!(f, "{}: sealed under another master key than the one given", path.display())
            }
            Self::Newer { path, version, known } => {
                write!(f, "{}: of layout {version}; this program knows layouts up to {known}", path.display())
            }
            Self::Older { path, version } => {
                write!(f, "{}: of layout {version}, which has no envelope for a second master key", path.display())
            }
            Self::Unwrapped { path } => {
                write!(f, "{}: of layout 1, which a master key in a token does not open", path.display())
            }
            Self::Masters { path } => write!(f, "{}: two master keys open it already", path.display()),
            Self::Record { noun, id } => {
                write!(f, "the record of {noun} {id} does not open: damaged, or moved from another place")
            }
            Self::Exists { space, id } => write!(f, "{} {id} is there already", space.noun()),
            Self::Missing { space, id } => write!(f, "there is no {} {id}", space.noun()),
            Self::Changed { space, id } => write!(f, "{} {id} was changed meanwhile", space.noun()),
            Self::NoSuch { noun, id } => write!(f, "there is no {noun} {id}"),
            Self::Code { id, what } => write!(f, "{id} {what}"),
            Self::Full { noun, most } => write!(f, "there are {most} of them already: no room for another {noun}"),
            Self::Unnamed { most } => write!(f, "a name has 1 to {most} octets and no control characters"),
            Self::Malformed { kind, id } => write!(
                f,
                "{id:?} cannot be the identity of a {}, or its secret \
                does not fit one",
                kind.name()
            ),
            Self::Custody(e) => e.fmt(f),
            Self::Replica { path } => {
                write!(f, "{}: a replica, in which nothing is changed by hand", path.display())
            }
            Self::Database { server, what, unknown } => {
                let outcome =
                    if *unknown { "it is not known whether the change was made" } else { "nothing was changed" };
                write!(f, "database {server}: {what}; {outcome}")
            }
        }
    }
}

impl core::error::Error for StoreError {}

/// One credential to be put into the store.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Whose.
    pub id: String,
    /// What for.
    pub kind: Kind,
    /// The secret.
    pub credential: Credential,
}

/// What to do with an identity that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfThere {
    /// Fail with [`StoreError::Exists`]; nothing of the batch is stored.
    Refuse,
    /// Leave the old key.
    Keep,
    /// Give it the new key.
    Replace,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stored {
    /// New identities.
    pub added: u64,
    /// Identities that got a new key.
    pub replaced: u64,
    /// Identities left as they were.
    pub kept: u64,
}

impl From<CustodyError> for StoreError {
    fn from(e: CustodyError) -> Self {
        Self::Custody(e)
    }
}
