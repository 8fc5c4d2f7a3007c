//! Debounce windows that change by no event, and how many there are.

use actix::{Context, Handler, Message};

use super::Dispatcher;
use crate::{
    actor::told,
    endpoint::{EndpointKey, debounce::DebouncePolicy},
    store::WindowChange,
};

/// Debounce windows that changed by no event.
pub struct KeepWindows(pub Vec<WindowChange>);
/// Answers how many keys have a window of an endpoint's own debounce.
pub struct Keys;

told!(KeepWindows);
impl Message for Keys {
    type Result = usize;
}

impl Dispatcher {
    /// Sets what an endpoint suppresses for itself, or that it suppresses nothing.
    pub(super) fn mute(&mut self, endpoint: EndpointKey, policy: Option<&DebouncePolicy>) {
        self.muting.set(endpoint, policy);
        self.keep_windows();
    }

    /// Tells the store which windows are forgotten.
    pub(super) fn keep_windows(&mut self) {
        let windows = self.muting.take_changes();
        if !windows.is_empty() {
            self.parts.store.keep_windows(windows);
        }
    }
}

impl Handler<KeepWindows> for Dispatcher {
    type Result = ();

    fn handle(&mut self, KeepWindows(windows): KeepWindows, _: &mut Context<Self>) {
        self.parts.store.keep_windows(windows);
    }
}

impl Handler<Keys> for Dispatcher {
    type Result = usize;

    fn handle(&mut self, _: Keys, _: &mut Context<Self>) -> usize {
        self.muting.keys()
    }
}
