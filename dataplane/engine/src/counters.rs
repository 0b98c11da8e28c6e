//! Every drop, refusal and event has a name.

/// Whether a number only grows, or follows what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Grows from 0 until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// One named number, for whoever exports them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Its name: lower case, words joined by `_`.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// Its value.
    pub value: u64,
}

macro_rules! counters {
    ($($kind:ident $name:ident $help:literal;)*) => {
        /// The engine's counters. A copy is a consistent snapshot: the engine changes them between calls only.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counters {
            $(#[doc = $help] pub $name: u64,)*
        }

        impl Counters {
            /// Name, help text and kind of each, in the order of [`Counters::values`].
            pub const TABLE: &'static [(&'static str, &'static str, Kind)] =
                &[$((stringify!($name), $help, Kind::$kind),)*];

            /// How many there are.
            pub const LEN: usize = Self::TABLE.len();

            /// The values, in the order of [`Counters::TABLE`].
            pub const fn values(&self) -> [u64; Self::LEN] {
                [$(self.$name,)*]
            }

            /// Adds another worker's to these.
            pub const fn add(&mut self, other: &Self) {
                $(self.$name = self.$name.wrapping_add(other.$name);)*
            }
        }
    };
}

impl Counters {
    /// All readings, one by one.
    pub fn readings(&self) -> impl Iterator<Item = Reading> + use<> {
        Self::TABLE.iter().zip(self.values()).map(|(&(name, help, kind), value)| Reading { name, help, kind, value })
    }
}

counters! {
    // The ladder.
    Counter rx_access "Messages received from the access side";
    Counter rx_core "Messages received from the core";
    Counter s1_accepted "s1 accepted and sent on as s2";
    Counter s6_sent "Challenges (s6) sent";
    Counter s6_renewed "Challenges sent anew after a wrong word, also counted in s6_sent";
    Counter s7_accepted "s7 accepted and sent on as s8";
    Counter progress_sent "Terminals told that the core takes a while";
    Counter s10_sent "Session keys (s10) sent";
    Counter sessions_confirmed "Sessions that became active through a protected message";
    Counter sessions_replaced "Active sessions ended by a newer one of the same IDc";
    Counter sessions_unconfirmed "Provisional sessions that nobody confirmed in time";
    Counter sessions_superseded "Provisional sessions dropped for a newer provisional one of the same IDc";
    Counter sessions_deregistered "Sessions ended by de-registration";
    Counter sessions_expired "Sessions ended at the end of their life";
    Counter sessions_commanded "Sessions ended by the control side";
    Counter sessions_exhausted "Sessions ended because their sequence numbers ran out";
    Counter retransmissions_relayed "Retransmitted registrations sent on again while the core had not answered";
    Counter retransmissions_answered "Retransmitted registrations answered from the cache";
    // What a message was refused for.
    Counter fault_unreadable "Access messages dropped: not the protocol, truncated or binary";
    Counter fault_malformed "Access messages malformed";
    Counter fault_too_big "Access messages beyond a limit of the protocol's reader";
    Counter fault_forbidden "Access messages with a field that only the core may send, or a foreign name";
    Counter fault_unsupported "Access messages that nothing here serves";
    Counter request_too_long "Registrations longer than a pending slot";
    Counter wrong_idsp "Registrations for another proxy";
    Counter realm_unserved "Registrations of terminals whose realm is not served here";
    Counter wrong_listener "Messages for a listener that does not exist or does not take them";
    Counter clock_stale "Registrations refused because their TS is outside the window";
    Counter replayed_s1 "s1 dropped: its (IDc, N1) was used before";
    Counter n1_in_use "s1 dropped: another registration that waits for the core bears its N1";
    Counter replayed_s7 "s7 refused: its (IDc, N1) was used before";
    Counter challenge_invalid "s7 refused: N2 was not made here for this source and IDc, or its nonce differs";
    Counter challenge_expired "s7 refused: its challenge is too old";
    Counter challenge_reused "s7 refused: its challenge has served before";
    Counter cookie_sent "s1 answered with a cookie";
    Counter cookie_invalid "s1 with a cookie that does not verify; answered with a new one";
    Counter locked_slowed "Registrations told to wait after repeated failures";
    Counter locked_ignored "Registrations ignored after repeated failures";
    Counter unprotected_refused "Unprotected requests refused: neither s1 nor s7";
    Counter unprotected_response "Unprotected responses dropped";
    Counter stock_not_admitted "Stock phones' messages refused by the listener's policy";
    Counter digest_refused "Stock phones' registrations refused by the policy of their listener or their own";
    Counter stock_keyed_idc "Stock phones' registrations refused: the IDc has a session with a key";
    Counter stock_registered "Stock phones' registrations granted";
    Counter stock_foreign_source "Stock phones' messages from a source that is not the session's";
    Counter denied_by_core "Registrations that the core denied";
    Counter busy_by_core "Registrations that the core was too busy for";
    Counter mechanism_refused "Registrations refused: no acceptable mechanism";
    Counter mechanism_below_floor "Registrations refused: nothing offered that is as strong as the policy's floor";
    Counter unwrap_failed "s9 whose E_Ksp does not open";
    Counter kernel_sessions "Sessions whose ESP the host's kernel was asked to do";
    Counter kernel_unasked "Registrations told 503: the kernel could not be asked for their ESP";
    Counter kernel_unknown "Messages out of the kernel's ESP from where no session is";
    Counter kernel_lost "Sessions ended because the kernel does not have their ESP, or their terminal's address changed";
    Counter unwrap_other_key "s9 whose E_Ksp opened under the device's other key";
    // Load.
    Counter shed_busy "New registrations told 503 under load or while draining";
    Counter shed_dropped "New registrations dropped without a word under load";
    Counter pending_evicted "Unauthenticated registrations given up, the oldest first, because the table was full";
    Counter pending_full "Registrations refused: the table was full of better ones";
    Counter core_timeout "Registrations that the core did not answer in time";
    Counter begun_anew "Registrations told to begin anew at once: the softswitch that has their challenge is silent";
    Counter core_queue_full "Messages that the queue to the core did not take";
    Counter access_queue_full "Messages that the queue to the access side did not take";
    Counter binding_lost "Changed bindings not kept: too long, no room, or too many waiting for the core";
    Counter session_full "Registrations refused: no session slot, or no room for its identity and binding";
    Counter replay_full "Registrations refused: the replay set was full";
    Counter answer_evicted "Cached answers overwritten before their time";
    Counter amplification_limited "Answers kept back: longer than three times what an unproven source had sent";
    Counter write_full "Messages not sent because they do not fit their buffer";
    // The core.
    Counter core_unreadable "Core messages that cannot be read";
    Counter core_unmatched "Core answers that name nothing that waits: late or duplicate";
    Counter core_mismatched "Core answers that name what waits but whose IDc, IDsp or step does not fit";
    Counter core_acknowledged "Core answers that only acknowledge the proxy's own commands";
    Counter core_steps_acknowledged "Steps of the core acknowledged at once, repeated ones too";
    Counter asked_lost "De-registrations whose answer will not be recognised: too many wait for the core";
    Counter core_unreachable "Core requests for a terminal without an active session";
    Counter core_own "Core requests to the proxy itself";
    // Protected traffic.
    Counter sealed_up "Protected messages of terminals sent on";
    Counter sealed_down "Messages of the core protected and sent";
    Counter sealed_confirmations "Protected confirmations received";
    Counter sealed_bad_header "Protected datagrams with a bad header, flags, version, length or protocol";
    Counter sealed_unknown_kid "Protected datagrams of no session";
    Counter sealed_replayed "Protected datagrams whose sequence number was used or is too old";
    Counter sealed_forged "Protected datagrams that do not verify";
    Counter sealed_bad_content "Protected datagrams that verify and break a rule on what is inside";
    Counter sealed_keep_alive "Keep-alives of terminals behind a NAT, dropped";
    Counter sealed_marker "Key exchange messages where ESP is listened for, dropped";
    Counter sealed_dummy "Dummies, which say nothing";
    Counter sealed_moved "Sessions whose verified source changed";
    Counter tls_handshakes "Connections of mechanism tls whose handshake proved the key of a session";
    Counter tls_unknown_id "ClientHellos whose identity names no session; answered as a wrong key is";
    Counter tls_replaced "Connections of mechanism tls closed for a newer one of the same session";
    Counter tls_session_gone "Handshakes and messages inside connections whose session has ended";
    Counter tls_no_connection "Messages for terminals whose session of mechanism tls has no connection, dropped";
    Counter plain_up "Stock phones' messages sent on";
    Counter plain_down "Core messages sent plain to stock phones";
    Counter relay_refused "Messages inside sessions answered with a refusal";
    Counter relay_dropped "Messages inside sessions dropped by the protocol";
    Counter relay_fault "Messages inside sessions, or for them, that cannot be read or do not fit";
    // The border.
    Counter plain_refused "Stock phones' messages refused: their policy lets nothing through in the clear";
    Counter rate_exceeded "Messages inside sessions refused: more than the policy's rate";
    Counter message_too_long "Messages of terminals refused: longer than the policy allows";
    Counter border_forged "Messages refused: they give back as hidden what was never hidden for their terminal";
    Counter border_routed "Messages whose sender chose a way through the core, which was not followed";
    Counter border_stripped_up "Messages of terminals that lost header fields at the border";
    Counter border_stripped_down "Messages of the core that lost header fields at the border";
    Gauge pendings "Registrations that wait for the core";
    Gauge sessions_provisional "Provisional sessions";
    Gauge sessions_active "Active sessions with a key";
    Gauge sessions_stock "Sessions of stock phones";
}
