//! The kinds of RAS messages.

use crate::schema::{Type, ras};
use portunus_codec::PerReader;

/// The kinds of H.225.0's RasMessage, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the Recommendation's")]
pub enum Kind {
    GatekeeperRequest,
    GatekeeperConfirm,
    GatekeeperReject,
    RegistrationRequest,
    RegistrationConfirm,
    RegistrationReject,
    UnregistrationRequest,
    UnregistrationConfirm,
    UnregistrationReject,
    AdmissionRequest,
    AdmissionConfirm,
    AdmissionReject,
    BandwidthRequest,
    BandwidthConfirm,
    BandwidthReject,
    DisengageRequest,
    DisengageConfirm,
    DisengageReject,
    LocationRequest,
    LocationConfirm,
    LocationReject,
    InfoRequest,
    InfoRequestResponse,
    NonStandardMessage,
    UnknownMessageResponse,
    RequestInProgress,
    ResourcesAvailableIndicate,
    ResourcesAvailableConfirm,
    InfoRequestAck,
    InfoRequestNak,
    /// An alternative that is not read here, by its place among the additions: serviceControlIndication (5),
    /// serviceControlResponse (6), admissionConfirmSequence (7), and those to come.
    Unknown(u8),
}

use Kind::*;

/// Kinds, types, and how many extension additions H.225.0 (12/2009) has for each.
static KINDS: [(Kind, &Type, u8); 30] = [
    (GatekeeperRequest, &ras::GATEKEEPER_REQUEST, 12),
    (GatekeeperConfirm, &ras::GATEKEEPER_CONFIRM, 11),
    (GatekeeperReject, &ras::GATEKEEPER_REJECT, 6),
    (RegistrationRequest, &ras::REGISTRATION_REQUEST, 27),
    (RegistrationConfirm, &ras::REGISTRATION_CONFIRM, 20),
    (RegistrationReject, &ras::REGISTRATION_REJECT, 7),
    (UnregistrationRequest, &ras::UNREGISTRATION_REQUEST, 11),
    (UnregistrationConfirm, &ras::UNREGISTRATION_CONFIRM, 5),
    (UnregistrationReject, &ras::UNREGISTRATION_REJECT, 5),
    (AdmissionRequest, &ras::ADMISSION_REQUEST, 19),
    (AdmissionConfirm, &ras::ADMISSION_CONFIRM, 23),
    (AdmissionReject, &ras::ADMISSION_REJECT, 9),
    (BandwidthRequest, &ras::BANDWIDTH_REQUEST, 12),
    (BandwidthConfirm, &ras::BANDWIDTH_CONFIRM, 6),
    (BandwidthReject, &ras::BANDWIDTH_REJECT, 5),
    (DisengageRequest, &ras::DISENGAGE_REQUEST, 13),
    (DisengageConfirm, &ras::DISENGAGE_CONFIRM, 8),
    (DisengageReject, &ras::DISENGAGE_REJECT, 5),
    (LocationRequest, &ras::LOCATION_REQUEST, 17),
    (LocationConfirm, &ras::LOCATION_CONFIRM, 17),
    (LocationReject, &ras::LOCATION_REJECT, 7),
    (InfoRequest, &ras::INFO_REQUEST, 12),
    (InfoRequestResponse, &ras::INFO_REQUEST_RESPONSE, 8),
    (NonStandardMessage, &ras::NON_STANDARD_MESSAGE, 5),
    (UnknownMessageResponse, &ras::UNKNOWN_MESSAGE_RESPONSE, 4),
    (RequestInProgress, &ras::REQUEST_IN_PROGRESS, 0),
    (ResourcesAvailableIndicate, &ras::RESOURCES_AVAILABLE_INDICATE, 2),
    (ResourcesAvailableConfirm, &ras::RESOURCES_AVAILABLE_CONFIRM, 1),
    (InfoRequestAck, &ras::INFO_REQUEST_ACK, 0),
    (InfoRequestNak, &ras::INFO_REQUEST_NAK, 0),
];

/// Which of them are alternatives of the choice's root.
const ROOT: usize = 25;

impl Kind {
    /// The last index of the root.
    pub(crate) const ROOT_MAX: u32 = ROOT as u32 - 1;

    pub(crate) fn of_root(index: u32) -> Option<Self> {
        KINDS.get(..ROOT)?.get(index as usize).map(|k| k.0)
    }

    pub(crate) fn of_addition(index: u32) -> Self {
        KINDS.get(ROOT..).and_then(|k| k.get(index as usize)).map_or(Unknown(index as u8), |k| k.0)
    }

    /// The kind at a place in [`KINDS`].
    pub(crate) fn of_place(place: usize) -> Option<Self> {
        KINDS.get(place).map(|k| k.0)
    }

    /// Its place in [`KINDS`].
    pub(crate) const fn place(self) -> Option<usize> {
        Some(match self {
            GatekeeperRequest => 0,
            GatekeeperConfirm => 1,
            GatekeeperReject => 2,
            RegistrationRequest => 3,
            RegistrationConfirm => 4,
            RegistrationReject => 5,
            UnregistrationRequest => 6,
            UnregistrationConfirm => 7,
            UnregistrationReject => 8,
            AdmissionRequest => 9,
            AdmissionConfirm => 10,
            AdmissionReject => 11,
            BandwidthRequest => 12,
            BandwidthConfirm => 13,
            BandwidthReject => 14,
            DisengageRequest => 15,
            DisengageConfirm => 16,
            DisengageReject => 17,
            LocationRequest => 18,
            LocationConfirm => 19,
            LocationReject => 20,
            InfoRequest => 21,
            InfoRequestResponse => 22,
            NonStandardMessage => 23,
            UnknownMessageResponse => 24,
            RequestInProgress => 25,
            ResourcesAvailableIndicate => 26,
            ResourcesAvailableConfirm => 27,
            InfoRequestAck => 28,
            InfoRequestNak => 29,
            Unknown(_) => return None,
        })
    }

    pub(crate) fn ty(self) -> Option<&'static Type> {
        KINDS.get(self.place()?).map(|k| k.1)
    }

    /// Its index in the root; `None` for an added alternative.
    pub(crate) fn root_index(self) -> Option<u32> {
        self.place().filter(|i| *i < ROOT).map(|i| i as u32)
    }

    /// Its index among the added alternatives; `None` for one of the root.
    pub(crate) fn added_index(self) -> Option<u32> {
        match self {
            Unknown(n) => Some(n.into()),
            known => known.place().and_then(|i| i.checked_sub(ROOT)).map(|i| i as u32),
        }
    }

    /// Extension additions that H.225.0 (12/2009) has for it.
    pub(crate) fn additions(self) -> u8 {
        self.place().and_then(|i| KINDS.get(i)).map_or(0, |k| k.2)
    }

    /// Names in the root of its rejectReason.
    pub(crate) const fn reasons(self) -> Option<u32> {
        Some(match self {
            GatekeeperReject | LocationReject => 4,
            RegistrationReject | AdmissionReject => 8,
            UnregistrationReject => 3,
            BandwidthReject => 6,
            DisengageReject => 2,
            _ => return None,
        })
    }

    /// Where securityError stands among the added reasons, and the bits of a name in it.
    pub(crate) const fn security_error(self) -> Option<(u8, u32)> {
        Some(match self {
            GatekeeperReject => (3, 4),
            RegistrationReject => (9, 4),
            UnregistrationReject => (2, 3),
            AdmissionReject => (10, 3),
            BandwidthReject | DisengageReject => (1, 3),
            LocationReject => (8, 3),
            _ => return None,
        })
    }

    /// Where securityDenial stands among the added reasons.
    pub(crate) const fn security_denial(self) -> Option<u8> {
        Some(match self {
            GatekeeperReject | AdmissionReject | BandwidthReject | DisengageReject | LocationReject => 0,
            UnregistrationReject => 1,
            RegistrationReject => 3,
            _ => return None,
        })
    }

    /// True for what asks for an answer. An InfoRequestResponse is one: to an InfoRequest, or unsolicited.
    pub const fn is_request(self) -> bool {
        matches!(
            self,
            GatekeeperRequest
                | RegistrationRequest
                | UnregistrationRequest
                | AdmissionRequest
                | BandwidthRequest
                | DisengageRequest
                | LocationRequest
                | InfoRequest
                | ResourcesAvailableIndicate
                | NonStandardMessage
                | Unknown(_)
        )
    }

    /// True for an answer that grants.
    pub const fn confirms(self) -> bool {
        matches!(
            self,
            GatekeeperConfirm
                | RegistrationConfirm
                | UnregistrationConfirm
                | AdmissionConfirm
                | BandwidthConfirm
                | DisengageConfirm
                | LocationConfirm
                | ResourcesAvailableConfirm
                | InfoRequestAck
        )
    }

    /// The kind that refuses this request.
    pub const fn reject(self) -> Option<Self> {
        Some(match self {
            GatekeeperRequest => GatekeeperReject,
            RegistrationRequest => RegistrationReject,
            UnregistrationRequest => UnregistrationReject,
            AdmissionRequest => AdmissionReject,
            BandwidthRequest => BandwidthReject,
            DisengageRequest => DisengageReject,
            LocationRequest => LocationReject,
            _ => return None,
        })
    }

    /// requestSeqNum of a kind that is not read: it stands behind the preamble, whose length is known for two of them.
    pub(crate) fn seq_of_unread(self, r: &mut PerReader<'_>) -> Option<u16> {
        let optional = match self {
            Unknown(5) => 8,
            Unknown(6) => 7,
            _ => return None,
        };
        r.bits(1 + optional)?;
        r.constrained(1, 65_535).map(|n| n as u16)
    }

    /// requestSeqNum where all that is in front of it can be passed without being read.
    pub(crate) fn salvage_seq(self, r: &mut PerReader<'_>) -> Option<u16> {
        let Some(ty) = self.ty() else { return self.seq_of_unread(r) };
        r.bits(ty.preamble()?)?;
        r.constrained(1, 65_535).map(|n| n as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_where_the_choice_has_it() {
        for (at, (kind, ..)) in KINDS.iter().enumerate() {
            assert_eq!(kind.place(), Some(at), "{kind:?}");
        }
    }
}
