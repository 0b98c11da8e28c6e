use super::super::tests::{entry, lab, octets, rng};
use super::super::{Depth, If};
use super::*;
use portunus_keydist::activation::{ASK, Nonce};
use portunus_keydist::ident::IDC_MAX;
use proptest::prelude::*;

const ALICE: &str = "alice@example.test";
const END: u64 = 1_000;

fn named(store: &Store, ids: &[&str], replace: bool) -> Result<Vec<Issued>, StoreError> {
    let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    store.issue_codes((1, END), Whose::Named(&ids), replace, &mut rng())
}

fn key(issued: &[Issued]) -> CodeKey {
    issued[0].code.key()
}

fn granted(store: &Store, key: &CodeKey, nt: Nonce) -> Granted {
    match store.redeem(5, &key.ask(&nt), None, &mut rng()).unwrap() {
        Redemption::Answered(_, reply) | Redemption::Repeated(reply) => key.open_answer(&nt, reply.octets()).unwrap().0,
        other => panic!("{other:?}"),
    }
}

fn why(store: &Store, now: u64, octets: &[u8]) -> Why {
    match store.redeem(now, octets, None, &mut rng()).unwrap() {
        Redemption::Silence(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_code_brings_its_key_once_through_a_crash_between_any_two_steps() {
    let lab = lab();
    let issued = named(&lab.open(), &[ALICE], false).unwrap();
    let key = key(&issued);
    // Every step meets a store that was opened anew: nothing lives in memory alone.
    let first = granted(&lab.open(), &key, [1; 16]);
    assert_eq!(granted(&lab.open(), &key, [1; 16]).kc.expose(), first.kc.expose());
    assert_eq!(octets(&lab.open(), Space::Subscriber, ALICE), None, "no key works before it is confirmed");
    let confirm = key.confirm(&first);
    let Redemption::Redeemed(idc, done) = lab.open().redeem(6, &confirm, None, &mut rng()).unwrap() else { panic!() };
    assert_eq!((idc.as_str(), done.octets()), (ALICE, key.done(&first).as_slice()));
    let store = lab.open();
    assert_eq!(octets(&store, Space::Subscriber, ALICE), Some(first.kc.expose().to_vec()));
    assert!(matches!(store.redeem(7, &confirm, None, &mut rng()), Ok(Redemption::Repeated(again)) if again == done));
    assert_eq!(why(&store, 7, &key.ask(&[2; 16])), Why::Spent);
    // What the code's messages were made under is gone.
    let record = store.code(&issued[0].locator).unwrap().unwrap();
    assert!(matches!(record.state, State::Redeemed { .. }) && record.asked.is_empty());
    assert!(matches!(store.revoke_code(&issued[0].locator, &mut rng()), Err(StoreError::Code { .. })));
    assert_eq!(store.verify(Depth::Records, &mut |_| ()).unwrap().damaged_count, 0);
}

#[test]
fn two_redeemers_at_once_get_one_key_between_them() {
    let lab = lab();
    let store = lab.open();
    let key = key(&named(&store, &[ALICE], false).unwrap());
    let confirms: Vec<[u8; CONFIRM]> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..4u8)
            .map(|n| {
                let (store, key) = (&store, &key);
                scope.spawn(move || match store.redeem(5, &key.ask(&[n; 16]), None, &mut rng()).unwrap() {
                    Redemption::Answered(_, reply) => {
                        let (granted, _) = key.open_answer(&[n; 16], reply.octets()).unwrap();
                        std::thread::sleep(std::time::Duration::from_millis(u64::from(n) * 3));
                        let confirm = key.confirm(&granted);
                        let won = store.redeem(6, &confirm, None, &mut rng()).unwrap();
                        matches!(won, Redemption::Redeemed(..)).then_some(confirm)
                    }
                    Redemption::Silence(_) => None,
                    other => panic!("{other:?}"),
                })
            })
            .collect();
        racers.into_iter().filter_map(|r| r.join().unwrap()).collect()
    });
    assert!(confirms.len() <= 1);
    let State::Redeemed { confirm, .. } = (match confirms.first() {
        Some(_) => store.code(&locator_text(&key.locator())).unwrap().unwrap().state,
        // All were overtaken by one that came too late itself: the code is still good for the next.
        None => {
            let last = granted(&store, &key, [77; 16]);
            let won = store.redeem(8, &key.confirm(&last), None, &mut rng()).unwrap();
            assert!(matches!(won, Redemption::Redeemed(..)));
            store.code(&locator_text(&key.locator())).unwrap().unwrap().state
        }
    }) else {
        panic!("redeemed")
    };
    assert!(confirms.first().is_none_or(|won| *won == confirm));
}

#[test]
fn who_has_a_key_or_a_code_gets_no_other_unless_it_is_to_replace() {
    let lab = lab();
    let store = lab.open();
    store.put(1, &[entry(ALICE, Kind::Terminal, 7)], IfThere::Refuse, &mut rng()).unwrap();
    assert!(matches!(named(&store, &["bob", ALICE], false), Err(StoreError::Exists { .. })));
    let issued = named(&store, &[ALICE], true).unwrap();
    assert!(matches!(named(&store, &[ALICE], true), Err(StoreError::Code { .. })));
    assert!(matches!(named(&store, &["bob", "bob"], false), Err(StoreError::Code { .. })));
    assert!(matches!(named(&store, &["two words"], false), Err(StoreError::Malformed { .. })));
    assert!(matches!(named(&store, &[&"x".repeat(IDC_MAX + 1)], false), Err(StoreError::Malformed { .. })));
    let mut seen = Vec::new();
    store
        .codes_after("", &mut |c| {
            seen.push((c.idc.clone(), c.state_at(5), c.state_at(END)));
            true
        })
        .unwrap();
    assert_eq!(seen, [(ALICE.to_owned(), "issued", "expired")], "all or none");
    let key = key(&issued);
    let new = granted(&store, &key, [1; 16]);
    assert_eq!(octets(&store, Space::Subscriber, ALICE), Some(vec![7; 32]), "the old key works until then");
    assert!(matches!(store.redeem(6, &key.confirm(&new), None, &mut rng()), Ok(Redemption::Redeemed(..))));
    assert_eq!(octets(&store, Space::Subscriber, ALICE), Some(new.kc.expose().to_vec()));
    // A key that was put in by hand meanwhile is not overwritten by a code that was not issued to do that.
    let other = named(&store, &["carol"], false).unwrap();
    let carol = other[0].code.key();
    let late = granted(&store, &carol, [1; 16]);
    store.put_if(6, entry("carol", Kind::Terminal, 9), If::Absent, &mut rng()).unwrap();
    assert_eq!(why(&store, 7, &carol.confirm(&late)), Why::Taken);
    assert_eq!(octets(&store, Space::Subscriber, "carol"), Some(vec![9; 32]));
}

#[test]
fn assigned_identities_are_nobodys_and_are_never_assigned_again() {
    let lab = lab();
    let store = lab.open();
    store.put(1, &[entry("t000002@example.test", Kind::Terminal, 7)], IfThere::Refuse, &mut rng()).unwrap();
    let assigned = |store: &Store, count| {
        let whose = Whose::Assigned { prefix: "t", realm: Some("example.test"), count };
        let issued = store.issue_codes((1, END), whose, false, &mut rng()).unwrap();
        issued.into_iter().map(|i| i.idc).collect::<Vec<_>>()
    };
    assert_eq!(assigned(&store, 2), ["t000001@example.test", "t000003@example.test"]);
    assert_eq!(assigned(&lab.open(), 1), ["t000004@example.test"]);
    let bare = Whose::Assigned { prefix: "gw", realm: None, count: 1 };
    assert_eq!(store.issue_codes((1, END), bare, false, &mut rng()).unwrap()[0].idc, "gw000001");
    let bad = Whose::Assigned { prefix: "two words", realm: None, count: 1 };
    assert!(matches!(store.issue_codes((1, END), bad, false, &mut rng()), Err(StoreError::Malformed { .. })));
}

#[test]
fn revoked_and_ended_codes_open_nothing_and_go_in_time() {
    let lab = lab();
    let store = lab.open();
    let issued = named(&store, &[ALICE, "bob"], false).unwrap();
    let (alice, bob) = (issued[0].code.key(), issued[1].code.key());
    let answered = granted(&store, &alice, [1; 16]);
    assert_eq!(store.revoke_code(&issued[0].locator, &mut rng()).unwrap(), ALICE);
    assert_eq!(why(&store, 6, &alice.confirm(&answered)), Why::Spent);
    assert_eq!(why(&store, END, &bob.ask(&[1; 16])), Why::Expired);
    assert!(matches!(store.revoke_code("0123456789abcdef", &mut rng()), Err(StoreError::NoSuch { .. })));
    // Alice's was revoked and Bob's has ended: both may have another. Long after, the old ones are forgotten.
    let ids = [ALICE.to_owned(), "bob".to_owned()];
    store.issue_codes((END, END * 2), Whose::Named(&ids), false, &mut rng()).unwrap();
    let count = || {
        let mut n = 0;
        store
            .codes_after("", &mut |_| {
                n += 1;
                true
            })
            .unwrap();
        n
    };
    assert_eq!(count(), 4);
    let later = END * 2 + KEPT_MS;
    store.issue_codes((later, later + 1), Whose::Named(&ids), false, &mut rng()).unwrap();
    assert_eq!(count(), 2);
}

#[test]
fn working_keys_may_be_renewed_while_codes_are_under_way() {
    let lab = lab();
    let store = lab.open();
    let key = key(&named(&store, &[ALICE], false).unwrap());
    let first = granted(&store, &key, [1; 16]);
    lab.open().reseal(&mut |_| (), &mut rng()).unwrap();
    assert_eq!(granted(&store, &key, [1; 16]).kc.expose(), first.kc.expose());
    assert!(matches!(store.redeem(6, &key.confirm(&first), None, &mut rng()), Ok(Redemption::Redeemed(..))));
}

#[test]
fn a_replica_has_the_key_given_in_the_system_of_record_first() {
    let (here, there) = (lab(), lab());
    let (store, record) = (here.open(), there.open());
    let issued = named(&store, &[ALICE, "bob"], false).unwrap();
    let alice = issued[0].code.key();
    let confirm = alice.confirm(&granted(&store, &alice, [1; 16]));
    let given = store.redeem(6, &confirm, Some(&record), &mut rng()).unwrap();
    assert!(matches!(given, Redemption::Redeemed(..)));
    assert!(octets(&record, Space::Subscriber, ALICE).is_some() && octets(&store, Space::Subscriber, ALICE).is_none());
    // Where another key is there, the code brings none; where it is the same one, it was given before a crash.
    let bob = issued[1].code.key();
    let new = granted(&store, &bob, [1; 16]);
    let confirm = bob.confirm(&new);
    record.put(6, &[entry("bob", Kind::Terminal, 9)], IfThere::Refuse, &mut rng()).unwrap();
    let taken = store.redeem(7, &confirm, Some(&record), &mut rng()).unwrap();
    assert!(matches!(taken, Redemption::Silence(Why::Taken)));
    let same = Entry { id: "bob".into(), kind: Kind::Terminal, credential: Credential::Key(new.kc.clone()) };
    store.put(7, &[same], IfThere::Refuse, &mut rng()).unwrap();
    assert!(matches!(store.redeem(8, &confirm, Some(&record), &mut rng()), Ok(Redemption::Redeemed(..))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_datagram_is_met_with_silence(
        octets in proptest::collection::vec(any::<u8>(), 0..ASK + 9), shaped in any::<bool>(), known in any::<bool>(),
    ) {
        thread_local!(static STORE: (super::super::tests::Lab, Store, String) = {
            let lab = lab();
            let store = lab.open();
            let locator = named(&store, &[ALICE], false).unwrap()[0].locator.clone();
            (lab, store, locator)
        });
        STORE.with(|(_, store, locator)| {
            let mut octets = octets.clone();
            if shaped && octets.len() >= 13 {
                octets[..4].copy_from_slice(b"PKA1");
                octets[4] = octets[4] % 4 + 1;
                if known {
                    octets[5..13].copy_from_slice(&portunus_codec::hex_decode::<8>(locator.as_bytes()).unwrap());
                }
            }
            let _ = why(store, 5, &octets);
        });
    }
}
