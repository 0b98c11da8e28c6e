//! The access network of connections: forwards octets between terminals and the proxy, keeps what passed, and may lose
//! every way that it has, as a NAT does that was started again.

// Each test binary uses its own part of this.
#![allow(dead_code)]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Pieces kept to be looked at.
const KEPT_MAX: usize = 4_096;

/// A running wire; it takes no more connections when dropped.
pub(crate) struct Wire {
    shared: Arc<Shared>,
    at: SocketAddr,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Connections begun before the last loss lead nowhere.
    era: AtomicU64,
    kept: Mutex<Vec<Vec<u8>>>,
}

impl Wire {
    /// Forwards what arrives at `at` to `behind`, and back.
    pub(crate) fn start(at: SocketAddr, behind: SocketAddr) -> Self {
        let listener = TcpListener::bind(at).unwrap_or_else(|e| panic!("a wire at {at}: {e}"));
        let shared = Arc::new(Shared::default());
        let all = Arc::clone(&shared);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if all.stop.load(Ordering::Relaxed) {
                    return;
                }
                // A proxy that is away refuses: so does its wire, by an end.
                let Ok(far) = TcpStream::connect(behind) else { continue };
                let era = all.era.load(Ordering::Relaxed);
                let ways = [(near.try_clone(), far.try_clone()), (Ok(far), Ok(near))];
                for (from, to) in ways {
                    let (from, to, shared) = (from.expect("a socket"), to.expect("a socket"), Arc::clone(&all));
                    std::thread::spawn(move || shared.carry(from, to, era));
                }
            }
        });
        Self { shared, at }
    }

    /// From now on what is connected leads nowhere, and nobody is told; who connects anew is served.
    pub(crate) fn lose_all(&self) {
        self.shared.era.fetch_add(1, Ordering::Relaxed);
    }

    /// What passed first, both ways.
    pub(crate) fn kept(&self) -> Vec<Vec<u8>> {
        self.shared.kept.lock().expect("no panic under it").clone()
    }
}

impl Shared {
    fn carry(&self, mut from: TcpStream, mut to: TcpStream, era: u64) {
        let mut room = [0u8; 8_192];
        while let Ok(n @ 1..) = from.read(&mut room) {
            if self.era.load(Ordering::Relaxed) != era {
                continue;
            }
            let mut kept = self.kept.lock().expect("no panic under it");
            if kept.len() < KEPT_MAX {
                kept.push(room[..n].to_vec());
            }
            drop(kept);
            if to.write_all(&room[..n]).is_err() {
                break;
            }
        }
        if self.era.load(Ordering::Relaxed) == era {
            let _ = to.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.at);
    }
}
