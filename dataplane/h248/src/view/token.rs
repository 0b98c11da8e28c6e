//! The tokens of H.248.1 annex B.2, long and short. They are compared without regard to case.

/// A token: its long and its short form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tok(pub(crate) &'static [u8], pub(crate) &'static [u8]);

/// True where a word is this token.
#[inline]
pub(crate) fn is(word: &[u8], token: Tok) -> bool {
    word.eq_ignore_ascii_case(token.1) || word.eq_ignore_ascii_case(token.0)
}

macro_rules! tokens {
    ($($name:ident $long:literal $short:literal;)*) => {
        impl Tok {
            $(pub(crate) const $name: Self = Self($long, $short);)*
        }
    };
}

tokens! {
    AUTH b"Authentication" b"AU";
    MEGACO b"MEGACO" b"!";
    TRANSACTION b"Transaction" b"T";
    REPLY b"Reply" b"P";
    PENDING b"Pending" b"PN";
    RESPONSE_ACK b"TransactionResponseAck" b"K";
    SEGMENT b"Segment" b"SM";
    SEGMENT_END b"END" b"&";
    IMM_ACK b"ImmAckRequired" b"IA";
    CONTEXT b"Context" b"C";
    CONTEXT_AUDIT b"ContextAudit" b"CA";
    CONTEXT_ATTR b"ContextAttr" b"CT";
    TOPOLOGY b"Topology" b"TP";
    PRIORITY b"Priority" b"PR";
    EMERGENCY b"Emergency" b"EG";
    EMERGENCY_OFF b"EmergencyOff" b"EGO";
    IEPS b"IEPSCall" b"IEPS";
    ADD b"Add" b"A";
    MOVE b"Move" b"MV";
    MODIFY b"Modify" b"MF";
    SUBTRACT b"Subtract" b"S";
    AUDIT_VALUE b"AuditValue" b"AV";
    AUDIT_CAPABILITY b"AuditCapability" b"AC";
    NOTIFY b"Notify" b"N";
    SERVICE_CHANGE b"ServiceChange" b"SC";
    ERROR b"Error" b"ER";
    AUDIT b"Audit" b"AT";
    MEDIA b"Media" b"M";
    STREAM b"Stream" b"ST";
    LOCAL b"Local" b"L";
    REMOTE b"Remote" b"R";
    LOCAL_CONTROL b"LocalControl" b"O";
    TERMINATION_STATE b"TerminationState" b"TS";
    RESERVED_GROUP b"ReservedGroup" b"RG";
    RESERVED_VALUE b"ReservedValue" b"RV";
    MODE b"Mode" b"MO";
    SEND_ONLY b"SendOnly" b"SO";
    RECEIVE_ONLY b"ReceiveOnly" b"RC";
    SEND_RECEIVE b"SendReceive" b"SR";
    INACTIVE b"Inactive" b"IN";
    LOOPBACK b"Loopback" b"LB";
    SERVICE_STATES b"ServiceStates" b"SI";
    TEST b"Test" b"TE";
    OUT_OF_SERVICE b"OutOfService" b"OS";
    IN_SERVICE b"InService" b"IV";
    BUFFER b"Buffer" b"BF";
    LOCK_STEP b"LockStep" b"SP";
    MODEM b"Modem" b"MD";
    MUX b"Mux" b"MX";
    EVENTS b"Events" b"E";
    EVENT_BUFFER b"EventBuffer" b"EB";
    EMBED b"Embed" b"EM";
    KEEP_ACTIVE b"KeepActive" b"KA";
    NOTIFY_IMMEDIATE b"ImmediateNotify" b"NBIN";
    NOTIFY_NEVER b"NeverNotify" b"NBNN";
    NOTIFY_REGULATED b"RegulatedNotify" b"NBRN";
    RESET_EVENTS b"ResetEventsDescriptor" b"RSE";
    SIGNALS b"Signals" b"SG";
    SIGNAL_LIST b"SignalList" b"SL";
    DIGIT_MAP b"DigitMap" b"DM";
    OBSERVED_EVENTS b"ObservedEvents" b"OE";
    STATISTICS b"Statistics" b"SA";
    PACKAGES b"Packages" b"PG";
    SERVICES b"Services" b"SV";
    METHOD b"Method" b"MT";
    REASON b"Reason" b"RE";
    DELAY b"Delay" b"DL";
    ADDRESS b"ServiceChangeAddress" b"AD";
    PROFILE b"Profile" b"PF";
    VERSION b"Version" b"V";
    MGC_ID b"MgcIdToTry" b"MG";
    INCOMPLETE b"ServiceChangeInc" b"SIC";
    GRACEFUL b"Graceful" b"GR";
    FORCED b"Forced" b"FO";
    RESTART b"Restart" b"RS";
    DISCONNECTED b"Disconnected" b"DC";
    HAND_OFF b"HandOff" b"HO";
    FAILOVER b"Failover" b"FL";
    ISOLATE b"Isolate" b"IS";
    ONE_WAY b"Oneway" b"OW";
    BOTH_WAY b"Bothway" b"BW";
    ONE_WAY_EXTERNAL b"OnewayExternal" b"OWE";
    ONE_WAY_BOTH b"OnewayBoth" b"OWB";
}
