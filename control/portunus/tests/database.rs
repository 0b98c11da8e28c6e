//! Two AuC nodes as processes, PostgreSQL as their system of record: what is provisioned at one is answered by the other,
//! and while the database is dead terminals register, nodes die and start, and provisioning says why it cannot.

mod lab;
#[path = "../../auc/tests/server/mod.rs"]
mod server;
#[path = "outages/site.rs"]
mod site;

use lab::{Report, bounded, free_port};
use server::{PASSWORD, Server};
use site::{Process, Site, identity};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

struct Estate {
    site: Site,
    server: Server,
    nodes: [[SocketAddr; 2]; 2],
}

impl Estate {
    fn plan() -> Self {
        let estate = Self {
            site: Site::plan(8),
            server: Server::start(),
            nodes: [[free_port(), free_port()], [free_port(), free_port()]],
        };
        estate.site.key_file("database.password", 0o600);
        std::fs::write(estate.file("database.password"), PASSWORD).expect("a password");
        (0..2).for_each(|n| estate.site.rewrite(Self::name(n), &estate.node_text(n)));
        estate
    }

    const fn name(n: usize) -> &'static str {
        ["auc1", "auc2"][n]
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.site.file("auc1").with_file_name(name)
    }

    fn node_text(&self, n: usize) -> String {
        let (port, ca) = (self.server.port, self.server.file("ca.pem"));
        let ca = ca.display();
        let database = format!(
            r#"[auc.database]
servers = ["localhost:{port}"]
secret_file = "database.password"
ca = "{ca}"
timeout = "3s"
poll = "1s""#
        );
        Site::auc_text(&format!("node{n}/"), self.nodes[n], &database)
    }

    fn node(&self, n: usize) -> Process {
        self.site.start(Self::name(n), &self.node_text(n))
    }

    /// `portunus ... --config` of a node.
    fn command(&self, n: usize, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portunus"));
        command.args(args).arg("--config").arg(self.site.file(Self::name(n)));
        command
    }

    fn portunus(&self, n: usize, args: &[&str]) -> Report {
        bounded(&mut self.command(n, args), Duration::from_secs(30))
    }

    fn done(&self, n: usize, args: &[&str]) -> String {
        let report = self.portunus(n, args);
        assert!(report.ok, "{args:?}: {}", report.text);
        report.text
    }

    fn add(&self, n: usize, id: &str) -> Report {
        self.portunus(n, &["key", "add", "--id", id, "--out", &self.file(id).display().to_string()])
    }

    fn register(&self, id: &str, key: &Path) -> Report {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portunus"));
        command.args(["register", "--protocol", "sip", "--server", &self.site.sip.to_string(), "--id", id]);
        command.args(["--proxy-id", "sp1.example.test", "--limit", "20", "--key-file"]).arg(key);
        bounded(&mut command, Duration::from_secs(25))
    }

    fn registers(&self, n: u32) {
        let report = self.register(&identity(n), &self.file("subscribers.csv"));
        assert!(report.ok, "{n}: {}", report.text);
    }
}

fn within(limit: Duration, what: &str, mut so: impl FnMut() -> bool) {
    let until = Instant::now() + limit;
    while !so() {
        assert!(Instant::now() < until, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

const SOON: Duration = Duration::from_secs(30);
/// Identities that are imported while a node dies.
const MANY: u64 = 5_000;

#[test]
fn a_dead_database_stops_provisioning_and_nothing_else() {
    let mut estate = Estate::plan();
    let refused = estate.site.try_to_run("auc1");
    assert!(refused.0 == Some(4) && refused.1.contains("portunus store migrate"), "{refused:?}");
    assert!(estate.done(0, &["store", "migrate"]).contains("the estate's now"));
    let csv = estate.file("subscribers.csv").display().to_string();
    assert!(estate.done(0, &["key", "import", "--csv", &csv]).contains("10 added"));

    let [one, two] = [0, 1].map(|n| estate.node(n));
    assert!(two.ready.contains("replica at change 10"), "{}", two.ready);
    let log = two.log();
    assert!(log.contains("file system fenced") || log.contains("no landlock"), "it is confined, and follows: {log}");
    // It asks the first node, and the second when that is gone.
    let (_softswitch, _proxy) = (estate.site.softswitch_asking(&estate.nodes), estate.site.proxy());
    estate.registers(0);
    let report = estate.add(1, "new@example.test");
    assert!(report.ok, "{}", report.text);
    within(SOON, "the new key at the first node", || one.counters()["auc"]["database"]["changes"] == 11);
    assert!(estate.register("new@example.test", &estate.file("new@example.test")).ok);

    // A node dies while it takes over, and has everything when it is back.
    let rows: String = (0..MANY).map(|n| format!("m{n}@example.test,{}\n", "5a".repeat(32))).collect();
    std::fs::write(estate.file("many.csv"), rows).expect("rows");
    let many = estate.file("many.csv").display().to_string();
    let mut import = estate.command(0, &["key", "import", "--csv", &many]);
    let mut import = import.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    within(SOON, "some of many", || two.counters()["auc"]["database"]["changes"].as_u64() > Some(11));
    two.kill();
    assert!(import.wait().expect("it ends").success());
    let two = estate.node(1);
    let all = 11 + MANY;
    for node in [&one, &two] {
        within(SOON, "the rest of many", || node.counters()["auc"]["database"]["changes"] == all);
    }
    assert!(estate.done(1, &["store", "verify"]).contains(&format!("{all} identities are the same here")));

    estate.server.kill();
    estate.registers(1);
    let refused = estate.add(0, "late@example.test");
    assert_eq!(refused.code, Some(4), "{}", refused.text);
    assert!(
        refused.text.contains("nothing was changed") && refused.text.contains("register as before"),
        "{}",
        refused.text
    );
    assert!(!estate.file("late@example.test").exists(), "no key is left of what was refused");
    within(SOON, "that it is missed", || one.counters()["auc"]["database"]["reached"] == false);
    // The node that is asked dies, and the other one answers; then one starts that has only its replica.
    one.kill();
    estate.registers(2);
    let one = estate.node(0);
    assert!(one.ready.contains(&format!("replica at change {all}, even")), "{}", one.ready);
    two.kill();
    estate.registers(3);

    estate.server.run();
    within(SOON, "provisioning", || estate.add(0, "late@example.test").ok);
    within(SOON, "that it is made up", || one.counters()["auc"]["database"]["changes"] == all + 1);
    assert!(estate.register("late@example.test", &estate.file("late@example.test")).ok);
    let two = estate.node(1);
    within(SOON, "the other one too", || two.counters()["auc"]["database"]["reached"] == true);
    let same = format!("{} identities are the same here", all + 1);
    for n in [0, 1] {
        assert!(estate.done(n, &["store", "verify"]).contains(&same));
    }
    assert!(estate.done(1, &["key", "list"]).contains("late@example.test"));

    // The master key is replaced and everything sealed anew, under the nodes' feet.
    let next = estate.file("next.key").display().to_string();
    assert!(estate.done(0, &["store", "master", "admit", "--next", &next]).contains("opens the store too"));
    assert!(estate.done(0, &["store", "master", "retire"]).contains("retired: 1"));
    assert!(estate.done(0, &["store", "reseal"]).contains(&format!("{} records sealed anew", all + 1)));
    within(SOON, "all sealed anew", || two.counters()["auc"]["database"]["changes"] == 2 * (all + 1));
    within(SOON, "all sealed anew", || one.counters()["auc"]["database"]["changes"] == 2 * (all + 1));
    estate.registers(4);
    assert!(estate.done(1, &["store", "verify"]).contains(&same));
    assert!(one.terminate().success() && two.terminate().success());
}

/// A request in clear, as a laboratory may: the status, and what was answered.
fn ask(api: SocketAddr, token: &str, line: &str, more: &str, body: &str) -> (String, String) {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(api).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    let request = format!(
        "{line} HTTP/1.1\r\nHost: auc\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Connection: close\r\n{more}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    (answer.split(' ').nth(1).unwrap_or_default().to_owned(), answer)
}

#[test]
fn what_is_given_over_http_or_for_a_code_is_in_the_database_and_tokens_outlive_a_reseal() {
    let mut estate = Estate::plan();
    let (api, codes) = (free_port(), free_port());
    assert!(estate.done(0, &["store", "migrate"]).contains("the estate's now"));
    let beside = format!("[auc.api]\naddress = \"{api}\"\n[auc.redeem]\naddress = \"{codes}\"\n");
    let one = estate.site.start("auc1", &(estate.node_text(0) + &beside));
    let added = estate.done(0, &["token", "add", "--name", "ops", "--scope", "subscribers:read,subscribers:write"]);
    let token = added.lines().find(|l| l.starts_with("ptk_")).expect("a token").to_owned();
    let at = "/v1/subscribers/http@example.test";
    let (status, put) = ask(api, &token, &format!("PUT {at}"), "", "{}");
    assert_eq!(status, "201", "{put}");
    let tag = |answer: &str| {
        let line = answer.lines().find(|l| l.to_ascii_lowercase().starts_with("etag: ")).expect("a version");
        format!("If-Match: {}\r\n", &line[6..])
    };
    let rotate = format!("POST {at}/rotate");
    let (status, rotated) = ask(api, &token, &rotate, &tag(&put), "{\"overlap_ms\":60000}");
    assert_eq!(status, "200", "{rotated}");
    assert_eq!(ask(api, &token, &rotate, &tag(&put), "{}").0, "412");
    // A code becomes a key in the database, and every node has it.
    let (file, key) = (estate.file("codes.csv"), estate.file("code.key"));
    let issued = ["code", "issue", "--prefix", "t", "--realm", "example.test", "--out", &file.display().to_string()];
    estate.done(0, &issued);
    let mut redeem = Command::new(env!("CARGO_BIN_EXE_portunus"));
    redeem.args(["redeem", "--server", &codes.to_string(), "--code"]).arg(&file).arg("--out").arg(&key);
    let report = bounded(&mut redeem, Duration::from_secs(45));
    assert!(report.ok, "{}", report.text);
    let listed = estate.done(1, &["key", "list"]);
    assert!(listed.contains("http@example.test") && listed.contains("t000001@example.test"), "{listed}");
    // Everything in the database is sealed anew; what is the node's own goes on opening.
    assert!(estate.done(0, &["store", "reseal"]).contains("2 records sealed anew"));
    within(SOON, "all sealed anew", || one.counters()["auc"]["database"]["changes"] == 5);
    let (status, got) = ask(api, &token, &format!("GET {at}"), "", "");
    assert_eq!(status, "200", "{got}");
    assert!(estate.done(0, &["store", "verify"]).contains("2 identities are the same here"));
    // Without the database the interface says so, and nothing is changed.
    estate.server.kill();
    let (status, refused) = ask(api, &token, "PUT /v1/subscribers/late@example.test", "", "{}");
    assert!(status == "503" && refused.contains("nothing was changed"), "{refused}");
    assert!(one.terminate().success());
}
