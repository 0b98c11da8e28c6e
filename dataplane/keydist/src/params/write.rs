//! Writing a list, one function a step, so that both protocols send the same parameters in the same order.

use super::Cause;
use crate::ident::{Idsp, N1, Rand};
use crate::steps::{Refusal, S1, S2, S5, S6, S7, S8, S9, S10};
use portunus_codec::Writer;

/// Writes `name="value"` pairs with commas between them.
#[derive(Debug)]
pub struct Quoted<'w, 'b> {
    w: &'w mut Writer<'b>,
    more: bool,
}

impl<'w, 'b> Quoted<'w, 'b> {
    /// Begins a list at the writer's place.
    pub fn new(w: &'w mut Writer<'b>) -> Self {
        Self { w, more: false }
    }

    /// One pair; the value must hold no quotation mark.
    pub fn put(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.with(name, |w| _ = w.put(value))
    }

    fn with(&mut self, name: &str, value: impl FnOnce(&mut Writer<'_>)) -> &mut Self {
        if self.more {
            self.w.put(b",");
        }
        self.more = true;
        self.w.text(name).put(b"=\"");
        value(self.w);
        self.w.put(b"\"");
        self
    }

    fn number(&mut self, name: &str, value: u64) -> &mut Self {
        self.with(name, |w| _ = w.decimal(value))
    }

    fn b64(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.with(name, |w| _ = w.b64(value))
    }

    /// s5: `chal(idsp,n1,rand)` with the N1 of the registration.
    pub fn s5(&mut self, s5: &S5<'_>, n1: &N1) {
        self.put("idsp", s5.idsp.as_bytes()).put("n1", n1.as_bytes()).b64("rand", &s5.rand);
    }

    /// s6: `chal(idsp,n1,n2,ts,rand,mechreq)`.
    pub fn s6(&mut self, s6: &S6<'_>) {
        self.put("idsp", s6.idsp.as_bytes()).put("n1", s6.n1.as_bytes()).put("n2", s6.n2);
        self.number("ts", s6.ts).b64("rand", &s6.rand).put("mechreq", b"1");
    }

    /// s7: `resp(n1,n2,ts,authc,mechs)`.
    pub fn s7(&mut self, s7: &S7<'_>) {
        self.put("n1", s7.n1.as_bytes()).put("n2", s7.n2).number("ts", s7.ts);
        self.with("authc", |w| _ = w.hex(&s7.auth_c)).put("mechs", s7.mechs.as_str().as_bytes());
    }

    /// s8: `resp(idsp,rand,authc,ipc)`.
    pub fn s8(&mut self, s8: &S8<'_>) {
        self.put("idsp", s8.idsp.as_bytes()).b64("rand", &s8.rand);
        self.with("authc", |w| _ = w.hex(&s8.auth_c)).with("ipc", |w| put_address(s8.ipc, w));
    }

    /// s9: `key(idsp,rand,ekc,eksp)`.
    pub fn s9(&mut self, idsp: Idsp<'_>, rand: &Rand, s9: &S9) {
        self.put("idsp", idsp.as_bytes()).b64("rand", rand).b64("ekc", &s9.ekc).b64("eksp", &s9.eksp);
    }

    /// s10: `key(idsp,n1,n2,ts,life,ekc,sel,mechs)`.
    pub fn s10(&mut self, s10: &S10<'_>) {
        self.put("idsp", s10.idsp.as_bytes()).put("n1", s10.n1.as_bytes()).put("n2", s10.n2.as_bytes());
        self.number("ts", s10.ts).number("life", s10.life.into()).b64("ekc", &s10.ekc);
        self.put("sel", s10.sel.as_bytes()).put("mechs", s10.mechs.as_bytes());
    }

    /// The proxy's refusal: `fail(n1,cause,ts)`, `ts` for a stale clock only.
    pub fn refusal(&mut self, n1: Option<&N1>, refusal: &Refusal) {
        if let Some(n1) = n1 {
            self.put("n1", n1.as_bytes());
        }
        self.put("cause", Cause::of(refusal).as_str().as_bytes());
        if let Refusal::Stale { ts } = refusal {
            self.number("ts", *ts);
        }
    }

    /// The softswitch's refusal: `fail(cause,rand)`; before there is a Rand, `fail(cause,n1)`.
    pub fn core_refusal(&mut self, refusal: &Refusal, rand: Option<&Rand>, n1: &N1) {
        self.put("cause", Cause::of(refusal).as_str().as_bytes());
        match rand {
            Some(rand) => self.b64("rand", rand),
            None => self.put("n1", n1.as_bytes()),
        };
    }

    /// `cookie(n1,ts,cookie)`.
    pub fn cookie(&mut self, n1: &N1, ts: u64, cookie: &[u8]) {
        self.put("n1", n1.as_bytes()).number("ts", ts).put("cookie", cookie);
    }
}

impl S1<'_> {
    /// The value of `X-PKD` without quotation marks: `v=1;idsp=…;n1=…;ts=…`, and `cookie=…` where there is one.
    pub fn write_services(&self, w: &mut Writer<'_>) {
        S2 { idc: self.idc, idsp: self.idsp, n1: self.n1 }.write_services(w);
        w.put(b";ts=").decimal(self.ts);
        if let Some(cookie) = self.cookie {
            w.put(b";cookie=").put(cookie);
        }
    }
}

impl S2<'_> {
    /// The value of `X-PKD` without quotation marks: `v=1;idsp=…;n1=…`.
    pub fn write_services(&self, w: &mut Writer<'_>) {
        w.put(b"v=1;idsp=").put(self.idsp.as_bytes()).put(b";n1=").put(self.n1.as_bytes());
    }
}

/// An address with its port as it is written everywhere: `192.0.2.7:2427`, `[2001:db8::7]:2427`.
fn put_address(address: core::net::SocketAddr, w: &mut Writer<'_>) {
    struct Into<'w, 'b>(&'w mut Writer<'b>);
    impl core::fmt::Write for Into<'_, '_> {
        fn write_str(&mut self, s: &str) -> core::fmt::Result {
            self.0.text(s);
            Ok(())
        }
    }
    // Overflow is the writer's to remember.
    _ = core::fmt::Write::write_fmt(&mut Into(w), format_args!("{address}"));
}
