//! Many plain SIP phones on one socket, beside agents: they register, keep calls, and ask and answer inside them.

use super::phone::{bracketed, routes, status, values};
use super::site::identity;
use std::collections::{HashMap, HashSet};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// How often a question inside a call is asked again, under a number of its own.
const AGAIN: Duration = Duration::from_millis(500);
/// How often a REGISTER or INVITE is repeated.
const REPEAT: Duration = Duration::from_millis(1_000);

/// One call, as its caller knows it.
struct Call {
    caller: u32,
    callee: u32,
    cseq: u32,
    /// Set by the answer to INVITE: the target, To, and the routes as lines.
    dialog: Option<(String, String, String)>,
    /// Questions asked that were not answered yet, and all that were asked.
    open: HashSet<u32>,
    asked: u32,
    answered: u32,
    over: bool,
}

/// The phones and their calls.
pub(crate) struct Hall {
    socket: UdpSocket,
    /// By phone: its agent.
    agents: Vec<SocketAddr>,
    registered: HashSet<String>,
    calls: HashMap<String, Call>,
}

impl Hall {
    /// So many phones, in turn beside these agents, each of which has as many.
    pub(crate) fn new(phones: u32, agents: &[SocketAddr]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(5))).expect("a time");
        let agents = (0..phones as usize).map(|n| agents[n % agents.len()]).collect();
        Self { socket, agents, registered: HashSet::new(), calls: HashMap::new() }
    }

    fn at(&self) -> SocketAddr {
        self.socket.local_addr().expect("its address")
    }

    fn say(&self, phone: u32, text: &str) {
        let _ = self.socket.send_to(text.as_bytes(), self.agents[phone as usize]);
    }

    fn request(&self, phone: u32, (method, uri, to): (&str, &str, &str), call: &str, cseq: u32, more: &str) {
        let (id, at) = (identity(phone), self.at());
        let number = if method == "ACK" { cseq } else { cseq.max(1) };
        self.say(
            phone,
            &format!(
                "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{call}{method}{cseq};rport\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:{id}>;tag=t{call}\r\nTo: {to}\r\nCall-ID: {call}\r\n\
                 CSeq: {number} {method}\r\nContact: <sip:p{phone}@{at}>\r\n{more}Content-Length: 0\r\n\r\n"
            ),
        );
    }

    /// Takes what came, answers what is asked.
    fn turn(&mut self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut room = [0; 8_192];
        while Instant::now() < until {
            let Ok((len, from)) = self.socket.recv_from(&mut room) else { continue };
            let text = String::from_utf8_lossy(&room[..len]).into_owned();
            if status(&text) == 0 {
                self.answer(&text, from);
            } else {
                self.hear(&text);
            }
        }
    }

    fn answer(&self, request: &str, from: SocketAddr) {
        if request.starts_with("ACK ") {
            return;
        }
        let copy = |name: &str| -> String {
            values(request, name).iter().map(|value| format!("{name}: {value}\r\n")).collect()
        };
        let tag = if values(request, "To")[0].contains("tag=") { "" } else { ";tag=answer" };
        let (vias, record, contact) = (copy("Via"), copy("Record-Route"), request.split(' ').nth(1).expect("a URI"));
        let text = format!(
            "SIP/2.0 200 OK\r\n{vias}{record}From: {}\r\nTo: {}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <{contact}>\r\nContent-Length: 0\r\n\r\n",
            values(request, "From")[0],
            values(request, "To")[0],
            values(request, "Call-ID")[0],
            values(request, "CSeq")[0],
        );
        let _ = self.socket.send_to(text.as_bytes(), from);
    }

    fn hear(&mut self, answer: &str) {
        let (call, granted) = (values(answer, "Call-ID")[0].to_owned(), (200..300).contains(&status(answer)));
        let cseq = values(answer, "CSeq")[0];
        if cseq.ends_with(" REGISTER") {
            if granted {
                self.registered.insert(call);
            }
            return;
        }
        let Some(known) = self.calls.get_mut(&call).filter(|_| granted) else { return };
        let number = cseq.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        if cseq.ends_with(" INVITE") && known.dialog.is_none() {
            let target = bracketed(values(answer, "Contact")[0]).to_owned();
            let way = routes(values(answer, "Record-Route").into_iter().rev());
            let to = values(answer, "To")[0].to_owned();
            let caller = known.caller;
            known.dialog = Some((target.clone(), to.clone(), way.clone()));
            self.request(caller, ("ACK", &target, &to), &call, 1, &way);
        } else if cseq.ends_with(" BYE") {
            known.over = true;
        } else if known.open.remove(&number) {
            known.answered += 1;
        }
    }

    /// Every phone registers; how long it took.
    pub(crate) fn registers(&mut self, within: Duration) -> Duration {
        let (began, phones) = (Instant::now(), self.agents.len() as u32);
        while self.registered.len() < phones as usize {
            assert!(began.elapsed() < within, "{} of {phones} registered", self.registered.len());
            for phone in (0..phones).filter(|p| !self.registered.contains(&format!("r{p}"))).collect::<Vec<_>>() {
                let to = format!("<sip:{}>", identity(phone));
                self.request(
                    phone,
                    ("REGISTER", "sip:example.test", &to),
                    &format!("r{phone}"),
                    1,
                    "Expires: 3600\r\n",
                );
                if phone % 20 == 0 {
                    self.turn(Duration::from_millis(5));
                }
            }
            self.turn(REPEAT);
        }
        began.elapsed()
    }

    /// The first half of the phones calls the second half.
    pub(crate) fn calls(&mut self, within: Duration) {
        let half = self.agents.len() as u32 / 2;
        for caller in 0..half {
            let (open, dialog) = (HashSet::new(), None);
            let call =
                Call { caller, callee: caller + half, cseq: 1, dialog, open, asked: 0, answered: 0, over: false };
            self.calls.insert(format!("c{caller}"), call);
        }
        let began = Instant::now();
        while self.calls.values().any(|call| call.dialog.is_none()) {
            assert!(began.elapsed() < within, "not every call is answered");
            for (name, call) in self.calls.iter().filter(|(_, call)| call.dialog.is_none()) {
                let uri = format!("sip:{}", identity(call.callee));
                self.request(call.caller, ("INVITE", &uri, &format!("<{uri}>")), name, 1, "");
            }
            self.turn(REPEAT);
        }
    }

    /// Asks inside every call again and again until each was answered once, or the time is over; when each was, since
    /// `began`, the earliest first, and how many questions were not answered.
    pub(crate) fn ask_until_answered(&mut self, began: Instant, within: Duration) -> (Vec<Duration>, u32) {
        let mut done: HashMap<String, Duration> = HashMap::new();
        for call in self.calls.values_mut() {
            (call.asked, call.answered) = (0, 0);
            call.open.clear();
        }
        let names: Vec<String> = self.calls.keys().cloned().collect();
        let mut next = Instant::now();
        while done.len() < names.len() && began.elapsed() < within {
            if Instant::now() >= next {
                next += AGAIN;
                for name in names.iter().filter(|name| !done.contains_key(*name)) {
                    self.within(name, "INFO");
                }
            }
            self.turn(Duration::from_millis(20));
            for name in &names {
                if self.calls[name].answered > 0 {
                    done.entry(name.clone()).or_insert_with(|| began.elapsed());
                }
            }
        }
        let lost = self.calls.values().map(|call| call.asked - call.answered).sum();
        let mut times: Vec<Duration> = done.into_values().collect();
        times.sort();
        (times, lost)
    }

    /// A request inside a call.
    fn within(&mut self, name: &str, method: &str) {
        let Some(call) = self.calls.get_mut(name) else { return };
        call.cseq += 1;
        if method == "INFO" {
            call.asked += 1;
            call.open.insert(call.cseq);
        }
        let (caller, cseq) = (call.caller, call.cseq);
        if let Some((target, to, way)) = call.dialog.clone() {
            self.request(caller, (method, &target, &to), name, cseq, &way);
        }
    }

    /// Hangs up every call; how many were ended in order.
    pub(crate) fn hang_up(&mut self) -> usize {
        let names: Vec<String> = self.calls.keys().cloned().collect();
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until && self.calls.values().any(|call| !call.over) {
            for name in names.iter().filter(|name| !self.calls[*name].over).cloned().collect::<Vec<_>>() {
                self.within(&name, "BYE");
            }
            self.turn(REPEAT);
        }
        self.calls.values().filter(|call| call.over).count()
    }
}
