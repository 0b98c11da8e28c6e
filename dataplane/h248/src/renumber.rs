//! The same message under other transaction numbers: for whoever stands between a gateway and several controllers, each
//! of which counts its transactions for itself.

use crate::view::{Kind, Message};
use portunus_codec::{Full, Writer};

/// Copies a message; each number in it is what `number` makes of it. A part without a number stays as it is.
///
/// # Errors
/// [`Full`].
pub fn renumbered(msg: &Message<'_>, number: impl Fn(Kind, u32) -> u32, w: &mut Writer<'_>) -> Result<(), Full> {
    let octets = msg.octets();
    let mut copied = 0;
    for t in msg.transactions() {
        // Ranges are numbers too: each of their ends.
        for (at, digits) in t.numbers() {
            let Some(n) = portunus_codec::parse_u32(octets.get(at..at + digits).unwrap_or_default()) else { continue };
            w.put(octets.get(copied..at).unwrap_or_default()).decimal(number(t.kind, n).into());
            copied = at + digits;
        }
    }
    w.put(octets.get(copied..).unwrap_or_default()).finish().map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plus_100(text: &str, kinds: &[Kind]) -> String {
        let mut room = [0; 512];
        let mut w = Writer::new(&mut room);
        let msg = Message::parse(text.as_bytes()).unwrap();
        renumbered(&msg, |kind, n| if kinds.contains(&kind) { n + 100 } else { n }, &mut w).unwrap();
        String::from_utf8(w.written().to_vec()).unwrap()
    }

    #[test]
    fn numbers_change_and_nothing_else() {
        let request = "MEGACO/2 <mgc1>\nTransaction = 7 { Context = 2 { Modify = 7 { Events = 7 { al/of } } } }";
        assert_eq!(plus_100(request, &[Kind::Request]), request.replacen("= 7", "= 107", 1));
        assert_eq!(plus_100(request, &[Kind::Reply]), request);
        let several = "!/1 <mgc1> K{5,7-9}PN=4{}P=12{C=-{N=a}}T=1{C=-{AV=ROOT{AT{}}}}";
        let kinds = [Kind::ResponseAck, Kind::Request];
        assert_eq!(plus_100(several, &kinds), "!/1 <mgc1> K{105,107-109}PN=4{}P=12{C=-{N=a}}T=101{C=-{AV=ROOT{AT{}}}}");
        let kinds = [Kind::Pending, Kind::Reply];
        assert_eq!(plus_100(several, &kinds), "!/1 <mgc1> K{5,7-9}PN=104{}P=112{C=-{N=a}}T=1{C=-{AV=ROOT{AT{}}}}");
        assert_eq!(plus_100("!/1 <mgc1> ER=402{\"No\"}", &[Kind::Error]), "!/1 <mgc1> ER=402{\"No\"}");
    }
}
