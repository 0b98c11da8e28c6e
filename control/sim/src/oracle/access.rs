//! What passes between terminals and proxies.

use super::{Arrived, CHALLENGE_MS, Challenge, Life, Oracle, REPLAY_MS, Response, Session};
use crate::dialect::{Said, heard};
use crate::net::{Datagram, addr};
use crate::phone::Phone;
use core::net::SocketAddr;
use portunus_keydist::mech::Sel;
use portunus_keydist::schedule::{Secret, TrafficCtx, message_mac};
use portunus_keydist::steps::{S6, S10};
use portunus_keydist::{Idc, Idsp, Rand, Word};
use portunus_signalling::{FromTerminal, Protocol, Text};

impl Oracle {
    /// A terminal sends.
    pub fn phone_sends(&mut self, phone: &Phone, datagram: &Datagram) {
        if let Some(mechanism) = addr::mechanism(datagram.to) {
            return self.protected_up(phone, mechanism, datagram);
        }
        let mut text = Text::new();
        if let Some(FromTerminal::S7(s7)) = heard(phone.dialect(), &datagram.bytes, &mut text) {
            self.offers.insert((phone.index, s7.n1), s7.mechs.as_str().to_owned());
            self.hold(without_end(s7.mechs.as_str()) == without_end(&phone.mechs), || {
                format!("{} offers other mechanisms than its own", phone.idc)
            });
            let Some(rand) = s7.rand.or_else(|| self.answers(&phone.idc, s7.n2, &s7.auth_c)) else { return };
            let response = Response { rand, word: s7.auth_c };
            self.responses.insert((phone.idc.clone(), s7.n2.to_vec()), response);
            if self.vectors.get(&rand).is_some_and(|v| v.idc == phone.idc) {
                self.authenticated.insert((phone.idc.clone(), rand));
            }
        }
    }

    /// The challenge that this word answers, where s7 does not repeat it: the one that went out under this N2a.
    fn answers(&self, idc: &str, n2: &[u8], word: &Word) -> Option<Rand> {
        let rand = self.challenges.get(n2)?.rand;
        let idsp = &self.vectors.get(&rand)?.idsp;
        let right = self.subscribers.get(idc)?.prk().word(Idc::new(idc)?, Idsp::new(idsp)?, &rand);
        (right == *word).then_some(rand)
    }

    /// A proxy receives from the access side.
    pub fn proxy_receives(&mut self, life: Life, datagram: &Datagram) {
        let Some(dialect) = addr::spoken(datagram.to) else { return };
        self.traffic.entry((life, datagram.from)).or_default().received += datagram.bytes.len();
        let mut text = Text::new();
        if let Some(FromTerminal::S7(s7)) = heard(dialect, &datagram.bytes, &mut text) {
            let (idc, n2) = (s7.idc.as_str().to_owned(), s7.n2.to_vec());
            self.arrived.entry((life, s7.n1)).or_default().push(Arrived { idc, n2, word: s7.auth_c });
        }
    }

    /// A proxy sends to the access side.
    pub fn proxy_sends(&mut self, now_ms: u64, life: Life, datagram: &Datagram) {
        if let Some(mechanism) = addr::mechanism(datagram.from) {
            return self.protected_down(life, mechanism, datagram);
        }
        if addr::is_secured(datagram.from) {
            return self.forbid("a proxy sends a datagram in the clear where connections of tls belong");
        }
        let Some(dialect) = addr::spoken(datagram.from) else { return };
        // What the listener for stock phones sends is as weak as they are: a digest response is not bound to an address,
        // so whoever overhears one and is quicker gets the phone's calls. Nothing else is ever sent unprotected.
        let stock = datagram.from == addr::stock(life.0);
        let (bytes, mut text) = (&datagram.bytes, Text::new());
        let said = match dialect.said(bytes, &mut text) {
            Ok(said) => said,
            Err(why) => {
                let (text, protocol) = (String::from_utf8_lossy(bytes), dialect.protocol());
                return self.forbid(format!("a proxy sends what is not {protocol:?}: {why} in {text}"));
            }
        };
        self.hold(!bytes.windows(5).any(|w| w == b"eksp="), || "E_Ksp[K] is sent to a terminal".into());
        match said {
            Said::Challenge { idc, s6 } => self.challenged(now_ms, life, datagram.to, idc.as_deref(), &s6),
            Said::Key { idc, s10, mac, mac_value } => {
                if let Some(secret) = self.keyed(now_ms, life, datagram, idc.as_deref(), &s10) {
                    let (key, placeholder) = (secret.mac_key(), dialect.signalling().mac_placeholder());
                    let right = message_mac(&key, bytes, mac, placeholder) == Some(mac_value);
                    self.hold(right, || "the MAC of an s10 is not that of the whole message".into());
                }
            }
            // A stock phone's 200: its source has shown that it hears what is sent to it.
            Said::Granted if stock => self.traffic.entry((life, datagram.to)).or_default().proven = true,
            Said::Request => self.hold(stock, || "a proxy sends an unprotected request".into()),
            _ => {}
        }
        let traffic = self.traffic.entry((life, datagram.to)).or_default();
        traffic.sent += bytes.len();
        let (amplified, to) = (!traffic.proven && traffic.sent > 3 * traffic.received, datagram.to);
        self.hold(!amplified, || format!("{to} got more than three times what it sent, and has proven nothing"));
    }

    fn challenged(&mut self, now_ms: u64, life: Life, to: SocketAddr, named: Option<&str>, s6: &S6<'_>) {
        let vector = self.vectors.get(&s6.rand).filter(|v| v.idsp == s6.idsp.as_str());
        let Some(idc) = vector.map(|v| v.idc.clone()).filter(|idc| named.is_none_or(|named| named == idc)) else {
            return self.forbid(format!("a challenge for {named:?} that the AuC did not make for it"));
        };
        let challenge = Challenge { rand: s6.rand, life, to, at: now_ms, used: false };
        let first = self.challenges.entry(s6.n2.to_vec()).or_insert(challenge);
        let moved = first.to != to;
        self.hold(!moved, || format!("the challenge of one address was sent to another, {to}"));
        // Each worker remembers for itself which N1 it accepted, and a copy from elsewhere may meet another worker.
        let worker = u64::from(to.port()) % self.workers;
        let question = (life, worker, idc.clone(), s6.n1);
        let first = self.answered.entry(question).or_insert((s6.rand, to, now_ms));
        if now_ms > first.2 + REPLAY_MS {
            *first = (s6.rand, to, now_ms);
        }
        let same = (first.0, first.1) == (s6.rand, to);
        self.hold(same, || format!("the N1 {} of {idc} was accepted twice", s6.n1));
        let alone = self.by_rand.entry(s6.rand).or_insert_with(|| s6.n2.to_vec()) == s6.n2;
        self.hold(alone, || "two registrations share a vector".into());
    }

    /// s10: everything that must have happened before it. The secret of its key, where it is a new one.
    fn keyed(
        &mut self,
        now_ms: u64,
        life: Life,
        datagram: &Datagram,
        named: Option<&str>,
        s10: &S10<'_>,
    ) -> Option<Secret> {
        self.traffic.entry((life, datagram.to)).or_default().proven = true;
        if let Some(session) = self.by_message.get(&datagram.bytes).and_then(|i| self.sessions.get(*i)) {
            let same = session.to == datagram.to;
            self.hold(same, || "an s10 from the cache went to another address".into());
            return None;
        }
        // N1b is nobody's proof: it may have been changed on its way. What was answered to which challenge is.
        let arrived = self.arrived.get(&(life, s10.n1)).map_or(&[][..], Vec::as_slice);
        let mut meant = arrived.iter().filter(|a| named.is_none_or(|named| named == a.idc));
        let real = |a: &Arrived| self.responses.get(&(a.idc.clone(), a.n2.clone())).filter(|r| r.word == a.word);
        let Some((idc, n2, rand)) = meant.find_map(|a| Some((a.idc.clone(), a.n2.clone(), real(a)?.rand))) else {
            self.forbid(format!("{named:?} gets a key for an answer that the terminal with its Kc never gave"));
            return None;
        };
        let idc = idc.as_str();
        let Some(vector) = self.vectors.get(&rand).filter(|v| v.idc == idc && v.idsp == s10.idsp.as_str()) else {
            self.forbid(format!("{idc} gets a key for a challenge that the AuC never made for it"));
            return None;
        };
        let secret = vector.secret.clone();
        let (to, mut why) = (datagram.to, None);
        match self.challenges.get_mut(&n2) {
            None => why = Some("a challenge that no proxy sent was honoured"),
            Some(c) if c.life != life => why = Some("a challenge of another proxy, or of another life, was honoured"),
            Some(c) if c.to != to => why = Some("a challenge was honoured from another address than it was sent to"),
            Some(c) if now_ms > c.at + CHALLENGE_MS => why = Some("a challenge was honoured after its time"),
            Some(c) if c.used => why = Some("a challenge served twice"),
            Some(c) => c.used = true,
        }
        if let Some(why) = why {
            self.forbid(why);
        }
        let once = self.granted.insert((idc.to_owned(), s10.n1));
        self.hold(once, || "one s7 got two keys".into());
        self.open_session(life, datagram, idc, s10, &secret);
        Some(secret)
    }

    fn open_session(&mut self, life: Life, datagram: &Datagram, idc: &str, s10: &S10<'_>, secret: &Secret) {
        let (Some(id), Ok(sel)) = (Idc::new(idc), Sel::parse(s10.sel)) else {
            return self.forbid("an s10 whose names or mechanism cannot be read");
        };
        let protocol = addr::spoken(datagram.from).map_or(Protocol::Sip, |d| d.protocol());
        let best = self.strongest(s10.mechs, protocol);
        self.hold(best == Some(sel.mech()), || {
            format!("the proxy chose {sel:?} where {best:?} is the strongest of {}", s10.mechs)
        });
        let token = sel.mech().token();
        let ctx = TrafficCtx { idc: id, idsp: s10.idsp, n1b: &s10.n1, n2b: &s10.n2, token };
        let (index, to) = (self.sessions.len(), datagram.to);
        let chosen = self.chosen((life, index), (&sel, s10.mechs, to), protocol, (secret, &ctx));
        let Some((chosen, worker)) = chosen else {
            return self.forbid(format!("an s10 whose answer {sel:?} names no end"));
        };
        self.by_message.insert(datagram.bytes.clone(), index);
        self.newest.insert((life, worker, idc.to_owned()), index);
        self.sessions.push(Session {
            life,
            idc: idc.to_owned(),
            protocol,
            n1b: s10.n1,
            mechs: s10.mechs.to_owned(),
            to,
            chosen,
            keyed: false,
            active: false,
            said: (0, 0),
        });
    }
}

/// A list without what the terminal adds for the end that it receives at.
fn without_end(list: &str) -> String {
    let own = |part: &&str| !part.starts_with("spi-c=") && !part.starts_with("port-c=");
    let entry = |entry: &str| entry.split(';').filter(own).collect::<Vec<_>>().join(";");
    list.split(' ').map(entry).collect::<Vec<_>>().join(" ")
}
