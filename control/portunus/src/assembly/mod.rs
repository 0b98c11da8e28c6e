//! The roles of a process, made from plain configuration and started as threads: what `demo`, `run` and the tests
//! share.
//!
//! | role | thread | made by |
//! |---|---|---|
//! | AuC | one, its own loop | [`auc::start`] |
//! | softswitch behind proxies | one, its own loop | [`softswitch::start`] |
//! | proxy | workers and control, of `node` | [`proxy::start`] with UDP towards the core |
//! | softswitch facing terminals | workers and control, of `node` | [`proxy::start_direct`], the softswitch in control |

pub mod aaa;
pub mod auc;
pub mod clock;
pub mod direct;
pub mod proxy;
pub mod softswitch;
pub mod watch;

use crate::exit::Failure;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Tells a role's loop to end, from any thread.
#[derive(Debug, Clone)]
pub struct Stop {
    flag: Arc<AtomicBool>,
    waker: Arc<mio::Waker>,
}

impl Stop {
    /// For the loop of `registry`, which is woken with `token`.
    ///
    /// # Errors
    /// What the system says about its wake-up descriptor.
    pub fn new(registry: &mio::Registry, token: mio::Token) -> io::Result<Self> {
        Ok(Self { flag: Arc::default(), waker: Arc::new(mio::Waker::new(registry, token)?) })
    }

    /// Asks for the end.
    pub fn stop(&self) {
        self.flag.store(true, Ordering::Release);
        // A loop that cannot be woken still looks at the flag with its next deadline.
        let _ = self.waker.wake();
    }

    /// True once the end was asked for.
    pub fn asked(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }
}

/// A role's thread. Dropping it ends the role.
#[derive(Debug)]
pub struct Role {
    name: &'static str,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Role {
    /// Starts `body` on a thread of this name.
    ///
    /// # Errors
    /// What the system says about threads.
    pub fn spawn(name: &'static str, stop: Stop, body: impl FnOnce() + Send + 'static) -> Result<Self, Failure> {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(body);
        let thread = thread.map_err(|e| Failure::io(&format!("starting the {name}"), &e))?;
        Ok(Self { name, stop, thread: Some(thread) })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// True while its thread runs.
    pub fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|t| !t.is_finished())
    }

    /// Ends it and waits for its end.
    pub fn stop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            if thread.join().is_err() {
                tracing::error!(role = self.name, "ended by a panic");
            }
        }
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        self.stop();
    }
}
