//! Peers of H.248: Erlang/OTP's.

use super::{PEERS, spoken};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// A media gateway controller, or a media gateway, of Erlang/OTP's megaco application; see their scripts.
pub struct Controller {
    child: Child,
    said: Receiver<String>,
    /// Everything that it said so far.
    pub lines: Vec<String>,
}

impl Drop for Controller {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

impl Controller {
    pub fn start(at: SocketAddr) -> Self {
        let mut controller = Self::script("controller.escript", &[&at.port().to_string()]);
        controller.until("listening", Duration::from_secs(20), || ());
        controller
    }

    /// A media gateway at `at` whose controller is at `controller`.
    pub fn gateway(id: &str, at: SocketAddr, controller: SocketAddr) -> Self {
        Self::script("gateway.escript", &[id, &at.port().to_string(), &controller.port().to_string()])
    }

    /// True once it has said this.
    pub fn heard(&mut self, line: &str) -> bool {
        self.lines.extend(self.said.try_iter());
        self.lines.iter().any(|said| said == line)
    }

    /// Tells it something.
    pub fn tell(&mut self, line: &str) {
        use std::io::Write as _;
        let input = self.child.stdin.as_mut().expect("piped");
        writeln!(input, "{line}").and_then(|()| input.flush()).expect("it reads");
    }

    /// Ends it without a word to anybody.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn script(name: &str, args: &[&str]) -> Self {
        let mut child = Command::new("escript")
            .arg(Path::new(PEERS).join(name))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("escript starts");
        let said = spoken(child.stdout.take().expect("piped"));
        Self { child, said, lines: Vec::new() }
    }

    /// Waits until it has said this, with `meanwhile` called again and again.
    pub fn until(&mut self, line: &str, limit: Duration, mut meanwhile: impl FnMut()) {
        let until = Instant::now() + limit;
        while !self.lines.iter().any(|said| said == line) {
            assert!(Instant::now() < until, "the controller never said `{line}` but {:#?}", self.lines);
            meanwhile();
            self.lines.extend(self.said.recv_timeout(Duration::from_millis(10)));
        }
        assert!(!self.lines.iter().any(|said| said.starts_with("trouble")), "{:#?}", self.lines);
    }
}
