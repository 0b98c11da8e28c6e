//! Answers of the softswitch's own making.

use crate::peers::Peer;
use crate::state::{Core, Effect};
use crate::transactions::TransactionId;
use portunus_codec::hex_u64;
use portunus_keydist::Now;
use portunus_signalling::Protocol;
use portunus_sip::carriage::core::write_status;
use portunus_sip::view::Message;

/// A response that ends a request, and a header that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    pub code: u16,
    pub reason: String,
    pub retry_after_s: Option<u32>,
    /// A whole header line, with its CRLF.
    pub header: Option<String>,
}

impl Status {
    pub(crate) fn new(code: u16, reason: &str) -> Self {
        Self { code, reason: reason.to_owned(), retry_after_s: None, header: None }
    }

    pub(crate) fn with(self, name: &str, value: &str) -> Self {
        Self { header: Some(format!("{name}: {value}\r\n")), ..self }
    }

    /// 503 that asks to wait so many seconds.
    pub(crate) fn busy(retry_after_s: u32) -> Self {
        Self { retry_after_s: Some(retry_after_s), ..Self::new(503, "Service Unavailable") }
    }

    /// The one refusal (spec section 2).
    pub(crate) fn refused() -> Self {
        Self::new(403, "Forbidden")
    }
}

impl Core {
    /// The To tag of our answers: the same for every retransmission of a request, and for the ACK that ends it.
    pub(crate) fn to_tag(&self, request: &Message<'_>) -> String {
        let hash = self.keyed.parts(2, &[request.via().whole, request.call_id()]);
        String::from_utf8_lossy(&hex_u64(hash)).into_owned()
    }

    /// 503 that asks for a time of its own from everybody.
    pub(crate) fn busy(&mut self) -> Status {
        let wait = self.wait_s();
        Status::busy(wait)
    }

    /// Writes a response of our own.
    pub(crate) fn status(&mut self, request: &Message<'_>, status: &Status) -> Option<Vec<u8>> {
        let tag = self.to_tag(request);
        let mut bytes =
            self.write(|w| write_status(request, &tag, status.code, &status.reason, status.retry_after_s, w))?;
        if let Some(header) = &status.header {
            // Behind the status line: the order of headers of different names means nothing.
            let at = bytes.windows(2).position(|w| w == b"\r\n").map_or(bytes.len(), |at| at + 2);
            bytes.splice(at..at, header.bytes());
        }
        Some(bytes)
    }

    /// Answers a REGISTER, and remembers the answer for its retransmissions.
    pub(crate) fn finish(
        &mut self,
        now: Now,
        transaction: TransactionId,
        to: Peer,
        answer: Option<Vec<u8>>,
        out: &mut Vec<Effect>,
    ) {
        match answer {
            Some(bytes) => {
                self.transactions.answer(now.mono_ms, transaction, &bytes);
                out.push(Effect::Send { protocol: Protocol::Sip, to, bytes });
            }
            // It did not fit: what is repeated will not fit either, and costs no more than this.
            None => self.transactions.forget(transaction),
        }
    }
}
