//! Trouble that comes and goes, such as a disk that is full for large batches and not for small ones: one line when it
//! begins and one when it is over, however often it came and went between. Used by `log` and `net`.

use std::time::{Duration, Instant};

/// Trouble that has not shown itself for so long is over.
pub const CALM: Duration = Duration::from_secs(5);

/// One kind of trouble.
#[derive(Debug, Default)]
pub struct Episode {
    /// When it last failed, as long as the episode lasts.
    failed_at: Option<Instant>,
    /// Whether it worked since.
    works: bool,
}

impl Episode {
    /// Notes a failure at `now`; whether it begins an episode, which is to be told.
    pub fn fails(&mut self, now: Instant) -> bool {
        self.works = false;
        self.failed_at.replace(now).is_none()
    }

    /// Notes that it works.
    pub fn works(&mut self) {
        self.works = true;
    }

    /// Whether at `now` an episode is over: true once, to be told.
    pub fn is_over(&mut self, now: Instant) -> bool {
        let calm = |failed: &mut Instant| now.saturating_duration_since(*failed) >= CALM;
        self.works && self.failed_at.take_if(calm).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_that_comes_and_goes_is_told_once() {
        let (mut trouble, start) = (Episode::default(), Instant::now());
        assert!(!trouble.is_over(start), "none began");
        assert!(trouble.fails(start));
        for second in 1..20 {
            let now = start + Duration::from_secs(second);
            trouble.works();
            assert!(!trouble.is_over(now));
            assert!(!trouble.fails(now), "told already");
        }
        let last = start + Duration::from_secs(19);
        assert!(!trouble.is_over(last + CALM), "it does not work");
        trouble.works();
        assert!(!trouble.is_over(last + CALM - Duration::from_millis(1)));
        assert!(trouble.is_over(last + CALM));
        assert!(!trouble.is_over(last + CALM), "told already");
        assert!(trouble.fails(last + CALM), "another one");
    }
}
