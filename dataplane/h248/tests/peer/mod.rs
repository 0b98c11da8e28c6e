//! The megaco application of Erlang/OTP, in one process for all messages of a test.
#![allow(dead_code, unreachable_pub)]

use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What the peer is asked; see the script.
#[derive(Debug, Clone, Copy)]
pub enum Ask {
    Decode = 1,
    Check = 2,
    DecodeBinary = 3,
    Encode = 4,
    EncodeBinary = 5,
}

/// The running peer.
#[derive(Debug)]
pub struct Megaco {
    child: Child,
    to: Option<BufWriter<ChildStdin>>,
    from: BufReader<ChildStdout>,
}

/// The peer's two encodings of one message.
#[derive(Debug, Clone)]
pub struct Encoded {
    pub compact: Vec<u8>,
    pub pretty: Vec<u8>,
}

impl Megaco {
    pub fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/megaco.escript");
        let child = Command::new("escript").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child =
            child.unwrap_or_else(|e| panic!("escript is needed for this test (package erlang-megaco): {e}"));
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, to: Some(BufWriter::new(to)), from: BufReader::new(from) }
    }

    /// One question and its answer.
    pub fn ask(&mut self, what: Ask, octets: &[u8]) -> Result<Vec<u8>, String> {
        let to = self.to.as_mut().unwrap();
        to.write_all(&(octets.len() as u32 + 1).to_be_bytes()).unwrap();
        to.write_all(&[what as u8]).unwrap();
        to.write_all(octets).unwrap();
        to.flush().unwrap();
        let mut len = [0; 4];
        self.from.read_exact(&mut len).expect("the peer answers");
        let mut answer = vec![0; u32::from_be_bytes(len) as usize];
        self.from.read_exact(&mut answer).expect("the peer answers");
        let status = answer.remove(0);
        if status == 0 { Ok(answer) } else { Err(String::from_utf8_lossy(&answer).into_owned()) }
    }

    /// Decodes and encodes again.
    pub fn again(&mut self, what: Ask, octets: &[u8]) -> Result<Encoded, String> {
        let both = self.ask(what, octets)?;
        let mut halves = both.splitn(2, |c| *c == 0);
        let (compact, pretty) = (halves.next().unwrap().to_vec(), halves.next().unwrap().to_vec());
        Ok(Encoded { compact, pretty })
    }
}

impl Drop for Megaco {
    fn drop(&mut self) {
        // End of input ends it.
        self.to = None;
        _ = self.child.wait();
    }
}
