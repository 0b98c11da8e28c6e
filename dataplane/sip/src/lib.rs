//! SIP for Portunus.
pub mod carriage;
pub mod view;
/// What stands for s10's MAC while it is computed: 64 `0` digits.
pub const MAC_PLACEHOLDER: &[u8; 64] = &[b'0'; 64];
