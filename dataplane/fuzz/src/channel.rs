//! What must hold for protected datagrams of every mechanism, whatever the octets: what has no readable header is never
//! opened, what was sealed opens as what it was and changed not at all, and what verifies is content within its bounds or
//! dropped by a name that only the holder of a key can earn.
#![allow(unreachable_pub)] // The tests of `portunus-channel` include this file.

use portunus_channel::esp::Esp;
use portunus_channel::sealed::Sealed;
use portunus_channel::{Dropped, Flow, Mechanism, OpenJob, Said, TrafficKey};
use portunus_codec::Writer;
use portunus_keydist::mech::Mech;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// Octets before the text: header, and for ESP the explicit IV.
const SEALED_HEAD: usize = 20;
const ESP_HEAD: usize = 16;
const KEY: [u8; 32] = [7; 32];
/// The protocol of the session.
const PROTOCOL: u8 = 2;

/// A mechanism with the key and the direction that its kept seeds are under.
pub fn rooms() -> [(&'static dyn Mechanism, TrafficKey, Flow); 2] {
    let flow = |handle, ports| Flow { handle, protocol: PROTOCOL, ports };
    [
        (&Sealed, TrafficKey::new(KEY), flow(0x0100_0002_0000_0003, (0, 0))),
        (&Esp, TrafficKey::salted(KEY, [1, 2, 3, 4]), flow(0x0102_0304, (5062, 5060))),
    ]
}

/// One arbitrary datagram, and the same octets as what is said in one.
pub fn channel(octets: &[u8]) {
    for (m, key, flow) in rooms() {
        raw(m, (&key, &flow), octets);
        changed(m, (&key, &flow), octets);
        verified(m, (&key, &flow), octets);
    }
}

type With<'a> = (&'a TrafficKey, &'a Flow);

fn opened(m: &dyn Mechanism, (key, flow): With<'_>, datagram: &[u8]) -> Result<(Said, Vec<u8>), Dropped> {
    let mut copy = datagram.to_vec();
    let (said, range) = m.open_range(key, flow, &mut copy)?;
    let content = copy.get(range).expect("content within its datagram").to_vec();
    assert!(content.is_empty() || said == Said::Message, "only messages have content");
    Ok((said, content))
}

fn sealed(m: &dyn Mechanism, (key, flow): With<'_>, seq: u64, content: &[u8]) -> Vec<u8> {
    let mut buf = vec![0; m.sealed_len(content.len())];
    m.seal(key, flow, seq, content, &mut Writer::new(&mut buf)).expect("seals");
    buf
}

/// As it came, alone and in a batch.
fn raw(m: &dyn Mechanism, with: With<'_>, octets: &[u8]) {
    let (peek, found) = (m.peek(octets), opened(m, with, octets));
    if let Err(why) = peek {
        assert_eq!(found, Err(why), "what has no header is not opened");
        assert!(!why.is_verified(), "nothing is verified without a key");
    }
    if let (Ok(peek), Ok((said, content))) = (peek, &found) {
        assert!(peek.seq != 0, "no sender uses 0");
        let again = sealed(m, with, peek.seq, content);
        // Who sends a dummy, or pads, or draws its IVs, writes other octets of the same meaning.
        let same = *said != Said::Nothing && m.mech() == Mech::Sealed && peek.handle == with.1.handle;
        assert!(!same || again == octets, "what verifies is what would be written");
    }
    let (mut first, mut second) = (octets.to_vec(), octets.to_vec());
    let job = |datagram| OpenJob { key: with.0, flow: *with.1, datagram, result: Err(Dropped::Short) };
    let mut jobs = [job(&mut first[..]), job(&mut second[..])];
    m.open_batch(&mut jobs);
    for OpenJob { datagram, result, .. } in &jobs {
        let batched = result.clone().map(|(said, range)| (said, datagram[range].to_vec()));
        assert_eq!(batched, found, "in a batch as alone");
    }
}

/// The first octets say what becomes of a datagram with the rest as its content.
fn changed(m: &dyn Mechanism, with: With<'_>, octets: &[u8]) {
    let Some((&[high, low, xor, cut], content)) = octets.split_first_chunk() else { return };
    let seq = u64::from(u16::from_be_bytes([high, low])) + 1;
    let good = sealed(m, with, seq, content);
    let said = if content.is_empty() { Said::Confirmation } else { Said::Message };
    assert_eq!(opened(m, with, &good), Ok((said, content.to_vec())));
    assert_eq!(m.peek(&good).map(|peek| (peek.handle, peek.seq)), Ok((with.1.handle, seq)));
    let mut bad = good.clone();
    let at = usize::from(u16::from_be_bytes([low, high])) % bad.len();
    bad[at] ^= xor;
    bad.truncate(bad.len() - usize::from(cut) % bad.len());
    if bad != good {
        let why = opened(m, with, &bad).expect_err("changed, and opened");
        assert!(!why.is_verified(), "changed, and verified: {why:?}");
    }
}

/// Everything as the text of a datagram that verifies, as the peer itself might write it.
fn verified(m: &dyn Mechanism, with: With<'_>, octets: &[u8]) {
    let ready = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &KEY).expect("a key"));
    let Some((&[number, protocol], text)) = octets.split_first_chunk() else { return };
    // Long enough to have a header that can be read, and whole words where those are asked for.
    let mut body = text.to_vec();
    let esp = m.mech() == Mech::Esp;
    if esp {
        body.resize(body.len().next_multiple_of(4).max(4), 0);
    }
    let seq = u64::from(number) + 1;
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&seq.to_be_bytes());
    let head = if esp {
        nonce[..4].copy_from_slice(&[1, 2, 3, 4]);
        [&(with.1.handle as u32).to_be_bytes()[..], &(seq as u32).to_be_bytes(), &seq.to_be_bytes()].concat()
    } else {
        [&[0x50, 1, protocol % 5, 0][..], &with.1.handle.to_be_bytes(), &seq.to_be_bytes()].concat()
    };
    let (len, aad) = if esp { (ESP_HEAD, &head[..8]) } else { (SEALED_HEAD, &head[..]) };
    assert_eq!(head.len(), len);
    let nonce = Nonce::assume_unique_for_key(nonce);
    ready.seal_in_place_append_tag(nonce, Aad::from(aad), &mut body).expect("seals");
    match opened(m, with, &[&head[..], &body].concat()) {
        Ok((Said::Message, content)) => {
            assert!(!content.is_empty() || !esp, "no content is a confirmation");
            assert!(text.windows(content.len().max(1)).any(|w| w == content) || content.is_empty(), "nobody wrote it");
        }
        Ok((Said::Confirmation | Said::Nothing, content)) => assert!(content.is_empty()),
        Err(why) => assert!(why.is_verified() || why == Dropped::Protocol, "its key is right: {why:?}"),
    }
}
