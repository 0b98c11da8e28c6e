//! What stands before a softswitch and lets it die at a chosen moment: UDP, both ways, for one proxy.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

pub(crate) struct Relay {
    pub(crate) at: SocketAddr,
    stop: Arc<AtomicBool>,
    lost: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Before `switch`, which dies with the first message of which this is true: neither it nor what follows arrives.
    pub(crate) fn before(switch: SocketAddr, dies_at: fn(&str) -> bool) -> Self {
        let face = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let back = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        for socket in [&face, &back] {
            socket.set_read_timeout(Some(Duration::from_millis(2))).expect("set");
        }
        let (at, stop, lost) = (face.local_addr().expect("its address"), Arc::default(), Arc::default());
        let (ends, counts) = (Arc::clone(&stop), Arc::clone(&lost));
        let thread = std::thread::spawn(move || run(&face, &back, (switch, dies_at), &ends, &counts));
        Self { at, stop, lost, thread: Some(thread) }
    }

    /// Messages for the softswitch that died in its arms.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn run(
    face: &UdpSocket,
    back: &UdpSocket,
    (switch, dies_at): (SocketAddr, fn(&str) -> bool),
    stop: &AtomicBool,
    lost: &AtomicU64,
) {
    let (mut room, mut proxy, mut dead) = ([0; 9_000], None, false);
    while !stop.load(Ordering::Relaxed) {
        if let Ok((len, from)) = face.recv_from(&mut room) {
            proxy = Some(from);
            dead |= dies_at(&String::from_utf8_lossy(&room[..len]));
            match dead {
                true => _ = lost.fetch_add(1, Ordering::Relaxed),
                false => _ = back.send_to(&room[..len], switch),
            }
        }
        if let (Ok((len, _)), Some(proxy), false) = (back.recv_from(&mut room), proxy, dead) {
            let _ = face.send_to(&room[..len], proxy);
        }
    }
}
