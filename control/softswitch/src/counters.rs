//! Named counters: everything that the softswitch dropped, refused or shed, and why.

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// What happened since start, by name. Plain numbers: whoever runs the softswitch reads them between events.
        #[derive(Debug, Default, Clone, PartialEq, Eq)]
        pub struct Counters {
            $($(#[doc = $doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Every counter with its name, in a fixed order.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }

            /// Every counter with a name that no other part of a process has, and what it counts; in the same order.
            pub fn told(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> + use<> {
                [$((concat!("softswitch_", stringify!($name)), concat!($($doc),*).trim_ascii(), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Messages taken from a peer.
    received,
    /// Messages from an address that is no configured peer: dropped.
    stranger,
    /// Messages that are not of their listener's protocol: dropped.
    unreadable,
    /// Messages answered as malformed (SIP 400, MGCP 510, H.248 error 400).
    malformed,
    /// Responses whose topmost Via is not ours, or that lead to no configured peer: dropped.
    stray_response,
    /// Requests that were answered from the transaction cache, or absorbed because their answer is on its way.
    retransmission,
    /// Registrations through a proxy identity that their sender does not serve.
    unknown_proxy,
    /// Registrations of subscribers whose realm no AuC is known for.
    unknown_realm,
    /// Questions put to the AuC (s3).
    asked,
    /// Challenges sent (s5).
    challenged,
    /// Registrations authenticated (s9).
    authenticated,
    /// Stock phones authenticated by digest.
    authenticated_digest,
    /// Words that differed.
    word_differs,
    /// Answers to a challenge that is not (or no longer) known.
    challenge_unknown,
    /// Challenges that nobody answered in time.
    challenge_expired,
    /// Oldest challenges that gave way to newer ones because the table was full.
    challenge_evicted,
    /// Refusals of registrations.
    refused,
    /// Refreshes and de-registrations that a trusted proxy vouched for.
    vouched,
    /// Registrations turned away with 503 because the AuC is unreachable or busy.
    auc_unavailable,
    /// Registrations turned away with 503 because too many questions are open.
    ask_full,
    /// Questions that the AAA client never answered.
    ask_expired,
    /// Registration records that the AuC will never hear of, because too many wait already.
    record_lost,
    /// Oldest cached answers that gave way to newer ones because the cache was full.
    transaction_evicted,
    /// Registrations turned away because the location table is full.
    location_full,
    /// Registrations refused because a Contact's CSeq is not newer (RFC 3261 section 10.3, step 7).
    out_of_order,
    /// Registrations refused with 423.
    too_brief,
    /// Bindings that expired.
    binding_expired,
    /// Terminals that moved to another proxy, once they showed life there.
    moved,
    /// Requests relayed.
    relayed_request,
    /// Responses relayed.
    relayed_response,
    /// Requests for subscribers of another domain, or of another softswitch, passed to it.
    to_neighbour,
    /// Requests answered 404 or 480: nobody is registered there.
    unreachable,
    /// Requests answered 482 or 483.
    looped,
    /// Requests refused because they lead to no configured peer.
    no_route,
    /// Messages that did not fit in a datagram.
    too_big,
    /// Registrations put to a registrar behind us.
    registrar_asked,
    /// Registrations that it granted.
    registrar_granted,
    /// Registrations that it refused.
    registrar_refused,
    /// Registrations that another registrar was asked for because one was silent or busy.
    registrar_failover,
    /// Registrations turned away with 503 because a registrar asks for credentials or sends elsewhere: it does not
    /// trust us.
    registrar_distrusts,
    /// Registrations and requests turned away with 503 because no registrar is up, or none answered in time.
    registrar_none,
    /// Times that a registrar was found to be down.
    registrar_down,
    /// Times that it was found to be up again.
    registrar_up,
    /// Times that a call agent or controller behind us was found to be down.
    upstream_down,
    /// Times that it was found to be up again.
    upstream_up,
    /// Gateways announced to a call agent or controller behind us, the first time and every time.
    gateway_announced,
    /// Gateways that it did not take: they are announced again later.
    gateway_refused,
    /// Gateways announced to another one because theirs is down, or did not answer when they were announced.
    gateway_failover,
    /// Gateways that nobody serves for now because no call agent or controller is up.
    gateway_unserved,
    /// Messages of gateways dropped because nobody serves them for now: gateways repeat what is not answered.
    gateway_waits,
    /// Gateways announced to another one because theirs sent them there.
    redirect_followed,
    /// Times that a call agent or controller sent a gateway to somebody who is not in the configuration, or not up.
    redirect_refused,
    /// Messages of a call agent or controller for a gateway that another one serves: requests are refused.
    upstream_other,
    /// Commands of our own sent (lane protocols).
    command_sent,
    /// Commands of our own repeated.
    command_repeated,
    /// Commands of our own that nobody answered in time.
    command_given_up,
    /// Commands of our own that were not sent because too many are open.
    command_full,
    /// Answers that belong to no command of ours to their sender.
    stray_answer,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_fields() {
        let counters = Counters { stranger: 3, ..Counters::default() };
        let named: Vec<_> = counters.named().filter(|(_, n)| *n > 0).collect();
        assert_eq!(named, [("stranger", 3)]);
        let told: Vec<_> = counters.told().filter(|(.., n)| *n > 0).collect();
        assert_eq!(told, [("softswitch_stranger", "Messages from an address that is no configured peer: dropped.", 3)]);
    }
}
