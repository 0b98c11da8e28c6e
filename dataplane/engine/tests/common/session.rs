//! The terminal's end of a session, under whichever mechanism was chosen.

use portunus_channel::{End, Flow, Keys, Mechanism, Said, datagrams};
use portunus_codec::Writer;
use portunus_keydist::mech::{Mech, MechList, Sel};
use portunus_keydist::schedule::{Secret, TrafficCtx};
use portunus_signalling::Protocol;

pub struct Session {
    /// The proxy's handle.
    pub kid: u64,
    /// The proxy's port.
    pub port: u16,
    pub seq: u64,
    pub keys: Keys,
    pub c2s: Flow,
    pub s2c: Flow,
    /// Key and salt of `esp c2s`, for what no sender here makes.
    pub esp_c2s: [u8; 36],
    mechanism: &'static dyn Mechanism,
}

impl Session {
    /// What the terminal's list and the proxy's answer make.
    pub fn agreed(mechs: &MechList, sel: &Sel, protocol: Protocol, secret: &Secret, ctx: &TrafficCtx<'_>) -> Self {
        let mechanism = datagrams(sel.mech()).expect("a mechanism for datagrams");
        let own: End = mechanism.offered(&mechs.get(sel.mech()).expect("offered")).expect("complete");
        let (proxy, port) = mechanism.answered(sel).expect("complete");
        let (c2s, s2c) = (Flow::c2s(own, proxy, protocol as u8), Flow::s2c(own, proxy, protocol as u8));
        let mut esp_c2s = [0; 36];
        secret.traffic("esp c2s", ctx, &mut esp_c2s);
        Self { kid: proxy.handle, port, seq: 0, keys: mechanism.derive(secret, ctx), c2s, s2c, esp_c2s, mechanism }
    }

    pub fn mech(&self) -> Mech {
        self.mechanism.mech()
    }

    /// A datagram under the next number; protocol 0 is a confirmation.
    pub fn seal(&mut self, protocol: u8, content: &[u8]) -> Vec<u8> {
        self.seq += 1;
        let mut buf = vec![0u8; 4096];
        let mut w = Writer::new(&mut buf);
        let flow = Flow { protocol, ..self.c2s };
        self.mechanism.seal(&self.keys.c2s, &flow, self.seq, content, &mut w).expect("sealed");
        w.written().to_vec()
    }

    /// Protocol (0 for a confirmation) and content of a datagram of the proxy's.
    pub fn open(&self, octets: &[u8]) -> Option<(u8, Vec<u8>)> {
        let mut octets = octets.to_vec();
        let opened = self.mechanism.open(&self.keys.s2c, &self.s2c, &mut octets).ok()?;
        let protocol = if opened.said == Said::Message { self.s2c.protocol } else { 0 };
        Some((protocol, opened.content.to_vec()))
    }
}
