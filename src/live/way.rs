//! How what is told leaves, and what of it may be said.

use super::direct::Instruments;
#[cfg(feature = "sqlite")]
use super::durable::Queue;
use crate::ledger::Told;
use crate::money::Prices;
use crate::otel::Settings;

/// What guards need to know of where they are told.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) settings: Settings,
    pub(super) prices: Prices,
    pub(super) to: To,
}

/// Who counts.
#[derive(Debug)]
pub(super) enum To {
    /// The SDK's instruments.
    Direct(Instruments),
    /// The ledger of a state file.
    #[cfg(feature = "sqlite")]
    Durable(std::sync::Arc<Queue>),
}

impl Way {
    /// Counts what was done, and ends its span: both together where they are kept.
    pub(super) fn tell(&self, told: Told, end: impl FnOnce()) {
        match &self.to {
            To::Direct(instruments) => {
                instruments.record(told.measurements);
                end();
            }
            #[cfg(feature = "sqlite")]
            To::Durable(queue) => queue.tell(told, end),
        }
    }
}
