//! Who may ask.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::config::Token;

/// What must be shown, as a hash: so that the time a comparison takes tells neither its letters nor their number.
#[derive(Debug, Clone)]
pub(super) struct Guard([u8; 32]);

impl Guard {
    pub(super) fn of(token: &Token) -> Self {
        Self(Sha256::digest(token.text()).into())
    }

    /// True for the value of an `authorization` header with the token.
    pub(super) fn admits(&self, header: Option<&[u8]>) -> bool {
        let (scheme, shown) = header.and_then(|header| header.split_at_checked(7)).unwrap_or_default();
        let shown: [u8; 32] = Sha256::digest(shown.trim_ascii()).into();
        let is_same: bool = self.0.ct_eq(&shown).into();
        scheme.eq_ignore_ascii_case(b"bearer ") && is_same
    }
}
