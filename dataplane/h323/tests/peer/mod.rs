//! The ASN.1 runtime pycrate, in one process for all messages of a test.
#![allow(dead_code, unreachable_pub)]

pub mod outline;

use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// What the peer is asked; see the script.
#[derive(Debug, Clone, Copy)]
pub enum Ask {
    Again = 1,
    Decode = 2,
    Encode = 3,
    EncodePlain = 4,
    MakeUp = 5,
    Read = 6,
}

/// The running peer.
#[derive(Debug)]
pub struct Pycrate {
    to: BufWriter<ChildStdin>,
    from: BufReader<ChildStdout>,
    _child: Child,
}

/// What the peer makes of a message.
#[derive(Debug, Clone)]
pub struct Again {
    /// As it encodes it.
    pub plain: Vec<u8>,
    /// As it does with its fault mended; see the script.
    pub mended: Vec<u8>,
    /// The value, as JSON.
    pub value: serde_json::Value,
}

fn unhex(digits: &str) -> Vec<u8> {
    digits.as_bytes().chunks(2).map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}

impl Pycrate {
    /// The one of this process; it ends when the process does, and so closes its input.
    pub fn shared() -> MutexGuard<'static, Self> {
        static SHARED: LazyLock<Mutex<Pycrate>> = LazyLock::new(|| Mutex::new(Pycrate::start()));
        SHARED.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pycrate.py");
        let child = Command::new("python3").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|e| panic!("python3 is needed for this test: {e}"));
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { to: BufWriter::new(to), from: BufReader::new(from), _child: child }
    }

    /// One question and its answer.
    pub fn ask(&mut self, what: Ask, octets: &[u8]) -> Result<Vec<u8>, String> {
        const NEEDED: &str = "pycrate answers (this test needs it: python3 -m pip install pycrate)";
        let to = &mut self.to;
        to.write_all(&(octets.len() as u32 + 1).to_be_bytes()).expect(NEEDED);
        to.write_all(&[what as u8]).expect(NEEDED);
        to.write_all(octets).expect(NEEDED);
        to.flush().expect(NEEDED);
        let mut len = [0; 4];
        self.from.read_exact(&mut len).expect(NEEDED);
        let mut answer = vec![0; u32::from_be_bytes(len) as usize];
        self.from.read_exact(&mut answer).expect(NEEDED);
        let status = answer.remove(0);
        if status == 0 { Ok(answer) } else { Err(String::from_utf8_lossy(&answer).into_owned()) }
    }

    /// Decodes and encodes again.
    pub fn again(&mut self, octets: &[u8]) -> Result<Again, String> {
        let all = self.ask(Ask::Again, octets)?;
        let text = String::from_utf8(all).unwrap();
        let mut lines = text.splitn(3, '\n');
        let (plain, mended) = (unhex(lines.next().unwrap()), unhex(lines.next().unwrap()));
        Ok(Again { plain, mended, value: serde_json::from_str(lines.next().unwrap()).unwrap() })
    }

    /// The value of a message.
    pub fn decode(&mut self, octets: &[u8]) -> Result<serde_json::Value, String> {
        let value = self.ask(Ask::Decode, octets)?;
        // Half of a surrogate pair is no text; the peer passes it on.
        serde_json::from_str(&String::from_utf8_lossy(&value)).map_err(|e| e.to_string())
    }

    /// A message that the peer makes up.
    pub fn made_up(&mut self, seed: usize) -> Vec<u8> {
        self.ask(Ask::MakeUp, &seed.to_be_bytes()).unwrap_or_else(|e| panic!("{e}: seed {seed}"))
    }

    /// A message of this value.
    pub fn encode(&mut self, value: &serde_json::Value) -> Vec<u8> {
        self.ask(Ask::Encode, value.to_string().as_bytes()).unwrap_or_else(|e| panic!("{e}\n{value}"))
    }
}
