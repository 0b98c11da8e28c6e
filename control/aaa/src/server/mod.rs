//! What every server end of a transport protocol does, whatever it is: packets in, questions out, answers back.

use crate::exchange::{AaaAnswer, AaaRequest};
use core::net::SocketAddr;
use portunus_keydist::Now;
use std::sync::Arc;

/// Which of a protocol's two datagram ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Port {
    /// Authentication (RADIUS 1812).
    Auth,
    /// Accounting (RADIUS 1813).
    Acct,
}

/// Where a packet came from, and its answer goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A datagram.
    Datagram {
        /// Its source.
        peer: SocketAddr,
        /// The port that took it.
        port: Port,
    },
    /// A connection whose peer proved its name by certificate.
    Stream {
        /// The connection; never used twice.
        connection: u64,
        /// The name in the certificate.
        name: Arc<str>,
    },
}

/// Names a question until it is answered; never used twice by one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AskTicket(pub u64);

/// What a packet amounts to.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// A question to be answered by [`End::answer`].
    Asked {
        /// Its name.
        ticket: AskTicket,
        /// Who asks, as the configuration or the certificate names it.
        client: Arc<str>,
        /// The question.
        request: AaaRequest,
    },
    /// To be sent back at once: a repetition's cached answer, a probe's, a rejection.
    Answer(&'a [u8]),
    /// Dropped or waiting already; counted.
    Nothing,
    /// The connection is of no use any more.
    Close,
}

/// What an end counted since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndCounters {
    /// Questions handed out.
    pub asked: u64,
    /// Answers sent.
    pub answered: u64,
    /// Repetitions answered from the cache.
    pub repeated: u64,
    /// Repetitions dropped because their answer is still being made.
    pub waiting: u64,
    /// Probes answered.
    pub probes: u64,
    /// Packets that could not be read.
    pub unreadable: u64,
    /// Packets from addresses that are nobody's.
    pub stranger: u64,
    /// Packets whose authenticators are wrong.
    pub untrusted: u64,
    /// Authentic questions that made no sense.
    pub malformed: u64,
    /// Questions dropped because too many wait already.
    pub full: u64,
}

/// The server end of a protocol. Sans-I/O.
pub trait End: Send {
    /// One packet arrived.
    fn on_packet(&mut self, now: Now, origin: &Origin, bytes: &[u8]) -> Received<'_>;

    /// Answers a question; gives what is to be sent and where, or `None` when nobody waits for it any more.
    fn answer(&mut self, now: Now, ticket: AskTicket, answer: &AaaAnswer) -> Option<(Origin, &[u8])>;

    /// What was counted.
    fn counters(&self) -> EndCounters;
}
