//! Who is told of events, beside the pipeline. They only watch: none of them can hold an event up.

use std::sync::Arc;

use crate::event::{Accepted, TopicPattern};

/// How telling a watcher went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It has it.
    Yes,
    /// It has too much to do; this event passes it by.
    Full,
    /// It is gone.
    Gone,
}

/// Tells one watcher of an event.
pub type Watcher = Box<dyn Fn(&Arc<Accepted>) -> Told + Send>;

/// The watchers of one Hub.
#[derive(Default)]
pub struct Subscribers {
    watchers: Vec<(TopicPattern, Watcher)>,
    missed: u64,
}

impl Subscribers {
    /// Adds a watcher of some topics.
    pub fn add(&mut self, topics: TopicPattern, watcher: Watcher) {
        self.watchers.push((topics, watcher));
    }

    /// Tells everybody who watches the event's topic; forgets those that are gone.
    pub fn tell(&mut self, event: &Arc<Accepted>) {
        let missed = &mut self.missed;
        self.watchers.retain(|(topics, tell)| {
            let told = if topics.matches(&event.topic) { tell(event) } else { Told::Yes };
            *missed += u64::from(told == Told::Full);
            told != Told::Gone
        });
    }

    /// Whether nobody watches.
    pub fn is_empty(&self) -> bool {
        self.watchers.is_empty()
    }

    /// Events that passed a watcher by because it had too much to do.
    pub fn missed(&self) -> u64 {
        self.missed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, TrySendError};

    use super::*;
    use crate::{Event, Timestamp};

    fn event(topic: &str) -> Arc<Accepted> {
        let valid = Event::from_json(topic, "1").validate(Timestamp::default()).unwrap();
        Arc::new(Accepted::new(1, Timestamp::default(), valid))
    }

    #[test]
    fn a_slow_watcher_misses_and_a_gone_one_is_forgotten() {
        let (sender, receiver) = mpsc::sync_channel(1);
        let mut subscribers = Subscribers::default();
        subscribers.add(
            "a.*".parse().unwrap(),
            Box::new(move |event| match sender.try_send(event.seq) {
                Ok(()) => Told::Yes,
                Err(TrySendError::Full(_)) => Told::Full,
                Err(TrySendError::Disconnected(_)) => Told::Gone,
            }),
        );
        for topic in ["b", "a.b", "a.c"] {
            subscribers.tell(&event(topic));
        }
        assert_eq!((receiver.recv(), subscribers.missed()), (Ok(1), 1));
        drop(receiver);
        subscribers.tell(&event("a.b"));
        assert!(subscribers.is_empty());
    }
}
