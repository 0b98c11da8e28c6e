//! Activation codes: how a terminal gets its first key over a channel that needs nothing but a code on paper.
//!
//! ```text
//! terminal                                                 AuC
//!    | ask: locator, Nt, MAC under the code                 |
//!    |----------------------------------------------------->|  keeps Na, Kc; durable
//!    | answer: Na, { IDc, Kc } sealed under code, Nt, Na    |
//!    |<-----------------------------------------------------|
//!    | keeps Kc; durable                                    |
//!    | confirm: MAC under code, Nt, Na, Kc                  |
//!    |----------------------------------------------------->|  Kc works, the code is burnt; durable
//!    | done: MAC under code, Nt, Na, Kc                     |
//!    |<-----------------------------------------------------|
//! ```
//!
//! PROTOCOL.md section 19 has it to the octet, and says why it holds. Here are the code, the messages and the keys; the
//! machines are with their roles.

mod code;
mod message;
mod schedule;

pub use code::{CODE_CHARS, Code, CodeFault};
pub use message::{ANSWER, ASK, CONFIRM, Locator, MAC, MESSAGE_MAX, Message, NONCE, Nonce, locator_text};
pub use schedule::{CodeKey, Granted, IDC_ROOM};
