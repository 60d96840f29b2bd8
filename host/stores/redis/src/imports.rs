//! Imports: entries staged under separate keys, which become part of the data in one step.
//!
//! Staged keys expire, so that a process that was killed leaves nothing for long. An entry is
//! staged as the hash that it is going to be, and only renamed in the end.

use std::time::Duration;

use super::error::{Fault, Outcome};
use super::reads::escaped;
use super::rows;
use super::scripts;
use super::session::Session;
use super::writes::{Row, check_size, flag};
use mneme_store::{Entry, ImportMode, MetaChange, checks};

/// How many seconds staged keys are kept after the last write.
const KEPT: u64 = 3600;
/// They are all renewed when the first has fewer seconds left.
const RENEWED: u64 = 2700;
/// Staged keys that one script renews or removes.
const KEYS: usize = 10_000;
/// How much longer than the call timeout a commit may take, for each of its entries.
const LONGER: Duration = Duration::from_micros(200);

/// An import that was begun.
#[derive(Debug)]
pub(super) struct Import {
    mode: ImportMode,
    /// What the server calls it.
    number: Vec<u8>,
    /// How many entries were sent.
    sent: u64,
    /// It has failed, and only waits to be removed.
    over: bool,
}

impl Import {
    /// The numbers of the first and the last entry of each part that one script takes, and
    /// one empty part of an import without entries.
    fn parts(&self) -> impl Iterator<Item = (String, String)> {
        let sent = self.sent;
        (1..=sent.max(1)).step_by(KEYS).map(move |from| {
            let to = sent.min(from + KEYS as u64 - 1);
            (from.to_string(), to.to_string())
        })
    }
}

impl Session {
    pub fn begin_import(&mut self, mode: ImportMode) -> Outcome<()> {
        self.end_import()?;
        let kept = KEPT.to_string();
        let args = [name(mode).as_bytes(), kept.as_bytes()];
        // A second one that nobody knows of expires.
        let reply = self.write(&scripts::BEGIN, &args)?;
        let number = rows::bytes(reply)?.ok_or_else(checks::import_not_empty)?;
        self.import = Some(Import {
            mode,
            number,
            sent: 0,
            over: false,
        });
        Ok(())
    }

    pub fn write_import(&mut self, entries: Vec<Entry>) -> Outcome<()> {
        let mut import = self.begun()?;
        let outcome = self.stage(&mut import, &entries);
        self.keep(import, outcome)
    }

    pub fn commit_import(
        &mut self,
        quotas: &[(String, u64)],
        meta: &[MetaChange],
    ) -> Outcome<bool> {
        let import = self.begun()?;
        match self.commit(&import, quotas, meta) {
            Ok(true) => Ok(true),
            outcome => self.keep(import, outcome),
        }
    }

    /// Forgets the import, and removes what was staged.
    pub fn end_import(&mut self) -> Outcome<()> {
        let Some(import) = self.import.take() else {
            return Ok(());
        };
        for (from, to) in import.parts() {
            let args = [&*import.number, from.as_bytes(), to.as_bytes()];
            self.write(&scripts::DISCARD, &args)?;
        }
        Ok(())
    }

    /// Takes the import out, for what may be its end.
    fn begun(&mut self) -> Outcome<Import> {
        self.import
            .take_if(|import| !import.over)
            .ok_or_else(|| checks::import_not_begun().into())
    }

    /// Keeps the import. After an error that is to remove it: now or, where the server is out of
    /// reach, when it is ended.
    fn keep<T>(&mut self, mut import: Import, outcome: Outcome<T>) -> Outcome<T> {
        import.over = outcome.is_err();
        self.import = Some(import);
        if let Err(fault) = &outcome
            && !fault.is_of_connection()
        {
            // What cannot be removed now expires.
            let _ = self.end_import();
        }
        outcome
    }

    fn stage(&mut self, import: &mut Import, entries: &[Entry]) -> Outcome<()> {
        let rows = entries.iter().map(Row::new).collect::<Outcome<Vec<_>>>()?;
        let numbers = [import.sent + 1, KEPT].map(|number| number.to_string());
        let mut args = vec![
            &*import.number,
            numbers[0].as_bytes(),
            numbers[1].as_bytes(),
        ];
        args.extend(rows.iter().flat_map(Row::arguments));
        check_size(&args)?;
        import.sent += entries.len() as u64;
        let [what, detail] = rows::tuple(self.write(&scripts::STAGE, &args)?)?;
        let detail = rows::count(&detail)?;
        match rows::bytes(what)?.as_deref() {
            Some(b"staged") if detail < RENEWED => self.renew(import),
            Some(b"staged") => Ok(()),
            Some(b"gone") => Err(self.gone(import)),
            Some(b"twice") if detail < entries.len() as u64 => {
                Err(checks::imported_twice(&entries[detail as usize]).into())
            }
            _ => Err(unexpected()),
        }
    }

    fn renew(&mut self, import: &Import) -> Outcome<()> {
        let kept = KEPT.to_string();
        for (from, to) in import.parts() {
            let args = [
                &*import.number,
                from.as_bytes(),
                to.as_bytes(),
                kept.as_bytes(),
            ];
            self.write(&scripts::RENEW, &args)?;
        }
        Ok(())
    }

    fn commit(
        &mut self,
        import: &Import,
        quotas: &[(String, u64)],
        meta: &[MetaChange],
    ) -> Outcome<bool> {
        let counts = [import.sent, quotas.len() as u64].map(|number| number.to_string());
        let pattern = format!("{}*", escaped(&self.quota_key("")));
        let limits: Vec<_> = quotas.iter().map(|(_, limit)| limit.to_string()).collect();
        let mut args = vec![
            &*import.number,
            name(import.mode).as_bytes(),
            counts[0].as_bytes(),
            pattern.as_bytes(),
            counts[1].as_bytes(),
        ];
        for ((namespace, _), limit) in quotas.iter().zip(&limits) {
            args.extend([namespace.as_bytes(), limit.as_bytes()]);
        }
        for change in meta {
            let expected = change.expected.as_deref();
            args.extend([
                change.key.as_bytes(),
                flag(expected.is_some()),
                expected.unwrap_or_default().as_bytes(),
                change.value.as_bytes(),
            ]);
        }
        check_size(&args)?;
        let longer = LONGER.saturating_mul(u32::try_from(import.sent).unwrap_or(u32::MAX));
        let reply = self.write_long(&scripts::COMMIT, &args, longer)?;
        match rows::bytes(reply)?.as_deref() {
            Some(b"done") => Ok(true),
            Some(b"unexpected") => Ok(false),
            Some(b"full") => Err(checks::import_not_empty().into()),
            Some(b"gone") => Err(self.gone(import)),
            _ => Err(unexpected()),
        }
    }

    fn gone(&self, import: &Import) -> Fault {
        let number = String::from_utf8_lossy(&import.number);
        let key = self.key(&format!("import:{number}"));
        Fault::Gone(format!(
            "entries under {key} are gone: nothing was written for {KEPT} seconds, or the server lost or evicted them; nothing was stored, so begin the import again"
        ))
    }
}

fn name(mode: ImportMode) -> &'static str {
    match mode {
        ImportMode::Empty => "empty",
        ImportMode::Merge => "merge",
        ImportMode::Replace => "replace",
    }
}

fn unexpected() -> Fault {
    Fault::Nonsense("the server answered a text that was not expected".to_owned())
}
