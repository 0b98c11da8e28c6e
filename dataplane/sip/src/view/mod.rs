//! A SIP message, indexed and checked.
use portunus_signalling::{Fault, FaultKind};
/// The view. See the crate's plan: filled in next.
#[derive(Debug, Clone)]
pub struct Message<'a> { octets: &'a [u8] }
impl<'a> Message<'a> {
    /// Checks and indexes a message.
    ///
    /// # Errors
    /// A [`Fault`].
    pub fn parse(octets: &'a [u8]) -> Result<Self, Fault> {
        if octets.is_empty() { return Err(Fault { kind: FaultKind::Unreadable, what: "message", at: 0 }); }
        Ok(Self { octets })
    }
    /// The octets as they came.
    pub fn octets(&self) -> &'a [u8] { self.octets }
}
