//! Programs that give every source its own socket of a group that shares a port (SO_REUSEPORT), so that a terminal
//! always meets the same worker without a lock or a hand-over.
//!
//! Classic BPF, attached by SO_ATTACH_REUSEPORT_CBPF (socket(7)): the kernel runs it for each datagram, with offset 0
//! at the UDP payload and the network header behind `SKF_NET_OFF`; its result is the index of a socket in the order
//! of binding. Works for IPv4 and IPv6, needs no privilege.
#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use crate::addr::canonical;

/// How datagrams are spread over the sockets of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steer {
    /// By source address and port. The seed keeps outsiders from choosing the socket; see [`socket_of`].
    Source {
        /// Any number; the same for all groups that are to agree.
        seed: u32,
    },
    /// By one octet of the payload, modulo the number of sockets (one octet of a
    /// protected datagram's handle names the worker that holds the session). Shorter payloads go to the first socket.
    Octet {
        /// Its offset.
        at: u32,
    },
}

const FOLD: u32 = 0x9E37_79B1;
const PORT: u32 = 0x85EB_CA6B;
const FINAL: u32 = 0x2C1B_3C6D;

/// The socket that [`Steer::Source`] gives a source, of `sockets`: the same arithmetic as the program's.
pub fn socket_of(source: SocketAddr, sockets: u32, seed: u32) -> u32 {
    let source = canonical(source);
    let mut hash = match source.ip() {
        IpAddr::V4(ip) => u32::from(ip) ^ seed,
        IpAddr::V6(ip) => {
            let bits = u128::from(ip);
            let word = |at: u32| (bits >> (96 - 32 * at)) as u32;
            (1..4).fold(word(0) ^ seed, |hash, at| hash.wrapping_mul(FOLD) ^ word(at))
        }
    };
    hash = hash.wrapping_mul(FOLD) ^ u32::from(source.port()).wrapping_mul(PORT);
    hash ^= hash >> 15;
    hash = hash.wrapping_mul(FINAL);
    hash ^= hash >> 16;
    hash % sockets.max(1)
}

/// Base of offsets that count from the network header (linux/filter.h).
const NET: u32 = (-0x10_0000_i32) as u32;

const LD_B: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
const LD_W: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const LD_H: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
const LD_H_X: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_IND;
const LDX_MEM: u32 = libc::BPF_LDX | libc::BPF_MEM;
const LD_IMM: u32 = libc::BPF_LD | libc::BPF_IMM;
const RET_A: u32 = libc::BPF_RET | libc::BPF_A;

const fn alu(operation: u32) -> u32 {
    libc::BPF_ALU | operation
}

fn op(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

fn jump_if_equal(k: u32, yes: u8, no: u8) -> libc::sock_filter {
    libc::sock_filter { code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, jt: yes, jf: no, k }
}

/// Cells of the program's memory: the running hash, the multiplied port.
const HASH: u32 = 0;
const PORT_CELL: u32 = 1;

/// `A ^= A >> by`.
fn xor_shift(by: u32) -> [libc::sock_filter; 4] {
    [
        op(libc::BPF_ST, HASH),
        op(alu(libc::BPF_RSH | libc::BPF_K), by),
        op(LDX_MEM, HASH),
        op(alu(libc::BPF_XOR | libc::BPF_X), 0),
    ]
}

/// The end that both families share: `A` holds the folded address, `M[PORT_CELL]` the multiplied port.
fn finish(sockets: u32) -> Vec<libc::sock_filter> {
    let mut code = vec![
        op(alu(libc::BPF_MUL | libc::BPF_K), FOLD),
        op(LDX_MEM, PORT_CELL),
        op(alu(libc::BPF_XOR | libc::BPF_X), 0),
    ];
    code.extend(xor_shift(15));
    code.push(op(alu(libc::BPF_MUL | libc::BPF_K), FINAL));
    code.extend(xor_shift(16));
    code.push(op(alu(libc::BPF_MOD | libc::BPF_K), sockets));
    code.push(op(RET_A, 0));
    code
}

fn ipv4(sockets: u32, seed: u32) -> Vec<libc::sock_filter> {
    let mut code = vec![
        // X = length of the IPv4 header.
        op(LD_B, NET),
        op(alu(libc::BPF_AND | libc::BPF_K), 15),
        op(alu(libc::BPF_LSH | libc::BPF_K), 2),
        op(libc::BPF_MISC | libc::BPF_TAX, 0),
        op(LD_H_X, NET),
        op(alu(libc::BPF_MUL | libc::BPF_K), PORT),
        op(libc::BPF_ST, PORT_CELL),
        op(LD_W, NET.wrapping_add(12)),
        op(alu(libc::BPF_XOR | libc::BPF_K), seed),
    ];
    code.extend(finish(sockets));
    code
}

fn ipv6(sockets: u32, seed: u32) -> Vec<libc::sock_filter> {
    const NEXT_HEADER: u32 = 6;
    const UDP: u32 = 17;
    let mut code = vec![
        // Behind extension headers the port is not looked for: the address alone decides.
        op(LD_B, NET.wrapping_add(NEXT_HEADER)),
        jump_if_equal(UDP, 2, 0),
        op(LD_IMM, 0),
        op(libc::BPF_JMP | libc::BPF_JA, 2),
        op(LD_H, NET.wrapping_add(40)),
        op(alu(libc::BPF_MUL | libc::BPF_K), PORT),
        op(libc::BPF_ST, PORT_CELL),
        op(LD_W, NET.wrapping_add(8)),
        op(alu(libc::BPF_XOR | libc::BPF_K), seed),
    ];
    for at in [12, 16, 20] {
        code.push(op(alu(libc::BPF_MUL | libc::BPF_K), FOLD));
        code.push(op(libc::BPF_ST, HASH));
        code.push(op(LD_W, NET.wrapping_add(at)));
        code.push(op(LDX_MEM, HASH));
        code.push(op(alu(libc::BPF_XOR | libc::BPF_X), 0));
    }
    code.extend(finish(sockets));
    code
}

fn program(steer: Steer, sockets: u32) -> Vec<libc::sock_filter> {
    let sockets = sockets.max(1);
    match steer {
        Steer::Octet { at } => {
            vec![op(LD_B, at), op(alu(libc::BPF_MOD | libc::BPF_K), sockets), op(RET_A, 0)]
        }
        Steer::Source { seed } => {
            let four = ipv4(sockets, seed);
            let mut code =
                vec![op(LD_B, NET), op(alu(libc::BPF_RSH | libc::BPF_K), 4), jump_if_equal(4, 0, four.len() as u8)];
            code.extend(four);
            code.extend(ipv6(sockets, seed));
            code
        }
    }
}

/// Attaches the program to the group that `socket` belongs to (or will begin by binding). `sockets` is how many the
/// group has.
///
/// # Errors
/// What the system reports; a kernel before 4.5 knows no such option.
pub fn attach(socket: &impl AsRawFd, steer: Steer, sockets: u32) -> io::Result<()> {
    let mut code = program(steer, sockets);
    let program = libc::sock_fprog { len: code.len() as u16, filter: code.as_mut_ptr() };
    // SAFETY: the option's value is a `sock_fprog` that points to `len` instructions in `code`; both outlive the call,
    // and the kernel copies them.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_spread_evenly_and_mapped_addresses_agree() {
        let mut counts = [0u32; 4];
        for port in 1024..9216u16 {
            let source = SocketAddr::from(([127, 0, 0, 1], port));
            counts[socket_of(source, 4, 77) as usize] += 1;
            let mapped: SocketAddr = format!("[::ffff:127.0.0.1]:{port}").parse().unwrap();
            assert_eq!(socket_of(source, 4, 77), socket_of(mapped, 4, 77));
        }
        for count in counts {
            assert!((1700..2400).contains(&count), "{counts:?}");
        }
        assert_eq!(socket_of(SocketAddr::from(([1, 2, 3, 4], 5)), 0, 1), 0);
    }
}
