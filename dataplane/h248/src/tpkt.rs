//! Messages out of a stream: TPKT (RFC 1006 section 6, H.248.1 annex D.2). After an error nobody can tell where the
//! next message begins: the connection is closed.

use crate::view::MESSAGE_MAX;

/// Octets of the header.
pub const HEADER_LEN: usize = 4;
/// The one version.
const VERSION: u8 = 3;

/// What stands at the front of a stream's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// Not complete: read more. A buffer of [`MESSAGE_MAX`] and [`HEADER_LEN`] octets is always enough.
    Incomplete,
    /// A message of this many octets, behind a header of [`HEADER_LEN`].
    Message(usize),
    /// The stream is broken: another version, a length that is too short or beyond the limit. Close it.
    Broken,
}

/// Finds the message at the front of `buf`; its length alone is looked at.
pub fn next_message(buf: &[u8]) -> Frame {
    match buf {
        [VERSION, _, high, low, rest @ ..] => {
            let whole = usize::from(u16::from_be_bytes([*high, *low]));
            match whole.checked_sub(HEADER_LEN) {
                Some(len @ 1..=MESSAGE_MAX) if rest.len() >= len => Frame::Message(len),
                Some(1..=MESSAGE_MAX) => Frame::Incomplete,
                _ => Frame::Broken,
            }
        }
        [] | [VERSION] | [VERSION, _] | [VERSION, _, _] => Frame::Incomplete,
        _ => Frame::Broken,
    }
}

/// The header for a message of `len` octets; `None` where no header can say it.
pub fn header(len: usize) -> Option<[u8; HEADER_LEN]> {
    let whole = u16::try_from(len.checked_add(HEADER_LEN)?).ok().filter(|_| len > 0)?;
    let [high, low] = whole.to_be_bytes();
    Some([VERSION, 0, high, low])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_cut_as_it_was_framed() {
        let mut stream = header(5).unwrap().to_vec();
        stream.extend(b"hello");
        for end in 0..stream.len() {
            assert_eq!(next_message(&stream[..end]), Frame::Incomplete, "{end}");
        }
        assert_eq!(next_message(&stream), Frame::Message(5));
        assert_eq!(header(0), None);
        assert_eq!(header(65_532), None);
        assert_eq!(next_message(&[3, 0, 0, 4]), Frame::Broken);
        assert_eq!(next_message(&[3, 0, 0xff, 0xff]), Frame::Broken);
        assert_eq!(next_message(b"!/1"), Frame::Broken);
    }
}
