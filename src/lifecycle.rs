//! Services of a host that are started and stopped in order.

use std::{error::Error, sync::Arc};

use futures_util::future::BoxFuture;

/// Why a service did not start.
pub type LifecycleError = Box<dyn Error + Send + Sync>;

/// A service of a host. [`Single`](crate::Single) is one; a host makes its own others.
pub trait Lifecycle: Send + Sync {
    /// For people.
    fn name(&self) -> &str;

    /// Lower ones start first and stop last.
    fn start_order(&self) -> u32;

    /// Starts; once it returns `Ok` the service works.
    fn start(&self) -> BoxFuture<'_, Result<(), LifecycleError>>;

    /// Stops; once it returns nothing of it goes on. Stopping one that did not start, or again, is of no effect.
    fn stop(&self) -> BoxFuture<'_, ()>;
}

/// Services that have started.
pub struct Running(Vec<Arc<dyn Lifecycle>>);

/// Starts services one after another by [`Lifecycle::start_order`]; those of the same order as they are given.
///
/// # Errors
/// The name of the first that fails, and why. Those that had started are stopped again.
pub async fn start(mut services: Vec<Arc<dyn Lifecycle>>) -> Result<Running, (String, LifecycleError)> {
    services.sort_by_key(|service| service.start_order());
    let mut running = Running(Vec::with_capacity(services.len()));
    for service in services {
        if let Err(error) = service.start().await {
            running.stop().await;
            return Err((service.name().to_owned(), error));
        }
        running.0.push(service);
    }
    Ok(running)
}

impl Running {
    /// Stops them one after another, the last that started first.
    pub async fn stop(self) {
        for service in self.0.iter().rev() {
            service.stop().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    struct Noted {
        name: &'static str,
        order: u32,
        fails: bool,
        log: Arc<Mutex<Vec<String>>>,
    }

    impl Noted {
        fn note(&self, what: &str) {
            self.log.lock().unwrap().push(format!("{what} {}", self.name));
        }
    }

    impl Lifecycle for Noted {
        fn name(&self) -> &str {
            self.name
        }

        fn start_order(&self) -> u32 {
            self.order
        }

        fn start(&self) -> BoxFuture<'_, Result<(), LifecycleError>> {
            self.note("start");
            Box::pin(std::future::ready(if self.fails { Err("no".into()) } else { Ok(()) }))
        }

        fn stop(&self) -> BoxFuture<'_, ()> {
            self.note("stop");
            Box::pin(std::future::ready(()))
        }
    }

    fn run(services: &[(&'static str, u32, bool)]) -> (Vec<String>, Option<String>) {
        let log = Arc::default();
        let made = services.iter().map(|(name, order, fails)| {
            let (name, order, fails, log) = (*name, *order, *fails, Arc::clone(&log));
            Arc::new(Noted { name, order, fails, log }) as Arc<dyn Lifecycle>
        });
        let failed = futures_util::FutureExt::now_or_never(async {
            match start(made.collect()).await {
                Ok(running) => {
                    running.stop().await;
                    None
                }
                Err((name, _)) => Some(name),
            }
        });
        let log = log.lock().unwrap().clone();
        (log, failed.unwrap())
    }

    #[test]
    fn they_start_in_order_and_stop_in_the_other() {
        let (log, failed) = run(&[("b", 2, false), ("a", 1, false), ("c", 2, false)]);
        assert_eq!(log, ["start a", "start b", "start c", "stop c", "stop b", "stop a"]);
        assert_eq!(failed, None);
    }

    #[test]
    fn one_that_fails_stops_those_before_it() {
        let (log, failed) = run(&[("a", 1, false), ("b", 2, true), ("c", 3, false)]);
        assert_eq!(log, ["start a", "start b", "stop a"]);
        assert_eq!(failed.as_deref(), Some("b"));
    }
}
