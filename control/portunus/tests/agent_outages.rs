//! What is lost, and how long it takes, when phones beside agents lose their proxy, their address, or all their sessions
//! at once. Prints figures; benches/BASELINES.md has those of one machine:
//!
//!     cargo test -p portunus --test agent_outages -- --nocapture
//!
//! A sign of life is asked for after one second of silence here, after fifteen by default.

#[path = "agent/hall.rs"]
mod hall;
mod lab;
#[path = "agent/phone.rs"]
mod phone;
#[path = "outages/relay.rs"]
mod relay;
#[path = "outages/site.rs"]
mod site;
#[path = "agent/wire.rs"]
mod wire;

use hall::Hall;
use lab::free_port;
use relay::Relay;
use site::{Process, Site};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use wire::Wire;

const MECHANISMS: [&str; 3] = ["x-pkd-sealed", "ipsec-man", "tls"];
/// Calls that stand when something is lost.
const CALLS: u32 = 50;
/// Phones that come back at once, and the agents that they are beside.
const CROWD: (u32, u32) = (1_000, 4);

/// One at a time: what is measured in seconds wants the machine for itself.
static ALONE: Mutex<()> = Mutex::new(());

/// So many phones beside so many agents, whose way to the proxy is `server`.
fn beside(site: &Site, server: SocketAddr, mechanism: &str, (phones, agents): (u32, u32)) -> (Vec<Process>, Hall) {
    let places: Vec<SocketAddr> = (0..agents).map(|_| free_port()).collect();
    let start = |n: u32| {
        let own: Vec<u32> = (0..phones).filter(|phone| phone % agents == n).collect();
        site.agent(&format!("agent-{n}"), places[n as usize], server, (mechanism, &own))
    };
    let processes = (0..agents).map(start).collect();
    (processes, Hall::new(phones, &places))
}

/// The middle one and the last.
fn spread(times: &[Duration]) -> String {
    format!("half after {:.1?}, the last after {:.1?}", times[times.len() / 2], times[times.len() - 1])
}

#[test]
fn calls_outlive_a_proxy_that_is_killed_and_started_again() {
    let _alone = ALONE.lock();
    for mechanism in MECHANISMS {
        let site = Site::plan(2 * CALLS);
        let _core = [site.auc(), site.softswitch()];
        let proxy = site.proxy();
        let (_agents, mut hall) = beside(&site, site.sip, mechanism, (2 * CALLS, 2));
        hall.registers(Duration::from_secs(30));
        hall.calls(Duration::from_secs(30));
        let began = Instant::now();
        proxy.kill();
        let _proxy = site.proxy();
        let ready = began.elapsed();
        let (times, lost) = hall.ask_until_answered(began, Duration::from_secs(60));
        let ended = hall.hang_up();
        println!(
            "proxy killed in {CALLS} calls, {mechanism}: ready again after {ready:.1?}; a question inside the call \
             answered in {} of {CALLS}, {}; {lost} questions lost, one every 0.5 s; {ended} calls ended in order",
            times.len(),
            spread(&times)
        );
        assert_eq!((times.len(), ended), (CALLS as usize, CALLS as usize), "{mechanism}: calls are lost");
    }
}

#[test]
fn calls_outlive_a_change_of_address() {
    let _alone = ALONE.lock();
    for mechanism in MECHANISMS {
        let site = Site::plan(2 * CALLS);
        let _roles = [site.auc(), site.softswitch(), site.proxy()];
        // Another loopback address with the same ports, behind which terminals have whatever address it gives them.
        let near = |at: SocketAddr| SocketAddr::from(([127, 0, 0, 2], at.port()));
        let pairs = [site.sip, site.sealed, site.ipsec].map(|at| (near(at), at));
        let (relay, wire) = (Relay::start(&pairs, 0, 1), Wire::start(near(site.tls), site.tls));
        let (_agents, mut hall) = beside(&site, near(site.sip), mechanism, (2 * CALLS, 2));
        hall.registers(Duration::from_secs(30));
        hall.calls(Duration::from_secs(30));
        let began = Instant::now();
        relay.rebind();
        wire.lose_all();
        let (times, lost) = hall.ask_until_answered(began, Duration::from_secs(60));
        let ended = hall.hang_up();
        println!(
            "address changed in {CALLS} calls, {mechanism}: a question inside the call answered in {} of {CALLS}, {}; \
             {lost} questions lost, one every 0.5 s; {ended} calls ended in order",
            times.len(),
            spread(&times)
        );
        assert_eq!((times.len(), ended), (CALLS as usize, CALLS as usize), "{mechanism}: calls are lost");
    }
}

#[test]
fn a_thousand_phones_come_back_at_once() {
    let _alone = ALONE.lock();
    let (phones, _) = CROWD;
    for mechanism in MECHANISMS {
        let site = Site::plan(phones);
        let _core = [site.auc(), site.softswitch()];
        let proxy = site.proxy();
        let (_agents, mut hall) = beside(&site, site.sip, mechanism, CROWD);
        let first = hall.registers(Duration::from_secs(60));
        let began = Instant::now();
        proxy.kill();
        let proxy = site.proxy();
        let ready = began.elapsed();
        let (mut half, mut most) = (None, None);
        let all = loop {
            let (active, took) = (proxy.counter("proxy", "sessions_active"), began.elapsed());
            if active * 2 >= u64::from(phones) {
                half.get_or_insert(took);
            }
            if active * 100 >= u64::from(phones) * 99 {
                most.get_or_insert(took);
            }
            if active >= u64::from(phones) {
                break took;
            }
            assert!(took < Duration::from_secs(90), "{mechanism}: {active} of {phones} came back");
            std::thread::sleep(Duration::from_millis(100));
        };
        println!(
            "{phones} phones come back at once, {mechanism}: registered in {first:.1?} at first; proxy ready after \
             {ready:.1?}; half active after {:.1?}, 99 % after {:.1?}, all after {all:.1?}",
            half.expect("before all"),
            most.expect("before all")
        );
    }
}
