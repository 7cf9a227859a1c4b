//! How often one address may call. A bucket an address fills by time; wrong tokens have a smaller one of
//! their own. Time is an argument.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Calls at once, in seconds of the lasting rate.
const BURST_SECONDS: u32 = 10;
/// Wrong tokens at once, and the seconds until one more is heard.
const WRONG_BURST: u32 = 20;
const WRONG_EVERY: Duration = Duration::from_secs(3);
/// Addresses that are kept apart; beyond, those that have not called for longest are forgotten.
const MOST_ADDRESSES: usize = 4_096;

#[derive(Debug)]
pub struct Rate {
    calls: Limit,
    wrong: Limit,
    callers: HashMap<IpAddr, Caller>,
}

#[derive(Debug)]
struct Caller {
    calls: Bucket,
    wrong: Bucket,
}

#[derive(Debug, Clone, Copy)]
struct Limit {
    burst: f64,
    per_second: f64,
}

#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn fill(&mut self, limit: Limit, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * limit.per_second).min(limit.burst);
        self.at = now;
    }

    /// Takes one, or says in how many seconds there is one.
    fn take(&mut self, limit: Limit, now: Instant) -> Result<(), u64> {
        self.fill(limit, now);
        if self.left < 1.0 {
            return Err(self.wait(limit));
        }
        self.left -= 1.0;
        Ok(())
    }

    fn wait(&self, limit: Limit) -> u64 {
        ((1.0 - self.left) / limit.per_second).ceil().max(1.0) as u64
    }
}

impl Rate {
    pub fn new(calls_per_second: u32) -> Self {
        let per_second = f64::from(calls_per_second);
        Self {
            calls: Limit { burst: per_second * f64::from(BURST_SECONDS), per_second },
            wrong: Limit { burst: f64::from(WRONG_BURST), per_second: WRONG_EVERY.as_secs_f64().recip() },
            callers: HashMap::new(),
        }
    }

    /// Counts a call.
    ///
    /// # Errors
    /// Too many; in so many seconds the next one is heard.
    pub fn call(&mut self, from: IpAddr, now: Instant) -> Result<(), u64> {
        let limit = self.calls;
        self.caller(from, now).calls.take(limit, now)
    }

    /// Whether a token of this address is looked at at all.
    ///
    /// # Errors
    /// It was wrong too often; in so many seconds the next one is.
    pub fn may_try(&mut self, from: IpAddr, now: Instant) -> Result<(), u64> {
        let limit = self.wrong;
        let bucket = &mut self.caller(from, now).wrong;
        bucket.fill(limit, now);
        if bucket.left < 1.0 { Err(bucket.wait(limit)) } else { Ok(()) }
    }

    /// Its token was wrong.
    pub fn note_wrong(&mut self, from: IpAddr, now: Instant) {
        let limit = self.wrong;
        // That there was one left is what `may_try` said.
        let _ = self.caller(from, now).wrong.take(limit, now);
    }

    fn caller(&mut self, from: IpAddr, now: Instant) -> &mut Caller {
        if self.callers.len() >= MOST_ADDRESSES && !self.callers.contains_key(&from) {
            let oldest = self.callers.iter().min_by_key(|(_, caller)| caller.calls.at).map(|(ip, _)| *ip);
            oldest.and_then(|ip| self.callers.remove(&ip));
        }
        let full = |limit: Limit| Bucket { left: limit.burst, at: now };
        let (calls, wrong) = (self.calls, self.wrong);
        self.callers.entry(from).or_insert_with(|| Caller { calls: full(calls), wrong: full(wrong) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let (mut rate, start) = (Rate::new(5), Instant::now());
        assert!((0..50).all(|_| rate.call(HERE, start).is_ok()));
        assert_eq!(rate.call(HERE, start), Err(1));
        let later = start + Duration::from_secs(1);
        assert_eq!((0..20).filter(|_| rate.call(HERE, later).is_ok()).count(), 5);
    }

    #[test]
    fn wrong_tokens_close_the_door_to_their_address_alone() {
        let (mut rate, now) = (Rate::new(5), Instant::now());
        for _ in 0..WRONG_BURST {
            assert!(rate.may_try(HERE, now).is_ok());
            rate.note_wrong(HERE, now);
        }
        assert_eq!(rate.may_try(HERE, now), Err(3));
        assert!(rate.may_try("10.0.0.1".parse().unwrap(), now).is_ok());
        assert!(rate.may_try(HERE, now + WRONG_EVERY).is_ok());
    }

    #[test]
    fn addresses_without_number_take_a_bounded_place() {
        let (mut rate, now) = (Rate::new(5), Instant::now());
        for number in 0..10_000u32 {
            assert!(rate.call(IpAddr::from(number.to_be_bytes()), now).is_ok());
        }
        assert_eq!(rate.callers.len(), MOST_ADDRESSES);
    }
}
