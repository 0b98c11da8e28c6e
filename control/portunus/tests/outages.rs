//! Bad days over real processes and sockets: loss, a proxy that dies, an AuC that is away, files that are wrong.
//!
//! Waits are shortened where a default would outlast a test (signs of life every 2 s instead of 30 s, given up after
//! 4 s instead of 32 s, Retry-After from 2 to 8 s, repetitions under loss twice as fast); the simulator has the same
//! days with the defaults.

mod lab;
#[path = "outages/relay.rs"]
mod relay;
#[path = "outages/site.rs"]
mod site;

use lab::free_port;
use portunus_keydist::timing::Repeat;
use portunus_terminal::fleet::Arrivals;
use portunus_terminal::sip::Failure;
use relay::{Question, Relay};
use site::{Crowd, Plan, Site, identity};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// One site at a time: what is measured in seconds wants the machine for itself.
static ALONE: Mutex<()> = Mutex::new(());

/// Timer E of RFC 3261 with T1 250 ms and T2 1 s. With T1 500 ms and T2 4 s all 200 are active too, but the unluckiest
/// one only after half a minute and more.
const SOONER: Repeat = Repeat { gaps_ms: &[250, 500, 1_000], give_up_ms: 32_000 };

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Another loopback address with the same port: a terminal is told the sealed port, not its address.
fn beside(address: SocketAddr) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 2], address.port()))
}

#[test]
fn with_30_percent_lost_each_way_every_terminal_registers() {
    const TERMINALS: u32 = 200;
    let _alone = ALONE.lock();
    let site = Site::plan(TERMINALS);
    let _roles = (site.auc(), site.softswitch(), site.proxy());
    let server = beside(site.sip);
    let relay = Relay::start(&[(server, site.sip), (beside(site.sealed), site.sealed)], 300, 0x0b5e_55ed);
    let plan = Plan {
        server,
        first: 0,
        count: TERMINALS,
        arrivals: Arrivals::Steady(200.0),
        right_key: true,
        repeat: SOONER,
        probe_ms: 0,
    };
    let crowd = Crowd::start(&plan);
    let all = |c: &site::Standing| c.result.all_active();
    let took = crowd.until("all registered in spite of loss", s(38), all);
    let standing = crowd.standing();
    let (lost, passed) = (relay.tally.lost.load(Ordering::Relaxed), relay.tally.forwarded.load(Ordering::Relaxed));
    let share = lost as f64 / (lost + passed) as f64;
    println!(
        "loss: {TERMINALS} of {TERMINALS} active after {took:.1?} with {:.1} % of {} datagrams lost; {} repeated, failures {:?}, half active after {:.1} s, 99 % after {:.1} s",
        share * 100.0,
        lost + passed,
        standing.result.retransmissions,
        standing.result.failures,
        standing.result.active_us.value_at_quantile(0.5) as f64 / 1e6,
        standing.result.active_us.value_at_quantile(0.99) as f64 / 1e6,
    );
    assert!((0.25..0.35).contains(&share), "the network was not as bad as it should be: {share}");
}

#[test]
fn terminals_of_a_killed_proxy_come_back_by_themselves() {
    const TERMINALS: u32 = 200;
    let _alone = ALONE.lock();
    let site = Site::plan(TERMINALS);
    let _core = (site.auc(), site.softswitch());
    let proxy = site.proxy();
    let plan = Plan {
        server: site.sip,
        first: 0,
        count: TERMINALS,
        arrivals: Arrivals::Steady(200.0),
        right_key: true,
        repeat: Repeat::SIP_UDP,
        probe_ms: 2_000,
    };
    let crowd = Crowd::start(&plan);
    crowd.until("all active", s(10), |c| c.active == TERMINALS as usize);
    let before = crowd.standing().activations;
    assert_eq!(before, u64::from(TERMINALS), "nobody needed a second session yet");
    proxy.kill();
    std::thread::sleep(s(1));
    let _proxy = site.proxy();
    let back = |c: &site::Standing| c.active == TERMINALS as usize && c.activations >= 2 * before;
    let took = crowd.until("all back at the new proxy", s(25), back);
    // Their new sessions carry traffic: nobody loses one while signs of life go to and fro.
    let lost = crowd.standing().failed("lost");
    std::thread::sleep(s(5));
    let standing = crowd.standing();
    println!(
        "proxy killed for 1 s: {TERMINALS} of {TERMINALS} active again {took:.1?} after its restart; failures {:?}",
        standing.result.failures
    );
    assert_eq!((standing.active, standing.failed("lost")), (TERMINALS as usize, lost));
}

/// The most questions within one second.
fn busiest(questions: &[Question]) -> usize {
    let within = |from: &Question| questions.iter().filter(|q| q.at >= from.at && q.at - from.at < s(1)).count();
    questions.iter().map(within).max().unwrap_or(0)
}

#[test]
fn an_auc_away_under_load_admits_nobody_ends_nothing_and_is_not_stormed() {
    const OLD: u32 = 100;
    const NEW: u32 = 150;
    const FALSE: u32 = 30;
    let _alone = ALONE.lock();
    let mut site = Site::plan(OLD + NEW + FALSE);
    // The AuC's machine is away with it: nobody there says that a port is closed.
    site.asked = [free_port(), free_port()];
    let [ask, account] = [0, 1].map(|n| (site.asked[n], site.radius[n]));
    let relay = Relay::start(&[ask, account], 0, 1);
    let auc = site.auc();
    let _behind = (site.softswitch(), site.proxy());
    let plan = |first, count, rate, right_key| Plan {
        server: site.sip,
        first,
        count,
        arrivals: Arrivals::Steady(rate),
        right_key,
        repeat: Repeat::SIP_UDP,
        probe_ms: 1_000,
    };
    let old = Crowd::start(&plan(0, OLD, 100.0, true));
    old.until("the old ones active", s(10), |c| c.active == OLD as usize);

    // New ones keep coming, 25 a second; the AuC dies amid them.
    let new = Crowd::start(&plan(OLD, NEW, 25.0, true));
    new.until("some new ones active", s(5), |c| c.result.active >= 20);
    auc.kill();
    let wrong = Crowd::start(&plan(OLD + NEW, FALSE, 30.0, false));
    // Who was challenged before may still finish.
    std::thread::sleep(Duration::from_millis(500));
    let (admitted, heard) = (new.standing().result.registered, old.standing().result.packets_received);
    std::thread::sleep(s(9));
    let (news, olds, wrongs) = (new.standing(), old.standing(), wrong.standing());
    println!(
        "AuC away for 9.5 s: {admitted} new ones before, {} after it; {:?} among the new, {:?} among the false; {OLD} old ones heard {} answers, failures {:?}",
        news.result.registered,
        news.result.failures,
        wrongs.result.failures,
        olds.result.packets_received - heard,
        olds.result.failures
    );
    assert_eq!(news.result.registered, admitted, "nobody is admitted while the AuC is away");
    assert_eq!(wrongs.result.registered, 0);
    let waiting = NEW - admitted;
    assert!(news.failed("busy") >= waiting, "every new one heard 503: {:?}", news.result.failures);
    assert!(wrongs.failed("busy") >= FALSE, "and every false one: {:?}", wrongs.result.failures);
    let Some(Failure::Busy { retry_after_s }) = news.result.last_failure else {
        panic!("{:?}", news.result.last_failure)
    };
    assert!((2..=8).contains(&retry_after_s), "Retry-After {retry_after_s}");
    assert_eq!((olds.active, olds.result.failures.len()), (OLD as usize, 0), "active sessions stay");
    // A sign of life about every second from each, through proxy and softswitch.
    assert!(olds.result.packets_received - heard >= u64::from(OLD) * 5);

    let asked = relay.tally.questions().len();
    let restarted = Instant::now();
    let _auc = site.auc();
    new.until("the new ones active", s(20), |c| c.active == NEW as usize);
    let took = restarted.elapsed();
    let after: Vec<Question> = relay.tally.questions().into_iter().skip(asked).collect();
    let peak = busiest(&after);
    let of_new: Vec<&str> =
        after.iter().map(|q| q.user.as_str()).filter(|u| *u < identity(OLD + NEW).as_str()).collect();
    let wrongs = wrong.standing();
    println!(
        "AuC back: {waiting} waiting ones active after {took:.1?}, for which it was asked {} times; {} times for {FALSE} false ones; at most {peak} times within a second; false ones {:?}",
        of_new.len(),
        after.len() - of_new.len(),
        wrongs.result.failures
    );
    assert_eq!((wrongs.result.registered, old.standing().active), (0, OLD as usize));
    // Each waiting one asks once; one more each is borne, for a question that died with the AuC.
    assert!(of_new.len() <= 2 * waiting as usize, "{} questions", of_new.len());
    assert!(of_new.iter().all(|u| *u >= identity(OLD).as_str()), "an old one had to register anew");
    // Questions that wait at the softswitch (3.5 s) are asked together, the others as their Retry-After spread them: no
    // second sees them all.
    assert!(peak <= (waiting + FALSE) as usize * 2 / 3, "{peak} questions within a second");
}

#[test]
fn a_process_says_what_it_does_with_signals_and_files() {
    let _alone = ALONE.lock();
    let site = Site::plan(1);
    let (auc, softswitch, proxy) = (site.auc(), site.softswitch(), site.proxy());
    let crowd = Crowd::start(&Plan {
        server: site.sip,
        first: 0,
        count: 1,
        arrivals: Arrivals::Window(1),
        right_key: true,
        repeat: Repeat::SIP_UDP,
        probe_ms: 500,
    });
    crowd.until("active", s(5), |c| c.active == 1);
    // Two mistakes: both are told, with their places, and nothing changes.
    let good = site.config("proxy");
    let wrong = good.replace("sessions = 5000", "sessions = \"many\"\nsesions = 1\n[log]\nlevel = \"debug\"");
    site.rewrite("proxy", &wrong);
    proxy.hang_up();
    assert_eq!(proxy.line(), "portunus not reloaded: 2 mistakes, the running configuration is untouched");
    let log = proxy.log();
    assert!(log.contains("proxy.capacity.sessions") && log.contains("did you mean `sessions`?"), "{log}");
    // A second look at the same file, as `check` has it.
    let checked = site.check("proxy");
    assert_eq!(checked.0, Some(3), "{}", checked.1);
    assert!(checked.1.contains("proxy.toml:") && checked.1.lines().count() >= 2, "{}", checked.1);
    // A good one: one key is taken over, one is named as needing a restart.
    let changed = good
        .replace("sessions = 5000", "sessions = 6000")
        .replace("[proxy.policy]", "[proxy.policy]\nclock_window = \"20s\"");
    site.rewrite("proxy", &changed);
    proxy.hang_up();
    assert_eq!(proxy.line(), "portunus reloaded: 1 change applied; 1 needs a restart: proxy.capacity.sessions");
    assert_eq!((crowd.standing().active, crowd.standing().result.failures.len()), (1, 0), "nobody noticed");
    // An address that is taken: told, with the address, and nothing is left running.
    let (code, said) = site.try_to_run("softswitch");
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains(&site.softswitch.to_string()), "{said}");
    // The good-bye of each.
    for process in [proxy, softswitch, auc] {
        assert_eq!(process.terminate().code(), Some(0));
    }
}
