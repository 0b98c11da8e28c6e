//! What the product costs, as ratios against floors and peers measured in the same run.
//!
//! - [`standin`]: a fast core with real vectors behind every element;
//! - [`floor`]: F0, the bare forwarder, and F1, the same with a proxy's cryptography;
//! - [`element`]: proxy, floors and Kamailio as processes; [`cpu`]: what a process costs;
//! - [`compare`]: all of them interleaved; [`report`] and [`plot`]: the outcome as table, JSON and SVG;
//! - [`traffic`]: what an active session's messages cost; [`secured`]: connections of TLS beside Kamailio's;
//! - [`register`]: open- and closed-loop load on any server; [`rig`]: the engine without sockets;
//! - [`count`]: instruction counts under valgrind, and the gate on them; [`memory`]: octets a terminal.
//!
//! Deliberately absent: absolute claims. Machines are shared and noisy; figures are ratios or instruction counts.

pub mod auc;
pub mod compare;
pub mod count;
pub mod cpu;
pub mod element;
pub mod floor;
pub mod keys;
pub mod ladder;
pub mod memory;
pub mod paths;
pub mod plot;
pub mod register;
pub mod report;
pub mod rig;
pub mod secured;
pub mod serve;
pub mod standin;
pub mod stats;
pub mod traffic;
