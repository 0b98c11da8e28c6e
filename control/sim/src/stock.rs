//! A stock phone: knows SIP and digest authentication, and nothing of PKD1. It registers on the listener that admits
//! its kind, again at half of its lifetime, and answers what reaches it.

use crate::net::{Datagram, addr};
use crate::prng::Prng;
use core::net::SocketAddr;
use portunus_aaa::DigestAlgorithm;
use portunus_auc::digest::word;
use portunus_codec::{Writer, b64_decode};
use portunus_keydist::Idc;
use portunus_signalling::Transport;
use portunus_sip::carriage::terminal::{
    Agent, Answer, StockAnswer, Txn, read_answer, write_response, write_stock_register,
};
use portunus_sip::view::{Message, Method};

/// Seconds that it asks for.
const EXPIRES_S: u32 = 60;
/// Milliseconds before the first repetition; then twice as many, up to 4 s, for 32 s in all.
const T1: u64 = 500;

/// One stock phone.
pub struct Stock {
    /// Who it is.
    pub idc: String,
    /// Where it is.
    pub addr: SocketAddr,
    proxy: usize,
    secret: Vec<u8>,
    rng: Prng,
    cseq: u32,
    /// The request that waits for its answer, when it was first sent, and the gap to the next repetition.
    waiting: Option<(Vec<u8>, u64, u64)>,
    branch: String,
    due: u64,
    /// Challenges answered, for the reference model.
    pub answered: Vec<[u8; 16]>,
}

impl core::fmt::Debug for Stock {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Stock({})", self.idc)
    }
}

/// The name of the `index`-th stock phone.
pub fn name(index: usize) -> String {
    format!("phone{index}@example.test")
}

impl Stock {
    /// A phone that registers at `due`.
    pub fn new(index: usize, proxy: usize, secret: &[u8], due: u64, rng: Prng) -> Self {
        Self {
            idc: name(index),
            addr: addr::stock_phone(index),
            proxy,
            secret: secret.to_vec(),
            rng,
            cseq: 0,
            waiting: None,
            branch: String::new(),
            due,
            answered: Vec::new(),
        }
    }

    /// When time matters next.
    pub fn deadline(&self) -> u64 {
        self.due
    }

    fn send(&self, bytes: Vec<u8>) -> Datagram {
        Datagram { from: self.addr, to: addr::stock(self.proxy), bytes }
    }

    fn register(&mut self, now: u64, answer: Option<&StockAnswer<'_>>) -> Option<Datagram> {
        self.cseq += 1;
        self.branch = format!("z9hG4bK{:016x}", self.rng.bits());
        let contact = format!("sip:phone@{}", self.addr);
        let agent = Agent {
            idc: Idc::new(&self.idc)?,
            realm: "example.test",
            registrar: "sip:example.test",
            local: self.addr,
            transport: Transport::Udp,
            contact: &contact,
            call_id: "stock",
            from_tag: "stock",
        };
        let txn = Txn { cseq: self.cseq, branch: &self.branch };
        let mut buf = [0u8; 2048];
        let mut w = Writer::new(&mut buf);
        write_stock_register(&agent, &txn, EXPIRES_S, answer, &mut w).ok()?;
        w.finish().ok()?;
        let bytes = w.written().to_vec();
        self.waiting = Some((bytes.clone(), now, T1));
        self.due = now + T1;
        Some(self.send(bytes))
    }

    /// Time has passed.
    pub fn timer(&mut self, now: u64) -> Option<Datagram> {
        match &mut self.waiting {
            Some((bytes, since, gap)) if now < *since + 64 * T1 => {
                *gap = (*gap * 2).min(4_000);
                self.due = now + *gap;
                let bytes = bytes.clone();
                Some(self.send(bytes))
            }
            _ => self.register(now, None),
        }
    }

    /// A datagram reached it; what it heard, where that was a request with a body, and what it answers.
    pub fn receive(&mut self, now: u64, bytes: &[u8]) -> (Option<(String, Vec<u8>)>, Option<Datagram>) {
        if let Ok(reply) = read_answer(bytes) {
            let own = self.waiting.is_some() && reply.branch == self.branch.as_bytes() && reply.cseq == self.cseq;
            return (None, if own { self.answer(now, &reply.answer) } else { None });
        }
        let Ok(request) = Message::parse(bytes) else { return (None, None) };
        if !request.is_request() {
            return (None, None);
        }
        let heard = (String::from_utf8_lossy(request.from().uri).into_owned(), request.body().to_vec());
        if request.method() == Method::Ack {
            return (Some(heard), None);
        }
        let mut buf = [0u8; 4096];
        let mut w = Writer::new(&mut buf);
        let contact = format!("sip:phone@{}", self.addr);
        let written = write_response(&request, 200, "OK", "stock", Some(&contact), None, &mut w);
        let answer = written.ok().and_then(|()| w.finish().ok()).map(|_| self.send(w.written().to_vec()));
        (Some(heard), answer)
    }

    fn answer(&mut self, now: u64, answer: &Answer<'_>) -> Option<Datagram> {
        match answer {
            Answer::Provisional => None,
            Answer::Digest { nonce, .. } => {
                let mut rand = [0u8; 16];
                let nonce = core::str::from_utf8(nonce).ok()?;
                if b64_decode(nonce.as_bytes(), &mut rand) != Some(16) {
                    return None;
                }
                self.answered.push(rand);
                let algorithm = DigestAlgorithm::Sha256;
                let right = word(algorithm, &self.idc, "example.test", &self.secret, "sip:example.test", &rand);
                let response: String = right.as_bytes().iter().map(|o| format!("{o:02x}")).collect();
                let answer = StockAnswer { nonce, response: &response, algorithm: algorithm.token() };
                self.register(now, Some(&answer))
            }
            Answer::Granted => {
                self.waiting = None;
                self.due = now + u64::from(EXPIRES_S) * 500;
                None
            }
            _ => {
                self.waiting = None;
                self.due = now + self.rng.between(2_000, 6_000);
                None
            }
        }
    }
}
