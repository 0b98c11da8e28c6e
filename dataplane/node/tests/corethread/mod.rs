//! A small core, softswitch and AuC in one thread, and what tests of a node share.
#![allow(unreachable_pub)]

use std::collections::{BTreeMap, HashMap};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use portunus_keydist::Now;
use portunus_keydist::schedule::Key;
use portunus_node::NodeHandle;

use crate::common::{Core, Phone, Seeded};

pub fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

pub fn now() -> Now {
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Now { mono_ms: 0, wall_ms: wall.as_millis() as u64 }
}

/// The core in a thread: answers registrations, keeps what else arrives, and sends what it is told.
pub struct CoreThread {
    pub socket: UdpSocket,
    pub core: Arc<Mutex<Core>>,
    pub others: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl CoreThread {
    pub fn start() -> Self {
        let socket = UdpSocket::bind(any()).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let proxy = Key::new([0x5a; 32]);
        let (subscribers, asked) = (BTreeMap::new(), BTreeMap::new());
        let core = Core { subscribers, proxy, retries: 1, asked, rands: Vec::new(), rng: Seeded(now().wall_ms) };
        let core = Arc::new(Mutex::new(core));
        let others = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (mine, kept, told, link) =
            (Arc::clone(&core), Arc::clone(&others), Arc::clone(&stop), socket.try_clone().unwrap());
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 9000];
            // Transaction-stateful, as a registrar is: the same branch gets the same answer.
            let mut answered: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
            while !told.load(Ordering::Relaxed) {
                let Ok((len, from)) = link.recv_from(&mut buffer) else { continue };
                let message = &buffer[..len];
                if message.starts_with(b"REGISTER ") {
                    let via = message.split(|&octet| octet == b'\n').nth(1).unwrap().to_vec();
                    let answer = answered.entry(via).or_insert_with(|| mine.lock().unwrap().answer(message));
                    link.send_to(answer, from).unwrap();
                } else {
                    kept.lock().unwrap().push(message.to_vec());
                }
            }
        });
        Self { socket, core, others, stop, thread: Some(thread) }
    }

    pub fn phone(&self, idc: &str, addr: SocketAddr) -> Phone {
        let key = Key::new(core::array::from_fn(|i| idc.as_bytes()[i % idc.len()] ^ i as u8));
        let phone = Phone::new(idc, &key, &addr.to_string());
        self.core.lock().unwrap().subscribers.insert(idc.into(), key);
        phone
    }

    /// What has arrived besides registrations, once there is something.
    pub fn heard(&self) -> Vec<u8> {
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            if let Some(message) = self.others.lock().unwrap().pop() {
                return message;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the core heard nothing");
    }
}

impl Drop for CoreThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub fn await_counter(node: &NodeHandle, name: &str, want: u64) {
    let end = Instant::now() + Duration::from_secs(3);
    while node.counter(name) != want && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(node.counter(name), want, "{name}");
}

pub fn token(idc: &str) -> String {
    idc.replace('@', "%40")
}

pub fn message_for(idc: &str, node: &NodeHandle, core: &CoreThread) -> String {
    let (own, from) = (node.core(), core.socket.local_addr().unwrap());
    format!(
        "MESSAGE sip:{}@{own} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKcore1\r\nMax-Forwards: 70\r\n\
         From: <sip:bob@example.test>;tag=1\r\nTo: <sip:{idc}>\r\nCall-ID: m1\r\nCSeq: 1 MESSAGE\r\n\
         Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
        token(idc)
    )
}
