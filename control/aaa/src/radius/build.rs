//! Writes a packet. Overflow is remembered and told once, at the end.

use super::attr::MESSAGE_AUTHENTICATOR;
use super::packet::{Code, HEADER_LEN, PACKET_MAX, VALUE_MAX};
use super::sign::{put_authenticator, put_digest, put_message_authenticator};
use crate::secret::SharedSecret;
use portunus_codec::Full;

/// A packet being written into a reusable buffer. Where the code wants a Message-Authenticator it is already there,
/// as the first attribute.
#[derive(Debug)]
pub struct Builder {
    buf: Vec<u8>,
    /// Offset of the Message-Authenticator's value.
    mac_at: Option<usize>,
    full: bool,
}

impl Builder {
    /// Begins a packet in `buf`, whose earlier content is dropped.
    pub fn new(mut buf: Vec<u8>, code: Code, id: u8) -> Self {
        buf.clear();
        buf.extend_from_slice(&[code as u8, id, 0, 0]);
        buf.extend_from_slice(&[0; 16]);
        let mut this = Self { buf, mac_at: None, full: false };
        if !matches!(code, Code::AccountingRequest | Code::AccountingResponse) {
            this.put(MESSAGE_AUTHENTICATOR, &[0; 16]);
            this.mac_at = Some(HEADER_LEN + 2);
        }
        this
    }

    /// Appends an attribute of 1 to 253 octets.
    pub fn put(&mut self, kind: u8, value: &[u8]) -> &mut Self {
        let fits = (1..=VALUE_MAX).contains(&value.len()) && self.buf.len() + value.len() + 2 <= PACKET_MAX;
        if !fits || self.full {
            self.full = true;
            return self;
        }
        self.buf.push(kind);
        // At most 255, checked above.
        self.buf.push((value.len() + 2) as u8);
        self.buf.extend_from_slice(value);
        self
    }

    /// Appends attributes that are already in their wire form: Proxy-State copied from the request.
    pub fn put_raw(&mut self, attributes: &[u8]) -> &mut Self {
        if self.full || self.buf.len() + attributes.len() > PACKET_MAX {
            self.full = true;
        } else {
            self.buf.extend_from_slice(attributes);
        }
        self
    }

    fn close(&mut self) -> Result<(), Full> {
        if self.full {
            return Err(Full);
        }
        let len = (self.buf.len() as u16).to_be_bytes();
        if let Some(field) = self.buf.get_mut(2..4) {
            field.copy_from_slice(&len);
        }
        Ok(())
    }

    /// Finishes an Access-Request or Status-Server with its Request Authenticator (16 unpredictable octets), or an
    /// Accounting-Request, which computes its own.
    ///
    /// # Errors
    /// [`Full`].
    pub fn finish_request(mut self, authenticator: &[u8; 16], secret: &SharedSecret) -> Result<Vec<u8>, Full> {
        self.close()?;
        match self.mac_at {
            Some(at) => {
                put_authenticator(&mut self.buf, authenticator);
                put_message_authenticator(&mut self.buf, at, secret);
            }
            None => put_digest(&mut self.buf, &[0; 16], secret),
        }
        Ok(self.buf)
    }

    /// Finishes an answer to the request with that authenticator.
    ///
    /// # Errors
    /// [`Full`].
    pub fn finish_answer(mut self, request: &[u8; 16], secret: &SharedSecret) -> Result<Vec<u8>, Full> {
        self.close()?;
        put_authenticator(&mut self.buf, request);
        if let Some(at) = self.mac_at {
            put_message_authenticator(&mut self.buf, at, secret);
        }
        put_digest(&mut self.buf, request, secret);
        Ok(self.buf)
    }
}

#[cfg(test)]
mod tests {
    use super::super::attr;
    use super::super::packet::Packet;
    use super::super::sign::{Distrust, check_answer, check_request};
    use super::*;

    fn secret() -> SharedSecret {
        SharedSecret::new(*b"xyzzy5461")
    }

    fn request(code: Code) -> Vec<u8> {
        let mut b = Builder::new(Vec::new(), code, 7);
        b.put(attr::USER_NAME, b"alice@example.test").put(attr::NAS_IDENTIFIER, b"ss1.example.test");
        b.finish_request(&[0x5a; 16], &secret()).unwrap()
    }

    #[test]
    fn what_is_built_is_believed_and_no_flipped_bit_is() {
        for code in [Code::AccessRequest, Code::StatusServer, Code::AccountingRequest] {
            let octets = request(code);
            check_request(&Packet::parse(&octets).unwrap(), &secret()).unwrap();
            for bit in 0..octets.len() * 8 {
                let mut bad = octets.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                let believed = Packet::parse(&bad).is_ok_and(|p| check_request(&p, &secret()).is_ok());
                // A Status-Server and an Access-Request differ in code alone, which the MAC covers too.
                assert!(!believed, "{code:?} bit {bit}");
            }
            let other = SharedSecret::new(*b"xyzzy5462");
            assert!(check_request(&Packet::parse(&octets).unwrap(), &other).is_err());
        }
    }

    #[test]
    fn answers_are_bound_to_their_request() {
        let asked = [9u8; 16];
        for (code, of) in [
            (Code::AccessChallenge, Code::AccessRequest),
            (Code::AccessReject, Code::AccessRequest),
            (Code::AccessAccept, Code::StatusServer),
            (Code::AccountingResponse, Code::AccountingRequest),
        ] {
            let mut b = Builder::new(Vec::new(), code, 7);
            b.put(attr::PROXY_STATE, b"x");
            let octets = b.finish_answer(&asked, &secret()).unwrap();
            check_answer(&Packet::parse(&octets).unwrap(), (of, &asked), &secret()).unwrap();
            let stranger = [8u8; 16];
            assert!(check_answer(&Packet::parse(&octets).unwrap(), (of, &stranger), &secret()).is_err());
            for bit in 0..octets.len() * 8 {
                let mut bad = octets.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                // The identifier is checked by whoever looks the request up, and by the digest here.
                let believed = Packet::parse(&bad).is_ok_and(|p| check_answer(&p, (of, &asked), &secret()).is_ok());
                assert!(!believed, "{code:?} bit {bit}");
            }
        }
    }

    /// The authenticators without the library: RFC 3579 section 3.2 and RFC 2865 section 3 spelt out.
    #[test]
    fn an_answer_without_a_valid_message_authenticator_is_not_believed() {
        let asked = [9u8; 16];
        // Blast-RADIUS: a right Response Authenticator alone must not do.
        let mut bare = vec![Code::AccessAccept as u8, 7, 0, 23, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        bare.extend([attr::PROXY_STATE, 3, b'x']);
        put_digest(&mut bare, &asked, &secret());
        let verdict = check_answer(&Packet::parse(&bare).unwrap(), (Code::AccessRequest, &asked), &secret());
        assert_eq!(verdict, Err(Distrust::Missing));
        // One that is right and one more.
        let mut b = Builder::new(Vec::new(), Code::AccessReject, 7);
        b.put(attr::MESSAGE_AUTHENTICATOR, &[0; 16]);
        let twice = b.finish_answer(&asked, &secret()).unwrap();
        let verdict = check_answer(&Packet::parse(&twice).unwrap(), (Code::AccessRequest, &asked), &secret());
        assert_eq!(verdict, Err(Distrust::Misplaced));
        // Last instead of first is fine.
        let mut last = vec![Code::AccessReject as u8, 7, 0, 41, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        last.extend([attr::PROXY_STATE, 3, b'x', attr::MESSAGE_AUTHENTICATOR, 18]);
        last.extend([0; 16]);
        put_authenticator(&mut last, &asked);
        put_message_authenticator(&mut last, 25, &secret());
        put_digest(&mut last, &asked, &secret());
        check_answer(&Packet::parse(&last).unwrap(), (Code::AccessRequest, &asked), &secret()).unwrap();
    }

    #[test]
    fn accounting_with_a_message_authenticator_is_refused() {
        let mut b = Builder::new(Vec::new(), Code::AccountingRequest, 7);
        b.put(attr::MESSAGE_AUTHENTICATOR, &[0; 16]);
        let octets = b.finish_request(&[0; 16], &secret()).unwrap();
        assert_eq!(check_request(&Packet::parse(&octets).unwrap(), &secret()), Err(Distrust::Misplaced));
    }

    #[test]
    fn what_does_not_fit_is_told_once() {
        let mut b = Builder::new(Vec::new(), Code::AccessRequest, 7);
        for _ in 0..17 {
            b.put(attr::PROXY_STATE, &[1; 253]);
        }
        assert_eq!(b.finish_request(&[0; 16], &secret()), Err(Full));
        let mut b = Builder::new(Vec::new(), Code::AccessRequest, 7);
        b.put(attr::USER_NAME, b"");
        assert_eq!(b.finish_request(&[0; 16], &secret()), Err(Full));
    }

    /// RFC 2869 era peers and FreeRADIUS agree on these octets: made with Python's hmac and hashlib.
    #[test]
    fn known_answers() {
        let octets = request(Code::AccessRequest);
        assert_eq!(octets[22..38], KNOWN_MAC);
        let octets = request(Code::AccountingRequest);
        assert_eq!(octets[4..20], KNOWN_ACCT);
    }

    const KNOWN_MAC: [u8; 16] =
        [0x49, 0xd8, 0xd9, 0xee, 0x96, 0xf2, 0xc1, 0x7f, 0x4d, 0xbc, 0xd5, 0xa2, 0x17, 0x40, 0x29, 0x44];
    const KNOWN_ACCT: [u8; 16] =
        [0x84, 0xb7, 0x7b, 0xf3, 0x6b, 0xae, 0x15, 0xa6, 0xb1, 0xfd, 0xbb, 0x23, 0xc1, 0xf1, 0x86, 0x31];
}
