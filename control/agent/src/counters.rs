//! Named counters: what an agent passed on, answered itself, and dropped.

use serde::Serialize;

/// What happened since start, by name.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Messages taken from phones.
    pub from_phones: u64,
    /// Octets from phones that are no SIP: dropped.
    pub unreadable: u64,
    /// Requests of phones answered as malformed.
    pub malformed: u64,
    /// Requests answered 403: their From is no phone of the configuration, or not from where it may send.
    pub stranger: u64,
    /// Responses of phones that answer nothing that was passed on to them: dropped.
    pub stray_from_phones: u64,
    /// Registrations of phones granted.
    pub granted: u64,
    /// Registrations of phones refused or put off.
    pub refused: u64,
    /// Registrations of phones that were not renewed in time.
    pub lapsed: u64,
    /// Requests answered 403 or 503: their phone has no channel.
    pub no_channel: u64,
    /// Messages passed on to the proxy.
    pub passed_up: u64,
    /// Messages passed on to phones.
    pub passed_down: u64,
    /// Messages out of the channel that could not be read, or answer nothing that was passed on: dropped.
    pub stray_from_proxy: u64,
    /// Requests out of the channel answered 480: the phone is not registered, or its connection is gone.
    pub unreachable: u64,
    /// Messages that did not fit: dropped.
    pub too_big: u64,
    /// Requests of phones on streams repeated in the channel.
    pub repeated: u64,
    /// Such requests that are not repeated because too many are under way.
    pub repeat_full: u64,
}
