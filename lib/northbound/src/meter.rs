//! Meters: rate limits that others refer to by name.

use std::num::NonZeroU32;
use std::sync::Arc;

use nb_db::tables::{Meter, MeterBand};
use ovsdb::Uuid;

use crate::draft::Draft;
use crate::error::{DraftError, Refusal, RefusalKind};
use crate::find::all_with_names;
use crate::values::Made;
use crate::words::words;

words! {
    /// What a meter counts (`Meter.unit`).
    pub enum MeterUnit {
        /// Kilobits a second.
        Kbps = "kbps",
        /// Packets a second.
        Pktps = "pktps",
    }
}

/// A meter of one band, which drops what is too much.
#[derive(Clone, Copy, Debug)]
pub struct NewMeter<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it counts.
    pub unit: MeterUnit,
    /// The most that may pass.
    pub rate: NonZeroU32,
    /// How much more may pass at once; 0 lets the switch choose.
    pub burst: u32,
    /// Whether each of its users gets its own, instead of all sharing one.
    pub is_fair: bool,
}

/// Why a meter was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddMeterError {
    /// The server's schema lacks something.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// Such names are northd's.
    #[error("meter names that begin with \"__\" are reserved")]
    Reserved,
    /// There is a meter of this name.
    #[error("meter with name \"{0}\" already exists")]
    Exists(Arc<str>),
}

impl Refusal for AddMeterError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Draft(error) => error.kind(),
            Self::Reserved => RefusalKind::Invalid,
            Self::Exists(_) => RefusalKind::AlreadyExists,
        }
    }
}

/// Adds a meter. If it is there and may be, it becomes as the new one.
pub fn add_meter(
    draft: &mut Draft<'_>,
    new: &NewMeter<'_>,
    may_exist: bool,
) -> Result<Made, AddMeterError> {
    let name: Arc<str> = new.name.into();
    let existing = check_name(draft, &name, may_exist)?;
    let band = draft.insert_as(&MeterBand {
        action: "drop".into(),
        rate: new.rate.get().into(),
        burst_size: new.burst.into(),
        ..MeterBand::default()
    })?;
    let is_new = existing.is_none();
    let uuid = match existing {
        Some(uuid) => uuid,
        None => draft.insert::<Meter>()?,
    };
    let column = Meter::COLUMN;
    draft.set::<Meter, _>(uuid, column.name, &name)?;
    draft.set::<Meter, _>(uuid, column.unit, &Arc::from(new.unit.as_str()))?;
    draft.set::<Meter, _>(uuid, column.bands, &vec![band])?;
    if new.is_fair {
        draft.set::<Meter, _>(uuid, column.fair, &Some(true))?;
    }
    Ok(Made { uuid, is_new })
}

/// That a meter can be called so: the one that is, if there is one and there may be.
pub fn check_name(
    draft: &Draft<'_>,
    name: &Arc<str>,
    may_exist: bool,
) -> Result<Option<Uuid>, AddMeterError> {
    let existing = draft.find::<Meter, _>(Meter::COLUMN.name, name);
    match existing.first() {
        Some(_) if !may_exist => Err(AddMeterError::Exists(Arc::clone(name))),
        None if name.starts_with("__") => Err(AddMeterError::Reserved),
        existing => Ok(existing.copied()),
    }
}

/// Deletes the meter of this name, or all; that there is none is no error.
pub fn delete_meters(draft: &mut Draft<'_>, name: Option<&str>) -> Result<(), DraftError> {
    let gone = match name {
        Some(name) => draft.find::<Meter, _>(Meter::COLUMN.name, &Arc::from(name)),
        None => {
            let all = all_with_names::<Meter>(draft).into_iter();
            all.map(|(_, uuid)| uuid).collect()
        }
    };
    for uuid in gone {
        draft.delete::<Meter>(uuid)?;
    }
    Ok(())
}

/// A meter and its bands.
#[derive(Clone, Debug)]
pub struct MeterWithBands {
    /// The meter.
    pub meter: Meter,
    /// Its bands, by their rates.
    pub bands: Vec<MeterBand>,
}

/// All meters, by name.
pub fn list_meters(draft: &Draft<'_>) -> Vec<MeterWithBands> {
    let mut meters = draft.all::<Meter>();
    meters.sort_by(|a, b| a.name.cmp(&b.name));
    let with_bands = |meter: Meter| {
        let bands = meter.bands.iter();
        let mut bands: Vec<MeterBand> = bands.filter_map(|uuid| draft.typed(*uuid)).collect();
        bands.sort_by_key(|band| (band.rate, band.burst_size));
        MeterWithBands { meter, bands }
    };
    meters.into_iter().map(with_bands).collect()
}
