//! The proxy's way through this crate allocates nothing: lists, choice, answers, wraps, MACs.

use portunus_keydist::auc::{Decoy, vector};
use portunus_keydist::batch::{MacJob, OpenJob, Opened, mac_batch, open_batch};
use portunus_keydist::mech::{Mech, MechList, Sel};
use portunus_keydist::schedule::WrapCtx;
use portunus_keydist::steps::S3;
use portunus_keydist::{Idc, Idsp, Key, N1, SystemRandom};

#[test]
fn a_batch_of_replies() {
    let (idc, idsp) = (Idc::new("alice@example.test").expect("IDc"), Idsp::new("sp1.example.test").expect("IDsp"));
    let (kc, ksp, decoy) = (Key::new([1; 32]), Key::new([2; 32]), Decoy::new(Key::new([3; 32])));
    let n1a = N1::from_bits(4);
    let mut rng = SystemRandom::new();
    let s4 = vector(&mut rng, Some(&kc), &decoy, Some(&ksp), &S3 { idc, idsp, n1: n1a }).expect("known");
    let prk = ksp.prk();
    let message = [b'0'; 600];
    let run = || {
        let list = MechList::from_sip("ipsec-man;q=0.5;spi-c=4711, x-pkd-sealed;q=0.9").expect("a list");
        let chosen = list.choose(&Mech::ALL, |_| true).and_then(|e| e.mech);
        assert_eq!(chosen, Some(Mech::Sealed));
        assert!(MechList::from_sip("tls, tls").is_err());
        assert!(Sel::parse(Sel::sealed(1, 5065).as_str()).is_ok());
        let ctx = WrapCtx { idc, idsp, rand: &s4.rand, n1a: &n1a };
        let jobs: [OpenJob<'_>; 8] = core::array::from_fn(|_| OpenJob { ctx, wrap: &s4.eksp });
        let mut opened: [Option<Opened>; 8] = core::array::from_fn(|_| None);
        open_batch(&prk, &jobs, |i, result| opened[i] = result.ok());
        let mut macs: [MacJob<'_>; 8] = core::array::from_fn(|i| MacJob {
            key: &opened[i].as_ref().expect("opens").mac_key,
            message: &message,
            field: 500..564,
            placeholder: &[b'0'; 64],
            out: [0; 32],
        });
        assert_eq!(mac_batch(&mut macs), 8);
    };
    // The blank keys that others are overwritten with are made once, at the first use.
    run();
    assert_eq!(allocation_counter::measure(run).count_total, 0);
}
