//! Messages in the manner of RFC 4475: odd but valid ones pass unchanged, broken ones are refused for what is broken.

mod common;

use portunus_codec::Writer;
use portunus_signalling::{FaultKind, FromTerminal};
use portunus_sip::Sip;
use portunus_sip::patch::Patch;
use portunus_sip::view::{Digest, Field, Message, Method, Name};

/// Short tortuous (RFC 4475 section 3.1.1.1): folds everywhere, odd case, white space around separators, escapes in
/// quoted strings, several Vias in one row and over rows, unknown headers and parameters, empty header values.
const TORTUOUS: &str = concat!(
    "INVITE sip:vivekg@chair-dnrc.example.test;unknownparam SIP/2.0\r\n",
    "TO :\r\n sip:vivekg@chair-dnrc.example.test ;   tag    = 1918181833n\r\n",
    "from   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.test>\r\n  ;\r\n  tag = 98asjd8\r\n",
    "MaX-fOrWaRdS: 0068\r\n",
    "Call-ID: wsinv.ndaksdj@192.0.2.1\r\n",
    "Content-Length   : 9\r\n",
    "cseq: 0009\r\n  INVITE\r\n",
    "Via  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw\r\n",
    "s :\r\n",
    "NewFangledHeader:   newfangled value\r\n continued newfangled value\r\n",
    "UnknownHeaderWithUnusualValue: ;;,,;;,;\r\n",
    "Content-Type: application/sdp\r\n",
    "Route:\r\n <sip:services.example.test;lr;unknownwith=value;unknown-no-value>\r\n",
    "v:  SIP  / 2.0  / TCP     spindle.example.test   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n",
    " SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239\r\n",
    "m:\"Quoted string \\\"\\\"\" <sip:jdrosen@example.test> ; newparam =\r\n      newvalue ;\r\n  secondparam ; q = 0.33\r\n",
    "\r\n",
    "v=0\r\ns=-\r\n",
);

#[test]
fn short_tortuous() {
    let m = Message::parse(&TORTUOUS.as_bytes()[..TORTUOUS.len() - 1]).unwrap();
    assert_eq!((m.method(), m.max_forwards(), m.cseq()), (Method::Invite, Some(68), (9, &b"INVITE"[..])));
    assert_eq!((m.to().tag(), m.from().tag()), (Some(&b"1918181833n"[..]), Some(&b"98asjd8"[..])));
    assert_eq!(m.from().uri, b"sip:jdrosen@example.test");
    let branches: Vec<_> = m.vias().map(|v| v.branch().unwrap()).collect();
    assert_eq!(branches, [&b"390skdjuw"[..], b"z9hG4bK9ikj8", b"z9hG4bK30239"]);
    let contact = m.contacts().next().unwrap();
    assert_eq!((contact.q_milli(), contact.params.value("newparam")), (330, Some(&b"newvalue"[..])));
    assert_eq!(m.addrs(Name::Route).next().unwrap().sip().unwrap().param("unknownwith"), Some(&b"value"[..]));
    assert_eq!(m.body(), b"v=0\r\ns=-\r");
    assert_eq!(m.headers().filter(|(n, ..)| *n == Name::Other).count(), 3);
    unchanged(TORTUOUS.as_bytes());
}

fn unchanged(octets: &[u8]) {
    let m = Message::parse(octets).unwrap();
    let mut buf = vec![0u8; octets.len()];
    let mut w = Writer::new(&mut buf);
    assert_eq!(Patch::new(m.octets(), &mut w).finish(), Ok(()));
    assert_eq!(w.written(), m.octets());
    assert!(octets.starts_with(w.written()));
}

/// A request around one line.
fn request(method: &str, line: &str) -> String {
    format!(
        "{method} sip:user@example.test SIP/2.0\r\nVia: SIP/2.0/UDP host1.example.test;branch=z9hG4bK1\r\n\
         From: <sip:a@example.test>;tag=1\r\nTo: <sip:b@example.test>\r\nCall-ID: 7@host1\r\nCSeq: 1 {method}\r\n{line}\r\n\r\n"
    )
}

#[test]
fn odd_but_valid() {
    for line in [
        // Wide range of characters (3.1.1.2): a method and names of every token character.
        "extensionHeader-!.%*+_`'~: \u{fe}\u{ff}\u{e5}",
        // Escaped controls in a quoted string.
        "Contact: \"BEL:\\\u{7} NUL:\\\0 DEL:\\\u{7f}\" <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.test>",
        // Percent escapes (3.1.1.3), also of nulls (3.1.1.4), and none where % is a token character (3.1.1.5).
        "Contact: <sip:cal%6Cer@host5.example.test;%6C%72;n%61me=v%61lue%25%34%31>",
        "Contact: <sip:%00@host5.example.test>, <sip:%00%00@host5.example.test>",
        "RE%47IST%45R: x",
        // No white space between display name and angle bracket (3.1.1.6), a semicolon in the user part (3.1.1.9).
        "Contact: caller<sip:caller@example.test>;q=1",
        "Route: <sip:user;par=u%40example.net@example.test;lr>",
        // Very long values (3.1.1.7), IPv6 (RFC 5118), times that do not fit (20.19).
        "Contact: <sip:[2001:db8::10]:5070;transport=tcp>;expires=4294967296",
        "Via: SIP/2.0/UDP [2001:db8::9:255];received=[2001:db8::9];branch=z9hG4bKas3",
        "Supported:",
        "X:",
        "Subject: a\r\n \r\n b",
    ] {
        let text = request("OPTIONS", line);
        let m = Message::parse(text.as_bytes()).unwrap_or_else(|f| panic!("{f:?} in {text}"));
        assert!(m.contacts().count() == m.items(Name::Contact).count());
        unchanged(text.as_bytes());
    }
    let long = request("OPTIONS", &format!("Subject: {}", "a".repeat(10_000)));
    unchanged(long.as_bytes());
    unchanged(request("!interesting-Method0123456789_*+`.%indeed'~", "X: y").as_bytes());
    // Extra octets behind the body belong to nothing (3.1.1.8 and RFC 3261 section 18.3).
    let trailing = format!("{}{}", request("OPTIONS", "l: 0"), "INVITE sip:joe@example.test SIP/2.0\r\n");
    assert_eq!(Message::parse(trailing.as_bytes()).unwrap().body(), b"");
    // A response with no reason phrase (3.1.1.13), and with one in another script (3.1.1.12).
    for reason in ["", "= 2**3 * 5**2 \u{43d}\u{43e}"] {
        let text = request("INVITE", "l: 0").replacen(
            "INVITE sip:user@example.test SIP/2.0",
            &format!("SIP/2.0 100 {reason}"),
            1,
        );
        let m = Message::parse(text.as_bytes()).unwrap();
        assert_eq!((m.status(), m.reason()), (100, reason.as_bytes()));
    }
}

#[test]
fn broken() {
    use FaultKind::{Malformed, TooBig, Unreadable, Unsupported};
    let too_many = "X: y\r\n".repeat(100);
    let cases: &[(&str, FaultKind, &str)] = &[
        // Extraneous separators (3.1.2.1), unterminated quotes (3.1.2.6), unbracketed URIs with commas.
        ("Contact: \"Joe\" <sip:joe@example.test>;;;;", Malformed, "Contact"),
        ("Contact: \"Mr. J. User <sip:j.user@example.test>", Malformed, "Contact"),
        ("Contact: <sip:j@example.test", Malformed, "Contact"),
        ("Contact: sip:a@h, sip:b@h;expires=x", Malformed, "Contact"),
        ("Contact: *, <sip:a@h>", Malformed, "Contact"),
        ("Contact: *\r\nContact: *", Malformed, "Contact"),
        ("Contact: <sip:a@h>;q=1.5", Malformed, "Contact"),
        ("Contact:", Malformed, "Contact"),
        ("Route: sip:a@h", Malformed, "Route"),
        ("Route: <sip:a@h>,", Malformed, "Route"),
        // Content-Length negative, too large, doubled, or no number (3.1.2.2, 3.1.2.3, 3.3.9).
        ("Content-Length: -999", Malformed, "Content-Length"),
        ("Content-Length: 9999", Malformed, "Content-Length"),
        ("l: 99999999999999999999", Malformed, "Content-Length"),
        ("l: 0\r\nContent-Length: 0", Malformed, "Content-Length"),
        // Doubled single headers (3.3.8), in any spelling.
        ("f: <sip:c@example.test>;tag=2", Malformed, "From"),
        ("Call-Id: 8", Malformed, "Call-ID"),
        ("Max-Forwards: 300", Malformed, "Max-Forwards"),
        ("Max-Forwards: 1\r\nMAX-FORWARDS: 1", Malformed, "Max-Forwards"),
        ("Expires: soon", Malformed, "Expires"),
        // Lines that are none.
        ("no colon", Malformed, "header"),
        (": no name", Malformed, "header"),
        ("bad name: x", Malformed, "header"),
        ("n\u{e4}me: x", Malformed, "header"),
        ("X: a\nY: b", Malformed, "line end"),
        ("X: a\rY: b", Malformed, "line end"),
        ("Require: a;b", Malformed, "Require"),
        (&too_many, TooBig, "headers"),
    ];
    for (line, kind, what) in cases {
        let text = request("OPTIONS", line);
        let fault = Message::parse(text.as_bytes()).expect_err(line);
        assert_eq!((fault.kind, fault.what), (*kind, *what), "{line}");
        assert!(fault.at < text.len() && (fault.at > 0), "{line}: {fault:?}");
    }
    let good = request("OPTIONS", "X: y");
    for (from, to, kind, what) in [
        ("SIP/2.0\r\nVia", "SIP/7.0\r\nVia", Unsupported, "SIP-Version"),
        ("OPTIONS sip:user@example.test SIP", "OPTIONS  sip:user@example.test SIP", Malformed, "Request-URI"),
        ("OPTIONS sip:user@example.test SIP", "OPTIONS <sip:user@example.test> SIP", Malformed, "Request-URI"),
        ("OPTIONS sip:user@example.test SIP", "OPTIONS sip:user@example.test; lr SIP", Malformed, "Request-URI"),
        ("OPTIONS sip:user@example.test SIP", "OPTIONS user@example.test SIP", Malformed, "Request-URI"),
        ("SIP/2.0\r\nVia", "SIP/2.0 \r\nVia", Unreadable, "start line"),
        ("OPTIONS sip:user@example.test SIP/2.0", "OPTIONS", Unreadable, "start line"),
        ("OPTIONS sip:user@example.test SIP/2.0", "SIP/2.0 99999 x", Unreadable, "start line"),
        ("OPTIONS sip:user@example.test SIP/2.0", "SIP/2.0 700 x", Unreadable, "start line"),
        ("CSeq: 1 OPTIONS", "CSeq: 1 INVITE", Malformed, "CSeq"),
        ("CSeq: 1 OPTIONS", "CSeq: 36893488147419103232 OPTIONS", Malformed, "CSeq"),
        ("CSeq: 1 OPTIONS", "X: y", Malformed, "CSeq"),
        ("Via: SIP/2.0/UDP", "Via: SIP/2.0UDP", Malformed, "Via"),
        ("Via: SIP/2.0/UDP", "X: ", Malformed, "Via"),
        ("From: <sip:a@example.test>;tag=1", "From: <sip:a@example.test>;tag=1;tag=2", Malformed, "From"),
        ("To: <sip:b@example.test>", "To: \"Watson, Thomas\" < t.watson@example.test >", Malformed, "To"),
        ("Call-ID: 7@host1", "Call-ID: ", Malformed, "Call-ID"),
        ("\r\n\r\n", "\r\n", Unreadable, "message"),
    ] {
        let text = good.replacen(from, to, 1);
        let fault = Message::parse(text.as_bytes()).expect_err(to);
        assert_eq!((fault.kind, fault.what), (kind, what), "{from} -> {to}");
    }
    assert_eq!(Message::parse(&[b'x'; 20_000]).unwrap_err().kind, TooBig);
}

#[test]
fn unknown_schemes_and_schemes_of_others_pass_the_view() {
    for uri in ["nobodyKnowsThisScheme:totallyopaquecontent", "soap.beep://192.0.2.103:3002", "tel:+1-201-555-0123"] {
        let text = request("OPTIONS", "X: y").replacen("sip:user@example.test", uri, 1);
        assert_eq!(Message::parse(text.as_bytes()).unwrap().uri(), uri.as_bytes());
        // Whose they are cannot be told: no terminal is named, the proxy itself is asked.
        assert!(matches!(Sip.read_terminal(text.as_bytes()), Ok(FromTerminal::Request { idc: Some(_) })));
    }
}

#[test]
fn credentials_in_the_manner_of_real_phones() {
    let line = "Authorization: Digest  username=\"b\\\"o\\\\b\",realm=\"a, b\" , nonce=\"\",uri=\"sip:h;x=\\\"\",\r\n\tqop=auth, nc=00000001,cnonce=\"0a\",response=\"\", opaque=\"\"";
    let text = request("REGISTER", line);
    let m = Message::parse(text.as_bytes()).unwrap();
    let d = m.digest(Name::Authorization).unwrap().unwrap();
    assert_eq!((d.get(Field::Username), d.plain(Field::Username)), (Some(&b"b\\\"o\\\\b"[..]), None));
    assert_eq!((d.plain(Field::Realm), d.params().count()), (Some(&b"a, b"[..]), 9));
    assert!(Digest::list(b"nextnonce=\"x\", mac=\"y\"").unwrap().has(Field::Mac));
}
