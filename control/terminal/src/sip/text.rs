//! The little text that a terminal makes itself: its Contact and its Call-IDs.

use core::net::SocketAddr;
use portunus_codec::{Writer, hex_decode};
use portunus_keydist::ident::IDC_MAX;
use portunus_signalling::Transport;
use portunus_sip::view::uri::put_user;

/// A Call-ID that begins with the owner's tag: `TAG8HEX-RANDOM16HEX`.
pub(super) fn call_id(tag: u32, bits: u64) -> String {
    format!("{tag:08x}-{bits:016x}")
}

/// The tag that [`call_id`] put first, from a whole message; bounded by the message's header section.
pub(super) fn call_id_tag(message: &[u8]) -> Option<u32> {
    let mut rest = message;
    loop {
        let end = rest.iter().position(|c| *c == b'\n')?;
        rest = rest.get(end + 1..)?;
        let name = match rest {
            [b'\r' | b'\n', ..] => return None,
            [b'i' | b'I', after @ ..] => after,
            line => match line.split_at_checked(7) {
                Some((name, after)) if name.eq_ignore_ascii_case(b"call-id") => after,
                _ => continue,
            },
        };
        let name = name.trim_ascii_start();
        if let [b':', value @ ..] = name {
            let digits = value.trim_ascii_start().get(..8)?;
            return hex_decode::<4>(digits).map(u32::from_be_bytes);
        }
    }
}

/// The terminal's Contact URI: the user of its IDc, escaped, at its own address.
pub(super) fn contact(idc: &str, local: SocketAddr, transport: Transport) -> String {
    let user = idc.rsplit_once('@').map_or(idc, |(user, _)| user);
    let mut room = [0u8; 3 * IDC_MAX];
    let mut w = Writer::new(&mut room);
    put_user(user.as_bytes(), &mut w);
    let user = String::from_utf8_lossy(w.written());
    let more = if transport == Transport::Tcp { ";transport=tcp" } else { "" };
    format!("sip:{user}@{local}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_found_again() {
        let id = call_id(0xbeef, 1);
        for row in [format!("Call-ID: {id}"), format!("i:{id}"), format!("CALL-ID : {id}")] {
            let m = format!("SIP/2.0 200 OK\r\nIgnored: i\r\n{row}\r\n\r\n");
            assert_eq!(call_id_tag(m.as_bytes()), Some(0xbeef), "{row}");
        }
        for bad in ["", "SIP/2.0 200 OK\r\n", "SIP/2.0 200 OK\r\n\r\ni:0000beef-1", "x\r\nCall-ID: zz\r\n\r\n"] {
            assert_eq!(call_id_tag(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_contact_is_a_uri() {
        let local = SocketAddr::from(([192, 0, 2, 7], 5060));
        assert_eq!(contact("alice@example.test", local, Transport::Udp), "sip:alice@192.0.2.7:5060");
        assert_eq!(
            contact("[2001:db8::1]:5", local, Transport::Tcp),
            "sip:%5B2001%3Adb8%3A%3A1%5D%3A5@192.0.2.7:5060;transport=tcp"
        );
    }
}
