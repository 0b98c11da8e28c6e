//! Verbs and parameter names (RFC 3435 sections 3.2.1.1 and 3.2.2).

/// The verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// EPCF, EndpointConfiguration.
    Epcf,
    /// CRCX, CreateConnection.
    Crcx,
    /// MDCX, ModifyConnection.
    Mdcx,
    /// DLCX, DeleteConnection.
    Dlcx,
    /// RQNT, NotificationRequest.
    Rqnt,
    /// NTFY, Notify.
    Ntfy,
    /// AUEP, AuditEndpoint.
    Auep,
    /// AUCX, AuditConnection.
    Aucx,
    /// RSIP, RestartInProgress.
    Rsip,
    /// Any other four characters: an extension, not known here.
    Other,
}

impl Verb {
    const ALL: [(Self, &'static [u8; 4]); 9] = [
        (Self::Epcf, b"EPCF"),
        (Self::Crcx, b"CRCX"),
        (Self::Mdcx, b"MDCX"),
        (Self::Dlcx, b"DLCX"),
        (Self::Rqnt, b"RQNT"),
        (Self::Ntfy, b"NTFY"),
        (Self::Auep, b"AUEP"),
        (Self::Aucx, b"AUCX"),
        (Self::Rsip, b"RSIP"),
    ];

    /// The verb that four characters spell, in any case.
    pub fn of(text: &[u8]) -> Self {
        Self::ALL.into_iter().find(|(_, v)| v.eq_ignore_ascii_case(text)).map_or(Self::Other, |(verb, _)| verb)
    }

    /// The four characters; those of no verb are `XXXX`.
    pub fn as_str(self) -> &'static str {
        let found = Self::ALL.into_iter().find(|(verb, _)| *verb == self);
        found.and_then(|(_, v)| core::str::from_utf8(v).ok()).unwrap_or("XXXX")
    }
}

/// The names of parameter lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Name {
    /// `K`: confirmed transactions.
    ResponseAck,
    /// `B`: bearer information.
    BearerInformation,
    /// `C`: call.
    CallId,
    /// `I`: connection.
    ConnectionId,
    /// `I2`: second connection.
    SecondConnectionId,
    /// `N`: who is told.
    NotifiedEntity,
    /// `X`: request identifier.
    RequestIdentifier,
    /// `L`: local connection options.
    LocalConnectionOptions,
    /// `M`: connection mode.
    ConnectionMode,
    /// `R`: requested events.
    RequestedEvents,
    /// `S`: signals.
    SignalRequests,
    /// `D`: digit map.
    DigitMap,
    /// `O`: observed events.
    ObservedEvents,
    /// `P`: connection parameters.
    ConnectionParameters,
    /// `E`: reason code.
    ReasonCode,
    /// `Z`: specific endpoint; may come several times.
    SpecificEndpoint,
    /// `Z2`: second endpoint.
    SecondEndpoint,
    /// `F`: requested information.
    RequestedInfo,
    /// `Q`: quarantine handling.
    QuarantineHandling,
    /// `T`: detected events.
    DetectEvents,
    /// `RM`: restart method.
    RestartMethod,
    /// `RD`: restart delay in seconds.
    RestartDelay,
    /// `A`: capabilities; may come several times.
    Capabilities,
    /// `ES`: event states.
    EventStates,
    /// `PL`: packages.
    PackageList,
    /// `MD`: longest datagram.
    MaxDatagram,
    /// `X-PKD`.
    Pkd,
    /// `X-PKDMAC`.
    PkdMac,
    /// Any other `X-` line: passed over by who does not know it.
    Extension,
    /// An `X+` line: must be understood.
    Critical,
    /// A package's own parameter, `package/name`.
    OfPackage,
    /// Anything else.
    Unknown,
}

impl Name {
    const SHORT: [(&'static [u8], Self); 26] = [
        (b"K", Self::ResponseAck),
        (b"B", Self::BearerInformation),
        (b"C", Self::CallId),
        (b"I", Self::ConnectionId),
        (b"I2", Self::SecondConnectionId),
        (b"N", Self::NotifiedEntity),
        (b"X", Self::RequestIdentifier),
        (b"L", Self::LocalConnectionOptions),
        (b"M", Self::ConnectionMode),
        (b"R", Self::RequestedEvents),
        (b"S", Self::SignalRequests),
        (b"D", Self::DigitMap),
        (b"O", Self::ObservedEvents),
        (b"P", Self::ConnectionParameters),
        (b"E", Self::ReasonCode),
        (b"Z", Self::SpecificEndpoint),
        (b"Z2", Self::SecondEndpoint),
        (b"F", Self::RequestedInfo),
        (b"Q", Self::QuarantineHandling),
        (b"T", Self::DetectEvents),
        (b"RM", Self::RestartMethod),
        (b"RD", Self::RestartDelay),
        (b"A", Self::Capabilities),
        (b"ES", Self::EventStates),
        (b"PL", Self::PackageList),
        (b"MD", Self::MaxDatagram),
    ];

    /// The name that these octets spell, in any case.
    pub fn of(text: &[u8]) -> Self {
        match text {
            [_] | [_, _] => {
                let found = Self::SHORT.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
                found.map_or(Self::Unknown, |(_, name)| name)
            }
            [b'X' | b'x', b'-', rest @ ..] if rest.eq_ignore_ascii_case(b"PKD") => Self::Pkd,
            [b'X' | b'x', b'-', rest @ ..] if rest.eq_ignore_ascii_case(b"PKDMAC") => Self::PkdMac,
            _ if memchr::memchr(b'/', text).is_some() => Self::OfPackage,
            [b'X' | b'x', b'-', ..] => Self::Extension,
            [b'X' | b'x', b'+', ..] => Self::Critical,
            _ => Self::Unknown,
        }
    }

    /// True where a message may hold several lines of the name.
    pub const fn may_repeat(self) -> bool {
        matches!(
            self,
            Self::SpecificEndpoint
                | Self::Capabilities
                | Self::Extension
                | Self::Critical
                | Self::OfPackage
                | Self::Unknown
        )
    }
}
