//! RFC 3435's own examples: section 3 and appendix F. Lines that the RFC breaks to fit its page are whole here, as it
//! says they are on the wire.

use portunus_mgcp::view::{Endpoint, Event, Message, Name, Parts, Verb};

fn one(text: &str) -> Message<'_> {
    Message::alone(text.as_bytes()).unwrap_or_else(|e| panic!("{e:?}: {text}"))
}

fn value<'m>(msg: &Message<'m>, name: Name) -> &'m str {
    std::str::from_utf8(msg.value(name).unwrap_or_default()).unwrap()
}

fn events<'m>(msg: &Message<'m>, name: Name) -> Vec<Event<'m>> {
    msg.events(name).collect::<Result<_, _>>().unwrap()
}

#[test]
fn section_3_2_2_command_lines() {
    for (line, verb, transaction, local, domain) in [
        ("CRCX 1204 aaln/1@rgw-2567.whatever.net MGCP 1.0", Verb::Crcx, 1204, "aaln/1", "rgw-2567.whatever.net"),
        ("NTFY 2002 aaln/1@rgw-2567.whatever.net MGCP 1.0", Verb::Ntfy, 2002, "aaln/1", "rgw-2567.whatever.net"),
        ("RSIP 1204 *@rgw-2567.whatever.net MGCP 1.0", Verb::Rsip, 1204, "*", "rgw-2567.whatever.net"),
        ("EPCF 2012 d001@rgw-2567.whatever.net MGCP 1.0", Verb::Epcf, 2012, "d001", "rgw-2567.whatever.net"),
        (
            "AUEP 1201 aaln/1@rgw-2567.whatever.net MGCP 1.0 NCS 1.0",
            Verb::Auep,
            1201,
            "aaln/1",
            "rgw-2567.whatever.net",
        ),
        ("mdcx 1209 ds/ds1-3/6@[128.96.41.1] mgcp 1.0", Verb::Mdcx, 1209, "ds/ds1-3/6", "[128.96.41.1]"),
    ] {
        let text = format!("{line}\r\n");
        let msg = one(&text);
        let endpoint = Endpoint { local: local.as_bytes(), domain: domain.as_bytes() };
        assert_eq!((msg.command(), msg.transaction()), (Some((verb, endpoint)), transaction));
    }
}

#[test]
fn appendix_f_1_notification_request() {
    let msg =
        one("RQNT 1201 aaln/1@rgw-2567.whatever.net MGCP 1.0\r\nN: ca@ca1.whatever.net:5678\r\nX: 0123456789AC\r\n\
                   R: l/hd(N)\r\nS: l/rg\r\n");
    assert_eq!(value(&msg, Name::NotifiedEntity), "ca@ca1.whatever.net:5678");
    assert_eq!(value(&msg, Name::RequestIdentifier), "0123456789AC");
    let wanted = events(&msg, Name::RequestedEvents);
    assert!(wanted[0].is("L", "hd") && wanted[0].first == Some(b"N"));
    let msg =
        one("RQNT 1201 aaln/1@rgw-2567.whatever.net MGCP 1.0\r\nN: ca@ca1.whatever.net:5678\r\nX: 0123456789AC\r\n\
         R: L/hd(A, E(S(L/dl),R(L/oc,L/hu,D/[0-9#*T](D))))\r\n\
         D: (0T|00T|#xxxxxxx|*xx|91xxxxxxxxxx|9011x.T)\r\n");
    let wanted = events(&msg, Name::RequestedEvents);
    assert_eq!((wanted.len(), wanted[0].name), (1, &b"hd"[..]));
    assert_eq!(one("200 1201 OK\r\n").code(), Some(200));
}

#[test]
fn appendix_f_2_notify() {
    let msg =
        one("NTFY 2002 aaln/1@rgw-2567.whatever.net MGCP 1.0\r\nN: ca@ca1.whatever.net:5678\r\nX: 0123456789AC\r\n\
                   O: L/hd,D/9,D/1,D/2,D/0,D/1,D/8,D/2,D/9,D/4,D/2,D/6,D/6\r\n");
    let seen = events(&msg, Name::ObservedEvents);
    assert_eq!(seen.len(), 13);
    assert!(seen[0].is("l", "HD") && seen[12].is("D", "6"));
}

#[test]
fn appendix_f_3_to_f_5_connections() {
    let create = "CRCX 1204 aaln/1@rgw-2567.whatever.net MGCP 1.0\r\nC: A3C47F21456789F0\r\nL: p:10, a:PCMU\r\nM: recvonly\r\n\
                  N: ca@ca1.whatever.net:5678\r\nX: 0123456789AD\r\nR: L/hd\r\nS: L/rg\r\n\r\nv=0\r\no=- 25678 753849 IN IP4 128.96.41.1\r\n\
                  s=-\r\nc=IN IP4 128.96.41.1\r\nt=0 0\r\nm=audio 3456 RTP/AVP 0\r\n";
    let msg = one(create);
    assert_eq!((msg.lines().count(), value(&msg, Name::LocalConnectionOptions)), (7, "p:10, a:PCMU"));
    assert!(msg.body().starts_with(b"v=0\r\n") && msg.body().ends_with(b"AVP 0\r\n"));
    let msg = one("200 1204 OK\r\nI: FDE234C8\r\n\r\nv=0\r\no=- 25678 753849 IN IP4 128.96.41.1\r\ns=-\r\n");
    assert_eq!(value(&msg, Name::ConnectionId), "FDE234C8");
    // An answer in which any-of was asked, and one that is provisional.
    let msg = one("200 1205 OK\r\nK:\r\nI: 32F345E2\r\nZ: ds/ds1-3/22@rgw.whatever.net\r\n");
    assert_eq!(
        (value(&msg, Name::ResponseAck), value(&msg, Name::SpecificEndpoint)),
        ("", "ds/ds1-3/22@rgw.whatever.net")
    );
    assert_eq!(one("100 1206 Pending\r\nI: DFE233D1\r\n").code(), Some(100));
    assert_eq!(one("000 1206\r\n").code(), Some(0));
    let msg = one("DLCX 1210 aaln/1@rgw-2567.whatever.net MGCP 1.0\r\nC: A3C47F21456789F0\r\nI: FDE234C8\r\n\
                   E: 900 - Hardware error\r\nP: PS=1245, OS=62345, PR=780, OR=45123, PL=10, JI=27, LA=48\r\n");
    assert_eq!(value(&msg, Name::ReasonCode), "900 - Hardware error");
    assert_eq!(one("250 1210 OK\r\nP: PS=790, OS=45700, PR=780, OR=45123, PL=10, JI=27, LA=48\r\n").code(), Some(250));
}

#[test]
fn appendix_f_6_audits() {
    let ask = "AUEP 1200 *@rgw-2567.whatever.net MGCP 1.0\r\n";
    let (verb, endpoint) = one(ask).command().unwrap();
    assert!(verb == Verb::Auep && endpoint.is_all() && endpoint.covers(b"aaln/2"));
    let msg = one("200 1200 OK\r\nZ: aaln/1@rgw-2567.whatever.net\r\nZ: aaln/2@rgw-2567.whatever.net\r\n");
    let names: Vec<_> = msg.lines().filter(|l| l.name == Name::SpecificEndpoint).map(|l| l.value).collect();
    assert_eq!(names, [&b"aaln/1@rgw-2567.whatever.net"[..], b"aaln/2@rgw-2567.whatever.net"]);
    let msg = one("AUEP 2002 aaln/1@rgw-2567.whatever.net MGCP 1.0\r\nF: A, R,D,S,X,N,I,T,O,ES\r\n");
    assert_eq!(value(&msg, Name::RequestedInfo), "A, R,D,S,X,N,I,T,O,ES");
    let msg = one(
        "200 2002 OK\r\nA: a:PCMU, p:10-100, e:on, s:off, v:L;D;R, m:sendonly;recvonly;sendrecv;inactive;netwloop;netwtest\r\n\
         A: a:G729, p:30-90, e:on, s:on, v:L;D;R, m:sendonly;recvonly;sendrecv;inactive\r\nX: 0123456789B1\r\nR: L/hd\r\nD:\r\nS:\r\n\
         N: ca@ca1.whatever.net\r\nI: 32F345E2\r\nT: L/hd\r\nO:\r\nES:\r\n",
    );
    assert_eq!(msg.lines().filter(|l| l.name == Name::Capabilities).count(), 2);
    assert!(events(&msg, Name::ObservedEvents).is_empty());
    let msg = one("AUCX 2003 aaln/1@rgw-2567.whatever.net MGCP 1.0\r\nI: 32F345E2\r\nF: C,N,L,M,LC,P\r\n");
    assert_eq!(value(&msg, Name::ConnectionId), "32F345E2");
}

#[test]
fn appendix_f_7_restart_in_progress() {
    let msg = one("RSIP 1200 aaln/1@rgw-2567.whatever.net MGCP 1.0\r\nRM: graceful\r\nRD: 300\r\n");
    assert_eq!((value(&msg, Name::RestartMethod), value(&msg, Name::RestartDelay)), ("graceful", "300"));
    let msg = one("RSIP 1204 *@rgw-2567.whatever.net MGCP 1.0\r\nRM: restart\r\nRD: 0\r\n");
    assert_eq!(value(&msg, Name::RestartMethod), "restart");
    let msg = one("521 1204 OK\r\nN: ca1@whatever.net\r\n");
    assert_eq!((msg.code(), value(&msg, Name::NotifiedEntity)), (Some(521), "ca1@whatever.net"));
    let msg = one("800 1209 /X-PKG Not today\r\nPL: L:0,D:1\r\n");
    assert!(matches!(msg.start(), portunus_mgcp::view::Start::Response { code: 800, package: Some(b"X-PKG") }));
}

#[test]
fn section_3_5_5_piggy_backing() {
    let text = "200 2005 OK\n.\nDLCX 1244 card23/21@tgw-7.example.net MGCP 1.0\nC: A3C47F21456789F0\nI: FDE234C8\n";
    let parts: Vec<_> = Parts::new(text.as_bytes()).map(|p| Message::parse(p).unwrap()).collect();
    assert_eq!((parts.len(), parts[0].code(), parts[1].transaction()), (2, Some(200), 1244));
    assert!(Message::alone(text.as_bytes()).is_err());
}
