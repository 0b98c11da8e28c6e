//! Return codes (RFC 3435 section 2.4) and which of them a fault gets.

use portunus_signalling::{Fault, FaultKind};

/// A return code: 0 to 999, three digits on the wire.
pub type Code = u16;

/// What a view finds wrong, named so that the code follows from the name.
pub mod what {
    /// The datagram is cut short, empty or binary.
    pub const MESSAGE: &str = "message";
    /// The command or response line.
    pub const START: &str = "start line";
    /// The version behind `MGCP`.
    pub const VERSION: &str = "protocol version";
    /// The verb.
    pub const VERB: &str = "verb";
    /// The endpoint's name, or whose it is.
    pub const ENDPOINT: &str = "endpoint";
    /// A line that is no parameter.
    pub const LINE: &str = "parameter line";
    /// A parameter that came twice.
    pub const TWICE: &str = "parameter given twice";
    /// More lines, messages or octets than are read.
    pub const SIZE: &str = "size";
    /// A list of events or signals.
    pub const EVENTS: &str = "events";
    /// The entity to be notified.
    pub const NOTIFIED: &str = "N";
    /// The request identifier.
    pub const REQUEST: &str = "X";
    /// The restart method.
    pub const RESTART: &str = "RM";
    /// An extension that must be understood and is not.
    pub const EXTENSION: &str = "X+";
    /// `X-PKD`.
    pub const PKD: &str = "X-PKD";
    /// `X-PKDMAC`.
    pub const MAC: &str = "X-PKDMAC";
    /// The package's parameters.
    pub const PARAMETERS: &str = "x-pkd";
    /// A step that shares its datagram.
    pub const PIGGY_BACK: &str = "piggy-backing";
}

/// The response is acknowledged (three-way handshake).
pub const ACKNOWLEDGED: Code = 0;
/// The command is being executed.
pub const IN_PROGRESS: Code = 100;
/// Executed.
pub const OK: Code = 200;
/// The connection was deleted.
pub const DELETED: Code = 250;
/// A transient error, unspecified.
pub const TRANSIENT: Code = 400;
/// The call agent or gateway is overloaded.
pub const OVERLOAD: Code = 409;
/// The endpoint is unknown.
pub const UNKNOWN_ENDPOINT: Code = 500;
/// The endpoint is not ready; what a terminal hears that is not authenticated.
pub const NOT_READY: Code = 501;
/// The command is unknown.
pub const UNKNOWN_COMMAND: Code = 504;
/// A protocol error.
pub const PROTOCOL_ERROR: Code = 510;
/// An extension that must be understood and is not.
pub const UNKNOWN_EXTENSION: Code = 511;
/// The package is not supported.
pub const UNKNOWN_PACKAGE: Code = 518;
/// The endpoint is restarting.
pub const RESTARTING: Code = 520;
/// Another call agent serves the endpoint.
pub const REDIRECTED: Code = 521;
/// No such event or signal.
pub const UNKNOWN_EVENT: Code = 522;
/// Another version of the protocol.
pub const VERSION: Code = 528;
/// The response would be too large.
pub const RESPONSE_TOO_LARGE: Code = 533;
/// The restart method is unknown.
pub const UNKNOWN_RESTART: Code = 536;

/// The commentary that goes with a code.
pub const fn phrase(code: Code) -> &'static str {
    match code {
        ACKNOWLEDGED => "",
        100..=199 => "In progress",
        200..=299 => "OK",
        TRANSIENT => "Transient error",
        OVERLOAD => "Overload",
        UNKNOWN_ENDPOINT => "Endpoint unknown",
        NOT_READY => "Endpoint not ready",
        UNKNOWN_COMMAND => "Unknown command",
        PROTOCOL_ERROR => "Protocol error",
        UNKNOWN_EXTENSION => "Unrecognized extension",
        UNKNOWN_PACKAGE => "Unsupported package",
        RESTARTING => "Endpoint is restarting",
        REDIRECTED => "Redirected",
        UNKNOWN_EVENT => "No such event or signal",
        VERSION => "Incompatible protocol version",
        RESPONSE_TOO_LARGE => "Response too large",
        UNKNOWN_RESTART => "Unknown restart method",
        _ => "Error",
    }
}

/// The code for a fault. What is malformed gets 510 (spec section 4); what is well formed and not served, the code that
/// says so.
pub fn of(fault: &Fault) -> Code {
    match (fault.kind, fault.what) {
        (_, what::VERSION) => VERSION,
        (FaultKind::Unsupported, what::VERB) => UNKNOWN_COMMAND,
        (FaultKind::Unsupported, what::EXTENSION) => UNKNOWN_EXTENSION,
        (FaultKind::Unsupported, what::RESTART) => UNKNOWN_RESTART,
        (FaultKind::Forbidden, what::ENDPOINT) => UNKNOWN_ENDPOINT,
        _ => PROTOCOL_ERROR,
    }
}
