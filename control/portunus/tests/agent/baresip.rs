//! baresip, unmodified: a phone that nobody here wrote, told nothing but its account and its outbound proxy.

// Each test binary uses its own part of this.
#![allow(dead_code)]

use super::lab::free_port;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Where the package has its modules, in the order in which they are looked for.
const MODULES: [&str; 3] = ["/usr/lib/baresip/modules", "/usr/lib64/baresip/modules", "/usr/local/lib/baresip/modules"];

/// A running baresip; it ends when dropped.
pub(crate) struct Baresip {
    child: Child,
    said: Arc<Mutex<String>>,
    control: SocketAddr,
    // Its configuration lies here.
    _folder: tempfile::TempDir,
}

/// Thirty seconds of 440 Hz, 8 kHz, 16 bits: what the phone's user says.
fn tone() -> Vec<u8> {
    let samples = (0..240_000).map(|n| ((f64::from(n) * 440.0 / 8_000.0 * core::f64::consts::TAU).sin() * 8e3) as i16);
    let data: Vec<u8> = samples.flat_map(i16::to_le_bytes).collect();
    let mut wav = b"RIFF".to_vec();
    wav.extend((36 + data.len() as u32).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend(8_000u32.to_le_bytes());
    wav.extend(16_000u32.to_le_bytes());
    wav.extend(b"\x02\0\x10\0data");
    wav.extend((data.len() as u32).to_le_bytes());
    wav.extend(data);
    wav
}

impl Baresip {
    /// A phone of this identity beside the agent at `agent`; it answers every call where `answers`.
    pub(crate) fn start(id: &str, agent: SocketAddr, answers: bool) -> Self {
        Self::with(id, agent, answers, "")
    }

    /// As [`Baresip::start`], with a password, at whatever is its outbound proxy.
    pub(crate) fn with_password(id: &str, proxy: SocketAddr, answers: bool, password: &str) -> Self {
        Self::with(id, proxy, answers, &format!(";auth_user={id};auth_pass={password}"))
    }

    fn with(id: &str, agent: SocketAddr, answers: bool, more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (path, control) = (folder.path(), free_port());
        let modules = MODULES.into_iter().find(|m| Path::new(m).is_dir()).expect("baresip's modules");
        let wav = path.join("tone.wav");
        std::fs::write(&wav, tone()).expect("a tone");
        let config = format!(
            "sip_listen 127.0.0.1:0\nnet_interface 127.0.0.1\naudio_source aufile,{}\nmodule_path {modules}\n\
             module g711.so\nmodule aufile.so\nmodule_tmp account.so\nmodule_app menu.so\nmodule_app ctrl_tcp.so\n\
             ctrl_tcp_listen {control}\n",
            wav.display()
        );
        std::fs::write(path.join("config"), config).expect("its configuration");
        let mode = if answers { "auto" } else { "manual" };
        let account =
            format!("<sip:{id}>;outbound=\"sip:{agent}\";regint=60;audio_codecs=pcmu;answermode={mode}{more}\n");
        std::fs::write(path.join("accounts"), account).expect("its account");
        std::fs::write(path.join("contacts"), "").expect("its contacts");
        let mut child = Command::new("baresip")
            .args(["-4", "-t", "60", "-f"])
            .arg(path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("baresip starts");
        let said = Arc::new(Mutex::new(String::new()));
        let (mut out, heard) = (child.stdout.take().expect("piped"), Arc::clone(&said));
        std::thread::spawn(move || {
            let mut room = [0u8; 4_096];
            while let Ok(n @ 1..) = out.read(&mut room) {
                *heard.lock().expect("no panic under it") += &String::from_utf8_lossy(&room[..n]);
            }
        });
        Self { child, said, control, _folder: folder }
    }

    /// Waits until it has said this.
    pub(crate) fn until(&self, what: &str) {
        let began = Instant::now();
        loop {
            let said = self.said.lock().expect("no panic under it").clone();
            if said.contains(what) {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "no {what:?} but:\n{said}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Gives it a command: one of its own words, in JSON in a netstring.
    pub(crate) fn does(&self, command: &str, params: &str) {
        let json = serde_json::json!({ "command": command, "params": params }).to_string();
        let mut control = TcpStream::connect(self.control).expect("its control port");
        control.write_all(format!("{}:{json},", json.len()).as_bytes()).expect("a command");
        control.set_read_timeout(Some(Duration::from_secs(5))).expect("a time");
        let mut room = [0u8; 4_096];
        assert!(matches!(control.read(&mut room), Ok(1..)), "no answer to {command}");
    }
}

impl Drop for Baresip {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
