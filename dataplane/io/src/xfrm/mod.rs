//! The kernel's own IPsec (xfrm), asked by netlink: security associations for ESP in UDP, the policies that demand them,
//! and the sockets whose datagrams it takes apart.
//!
//! * [`wire`]: requests to octets, octets to answers; no system call.
//! * [`socket`]: the netlink socket, and the option that makes a UDP socket one of encapsulated ESP (RFC 3948).
//!
//! A request is answered by [`wire::Answer::Done`] with the number that it bore and the kernel's error, 0 for none. A
//! kernel without the module `xfrm_user` has no such socket; one without `esp4` or `esp6` refuses every association with
//! EPROTONOSUPPORT.

pub mod socket;
pub mod wire;

pub use socket::{Netlink, encapsulate};
pub use wire::{Answer, Association, Direction, Encapsulation, Policy, Request, SaId};
