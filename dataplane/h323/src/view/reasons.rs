//! Reasons of rejections by the Recommendation's names, beside those that several kinds have.

use super::Reason;

impl Reason {
    /// RegistrationRejectReason discoveryRequired: nothing is known of a registration; begin with a GatekeeperRequest.
    pub const DISCOVERY_REQUIRED: Self = Self::Root(0);
    /// RegistrationRejectReason fullRegistrationRequired: not the registration that this lightweight one would keep.
    pub const FULL_REGISTRATION_REQUIRED: Self = Self::Added(4, None);
    /// UnregRejectReason notCurrentlyRegistered; notRegistered of LocationRejectReason and DisengageRejectReason, and
    /// notBound of BandRejectReason, have the same place.
    pub const NOT_REGISTERED: Self = Self::Root(0);
    /// AdmissionRejectReason calledPartyNotRegistered.
    pub const CALLED_PARTY_NOT_REGISTERED: Self = Self::Root(0);
    /// AdmissionRejectReason callerNotRegistered.
    pub const CALLER_NOT_REGISTERED: Self = Self::Root(4);
    /// AdmissionRejectReason invalidEndpointIdentifier.
    pub const INVALID_ENDPOINT_IDENTIFIER: Self = Self::Root(6);
    /// AdmissionRejectReason incompleteAddress.
    pub const INCOMPLETE_ADDRESS: Self = Self::Added(2, None);
    /// LocationRejectReason requestDenied: where it is nobody knows here.
    pub const REQUEST_DENIED: Self = Self::Root(2);
}
