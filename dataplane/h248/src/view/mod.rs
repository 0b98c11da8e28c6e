//! A checked, zero-copy view of a message in H.248.1's text encoding, compact or pretty.
//!
//! [`Message::parse`] checks the whole message against the grammar of H.248.1 (2005) annex B.2 once; what accessors
//! give afterwards cannot fail. Limits: [`MESSAGE_MAX`] octets, [`TRANSACTIONS_MAX`] transactions, [`DEPTH_MAX`] levels
//! of brackets. Work is linear in the message's length times the depth of its nesting; nothing allocates.
//!
//! The grammar is taken wider than written where peers are known to be: version 3's under every header version (1 to
//! 3); context properties and commands of an action in any order; a termination's name may begin with a digit; what a
//! selective audit asks for is checked for its form only.

mod auth;
mod check;
mod descriptors;
mod element;
pub(crate) mod lex;
mod mid;
mod services;
mod token;

pub use auth::Auth;
pub use element::{Element, Elements};
pub use lex::DEPTH_MAX;
pub(crate) use mid::is_domain;
pub use mid::{MID_MAX, Mid, MidForm};
pub use services::{Method, Services};
pub(crate) use services::{is_address, is_pkd};
pub(crate) use token::{Tok, Word, is};

pub(crate) use element::Span;
use portunus_codec::{parse_u32, parse_u64};
use portunus_signalling::{Fault, FaultKind};

/// Longest message in octets, without a TPKT header.
pub const MESSAGE_MAX: usize = 16 * 1024;
/// Most transactions (acknowledgements and replies among them) in a message.
pub const TRANSACTIONS_MAX: usize = 32;

/// A part that is not as the grammar has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bad {
    kind: FaultKind,
    what: &'static str,
    at: usize,
}

impl Bad {
    pub(crate) const fn at(what: &'static str, at: usize) -> Self {
        Self { kind: FaultKind::Malformed, what, at }
    }
}

impl From<Bad> for Fault {
    fn from(bad: Bad) -> Self {
        Self { kind: bad.kind, what: bad.what, at: bad.at }
    }
}

/// A message, checked.
#[derive(Debug, Clone, Copy)]
pub struct Message<'m> {
    octets: &'m [u8],
    auth: Option<Auth<'m>>,
    start: usize,
    version: u8,
    mid: Mid<'m>,
    mid_at: usize,
    body: usize,
    /// Where brackets of the first transaction close; none are known of what was not checked.
    pairs: lex::Pairs,
}

/// What a part of a message's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request.
    Request,
    /// A reply.
    Reply,
    /// The reply comes later.
    Pending,
    /// Replies are acknowledged.
    ResponseAck,
    /// A segment of a reply is acknowledged.
    Segment,
    /// The error that a whole message got.
    Error,
}

/// A part of a message's body.
#[derive(Debug, Clone, Copy)]
pub struct Transaction<'m> {
    /// What it is.
    pub kind: Kind,
    /// Its transaction identifier; 0 where it has none.
    pub id: u32,
    element: Element<'m>,
}

/// The context of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// `-`.
    Null,
    /// `$`.
    Choose,
    /// `*`.
    All,
    /// A context's number.
    Id(u32),
}

/// The commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommandKind {
    /// Add.
    Add,
    /// Move.
    Move,
    /// Modify.
    Modify,
    /// Subtract.
    Subtract,
    /// AuditValue.
    AuditValue,
    /// AuditCapability.
    AuditCapability,
    /// Notify.
    Notify,
    /// ServiceChange.
    ServiceChange,
}

/// What is done in one context, or what came of it.
#[derive(Debug, Clone, Copy)]
pub struct Action<'m> {
    /// Where.
    pub context: Context,
    element: Element<'m>,
}

/// A command, or its reply.
#[derive(Debug, Clone, Copy)]
pub struct Command<'m> {
    /// Which.
    pub kind: CommandKind,
    /// `O-`: its failure does not stop the transaction.
    pub optional: bool,
    /// `W-`: one reply is wanted for all terminations.
    pub wildcard: bool,
    element: Element<'m>,
}

/// An error descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorDescriptor<'m> {
    /// The code, H.248.8.
    pub code: u16,
    /// Its text; empty where there is none.
    pub text: &'m [u8],
}

impl<'m> Message<'m> {
    /// Reads and checks a message.
    ///
    /// # Errors
    /// A [`Fault`] with the place: `Unreadable` where not even the header is H.248 text, `Unsupported` for the binary
    /// encoding (`encoding`) and for versions other than 1 to 3 (`version`), `TooBig` past a limit.
    pub fn parse(octets: &'m [u8]) -> Result<Self, Fault> {
        let mut msg = Self::head(octets)?;
        msg.pairs = msg.check_body()?;
        Ok(msg)
    }

    /// Reads what stands before the body.
    fn head(octets: &'m [u8]) -> Result<Self, Bad> {
        let unreadable = |what, at| Bad { kind: FaultKind::Unreadable, what, at };
        if octets.len() > MESSAGE_MAX {
            return Err(Bad { kind: FaultKind::TooBig, what: "message", at: MESSAGE_MAX });
        }
        if crate::ber::is_binary(octets) {
            return Err(Bad { kind: FaultKind::Unsupported, what: "encoding", at: 0 });
        }
        let begin = lex::lwsp(octets, 0);
        let (auth, start) = auth::authentication(octets, begin)?;
        let end = lex::word(octets, start);
        let token = octets.get(start..end).unwrap_or_default();
        let slash = token.iter().position(|c| *c == b'/').ok_or(unreadable("MEGACO", start))?;
        let (name, version) = (token.get(..slash).unwrap_or_default(), token.get(slash + 1..).unwrap_or_default());
        if !is(name, Tok::MEGACO) {
            return Err(unreadable("MEGACO", start));
        }
        if !(1..=2).contains(&version.len()) || !version.iter().all(u8::is_ascii_digit) {
            return Err(Bad::at("version", start));
        }
        let version = match parse_u64(version) {
            Some(v @ 1..=3) => v as u8,
            _ => return Err(Bad { kind: FaultKind::Unsupported, what: "version", at: start }),
        };
        let mid_at = separated(octets, end)?;
        let (mid, end) = Mid::read(octets, mid_at)?;
        let body = separated(octets, end)?;
        Ok(Self { octets, auth, start, version, mid, mid_at, body, pairs: lex::Pairs::default() })
    }

    /// What a message that was not taken says of itself, for an answer to it: its version and its first transaction.
    /// `None` where it is none that is answered: no request, or nothing readable.
    pub(crate) fn salvage(octets: &'m [u8]) -> Option<(u8, Option<u32>)> {
        let octets = octets.get(..octets.len().min(MESSAGE_MAX))?;
        let msg = Self::head(octets).ok()?;
        let end = lex::word(octets, msg.body);
        let first = octets.get(msg.body..end)?;
        if [Tok::REPLY, Tok::PENDING, Tok::RESPONSE_ACK, Tok::SEGMENT, Tok::ERROR].iter().any(|t| is(first, *t)) {
            return None;
        }
        let mut id = None;
        let equals = lex::lwsp(octets, end);
        if is(first, Tok::TRANSACTION) && octets.get(equals) == Some(&b'=') {
            let from = lex::lwsp(octets, equals + 1);
            id = octets.get(from..lex::word(octets, from)).and_then(parse_u32);
        }
        Some((msg.version, id))
    }

    /// The message as it came.
    pub fn octets(&self) -> &'m [u8] {
        self.octets
    }

    /// The authentication header.
    pub fn auth(&self) -> Option<&Auth<'m>> {
        self.auth.as_ref()
    }

    /// The protocol's version in the header: 1, 2 or 3.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// Who sends.
    pub fn mid(&self) -> &Mid<'m> {
        &self.mid
    }

    /// The parts of the body, in order.
    pub fn transactions(&self) -> Transactions<'m> {
        Transactions { s: self.octets, at: self.body, pairs: self.pairs }
    }

    /// The one command that the message is, where it is a single request of a single command in the null context.
    pub fn only_command(&self) -> Option<(u32, Command<'m>)> {
        let mut transactions = self.transactions();
        let first = transactions.next().filter(|t| t.kind == Kind::Request)?;
        let mut actions = first.actions();
        let action = actions.next().filter(|a| a.context == Context::Null)?;
        let mut elements = action.elements();
        let command = elements.next().and_then(Command::of)?;
        let only = transactions.next().is_none() && actions.next().is_none() && elements.next().is_none();
        only.then_some((first.id, command))
    }

    /// A fault at this part of the message.
    pub(crate) fn fault(&self, kind: FaultKind, what: &'static str, part: &[u8]) -> Fault {
        let at = (part.as_ptr() as usize).saturating_sub(self.octets.as_ptr() as usize);
        Fault { kind, what, at: at.min(self.octets.len()) }
    }

    /// Where the version stands, and the identifier, and where the body begins.
    pub(crate) fn places(&self) -> (usize, Span, usize) {
        (self.start, (self.mid_at, self.mid_at + self.mid.text.len()), self.body)
    }
}

/// Behind the white space that must stand at `at`.
fn separated(s: &[u8], at: usize) -> Result<usize, Bad> {
    match lex::lwsp(s, at) {
        end if end > at => Ok(end),
        _ => Err(Bad::at("separator", at)),
    }
}

/// The parts of a body. In a checked message nothing is left out.
#[derive(Debug, Clone, Copy)]
pub struct Transactions<'m> {
    s: &'m [u8],
    at: usize,
    pairs: lex::Pairs,
}

impl<'m> Transactions<'m> {
    fn try_next(&mut self) -> Result<Option<Transaction<'m>>, Bad> {
        let at = lex::lwsp(self.s, self.at);
        if at >= self.s.len() {
            return Ok(None);
        }
        let element = Element::read(self.s, at, self.pairs)?;
        self.at = element.span().1;
        Transaction::of(element).map(Some).ok_or(element.bad("transaction"))
    }
}

impl<'m> Iterator for Transactions<'m> {
    type Item = Transaction<'m>;

    fn next(&mut self) -> Option<Transaction<'m>> {
        self.try_next().ok().flatten()
    }
}

impl<'m> Transaction<'m> {
    fn of(element: Element<'m>) -> Option<Self> {
        const KINDS: [(Tok, Kind); 6] = [
            (Tok::TRANSACTION, Kind::Request),
            (Tok::REPLY, Kind::Reply),
            (Tok::PENDING, Kind::Pending),
            (Tok::RESPONSE_ACK, Kind::ResponseAck),
            (Tok::SEGMENT, Kind::Segment),
            (Tok::ERROR, Kind::Error),
        ];
        let kind = KINDS.iter().find(|(token, _)| element.is(*token))?.1;
        let number = element.value().split(|c| *c == b'/').next().unwrap_or_default();
        let id = if matches!(kind, Kind::ResponseAck | Kind::Error) { 0 } else { parse_u32(number)? };
        Some(Self { kind, id, element })
    }

    /// Its actions; none but in requests and replies.
    pub fn actions(&self) -> impl Iterator<Item = Action<'m>> + use<'m> {
        let acts = matches!(self.kind, Kind::Request | Kind::Reply);
        self.element.elements().take_while(move |_| acts).filter_map(Action::of)
    }

    /// The error that is all of it.
    pub fn error(&self) -> Option<ErrorDescriptor<'m>> {
        match self.kind {
            Kind::Error => ErrorDescriptor::of(&self.element),
            Kind::Reply => self.element.elements().find_map(|e| ErrorDescriptor::of(&e)),
            _ => None,
        }
    }

    /// True for a reply that asks to be acknowledged at once.
    pub fn wants_ack(&self) -> bool {
        self.kind == Kind::Reply && self.element.elements().next().is_some_and(|e| e.is(Tok::IMM_ACK))
    }

    /// The ranges of transactions that a response acknowledgement names, both ends included.
    pub fn acknowledged(&self) -> impl Iterator<Item = (u32, u32)> + use<'m> {
        let acks = self.kind == Kind::ResponseAck;
        self.element.elements().take_while(move |_| acks).filter_map(|e| check::ack_range(e.name()))
    }

    /// Where its number stands in the message, and how many digits it has; of an acknowledgement both ends of every range.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = (usize, usize)> + use<'m> {
        let digits = |s: &[u8]| s.iter().take_while(|c| c.is_ascii_digit()).count();
        let own = !matches!(self.kind, Kind::ResponseAck | Kind::Error);
        let own = own.then(|| (self.element.value_span().0, digits(self.element.value())));
        let acks = self.kind == Kind::ResponseAck;
        let ranges = self.element.elements().take_while(move |_| acks).flat_map(move |e| {
            let (at, first) = (e.span().0, digits(e.name()));
            let second = e.name().get(first + 1..).map(|rest| (at + first + 1, digits(rest)));
            [Some((at, first)), second].into_iter().flatten()
        });
        own.into_iter().chain(ranges)
    }

    /// True when it says that something failed, at whichever level.
    pub fn failed(&self) -> bool {
        let part = |e: Element<'m>| ErrorDescriptor::of(&e).or_else(|| Command::of(e)?.error()).is_some();
        self.error().is_some() || self.actions().any(|a| a.elements().any(part))
    }
}

impl<'m> Action<'m> {
    fn of(element: Element<'m>) -> Option<Self> {
        if !element.is(Tok::CONTEXT) {
            return None;
        }
        let context = match element.value() {
            b"-" => Context::Null,
            b"$" => Context::Choose,
            b"*" => Context::All,
            // 0 and the two highest are the binary encoding's words for null, choose and all.
            digits => Context::Id(parse_u32(digits).filter(|id| (1..0xffff_fffe).contains(id))?),
        };
        Some(Self { context, element })
    }

    /// Its commands or their replies, in order.
    pub fn commands(&self) -> impl Iterator<Item = Command<'m>> + use<'m> {
        self.element.elements().filter_map(Command::of)
    }

    /// The error that ended it.
    pub fn error(&self) -> Option<ErrorDescriptor<'m>> {
        self.element.elements().find_map(|e| ErrorDescriptor::of(&e))
    }

    /// All that stands in it: context properties, audits, commands and errors.
    pub fn elements(&self) -> Elements<'m> {
        self.element.elements()
    }
}

impl<'m> Command<'m> {
    pub(crate) fn of(element: Element<'m>) -> Option<Self> {
        const KINDS: [(Tok, CommandKind); 8] = [
            (Tok::SERVICE_CHANGE, CommandKind::ServiceChange),
            (Tok::NOTIFY, CommandKind::Notify),
            (Tok::MODIFY, CommandKind::Modify),
            (Tok::AUDIT_VALUE, CommandKind::AuditValue),
            (Tok::ADD, CommandKind::Add),
            (Tok::SUBTRACT, CommandKind::Subtract),
            (Tok::MOVE, CommandKind::Move),
            (Tok::AUDIT_CAPABILITY, CommandKind::AuditCapability),
        ];
        let mut name = element.name();
        let mut prefixed = |letter: u8| match name {
            [l, b'-', rest @ ..] if l.eq_ignore_ascii_case(&letter) => {
                name = rest;
                true
            }
            _ => false,
        };
        let (optional, wildcard) = (prefixed(b'O'), prefixed(b'W'));
        let name = Word::new(name);
        let kind = KINDS.iter().find(|(token, _)| name.is(*token))?.1;
        (element.relation() == b'=').then_some(Self { kind, optional, wildcard, element })
    }

    /// The terminations that it is for, as they stand: one, or several where a list is given.
    pub fn terminations(&self) -> impl Iterator<Item = &'m [u8]> + use<'m> {
        let value = self.element.value();
        let inner = value.strip_prefix(b"[").and_then(|v| v.strip_suffix(b"]")).unwrap_or(value);
        inner.split(|c| *c == b',').map(|t| t.trim_ascii())
    }

    /// True when it is for ROOT and nothing else.
    pub fn is_root(&self) -> bool {
        self.element.value().eq_ignore_ascii_case(b"ROOT")
    }

    /// Its descriptors.
    pub fn descriptors(&self) -> Elements<'m> {
        self.element.elements()
    }

    /// What a ServiceChange or its reply says.
    pub fn services(&self) -> Option<Services<'m>> {
        self.descriptors().find(|e| e.is(Tok::SERVICES)).map(Services)
    }

    /// The error that it met.
    pub fn error(&self) -> Option<ErrorDescriptor<'m>> {
        self.descriptors().find_map(|e| ErrorDescriptor::of(&e))
    }

    pub(crate) fn element(&self) -> &Element<'m> {
        &self.element
    }
}

impl<'m> ErrorDescriptor<'m> {
    pub(crate) fn of(element: &Element<'m>) -> Option<Self> {
        if !element.is(Tok::ERROR) {
            return None;
        }
        let code = parse_u32(element.value()).and_then(|code| u16::try_from(code).ok())?;
        let text = element.elements().next().map_or(&b""[..], |e| element::unquoted(e.name()));
        Some(Self { code, text })
    }
}
