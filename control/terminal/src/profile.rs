//! What a terminal is told before it starts. One [`Profile`] is shared by a whole fleet.

use core::net::SocketAddr;
use portunus_channel::{TABLE, room};
use portunus_keydist::Idsp;
use portunus_keydist::mech::{Mech, MechList};
use portunus_keydist::terminal::Config as Registering;
use portunus_keydist::timing::Repeat;
use portunus_signalling::Protocol;
pub use portunus_signalling::Transport;
use std::sync::Arc;

/// Everything that terminals of one kind have in common.
#[derive(Debug, Clone)]
pub struct Profile {
    /// What they speak.
    pub protocol: Protocol,
    /// The proxy's access listener for it, where s1 and s7 go.
    pub server: SocketAddr,
    /// What carries s1 and s7: UDP or TCP. What follows them is carried as the mechanism wants, whatever this says.
    pub transport: Transport,
    /// The proxy that the terminal means to register through.
    pub idsp: String,
    /// Digest realm (SIP).
    pub realm: String,
    /// Request-URI of REGISTER (SIP), e.g. `sip:example.test`.
    pub registrar: String,
    /// Expiry asked for, in seconds.
    pub expires_s: u32,
    /// The role machine's part: mechanisms offered, retransmission, back-off, limits.
    pub registering: Arc<Registering>,
    /// Retransmission of requests inside the channel.
    pub inside: Repeat,
    /// An active terminal that heard nothing for this many milliseconds asks its proxy for a sign of life (a protected
    /// message without content); 0: never.
    pub probe_ms: u32,
    /// An active terminal that sent nothing for this many milliseconds sends its mechanism's keep-alive, where that has one
    /// (`ipsec-man`: RFC 3948 section 2.3); 0: never.
    pub keep_alive_ms: u32,
    /// Attempts in a row that may fail before the terminal stops trying; 0: it never stops.
    pub attempts_max: u32,
    /// True: the terminal stands for somebody else, who says and hears what is said inside the session
    /// ([`crate::Endpoint::say`], [`crate::Event::Inside`]); its own are only registration and signs of life.
    pub through: bool,
    /// True: [`crate::Event::Step`] is raised for every step seen. Off for fleets, where nobody reads it.
    pub ladder: bool,
}

/// What a terminal of this library offers unless told otherwise: sealed datagrams.
pub const MECHS: &str = "x-pkd-sealed;q=1.0";

/// The list that offers one mechanism alone. Where `ipsec-man` is offered, a terminal adds the SPI and the port that it
/// receives at.
pub fn offering(mech: Mech) -> String {
    format!("{};q=1.0", mech.token())
}

/// Why a profile cannot be made; the fault is the configuration's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProfileError {
    /// The proxy's name is not an IDsp.
    Idsp,
    /// The list of mechanisms breaks a rule of the specification.
    Mechs(portunus_keydist::mech::MechError),
    /// The list has no mechanism that this terminal can use.
    NoMech,
}

impl core::fmt::Display for ProfileError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Idsp => f.write_str("the proxy's name must be 1 to 63 characters of A-Z a-z 0-9 . _ : [ ] -"),
            Self::Mechs(e) => write!(f, "the mechanism list: {e}"),
            Self::NoMech => {
                let known = TABLE.iter().map(|room| room.mech.token());
                write!(f, "the mechanism list must hold one of {}", known.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

impl core::error::Error for ProfileError {}

impl Profile {
    /// A SIP profile with the defaults of the specification and of RFC 3261. `mechs` is the list as
    /// `Security-Client` would hold it, e.g. [`MECHS`].
    ///
    /// # Errors
    /// [`ProfileError`].
    pub fn new(
        server: SocketAddr,
        transport: Transport,
        idsp: &str,
        realm: &str,
        mechs: &str,
    ) -> Result<Self, ProfileError> {
        Idsp::new(idsp).ok_or(ProfileError::Idsp)?;
        let mechs = MechList::from_sip(mechs).map_err(ProfileError::Mechs)?;
        if !mechs.entries().any(|entry| entry.mech.and_then(room).is_some()) {
            return Err(ProfileError::NoMech);
        }
        let repeat = match transport {
            Transport::Udp => Repeat::SIP_UDP,
            Transport::Tcp | Transport::Tls => Repeat::STREAM,
        };
        Ok(Self {
            protocol: Protocol::Sip,
            server,
            transport,
            idsp: idsp.into(),
            realm: realm.into(),
            registrar: format!("sip:{realm}"),
            expires_s: 3_600,
            registering: Arc::new(Registering::new(mechs, repeat)),
            inside: Repeat::SIP_UDP,
            probe_ms: 30_000,
            keep_alive_ms: KEEP_ALIVE_MS,
            attempts_max: 0,
            through: false,
            ladder: false,
        })
    }

    /// The same for terminals that speak something else, with the times that its standard gives for repeating
    /// requests.
    #[must_use]
    pub fn speaking(self, protocol: Protocol) -> Self {
        let repeat = match (protocol, self.transport) {
            (_, Transport::Tcp | Transport::Tls) => Repeat::STREAM,
            (Protocol::Sip, _) => Repeat::SIP_UDP,
            (Protocol::Mgcp, _) => MGCP,
            (Protocol::H248, _) => H248,
            (Protocol::Ras, _) => RAS,
        };
        // Inside the session there are datagrams whatever carried the steps.
        let inside = match protocol {
            Protocol::Sip => Repeat::SIP_UDP,
            Protocol::Mgcp => MGCP,
            Protocol::H248 => H248,
            Protocol::Ras => RAS,
        };
        let registering = Registering { repeat, ..(*self.registering).clone() };
        Self { protocol, registering: Arc::new(registering), inside, ..self }
    }
}

/// The default of RFC 3948 section 4: NATs are known to forget after half a minute.
const KEEP_ALIVE_MS: u32 = 20_000;

/// RFC 3435 section 4.3: the first after half a second here, doubling; given up after T-MAX and one more.
const MGCP: Repeat = Repeat { gaps_ms: &[500, 1000, 2000, 4000], give_up_ms: 24_000 };
/// H.248.1 annex D: doubling from half a second.
const H248: Repeat = Repeat { gaps_ms: &[500, 1000, 2000, 4000], give_up_ms: 30_000 };
/// H.225.0 table 19 gives 3 to 5 s and two retries; a lost GRQ is repeated sooner here, and no more often in all.
const RAS: Repeat = Repeat { gaps_ms: &[1000, 2000, 4000], give_up_ms: 15_000 };
