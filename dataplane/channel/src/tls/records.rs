//! The records of a connection after its handshake (RFC 8446 sections 4.6, 5 and 6), under the secrets that OpenSSL has
//! agreed on.
//!
//! What OpenSSL keeps for a connection is twenty times what is needed to protect records. So it is let go when the
//! handshake is complete, and thousands of idle connections cost some hundred octets each.
//!
//! After the handshake a peer may say: application data, an alert, KeyUpdate, and to a terminal NewSessionTicket, which is
//! passed over. No message of the handshake is taken in pieces: none of these needs more than a record.

use super::half::{Cipher, HEADER, Half, PLAIN_MAX, RECORDS_MAX, SECRET_LEN, TAG};
use super::{Ended, Limits};
use core::ops::Range;

pub(super) const APPLICATION_DATA: u8 = 23;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

const KEY_UPDATE: u8 = 24;
const NEW_SESSION_TICKET: u8 = 4;

/// Octets of the longest body of a record (section 5.2).
const BODY_MAX: usize = PLAIN_MAX + 256;
const RECORD_MAX: usize = HEADER + BODY_MAX;

const CLOSE_NOTIFY: u8 = 0;
const USER_CANCELED: u8 = 90;
const UNEXPECTED_MESSAGE: u8 = 10;
const BAD_RECORD_MAC: u8 = 20;
const RECORD_OVERFLOW: u8 = 22;
const DECODE_ERROR: u8 = 50;
const ILLEGAL_PARAMETER: u8 = 47;

/// What protects an established connection.
pub(super) struct Records {
    receives: Half,
    sends: Half,
    server: bool,
    /// What was received: plaintext that was not taken yet, then records.
    input: Vec<u8>,
    /// The plaintext in it.
    plain: Range<usize>,
    /// Where its records begin.
    from: usize,
    /// Nothing more comes, for this reason.
    ended: Option<Ended>,
}

/// Why nothing more comes: an alert for the peer, or an end that the peer made.
enum Halt {
    Fault(u8),
    Peer(Ended),
}

impl Records {
    /// `rest`: what the peer has sent behind its handshake.
    pub(super) fn new(
        cipher: Cipher,
        (receives, sends): (&[u8; SECRET_LEN], &[u8; SECRET_LEN]),
        server: bool,
        rest: Vec<u8>,
    ) -> Option<Self> {
        let (receives, sends) = (Half::new(cipher, receives)?, Half::new(cipher, sends)?);
        Some(Self { receives, sends, server, input: rest, plain: 0..0, from: 0, ended: None })
    }

    /// As [`super::Connection::take`]: octets of plaintext, and whether there may be more.
    pub(super) fn take(
        &mut self,
        octets: &[u8],
        room: &mut [u8],
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Result<(usize, bool), Ended> {
        // A record that is not complete waits for the peer, not for us.
        let most = if self.plain.is_empty() { limits.incoming.max(RECORD_MAX) } else { limits.incoming };
        if self.input.len() + octets.len() > most {
            return Err(Ended::Flood);
        }
        self.input.extend_from_slice(octets);
        let mut taken = 0;
        loop {
            taken += self.hand_out(room.get_mut(taken..).unwrap_or_default());
            if !self.plain.is_empty() {
                self.tidy();
                return Ok((taken, true));
            }
            match self.next_record(out) {
                // What came before the end is worth having.
                Err(_) if taken > 0 => return Ok((taken, true)),
                Err(ended) => return Err(ended),
                Ok(true) if out.len() > limits.outgoing => return Err(Ended::Slow),
                Ok(true) => {}
                Ok(false) => {
                    self.tidy();
                    return Ok((taken, false));
                }
            }
        }
    }

    /// Moves plaintext to the room.
    fn hand_out(&mut self, room: &mut [u8]) -> usize {
        let plain = self.input.get(self.plain.clone()).unwrap_or_default();
        let count = plain.len().min(room.len());
        if let (Some(place), Some(plain)) = (room.get_mut(..count), plain.get(..count)) {
            place.copy_from_slice(plain);
        }
        self.plain.start += count;
        count
    }

    /// Drops what was dealt with; an idle connection holds no buffer.
    fn tidy(&mut self) {
        let done = if self.plain.is_empty() { self.from } else { self.plain.start };
        if done == self.input.len() {
            self.input = Vec::new();
        } else {
            self.input.drain(..done);
        }
        self.from -= done;
        self.plain = if self.plain.is_empty() { 0..0 } else { 0..self.plain.end - done };
    }

    /// Deals with the next record; false when none is complete.
    fn next_record(&mut self, out: &mut Vec<u8>) -> Result<bool, Ended> {
        if let Some(ended) = self.ended {
            return Err(ended);
        }
        let ended = match self.read_record(out) {
            Ok(complete) => return Ok(complete),
            Err(Halt::Peer(ended)) => ended,
            Err(Halt::Fault(alert)) => {
                // Level 2: fatal. It cannot fail before the connection is over anyway.
                let _ = self.sends.seal(ALERT, &[2, alert], out);
                Ended::Broken
            }
        };
        self.ended = Some(ended);
        Err(ended)
    }

    fn read_record(&mut self, out: &mut Vec<u8>) -> Result<bool, Halt> {
        let rest = self.input.get_mut(self.from..).unwrap_or_default();
        let Some((header, rest)) = rest.split_first_chunk_mut::<HEADER>() else { return Ok(false) };
        let &mut [kind, major, _, high, low] = header;
        let len = usize::from(u16::from_be_bytes([high, low]));
        if kind != APPLICATION_DATA || major != 3 {
            // Unprotected after the handshake, whatever it is.
            return Err(Halt::Fault(UNEXPECTED_MESSAGE));
        }
        if len > BODY_MAX {
            return Err(Halt::Fault(RECORD_OVERFLOW));
        }
        let Some(body) = rest.get_mut(..len) else { return Ok(false) };
        let inner = self.receives.open(*header, body).ok_or(Halt::Fault(BAD_RECORD_MAC))?;
        let inner = body.get(..inner).unwrap_or_default();
        let Some(content) = inner.iter().rposition(|octet| *octet != 0) else {
            return Err(Halt::Fault(UNEXPECTED_MESSAGE));
        };
        if content > PLAIN_MAX {
            return Err(Halt::Fault(RECORD_OVERFLOW));
        }
        let kind = inner.get(content).copied().unwrap_or_default();
        let at = self.from + HEADER;
        self.from = at + len;
        match kind {
            APPLICATION_DATA => self.plain = at..at + content,
            ALERT => self.on_alert(at..at + content)?,
            HANDSHAKE => self.on_handshake(at..at + content, out)?,
            _ => return Err(Halt::Fault(UNEXPECTED_MESSAGE)),
        }
        Ok(true)
    }

    fn on_alert(&self, at: Range<usize>) -> Result<(), Halt> {
        match self.input.get(at) {
            Some([_, CLOSE_NOTIFY]) => Err(Halt::Peer(Ended::Closed)),
            Some([_, USER_CANCELED]) => Ok(()),
            Some([_, number]) => Err(Halt::Peer(Ended::Alert(*number))),
            _ => Err(Halt::Fault(DECODE_ERROR)),
        }
    }

    fn on_handshake(&mut self, mut at: Range<usize>, out: &mut Vec<u8>) -> Result<(), Halt> {
        if at.is_empty() {
            return Err(Halt::Fault(UNEXPECTED_MESSAGE));
        }
        while !at.is_empty() {
            let rest = self.input.get(at.clone()).unwrap_or_default();
            let Some((&[kind, a, b, c], body)) = rest.split_first_chunk::<4>() else {
                return Err(Halt::Fault(UNEXPECTED_MESSAGE));
            };
            let len = u32::from_be_bytes([0, a, b, c]) as usize;
            let Some(body) = body.get(..len) else { return Err(Halt::Fault(UNEXPECTED_MESSAGE)) };
            let asks = match (kind, body) {
                (NEW_SESSION_TICKET, _) if !self.server => None,
                (KEY_UPDATE, &[asks @ 0..=1]) => Some(asks == 1),
                (KEY_UPDATE, &[_]) => return Err(Halt::Fault(ILLEGAL_PARAMETER)),
                (KEY_UPDATE, _) => return Err(Halt::Fault(DECODE_ERROR)),
                _ => return Err(Halt::Fault(UNEXPECTED_MESSAGE)),
            };
            at.start += 4 + len;
            match asks {
                // The key changes with the next record, so nothing stands behind it in this one (section 5.1).
                Some(_) if !at.is_empty() => return Err(Halt::Fault(UNEXPECTED_MESSAGE)),
                Some(asks) => {
                    self.receives.update().ok_or(Halt::Peer(Ended::Memory))?;
                    if asks {
                        self.update(out).map_err(Halt::Peer)?;
                    }
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Says that another key follows, and changes to it.
    fn update(&mut self, out: &mut Vec<u8>) -> Result<(), Ended> {
        self.sends.seal(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 0], out).ok_or(Ended::Memory)?;
        self.sends.update().ok_or(Ended::Memory)
    }

    /// Appends records of this plaintext to `out`.
    pub(super) fn put(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Ended> {
        for part in plain.chunks(PLAIN_MAX) {
            if self.sends.records >= RECORDS_MAX {
                self.update(out)?;
            }
            out.reserve(HEADER + part.len() + 1 + TAG);
            self.sends.seal(APPLICATION_DATA, part, out).ok_or(Ended::Memory)?;
        }
        Ok(())
    }

    /// Appends what says that nothing follows.
    pub(super) fn close(&mut self, out: &mut Vec<u8>) {
        // Level 1: a warning, as ever with this one. What cannot be said is not missed: the connection ends.
        let _ = self.sends.seal(ALERT, &[1, CLOSE_NOTIFY], out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(cipher: Cipher) -> (Records, Records) {
        let (a, b) = ([1; SECRET_LEN], [2; SECRET_LEN]);
        let server = Records::new(cipher, (&a, &b), true, Vec::new()).unwrap();
        (server, Records::new(cipher, (&b, &a), false, Vec::new()).unwrap())
    }

    fn take(end: &mut Records, octets: &[u8], out: &mut Vec<u8>) -> Result<Vec<u8>, Ended> {
        let (mut all, mut shown) = (Vec::new(), octets);
        loop {
            let mut room = [0; 1_000];
            let (count, more) = end.take(shown, &mut room, &Limits::default(), out)?;
            all.extend_from_slice(&room[..count]);
            shown = &[];
            if !more {
                return Ok(all);
            }
        }
    }

    #[test]
    fn octets_pass_in_any_pieces_and_keys_change_when_either_end_wants() {
        for cipher in [Cipher::Aes128Gcm, Cipher::ChaCha20Poly1305] {
            let (mut server, mut client) = ends(cipher);
            let text: Vec<u8> = (0..40_000u32).map(|n| n as u8).collect();
            let (mut up, mut none) = (Vec::new(), Vec::new());
            client.put(&text[..100], &mut up).unwrap();
            let mut got = take(&mut server, &up, &mut none).unwrap();
            up.clear();
            (client.sends.records, server.receives.records) = (RECORDS_MAX, RECORDS_MAX);
            client.put(&text[100..], &mut up).unwrap();
            assert!(client.sends.records < 4, "another key");
            for piece in up.chunks(777) {
                got.extend(take(&mut server, piece, &mut none).unwrap());
            }
            assert!(got == text && none.is_empty());
            // One that asks for another key back.
            let (mut asks, mut answer) = (Vec::new(), Vec::new());
            client.sends.seal(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 1], &mut asks).unwrap();
            client.sends.update().unwrap();
            client.put(b"under the next", &mut asks).unwrap();
            assert_eq!(take(&mut server, &asks, &mut answer).unwrap(), b"under the next");
            server.put(b"so be it", &mut answer).unwrap();
            assert_eq!(take(&mut client, &answer, &mut none).unwrap(), b"so be it");
            assert!(server.input.capacity() == 0 && client.input.capacity() == 0, "nothing is kept when all is taken");
        }
    }

    /// What a peer sends that it must not, and the alert that it gets.
    #[test]
    fn what_no_record_may_be_ends_the_connection_with_its_alert() {
        let cases: [(u8, &[u8], u8); 11] = [
            (HANDSHAKE, b"", UNEXPECTED_MESSAGE),
            (HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 2], ILLEGAL_PARAMETER),
            (HANDSHAKE, &[KEY_UPDATE, 0, 0, 2, 0, 0], DECODE_ERROR),
            (HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 0, KEY_UPDATE, 0, 0, 1, 0], UNEXPECTED_MESSAGE),
            (HANDSHAKE, &[KEY_UPDATE, 0, 0], UNEXPECTED_MESSAGE),
            (HANDSHAKE, &[1, 0, 0, 0], UNEXPECTED_MESSAGE),
            (HANDSHAKE, &[NEW_SESSION_TICKET, 0, 0, 0], UNEXPECTED_MESSAGE),
            (ALERT, &[2], DECODE_ERROR),
            (20, &[1], UNEXPECTED_MESSAGE),
            (0, b"", UNEXPECTED_MESSAGE),
            (APPLICATION_DATA, &[0; PLAIN_MAX + 1], RECORD_OVERFLOW),
        ];
        for (kind, content, alert) in cases {
            let (mut server, mut client) = ends(Cipher::Aes128Gcm);
            let (mut up, mut down) = (Vec::new(), Vec::new());
            client.put(b"before", &mut up).unwrap();
            client.sends.seal(kind, content, &mut up).unwrap();
            assert_eq!(server.take(&up, &mut [0; 100], &Limits::default(), &mut down), Ok((6, true)));
            assert_eq!(take(&mut server, &[], &mut down), Err(Ended::Broken), "{kind} {content:?}");
            assert_eq!(take(&mut client, &down, &mut up), Err(Ended::Alert(alert)), "{kind} {content:?}");
        }
    }

    #[test]
    fn unprotected_oversized_and_altered_records_end_it_and_an_end_stays() {
        for (octets, alert) in [
            (&[21, 3, 3, 0, 2, 1, 0][..], UNEXPECTED_MESSAGE),
            (&[20, 3, 3, 0, 1, 1], UNEXPECTED_MESSAGE),
            (&[23, 2, 3, 0, 1, 1], UNEXPECTED_MESSAGE),
            (&[23, 3, 3, 0x41, 1], RECORD_OVERFLOW),
            (&[23, 3, 3, 0, 0], BAD_RECORD_MAC),
            (&[23, 3, 3, 0, 3, 1, 2, 3], BAD_RECORD_MAC),
        ] {
            let (mut server, mut client) = ends(Cipher::Aes128Gcm);
            let (mut none, mut down) = (Vec::new(), Vec::new());
            assert_eq!(take(&mut server, octets, &mut down), Err(Ended::Broken), "{octets:?}");
            assert_eq!(take(&mut client, &down, &mut none), Err(Ended::Alert(alert)), "{octets:?}");
            let said = down.len();
            assert_eq!((take(&mut server, &[], &mut down), down.len()), (Err(Ended::Broken), said), "said once");
        }
    }

    #[test]
    fn a_ticket_is_passed_over_by_a_terminal_and_a_peer_that_asks_for_keys_without_end_must_read() {
        let (mut server, mut client) = ends(Cipher::Aes128Gcm);
        let (mut down, mut up) = (Vec::new(), Vec::new());
        server.sends.seal(HANDSHAKE, &[NEW_SESSION_TICKET, 0, 0, 2, 9, 9], &mut down).unwrap();
        server.put(b"x", &mut down).unwrap();
        assert_eq!(take(&mut client, &down, &mut up).unwrap(), b"x");
        for _ in 0..2_000 {
            client.sends.seal(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 1], &mut up).unwrap();
            client.sends.update().unwrap();
        }
        let limits = Limits { outgoing: 1_000, ..Limits::default() };
        let mut out = Vec::new();
        assert_eq!(server.take(&up, &mut [0; 10], &limits, &mut out), Err(Ended::Slow));
        assert!(out.len() < 1_100);
    }
}
