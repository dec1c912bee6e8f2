//! Objects that this run has put and that do not read back.
//!
//! Such an object stays in the store. Were each try to put another one beside it, a store that damages what it sends would
//! fill up with revisions. So the window's later tries of the same run only look at the object again, however often it is parked
//! and tried again. The next run may put one more object.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::message::Message;
use crate::domain::name::StreamName;
use crate::domain::object_key::DataKey;
use crate::domain::window::Window;

/// The newest object of each window that was put and does not read back.
#[derive(Debug, Default)]
pub struct UnprovenPuts(Mutex<BTreeMap<(StreamName, Window), DataKey>>);

impl UnprovenPuts {
    fn of(stream: &StreamName, key: &DataKey) -> (StreamName, Window) {
        (stream.clone(), key.window())
    }

    /// The object under `key` was put and does not read back.
    pub(super) fn put(&self, stream: &StreamName, key: &DataKey) {
        let mut all = self.0.lock();
        all.insert(Self::of(stream, key), key.clone());
    }

    /// The window has an object that reads back.
    pub(super) fn settled(&self, stream: &StreamName, window: Window) {
        self.0.lock().remove(&(stream.clone(), window));
    }

    /// Whether an object may be put under `key`.
    ///
    /// # Errors
    /// When it would be a second one beside an object that does not read back.
    pub(super) fn may_put(&self, stream: &StreamName, key: &DataKey) -> Result<(), Failure> {
        let all = self.0.lock();
        let Some(unproven) = all.get(&Self::of(stream, key)).filter(|unproven| *unproven != key) else {
            return Ok(());
        };
        let cause = format!(
            "object {} was put and still does not read back; no other object of its window is put beside it in this run",
            unproven.in_stream(stream)
        );
        let message = Message::new(cause).advise(
            "find out what changes objects in this store, or on the way to it, then restart connvault",
        );
        Err(Failure::new(FailureKind::Corrupt, Scope::Window, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::export::Format;
    use crate::domain::object_key::Revision;

    #[test]
    fn no_try_of_the_run_after_an_object_that_does_not_read_back_puts_another_one() {
        let stream: StreamName = "logins".parse().unwrap();
        let window: Window = "20261122T000000Z_20261123T000000Z".parse().unwrap();
        let key = |number| DataKey::new(window, Revision::new(number).unwrap(), Format::Csv);
        let puts = UnprovenPuts::default();
        assert!(puts.may_put(&stream, &key(1)).is_ok());
        puts.put(&stream, &key(1));
        assert!(puts.may_put(&stream, &key(1)).is_ok(), "the same key again, where the object is gone");
        assert!(puts.may_put(&"other".parse().unwrap(), &key(2)).is_ok());
        for _ in 0..10 {
            let failure = puts.may_put(&stream, &key(2)).unwrap_err();
            assert_eq!((failure.kind, failure.scope), (FailureKind::Corrupt, Scope::Window));
        }
        puts.settled(&stream, window);
        assert!(puts.may_put(&stream, &key(3)).is_ok());
    }
}
