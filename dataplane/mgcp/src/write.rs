//! Writers: commands and responses, line by line. A message is complete when its last line is.

use crate::code::{Code, phrase};
use crate::view::{Endpoint, Verb};
use portunus_codec::Writer;

/// A command line: `VERB transaction local@domain MGCP 1.0`.
pub fn command(verb: Verb, transaction: u32, local: &[u8], domain: &[u8], w: &mut Writer<'_>) {
    w.text(verb.as_str()).put(b" ").decimal(transaction.into()).put(b" ");
    w.put(local).put(b"@").put(domain).put(b" MGCP 1.0\r\n");
}

/// As [`command`], with a name that was read.
pub fn command_to(verb: Verb, transaction: u32, endpoint: &Endpoint<'_>, w: &mut Writer<'_>) {
    command(verb, transaction, endpoint.local, endpoint.domain, w);
}

/// A response line with the code's own commentary.
pub fn response(code: Code, transaction: u32, w: &mut Writer<'_>) {
    let digits = [code / 100 % 10, code / 10 % 10, code % 10].map(|d| b'0' + d as u8);
    w.put(&digits).put(b" ").decimal(transaction.into());
    let phrase = phrase(code);
    if !phrase.is_empty() {
        w.put(b" ").text(phrase);
    }
    w.put(b"\r\n");
}

/// A parameter line.
pub fn line(name: &str, value: &[u8], w: &mut Writer<'_>) {
    w.text(name).put(b": ").put(value).put(b"\r\n");
}

/// The line between two messages of a datagram.
pub fn separator(w: &mut Writer<'_>) {
    w.put(b".\r\n");
}
