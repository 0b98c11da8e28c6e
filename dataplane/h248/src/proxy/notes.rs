//! What is noted of a gateway's step when it is read, so that what is written from it needs no second look at all of it.

use crate::carriage::steps::Step;
use crate::view::{Message, Services};
use portunus_signalling::Marks;

/// A gateway's step, as far as the proxy writes from it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Noted<'m> {
    /// The version of the protocol in its header.
    pub(super) version: u8,
    /// Its message identifier as it stands.
    pub(super) mid: &'m [u8],
    /// Its transaction.
    pub(super) id: u32,
    /// Which it is.
    pub(super) which: Which<'m>,
}

/// Which step it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which<'m> {
    /// s1.
    Register {
        /// The version of the protocol that the gateway proposes.
        version: u8,
        /// What it says of itself.
        services: Place<'m>,
    },
    /// s7.
    Response {
        /// The request that it answers.
        request_id: u32,
    },
}

/// Where a services descriptor begins: it is read by who needs it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'m> {
    octets: &'m [u8],
    at: usize,
}

impl<'m> Place<'m> {
    /// The descriptor.
    pub(super) fn read(self) -> Option<Services<'m>> {
        Services::read(self.octets, self.at)
    }
}

/// The first of the words that say which step it is.
const REGISTER: u16 = 1;
/// See [`REGISTER`].
const RESPONSE: u16 = 2;

const fn halves(n: u32) -> [u16; 2] {
    [(n >> 16) as u16, n as u16]
}

const fn whole(high: u16, low: u16) -> u32 {
    (high as u32) << 16 | low as u32
}

impl<'m> Noted<'m> {
    /// `None` for what only the core sends.
    fn of(msg: &Message<'m>, step: &Step<'m>) -> Option<Self> {
        let (id, which) = match *step {
            Step::Register { id, version, services, .. } => {
                (id, Which::Register { version, services: Place { octets: msg.octets(), at: services.at() } })
            }
            Step::Response { id, request_id, .. } => (id, Which::Response { request_id }),
            Step::Signal { .. } => return None,
        };
        Some(Self { version: msg.version(), mid: msg.mid().text, id, which })
    }

    /// Notes the step of a message, and nothing where it is none of a gateway's. No message is longer than an offset
    /// here can say.
    pub(super) fn mark(msg: &Message<'m>, step: &Step<'m>, marks: &mut Marks) {
        let Some(noted) = Self::of(msg, step) else { return };
        let (_, (from, to), _) = msg.places();
        let [which, a, b] = match noted.which {
            Which::Register { version, services } => [REGISTER, version.into(), services.at as u16],
            Which::Response { request_id } => {
                let [high, low] = halves(request_id);
                [RESPONSE, high, low]
            }
        };
        let [high, low] = halves(noted.id);
        marks.push(&[noted.version.into(), from as u16, (to - from) as u16, high, low, which, a, b]);
    }

    /// What was noted of these octets; read from them anew where nothing was. `None` where they are no step of a
    /// gateway's.
    pub(super) fn read(octets: &'m [u8], marks: &Marks) -> Option<Self> {
        let &[version, from, len, high, low, which, a, b] = marks.words() else {
            let msg = Message::parse(octets).ok()?;
            return Self::of(&msg, &Step::of(&msg).ok()??);
        };
        let mid = octets.get(from.into()..)?.get(..len.into())?;
        let which = match which {
            REGISTER => Which::Register { version: a as u8, services: Place { octets, at: b.into() } },
            _ => Which::Response { request_id: whole(a, b) },
        };
        Some(Self { version: version as u8, mid, id: whole(high, low), which })
    }

    /// The version that the gateway speaks: what it proposes when it registers, else that of its message.
    pub(super) fn speaks(&self) -> u8 {
        match self.which {
            Which::Register { version, .. } => version,
            Which::Response { .. } => self.version,
        }
    }
}
