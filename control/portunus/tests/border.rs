//! The border, live: what phones see of the core, and what the core sees of them, over real sockets.

#[path = "agent/baresip.rs"]
mod baresip;
mod lab;
#[path = "agent/phone.rs"]
mod phone;
#[path = "outages/site.rs"]
mod site;

use baresip::Baresip;
use lab::{Lab, free_port, needs};
use phone::{Phone, status, values};
use site::{Process, Site, identity};
use std::time::Duration;

/// Two phones that nobody here wrote, without keys, on a listener that admits them: everything that crosses the access
/// network can be read, and nothing of the core is in it.
#[test]
fn unmodified_phones_call_each_other_and_see_nothing_of_the_core() {
    needs(&["baresip", "tshark"]);
    let (one, two) = ("phone1@example.test", "phone2@example.test");
    let plan = Lab::plan().with_stock_phone("md5", one, "correct-horse").with_stock_phone("md5", two, "battery-staple");
    let lab = plan.start();
    let capture = lab.capture();
    let alice = Baresip::with_password(one, lab.stock, false, "correct-horse");
    let bob = Baresip::with_password(two, lab.stock, true, "battery-staple");
    let both = [&alice, &bob];
    both.iter().for_each(|phone| phone.until("200 OK () [1 binding]"));
    alice.does("dial", &format!("sip:{two}"));
    both.iter().for_each(|phone| phone.until("Call established"));
    both.iter().for_each(|phone| phone.until("incoming rtp for 'audio' established"));
    bob.does("hangup", "");
    alice.until("session closed: Connection reset by peer");
    drop((alice, bob));
    let seen = capture.finish();
    seen.assert_clean();
    let access = format!("sip && udp.port == {}", lab.stock.port());
    assert!(seen.frames(&access).len() >= 16, "{:#?}", seen.frames(&access));
    assert!(!seen.frames(&format!("{access} && sip.Method == \"INVITE\" && frame contains \"pkd~\"")).is_empty());
    for place in [lab.core, lab.softswitch] {
        let shown = seen.frames(&format!("{access} && frame contains \"{place}\""));
        assert!(shown.is_empty(), "{place} is seen at the access:\n{}", shown.join("\n"));
        // And it stands in what passes between the two of them, or nothing was looked at.
        let inside = seen.frames(&format!("udp.port == {} && frame contains \"{place}\"", lab.core.port()));
        assert!(!inside.is_empty(), "{place}");
    }
    let hidden = seen.frames(&format!("udp.port == {} && frame contains \"pkd~\"", lab.softswitch.port()));
    assert!(hidden.is_empty(), "the core is shown what is hidden from terminals:\n{}", hidden.join("\n"));
    let forged = lab.counter("proxy", "border_forged");
    assert_eq!((forged, lab.counter("proxy", "relay_fault")), (0, 0));
}

/// Two phones beside their agents.
struct Street {
    site: Site,
    proxy: Process,
    phones: [Phone; 2],
    _others: [Process; 3],
}

impl Street {
    fn new() -> Self {
        let site = Site::plan(2);
        let (auc, softswitch, proxy) = (site.auc(), site.softswitch(), site.proxy());
        let at = free_port();
        let agent = site.agent("agent", at, site.sip, ("x-pkd-sealed", &[0, 1]));
        let mut phones = [Phone::new(identity(0), at), Phone::new(identity(1), at)];
        phones.iter_mut().for_each(Phone::registers);
        Self { site, proxy, phones, _others: [auc, softswitch, agent] }
    }

    /// Alice sends bob a MESSAGE with these lines; what she is answered, and what bob hears where he hears it.
    fn message(&mut self, name: &str, lines: &str) -> (String, Option<String>) {
        let [alice, bob] = &mut self.phones;
        let text = alice.request("MESSAGE", &format!("sip:{}", bob.id), &format!("<sip:{}>", bob.id), name, lines);
        alice.send(&text);
        let heard = bob.answered_within(Duration::from_millis(700));
        if let Some(heard) = &heard {
            bob.answers(heard, 200);
        }
        (alice.hears(), heard)
    }

    /// A counter of the proxy's.
    fn counter(&self, name: &str) -> u64 {
        self.proxy.counters()["proxy"][name].as_u64().expect("a counter")
    }

    /// Takes another configuration over.
    fn reload(&self, from: &str, to: &str) {
        let text = self.site.config("proxy");
        assert!(text.contains(from), "{from}");
        self.site.rewrite("proxy", &text.replacen(from, to, 1));
        self.proxy.hang_up();
        let line = self.proxy.line();
        assert!(line.starts_with("portunus reloaded: ") && !line.contains("restart"), "{line}");
    }
}

#[test]
fn what_a_terminal_may_not_say_of_itself_never_reaches_the_core() {
    let mut street = Street::new();
    let (answer, heard) = street.message("plain", "Subject: hello\r\n");
    let heard = heard.expect("bob hears it");
    assert!(status(&answer) == 200 && heard.contains("Subject: hello"), "{answer}");
    for text in [&answer, &heard] {
        for place in [street.site.core, street.site.softswitch] {
            assert!(!text.contains(&place.to_string()), "{place} in {text}");
        }
    }
    let (answer, heard) = street.message("asserted", "P-Asserted-Identity: <sip:ceo@example.test>\r\n");
    assert_eq!((status(&answer), heard), (403, None));
    let (answer, heard) = street.message("preferred", "P-Preferred-Identity: <sip:ceo@example.test>\r\n");
    assert_eq!(status(&answer), 200);
    assert!(!heard.expect("bob hears it").contains("ceo"));
    let (answer, heard) = street.message("charged", "P-Charging-Vector: icid-value=1\r\n");
    assert_eq!((status(&answer), heard), (403, None));
    // A way through the core that nobody gave her is not followed.
    let (answer, heard) = street.message("routed", &format!("Route: <sip:{};lr>\r\n", street.site.softswitch));
    assert!(status(&answer) == 200 && heard.is_some_and(|text| values(&text, "Route").is_empty()));
    let (answer, heard) =
        street.message("forged", "Route: <sip:pkd~AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA@x;lr>\r\n");
    assert_eq!((status(&answer), heard), (403, None));
    for (name, count) in [("border_stripped_up", 1), ("border_routed", 1), ("border_forged", 1), ("relay_fault", 3)] {
        assert_eq!(street.counter(name), count, "{name}");
    }
}

#[test]
fn a_reload_gives_a_terminal_a_policy_of_its_own() {
    let mut street = Street::new();
    assert_eq!(status(&street.message("before", "").0), 200);
    let own = format!("[[policy]]\nname = \"slow\"\nrate = 1\nburst = 2\nterminals = [\"{}\"]\n", identity(0));
    street.reload("lab = true\n", &format!("lab = true\n{own}"));
    // Her session was made before there was such a policy: it is hers when she registers the next time.
    assert_eq!(status(&street.message("after", "").0), 200);
    // Her side's own policy has her at once.
    street.reload("[proxy.policy]\n", "[proxy.policy]\nrate = 1\nburst = 1\nmessage = \"1200B\"\n");
    // Both may speak again: what is too much is her second message, not the answer to her first.
    std::thread::sleep(Duration::from_millis(2_100));
    let statuses = ["a", "b"].map(|n| status(&street.message(n, "").0));
    assert_eq!(statuses, [200, 503]);
    std::thread::sleep(Duration::from_millis(1_500));
    let (answer, heard) = street.message("long", &format!("X: {}\r\n", "y".repeat(1_200)));
    assert_eq!((status(&answer), heard), (513, None));
    assert!(street.counter("rate_exceeded") >= 1 && street.counter("message_too_long") == 1);
}
