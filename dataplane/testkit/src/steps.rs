//! What the steps of one registration say, with the real key schedule.

use core::net::SocketAddr;
use portunus_keydist::mech::MechList;
use portunus_keydist::schedule::{For, Key, SessionKey, WrapCtx, message_mac};
use portunus_keydist::steps::{S1, S5, S6, S7, S8, S9, S10};
use portunus_keydist::{Idc, Idsp, N1};
use portunus_signalling::{Marks, Own, Signalling, Ticket, Writer};
use std::sync::OnceLock;

pub use portunus_signalling::{Hop, Transport};

/// Rand of the vector.
pub const RAND: [u8; 16] = *b"0123456789abcdef";
/// When s1 is made, milliseconds since 1970.
pub const NOW: u64 = 1_763_942_400_000;
/// The answer in s10.
pub const SEL: &str = "x-pkd-sealed;kid=0300000000000001;port=5065";

/// Whose registration it is.
pub trait Party {
    /// True where s7 repeats IDsp and Rand.
    const REPEATS: bool;

    /// The terminal.
    fn idc(&self) -> Idc<'static>;

    /// The proxy.
    fn idsp(&self) -> Idsp<'static>;

    /// Where the terminal is.
    fn terminal(&self) -> SocketAddr;
}

/// N1a.
pub fn n1a() -> N1 {
    N1::from_bits(0x64e6_d05c_b4c9_b98f)
}

/// N1b.
pub fn n1b() -> N1 {
    N1::from_bits(0x3f05_e7b5_9536_e12e)
}

/// N2b.
pub fn n2b() -> N1 {
    N1::from_bits(0x7f86_16e0_dbb8_446d)
}

/// s1.
pub fn s1(p: &impl Party) -> S1<'static> {
    S1 { idc: p.idc(), idsp: p.idsp(), n1: n1a(), ts: NOW, cookie: None }
}

/// s5.
pub fn s5(p: &impl Party) -> S5<'static> {
    S5 { idc: p.idc(), idsp: p.idsp(), rand: RAND }
}

/// s6.
pub fn s6(p: &impl Party) -> S6<'static> {
    S6 { idsp: p.idsp(), n1: n1a(), n2: b"N2a_token-0123456789", ts: NOW + 3, rand: RAND }
}

/// The terminal's list.
///
/// # Panics
/// Never: it is one.
pub fn mechs() -> MechList {
    MechList::from_text("x-pkd-sealed;q=0.9 ipsec-man;q=0.5;spi-c=1193046;port-c=5062").expect("a list")
}

/// Kc.
pub fn key() -> Key {
    Key::new([0x11; 32])
}

/// s7.
pub fn s7<P: Party>(p: &P) -> S7<'static> {
    let auth_c = key().prk().word(p.idc(), p.idsp(), &RAND);
    let (idsp, rand) = (P::REPEATS.then(|| p.idsp()), P::REPEATS.then_some(RAND));
    S7 { idc: p.idc(), idsp, n1: n1b(), n2: s6(p).n2, ts: NOW + 20, rand, auth_c, mechs: mechs() }
}

/// s8.
pub fn s8(p: &impl Party) -> S8<'static> {
    S8 { idc: p.idc(), idsp: p.idsp(), rand: RAND, auth_c: s7(p).auth_c, ipc: p.terminal() }
}

fn session_key() -> SessionKey {
    SessionKey::new([0x33; 32])
}

/// s9.
pub fn s9(p: &impl Party) -> S9 {
    let n1a = n1a();
    let (ctx, k) = (WrapCtx { idc: p.idc(), idsp: p.idsp(), rand: &RAND, n1a: &n1a }, session_key());
    S9 { ekc: key().prk().wrap(For::Terminal, &ctx, &k), eksp: Key::new([0x22; 32]).prk().wrap(For::Proxy, &ctx, &k) }
}

/// s10.
pub fn s10(p: &impl Party) -> S10<'static> {
    static LIST: OnceLock<MechList> = OnceLock::new();
    let (mechs, ekc) = (LIST.get_or_init(mechs).as_str(), s9(p).ekc);
    S10 { idsp: p.idsp(), n1: n1b(), n2: n2b(), ts: NOW + 30, life: 86_400, ekc, sel: SEL, mechs }
}

/// s10 as the proxy sends it: written, and its MAC put in.
///
/// # Panics
/// When it is not written, or its field lies outside.
pub fn signed(signalling: &dyn Signalling, hop: &Hop<'_>, (s7_msg, s9_msg): (&[u8], &[u8]), s10: &S10<'_>) -> Vec<u8> {
    let mut field = 0..0;
    let mut msg = crate::wire::write(|w| signalling.write_s10(hop, s7_msg, s9_msg, s10, w).map(|f| field = f));
    let mac_key = session_key().secret(&RAND).mac_key();
    let mac = message_mac(&mac_key, &msg, field.clone(), signalling.mac_placeholder()).expect("a field inside");
    signalling.put_mac(&mut msg[field], &mac);
    msg
}

/// The proxy's way for the messages of a party, which registers at `access`.
pub fn hop(p: &impl Party, access: SocketAddr, core: SocketAddr, transport: Transport) -> Hop<'static> {
    Hop {
        own: Own { idsp: p.idsp(), realm: "example.test", access, core },
        source: p.terminal(),
        transport,
        ticket: Ticket(0x0300_0000_0000_002a),
        salt: 0x0123_4567_89ab_cdef,
        marks: &Marks::NONE,
    }
}

/// The proxy's messages of the four steps that it writes, in order, and what each was written from; s10 without its MAC.
pub fn write_step(
    signalling: &dyn Signalling,
    hop: &Hop<'_>,
    steps: &Written<'_>,
    step: usize,
    w: &mut Writer<'_>,
) -> bool {
    let Written { s1, s6, s7, s8, s10, s1_msg, s5_msg, s7_msg, s9_msg } = steps;
    match step {
        0 => signalling.write_s2(hop, s1_msg, s1, w).is_ok(),
        1 => signalling.write_s6(hop, s1_msg, s5_msg, s6, w).is_ok(),
        2 => signalling.write_s8(hop, s7_msg, s7, s8, w).is_ok(),
        _ => signalling.write_s10(hop, s7_msg, s9_msg, s10, w).is_ok(),
    }
}

/// What the proxy writes its steps from.
#[derive(Debug)]
pub struct Written<'a> {
    /// s1.
    pub s1: S1<'static>,
    /// s6.
    pub s6: S6<'static>,
    /// s7.
    pub s7: S7<'static>,
    /// s8.
    pub s8: S8<'static>,
    /// s10.
    pub s10: S10<'static>,
    /// The message with s1.
    pub s1_msg: &'a [u8],
    /// With s5.
    pub s5_msg: &'a [u8],
    /// With s7.
    pub s7_msg: &'a [u8],
    /// With s9.
    pub s9_msg: &'a [u8],
}

impl<'a> Written<'a> {
    /// The steps of a party, and its messages by name.
    pub fn new(p: &impl Party, ladder: &'a [crate::wire::Sent]) -> Self {
        let find = |name| crate::wire::octets(ladder, name);
        Self {
            s1: s1(p),
            s6: s6(p),
            s7: s7(p),
            s8: s8(p),
            s10: s10(p),
            s1_msg: find("s1"),
            s5_msg: find("s5"),
            s7_msg: find("s7"),
            s9_msg: find("s9"),
        }
    }
}
