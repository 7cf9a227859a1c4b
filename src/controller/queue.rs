//! What to look at next: every key at most once in the queue and at most once in progress, with
//! delays, and fresh edits ahead of the start-up's relist. Owned by the controller's loop; time is an
//! argument.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Something happened.
    High,
    /// The relist at the start.
    Low,
}

/// The longest delay that is kept; a later wish is looked at then and wished again.
const FARTHEST: Duration = Duration::from_secs(3600);

#[derive(Debug)]
pub struct Queue<K> {
    high: VecDeque<K>,
    low: VecDeque<K>,
    queued: HashMap<K, Queued>,
    delayed: BTreeMap<(Instant, u64), K>,
    wishes: HashMap<K, (Instant, u64)>,
    processing: HashSet<K>,
    /// Woken while in progress: goes round again.
    dirty: HashSet<K>,
    next_number: u64,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            high: VecDeque::new(),
            low: VecDeque::new(),
            queued: HashMap::new(),
            delayed: BTreeMap::new(),
            wishes: HashMap::new(),
            processing: HashSet::new(),
            dirty: HashSet::new(),
            next_number: 0,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Queued {
    High,
    Low,
}

impl<K: Clone + Eq + Hash> Queue<K> {
    /// Queues a key now. One in progress is queued again when it is done.
    pub fn wake(&mut self, key: &K, priority: Priority) {
        if self.processing.contains(key) {
            self.dirty.insert(key.clone());
            return;
        }
        match (self.queued.get(key), priority) {
            (Some(Queued::High), _) | (Some(Queued::Low), Priority::Low) => {}
            (Some(Queued::Low), Priority::High) | (None, Priority::High) => {
                // Its place in the low queue is skipped when it comes up.
                self.queued.insert(key.clone(), Queued::High);
                self.high.push_back(key.clone());
            }
            (None, Priority::Low) => {
                self.queued.insert(key.clone(), Queued::Low);
                self.low.push_back(key.clone());
            }
        }
    }

    /// Queues a key after a delay; of several wishes the earliest holds.
    pub fn wake_after(&mut self, key: &K, delay: Duration, now: Instant) {
        let at = now + delay.min(FARTHEST);
        if let Some(known) = self.wishes.get(key) {
            if known.0 <= at {
                return;
            }
            self.delayed.remove(known);
        }
        self.next_number += 1;
        let wish = (at, self.next_number);
        self.delayed.insert(wish, key.clone());
        self.wishes.insert(key.clone(), wish);
    }

    /// The next key to work on; it counts as in progress until [`Queue::done`].
    pub fn next(&mut self, now: Instant) -> Option<K> {
        while let Some((&wish, _)) = self.delayed.first_key_value() {
            if wish.0 > now {
                break;
            }
            if let Some(key) = self.delayed.remove(&wish) {
                self.wishes.remove(&key);
                self.wake(&key, Priority::High);
            }
        }
        let key = loop {
            if let Some(key) = self.high.pop_front() {
                break key;
            }
            let key = self.low.pop_front()?;
            if self.queued.get(&key) == Some(&Queued::Low) {
                break key;
            }
        };
        self.queued.remove(&key);
        if let Some(wish) = self.wishes.remove(&key) {
            // It is looked at now, and wishes again if it must.
            self.delayed.remove(&wish);
        }
        self.processing.insert(key.clone());
        Some(key)
    }

    pub fn done(&mut self, key: &K) {
        self.processing.remove(key);
        if self.dirty.remove(key) {
            self.wake(key, Priority::High);
        }
    }

    /// When the earliest delayed key is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.delayed.first_key_value().map(|(wish, _)| wish.0)
    }

    /// Keys that wait or are in progress, delayed ones apart.
    pub fn depth(&self) -> usize {
        self.queued.len() + self.processing.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_woken_twice_is_worked_on_once() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.wake(&"a", Priority::High);
        queue.wake(&"a", Priority::High);
        assert_eq!(queue.next(now), Some("a"));
        assert_eq!(queue.next(now), None);
    }

    #[test]
    fn a_key_woken_in_progress_goes_round_again_and_never_beside_itself() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.wake(&"a", Priority::High);
        queue.next(now);
        queue.wake(&"a", Priority::High);
        assert_eq!(queue.next(now), None);
        queue.done(&"a");
        assert_eq!(queue.next(now), Some("a"));
    }

    #[test]
    fn an_edit_goes_ahead_of_the_start_ups_relist() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for key in ["a", "b", "c"] {
            queue.wake(&key, Priority::Low);
        }
        queue.wake(&"c", Priority::High);
        let order: Vec<_> = std::iter::from_fn(|| queue.next(now)).collect();
        assert_eq!(order, ["c", "a", "b"]);
    }

    #[test]
    fn of_two_delays_the_earlier_holds() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.wake_after(&"a", Duration::from_secs(5), now);
        queue.wake_after(&"a", Duration::from_secs(9), now);
        queue.wake_after(&"a", Duration::from_secs(2), now);
        assert_eq!(queue.next(now + Duration::from_secs(1)), None);
        assert_eq!(queue.next(now + Duration::from_secs(2)), Some("a"));
        queue.done(&"a");
        assert_eq!(queue.next_due(), None);
    }
}
