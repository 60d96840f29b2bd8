//! Pages in the order of ids.
//!
//! The table has no order, but ids are given out one after another, so a page is read by
//! asking for the next ids in a row, whether they are in use or not. Where most are not,
//! a scan first finds out which are.

use super::error::Outcome;
use super::live::Live;
use super::requests::{KEYS_PER_WAVE, Visit};
use super::rows::{self, Item};
use super::session::Session;

/// Unused ids that a page passes over before it scans the table.
const PATIENCE: usize = 1000;

impl Session {
    /// The first `limit` entries with an id above `last_id`, in the order of their ids.
    pub async fn page(
        &mut self,
        last_id: u64,
        limit: u32,
        attributes: &'static [&'static str],
    ) -> Outcome<Vec<Item>> {
        let limit = limit as usize;
        if last_id == 0 {
            // A new walk finds out again.
            self.live = None;
        }
        let mut page: Vec<(u64, Item)> = Vec::new();
        let mut last = last_id;
        let mut missed = 0;
        let mut current = false;
        while page.len() < limit {
            let wanted = limit - page.len();
            let known = self.live.as_ref().and_then(|live| {
                let ids = live.beyond(last, wanted.min(KEYS_PER_WAVE))?;
                Some((ids.to_vec(), live.last))
            });
            let (ids, reached) = match known {
                Some((ids, end)) => {
                    let reached = match ids.last() {
                        Some(&id) if ids.len() == wanted.min(KEYS_PER_WAVE) => id,
                        _ => end,
                    };
                    (ids, reached)
                }
                None => {
                    let end = self.next_id.saturating_sub(1);
                    if last >= end && current {
                        break;
                    }
                    // The more are missed, the further ahead it looks.
                    let ahead = (wanted + missed).min(KEYS_PER_WAVE) as u64;
                    let reached = last.saturating_add(ahead).min(end).max(last);
                    ((last..reached).map(|id| id + 1).collect(), reached)
                }
            };
            let asked = ids.len();
            let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
            let items = match current {
                true => self.table.batch_get(ids, attributes).await?,
                false => {
                    let next_id = self.table.next_id();
                    let items = self.table.batch_get(ids, attributes);
                    let (next_id, items) = tokio::try_join!(next_id, items)?;
                    self.next_id = self.next_id.max(next_id);
                    current = true;
                    items
                }
            };
            missed += asked - items.len();
            for item in items {
                page.push((rows::id(&item)?, item));
            }
            last = reached;
            if page.len() < limit && missed > PATIENCE + 3 * page.len() {
                self.find_live(last).await?;
                missed = 0;
            }
        }
        page.sort_unstable_by_key(|(id, _)| *id);
        page.truncate(limit);
        Ok(page.into_iter().map(|(_, item)| item).collect())
    }

    /// Finds the ids in use above `after`.
    async fn find_live(&mut self, after: u64) -> Outcome<()> {
        let visit = Visit {
            attributes: &["id"],
            after,
            ..Visit::default()
        };
        // Whatever has an id below this one is there already.
        let last = self.next_id.saturating_sub(1);
        let mut ids = self.table.scan(visit, |item| rows::id(&item)).await?;
        ids.retain(|&id| id <= last);
        ids.sort_unstable();
        self.live = Some(Live { after, last, ids });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_ids_are_found_within_their_range_only() {
        let live = Live {
            after: 10,
            last: 50,
            ids: vec![12, 20, 30],
        };
        assert_eq!(live.beyond(9, 9), None);
        assert_eq!(live.beyond(50, 9), None);
        assert_eq!(live.beyond(10, 2), Some(&[12, 20][..]));
        assert_eq!(live.beyond(20, 9), Some(&[30][..]));
        assert_eq!(live.beyond(30, 9), Some(&[][..]));
    }
}
