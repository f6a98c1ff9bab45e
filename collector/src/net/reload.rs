//! Values that are made of files and replaced when the files change: certificates, keys, tokens. `pipeline` runs the
//! watching, `server` and `receive` read what is in force.
//!
//! Files are read every few seconds and compared by content. That is cheap for the few that there are, and sees everything:
//! files that are written over, renamed into place, or swapped by a symbolic link further up, as Kubernetes does it.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::MissedTickBehavior;

use super::pem;

/// A value made of files; cheap to clone, and all clones are replaced together.
pub struct Live<T>(Arc<ArcSwap<T>>);

/// Looks after one [`Live`] value.
pub struct Watch<T> {
    /// What the files are, for what is told.
    what: &'static str,
    files: Vec<PathBuf>,
    make: Make<T>,
    value: Live<T>,
    hasher: foldhash::fast::RandomState,
    /// Of the files when they were last read.
    seen: u64,
    trouble: Trouble,
}

/// Makes the value of the files as they are now; what is wrong with them otherwise. Blocks.
pub type Make<T> = Box<dyn Fn() -> Result<T, String> + Send + Sync>;

/// Whether the files could be used when they were last read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    /// Not at the last look. A certificate whose key comes a moment later is no trouble: only what is the same at the next
    /// look is told.
    New,
    Told,
}

impl<T> Live<T> {
    /// A value that nobody watches.
    pub fn new(value: T) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(value)))
    }

    /// The value in force.
    pub fn now(&self) -> Arc<T> {
        self.0.load_full()
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Says nothing of the value, which may be a key.
impl<T> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Live")
    }
}

impl<T: Send + Sync + 'static> Watch<T> {
    /// Makes the first value of `files`, which are `what`. Blocks.
    ///
    /// # Errors
    /// What `make` says of the files.
    pub fn new(what: &'static str, files: Vec<PathBuf>, make: Make<T>) -> Result<Self, String> {
        let hasher = foldhash::fast::RandomState::default();
        // Before they are used: what changes in between is seen at the first look.
        let seen = fingerprint(&files, &hasher);
        Ok(Self {
            value: Live::new(make()?),
            what,
            files,
            make,
            hasher,
            seen,
            trouble: Trouble::None,
        })
    }

    /// The value, as it is and will be.
    pub fn value(&self) -> Live<T> {
        self.value.clone()
    }

    /// Looks at the files each `interval`, for ever.
    pub async fn run(mut self, interval: Duration) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let looked = tokio::task::spawn_blocking(move || {
                self.look();
                self
            });
            match looked.await {
                Ok(watch) => self = watch,
                Err(error) => {
                    tracing::error!(%error, "files are not watched any more");
                    return;
                }
            }
        }
    }

    /// Replaces the value if the files have changed and can be used; else tells what is wrong with them, once.
    fn look(&mut self) {
        let now = fingerprint(&self.files, &self.hasher);
        let has_changed = std::mem::replace(&mut self.seen, now) != now;
        if !has_changed && self.trouble != Trouble::New {
            return;
        }
        match (self.make)() {
            Ok(value) => {
                self.value.0.store(Arc::new(value));
                self.trouble = Trouble::None;
                tracing::info!(files = self.names(), "{} were reloaded", self.what);
            }
            Err(error) if has_changed => {
                tracing::debug!(error, "{} cannot be used at the moment", self.what);
                self.trouble = Trouble::New;
            }
            Err(error) => {
                self.trouble = Trouble::Told;
                tracing::warn!(
                    error,
                    files = self.names(),
                    "{} cannot be used as they are now; the last good ones stay in force",
                    self.what
                );
            }
        }
    }

    fn names(&self) -> String {
        let names: Vec<_> = self
            .files
            .iter()
            .map(|file| file.to_string_lossy())
            .collect();
        names.join(", ")
    }
}

/// Of what is in the files, or why there is nothing.
fn fingerprint(files: &[PathBuf], hasher: &impl BuildHasher) -> u64 {
    let mut hash = hasher.build_hasher();
    for file in files {
        match pem::read(file) {
            Ok(bytes) => bytes.hash(&mut hash),
            Err(error) => error.to_string().hash(&mut hash),
        }
    }
    hash.finish()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A number from each of two files, which must be the same, as those of a certificate and its key.
    fn pair(folder: &std::path::Path) -> Watch<u64> {
        let files = vec![folder.join("cert"), folder.join("key")];
        let read = {
            let files = files.clone();
            move || {
                let number = |file: &PathBuf| {
                    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
                    text.parse::<u64>().map_err(|error| error.to_string())
                };
                let (cert, key) = (number(&files[0])?, number(&files[1])?);
                (cert == key).then_some(cert).ok_or("no pair".to_owned())
            }
        };
        Watch::new("the numbers", files, Box::new(read)).unwrap()
    }

    fn write(folder: &std::path::Path, name: &str, text: &str) {
        fs::write(folder.join(name), text).unwrap();
    }

    #[test]
    fn a_key_that_comes_after_its_certificate_is_waited_for_without_a_word() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        write(at, "cert", "1");
        write(at, "key", "1");
        let mut watch = pair(at);
        let live = watch.value();
        write(at, "cert", "2");
        watch.look();
        assert_eq!((*live.now(), watch.trouble), (1, Trouble::New));
        write(at, "key", "2");
        watch.look();
        assert_eq!((*live.now(), watch.trouble), (2, Trouble::None));
    }

    #[test]
    fn what_stays_broken_is_told_once_and_the_last_good_stays_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        write(at, "cert", "1");
        write(at, "key", "1");
        let mut watch = pair(at);
        let live = watch.value();
        for broken in ["half", "none"] {
            match broken {
                "half" => write(at, "key", broken),
                _ => fs::remove_file(at.join("key")).unwrap(),
            }
            for expected in [Trouble::New, Trouble::Told, Trouble::Told] {
                watch.look();
                assert_eq!((*live.now(), watch.trouble), (1, expected), "{broken}");
            }
        }
        write(at, "key", "1");
        watch.look();
        assert_eq!((*live.now(), watch.trouble), (1, Trouble::None));
    }

    #[test]
    fn a_swapped_link_is_seen_and_an_unchanged_file_is_not_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        for version in ["1", "2"] {
            fs::create_dir(at.join(version)).unwrap();
            write(&at.join(version), "cert", version);
            write(&at.join(version), "key", version);
        }
        symlink("1", at.join("..data")).unwrap();
        symlink("..data/cert", at.join("cert")).unwrap();
        symlink("..data/key", at.join("key")).unwrap();
        let mut watch = pair(at);
        let live = watch.value();
        let first = live.now();
        watch.look();
        assert!(Arc::ptr_eq(&first, &live.now()));
        symlink("2", at.join("..next")).unwrap();
        fs::rename(at.join("..next"), at.join("..data")).unwrap();
        watch.look();
        assert_eq!(*live.now(), 2);
    }
}
