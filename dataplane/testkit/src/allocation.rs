//! Nothing on the proxy's path allocates. The allocator that counts is the caller's: whoever links it measures with it.

use crate::steps::{Party, Written, n1a, write_step};
use crate::wire::Sent;
use core::hint::black_box;
use portunus_codec::Writer;
use portunus_keydist::steps::Refusal;
use portunus_signalling::{Hop, Marks, SessionRef, Signalling, Text};

/// Runs something and says how often memory was asked for meanwhile.
pub type Count<'a> = &'a dyn Fn(&mut dyn FnMut()) -> u64;

/// Holds a counter to count, so that 0 means something.
fn counts(count: Count<'_>) {
    assert_eq!(count(&mut || drop(black_box(Box::new(1)))), 1, "the counter counts");
}

/// Everything that reads, of whole messages and of their first halves; `more` is what else the protocol reads with.
///
/// # Panics
/// When anything is allocated.
pub fn readers(count: Count<'_>, signalling: &dyn Signalling, sent: &[Sent], more: impl Fn(&[u8])) {
    counts(count);
    for s in sent {
        let (whole, half) = (&s.octets[..], &s.octets[..s.octets.len() / 2]);
        let n = count(&mut || {
            for octets in [whole, half] {
                let (mut marks, mut text) = (Marks::NONE, Text::new());
                _ = black_box(signalling.read_marked(octets, &mut marks, &mut text).is_ok());
                _ = black_box(signalling.read_answer(octets, &mut text).is_ok());
                _ = black_box(signalling.route_core(octets));
                _ = black_box(signalling.transaction(octets));
                _ = black_box(signalling.answers_registration(octets));
                more(octets);
            }
        });
        assert_eq!(n, 0, "{}", s.name);
    }
}

/// Everything that writes: the steps of a party from its `ladder`, refusals and receipts, and what is made of each of
/// `sent` on its way; `more` is what else the protocol writes.
///
/// # Panics
/// When anything is allocated, or a step is not written.
pub fn writers(
    count: Count<'_>,
    signalling: &dyn Signalling,
    party: &impl Party,
    (hop, session): (&Hop<'_>, &SessionRef<'_>),
    (ladder, sent): (&[Sent], &[Sent]),
    more: impl Fn(&[u8], &mut Writer<'_>),
) {
    counts(count);
    let (steps, mut buf) = (Written::new(party, ladder), vec![0u8; 8192]);
    let n = count(&mut || {
        for step in 0..4 {
            let mut w = Writer::new(&mut buf);
            assert!(write_step(signalling, hop, &steps, step, &mut w) && !w.is_empty());
        }
        let mut w = Writer::new(&mut buf);
        let refused = signalling.write_refusal(hop, steps.s1_msg, &Refusal::Stale { ts: 1 }, Some(&n1a()), &mut w);
        assert!(refused.is_ok() && !w.is_empty());
        let mut w = Writer::new(&mut buf);
        let asked = signalling.write_cookie(hop, steps.s1_msg, &n1a(), 1, b"c", &mut w);
        assert!(asked.is_ok() && !w.is_empty());
        let mut w = Writer::new(&mut buf);
        signalling.acknowledge(hop, steps.s1_msg, &mut w);
        signalling.acknowledge_core(hop, steps.s5_msg, &mut w);
        _ = black_box(signalling.binding(steps.s7_msg, &Marks::NONE, &mut w).is_ok());
    });
    assert_eq!(n, 0, "steps");
    for s in sent {
        let n = count(&mut || on_its_way(signalling, (hop, session), &s.octets, &mut buf, &more));
        assert_eq!(n, 0, "{}", s.name);
    }
}

fn on_its_way(
    signalling: &dyn Signalling,
    (hop, session): (&Hop<'_>, &SessionRef<'_>),
    octets: &[u8],
    buf: &mut [u8],
    more: &impl Fn(&[u8], &mut Writer<'_>),
) {
    _ = black_box(signalling.relay_up(hop, session, octets, &mut Writer::new(buf)).is_ok());
    _ = black_box(signalling.relay_down(hop, session, octets, &mut Writer::new(buf)).is_ok());
    _ = black_box(signalling.write_refusal(hop, octets, &Refusal::Denied, None, &mut Writer::new(buf)).is_ok());
    _ = black_box(signalling.answer_own(hop, octets, false, &mut Writer::new(buf)).is_ok());
    let (mut marks, mut text) = (Marks::NONE, Text::new());
    if let Err(fault) = signalling.read_marked(octets, &mut marks, &mut text) {
        _ = black_box(signalling.write_fault(hop, octets, &fault, &mut Writer::new(buf)).is_ok());
    }
    more(octets, &mut Writer::new(buf));
}
