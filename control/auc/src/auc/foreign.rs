//! Guests: subscribers of another domain who register through a proxy of ours, and ours who register through another's.
//!
//! ```text
//!   our softswitch ── s3 ──► we: is the proxy ours? ── s3 ──► the AuC of the subscriber's domain
//!                                                             word and E_Kc[K] as ever, for the proxy's name;
//!   our softswitch ◄── s4 ── we: K out of E_Kab, ◄── s4 ───── E_Kab[K] where E_Ksp[K] would stand
//!                            into E_Ksp[K]
//! ```
//!
//! Kab is a key that the two AuCs share, one a pair: to the other AuC we are a device. All wraps stay bound to the IDsp that
//! the terminal sees, so nothing changes for terminal, proxy and softswitch. We learn K, which our proxy learns anyway, and
//! never Kc; the other learns none of our devices' keys, and takes our word for which of them asks.

use super::{Auc, Notice, Verdict};
use crate::subscribers::Subscribers;
use portunus_aaa::{AaaAnswer, AaaRequest, Account, Authenticate, Scheme};
use portunus_keydist::ident::{Idc, Idsp};
use portunus_keydist::schedule::{For, WrapCtx};
use portunus_keydist::steps::S4;
use portunus_keydist::{Key, Now, realm};

/// The AuC of other domains, whose subscribers may be our guests.
#[derive(Debug, Clone)]
pub struct Foreign {
    /// Its realms.
    pub realms: Vec<String>,
    /// Kab.
    pub key: Key,
}

/// An AuC of another domain that asks for our subscribers, who are its guests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partner {
    /// How it is known where it asks: its address (RADIUS over UDP), the name in its certificate, its Origin-Host.
    pub client: String,
    /// The device of ours whose key is Kab.
    pub device: String,
}

/// E_Kab[K] as E_Ksp[K], both bound to what the registration is; `None`: it does not open under Kab.
fn rewrapped(kab: &Key, ksp: &Key, a: &Authenticate, s4: &S4) -> Option<S4> {
    let Scheme::Pkd1 { n1 } = a.scheme else { return None };
    let (idc, idsp) = (Idc::new(&a.idc)?, Idsp::new(&a.idsp)?);
    let ctx = WrapCtx { idc, idsp, rand: &s4.rand, n1a: &n1 };
    let key = kab.prk().unwrap(For::Proxy, &ctx, &s4.eksp).ok()?;
    Some(S4 { eksp: ksp.prk().wrap(For::Proxy, &ctx, &key), ..*s4 })
}

impl<S: Subscribers> Auc<S> {
    /// With the AuCs of other domains: those that we ask, and those that ask us.
    #[must_use]
    pub fn among(mut self, foreign: Vec<Foreign>, partners: Vec<Partner>) -> Self {
        (self.foreign, self.partners) = (foreign, partners);
        self
    }

    /// The device whose key wraps what this client is answered: the proxy that it names, or the client itself where that is
    /// the AuC of another domain.
    pub(super) fn keyed<'a>(&'a self, client: &str, idsp: &'a str) -> &'a str {
        let partner = self.partners.iter().find(|p| p.client.eq_ignore_ascii_case(client));
        partner.map_or(idsp, |p| p.device.as_str())
    }

    /// The AuC that this is for, where that is not us. Of realms that hold an identity the longest counts.
    pub(super) fn foreign_for(&self, client: &str, request: &AaaRequest) -> Option<usize> {
        // A partner's question is for us, or for nobody: we pass none on.
        if self.foreign.is_empty() || self.partners.iter().any(|p| p.client.eq_ignore_ascii_case(client)) {
            return None;
        }
        let all = self.foreign.iter().enumerate().flat_map(|(n, f)| f.realms.iter().map(move |r| (Some(n), r)));
        match request {
            AaaRequest::Authenticate(a) => all.clone().find(|(_, r)| r.eq_ignore_ascii_case(&a.realm))?.0,
            AaaRequest::Account(a) => {
                let own = self.config.realms.iter().map(|r| (None, r));
                let of = |(_, r): &(Option<usize>, &String)| realm::is_of(&a.idc, r);
                all.chain(own).filter(of).max_by_key(|(_, r)| r.len())?.0
            }
        }
    }

    /// A guest's question: for the other AuC, if the proxy is ours.
    pub(super) fn guest(&mut self, now: Now, nth: usize, request: AaaRequest) -> Verdict {
        let idsp = match &request {
            AaaRequest::Authenticate(Authenticate { idsp, .. }) | AaaRequest::Account(Account { idsp, .. }) => {
                idsp.clone()
            }
        };
        match self.device(now, &idsp) {
            Some(_) => {
                self.counters.guests += 1;
                Verdict::Foreign { nth, request }
            }
            None => Verdict::Answer(AaaAnswer::Rejected),
        }
    }

    /// What the other AuC said, as our softswitch is to hear it.
    pub fn on_foreign(&mut self, now: Now, nth: usize, request: &AaaRequest, answer: AaaAnswer) -> AaaAnswer {
        let AaaAnswer::Vector(s4) = answer else { return answer };
        let AaaRequest::Authenticate(a) = request else { return AaaAnswer::Rejected };
        let Some(ksp) = self.device(now, &a.idsp) else { return AaaAnswer::Rejected };
        let kab = self.foreign.get(nth).map(|f| f.key.clone());
        match kab.and_then(|kab| rewrapped(&kab, &ksp, a, &s4)) {
            Some(s4) => AaaAnswer::Vector(s4),
            None => self.reject(Notice::ForeignWrap { realm: a.realm.to_string() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auc::AucConfig;
    use crate::store::Credential;
    use crate::subscribers::InMemory;
    use portunus_keydist::SystemRandom;
    use portunus_keydist::ident::N1;
    use portunus_keydist::steps::Registration;

    const BOB: &str = "bob@b.test";
    const SP: &str = "sp1.a.test";
    const KAB: [u8; 32] = [5; 32];

    fn auc(realm: &str, fill: impl FnOnce(&mut InMemory)) -> Auc<InMemory> {
        let mut rng = SystemRandom::new();
        let mut subscribers = InMemory::new(&mut rng);
        fill(&mut subscribers);
        let config = AucConfig { realms: vec![realm.into()], digest_sha256: false, digest_md5: false };
        Auc::new(config, subscribers, &mut rng)
    }

    /// a.test, which has the proxy, and b.test, which has bob and knows a.test's AuC as a device.
    fn both() -> (Auc<InMemory>, Auc<InMemory>) {
        let a = auc("a.test", |s| s.add_device(SP, Key::new([2; 32])));
        let b = auc("b.test", |s| {
            s.add_subscriber(BOB, Credential::Key(Key::new([1; 32])));
            s.add_device("auc.a.test", Key::new(KAB));
        });
        let foreign = Foreign { realms: vec!["b.test".into()], key: Key::new(KAB) };
        let partner = Partner { client: "192.0.2.1".into(), device: "auc.a.test".into() };
        (a.among(vec![foreign], vec![]), b.among(vec![], vec![partner]))
    }

    fn s3(idsp: &str) -> AaaRequest {
        AaaRequest::Authenticate(Authenticate {
            idc: BOB.into(),
            idsp: idsp.into(),
            scheme: Scheme::Pkd1 { n1: N1::from_bits(5) },
            realm: "b.test".into(),
            uri: None,
            source: None,
        })
    }

    fn of(auc: &mut Auc<InMemory>, client: &str, request: AaaRequest) -> Verdict {
        auc.on_request_of(Now::default(), &mut SystemRandom::new(), client, request)
    }

    #[test]
    fn a_guest_gets_its_key_through_both_and_nobody_holds_more_than_his_own() {
        let (mut a, mut b) = both();
        let Verdict::Foreign { nth: 0, request } = of(&mut a, "192.0.2.70", s3(SP)) else { panic!("it is b's") };
        let Verdict::Answer(AaaAnswer::Vector(between)) = of(&mut b, "192.0.2.1", request.clone()) else { panic!() };
        let answer = a.on_foreign(Now::default(), 0, &request, AaaAnswer::Vector(between));
        let AaaAnswer::Vector(s4) = answer else { panic!("{answer:?}") };
        let (idc, idsp, n1a) = (Idc::new(BOB).unwrap(), Idsp::new(SP).unwrap(), N1::from_bits(5));
        let ctx = WrapCtx { idc, idsp, rand: &s4.rand, n1a: &n1a };
        let (kc, ksp, kab) = (Key::new([1; 32]).prk(), Key::new([2; 32]).prk(), Key::new(KAB).prk());
        assert_eq!(s4.auth_c, kc.word(idc, idsp, &s4.rand), "bound to the proxy that bob sees");
        let own = kc.unwrap(For::Terminal, &ctx, &s4.ekc).unwrap();
        assert_eq!(own.expose(), ksp.unwrap(For::Proxy, &ctx, &s4.eksp).unwrap().expose());
        // Between the AuCs it is under their key alone, and the proxy never sees that.
        assert!(
            kab.unwrap(For::Proxy, &ctx, &between.eksp).is_ok() && ksp.unwrap(For::Proxy, &ctx, &between.eksp).is_err()
        );
        assert!(kab.unwrap(For::Proxy, &ctx, &s4.eksp).is_err());
        assert_eq!(a.counters().guests, 1);
    }

    #[test]
    fn what_is_not_theirs_is_refused() {
        let (mut a, mut b) = both();
        // A proxy that is not ours asks nobody through us, and a stranger has no key at b.test.
        assert_eq!(of(&mut a, "192.0.2.70", s3("sp9.a.test")), Verdict::Answer(AaaAnswer::Rejected));
        assert_eq!(of(&mut b, "192.0.2.99", s3(SP)), Verdict::Answer(AaaAnswer::Rejected));
        // What does not open under Kab, or is of another registration, gets to no proxy.
        let Verdict::Answer(AaaAnswer::Vector(good)) = of(&mut b, "192.0.2.1", s3(SP)) else { panic!() };
        for wrong in [S4 { eksp: [7; 48], ..good }, S4 { rand: [7; 16], ..good }] {
            let answer = a.on_foreign(Now::default(), 0, &s3(SP), AaaAnswer::Vector(wrong));
            assert_eq!(answer, AaaAnswer::Rejected);
        }
        assert!(matches!(a.poll_notice(), Some(Notice::ForeignWrap { .. })));
    }

    #[test]
    fn records_go_home() {
        let (mut a, mut b) = both();
        let record = |idc: &str| {
            let ip = "192.0.2.9".parse().unwrap();
            let (idc, event) = (idc.to_owned(), Registration::Start);
            AaaRequest::Account(Account { idc, idsp: SP.into(), rand: [3; 16], ip, event, softswitch: None })
        };
        assert!(matches!(of(&mut a, "ss1", record(BOB)), Verdict::Foreign { nth: 0, .. }));
        assert!(matches!(of(&mut a, "ss1", record("alice@a.test")), Verdict::Record(_)));
        assert!(matches!(of(&mut a, "ss1", record("4711")), Verdict::Record(_)));
        assert!(matches!(of(&mut b, "192.0.2.1", record(BOB)), Verdict::Record(_)));
    }
}
