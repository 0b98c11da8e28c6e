//! Every default, in one place. Times and limits that the specification names have its value.

use crate::value::Size;
use core::time::Duration;

const fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// TS window, spec section 2.
pub(crate) const CLOCK_WINDOW: Duration = s(30);
/// A challenge serves one s7 for this long, spec section 2.
pub(crate) const CHALLENGE_LIFE: Duration = s(10);
/// Answers for retransmissions: 64 x T1 of RFC 3261, spec section 2.
pub(crate) const ANSWER_CACHE: Duration = s(32);
/// Lifetime of a session key, spec section 2.
pub(crate) const KEY_LIFE: Duration = s(86_400);
/// A provisional session that nobody confirms, spec section 2.
pub(crate) const CONFIRM_WITHIN: Duration = s(30);
/// Patience with the core before 503.
pub(crate) const CORE_TIMEOUT: Duration = s(4);
/// Retry-After of a 503: drawn between the two, so that those refused together do not come back together.
pub(crate) const RETRY_AFTER_LEAST: Duration = s(5);
pub(crate) const RETRY_AFTER_MOST: Duration = s(30);
/// A stock phone's session after its last granted registration.
pub(crate) const STOCK_LIFE: Duration = s(3600);
/// New challenges after a wrong word, spec section 2.
pub(crate) const RETRIES: u64 = 1;

/// Registration lifetimes, RFC 3261 section 10.2.
pub(crate) const EXPIRES_LEAST: Duration = s(60);
pub(crate) const EXPIRES_DEFAULT: Duration = s(3600);
pub(crate) const EXPIRES_MOST: Duration = s(86_400);
/// An agent that heard nothing for so long asks its proxy for a sign of life.
pub(crate) const SIGN_OF_LIFE: Duration = s(15);
/// The softswitch keeps a challenge for longer than the proxy does: the proxy decides, the softswitch must still
/// know it then.
pub(crate) const SOFTSWITCH_CHALLENGE_LIFE: Duration = s(15);

/// A server of somebody else's: down within some ten seconds, and not for one lost datagram.
pub(crate) const UPSTREAM_PROBE_EVERY: Duration = s(2);
/// Time for one repetition (T1 of RFC 3261 is half a second), and for two registrars before the proxy loses patience.
pub(crate) const UPSTREAM_ANSWER_WITHIN: Duration = Duration::from_millis(1_200);
pub(crate) const UPSTREAM_DOWN_AFTER: u64 = 3;
pub(crate) const UPSTREAM_UP_AFTER: u64 = 2;

pub(crate) const REGISTRATIONS: u64 = 100_000;
pub(crate) const CONTACTS: u64 = 8;
pub(crate) const CHALLENGES: u64 = 65_536;
pub(crate) const ASKS: u64 = 8_192;
pub(crate) const RECORDS: u64 = 65_536;
pub(crate) const SOFTSWITCH_ANSWERS: Size = Size(64 << 20);
/// Media gateways with a port of their own towards call agents and controllers of somebody else's.
pub(crate) const GATEWAY_PORTS: u64 = 4_096;

pub(crate) const SESSIONS: u64 = 100_000;
pub(crate) const CONNECTIONS: u64 = 10_000;
/// Longest REGISTER that is accepted, and longest message that is written.
pub(crate) const REQUEST: Size = Size(2 << 10);
pub(crate) const MESSAGE: Size = Size(4 << 10);

pub(crate) const COOKIE_PERCENT: u64 = 50;
pub(crate) const BUSY_PERCENT: u64 = 80;
pub(crate) const DROP_PERCENT: u64 = 95;

/// Messages of one session, a second: a gateway of some hundred lines at its busiest, and no flood.
pub(crate) const RATE: u64 = 200;
/// So many at once: every line of such a gateway after a restart.
pub(crate) const BURST: u64 = 400;

/// What a terminal may not say of itself, and what is nobody's to say from outside (RFC 3325, RFC 5009, RFC 5502, RFC
/// 7315). What only the core may assert (P-Asserted-Identity, P-Charging-*, Path, Service-Route and so on) is refused
/// whatever stands here.
pub(crate) const STRIP_UP: [&str; 8] = [
    "P-Preferred-Identity",
    "P-Preferred-Service",
    "P-Served-User",
    "P-User-Database",
    "P-Profile-Key",
    "P-Early-Media",
    "P-DCS-*",
    "X-PKD-*",
];
/// What would tell of the core's elements, or of others' access networks. What only the core may assert ends here too,
/// whatever stands here.
pub(crate) const STRIP_DOWN: [&str; 9] = [
    "Server",
    "Warning",
    "History-Info",
    "P-Access-Network-Info",
    "P-Served-User",
    "P-User-Database",
    "P-Profile-Key",
    "P-DCS-*",
    "X-PKD-*",
];

pub(crate) const SLOW_AFTER: u64 = 3;
pub(crate) const SLOW: Duration = s(1);
pub(crate) const IGNORE_AFTER: u64 = 10;
pub(crate) const IGNORE: Duration = s(300);

/// Gateways and endpoints with a port of their own towards the core, of each protocol.
pub(crate) const LANES: u64 = 4_096;
pub(crate) const SILENT_AFTER: Duration = Duration::from_millis(1_200);
pub(crate) const PROBE_EVERY: Duration = Duration::from_secs(1);

pub(crate) const BATCH: u64 = 32;
pub(crate) const SOCKET_BUFFER: Size = Size(4 << 20);
pub(crate) const RING: Size = Size(4 << 20);
/// Interrupt moderation in software: a busy worker rests this long between small batches.
pub(crate) const REST: Duration = Duration::from_micros(100);
pub(crate) const ENOUGH: u64 = 32;
pub(crate) const IDLE_CONNECTION: Duration = s(600);
pub(crate) const HANDSHAKE: Duration = s(10);

/// A UDP lane has 256 identifiers; a connection serves a whole softswitch.
pub(crate) const AAA_LANES_UDP: u64 = 16;
pub(crate) const AAA_LANES_TLS: u64 = 1;
pub(crate) const AAA_WINDOW: u64 = 4096;
pub(crate) const AAA_QUESTIONS: u64 = 4096;
pub(crate) const AAA_RECORDS: u64 = 65_536;
/// Below the proxy's patience with the core, so that its answer is ours and not silence.
pub(crate) const AAA_PATIENCE: Duration = Duration::from_millis(3500);
pub(crate) const AAA_REPEAT_FIRST: Duration = Duration::from_millis(400);
pub(crate) const AAA_REPEAT_MOST: Duration = s(2);
pub(crate) const AAA_DEAD_AFTER: Duration = Duration::from_millis(1500);
pub(crate) const AAA_PROBE_EVERY: Duration = s(1);
pub(crate) const AAA_WATCHDOG: Duration = s(15);
/// RFC 3539 section 3.4.1.
pub(crate) const DIAMETER_WATCHDOG: Duration = s(30);

pub(crate) const AUC_STORE: &str = "portunus-auc.redb";
pub(crate) const AUC_MASTER_KEY: &str = "portunus-auc.master";
pub(crate) const AUC_AUDIT_LOG: &str = "auc-audit.log";
pub(crate) const AUC_OPEN_KEYS: u64 = 100_000;
pub(crate) const AUC_ANSWERS: u64 = 65_536;
pub(crate) const DATABASE_NAME: &str = "portunus";
pub(crate) const DATABASE_POOL: u64 = 4;
pub(crate) const DATABASE_TIMEOUT: Duration = s(5);
pub(crate) const DATABASE_POLL: Duration = s(2);

/// Sessions whose ESP the host's kernel does.
pub(crate) const KERNEL_SESSIONS: u64 = 65_536;
/// Administrators and their programs are few.
pub(crate) const API_CONNECTIONS: u64 = 64;
pub(crate) const API_RATE: u64 = 50;
/// A million rows of keys.
pub(crate) const API_IMPORT: Size = Size(128 << 20);
/// Terminals that redeem activation codes: a thousand a minute with room to spare, and little of a core.
pub(crate) const REDEEM_RATE: u64 = 200;
