//! A Delivery that dies on demand, as it would of a bug. For tests of what comes after.

use actix::{Context, Handler, Message};

use super::Delivery;

/// Panics.
pub(crate) struct Die;

impl Message for Die {
    type Result = ();
}

impl Handler<Die> for Delivery {
    type Result = ();

    #[expect(clippy::panic, reason = "asked for")]
    fn handle(&mut self, _: Die, _: &mut Context<Self>) {
        panic!("told to die");
    }
}
