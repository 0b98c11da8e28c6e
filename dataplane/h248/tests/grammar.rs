//! The grammar of H.248.1 annex B.2, form by form: what is taken, what is not, and what the view says of it.

use portunus_h248::view::{CommandKind, Context, Kind, Message, Method, Mid, MidForm, TRANSACTIONS_MAX};
use portunus_signalling::FaultKind;

fn parse(body: &str) -> Result<(), &'static str> {
    Message::parse(format!("!/3 <gw> {body}").as_bytes()).map(|_| ()).map_err(|f| f.what)
}

/// Descriptors of a Modify.
fn modify(descriptors: &str) -> Result<(), &'static str> {
    parse(&format!("T=1{{C=-{{MF=A1{{{descriptors}}}}}}}"))
}

#[test]
fn message_identifiers() {
    let form = |text: &'static str| Mid::parse(text.as_bytes()).map(|mid| (mid.form, mid.idc().map(|i| i.as_str())));
    let name = |n: &'static str, port| Some((MidForm::Domain { name: n.as_bytes(), port }, Some(n)));
    assert_eq!(form("<gw1.example.test>"), name("gw1.example.test", None));
    assert_eq!(form("<gw1.example.test>:2944"), name("gw1.example.test", Some(2944)));
    let v4 = MidForm::Address { ip: "192.0.2.7".parse().unwrap(), port: Some(2944) };
    assert_eq!(form("[192.0.2.7]:2944"), Some((v4, Some("[192.0.2.7]:2944"))));
    let v6 = MidForm::Address { ip: "2001:db8::7".parse().unwrap(), port: None };
    assert_eq!(form("[2001:db8::7]"), Some((v6, Some("[2001:db8::7]"))));
    assert_eq!(form("MTP{0011AA}"), Some((MidForm::Mtp(b"0011AA"), Some("MTP{0011AA}"))));
    // With blanks inside it is one, and no identity.
    assert_eq!(form("MTP { 0011AA }"), Some((MidForm::Mtp(b"0011AA"), None)));
    assert_eq!(form("gw1/unit@host.test"), Some((MidForm::Device(b"gw1/unit@host.test"), Some("gw1/unit@host.test"))));
    for bad in [
        "",
        "<>",
        "<gw",
        "<-gw>",
        "<gw>:",
        "<gw>:65536",
        "<gw>:x",
        "[1.2.3]",
        "[1.2.3.4]:",
        "[::1",
        "MTP{12}",
        "MTP{xyzw}",
        "1gw",
        "a b",
        "<a>x",
    ] {
        assert_eq!(Mid::parse(bad.as_bytes()), None, "{bad}");
    }
    let long = format!("<{}>", "a".repeat(65));
    assert_eq!(Mid::parse(long.as_bytes()), None);
}

#[test]
fn headers() {
    let what = |text: &str| Message::parse(text.as_bytes()).map(|m| m.version()).map_err(|f| (f.kind, f.what));
    assert_eq!(what("!/1 <gw> T=1{C=-{S=a}}"), Ok(1));
    assert_eq!(what("; a comment\r\n MEGACO/2 <gw>\r\n ; another\nT=1{C=-{S=a}}\r\n"), Ok(2));
    let auth = "Authentication = 0x0000000A:0x00000002:0x";
    let with = |digits: usize| format!("{auth}{} megaco/3 [::1]:2944\nT=1{{C=-{{S=a}}}}", "aB".repeat(digits / 2));
    for digits in [24, 32, 64] {
        let text = with(digits);
        let msg = Message::parse(text.as_bytes()).unwrap();
        let read = msg.auth().unwrap();
        assert_eq!((read.spi, read.sequence, read.data.len()), (10, 2, digits));
        assert_eq!(&text.as_bytes()[read.at..read.at + digits], read.data);
    }
    for digits in [0, 22, 66] {
        assert_eq!(what(&with(digits)), Err((FaultKind::Malformed, "authentication header")));
    }
    assert_eq!(what("!/4 <gw> T=1{C=-{S=a}}"), Err((FaultKind::Unsupported, "version")));
    assert_eq!(what("!/x <gw> T=1{C=-{S=a}}"), Err((FaultKind::Malformed, "version")));
    assert_eq!(what("!/1<gw> T=1{C=-{S=a}}"), Err((FaultKind::Malformed, "separator")));
    assert_eq!(what("!/1 <gw> "), Err((FaultKind::Malformed, "body")));
    assert_eq!(what("?/1 <gw> T=1{C=-{S=a}}"), Err((FaultKind::Unreadable, "MEGACO")));
    assert_eq!(what("\x30\x03abc"), Err((FaultKind::Unsupported, "encoding")));
}

#[test]
fn transactions_of_every_kind() {
    for good in [
        "T=1{C=-{S=a}}T=2{C=-{S=b},C=5{S=c}} Transaction = 3 { Context = $ { Add = $ } }",
        "P=4294967295{C=-{N=ROOT}}",
        "P=1/2/&{C=-{N=ROOT}}",
        "P=1/2{IA,C=-{N=ROOT}}",
        "P=1{ER=503{\"Service unavailable\"}}",
        "P=1{C=1,C=2{ER=411{}}}",
        "P=1{C=1{A=a,A=b,ER=500{}}}",
        "PN=7{ }",
        "K{1,2-5, 9}",
        "SM=7/1/END",
        "ER=400{ \"text\" }",
    ] {
        assert_eq!(parse(good), Ok(()), "{good}");
    }
    for bad in [
        "T=1{}",
        "T={C=-{S=a}}",
        "T=4294967296{C=-{S=a}}",
        "T=1{C=0{S=a}}",
        "T=1{C=4294967295{S=a}}",
        "T=1{C=-}",
        "T=1{C=-{S=a},}",
        "T=1{C=-{S=a}",
        "P>1{C=-{N=ROOT}}",
        "P=1{IA}",
        "P=1/x{C=-{N=ROOT}}",
        "P=1{C=-{N=ROOT},ER=1{}}",
        "PN=7{C=-}",
        "PN=7",
        "K{}",
        "K{1,a}",
        "SM=7",
        "ER=400{}T=1{C=-{S=a}}",
        "ER=1000{}",
        "ER=400{text}",
        "X=1{C=-{S=a}}",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
    assert_eq!(parse(&"PN=7{}".repeat(TRANSACTIONS_MAX)), Ok(()));
    assert_eq!(parse(&"PN=7{}".repeat(TRANSACTIONS_MAX + 1)), Err("transactions"));
}

#[test]
fn commands_and_what_the_view_says_of_them() {
    let text = "MEGACO/2 <gw>\nTransaction = 9 { Context = 5 { Priority = 3, Emergency, Topology { a, b, Isolate },\n\
                O-W-AuditValue = * { Audit { Media, Packages } }, W-S = [ a, b/1/2 ] { AT { SA } },\n\
                Move = t3, A = $ { M { ST = 1 { O { MO = SR, x/y = [ 1 : 5 ] }, R { a=\\}{\"} } } } } }";
    let msg = Message::parse(text.as_bytes()).unwrap();
    let transaction = msg.transactions().next().unwrap();
    assert_eq!((transaction.kind, transaction.id), (Kind::Request, 9));
    let action = transaction.actions().next().unwrap();
    assert_eq!(action.context, Context::Id(5));
    let commands: Vec<_> = action.commands().collect();
    let kinds: Vec<_> = commands.iter().map(|c| (c.kind, c.optional, c.wildcard)).collect();
    use CommandKind::{Add, AuditValue, Move, Subtract};
    assert_eq!(kinds, [(AuditValue, true, true), (Subtract, false, true), (Move, false, false), (Add, false, false)]);
    let terminations: Vec<_> = commands[1].terminations().collect();
    assert_eq!(terminations, [&b"a"[..], b"b/1/2"]);
    assert!(!commands[0].is_root());
    let media = commands[3].descriptors().next().unwrap();
    let stream = media.elements().next().unwrap();
    let remote = stream.elements().nth(1).unwrap();
    assert_eq!(remote.block(), b" a=\\}{\"", "an octet string is as it came");
    for bad in [
        "S=",
        "S=-x",
        "S=a{AT}",
        "S=a{M{}}",
        "AV=a{AT{X}}",
        "N=a",
        "N=a{OE{x/y}}",
        "N=a{OE=1{}}",
        "N=a{OE=1{x/y},OE=2{x/y}}",
        "SC=a",
        "SC=a{M{}}",
        "MF=[a,]",
        "Q=a",
        "MF#a",
    ] {
        assert!(parse(&format!("T=1{{C=-{{{bad}}}}}")).is_err(), "{bad}");
    }
}

#[test]
fn service_changes() {
    let read = |services: &str| {
        let text = format!("!/1 <gw> T=1{{C=-{{SC=ROOT{{SV{{{services}}}}}}}}}");
        let msg = Message::parse(text.as_bytes()).ok()?;
        let services = msg.only_command()?.1.services()?;
        Some((services.method()?, services.reason_code(), services.delay(), services.version()))
    };
    for (word, method) in [
        ("Graceful", Method::Graceful),
        ("FO", Method::Forced),
        ("restart", Method::Restart),
        ("DC", Method::Disconnected),
        ("HandOff", Method::HandOff),
        ("FL", Method::Failover),
        ("X-Odd", Method::Other),
    ] {
        assert_eq!(read(&format!("MT={word},RE=\"905 x\",DL=7,V=3")), Some((method, Some(905), Some(7), Some(3))));
    }
    assert_eq!(read("RE=901,MT=RS,20261124T03500000,PF=ResGW/1,X-ab={1,2}").map(|r| r.0), Some(Method::Restart));
    assert_eq!(read("RE=901,MT=RS,AD=[192.0.2.7]:2944,AT{M},SIC").map(|r| r.0), Some(Method::Restart));
    for bad in [
        "MT=RS",
        "RE=901",
        "MT=RS,MT=RS,RE=901",
        "MT=XX,RE=901",
        "MT=RS,RE=901,AD=2944,MG=<ss>",
        "MT=RS,RE=901,AD=65536",
        "MT=RS,RE=901,MG=2944",
        "MT=RS,RE=901,PF=ResGW",
        "MT=RS,RE=901,DL=x",
        "MT=RS,RE=901,V=100",
        "MT=RS,RE=901,X-PKD=\"a\",X-PKD=\"b\"",
        "MT=RS,RE=901,X-PKD",
        "MT=RS,RE=901,Y-PKD=a",
        "MT=RS,RE=901,20261124T03500000,20261124T03500000",
    ] {
        assert_eq!(read(bad), None, "{bad}");
    }
    let handoff = "!/1 <mgc> P=1{C=-{SC=ROOT{SV{MG=[192.0.2.9]:2944,V=1}}}}";
    let msg = Message::parse(handoff.as_bytes()).unwrap();
    let reply = msg.transactions().next().unwrap().actions().next().unwrap().commands().next().unwrap();
    assert_eq!(reply.services().unwrap().mgc().unwrap().text, b"[192.0.2.9]:2944");
    assert_eq!(parse("P=1{C=-{SC=ROOT{SV{MT=RS}}}}"), Err("service change parameter"));
}

#[test]
fn descriptors() {
    for good in [
        "M{O{MO=IN,RG=ON,RV=off}}",
        "M{TS{SI=OS,BF=SP,x/y=1},ST=1{SA{a/b=1,c/d,e/f=[1,2]}}}",
        "M{L{},R{v=0}}",
        "E",
        "E=*{*/*}",
        "E=1{al/*{ST=1,KA,NBNN,x={a,\"b c\"}}}",
        "E=1{al/of{EM{SG{cg/dt{DR=10,SY=TO,NC={TO,IBE},KA,SPADI=EX}},E=2{al/on{EM{SG{cg/bt}}}}}}}",
        "E=1{dd/ce{DM=d1},x/y{DM{(1|2)}},al/on{NBRN{EM{E=2{a/b}}},RSE}}",
        "SG",
        "SG{}",
        "SG{SL=1{cg/dt,cg/rt{DR=5}},an/a{b#1,c<2,d>\"3\"}}",
        "EB{al/of{x=1}}",
        "DM=d1",
        "DM=d1{(x|1\\}2)}",
        "DM={(x)}",
        "DM{T:16,S:5,(x)}",
        "MX=H221{a,b}",
        "MD=V90",
        "MD[V18,V22]{x/y=1}",
        "AT{}",
        "AT{M,E,SG,SA{a/b},M{TS{SI}}}",
    ] {
        assert_eq!(modify(good), Ok(()), "{good}");
    }
    for bad in [
        "",
        "M",
        "M{}",
        "M{Q}",
        "M{O{MO=XX}}",
        "M{O{}}",
        "M{TS{SI}}",
        "M{ST{O{MO=IN}}}",
        "M{ST=65536{O{MO=IN}}}",
        "M{O{MO=IN}},M{O{MO=IN}}",
        "E=1",
        "E=x{a/b}",
        "E=1{a}",
        "E=1{a/b{}}",
        "E=1{a/b{c}}",
        "E=1{a/b{1c=2}}",
        "E=1{al/of{EM{E=2{al/on{EM{E=3{a/b}}}}}}}",
        "E=1{al/of{EM{E=2{a/b},SG{cg/dt}}}}",
        "E=1{20261124T03500000:al/of}",
        "SG{cg}",
        "SG{cg/dt{}}",
        "SG{SL=1{}}",
        "SG{cg/dt{a={}}}",
        "SG{cg/dt{a={1,}}}",
        "SG{cg/dt{a=[1:2:3]}}",
        "SG{cg/dt{a={1:2}}}",
        "SG{cg/dt{a=\"b}}",
        "SG{cg/dt{a=\"b\nc\"}}",
        "DM",
        "DM=",
        "OE=1{al/of}",
        "PG{al-1}",
        "ER=1{}",
    ] {
        assert!(modify(bad).is_err(), "{bad}");
    }
    for good in [
        "PG{al-1,x_y-12}",
        "OE=1{20261124T03500000 : al/of{a=1}}",
        "M,E,SG,SA,PG,OE,DM,EB,MX,MD",
        "ER=444{}",
        "SA{x/y=\"a b\"}",
    ] {
        assert_eq!(parse(&format!("P=1{{C=-{{AV=A1{{{good}}}}}}}")), Ok(()), "{good}");
    }
    for good in ["AV=C{a,b}", "AV=C{ER=411{}}", "N=A1{ER=512{}}", "SC=A1", "MF=A1", "EG,PR=1,AC=A1"] {
        assert_eq!(parse(&format!("P=1{{C=-{{{good}}}}}")), Ok(()), "{good}");
    }
    for bad in ["AV=A1{PG{al}}", "AV=C{a=1}", "N=A1{OE=1{al/of}}", "MF=A1{}", "ER=1{},MF=A1"] {
        assert!(parse(&format!("P=1{{C=-{{{bad}}}}}")).is_err(), "{bad}");
    }
}
