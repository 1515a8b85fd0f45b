//! An inventory that is longer than one frame comes in pages. They are put together here, within a bound.

use sessd_proto::limits::INVENTORY_MAX;
use sessd_proto::messages::{Inventory, LinkAnswer, LinkReply};
use std::collections::HashMap;

/// Pages of answers that have not come to their end.
#[derive(Debug, Default)]
pub(super) struct Pages {
    begun: HashMap<u64, Inventory>,
    /// Bytes of all of them.
    bytes: usize,
}

impl Pages {
    /// Takes a reply of `bytes` bytes, if more of it are to come. False: they are more than any host has.
    pub(super) fn put(&mut self, reply: &mut LinkReply, bytes: usize) -> bool {
        if !reply.more {
            return true;
        }
        self.bytes += bytes;
        if let Some(LinkAnswer::Inventory(page)) = reply.answer.take() {
            match self.begun.get_mut(&reply.id) {
                Some(inventory) => inventory.jobs.extend(page.jobs),
                None => {
                    self.begun.insert(reply.id, page);
                }
            }
        }
        self.bytes <= INVENTORY_MAX
    }

    /// The whole answer, of which this is the last page.
    pub(super) fn whole(&mut self, id: u64, last: LinkAnswer) -> LinkAnswer {
        let begun = self.begun.remove(&id);
        if self.begun.is_empty() {
            self.bytes = 0;
        }
        match (begun, last) {
            (Some(mut all), LinkAnswer::Inventory(last)) => {
                all.jobs.extend(last.jobs);
                // What holds for all of it is said at its end.
                LinkAnswer::Inventory(Inventory { jobs: all.jobs, ..last })
            }
            (_, last) => last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sessd_proto::messages::JobReport;

    fn page(pid: u32, more: bool) -> LinkReply {
        let jobs = vec![JobReport { pid, ..JobReport::default() }];
        let inventory = Inventory { jobs, complete: !more, ..Inventory::default() };
        LinkReply { id: 7, answer: Some(LinkAnswer::Inventory(inventory)), more }
    }

    #[test]
    fn pages_make_one_inventory_and_the_last_says_what_holds() {
        let mut pages = Pages::default();
        for pid in 1..4 {
            assert!(pages.put(&mut page(pid, true), 100));
        }
        let mut last = page(4, false);
        assert!(pages.put(&mut last, 100));
        let LinkAnswer::Inventory(all) = pages.whole(7, last.answer.unwrap()) else { panic!("an inventory") };
        assert_eq!(all.jobs.iter().map(|job| job.pid).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert!(all.complete);
        let LinkAnswer::Inventory(one) = pages.whole(8, page(5, false).answer.unwrap()) else {
            panic!("one")
        };
        assert_eq!(one.jobs.len(), 1, "an agent that knows no pages");
    }

    #[test]
    fn pages_without_end_are_not_believed() {
        let mut pages = Pages::default();
        assert!(pages.put(&mut page(1, true), INVENTORY_MAX));
        assert!(!pages.put(&mut page(1, true), 1));
    }
}
