//! The PSK identity in a ClientHello, read before anything else is made of the connection.

use super::{Ended, Identity};

/// Octets of the longest ClientHello that is read, handshake header included: one with post-quantum key shares has
/// about 1,800.
pub const HELLO_MAX: usize = 4096;
/// Octets of the longest beginning of a connection that [`read`] may need to see: a record's header for each octet would
/// be absurd, one for each 64 is generous.
pub const BEGINNING_MAX: usize = HELLO_MAX + HELLO_MAX / 64 * RECORD_HEADER;

const RECORD_HEADER: usize = 5;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const PRE_SHARED_KEY: u16 = 41;

/// What a ClientHello offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The first PSK identity, where it is one that a session can have; `None`: none, or a foreign one.
    pub id: Option<Identity>,
}

/// Reads the first octets of a connection; `Ok(None)` until the ClientHello is complete. Work is linear in the octets
/// shown, of which [`BEGINNING_MAX`] are enough.
///
/// # Errors
/// [`Ended::NotTls`], [`Ended::Hello`].
pub fn read(octets: &[u8]) -> Result<Option<Offer>, Ended> {
    let mut hello = [0u8; HELLO_MAX];
    let mut len = 0;
    let mut rest = octets;
    loop {
        match rest.first() {
            Some(&HANDSHAKE) => {}
            Some(_) => return Err(if len == 0 { Ended::NotTls } else { Ended::Hello }),
            None => break,
        }
        let Some((&[_, major, _, high, low], after)) = rest.split_first_chunk::<RECORD_HEADER>() else { break };
        let size = usize::from(u16::from_be_bytes([high, low]));
        if major != 3 {
            return Err(Ended::NotTls);
        }
        if size == 0 || len + size > HELLO_MAX {
            return Err(Ended::Hello);
        }
        let part = after.get(..size).unwrap_or(after);
        if let Some(place) = hello.get_mut(len..len + part.len()) {
            place.copy_from_slice(part);
        }
        len += part.len();
        match whole(hello.get(..len).unwrap_or_default())? {
            Some(body) => return offer(body).map(Some).ok_or(Ended::Hello),
            None => rest = after.get(size..).unwrap_or_default(),
        }
    }
    if octets.len() >= BEGINNING_MAX { Err(Ended::Hello) } else { Ok(None) }
}

/// The body of the ClientHello that the handshake octets begin with, once it is complete.
fn whole(handshake: &[u8]) -> Result<Option<&[u8]>, Ended> {
    if handshake.first().is_some_and(|&kind| kind != CLIENT_HELLO) {
        return Err(Ended::Hello);
    }
    let Some((&[_, a, b, c], body)) = handshake.split_first_chunk::<4>() else { return Ok(None) };
    let size = u32::from_be_bytes([0, a, b, c]) as usize;
    if size + 4 > HELLO_MAX {
        return Err(Ended::Hello);
    }
    Ok(body.get(..size))
}

/// Octets that are taken off their beginning.
struct Cursor<'h>(&'h [u8]);

impl<'h> Cursor<'h> {
    fn take(&mut self, len: usize) -> Option<&'h [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn short(&mut self) -> Option<&'h [u8]> {
        let len = usize::from(*self.take(1)?.first()?);
        self.take(len)
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    fn long(&mut self) -> Option<&'h [u8]> {
        let len = usize::from(self.number()?);
        self.take(len)
    }
}

/// RFC 8446 sections 4.1.2 and 4.2.11.
fn offer(body: &[u8]) -> Option<Offer> {
    let mut hello = Cursor(body);
    hello.take(2 + 32)?;
    hello.short()?;
    hello.long()?;
    hello.short()?;
    let mut extensions = Cursor(if hello.0.is_empty() { &[] } else { hello.long()? });
    while !extensions.0.is_empty() {
        let kind = extensions.number()?;
        let content = extensions.long()?;
        if kind == PRE_SHARED_KEY {
            let mut identities = Cursor(Cursor(content).long()?);
            return Some(Offer { id: Identity::from_text(identities.long()?) });
        }
    }
    Some(Offer { id: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(content: &[u8]) -> Vec<u8> {
        [&(content.len() as u16).to_be_bytes(), content].concat()
    }

    fn hello(identity: Option<&[u8]>) -> Vec<u8> {
        let mut extensions = [&[0, 43][..], &long(&[2, 3, 4])].concat();
        if let Some(identity) = identity {
            let one = [&long(identity)[..], &[0; 4]].concat();
            let psk = [&long(&one)[..], &long(&[32; 33])].concat();
            extensions.extend([&[0, 41][..], &long(&psk)].concat());
        }
        let body = [&[3, 3][..], &[7; 32], &[0], &long(&[0x13, 1]), &[1, 0], &long(&extensions)].concat();
        [&[1, 0][..], &long(&body)].concat()
    }

    fn records(handshake: &[u8], size: usize) -> Vec<u8> {
        handshake.chunks(size).flat_map(|part| [&[22, 3, 1][..], &long(part)].concat()).collect()
    }

    #[test]
    fn the_identity_is_found_however_the_octets_come() {
        let id = Identity([9; ID]);
        for size in [1, 3, 64, 4096] {
            let octets = records(&hello(Some(&id.text())), size);
            for cut in 0..octets.len() {
                assert_eq!(read(&octets[..cut]), Ok(None), "{cut} octets in records of {size}");
            }
            assert_eq!(read(&octets), Ok(Some(Offer { id: Some(id) })));
            assert_eq!(read(&[&octets[..], b"what follows"].concat()), Ok(Some(Offer { id: Some(id) })));
        }
    }
    const ID: usize = crate::tls::ID_LEN;

    #[test]
    fn foreign_identities_are_none() {
        for identity in
            [None, Some(&b""[..]), Some(b"Client_identity"), Some(&[b'A'; 21]), Some(&[b'A'; 23]), Some(&[0xff; 22])]
        {
            assert_eq!(read(&records(&hello(identity), 4096)), Ok(Some(Offer { id: None })), "{identity:?}");
        }
        // 22 characters whose last has bits that stand for nothing.
        assert_eq!(Identity::from_text(b"AAAAAAAAAAAAAAAAAAAAAB"), None);
    }

    #[test]
    fn what_is_no_client_hello_ends_at_once() {
        assert_eq!(read(b"REGISTER sip:example.test SIP/2.0"), Err(Ended::NotTls));
        assert_eq!(read(&[22, 2, 0, 0, 1]), Err(Ended::NotTls));
        assert_eq!(read(&[22, 3, 1, 0, 0]), Err(Ended::Hello), "an empty record");
        assert_eq!(read(&[22, 3, 1, 0, 4, 2]), Err(Ended::Hello), "a ServerHello");
        assert_eq!(read(&[22, 3, 1, 0x20, 0, 1]), Err(Ended::Hello), "too long a record");
        assert_eq!(read(&[22, 3, 1, 0, 4, 1, 0, 0x10, 0]), Err(Ended::Hello), "too long a message");
        let tiny: Vec<u8> = records(&hello(Some(&[b'A'; 2000])), 1);
        assert_eq!(read(&tiny[..BEGINNING_MAX]), Err(Ended::Hello), "an octet a record");
        let id = Identity([9; ID]).text();
        let good = hello(Some(&id));
        for cut in 4..good.len() {
            let mut short = good[..cut].to_vec();
            let len = short.len() - 4;
            short[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            assert!(read(&records(&short, 4096)).is_ok_and(|o| o.is_some()) == (cut == 4 + 41), "{cut}");
        }
    }
}
