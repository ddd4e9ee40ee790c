//! What commands did.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{
    id::{ConversionId, DeliveryId, DestinationId, IntakeId, LeadId, ReplayId, UploadId},
    money::Money,
};

/// What a command did.
#[derive(Clone, Debug, PartialEq)]
pub enum Done {
    /// [`Write::Accept`](super::Write::Accept): the intake row, and what became of each conversion, in order.
    Accepted(IntakeId, Vec<Captured>),
    /// [`Write::Begin`](super::Write::Begin).
    Begun(Begun),
    /// [`Write::Settle`](super::Write::Settle): how many rows changed; rows whose lease was lost are left alone.
    Settled(u64),
    /// [`Write::PutDestination`](super::Write::PutDestination).
    Destination(DestinationId),
    /// [`Write::Hold`](super::Write::Hold), [`Write::Release`](super::Write::Release), [`Write::RemoveDestination`](super::Write::RemoveDestination), [`Write::Suppress`](super::Write::Suppress), [`Write::DeleteLead`](super::Write::DeleteLead): rows changed.
    Changed(u64),
    /// [`Write::Repair`](super::Write::Repair): what became of each id, in order.
    Repaired(Vec<Repaired>),
    /// [`Write::Reserve`](super::Write::Reserve): not to be used before this time, in Unix milliseconds.
    Reserved(i64),
    /// [`Write::Request`](super::Write::Request): the key was known, and this is what the command did then.
    Repeated(Box<Done>),
    /// [`Write::Request`](super::Write::Request): the key was known with another request; nothing was done.
    OtherRequest,
    /// [`Write::Leads`](super::Write::Leads): the leads and the conversions that rules made, in order.
    Leads(Vec<LeadId>, Vec<Captured>),
    /// [`Write::Leads`](super::Write::Leads): these are not as expected, by position; nothing was stored.
    LeadsMoved(Vec<(usize, LeadId)>),
    /// [`Write::PutReplay`](super::Write::PutReplay).
    Replay(ReplayId),
    /// [`Write::PutRule`](super::Write::PutRule), [`Write::RevokeToken`](super::Write::RevokeToken), [`Write::Note`](super::Write::Note).
    Noted,
}

/// What became of an incoming conversion.
#[derive(Clone, PartialEq, Debug)]
pub enum Captured {
    /// Captured, with all its deliveries.
    New(ConversionId),
    /// Known with the same content; deliveries to further destinations were added.
    Known {
        /// Which.
        conversion: ConversionId,
        /// New deliveries.
        added: u32,
    },
    /// Known with other content; nothing was changed.
    Different {
        /// Which.
        conversion: ConversionId,
        /// The value it has.
        value: Option<Money>,
        /// Which field differs: `value`, `occurred_at` or `click_id`.
        field: Cow<'static, str>,
    },
    /// Known, and its value is now this one; earlier deliveries not yet sent were superseded.
    Restated {
        /// Which.
        conversion: ConversionId,
        /// The new revision.
        revision: u32,
    },
    /// Its transaction id belongs to another conversion; nothing was captured.
    OrderIdTaken {
        /// The owner.
        owner: ConversionId,
    },
    /// The person withdrew consent or was erased; nothing was captured.
    Suppressed,
    /// An adjustment of a conversion that is not known; nothing was captured.
    OriginalMissing,
}

/// What [`Write::Begin`](super::Write::Begin) did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Recorded.
    Upload(UploadId),
    /// Nothing was recorded: these rows were suppressed, superseded or claimed by another in the meantime.
    Lost(Vec<DeliveryId>),
}

/// What became of a dead letter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repaired {
    /// Done.
    Done,
    /// It is not dead (any more), or a newer revision takes its place, so that sending it would bring the older value back.
    NotDead,
    /// There is no such delivery in the organization.
    NotFound,
}
