//! Known and unknown identities cost the same. Times are measured interleaved and printed as a distribution; what is
//! asserted is coarse, because the machine has other work, and catches a whole step left out for one of them.

use portunus_aaa::{AaaAnswer, AaaRequest, Authenticate, Scheme};
use portunus_auc::custody::MasterKey;
use portunus_auc::store::{Credential, Entry, IfThere, Kind, Store};
use portunus_auc::subscribers::Cached;
use portunus_auc::{Auc, AucConfig, Verdict};
use portunus_keydist::ident::N1;
use portunus_keydist::{Key, Now, SystemRandom};
use std::sync::Arc;
use std::time::Instant;

const SUBSCRIBERS: usize = 2_000;
const ROUNDS: usize = 20_000;

fn ask(idc: String) -> AaaRequest {
    AaaRequest::Authenticate(Authenticate {
        idc,
        idsp: "sp1.example.test".into(),
        scheme: Scheme::Pkd1 { n1: N1::from_bits(1) },
        realm: "example.test".into(),
        uri: None,
        source: None,
    })
}

/// Nanoseconds at the percentiles 10, 50, 90, 99.
fn percentiles(times: &mut [u64]) -> [u64; 4] {
    times.sort_unstable();
    [10, 50, 90, 99].map(|p| times[times.len() * p / 100])
}

#[test]
fn known_and_unknown_identities_take_the_same_time() {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = SystemRandom::new();
    let store = Store::open(&folder.path().join("auc.redb"), &MasterKey::new([1; 32]), &mut rng).unwrap();
    // Even numbers exist, odd ones do not: the same length, neighbours in the tree.
    let entry = |id: String, kind| Entry { id, kind, credential: Credential::Key(Key::new([7; 32])) };
    let mut batch: Vec<_> =
        (0..SUBSCRIBERS).map(|n| entry(format!("user{:06}@example.test", n * 2), Kind::Terminal)).collect();
    batch.push(entry("sp1.example.test".into(), Kind::Device));
    store.put(1, &batch, IfThere::Refuse, &mut rng).unwrap();
    let store = Arc::new(store);
    // Cold: every question goes to the store. Warm: all are in the cache.
    for (name, capacity) in [("cold", 1), ("warm", SUBSCRIBERS * 2)] {
        let config = AucConfig { realms: vec!["example.test".into()], digest_sha256: false, digest_md5: false };
        let mut auc = Auc::new(config, Cached::new(store.clone(), capacity), &mut rng);
        let mut times = [Vec::with_capacity(ROUNDS), Vec::with_capacity(ROUNDS)];
        for round in 0..ROUNDS * 2 {
            // Taking turns at going first, far apart: neither kind profits from what the other left in the caches.
            let unknown = (round ^ (round / 2)) % 2;
            let n = (round / 2 * 7_919 + unknown * SUBSCRIBERS / 2) % SUBSCRIBERS * 2 + unknown;
            let request = ask(format!("user{n:06}@example.test"));
            let begun = Instant::now();
            let verdict = auc.on_request(Now::default(), &mut rng, request);
            let took = begun.elapsed().as_nanos() as u64;
            assert!(matches!(verdict, Verdict::Answer(AaaAnswer::Vector(_))));
            times[unknown].push(took);
        }
        assert_eq!((auc.counters().vectors, auc.counters().decoys), (ROUNDS as u64, ROUNDS as u64));
        let [known, unknown] = times;
        let (known, unknown) = (percentiles(&mut known.clone()), percentiles(&mut unknown.clone()));
        println!("{name}: nanoseconds at 10, 50, 90, 99 %: known {known:?}, unknown {unknown:?}");
        let ratio = unknown[1] as f64 / known[1] as f64;
        assert!((0.6..1.6).contains(&ratio), "{name}: the median of unknown is {ratio:.2} of known");
    }
}
