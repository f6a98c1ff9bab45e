//! The end of segments that nobody needs any more: written over, removed, or set aside for a look.

use std::io;
use std::time::Instant;

use super::super::segments::Segment;
use super::super::state::Stuck;
use super::super::{Shared, damaged_name, segment_name};
use super::{SPARE, Writer};

/// Damaged segments that are kept for a look, at most.
const KEPT_DAMAGED: usize = 2;

impl Writer {
    /// Does away with the segments that nobody needs any more, the oldest first: what is left of them after a crash
    /// must not look as if something between were missing.
    pub(in crate::log::disk) fn retire(&mut self, shared: &Shared) {
        self.retired.extend(shared.state().take_retired());
        let tried = !self.retired.is_empty();
        while let Some(oldest) = self.retired.pop_front() {
            match self.retire_one(&oldest) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    self.retired.push_front(oldest);
                    self.cannot_retire(&error, shared);
                    return;
                }
                _ => {}
            }
        }
        if tried {
            self.retiring.works();
            shared.state().set_stuck(None);
        }
    }

    /// They count towards the cap for as long as they are there.
    fn cannot_retire(&mut self, error: &io::Error, shared: &Shared) {
        let stuck = Stuck {
            bytes: self.retired.iter().map(|segment| segment.end).sum(),
            reason: error.kind(),
        };
        shared.state().set_stuck(Some(stuck));
        shared.status.last_error.set(error.to_string());
        if self.retiring.fails(Instant::now()) {
            tracing::error!(
                %error,
                directory = shared.status.directory,
                "used-up segments cannot be removed: this is tried again, and they count towards the limit until they can be"
            );
        }
    }

    fn retire_one(&mut self, segment: &Segment) -> io::Result<()> {
        self.files.check()?;
        let name = segment_name(segment.id);
        if segment.damaged {
            let aside = damaged_name(segment.id);
            self.files.rename(&name, &aside)?;
            self.damaged.push(aside);
            while self.damaged.len() > KEPT_DAMAGED {
                self.files.remove(&self.damaged.remove(0))?;
            }
            return Ok(());
        }
        if self.spare || segment.end > self.segment_bytes || segment.end < self.segment_bytes / 2 {
            return self.files.remove(&name);
        }
        self.files.rename(&name, SPARE)?;
        self.spare = true;
        Ok(())
    }
}
