//! Socket addresses between Rust and the kernel.
#![allow(unsafe_code)]

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// The kernel's form of an IPv4 or IPv6 socket address; the kernel reads and writes it in place.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) union Name {
    family: libc::sa_family_t,
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

/// Octets that the kernel may write into a [`Name`].
pub(crate) const NAME_LEN: libc::socklen_t = size_of::<Name>() as libc::socklen_t;

impl Name {
    /// All zero: of no family.
    pub(crate) const fn unset() -> Self {
        // SAFETY: `sockaddr_in6` consists of integers and arrays of them, for which all zero bits are a value; it is
        // the largest member, so every octet of the union is initialised.
        Self { v6: unsafe { core::mem::zeroed() } }
    }

    /// Writes `addr` and returns how many octets of it the kernel is to read.
    pub(crate) fn set(&mut self, addr: &SocketAddr) -> libc::socklen_t {
        match addr {
            SocketAddr::V4(v4) => {
                self.v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                    sin_zero: [0; 8],
                };
                size_of::<libc::sockaddr_in>() as libc::socklen_t
            }
            SocketAddr::V6(v6) => {
                self.v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                    sin6_scope_id: v6.scope_id(),
                };
                size_of::<libc::sockaddr_in6>() as libc::socklen_t
            }
        }
    }

    /// The address that the kernel wrote, `len` octets of it; `None` when it is of another family or cut short.
    pub(crate) fn get(&self, len: libc::socklen_t) -> Option<SocketAddr> {
        let len = len as usize;
        // SAFETY: `family` is the first field of every member, and all octets of the union were initialised by
        // `unset` or `set` and at most overwritten by the kernel; every bit pattern is a value of these members.
        unsafe {
            if len >= size_of::<libc::sockaddr_in>() && libc::c_int::from(self.family) == libc::AF_INET {
                let ip = Ipv4Addr::from(self.v4.sin_addr.s_addr.to_ne_bytes());
                return Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(self.v4.sin_port))));
            }
            if len >= size_of::<libc::sockaddr_in6>() && libc::c_int::from(self.family) == libc::AF_INET6 {
                let ip = Ipv6Addr::from(self.v6.sin6_addr.s6_addr);
                let port = u16::from_be(self.v6.sin6_port);
                let v6 = SocketAddrV6::new(ip, port, self.v6.sin6_flowinfo, self.v6.sin6_scope_id);
                return Some(SocketAddr::V6(v6));
            }
        }
        None
    }
}

/// `addr` with an IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2) written as the IPv4 address that it is.
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(ip) => SocketAddr::V4(SocketAddrV4::new(ip, v6.port())),
            None => addr,
        },
        SocketAddr::V4(_) => addr,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_kernels_form() {
        for text in ["192.0.2.7:5060", "127.0.0.1:1", "[2001:db8::1]:65535", "[fe80::1%7]:5060", "[::]:0"] {
            let addr: SocketAddr = text.parse().unwrap();
            let mut name = Name::unset();
            let len = name.set(&addr);
            assert_eq!(name.get(len), Some(addr), "{text}");
            assert_eq!(name.get(len - 1), None, "{text} cut short");
        }
        assert_eq!(Name::unset().get(NAME_LEN), None);
    }

    #[test]
    fn mapped_addresses_become_ipv4() {
        assert_eq!(canonical("[::ffff:192.0.2.7]:5060".parse().unwrap()), "192.0.2.7:5060".parse().unwrap());
        let plain: SocketAddr = "[2001:db8::7]:5060".parse().unwrap();
        assert_eq!(canonical(plain), plain);
    }
}
