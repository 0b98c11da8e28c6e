//! Datagrams without a kernel: two ends joined by two rings, for tests, floors and simulated networks.
//!
//! As on a wire, what does not fit is lost and the sender does not notice; [`End::lost`] counts it.

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::addr::canonical;
use crate::batch::{Batch, Pushed, Received, Rx, Sent, Tx};
use crate::ring::{Consumer, Producer, ring};

/// One end of a link. What it sends arrives at the other end with this end's address as the source; the destination
/// given is not looked at.
#[derive(Debug)]
pub struct End {
    address: SocketAddr,
    out: Producer,
    into: Consumer,
    lost: u64,
}

const ADDRESS: usize = 18;

fn put_address(out: &mut [u8], address: SocketAddr) -> Option<()> {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    out.get_mut(..16)?.copy_from_slice(&ip.octets());
    out.get_mut(16..ADDRESS)?.copy_from_slice(&address.port().to_be_bytes());
    Some(())
}

fn take_address(octets: &[u8]) -> Option<(SocketAddr, &[u8])> {
    let ip: [u8; 16] = octets.get(..16)?.try_into().ok()?;
    let port = u16::from_be_bytes(octets.get(16..ADDRESS)?.try_into().ok()?);
    Some((canonical(SocketAddr::new(IpAddr::from(ip), port)), octets.get(ADDRESS..)?))
}

/// Two joined ends with these addresses; each direction holds about `octets` octets.
pub fn link(a: SocketAddr, b: SocketAddr, octets: usize) -> (End, End) {
    let (a_out, b_into) = ring(octets);
    let (b_out, a_into) = ring(octets);
    (End { address: a, out: a_out, into: a_into, lost: 0 }, End { address: b, out: b_out, into: b_into, lost: 0 })
}

impl End {
    /// Messages that the link had no room for.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Sends one message as if it came from `source`: one end may play many terminals.
    pub fn send_from(&mut self, source: SocketAddr, message: &[u8]) {
        let sent = self.out.push_with(0, ADDRESS + message.len(), |place| {
            put_address(place, source)?;
            place.get_mut(ADDRESS..)?.copy_from_slice(message);
            Some(ADDRESS + message.len())
        });
        self.lost += u64::from(sent != Ok(true));
    }
}

impl Rx for End {
    fn recv(&mut self, batch: &mut Batch) -> io::Result<Received> {
        let mut received = Received::default();
        let room = batch.free_slots();
        let taken = self.into.drain(room, |_, octets| match take_address(octets) {
            Some((peer, message)) => match batch.push(peer, message) {
                Pushed::Written => received.messages += 1,
                Pushed::Declined | Pushed::Full => received.oversize += 1,
            },
            None => received.invalid += 1,
        });
        received.drained = taken < room;
        Ok(received)
    }
}

impl Tx for End {
    fn send(&mut self, batch: &mut Batch) -> io::Result<Sent> {
        for (_, message) in batch.iter() {
            let address = self.address;
            // Field by field, since `batch` is borrowed beside `self`.
            self.send_from(address, message);
        }
        let sent = Sent { messages: batch.len(), ..Sent::default() };
        batch.clear();
        Ok(sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_cross_with_their_source_and_a_full_link_loses() {
        let a: SocketAddr = "192.0.2.1:5060".parse().unwrap();
        let b: SocketAddr = "[2001:db8::2]:5060".parse().unwrap();
        let (mut left, mut right) = link(a, b, 4096);
        let mut batch = Batch::new(8, 1500);
        batch.push(b, b"one");
        batch.push(b, b"two");
        assert_eq!(left.send(&mut batch).unwrap().messages, 2);
        assert!(batch.is_empty());
        let got = right.recv(&mut batch).unwrap();
        assert_eq!((got.messages, got.drained), (2, true));
        assert_eq!(batch.iter().collect::<Vec<_>>(), [(a, &b"one"[..]), (a, &b"two"[..])]);
        right.send(&mut batch).unwrap();
        left.recv(&mut batch).unwrap();
        assert_eq!(batch.peer(0), Some(b));
        for _ in 0..10 {
            left.send_from(a, &[0; 1000]);
        }
        assert!(left.lost() > 0);
    }
}
