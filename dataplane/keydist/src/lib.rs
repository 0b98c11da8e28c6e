//! PKD1: mutual authentication, choice of the security mechanism and distribution of the session key while a
//! terminal registers. The steps s1 to s11 as plain types, the key schedule, and one state machine a role.
//!
//! Nothing here does I/O, reads a clock or draws randomness of its own: time and randomness are arguments.
//! Deliberately absent: any protocol's syntax (the carriage lives with each protocol), any socket, any log.

pub mod activation;
pub mod auc;
pub mod batch;
pub mod bugs;
pub mod device;
pub mod ident;
pub mod mech;
pub mod params;
pub mod proxy;
pub mod realm;
pub mod schedule;
pub mod softswitch;
pub mod steps;
pub mod terminal;
pub mod timing;
pub mod world;

pub use device::DeviceKeys;
pub use ident::{Idc, Idsp, N1, Rand, Word, Wrap};
pub use schedule::{Key, MacKey, Prk, Secret, SessionKey, TrafficCtx};
pub use world::{Now, Random, SystemRandom};
