//! One side of a comparison: its sessions in memory, and what the row measures gathered from them.
//!
//! A session takes about 100 bytes per packet, plus the kept bytes of its frame, because some measures read sessions of
//! both sides more than once. `--max-packets` bounds the memory.

use std::collections::BTreeMap;

use netssm_wire::capture::Progress;
use serde::Serialize;

use crate::error::FidelityError;
use crate::input::read::{self, Captures, File, Found, Take};
use crate::input::session::{CapturedSession, SessionBuilder};
use crate::rows::MEASURES;
use crate::rows::collect::Collected;

/// One side in numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct About {
    /// What was read.
    #[serde(flatten)]
    pub found: Found,
    /// TCP segments whose fixed header was cut. No measure of TCP counts them.
    pub cut_segments: u64,
}

/// One side of a comparison.
#[derive(Debug, Default)]
pub struct Side {
    found: Found,
    sessions: Vec<CapturedSession>,
    /// Every row measure of every session, by label (`None`: sessions without one).
    by_label: BTreeMap<Option<String>, Collected>,
    cut_segments: u64,
}

impl Take for SessionBuilder {
    fn take(&mut self, record: &netssm_wire::capture::Record) {
        self.push(record);
    }
}

impl Side {
    /// Reads captures and measures their sessions.
    ///
    /// # Errors
    /// [`FidelityError`]: folders that cannot be listed, a label list that cannot be used, nothing that can be
    /// measured, or a stop asked for.
    pub fn measure(captures: &Captures, progress: &dyn Progress) -> Result<Self, FidelityError> {
        let open = |label: Option<&str>| SessionBuilder::new(label.map(str::to_owned));
        let files = read::read(captures, progress, open, |file: File<SessionBuilder>| {
            let mut side = Self { found: file.found, ..Self::default() };
            file.sessions.into_iter().for_each(|part| side.add(part.content.finish()));
            side
        })?;
        let mut all = Self::default();
        for file in files {
            all.found.merge(file.found);
            all.cut_segments += file.cut_segments;
            all.sessions.extend(file.sessions);
            for (label, collected) in file.by_label {
                all.by_label.entry(label).or_default().merge(&collected);
            }
        }
        if all.found.sessions == 0 {
            let mut reasons: Vec<String> = all
                .found
                .faults
                .iter()
                .take(5)
                .map(|(path, why)| format!("{}: {why}", path.display()))
                .collect();
            if reasons.is_empty() {
                reasons.push("no capture was found".to_owned());
            }
            let files = all.found.captures as usize;
            return Err(FidelityError::NothingLeft { files, reasons: reasons.join("; ") });
        }
        all.by_label.values_mut().for_each(Collected::sort);
        Ok(all)
    }

    fn add(&mut self, session: CapturedSession) {
        self.cut_segments += session.cut_segments;
        let collected = self.by_label.entry(session.label.clone()).or_default();
        MEASURES.iter().for_each(|measure| (measure.add)(&session, collected));
        self.sessions.push(session);
    }

    /// A side of sessions made by hand.
    #[cfg(test)]
    pub(crate) fn of(sessions: Vec<CapturedSession>) -> Self {
        let mut side = Self::default();
        for session in sessions {
            side.found.captures += 1;
            side.found.sessions += 1;
            side.found.packets += session.packets.len() as u64;
            if let Some(label) = &session.label {
                *side.found.labels.entry(label.clone()).or_default() += 1;
            }
            side.add(session);
        }
        side.by_label.values_mut().for_each(Collected::sort);
        side
    }

    /// What was read.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// All sessions, in order of path.
    pub fn sessions(&self) -> &[CapturedSession] {
        &self.sessions
    }

    /// Labels that sessions have, in order.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.by_label.keys().flatten().map(String::as_str)
    }

    pub(crate) fn about(&self) -> About {
        About { found: self.found.clone(), cut_segments: self.cut_segments }
    }

    /// Rows over all sessions.
    pub(crate) fn together(&self) -> Collected {
        let mut all = Collected::default();
        self.by_label.values().for_each(|collected| all.merge(collected));
        all.sort();
        all
    }

    /// Rows over the sessions of a label.
    pub(crate) fn label(&self, label: &str) -> Option<&Collected> {
        self.by_label.get(&Some(label.to_owned()))
    }
}
