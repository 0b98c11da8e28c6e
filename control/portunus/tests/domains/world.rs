//! Two domains as processes: each with an authentication centre and softswitches of its own, and one proxy before both.

use crate::lab::certificates::{CLIENT, SERVER, certificates_of};
use crate::lab::free_port;
use crate::lab::line::Line;
use crate::site::Process;
use portunus_keydist::{Key, SystemRandom};
use portunus_signalling::Protocol;
use portunus_terminal::mgcp::Mgcp;
use portunus_terminal::sip::Sip;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The key of the `n`th identity of a domain; nobody else has it.
fn key_hex(domain: &str, n: usize) -> String {
    let seed = domain.bytes().next().unwrap_or(b'x');
    (0..32).map(|at| format!("{:02x}", seed.wrapping_mul(31).wrapping_add(n as u8 * 7 + at as u8))).collect()
}

/// Where everybody is.
pub(crate) struct World {
    folder: tempfile::TempDir,
    pub(crate) sip: SocketAddr,
    pub(crate) mgcp: SocketAddr,
    core: SocketAddr,
    /// The softswitches of a.test and the one of b.test: SIP, MGCP.
    pub(crate) switches: [[SocketAddr; 2]; 3],
    centres: [[SocketAddr; 2]; 2],
    /// Where b.test's centre is asked by a.test's.
    radsec: SocketAddr,
}

const SP_KEY: &str = "e0f9e48309c1b91d8f21a69334c4983ef8087c94a5627f2b8535e73a1222d20d";
/// The key that the two authentication centres share.
const BETWEEN: &str = "5d0f11c6a3b72e98d4c0857f3a6e19b254c8e7d10f92ab3376d85c4e0b9f2a61";
const DOMAINS: [&str; 2] = ["a.test", "b.test"];
const SUBSCRIBERS: usize = 12;

impl World {
    pub(crate) fn plan() -> Self {
        let pair = || [free_port(), free_port()];
        let world = Self {
            folder: tempfile::tempdir().expect("a folder"),
            sip: free_port(),
            mgcp: free_port(),
            core: free_port(),
            switches: [pair(), pair(), pair()],
            centres: [pair(), pair()],
            radsec: free_port(),
        };
        world.write_centres();
        world.write_switches();
        world.write_proxy(world.switches, 1);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("written");
    }

    /// The identity of the `n`th subscriber of a domain; the gateways' have no `@`.
    pub(crate) fn id(domain: usize, n: usize) -> String {
        match n {
            0..9 => format!("u{n}@{}", DOMAINS[domain]),
            9 => format!("guest@{}", DOMAINS[domain]),
            _ => format!("gw{n}.{}", DOMAINS[domain]),
        }
    }

    pub(crate) fn key(domain: usize, n: usize) -> Key {
        let text = key_hex(DOMAINS[domain], n);
        let octet = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("hex");
        Key::new(std::array::from_fn(octet))
    }

    fn write_centres(&self) {
        let ends: [(&str, &str, &[_]); 2] = [("home", "auc.b.test", &[SERVER]), ("visited", "auc.a.test", &[CLIENT])];
        certificates_of(self.folder.path(), &ends);
        self.write("between.key", BETWEEN);
        for (domain, [auth, acct]) in self.centres.iter().enumerate() {
            let subscribers = (0..SUBSCRIBERS)
                .map(|n| format!("{},{}\n", Self::id(domain, n), key_hex(DOMAINS[domain], n)))
                .collect::<String>();
            self.write(
                &format!("keys{domain}.csv"),
                &format!("{subscribers}sp1.test,{SP_KEY}\nauc.a.test,{BETWEEN}\n"),
            );
            let radsec = self.radsec;
            // b.test knows the other centre as a device; a.test asks it for its guests.
            let between = match domain {
                0 => format!(
                    "[[auc.foreign]]\nrealms = [\"b.test\"]\nidentity = \"auc.a.test\"\ncertificate = \"visited.pem\"\n\
                     key = \"visited.key\"\nca = \"ca.pem\"\n[auc.foreign.shared_key]\nfile = \"between.key\"\n\
                     [[auc.foreign.server]]\naddress = \"{radsec}\"\nname = \"auc.b.test\"\n"
                ),
                _ => format!(
                    "[[auc.listen]]\ntransport = \"radsec\"\naddress = \"{radsec}\"\ncertificate = \"home.pem\"\n\
                     key = \"home.key\"\nca = \"ca.pem\"\nclients = [\"auc.a.test\"]\n[[auc.partner]]\n\
                     client = \"auc.a.test\"\ndevice = \"auc.a.test\"\n"
                ),
            };
            self.write(
                &format!("auc{domain}.toml"),
                &format!(
                    "lab = true\n[auc]\nrealms = [\"{}\"]\nstore = \"auc{domain}.redb\"\naudit_log = \"audit{domain}\"\n\
                     import = \"keys{domain}.csv\"\ndevices = [\"sp1.test\", \"auc.a.test\"]\n[auc.master_key]\n\
                     file = \"master{domain}\"\ncreate = true\n[[auc.listen]]\ntransport = \"udp\"\naddress = \"{auth}\"\n\
                     accounting = \"{acct}\"\n[[auc.listen.client]]\naddress = \"127.0.0.1\"\nsecret = \"between-domains\"\n\
                     {between}",
                    DOMAINS[domain]
                ),
            );
        }
    }

    fn write_switches(&self) {
        for (n, [sip, mgcp]) in self.switches.iter().enumerate() {
            let domain = usize::from(n == 2);
            // Those of a.test ask their own centre for guests too, which gets their keys from home; that of b.test asks
            // each centre itself.
            let realms = match domain {
                0 => [&DOMAINS[..], &[]],
                _ => [&DOMAINS[..1], &DOMAINS[1..]],
            };
            let servers = self.centres.iter().zip(realms).filter(|(_, realms)| !realms.is_empty());
            let servers = servers.map(|([auth, acct], realms)| {
                format!(
                    "[[softswitch.aaa.server]]\naddress = \"{auth}\"\naccounting = \"{acct}\"\n\
                     secret = \"between-domains\"\nrealms = {realms:?}\n"
                )
            });
            let others = (0..3).filter(|other| *other != n).map(|other| {
                let [address, _] = self.switches[other];
                let domain = DOMAINS[usize::from(other == 2)];
                format!("[[softswitch.neighbour]]\naddress = \"{address}\"\ndomains = [\"{domain}\"]\n")
            });
            let text = format!(
                "lab = true\n[softswitch]\nidentity = \"ss{n}.test\"\nrealm = \"{}\"\nlisten = \"{sip}\"\n\
                 listen_mgcp = \"{mgcp}\"\n[[softswitch.peer]]\naddress = \"127.0.0.1:0\"\nidentities = [\"sp1.test\"]\n\
                 {}[softswitch.aaa]\ntransport = \"udp\"\npatience = \"1500ms\"\n{}",
                DOMAINS[domain],
                others.collect::<String>(),
                servers.collect::<String>(),
            );
            self.write(&format!("ss{n}.toml"), &text);
        }
    }

    /// The proxy, with these softswitches (or what stands before them) and so many workers.
    pub(crate) fn write_proxy(&self, switches: [[SocketAddr; 2]; 3], workers: usize) {
        let [[a1, a1m], [a2, a2m], [b, bm]] = switches;
        let (sip, mgcp, core, sealed) = (self.sip, self.mgcp, self.core, free_port());
        self.write("sp1.key", SP_KEY);
        let text = format!(
            "lab = true\n[proxy]\nidentity = \"sp1.test\"\nrealm = \"a.test\"\nrealms = [\"b.test\"]\nworkers = {workers}\n[proxy.key]\n\
             file = \"sp1.key\"\n[proxy.core]\nlisten = \"{core}\"\nsoftswitches = [\"{a1}\", \"{a2}\"]\n\
             call_agents = [\"{a1m}\", \"{a2m}\"]\nsilent_after = \"500ms\"\n\
             [[proxy.core.route]]\nrealm = \"b.test\"\nprefix = \"guest\"\nsoftswitches = [\"{a1}\", \"{a2}\"]\n\
             [[proxy.core.route]]\nrealm = \"b.test\"\nsoftswitches = [\"{b}\"]\ncall_agents = [\"{bm}\"]\n\
             [[proxy.listener]]\nprotocol = \"sip\"\naddress = \"{sip}\"\n[[proxy.listener]]\nprotocol = \"mgcp\"\n\
             address = \"{mgcp}\"\n[proxy.sealed]\naddress = \"{sealed}\"\n[proxy.policy]\ncore_timeout = \"3s\"\n\
             [proxy.capacity]\nsessions = 1000\n"
        );
        self.write("proxy.toml", &text);
    }

    /// Starts a role.
    pub(crate) fn start(&self, name: &str) -> Process {
        Process::start("run", self.path(&format!("{name}.toml")), self.path(&format!("{name}.log")))
    }

    /// A SIP terminal that begins to register.
    pub(crate) fn line(&self, domain: usize, n: usize) -> Line<Sip> {
        let (id, key) = (Self::id(domain, n), Self::key(domain, n));
        Line::start(Protocol::Sip, self.sip, "sp1.test", (&id, &key), Sip::new(&mut SystemRandom::new()))
    }

    /// A media gateway that begins to register.
    pub(crate) fn gateway(&self, domain: usize, n: usize) -> Line<Mgcp> {
        let (id, key) = (Self::id(domain, n), Self::key(domain, n));
        Line::start(Protocol::Mgcp, self.mgcp, "sp1.test", (&id, &key), Mgcp::new(1, &mut SystemRandom::new()))
    }
}
