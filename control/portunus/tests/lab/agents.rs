//! `portunus agent` in the laboratory.

use super::{BINARY, Lab, Running, spoken};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

impl Lab {
    /// An agent at `listen` for these phones, which offers one mechanism.
    pub fn agent(&self, name: &str, listen: SocketAddr, mechanism: &str, phones: &[&str]) -> Running {
        let head = format!(
            "lab = true\n[agent]\nserver = \"{}\"\nproxy = \"{}\"\nrealm = \"example.test\"\nlisten = [\"{listen}\"]\n\
             mechanisms = [\"{mechanism}\"]\nsign_of_life = \"1s\"\n",
            self.sip,
            self.proxy_id()
        );
        let phone = |id: &&str| format!("[[agent.phone]]\nid = \"{id}\"\nkey_file = \"subscribers.csv\"\n");
        let text: String = [head].into_iter().chain(phones.iter().map(phone)).collect();
        self.agent_of(name, &text)
    }

    /// Asks a process to end, which it does in order.
    pub fn ends(&self, mut process: Running) {
        let _ = Command::new("kill").args(["-TERM", &process.0.id().to_string()]).status();
        let until = Instant::now() + Duration::from_secs(15);
        while process.0.try_wait().expect("a child can be asked").is_none() {
            assert!(Instant::now() < until, "it does not end");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// An agent with this file.
    pub fn agent_of(&self, name: &str, text: &str) -> Running {
        let (file, log) = (self.path(&format!("{name}.toml")), self.path(&format!("{name}.log")));
        std::fs::write(&file, text).expect("a configuration");
        let errors = std::fs::File::create(&log).expect("a log file");
        let mut child = Command::new(BINARY)
            .args(["agent", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .process_group(0)
            .spawn()
            .expect("the binary starts");
        let told = spoken(child.stdout.take().expect("piped"));
        let running = Running(child);
        match told.recv_timeout(Duration::from_secs(20)) {
            Ok(line) if line.contains("ready") => running,
            other => {
                panic!("no ready line but {other:?}; it logged:\n{}", std::fs::read_to_string(&log).unwrap_or_default())
            }
        }
    }
}
