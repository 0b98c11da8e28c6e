//! What must hold of activation codes for any octets: for the fuzz target `activation`, and for its kept seeds.

use super::{CodeRecord, Reply, State, Step, step};
use portunus_keydist::activation::{ASK, CONFIRM, Code, CodeKey, Granted, Nonce};
use portunus_keydist::{Key, Random};

/// Randomness of no worth, the same every time.
struct Counting(u8);

impl Random for Counting {
    fn fill(&mut self, out: &mut [u8]) {
        self.0 = self.0.wrapping_add(1);
        out.fill(self.0);
    }
}

/// The octets as what somebody typed, as messages that arrive at codes in every state, and as the lives of three who hold
/// one code.
pub fn activation(octets: &[u8]) {
    if let Ok(text) = core::str::from_utf8(octets)
        && let Ok(code) = Code::parse(text)
    {
        let mut written = String::new();
        code.write(&mut written);
        assert_eq!(Code::parse(&written), Ok(code), "what is written is read");
    }
    let Ok(code) = Code::parse("00000-00000-00000-00000-000000") else { return };
    let key = code.key();
    arrive(&key, octets);
    live(&key, octets);
}

fn record(state: State) -> CodeRecord {
    let asked = if matches!(state, State::Answered { .. }) { vec![[0x11; 16]] } else { Vec::new() };
    CodeRecord { idc: "alice".into(), replace: false, made_ms: 1, expires_ms: 1_000, asked, state }
}

/// Nothing but a message that was made under the code does anything.
fn arrive(key: &CodeKey, octets: &[u8]) {
    let granted = Granted { nt: [0x11; 16], na: [0x22; 16], kc: Key::new([0x33; 32]) };
    let (confirm, done) = (key.confirm(&granted), key.done(&granted));
    let states = [
        State::Issued { key: key.clone() },
        State::Answered { key: key.clone(), granted },
        State::Redeemed { confirm, done },
        State::Revoked,
    ];
    for (n, state) in states.into_iter().enumerate() {
        let asks = octets.len() == ASK && key.is_ask(octets);
        match step(&record(state), 5, octets, &mut Counting(0)) {
            Step::Silence(_) => {}
            Step::Repeat(Reply::Answer(_)) | Step::Answer(..) => assert!(asks && n < 2, "an answer for no ask"),
            Step::Repeat(Reply::Done(_)) => assert!(octets == confirm && n == 2, "done without a confirm"),
            Step::Activate(..) => assert!(octets == confirm && n == 1, "a key works without a confirm"),
        }
    }
}

/// Each octet is what one of three does next; whatever they do, one key works at most.
fn live(key: &CodeKey, octets: &[u8]) {
    let mut now = record(State::Issued { key: key.clone() });
    let (mut rng, mut drawn, mut active) = (Counting(0), 0u8, None::<[u8; 32]>);
    let mut holders: [(Option<Nonce>, Option<[u8; CONFIRM]>); 3] = [(None, None); 3];
    for octet in octets.iter().take(200) {
        let Some((nonce, confirm)) = holders.get_mut(usize::from(octet % 3)) else { continue };
        let message = match octet / 3 % 4 {
            0 => {
                drawn = drawn.wrapping_add(1);
                *nonce = Some([drawn; 16]);
                *confirm = None;
                key.ask(&[drawn; 16]).to_vec()
            }
            1 => match nonce {
                Some(nt) => key.ask(nt).to_vec(),
                None => continue,
            },
            2 => match confirm {
                Some(confirm) => confirm.to_vec(),
                None => continue,
            },
            _ if *octet > 250 => {
                if !matches!(now.state, State::Redeemed { .. }) {
                    now.state = State::Revoked;
                }
                continue;
            }
            _ => key.ask(&[*octet; 16]).to_vec(),
        };
        let reply = match step(&now, 5, &message, &mut rng) {
            Step::Silence(_) => continue,
            Step::Repeat(reply) => reply,
            Step::Answer(next, reply) => {
                assert!(active.is_none(), "a key is given after the code was burnt");
                now = next;
                reply
            }
            Step::Activate(next, kc, reply) => {
                assert!(active.is_none(), "a second key works");
                active = Some(*kc.expose());
                now = next;
                reply
            }
        };
        if let (Reply::Answer(answer), Some(nt)) = (&reply, *nonce)
            && let Some((granted, _)) = key.open_answer(&nt, answer.as_slice())
        {
            *confirm = Some(key.confirm(&granted));
        }
    }
}
