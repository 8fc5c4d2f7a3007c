//! Kills and counts Deliveries for a test.

use actix::{Context, Handler, Message};

use super::{Dispatcher, deliveries::Slot};
use crate::{deliver::death::Die, endpoint::EndpointKey};

/// Makes the Delivery of an endpoint panic. Answers whether there was one.
pub(crate) struct Kill(pub(crate) EndpointKey);

impl Message for Kill {
    type Result = bool;
}

impl Handler<Kill> for Dispatcher {
    type Result = bool;

    fn handle(&mut self, Kill(key): Kill, _: &mut Context<Self>) -> bool {
        let delivery = self.endpoints.get(&key).and_then(Slot::delivery);
        delivery.inspect(|delivery| delivery.do_send(Die)).is_some()
    }
}

/// Answers how many Deliveries there are.
pub(crate) struct Count;

impl Message for Count {
    type Result = usize;
}

impl Handler<Count> for Dispatcher {
    type Result = usize;

    fn handle(&mut self, _: Count, _: &mut Context<Self>) -> usize {
        self.running().len()
    }
}
