//! The one contract between the proxy engine and a signalling protocol.
//!
//! The engine knows steps, sessions, keys and limits; a protocol knows syntax. Everything that passes between them
//! is declared here, so that a further protocol is one more crate that implements [`Signalling`], and the engine
//! names none of them. All methods are pure: octets in, values or octets out, no allocation, bounded work.
//!
//! Deliberately absent: sockets, clocks, tables, any protocol's vocabulary.

mod border;
mod cover;
mod notes;

pub use border::{Border, Crossing, NAME_MAX, NAMES_MAX, NameError, Names, Noticed, Rules};
use core::net::SocketAddr;
use core::ops::Range;
pub use cover::{Cover, HIDDEN_MAX, MARK, Room};
pub use notes::{MARKS_MAX, Marks, TEXT_MAX, Text};
pub use portunus_codec::{Full, Writer};
use portunus_keydist::ident::{Idc, IdcBuf, Idsp, N1, Rand};
use portunus_keydist::steps::{Refusal, S1, S6, S7, S8, S9, S10};

/// The protocols of the product, numbered as in the sealed header (spec section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Protocol {
    /// SIP, RFC 3261.
    Sip = 1,
    /// MGCP, RFC 3435.
    Mgcp = 2,
    /// H.248.1 text.
    H248 = 3,
    /// H.323 RAS.
    Ras = 4,
}

/// What carried a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// One message a datagram.
    Udp,
    /// A stream that the I/O side already cut into messages.
    Tcp,
    /// The same inside TLS.
    Tls,
}

/// A handle that the engine gives with everything it sends towards the core and gets back with every answer: the
/// top octet is the worker, the rest belongs to the engine. A protocol carries it where its standard lets an answer
/// be recognised (SIP: the Via branch; MGCP: the request identifier).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

impl Ticket {
    /// The worker that issued it.
    pub const fn worker(self) -> u8 {
        (self.0 >> 56) as u8
    }
}

/// What shows which of the proxy's messages one from the core belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// The handle came back (SIP).
    Ticket(Ticket),
    /// It names the registration by its N1a (spec section 2), and by nothing else before there is a Rand.
    N1(N1),
    /// It names the registration by its Rand.
    Rand(Rand),
    /// By the lane that it came on: it is for whoever that lane is. See [`Signalling::lanes`].
    Lane,
}

/// What the proxy is, for the messages that it writes.
#[derive(Debug, Clone, Copy)]
pub struct Own<'a> {
    /// Its identity.
    pub idsp: Idsp<'a>,
    /// The digest realm (SIP) of its domain.
    pub realm: &'a str,
    /// Where terminals reach the listener concerned.
    pub access: SocketAddr,
    /// Where the core reaches the proxy: Via, Path and Contact of its making.
    pub core: SocketAddr,
}

/// One message's way through the proxy.
#[derive(Debug, Clone, Copy)]
pub struct Hop<'a> {
    /// The proxy.
    pub own: Own<'a>,
    /// The terminal's address as the proxy sees it.
    pub source: SocketAddr,
    /// What the terminal's message came by, or the answer leaves by.
    pub transport: Transport,
    /// The handle to carry.
    pub ticket: Ticket,
    /// A keyed hash of the message, the same for a retransmission: makes branches unique across restarts, and shows
    /// that an answer is to this message. In [`Signalling::relay_up`] and [`Signalling::relay_down`] it is a secret of
    /// the terminal's instead, the same for all its messages and sessions, from which a protocol makes what shows
    /// that an answer is to something that was relayed; it is never written itself.
    pub salt: u64,
    /// What [`Signalling::read_marked`] noted of the terminal's message that is written from; [`Marks::NONE`] where
    /// there is none.
    pub marks: &'a Marks,
}

/// Why a message was not taken. `what` names the part in the protocol's own words, `at` is its octet offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The kind, which decides the counter and the answer.
    pub kind: FaultKind,
    /// The header, parameter or element at fault, e.g. `CSeq`.
    pub what: &'static str,
    /// Octet offset in the message.
    pub at: usize,
}

/// Kinds of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// Not this protocol, truncated or binary: no reply is possible.
    Unreadable,
    /// Readable enough to be answered, but malformed.
    Malformed,
    /// A limit was passed: too long, too many headers, too deep.
    TooBig,
    /// A field that only the core may send, or a name that is not the session's.
    Forbidden,
    /// Well formed, and not something this place serves.
    Unsupported,
}

/// What an unprotected message from the access side is.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::large_enum_variant, reason = "one lives on the stack at a time; a box would allocate on the hot path")]
pub enum FromTerminal<'m> {
    /// A PKD1 registration.
    S1(S1<'m>),
    /// The answer to a challenge.
    S7(S7<'m>),
    /// A stock phone's registration, with or without its digest response; only on listeners that admit it.
    Digest {
        /// Who registers.
        idc: Idc<'m>,
        /// True when it carries a response.
        answered: bool,
        /// True when it asks to end the registration (SIP: every Contact expires at once).
        ends: bool,
    },
    /// Any other request.
    Request {
        /// The identity that it claims, for routing a stock phone's request.
        idc: Option<Idc<'m>>,
    },
    /// A response, or what acknowledges one.
    Response {
        /// The handle, when the message carries one of ours (a stock phone answering a relayed request).
        ticket: Option<Ticket>,
    },
    /// A keep-alive, to be answered by these octets (empty: no answer).
    KeepAlive(&'static [u8]),
}

/// What a message from the core is.
#[derive(Debug, Clone, Copy)]
pub enum FromCore<'m> {
    /// s5.
    Challenge {
        /// Which registration.
        of: Of,
        /// Who is challenged, where the message says so; checked when present.
        idc: Option<Idc<'m>>,
        /// The proxy that the challenge is for.
        idsp: Idsp<'m>,
        /// The challenge.
        rand: Rand,
    },
    /// s9.
    Key {
        /// Which registration.
        of: Of,
        /// Who was authenticated, where the message says so; by value: it is kept until its batch is complete.
        idc: Option<IdcBuf>,
        /// The wraps.
        s9: S9,
    },
    /// A registration was not granted. Where the handle belongs to something that was relayed (a refresh, a stock
    /// phone's registration), it is that one's final answer.
    Refused {
        /// Which registration.
        of: Of,
        /// Why.
        refusal: Refusal,
    },
    /// An answer to something that was relayed for a session or a stock phone; a digest challenge or its 200 among
    /// them.
    Answer {
        /// What it is an answer to.
        of: Of,
        /// True when it is final.
        last: bool,
        /// True when it grants what was asked (2xx).
        success: bool,
    },
    /// A request for a terminal.
    Request {
        /// The terminal, by value: its spelling in the message may be escaped. `None` where a request names no terminal
        /// and its lane says whose it is.
        idc: Option<IdcBuf>,
    },
    /// A request to the proxy itself (health check), which [`Signalling::answer_own`] answers.
    Own,
}

/// Where control must take a message from the core; read without reading the whole message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// To the worker that the handle names.
    Ticket(Ticket),
    /// To the worker that holds this terminal's session.
    Terminal(IdcBuf),
    /// To the worker whose lane it came on: a step, or the answer to one.
    Step,
    /// To the worker that holds the session of the terminal whose lane it came on, and else as [`Route::Step`].
    Lane,
    /// To the proxy itself.
    Own,
    /// Nowhere.
    Unknown,
}

/// What a protocol may know of a session when it relays for it.
#[derive(Debug, Clone, Copy)]
pub struct SessionRef<'a> {
    /// Whose it is.
    pub idc: Idc<'a>,
    /// What [`Signalling::binding`] wrote when it registered: how requests reach the terminal (SIP: its Contact).
    pub binding: &'a [u8],
    /// True when the session has a key; false for a stock phone's.
    pub keyed: bool,
    /// What of its messages may cross the border.
    pub crossing: Crossing<'a>,
}

/// What became of a terminal's message inside its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Up {
    /// The writer holds what goes to the core.
    Forward,
    /// As `Forward`; it is a refresh of the registration, or takes a part of it back: [`Signalling::rebinding`] says
    /// what the session remembers when it is granted.
    Refresh,
    /// As `Forward`; it ends the registration: the session ends after the reply.
    Deregister,
    /// The writer holds an answer for the terminal; nothing goes to the core.
    Answer,
    /// Nothing is sent.
    Drop,
}

/// Longest binding in octets.
pub const BINDING_MAX: usize = 192;

/// A signalling protocol, as the engine sees it.
///
/// Writers append to `w`; `Err(Full)` means that the message does not fit, which the engine counts and treats as a
/// refusal. `Hop` and the steps give everything that is not in the original messages.
pub trait Signalling: Send + Sync {
    /// Which one.
    fn protocol(&self) -> Protocol;

    /// True where the core tells terminals apart by the transport address that their messages come from, and so names
    /// the terminal nowhere else (MGCP, H.248, RAS). s2 then leaves by a port that all terminals share; s8 and
    /// everything of the session leaves by a *lane*: a port of this IDc's own, by which the core's messages for it
    /// come in. Identifiers of transactions pass a lane unchanged.
    fn lanes(&self) -> bool {
        false
    }

    /// Reads an unprotected message from the access side. Fields that only the core may send are a
    /// [`FaultKind::Forbidden`] fault.
    ///
    /// `marks`, whatever they held, say afterwards what was noted of the message, for [`Hop::marks`] and
    /// [`Signalling::binding`]; protocols that note nothing clear them. `text` holds the names of a message that does not
    /// spell them in UTF-8 itself (RAS: UTF-16); other protocols do not touch it.
    ///
    /// # Errors
    /// A [`Fault`] that says what and where.
    fn read_marked<'m>(&self, msg: &'m [u8], marks: &mut Marks, text: &'m mut Text) -> Result<FromTerminal<'m>, Fault>;

    /// Reads a message from the core, with the [`Hop::salt`] that came back where the message answers one of the proxy's:
    /// the handle alone can be guessed. 0, which a keyed hash is with no useful probability, where an answer carries
    /// none; `None` where the protocol's answers have no room for it. `text` as for [`Signalling::read_marked`].
    ///
    /// # Errors
    /// A [`Fault`] that says what and where.
    fn read_answer<'m>(&self, msg: &'m [u8], text: &'m mut Text) -> Result<(FromCore<'m>, Option<u64>), Fault>;

    /// Finds where a message from the core belongs, touching as little of it as possible.
    fn route_core(&self, msg: &[u8]) -> Route;

    /// Writes what a transaction protocol sends back at once to whoever sent `msg`, before any step follows. SIP
    /// writes nothing.
    fn acknowledge(&self, _hop: &Hop<'_>, _msg: &[u8], _w: &mut Writer<'_>) {}

    /// Writes what a transaction protocol sends back at once for a step of the core's (s5, s9, a refusal), by the lane
    /// that it came on, whether or not anything waits for it: the core repeats a step until it is acknowledged. Nothing
    /// is written for what is no step, or itself an answer (RAS). What acknowledges repeats the number that it answers, so
    /// the salt is 0 here.
    fn acknowledge_core(&self, _hop: &Hop<'_>, _msg: &[u8], _w: &mut Writer<'_>) {}

    /// As [`Signalling::acknowledge_core`], for a message that [`Signalling::read_answer`] has just read as a step (s5, s9, a
    /// refusal): it need not be read a second time.
    fn acknowledge_step(&self, hop: &Hop<'_>, msg: &[u8], w: &mut Writer<'_>) {
        self.acknowledge_core(hop, msg, w);
    }

    /// What names the transaction of a request or an answer (the first one, where there are several): an answer on a
    /// lane is by this known to belong to a refresh or a de-registration that left by it. `None` where a message has
    /// none, and where handles name transactions (SIP).
    fn transaction(&self, _msg: &[u8]) -> Option<u32> {
        None
    }

    /// As [`Signalling::transaction`], of an s2 or s8 that this protocol has just written.
    fn step_transaction(&self, msg: &[u8]) -> Option<u32> {
        self.transaction(msg)
    }

    /// s1 as received, to s2.
    ///
    /// # Errors
    /// [`Full`].
    fn write_s2(&self, hop: &Hop<'_>, s1_msg: &[u8], s1: &S1<'_>, w: &mut Writer<'_>) -> Result<(), Full>;

    /// s6 from the terminal's message that it answers (s1, or a failed s7) and the core's s5.
    ///
    /// # Errors
    /// [`Full`].
    fn write_s6(
        &self,
        hop: &Hop<'_>,
        request: &[u8],
        core_msg: &[u8],
        s6: &S6<'_>,
        w: &mut Writer<'_>,
    ) -> Result<(), Full>;

    /// s7 as received, to s8: without the list, and with a Contact or its like of the proxy's making.
    ///
    /// # Errors
    /// [`Full`].
    fn write_s8(&self, hop: &Hop<'_>, s7_msg: &[u8], s7: &S7<'_>, s8: &S8<'_>, w: &mut Writer<'_>) -> Result<(), Full>;

    /// s10 from s7 and the core's s9. The MAC field is written as its placeholder; the returned range, counted from
    /// the start of `w`'s buffer, is where [`Signalling::put_mac`] puts the MAC. The MAC covers everything that this
    /// call wrote.
    ///
    /// # Errors
    /// [`Full`].
    fn write_s10(
        &self,
        hop: &Hop<'_>,
        s7_msg: &[u8],
        core_msg: &[u8],
        s10: &S10<'_>,
        w: &mut Writer<'_>,
    ) -> Result<Range<usize>, Full>;

    /// The octets that stand for the MAC while it is computed.
    fn mac_placeholder(&self) -> &'static [u8];

    /// Puts the MAC in the protocol's form into its field.
    fn put_mac(&self, field: &mut [u8], mac: &[u8; 32]);

    /// Passes on to the terminal that the core is at it still and will take a while (RAS: RequestInProgress); `core_msg` is an
    /// answer that is not final, `request` the terminal's message. Returns for how many milliseconds the answer is to be
    /// waited for; `None`, and nothing is written, where the core cannot say that or it ends at the proxy (SIP's 100).
    ///
    /// # Errors
    /// [`Full`].
    fn write_progress(
        &self,
        _hop: &Hop<'_>,
        _request: &[u8],
        _core_msg: &[u8],
        _w: &mut Writer<'_>,
    ) -> Result<Option<u32>, Full> {
        Ok(None)
    }

    /// A refusal of the terminal's message `request`. `n1` is its N1, when it was read.
    ///
    /// # Errors
    /// [`Full`].
    fn write_refusal(
        &self,
        hop: &Hop<'_>,
        request: &[u8],
        refusal: &Refusal,
        n1: Option<&N1>,
        w: &mut Writer<'_>,
    ) -> Result<(), Full>;

    /// The answer to a message that [`Signalling::read_marked`] did not take; `Ok(false)` when none is due.
    ///
    /// # Errors
    /// [`Full`].
    fn write_fault(&self, hop: &Hop<'_>, request: &[u8], fault: &Fault, w: &mut Writer<'_>) -> Result<bool, Full>;

    /// The stateless cookie's answer to s1. `ts` is the proxy's clock.
    ///
    /// # Errors
    /// [`Full`].
    fn write_cookie(
        &self,
        hop: &Hop<'_>,
        s1_msg: &[u8],
        n1: &N1,
        ts: u64,
        cookie: &[u8],
        w: &mut Writer<'_>,
    ) -> Result<(), Full>;

    /// A stock phone's registration towards the core, with the proxy named in it.
    ///
    /// # Errors
    /// [`Full`].
    fn write_digest(&self, hop: &Hop<'_>, msg: &[u8], idc: Idc<'_>, w: &mut Writer<'_>) -> Result<(), Full>;

    /// What a session must remember of a registration so that requests reach the terminal; at most
    /// [`BINDING_MAX`] octets. `marks` as for [`Hop::marks`].
    ///
    /// # Errors
    /// [`Full`].
    fn binding(&self, registration: &[u8], marks: &Marks, w: &mut Writer<'_>) -> Result<(), Full>;

    /// What the session must remember instead of its binding once this refresh of it is granted; at most
    /// [`BINDING_MAX`] octets.
    ///
    /// # Errors
    /// [`Full`].
    fn rebinding(&self, session: &SessionRef<'_>, refresh: &[u8], w: &mut Writer<'_>) -> Result<(), Full>;

    /// True when this answer of the core's is to a registration: its success grants what a refresh asked for.
    fn answers_registration(&self, msg: &[u8]) -> bool;

    /// A message that arrived inside a session (or from a stock phone's proven source), towards the core. Identities
    /// are bound here: what does not bear the session's IDc gets the protocol's refusal as `Up::Answer`.
    ///
    /// # Errors
    /// A [`Fault`] when it cannot be read or does not fit; the engine counts it.
    fn relay_up(&self, hop: &Hop<'_>, session: &SessionRef<'_>, msg: &[u8], w: &mut Writer<'_>) -> Result<Up, Fault>;

    /// A message from the core towards a session's terminal: core-only fields removed, the terminal's own Contact
    /// restored or its address filled in.
    ///
    /// # Errors
    /// A [`Fault`] when it cannot be read or does not fit; the engine counts it.
    fn relay_down(&self, hop: &Hop<'_>, session: &SessionRef<'_>, msg: &[u8], w: &mut Writer<'_>) -> Result<(), Fault>;

    /// The answer to a core request that [`Signalling::relay_down`] did not take; `Ok(false)` when none is due.
    ///
    /// # Errors
    /// [`Full`].
    fn write_core_fault(&self, hop: &Hop<'_>, request: &[u8], fault: &Fault, w: &mut Writer<'_>) -> Result<bool, Full>;

    /// The answer to a core request for a terminal that has no active session (SIP 480), or to one for the proxy
    /// itself (SIP 200). Nothing is written when none is due.
    ///
    /// # Errors
    /// [`Full`].
    fn answer_own(&self, hop: &Hop<'_>, request: &[u8], reachable: bool, w: &mut Writer<'_>) -> Result<(), Full>;
}
