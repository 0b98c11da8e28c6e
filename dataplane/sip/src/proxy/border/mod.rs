//! The border between access and core (topology hiding and header rules) in what passes inside sessions.
//!
//! ```text
//!   towards the terminal                                             and from it again
//!   the core's Vias           one Via, the proxy's, `;pkd=` sealed    the core's Vias
//!   Record-Route of others    one, `<sip:pkd~sealed@proxy;lr>`        Record-Route in its answer, Route in its requests
//!   Contact, Refer-To         `sip:pkd~sealed@proxy`                  Request-URI, Contact, Refer-To
//! ```
//!
//! What is sealed is the text itself, for this terminal and this use only (see [`portunus_keydist::proxy::Veil`]): there
//! is no table, and a dialog outlives the proxy's restart. What of it comes back altered, or from another terminal, is
//! refused and noticed. A terminal that does not return the parameters of a Via (RFC 3261 section 8.2.6.2 asks for it)
//! is not answered for.
//!
//! Not hidden: Call-ID, the URIs of From and To (names of the domain), and bodies.

mod cover;
mod down;
mod up;

pub(super) use down::Down;
pub(super) use up::{Up, Way, chooses, vias};

use crate::edit::Header;
use crate::view::{Message, Name, lex};
use portunus_signalling::Names;

/// The name of a header as it is compared: the long form where it is known, else as it stands.
fn spelled<'m>(msg: &Message<'m>, header: &Header<'m>) -> &'m [u8] {
    match header.name {
        Name::Other | Name::PCharging => {
            let line = msg.octets().get(header.line.clone()).unwrap_or_default();
            lex::trim_end(line.get(..lex::find(line, *b":").unwrap_or(0)).unwrap_or_default())
        }
        known => known.as_str().as_bytes(),
    }
}

/// True when this header ends at the border.
fn ends(names: &Names, msg: &Message<'_>, header: &Header<'_>) -> bool {
    !names.is_empty() && names.has(spelled(msg, header))
}
