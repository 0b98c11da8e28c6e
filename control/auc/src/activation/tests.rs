use super::*;
use portunus_keydist::SystemRandom;
use portunus_keydist::activation::Code;
use proptest::prelude::*;

const ALICE: &str = "alice@example.test";
const END: u64 = 1_000;

fn rng() -> SystemRandom {
    SystemRandom::new()
}

fn issued() -> (CodeKey, CodeRecord) {
    let key = Code::random(&mut rng()).key();
    let state = State::Issued { key: key.clone() };
    let record =
        CodeRecord { idc: ALICE.into(), replace: false, made_ms: 1, expires_ms: END, asked: Vec::new(), state };
    (key, record)
}

fn answered(record: &CodeRecord, key: &CodeKey, nt: Nonce) -> (CodeRecord, Granted) {
    let Step::Answer(next, reply) = step(record, 5, &key.ask(&nt), &mut rng()) else { panic!("no answer") };
    let (granted, idc) = key.open_answer(&nt, reply.octets()).unwrap();
    assert_eq!(idc, ALICE);
    (next, granted)
}

fn why(step: Step) -> Why {
    match step {
        Step::Silence(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn once_through_and_every_message_may_be_repeated() {
    let (key, record) = issued();
    let (record, granted) = answered(&record, &key, [1; 16]);
    let Step::Repeat(again) = step(&record, 6, &key.ask(&[1; 16]), &mut rng()) else { panic!("no repetition") };
    assert_eq!(key.open_answer(&[1; 16], again.octets()).unwrap().0.kc.expose(), granted.kc.expose());
    let confirm = key.confirm(&granted);
    let Step::Activate(record, kc, done) = step(&record, 7, &confirm, &mut rng()) else { panic!("not activated") };
    assert_eq!((kc.expose(), done.octets()), (granted.kc.expose(), key.done(&granted).as_slice()));
    let Step::Repeat(again) = step(&record, END * 9, &confirm, &mut rng()) else { panic!("no repetition") };
    assert_eq!(again, done);
    assert_eq!(why(step(&record, 8, &key.ask(&[1; 16]), &mut rng())), Why::Spent);
    assert_eq!(why(step(&record, 8, &key.ask(&[2; 16]), &mut rng())), Why::Spent);
}

#[test]
fn of_two_who_hold_the_code_the_one_that_confirms_the_newest_key_succeeds_alone() {
    let (key, record) = issued();
    let (record, first) = answered(&record, &key, [1; 16]);
    let (record, second) = answered(&record, &key, [2; 16]);
    assert_ne!(first.kc.expose(), second.kc.expose());
    assert_eq!(why(step(&record, 7, &key.confirm(&first), &mut rng())), Why::Forged);
    // A copy of the older ask does not bring the older key back, nor take the newer one away.
    assert_eq!(why(step(&record, 7, &key.ask(&[1; 16]), &mut rng())), Why::Replaced);
    let Step::Activate(record, kc, _) = step(&record, 8, &key.confirm(&second), &mut rng()) else { panic!() };
    assert_eq!(kc.expose(), second.kc.expose());
    assert_eq!(why(step(&record, 9, &key.confirm(&first), &mut rng())), Why::Spent);
}

#[test]
fn a_terminal_begins_anew_so_often_and_no_more() {
    let (key, mut record) = issued();
    let mut last = None;
    for n in 0..ASKS_MAX {
        let (next, granted) = answered(&record, &key, [n as u8; 16]);
        (record, last) = (next, Some(granted));
    }
    assert_eq!(why(step(&record, 6, &key.ask(&[99; 16]), &mut rng())), Why::TooMany);
    let confirm = key.confirm(&last.unwrap());
    assert!(matches!(step(&record, 7, &confirm, &mut rng()), Step::Activate(..)), "the newest still works");
}

#[test]
fn a_code_ends_in_time_and_what_was_answered_before_may_still_be_confirmed_for_a_while() {
    let (key, record) = issued();
    assert_eq!(why(step(&record, END, &key.ask(&[1; 16]), &mut rng())), Why::Expired);
    let (record, granted) = answered(&record, &key, [1; 16]);
    assert_eq!(why(step(&record, END, &key.ask(&[1; 16]), &mut rng())), Why::Expired);
    let confirm = key.confirm(&granted);
    assert!(matches!(step(&record, END + GRACE_MS - 1, &confirm, &mut rng()), Step::Activate(..)));
    assert_eq!(why(step(&record, END + GRACE_MS, &confirm, &mut rng())), Why::Expired);
}

#[test]
fn no_altered_message_does_anything_in_any_state() {
    let (key, fresh) = issued();
    let (open, granted) = answered(&fresh, &key, [1; 16]);
    let Step::Activate(redeemed, ..) = step(&open, 7, &key.confirm(&granted), &mut rng()) else { panic!() };
    let revoked = CodeRecord { state: State::Revoked, ..fresh.clone() };
    let good: [Vec<u8>; 4] = [
        key.ask(&[3; 16]).to_vec(),
        key.ask(&[1; 16]).to_vec(),
        key.confirm(&granted).to_vec(),
        key.done(&granted).to_vec(),
    ];
    for record in [&fresh, &open, &redeemed, &revoked] {
        for octets in &good {
            for bit in 0..octets.len() * 8 {
                let mut bad = octets.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(matches!(step(record, 5, &bad, &mut rng()), Step::Silence(_)), "bit {bit}");
            }
            for n in 0..octets.len() {
                assert!(matches!(step(record, 5, &octets[..n], &mut rng()), Step::Silence(_)), "cut at {n}");
            }
        }
    }
    assert_eq!(why(step(&fresh, 5, &key.confirm(&granted), &mut rng())), Why::Forged, "nothing was answered");
    assert_eq!(why(step(&revoked, 5, &key.ask(&[3; 16]), &mut rng())), Why::Spent);
    let other = Code::random(&mut rng()).key();
    assert_eq!(why(step(&fresh, 5, &other.ask(&[3; 16]), &mut rng())), Why::Forged);
}

/// What happens to a code in a random life, held against the rules as a whole.
#[derive(Debug, Clone)]
enum Event {
    /// A holder draws a nonce and asks.
    Ask(u8),
    /// A holder repeats its ask.
    Again(u8),
    /// A holder confirms what it holds.
    Confirm(u8),
    /// The AuC is killed after it kept the record and before it answered: the answer is lost.
    Lost(bool),
    Revoke,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let one = prop_oneof![
        4 => (0u8..3).prop_map(Event::Ask),
        3 => (0u8..3).prop_map(Event::Again),
        3 => (0u8..3).prop_map(Event::Confirm),
        2 => any::<bool>().prop_map(Event::Lost),
        1 => Just(Event::Revoke),
    ];
    proptest::collection::vec(one, 0..40)
}

proptest! {
    #[test]
    fn whatever_happens_at_most_one_holder_has_a_key_that_works(events in events()) {
        let (key, mut record) = issued();
        let mut nonces: [Option<Nonce>; 3] = [None; 3];
        let mut held: [Option<Granted>; 3] = [None, None, None];
        let (mut active, mut lost, mut n, mut done) = (None::<[u8; 32]>, false, 0u8, 0);
        for event in events {
            let (who, octets) = match event {
                Event::Ask(who) => {
                    n += 1;
                    nonces[usize::from(who)] = Some([n; 16]);
                    held[usize::from(who)] = None;
                    (usize::from(who), key.ask(&[n; 16]).to_vec())
                }
                Event::Again(who) => {
                    let Some(nt) = nonces[usize::from(who)] else { continue };
                    (usize::from(who), key.ask(&nt).to_vec())
                }
                Event::Confirm(who) => {
                    let Some(granted) = &held[usize::from(who)] else { continue };
                    (usize::from(who), key.confirm(granted).to_vec())
                }
                Event::Lost(on) => {
                    lost = on;
                    continue;
                }
                Event::Revoke => {
                    if !matches!(record.state, State::Redeemed { .. }) {
                        record.state = State::Revoked;
                    }
                    continue;
                }
            };
            let reply = match step(&record, 5, &octets, &mut rng()) {
                Step::Silence(_) => continue,
                Step::Repeat(reply) => reply,
                Step::Answer(next, reply) => {
                    prop_assert!(active.is_none(), "no key after the code is burnt");
                    record = next;
                    reply
                }
                Step::Activate(next, kc, reply) => {
                    prop_assert!(active.is_none(), "a second key works");
                    active = Some(*kc.expose());
                    record = next;
                    reply
                }
            };
            if lost {
                continue;
            }
            match &reply {
                Reply::Answer(octets) => {
                    let (granted, _) = key.open_answer(&nonces[who].unwrap(), octets.as_slice()).unwrap();
                    held[who] = Some(granted);
                }
                Reply::Done(octets) => {
                    let granted = held[who].as_ref().unwrap();
                    prop_assert_eq!(octets, &key.done(granted));
                    prop_assert_eq!(active.as_ref(), Some(granted.kc.expose()), "told that its key works, and it does");
                    done |= 1 << who;
                }
            }
        }
        prop_assert!(u8::count_ones(done) <= 1);
    }
}
