//! The same message under another transaction number: for whoever stands between a gateway and several call agents, each
//! of which counts its transactions for itself.

use crate::view::{Message, Name};
use portunus_codec::{Full, Writer, parse_u32};

/// Copies a message; its number, and those that a command confirms by `K`, are what `number` makes of them.
///
/// # Errors
/// [`Full`].
pub fn renumbered(msg: &Message<'_>, number: impl Fn(u32) -> u32, w: &mut Writer<'_>) -> Result<(), Full> {
    let octets = msg.octets();
    let blank = |c: &u8| matches!(c, b' ' | b'\t');
    // The second word of the first line, which was read.
    let word = octets.iter().position(blank).unwrap_or(octets.len());
    let at = word + octets.get(word..).unwrap_or_default().iter().take_while(|c| blank(c)).count();
    w.put(octets.get(..at).unwrap_or_default()).decimal(number(msg.transaction()).into());
    let mut copied = at + digits(octets.get(at..).unwrap_or_default());
    if let Some(line) = msg.find(Name::ResponseAck).filter(|_| msg.command().is_some()) {
        w.put(octets.get(copied..line.at).unwrap_or_default());
        copied = line.at + line.value.len();
        let mut rest = line.value;
        while let Some(first) = rest.first() {
            let n = if first.is_ascii_digit() { digits(rest) } else { 1 };
            let (part, behind) = rest.split_at_checked(n).unwrap_or((rest, b""));
            match parse_u32(part) {
                Some(n) => w.decimal(number(n).into()),
                None => w.put(part),
            };
            rest = behind;
        }
    }
    w.put(octets.get(copied..).unwrap_or_default()).finish().map(|_| ())
}

fn digits(s: &[u8]) -> usize {
    s.iter().take_while(|c| c.is_ascii_digit()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plus_100(text: &str) -> String {
        let mut room = [0; 512];
        let mut w = Writer::new(&mut room);
        renumbered(&Message::parse(text.as_bytes()).unwrap(), |n| n + 100, &mut w).unwrap();
        String::from_utf8(w.written().to_vec()).unwrap()
    }

    #[test]
    fn numbers_change_and_nothing_else() {
        let crcx =
            "CRCX 1204 aaln/1204@gw1 MGCP 1.0\r\nK: 6234-6255, 6257\r\nC: 1204\r\nX: 1204\r\n\r\nv=0\r\ns=1204\r\n";
        let expected = crcx.replacen("1204", "1304", 1).replace("6234-6255, 6257", "6334-6355, 6357");
        assert_eq!(plus_100(crcx), expected);
        assert_eq!(plus_100("200 7 OK\r\nK:\r\nZ: 7@gw1\r\n"), "200 107 OK\r\nK:\r\nZ: 7@gw1\r\n");
        assert_eq!(plus_100("000 7\r\n"), "000 107\r\n");
        assert_eq!(plus_100("NTFY  7 a@gw1 MGCP 1.0\r\nK: x,8\r\n"), "NTFY  107 a@gw1 MGCP 1.0\r\nK: x,108\r\n");
    }
}
