//! What the proxy's batched cryptography costs beside the same `ring` calls made bare. Wall time on a shared machine
//! means nothing by itself: both sides run interleaved in one process, and the ratio of the medians is printed.
//! It must not exceed 1.15.

use criterion::{Criterion, criterion_group};
use portunus_keydist::batch::{MacJob, OpenJob, Opened, mac_batch, open_batch};
use portunus_keydist::schedule::{For, WrapCtx};
use portunus_keydist::{Idc, Idsp, Key, N1, Rand, SessionKey, Wrap};
use ring::{aead, hkdf, hmac};
use std::hint::black_box;
use std::time::Instant;

const BATCH: usize = 32;
const MESSAGE: usize = 600;
const FIELD: std::ops::Range<usize> = 500..564;
const PLACEHOLDER: [u8; 64] = [b'0'; 64];

struct Reply {
    idc: String,
    rand: Rand,
    n1a: N1,
    wrap: Wrap,
    info: Vec<u8>,
    message: Vec<u8>,
}

struct World {
    key: Key,
    idsp: &'static str,
    replies: Vec<Reply>,
}

fn world() -> World {
    let key = Key::new([7; 32]);
    let idsp = "sp1.example.test";
    let replies = (0..BATCH as u64).map(|i| reply(&key, idsp, i)).collect();
    World { key, idsp, replies }
}

fn reply(key: &Key, idsp: &str, i: u64) -> Reply {
    let idc = format!("terminal{i:06}@example.test");
    let mut rand = [9; 16];
    rand[..8].copy_from_slice(&i.to_be_bytes());
    let n1a = N1::from_bits(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let (c, sp) = (Idc::new(&idc).expect("an IDc"), Idsp::new(idsp).expect("an IDsp"));
    let ctx = WrapCtx { idc: c, idsp: sp, rand: &rand, n1a: &n1a };
    let wrap = key.prk().wrap(For::Proxy, &ctx, &SessionKey::new([i as u8; 32]));
    let mut info = b"PKD1 wrap sp".to_vec();
    for part in [c.as_bytes(), sp.as_bytes(), rand.as_slice(), n1a.as_bytes().as_slice()] {
        info.extend_from_slice(&(part.len() as u16).to_be_bytes());
        info.extend_from_slice(part);
    }
    Reply { idc, rand, n1a, wrap, info, message: vec![b'x'; MESSAGE] }
}

/// The product's two calls for a batch.
fn product(world: &World, prk: &portunus_keydist::Prk) -> u8 {
    let idsp = Idsp::new(world.idsp).expect("an IDsp");
    let jobs: [OpenJob<'_>; BATCH] = std::array::from_fn(|i| {
        let r = &world.replies[i];
        let ctx = WrapCtx { idc: Idc::new(&r.idc).expect("an IDc"), idsp, rand: &r.rand, n1a: &r.n1a };
        OpenJob { ctx, wrap: &r.wrap }
    });
    let mut opened: [Option<Opened>; BATCH] = std::array::from_fn(|_| None);
    open_batch(prk, &jobs, |i, result| opened[i] = result.ok());
    let mut macs: [MacJob<'_>; BATCH] = std::array::from_fn(|i| MacJob {
        key: &opened[i].as_ref().expect("opens").mac_key,
        message: &world.replies[i].message,
        field: FIELD,
        placeholder: &PLACEHOLDER,
        out: [0; 32],
    });
    assert_eq!(mac_batch(&mut macs), BATCH);
    macs.iter().fold(0, |sum, m| sum ^ m.out[0])
}

struct Len(usize);

impl hkdf::KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand(prk: &hkdf::Prk, info: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    prk.expand(&[info], Len(32)).and_then(|okm| okm.fill(&mut out)).expect("32 octets");
    out
}

/// The same `ring` calls, everything else prepared beforehand.
fn bare(world: &World, prk: &hkdf::Prk) -> u8 {
    let mut sum = 0;
    for r in &world.replies {
        let key = aead::UnboundKey::new(&aead::AES_256_GCM, &expand(prk, &r.info)).expect("a key");
        let mut text = r.wrap;
        let plain = aead::LessSafeKey::new(key)
            .open_in_place(aead::Nonce::assume_unique_for_key([0; 12]), aead::Aad::from(&r.info), &mut text)
            .expect("opens");
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, &r.rand).extract(plain);
        let mac_key = hmac::Key::new(hmac::HMAC_SHA256, &expand(&secret, b"PKD1 mac"));
        let mut mac = hmac::Context::with_key(&mac_key);
        mac.update(&r.message[..FIELD.start]);
        mac.update(&PLACEHOLDER);
        mac.update(&r.message[FIELD.end..]);
        sum ^= mac.sign().as_ref()[0];
    }
    sum
}

fn benches(c: &mut Criterion) {
    let world = world();
    let prk = world.key.prk();
    let bare_prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"PKD1").extract(world.key.expose());
    assert_eq!(product(&world, &prk), bare(&world, &bare_prk), "both sides must compute the same");
    let mut group = c.benchmark_group("32 replies");
    group.throughput(criterion::Throughput::Elements(BATCH as u64));
    group.bench_function("open_batch + mac_batch", |b| b.iter(|| product(black_box(&world), &prk)));
    group.bench_function("ring bare", |b| b.iter(|| bare(black_box(&world), &bare_prk)));
    group.finish();
}

/// Interleaved slices (A B B A), the ratio of each pair, and its median and quartiles.
fn ratio() {
    let world = world();
    let prk = world.key.prk();
    let bare_prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"PKD1").extract(world.key.expose());
    let time = |f: &dyn Fn() -> u8| {
        let start = Instant::now();
        for _ in 0..40 {
            black_box(f());
        }
        start.elapsed().as_secs_f64()
    };
    let (ours, theirs) = (|| product(&world, &prk), || bare(&world, &bare_prk));
    let mut ratios: Vec<f64> = (0..61)
        .map(|_| {
            let (a1, b1, b2, a2) = (time(&ours), time(&theirs), time(&theirs), time(&ours));
            (a1 + a2) / (b1 + b2)
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    let n = ratios.len();
    println!(
        "batch / bare ring: {:.3} (quartiles {:.3} to {:.3}), limit 1.15",
        ratios[n / 2],
        ratios[n / 4],
        ratios[3 * n / 4]
    );
}

criterion_group!(batch, benches);

fn main() {
    batch();
    ratio();
}
