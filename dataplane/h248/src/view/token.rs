//! The tokens of H.248.1 annex B.2, long and short. They are compared without regard to case.

use portunus_codec::first_word;

/// A token: its long and its short form, and what [`Word`] knows of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tok {
    long: &'static [u8],
    short: &'static [u8],
    keys: (u64, u64),
}

/// A word, and what tells it from nearly every other without regard to case: its first eight octets with the bit set
/// that is all the difference between a letter's two cases.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word<'m> {
    octets: &'m [u8],
    key: u64,
}

/// The bit that makes a capital small, in every octet.
const SMALL: u64 = 0x2020_2020_2020_2020;

impl<'m> Word<'m> {
    #[inline]
    pub(crate) fn new(octets: &'m [u8]) -> Self {
        Self { octets, key: first_word(octets) | SMALL }
    }

    /// True where it is this token, in its long or short form.
    #[inline(always)]
    pub(crate) fn is(self, token: Tok) -> bool {
        token.may_be(self.key) && token.is_spelled(self.octets)
    }

    /// What [`Tok::may_be`] goes by.
    pub(crate) fn key(self) -> u64 {
        self.key
    }
}

impl Tok {
    fn is_spelled(self, word: &[u8]) -> bool {
        word.eq_ignore_ascii_case(self.short) || word.eq_ignore_ascii_case(self.long)
    }

    /// False where a word of this key is another one.
    #[inline(always)]
    pub(crate) fn may_be(self, key: u64) -> bool {
        key == self.keys.1 || key == self.keys.0
    }
}

/// True where a word is this token.
#[inline]
pub(crate) fn is(word: &[u8], token: Tok) -> bool {
    Word::new(word).is(token)
}

/// As [`Word::new`] finds it.
const fn key(text: &[u8]) -> u64 {
    let (mut key, mut i) = (0, 0);
    while i < text.len() && i < 8 {
        key |= (text[i] as u64) << (8 * i);
        i += 1;
    }
    key | SMALL
}

macro_rules! tokens {
    ($($name:ident $long:literal $short:literal;)*) => {
        impl Tok {
            $(pub(crate) const $name: Self = Self { long: $long, short: $short, keys: (key($long), key($short)) };)*
        }

        #[cfg(test)]
        const ALL: &[Tok] = &[$(Tok::$name),*];
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_in_both_forms_and_any_case_and_nothing_else_is() {
        for token in ALL {
            for form in [token.long, token.short] {
                assert!(is(form, *token));
                assert!(is(&form.to_ascii_lowercase(), *token) && is(&form.to_ascii_uppercase(), *token));
                assert!(!is(&[form, b"\0"].concat(), *token) && !is(&[form, b"x"].concat(), *token));
                let others = ALL.iter().filter(|other| other != &token);
                let also: Vec<_> = others.filter(|other| is(form, **other)).collect();
                assert!(also.is_empty(), "{form:?} {also:?}");
                for at in 0..form.len() {
                    let mut other = form.to_vec();
                    other[at] ^= 0x40;
                    assert!(!is(&other, *token));
                    // What differs in the bit of the case, and is no letter.
                    if !form[at].is_ascii_alphabetic() {
                        other[at] = form[at] ^ 0x20;
                        assert!(!is(&other, *token));
                    }
                }
            }
        }
    }
}
