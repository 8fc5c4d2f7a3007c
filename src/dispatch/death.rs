//! Kills a Delivery for a test.

use actix::{Context, Handler, Message};

use super::Dispatcher;
use crate::{deliver::death::Die, endpoint::EndpointKey};

/// Makes the Delivery of an endpoint panic. Answers whether there was one.
pub(crate) struct Kill(pub(crate) EndpointKey);

impl Message for Kill {
    type Result = bool;
}

impl Handler<Kill> for Dispatcher {
    type Result = bool;

    fn handle(&mut self, Kill(key): Kill, _: &mut Context<Self>) -> bool {
        let delivery = self.endpoints.get(&key).and_then(|slot| slot.delivery.as_ref());
        delivery.inspect(|delivery| delivery.do_send(Die)).is_some()
    }
}
